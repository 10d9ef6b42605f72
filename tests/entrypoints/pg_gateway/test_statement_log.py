"""Lines in a file, hashes in the audit log, and back-pressure instead of loss."""

import asyncio
import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from watchkey.entrypoints.pg_gateway.statement_log import (
    PENDING_MAX,
    LogRules,
    StatementLog,
    Who,
    _line,
    key_file,
    own_key,
)
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId
from watchkey.rules.bound_values import Parameters, parse_key, value_hash
from watchkey.rules.statements import kind_of, redacted
from watchkey.wire.pg_messages import SqlText
from watchkey.wire.pg_statements import Outcome, StatementRecord

WHO = Who(
    session="s1", lease="l1", subject="alice@example.com", resource="orders-db", account="wk_alice_1", fact="on call"
)


def record(text: str = "SELECT 1", **changes: Any) -> StatementRecord:
    fields: dict[str, Any] = {
        "sql": SqlText(text.encode(), len(text)), "values": None, "asked_at": 990.0, "ended_at": 990.25,
        "outcome": Outcome.DONE, "rows": 1, "tag": "SELECT 1", "sqlstate": "",
    }  # fmt: skip
    return StatementRecord(**(fields | changes))


class Desk:
    def __init__(self, folder: Path, **rules: Any) -> None:
        self.clock, self.audit, self.held = DrivenClock(), MemoryAudit(), list[bool]()
        self.path = folder / "statements.jsonl"
        self.log = StatementLog(
            LogRules(path=self.path, **rules), audit=self.audit, clock=self.clock, caller=CallerId("gateway"),
            on_pressure=self.held.append,
        )  # fmt: skip

    def lines(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.path.read_bytes().splitlines()]


def test_a_line_says_who_what_when_and_how_it_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.log.add(WHO, [record()])
    asyncio.run(desk.log.flush())
    (line,) = desk.lines()
    asked = desk.clock.now() - timedelta(seconds=10)  # ten ticks before the clock's 1000
    assert line == {
        "at": f"{asked:%Y-%m-%dT%H:%M:%S}Z", "session": "s1", "lease": "l1", "subject": "alice@example.com",
        "resource": "orders-db", "account": "wk_alice_1", "fact": "on call", "kind": "read", "text": "SELECT 1",
        "outcome": "done", "ms": 250.0, "rows": 1, "tag": "SELECT 1", "sqlstate": "",
    }  # fmt: skip
    (noted,) = desk.audit.events
    assert isinstance(noted, Noted)
    data = desk.path.read_bytes()
    assert noted.fields == {
        "file": "statements.jsonl", "offset": 0, "length": len(data), "count": 1,
        "sha256": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    assert desk.path.stat().st_mode & 0o777 == 0o600


def test_long_texts_values_odd_bytes_and_secrets(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.log.add(
        WHO,
        [
            record(sql=SqlText(b"SELECT '", 99999, "ab" * 32)),
            record(sql=SqlText(b"SELECT '\xe4'", 11)),
            record("ALTER ROLE x PASSWORD 'canary'"),
        ],
    )
    asyncio.run(desk.log.flush())
    desk.log.add(replace(WHO, parameters=Parameters.FULL), [record(values=(b"7", None, b"\xff"))])
    asyncio.run(desk.log.flush())
    long, odd, secret, bound = desk.lines()
    assert (long["size"], long["sha256"]) == (99999, "ab" * 32)
    assert bound["values"] == ["7", None, "\\xff"]
    assert odd["text"] == "SELECT '\\xe4'"
    assert "canary" not in secret["text"]


def test_parameters_are_told_as_their_resource_says(tmp_path: Path) -> None:
    desk = Desk(tmp_path, has_hashes=True)
    bound = [record(values=(b"canary", None)), record(values=(b"canary", b""))]

    async def work() -> None:
        desk.log.start()
        for parameters in Parameters:
            desk.log.add(replace(WHO, parameters=parameters), bound)
        await desk.log.close()

    asyncio.run(work())
    off, _, hashed, again, full, _ = desk.lines()
    assert "values" not in off
    assert "value_hashes" not in off
    assert "values" not in hashed
    key = parse_key((tmp_path / "statements.jsonl.key").read_text())
    assert hashed["value_hashes"] == [value_hash(key, b"canary"), None]
    assert again["value_hashes"] == [value_hash(key, b"canary"), value_hash(key, b"")]
    assert full["values"] == ["canary", None]
    assert "value_hashes" not in full
    assert desk.path.read_bytes().count(b"canary") == 2


def test_a_log_keeps_its_key_and_refuses_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "statements.jsonl"
    key = own_key(path)
    assert own_key(path) == key
    assert own_key(tmp_path / "other.jsonl") != key
    assert key_file(path).stat().st_mode & 0o777 == 0o600
    key_file(path).write_text("abcd")
    with pytest.raises(Refused, match="no key of a statement log"):
        own_key(path)


@given(st.text(max_size=60), st.none() | st.lists(st.none() | st.binary(max_size=9)), st.sampled_from(Outcome),
       st.none() | st.integers(0), st.text(max_size=9), st.floats(0, 2e6))  # fmt: skip
def test_a_line_reads_back_as_what_was_recorded(
    text: str, values: list[bytes | None] | None, outcome: Outcome, rows: int | None, tag: str, asked: float
) -> None:
    kept = text.encode("utf-8", "replace")
    told = None if values is None else tuple(values)
    made = record(sql=SqlText(kept, len(kept)), values=told, outcome=outcome, rows=rows, tag=tag, asked_at=asked,
                  ended_at=asked + 0.5)  # fmt: skip
    line = msgspec.json.decode(_line(replace(WHO, parameters=Parameters.FULL), made, 1_700_000_000.0, b""))
    at = datetime.fromisoformat(line["at"]).timestamp()
    assert abs(at - 1_700_000_000.0 - asked) < 2e-6
    assert line["text"] == redacted(kept.decode())
    assert line["kind"] == kind_of(kept.decode())
    assert (line["outcome"], line["rows"], line["tag"], line["ms"]) == (outcome.value, rows, tag, 500.0)
    shown = None if told is None else [None if v is None else v.decode("utf-8", "backslashreplace") for v in told]
    assert line.get("values") == shown
    assert (line["session"], line["fact"]) == ("s1", "on call")


def test_a_flush_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def work() -> None:
        for number in range(1000):
            desk.log.add(WHO, [record(f"SELECT {number}")])
        flushing = asyncio.create_task(desk.log.flush())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await desk.log.flush()

    asyncio.run(work())
    assert [line["text"] for line in desk.lines()] == [f"SELECT {number}" for number in range(1000)]


def test_batches_follow_each_other_and_files_rotate(tmp_path: Path) -> None:
    desk = Desk(tmp_path, rotate_at=600, keep=2)

    async def work() -> None:
        for number in range(12):
            desk.log.add(WHO, [record(f"SELECT {number}")])
            await desk.log.flush()
            desk.clock.advance(timedelta(seconds=1))

    asyncio.run(work())
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    texts = [msgspec.json.decode(line)["text"] for path in files for line in path.read_bytes().splitlines()]
    assert texts[-1] == "SELECT 11"
    assert len(desk.audit.events) == 12


def test_what_cannot_be_recorded_waits_and_the_clients_are_held(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.audit.fails = True
    big = record(sql=SqlText(b"x" * 60_000, 60_000))

    async def work() -> None:
        desk.log.add(WHO, [big] * (PENDING_MAX // 60_000))
        with pytest.raises(Unavailable):
            await desk.log.flush()
        desk.log.add(WHO, [big])
        assert desk.held == [True]
        desk.audit.fails = False
        await desk.log.flush()
        assert desk.held == [True, False]

    asyncio.run(work())
    counted = sum(event.fields["count"] for event in desk.audit.events if isinstance(event, Noted))
    assert counted == PENDING_MAX // 60_000 + 1


def test_it_writes_by_itself_and_at_the_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    async def work() -> None:
        desk.log.start()
        desk.log.add(WHO, [record()])
        for _ in range(100):
            if desk.audit.events:
                break
            await asyncio.sleep(0.02)
        assert len(desk.lines()) == 1
        desk.log.add(WHO, [record()])
        await desk.log.close()

    asyncio.run(work())
    assert len(desk.lines()) == 2
