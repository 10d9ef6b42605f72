"""The demo is the main job end to end: it must pass without a terminal, in its time, and leave nothing behind."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SEEN = (
    "1. The pager decides",
    "ms after the instant",
    "responding to incident",
    "override that they made",
    "has not been read for",
    "6. The gateway",
    "TAMPERED",
    "Nothing is left running",
)


def test_the_demo_plays_every_scene_and_leaves_nothing_running() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-m", "watchkey", "demo"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
            env=os.environ | {"TMPDIR": folder},
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "\x1b[" not in run.stdout
        for seen in SEEN:
            assert seen in run.stdout, seen
        assert list(Path(folder).iterdir()) == []
        assert _children_of_the_demo(folder) == []


def _children_of_the_demo(folder: str) -> list[str]:
    """Processes whose command line still names the demo's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in command:
            found.append(command)
    return found
