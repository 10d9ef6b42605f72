"""audit: durable decisions per second, and verification of a log of a million entries.

Everything is the real thing: one SQLite file with synchronous=FULL, an fsync before each answer, signed checkpoints.
The figures depend on the disk's fsync, which is measured beside them.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from watchkey.model.access import AccessRequest, Allow, Evidence, FactKind, Ground, Reason, Subject
from watchkey.model.audit import DecisionMade
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Scope, ScopeKind
from watchkey.model.secret import Secret
from watchkey.rules.audit_check import KnownNote, check_log
from watchkey.rules.checkpoint import SigningKey
from watchkey.stores.sqlite import AuditReader, Config, SqliteStore, build

KEY = SigningKey("example.com/bench", bytes(32))
START = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = SourceName("pagerduty")
TOOL = Path(__file__).parents[1] / "tools" / "verify_audit.py"
DECISION = Allow(
    request=AccessRequest(
        subject=Subject(id=SubjectId("alice@example.com")),
        privilege=PrivilegeName("write"),
        resource=ResourceId("orders-db"),
        caller=CallerId("gateway-1"),
    ),
    decided_at=START,
    until=START + timedelta(hours=1),
    reason=Reason.ON_CALL,
    sentence="alice holds the pager of orders-db (level 1) until 09:00 UTC",
    evidence=(
        Evidence(
            kind=FactKind.ON_CALL,
            person=PersonId("PUSER01"),
            scope=Scope(SOURCE, ScopeKind.SERVICE, "PSVC001"),
            until=START + timedelta(hours=9),
            end_kind=EndKind.EXACT,
            level=1,
            starts_at=START,
            schedule="PSCHED1",
            policy="PPOLICY",
        ),
    ),
    grounds=(Ground(source=SOURCE, revision=42, age=timedelta(seconds=17.25)),),
    policy_hash="ab" * 32,
    policy_revision=3,
)


class RealClock:
    """The clock of this process."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)  # noqa: TID251 - a benchmark has no other clock

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Come back later."""
        await asyncio.sleep(seconds)


def store_in(folder: Path) -> SqliteStore:
    config = Config(path=str(folder / "watchkey.db"), key=Secret(KEY.reveal()))
    return build(config, name="sqlite", clock=RealClock())


def event(number: int) -> DecisionMade:
    return DecisionMade(decision=replace(DECISION, decided_at=START + timedelta(milliseconds=number)))


async def append(folder: Path, *, callers: int, entries: int, latencies: list[float] | None = None) -> float:
    """Let so many callers append one entry after the other; returns entries per second."""
    numbers = iter(range(entries))

    async def call(store: SqliteStore) -> None:
        for number in numbers:
            begun = perf_counter()
            await store.append(event(number))
            if latencies is not None:
                latencies.append(perf_counter() - begun)

    async with store_in(folder) as store:
        begun = perf_counter()
        await asyncio.gather(*(call(store) for _ in range(callers)))
        return entries / (perf_counter() - begun)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begun = perf_counter()
    result = work()
    return perf_counter() - begun, result


def fsync_seconds(folder: Path) -> float:
    """The median time of a small write with its fsync."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(200):
            file.write(bytes(4096))
            times.append(timed(lambda: os.fsync(file.fileno()))[0])
    return statistics.median(times)


def durable(folder: Path) -> list[dict[str, float]]:
    rows = []
    for callers, entries in ((1, 2_000), (16, 20_000), (64, 40_000), (256, 60_000)):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            latencies: list[float] = []
            rate = asyncio.run(append(Path(own), callers=callers, entries=entries, latencies=latencies))
            cuts = statistics.quantiles(latencies, n=100)
            rows.append({"callers": callers, "per_second": rate, "p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000})
    return rows


def whole_log(folder: Path, entries: int) -> dict[str, float]:
    """Write a log of that length; then time what people do with it."""
    rate = asyncio.run(append(folder, callers=1000, entries=entries))
    database = folder / "watchkey.db"

    def verify() -> None:
        with AuditReader(database) as reader:
            remembered = reader.remembered()
            notes: list[KnownNote] = [*reader.notes(), *([remembered] if remembered else [])]
            report = check_log(reader.entries(), notes, KEY.verifying)
        assert (report.verdict, report.size, report.uncovered) == (None, entries, 0)

    def start_and_stop() -> None:
        store = store_in(folder)
        store.open()
        store.close()

    def prove() -> None:
        with AuditReader(database) as reader:
            reader.prove(entries // 3, KEY.verifying)

    export = folder / "audit.jsonl"
    with AuditReader(database) as reader, export.open("wb") as file:
        file.writelines(entry.body + b"\n" for entry in reader.entries())
        file.write(b'{"checkpoint":' + json.dumps(reader.newest_note(), ensure_ascii=False).encode() + b"}\n")
    tool = [sys.executable, str(TOOL), "export", str(export), "--key", str(KEY.verifying)]
    return {
        "entries": entries,
        "written_per_second": rate,
        "bytes_per_entry": database.stat().st_size / entries,
        "verify_s": timed(verify)[0],
        "verify_export_with_the_tool_s": timed(lambda: subprocess.run(tool, check=True, capture_output=True))[0],
        "prove_one_entry_s": timed(prove)[0],
        "start_and_stop_s": timed(start_and_stop)[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--entries", type=int, default=1_000_000, help="length of the log that is verified")
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="on which disk; a memory disk proves nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix=".bench-audit-") as name:
        folder = Path(name)
        fsync_ms = fsync_seconds(folder) * 1000
        rows = durable(folder)
        print(f"fsync of a 4 KiB write: {fsync_ms:.2f} ms (median)\n")
        print("callers   durable decisions/s   p50 ms   p99 ms")
        for row in rows:
            print(
                f"{row['callers']:>7}   {row['per_second']:>19,.0f}   {row['p50_ms']:>6.2f}   {row['p99_ms']:>6.2f}",
                flush=True,
            )
        log = whole_log(folder, arguments.entries)
    print(f"\na log of {arguments.entries:,} entries")
    for figure, value in list(log.items())[1:]:
        print(f"  {figure.replace('_', ' '):<32} {value:>12,.2f}")
    if arguments.json:
        print(json.dumps({"fsync_ms": fsync_ms, "durable": rows, "log": log}))


if __name__ == "__main__":
    main()
