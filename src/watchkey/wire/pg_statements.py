"""Pairs what a client asked with what the server answered, so that each statement becomes one record.

PostgreSQL answers in order: a simple query ends with `ReadyForQuery`; each `Execute` of the extended protocol ends by
itself, and after an error the server skips to the next `Sync`. What a name stands for changes when the server says that
it did, not when the client asks: a record would name another text than the one that ran, if a refused or skipped Parse
counted. And no text that could still run is forgotten before it stands in a record.
"""

import hashlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import islice, takewhile
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
    Took,
)

PREPARED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of prepared texts remembered for one session; the oldest are then known by their first bytes only."""
_STUB: Final = 256
_PORTALS_MAX: Final = 1024
_PORTAL: Final = ord("P")


class Outcome(StrEnum):
    """How a statement ended."""

    DONE = "done"
    SUSPENDED = "suspended"
    FAILED = "failed"
    SKIPPED = "skipped"
    """An earlier error of its series kept the server from running it."""
    UNKNOWN = "unknown"
    """The session ended before the server answered."""
    PREPARED = "prepared"
    """It did not run by this: its text stands here because from now on only its first bytes are remembered."""


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
    __slots__ = ("asked_at", "failed", "is_simple", "portal", "rows", "sql", "tag", "values")

    def __init__(
        self,
        sql: SqlText,
        portal: bytes,
        asked_at: float,
        is_simple: bool,  # noqa: FBT001  one is made for each statement, and a keyword costs
    ) -> None:
        self.sql = sql
        self.portal = portal
        self.values: tuple[bytes | None, ...] | None = None
        self.asked_at = asked_at
        self.is_simple = is_simple
        self.rows: int | None = None
        self.tag = ""
        self.failed = ""


_Bound = tuple[SqlText, tuple[bytes | None, ...] | None]


class StatementLedger:
    """What is asked and not yet answered, and the texts that names stand for."""

    __slots__ = (
        "_is_skipping",
        "_last",
        "_late",
        "_pending",
        "_portals",
        "_prepared",
        "_prepared_bytes",
        "_waiting_bytes",
        "status",
    )

    def __init__(self) -> None:
        self._pending: deque[_Pending | Parse | Bind | CloseName | None] = deque()  # None is a Sync
        self._prepared: OrderedDict[bytes, SqlText] = OrderedDict()
        self._prepared_bytes = 0
        self._waiting_bytes = 0  # of texts of Parse without an answer
        self._portals: dict[bytes, _Bound] = {}
        self._is_skipping = False  # the server reads over everything up to a Sync that was not sent yet
        self._last: SqlText | None = None  # the last text of the series under way, for an error at its end
        self._late: list[StatementRecord] = []  # records of what never gets an answer of its own
        self.status = "I"
        """The transaction state by the last ReadyForQuery."""

    @property
    def is_busy(self) -> bool:
        """Whether something was asked that has no answer yet."""
        return bool(self._pending)

    @property
    def running(self) -> SqlText | None:
        """The text of what runs now."""
        for place, item in enumerate(self._pending):
            if isinstance(item, _Pending):
                self._name(islice(self._pending, place + 1))
                return item.sql
        return None

    # --- what the client says ----------------------------------------------------------------------------------------

    def asked(self, events: Sequence[ClientEvent], now: float) -> None:
        """Note what the client said."""
        for event in events:
            step = self._ASKED.get(type(event))
            if step is not None:
                step(self, event, now)

    def _on_query(self, event: Query, now: float) -> None:
        self._expect(_Pending(event[0], b"", now, True), now)

    def _on_execute(self, event: Execute, now: float) -> None:
        pending = _Pending(_UNKNOWN_SQL, event[0], now, False)
        if self._is_skipping:
            self._expect(pending, now)
        else:
            self._pending.append(pending)

    def _on_function_call(self, event: FunctionCall, now: float) -> None:
        text = f"function call {event.oid}".encode()
        self._expect(_Pending(SqlText(text, len(text)), b"", now, True), now)

    def _on_parse(self, event: Parse, now: float) -> None:
        if self._is_skipping:
            return
        if self._waiting_bytes > PREPARED_BYTES_MAX:
            event = Parse(event.name, self._put_down(event.sql, now))
        self._waiting_bytes += len(event.sql.kept)
        self._pending.append(event)

    def _on_change(self, event: Bind | CloseName, _now: float) -> None:
        if not self._is_skipping:
            self._pending.append(event)

    def _on_sync(self, _event: Sync, _now: float) -> None:
        self._is_skipping = False
        self._pending.append(None)

    def _expect(self, pending: _Pending, now: float) -> None:
        if self._is_skipping:
            self._resolve(pending)
            self._late.append(_record(pending, now, Outcome.SKIPPED))
        else:
            self._pending.append(pending)

    # a look-up by type: this runs for every message of every session
    _ASKED: ClassVar[Mapping[type, Callable[[Any, Any, float], None]]] = {
        Query: _on_query,
        Execute: _on_execute,
        Bind: _on_change,
        Sync: _on_sync,
        Parse: _on_parse,
        CloseName: _on_change,
        FunctionCall: _on_function_call,
    }

    # --- what the server says ----------------------------------------------------------------------------------------

    def answered(self, events: Sequence[ServerEvent], now: float) -> list[StatementRecord]:
        """Note what the server said; return the statements that ended by it."""
        out: list[StatementRecord] = []
        for event in events:
            self._ANSWERED[type(event)](self, event, now, out)
        if self._late:
            out += self._late
            self._late = []
        return out

    def abandoned(self, now: float) -> list[StatementRecord]:
        """The session ended: what was asked and never answered. Where a name may stand for two texts, both are told."""
        out, self._late = self._late, []
        while self._pending:
            item = self._pending.popleft()
            match item:
                case None:
                    pass
                case _Pending():
                    self._resolve(item)
                    out.append(_record(item, now, Outcome.UNKNOWN))
                case Parse(name, sql):
                    old = self._prepared.get(name)
                    self._apply(item if old is None or old == sql else Parse(name, _either(old, sql)), now)
                case Bind(portal, statement, values):
                    bound, new = self._portals.get(portal), self._prepared.get(statement, _UNKNOWN_SQL)
                    is_sure = bound is None or bound[0] == new
                    self._portals[portal] = (
                        (new, values) if bound is None or is_sure else (_either(bound[0], new), None)
                    )
                case CloseName():
                    pass
        return out

    def _took(self, _event: Took, now: float, _out: list[StatementRecord]) -> None:
        self._past_syncs()
        if self._pending and type(self._pending[0]) is not _Pending:
            self._apply(self._pending.popleft(), now)

    def _completed(self, event: Completed, now: float, out: list[StatementRecord]) -> None:
        head = self._head(now)
        if head is None:
            return
        head.tag = event[0]
        rows = _rows_of(event[0])
        if rows is not None:
            head.rows = (head.rows or 0) + rows
        if not head.is_simple:
            self._pending.popleft()
            head.sql, head.values = self._portals.get(head.portal, _UNKNOWN_PORTAL)
            out.append(_record(head, now, Outcome.DONE))

    def _suspended(self, _event: Suspended, now: float, out: list[StatementRecord]) -> None:
        head = self._head(now)
        if head is not None:
            self._pending.popleft()
            self._resolve(head)
            out.append(_record(head, now, Outcome.SUSPENDED))

    def _ready(self, event: Ready, now: float, out: list[StatementRecord]) -> None:
        self.status = event[0]
        self._is_skipping = False
        while self._pending:
            head = self._pending.popleft()
            if head is None or isinstance(head, _Pending):
                if head is not None:
                    self._resolve(head)
                    out.append(_record(head, now, Outcome.FAILED if head.failed else Outcome.DONE))
                self._last = None
                if self.status == "I":
                    self._portals.clear()  # they end with their transaction
                return
            self._apply(head, now)

    def _failed(self, event: Failed, now: float, out: list[StatementRecord]) -> None:
        head = self._pending[0] if self._pending else None
        if isinstance(head, _Pending) and head.is_simple:
            head.failed = event[0]
        elif head is not None:
            self._skip_series(event[0], now, out)
        elif self._pending and self._last is not None:  # at the Sync itself: what is checked when a transaction ends
            out.append(_failed_record(self._last, now, event[0]))

    _ANSWERED: ClassVar[Mapping[type, Callable[[Any, Any, float, list[StatementRecord]], None]]] = {
        Completed: _completed,
        Ready: _ready,
        Failed: _failed,
        Suspended: _suspended,
        Took: _took,
    }

    def _skip_series(self, sqlstate: str, now: float, out: list[StatementRecord]) -> None:
        """The oldest item failed; whatever follows it, up to the Sync, has no effect."""
        series = list(takewhile(lambda item: item is not None, self._pending))
        self._name(series)
        match series[0]:
            case Parse(_, sql):
                failing = sql
            case Bind(_, statement, _):
                failing = self._prepared.get(statement, _UNKNOWN_SQL)
            case _Pending(sql=sql):
                failing = sql
            case _:
                failing = _UNKNOWN_SQL
        for item in series:
            self._pending.popleft()
            if isinstance(item, Parse):
                self._waiting_bytes -= len(item.sql.kept)
        self._is_skipping = not self._pending
        statements = [item for item in series if isinstance(item, _Pending)]
        if statements and statements[0].sql == failing:
            statements[0].failed = sqlstate
        else:
            out.append(_failed_record(failing, now, sqlstate))
        out += [_record(one, now, Outcome.FAILED if one.failed else Outcome.SKIPPED) for one in statements]

    # --- names -------------------------------------------------------------------------------------------------------

    def _head(self, now: float) -> _Pending | None:
        """What the server answers now; all that was asked before it took effect."""
        pending = self._pending
        while pending:
            head = pending[0]
            if type(head) is _Pending:
                return head
            self._apply(pending.popleft(), now)
        return None

    def _past_syncs(self) -> None:
        # the server is behind a Sync whose ReadyForQuery was taken for another's
        while self._pending and self._pending[0] is None:
            self._pending.popleft()

    def _apply(self, item: _Pending | Parse | Bind | CloseName | None, now: float) -> None:
        if type(item) is Bind:  # the many
            portal, statement, values = item
            sql = self._last = self._prepared.get(statement, _UNKNOWN_SQL)
            portals = self._portals
            portals[portal] = (sql, values)
            if len(portals) > _PORTALS_MAX:
                self._put_down(portals.pop(next(iter(portals)))[0], now)
        elif isinstance(item, Parse):
            self._waiting_bytes -= len(item.sql.kept)
            self._last = item.sql
            self._remember(item.name, item.sql, now)
        elif isinstance(item, CloseName):
            self._forget(item.kind, item.name)

    def _resolve(self, pending: _Pending) -> None:
        if not pending.is_simple:
            pending.sql, pending.values = self._portals.get(pending.portal, _UNKNOWN_PORTAL)

    def _name(self, items: Iterable[_Pending | Parse | Bind | CloseName | None]) -> None:
        """Give these statements the texts that they would have if everything before them took effect."""
        prepared: dict[bytes, SqlText] = {}
        portals: dict[bytes, _Bound] = {}
        for item in items:
            if isinstance(item, Parse):
                prepared[item.name] = item.sql
            elif isinstance(item, CloseName):
                if item.kind != _PORTAL:
                    prepared[item.name] = _UNKNOWN_SQL
            elif isinstance(item, Bind):
                sql = prepared.get(item.statement) or self._prepared.get(item.statement, _UNKNOWN_SQL)
                portals[item.portal] = (sql, item.values)
            elif isinstance(item, _Pending) and not item.is_simple:
                known = portals.get(item.portal) or self._portals.get(item.portal, _UNKNOWN_PORTAL)
                item.sql, item.values = known

    def _remember(self, name: bytes, sql: SqlText, now: float) -> None:
        old = self._prepared.pop(name, None)
        self._prepared_bytes += len(sql.kept) - (len(old.kept) if old else 0)
        self._prepared[name] = sql
        if self._prepared_bytes > PREPARED_BYTES_MAX:
            for known, long in list(self._prepared.items()):
                if self._prepared_bytes <= PREPARED_BYTES_MAX // 2:
                    break
                if known == name:
                    continue
                short = self._prepared[known] = self._put_down(long, now)
                self._prepared_bytes -= len(long.kept) - len(short.kept)

    def _forget(self, kind: int, name: bytes) -> None:
        if kind == _PORTAL:
            self._portals.pop(name, None)
        elif (old := self._prepared.pop(name, None)) is not None:
            self._prepared_bytes -= len(old.kept)

    def _put_down(self, sql: SqlText, now: float) -> SqlText:
        """Have the whole text in a record, and return what is enough to find that record."""
        if len(sql.kept) <= _STUB:
            return sql
        whole = SqlText(sql.kept, sql.size, sql.sha256 or hashlib.sha256(sql.kept).hexdigest())
        self._late.append(StatementRecord(whole, None, now, now, Outcome.PREPARED, None, "", ""))
        return SqlText(whole.kept[:_STUB], whole.size, whole.sha256)


def _either(old: SqlText, new: SqlText) -> SqlText:
    text = old.kept + b"\n-- or, for the server did not say which of the two:\n" + new.kept
    return SqlText(text, len(text))


def _failed_record(sql: SqlText, now: float, sqlstate: str) -> StatementRecord:
    return StatementRecord(sql, None, now, now, Outcome.FAILED, None, "", sqlstate)


_UNKNOWN_SQL: Final = SqlText(b"", 0)
_UNKNOWN_PORTAL: Final[_Bound] = (
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
