"""Run in a process of its own: the system refuses to let any file grow beyond a limit; prints what happened as JSON."""

import json
import resource
import sys
from pathlib import Path

from tests.audit_cases import KEY, allow
from tests.fakes.clock import DrivenClock
from watchkey.model.errors import Unavailable
from watchkey.model.secret import Secret
from watchkey.rules.audit_check import check_log
from watchkey.stores.sqlite import AuditReader, Config, build


def main(database: Path) -> None:
    store = build(
        Config(path=str(database), key=Secret(KEY.reveal()), reserve_mib=1), name="sqlite", clock=DrivenClock()
    )
    store.open()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    given, errors = [], 0
    for number in range(3000):
        try:
            given.append(store.append_and_block(allow(number)))
        except Unavailable:
            errors += 1
        if errors == 3:
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    again = store.append_and_block(allow(9999))
    store.close()
    with AuditReader(database) as reader:
        entries = {entry.seq: json.loads(entry.body) for entry in reader.entries()}
        report = check_log(reader.entries(), reader.notes(), KEY.verifying)
    result = {
        "given": len(given),
        "errors": errors,
        "is_kept": all(seq in entries for seq in [*given, again]),
        "told": [entry["fields"] for entry in entries.values() if entry.get("what") == "audit.not_recorded"],
        "verdict": report.verdict,
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
