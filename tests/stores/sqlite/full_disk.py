"""Run inside a mount namespace of its own: fills a small disk under a running log, and prints what happened as JSON."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from tests.audit_cases import AT, KEY, allow, deny
from tests.fakes.clock import DrivenClock
from watchkey.model.audit import Noted
from watchkey.model.errors import Unavailable
from watchkey.model.secret import Secret
from watchkey.stores.sqlite import AuditReader, Config, SqliteStore, build


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except Unavailable as error:
        return str(error)
    return "ok"


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def until_full(store: SqliteStore) -> int:
    given = 0
    while outcome(lambda: store.append_and_block(allow())) == "ok":
        given += 1
    return given


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)], check=True)
    clock = DrivenClock()
    config = Config(path=str(folder / "watchkey.db"), key=Secret(KEY.reveal()), reserve_mib=1)
    store = build(config, name="sqlite", clock=clock)
    store.open()
    fill(folder / "ballast")
    told: dict[str, object] = {"given": until_full(store)}
    told["allow"] = outcome(lambda: store.append_and_block(allow()))
    told["deny"] = outcome(lambda: store.append_and_block(deny()))
    told["ending"] = outcome(lambda: store.append_and_block(Noted(at=AT, what="session.ended")))
    told["is_disk_full"] = store.stats().is_disk_full
    (folder / "ballast").unlink()
    clock.advance(timedelta(seconds=5))
    store.append_and_block(Noted(at=AT, what="later"))  # the writer looks at the disk again after each commit
    told["after"] = outcome(lambda: store.append_and_block(allow()))
    store.close()
    with AuditReader(folder / "watchkey.db") as reader:
        entries = [json.loads(entry.body) for entry in reader.entries()]
    told["allows"] = sum(entry.get("outcome") == "allow" for entry in entries)
    told["notes"] = [[entry["what"], entry["fields"]] for entry in entries if entry["kind"] == "noted"]
    store = build(config, name="sqlite", clock=clock)
    store.open()
    store.close()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
