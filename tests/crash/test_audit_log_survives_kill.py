"""kill -9 at random instants: no acknowledged entry is lost, none is missing, the log verifies and goes on (P21)."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.audit_cases import KEY
from watchkey.rules.audit_check import check_log
from watchkey.stores.sqlite import AuditReader

KILLS = int(os.environ.get("WATCHKEY_KILLS", "20"))
ROOT = Path(__file__).parents[2]


def acknowledged_until_killed(database: Path, seconds: float) -> list[str]:
    """Start the appender, kill it some time after its first entry, and return what it had said was durable."""
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "tests.crash.appender", str(database)]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout]
    assert process.returncode == -signal.SIGKILL, "the appender ended by itself"
    return [line for line in lines if line.endswith("\n")]  # the kill may cut the last line


@pytest.mark.timeout(60 + 15 * KILLS)
def test_a_log_survives_being_killed_again_and_again(tmp_path: Path) -> None:
    database = tmp_path / "watchkey.db"
    dice = random.Random(20261125)
    said: dict[int, str] = {}
    for _ in range(KILLS):
        for line in acknowledged_until_killed(database, dice.uniform(0, 0.15)):
            seq, sentence = line.rstrip("\n").split(" ", 1)
            assert int(seq) not in said, "a number was given twice"
            said[int(seq)] = sentence
        with AuditReader(database) as reader:
            stored = {entry.seq: json.loads(entry.body).get("sentence") for entry in reader.entries()}
            remembered = reader.remembered()
            assert remembered is not None
            report = check_log(reader.entries(), [*reader.notes(), remembered], KEY.verifying)
        assert report.findings == ()
        assert list(stored) == list(range(len(stored)))
        assert {seq: stored.get(seq) for seq in said} == said
    assert len(said) >= KILLS
