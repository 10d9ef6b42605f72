"""Pairs what a client asked with what the server answered, so that each statement becomes one record.

PostgreSQL answers in order: a simple query ends with `ReadyForQuery`; each `Execute` of the extended protocol ends by
itself, and after an error the server skips to the next `Sync`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

from watchkey.wire.pg_messages import (
    Bind,
    ClientEvent,
    CloseName,
    Completed,
    Execute,
    Failed,
    FunctionCall,
    Parse,
    Query,
    Ready,
    ServerEvent,
    SqlText,
    Suspended,
    Sync,
)

PREPARED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of prepared texts remembered for one session; the oldest are then known by their first bytes only."""
_STUB: Final = 256
_PORTALS_MAX: Final = 1024


class Outcome(StrEnum):
    """How a statement ended."""

    DONE = "done"
    SUSPENDED = "suspended"
    FAILED = "failed"
    SKIPPED = "skipped"
    """An earlier error of its series kept the server from running it."""
    UNKNOWN = "unknown"
    """The session ended before the server answered."""


class StatementRecord(NamedTuple):
    """One statement, from ask to answer. Times are the caller's ticks, in seconds."""

    sql: SqlText
    values: tuple[bytes | None, ...] | None
    asked_at: float
    ended_at: float
    outcome: Outcome
    rows: int | None
    """Rows returned or touched, as the server's tags tell; None when they do not."""
    tag: str
    sqlstate: str


class _Pending:
    __slots__ = ("asked_at", "failed", "is_simple", "rows", "sql", "tag", "values")

    def __init__(
        self,
        sql: SqlText,
        values: tuple[bytes | None, ...] | None,
        asked_at: float,
        is_simple: bool,  # noqa: FBT001  one is made for each statement, and a keyword costs
    ) -> None:
        self.sql = sql
        self.values = values
        self.asked_at = asked_at
        self.is_simple = is_simple
        self.rows: int | None = None
        self.tag = ""
        self.failed = ""


class StatementLedger:
    """What is asked and not yet answered, and the texts that names stand for."""

    __slots__ = ("_parsed", "_pending", "_portals", "_prepared", "_prepared_bytes", "status")

    def __init__(self) -> None:
        self._pending: deque[_Pending | None] = deque()  # None is a Sync
        self._prepared: OrderedDict[bytes, SqlText] = OrderedDict()
        self._prepared_bytes = 0
        self._portals: dict[bytes, tuple[SqlText, tuple[bytes | None, ...] | None]] = {}
        self._parsed: SqlText | None = None  # the last text of the series under way, for an error before any Execute
        self.status = "I"
        """The transaction state by the last ReadyForQuery."""

    @property
    def is_busy(self) -> bool:
        """Whether something was asked that has no answer yet."""
        return bool(self._pending)

    @property
    def running(self) -> SqlText | None:
        """The text of what runs now."""
        return next((pending.sql for pending in self._pending if pending is not None), None)

    def asked(self, events: Sequence[ClientEvent], now: float) -> None:
        """Note what the client said."""
        for event in events:
            step = self._ASKED.get(type(event))
            if step is not None:
                step(self, event, now)

    def _on_query(self, event: Query, now: float) -> None:
        self._pending.append(_Pending(event[0], None, now, True))

    def _on_execute(self, event: Execute, now: float) -> None:
        sql, values = self._portals.get(event[0], _UNKNOWN_PORTAL)
        self._pending.append(_Pending(sql, values, now, False))

    def _on_bind(self, event: Bind, _now: float) -> None:
        portals = self._portals
        portals[event[0]] = (self._prepared.get(event[1], _UNKNOWN_SQL), event[2])
        if len(portals) > _PORTALS_MAX:
            del portals[next(iter(portals))]

    def _on_sync(self, _event: Sync, _now: float) -> None:
        self._pending.append(None)

    def _on_parse(self, event: Parse, _now: float) -> None:
        self._parsed = event.sql
        self._remember(event.name, event.sql)

    def _on_close(self, event: CloseName, _now: float) -> None:
        self._forget(event.kind, event.name)

    def _on_function_call(self, event: FunctionCall, now: float) -> None:
        text = f"function call {event.oid}".encode()
        self._pending.append(_Pending(SqlText(text, len(text)), None, now, True))

    # a look-up by type: this runs for every message of every session
    _ASKED: ClassVar[Mapping[type, Callable[[Any, Any, float], None]]] = {
        Query: _on_query,
        Execute: _on_execute,
        Bind: _on_bind,
        Sync: _on_sync,
        Parse: _on_parse,
        CloseName: _on_close,
        FunctionCall: _on_function_call,
    }

    def answered(self, events: Sequence[ServerEvent], now: float) -> list[StatementRecord]:
        """Note what the server said; return the statements that ended by it."""
        out: list[StatementRecord] = []
        for event in events:
            self._ANSWERED[type(event)](self, event, now, out)
        return out

    def abandoned(self, now: float) -> list[StatementRecord]:
        """The session ended: what was asked and never answered."""
        left = [_record(p, now, Outcome.UNKNOWN) for p in self._pending if p is not None]
        self._pending.clear()
        return left

    def _completed(self, event: Completed, now: float, out: list[StatementRecord]) -> None:
        head = self._pending[0] if self._pending else None
        if head is None:
            return
        head.tag = event[0]
        rows = _rows_of(event[0])
        if rows is not None:
            head.rows = (head.rows or 0) + rows
        if not head.is_simple:
            self._pending.popleft()
            out.append(_record(head, now, Outcome.DONE))

    def _suspended(self, _event: Suspended, now: float, out: list[StatementRecord]) -> None:
        if self._pending and (head := self._pending[0]) is not None:
            self._pending.popleft()
            out.append(_record(head, now, Outcome.SUSPENDED))

    def _ready(self, event: Ready, now: float, out: list[StatementRecord]) -> None:
        self.status = event[0]
        while self._pending:
            head = self._pending.popleft()
            if head is None:
                self._parsed = None
                return
            out.append(_record(head, now, Outcome.FAILED if head.failed else Outcome.DONE))
            if head.is_simple:
                return

    def _failed(self, event: Failed, now: float, out: list[StatementRecord]) -> None:
        sqlstate = event[0]
        head = self._pending[0] if self._pending else None
        if head is not None and head.is_simple:
            head.failed = sqlstate
            return
        if head is None and self._parsed is not None:
            failed = _Pending(self._parsed, None, now, False)
            failed.failed = sqlstate
            out.append(_record(failed, now, Outcome.FAILED))
            return
        first = True
        while self._pending and (head := self._pending[0]) is not None and not head.is_simple:
            self._pending.popleft()
            if first:
                head.failed = sqlstate
            out.append(_record(head, now, Outcome.FAILED if first else Outcome.SKIPPED))
            first = False

    _ANSWERED: ClassVar[Mapping[type, Callable[[Any, Any, float, list[StatementRecord]], None]]] = {
        Completed: _completed,
        Ready: _ready,
        Failed: _failed,
        Suspended: _suspended,
    }

    def _remember(self, name: bytes, sql: SqlText) -> None:
        old = self._prepared.pop(name, None)
        self._prepared_bytes += len(sql.kept) - (len(old.kept) if old else 0)
        self._prepared[name] = sql
        if self._prepared_bytes > PREPARED_BYTES_MAX:
            for known, long in list(self._prepared.items()):
                if self._prepared_bytes <= PREPARED_BYTES_MAX // 2:
                    break
                if known == name:
                    continue
                self._prepared[known] = SqlText(long.kept[:_STUB], long.size, long.sha256)
                self._prepared_bytes -= max(0, len(long.kept) - _STUB)

    def _forget(self, kind: int, name: bytes) -> None:
        if kind == ord("P"):
            self._portals.pop(name, None)
        elif (old := self._prepared.pop(name, None)) is not None:
            self._prepared_bytes -= len(old.kept)


_UNKNOWN_SQL: Final = SqlText(b"", 0)
_UNKNOWN_PORTAL: Final[tuple[SqlText, tuple[bytes | None, ...] | None]] = (
    SqlText(b"(a cursor of this session)", 26),
    None,
)


def _record(pending: _Pending, now: float, outcome: Outcome) -> StatementRecord:
    fields = (pending.sql, pending.values, pending.asked_at, now, outcome, pending.rows, pending.tag, pending.failed)
    return tuple.__new__(StatementRecord, fields)  # the constructor of its own costs three times as much


@lru_cache(maxsize=1024)
def _rows_of(tag: str) -> int | None:
    count = tag.rpartition(" ")[2]
    return int(count) if count.isdigit() else None
