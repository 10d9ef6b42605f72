"""The trace of what was asked: JSON lines in a file, and the hash of each batch in the audit log.

Nothing is dropped: when the file or the audit log falls behind, the clients are not read from until it has caught up.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from watchkey.model.audit import Noted
from watchkey.model.errors import PortError
from watchkey.model.ids import CallerId
from watchkey.ports import AuditLog, Clock
from watchkey.rules.statements import kind_of, redacted
from watchkey.wire.pg_statements import StatementRecord

log = logging.getLogger("watchkey.statement_log")

WAIT_MAX: Final = 0.5
"""Seconds that a record waits for its batch, at most."""
PENDING_MAX: Final = 8 * 1024 * 1024
"""Bytes of lines that may wait before the clients are held; they are let go again at a quarter of it."""
_CACHED_MAX: Final = 2000  # characters of a text whose description is remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """What each line of a session says besides the statement."""

    session: str
    lease: str
    subject: str
    resource: str
    account: str
    fact: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """Where the trace is kept, and how much of it."""

    path: Path
    rotate_at: int = 64 * 1024 * 1024
    """Bytes of one file."""
    keep: int = 20
    """So many rotated files."""


class StatementLog:
    """Takes records from all sessions of a process. `on_pressure(True)` asks to hold the clients, False to let go."""

    def __init__(
        self, rules: LogRules, *, audit: AuditLog, clock: Clock, caller: CallerId, on_pressure: Callable[[bool], None]
    ) -> None:
        self._rules = rules
        self._audit = audit
        self._clock = clock
        self._caller = caller
        self._on_pressure = on_pressure
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._written: list[tuple[dict[str, Any], int]] = []  # in the file, and not in the audit log yet
        self._zero = (clock.now(), clock.monotonic())
        self._encode = msgspec.json.Encoder().encode
        self._is_holding = False
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what waits, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    def add(self, who: Who, records: list[StatementRecord]) -> None:
        """Take records; never waits, never drops."""
        # encoded here and not in the writer's thread: there it would fight with this one for the interpreter
        for record in records:
            line = self._encode(_line(who, record, self._zero)) + b"\n"
            self._pending.append(line)
            self._pending_bytes += len(line)
        if self._pending_bytes > PENDING_MAX:
            self._wake.set()
            if not self._is_holding:
                self._is_holding = True
                self._on_pressure(True)

    async def flush(self) -> None:
        """Make everything that was added before this call durable. Raises Unavailable when it cannot be."""
        async with self._writing:
            self._zero = (self._clock.now(), self._clock.monotonic())
            batch, self._pending = self._pending, []
            if batch:
                try:
                    place = await asyncio.to_thread(self._write_file, batch)
                except BaseException:
                    self._pending = batch + self._pending
                    raise
                self._written.append((place, place["length"]))
            while self._written:
                place, length = self._written[0]
                await self._audit.append(
                    Noted(at=self._clock.now(), what="statements.batch", caller=self._caller, fields=place)
                )
                del self._written[0]
                self._pending_bytes -= length
        if self._is_holding and self._pending_bytes <= PENDING_MAX // 4:
            self._is_holding = False
            self._on_pressure(False)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(WAIT_MAX):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.flush()
            except (PortError, OSError) as error:
                log.error("statement_log.behind", extra={"error": str(error)})  # noqa: TRY400  the text says it all
                await asyncio.sleep(WAIT_MAX)

    def _write_file(self, batch: list[bytes]) -> dict[str, Any]:
        lines = b"".join(batch)
        path = self._rules.path
        if path.exists() and path.stat().st_size + len(lines) > self._rules.rotate_at:
            self._rotate()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            offset = os.fstat(descriptor).st_size
            view = memoryview(lines)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return {
            "file": path.name,
            "offset": offset,
            "length": len(lines),
            "count": len(batch),
            "sha256": hashlib.sha256(lines).hexdigest(),
        }

    def _rotate(self) -> None:
        path = self._rules.path
        stamp = f"{self._clock.now():%Y%m%dT%H%M%S%f}"
        path.rename(path.with_name(f"{path.stem}.{stamp}{path.suffix}"))
        old = sorted(path.parent.glob(f"{path.stem}.2*{path.suffix}"))
        for file in old[: max(0, len(old) - self._rules.keep)]:
            file.unlink()


@lru_cache(maxsize=2048)
def _described(text: str) -> tuple[str, str]:
    """Kind and recorded text. Programs repeat themselves, so most statements were described before."""
    return kind_of(text), redacted(text)


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of the file."""

    at: datetime
    session: str
    lease: str
    subject: str
    resource: str
    account: str
    fact: str
    kind: str
    text: str
    outcome: str
    ms: float
    rows: int | None
    tag: str
    sqlstate: str
    size: int = 0
    """Bytes, of a text that was cut."""
    sha256: str = ""
    values: list[str | None] | None = None


def _line(who: Who, record: StatementRecord, zero: tuple[datetime, float]) -> Line:
    sql, values, asked_at, ended_at, outcome, rows, tag, sqlstate = record
    text = sql.kept.decode("utf-8", "backslashreplace")
    kind, shown = _described(text) if len(text) <= _CACHED_MAX else (kind_of(text), redacted(text))
    return Line(
        at=zero[0] - timedelta(seconds=zero[1] - asked_at),
        session=who.session,
        lease=who.lease,
        subject=who.subject,
        resource=who.resource,
        account=who.account,
        fact=who.fact,
        kind=kind,
        text=shown,
        outcome=outcome.value,
        ms=round((ended_at - asked_at) * 1000, 3),
        rows=rows,
        tag=tag,
        sqlstate=sqlstate,
        size=sql.size if sql.sha256 else 0,
        sha256=sql.sha256,
        values=None if values is None else [_shown(value) for value in values],
    )


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")
