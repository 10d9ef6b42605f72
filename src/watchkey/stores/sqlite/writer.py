"""The one writer: a thread that takes what is waiting, commits it together, and only then says that it is durable.

Callers wait for their own entry. What comes in while a commit runs goes into the next one, so that many callers share
one fsync. A commit that fails fails all its callers, and the tree in memory stays as it was.
"""

import asyncio
import logging
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Condition, Thread
from typing import Any, Final

from watchkey.model.access import Allow
from watchkey.model.audit import AuditEvent, DecisionMade, Noted
from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.ports import Clock
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.merkle import Frontier, hash_leaf
from watchkey.stores.sqlite.database import Reserve, connect
from watchkey.stores.sqlite.head import Head, frontier_at, read_head
from watchkey.stores.sqlite.signer import Signer

WAITING_MAX: Final = 8192
"""More callers than that are turned away at once: an answer that comes too late helps nobody."""
BATCH_MAX: Final = 1024
SIGN_EVERY: Final = 1024
"""Entries after which a checkpoint is signed, however short the time."""
RETRY_SECONDS: Final = 1.0
_LOG: Final = logging.getLogger(__name__)

Work = Callable[[sqlite3.Connection], None]
"""Something else to be done in the same transaction as the entries around it."""


@dataclass(slots=True)
class _Waiting:
    """An entry or a piece of work, and who waits for it; `loop` None means a thread waits."""

    what: AuditEvent | Work
    future: "Future[int] | asyncio.Future[int]"
    loop: asyncio.AbstractEventLoop | None = None

    @property
    def decision(self) -> str | None:
        """`allow` or `deny`; None for anything that is not a decision."""
        if not isinstance(self.what, DecisionMade):
            return None
        return "allow" if isinstance(self.what.decision, Allow) else "deny"


@dataclass(slots=True)
class _Unrecorded:
    """What could not be written since `since`; the log says so as soon as it can."""

    since: datetime
    counts: Counter[str] = field(default_factory=Counter)

    def plus(self, later: "_Unrecorded | None") -> "_Unrecorded":
        """Both together, since the earlier one."""
        return self if later is None else _Unrecorded(self.since, self.counts + later.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditStats:
    """How the log does, for metrics and health; a snapshot."""

    entries: int
    signed: int
    waiting: int
    commits: int
    failures: int
    unrecorded: int
    is_disk_full: bool
    broken: str
    """Why nothing is written any more; empty when all is well."""


class Writer:
    """Owns the connection, the tree and the queue. `start` and `stop` once each."""

    def __init__(self, database: Path, signer: Signer, reserve: Reserve, clock: Clock, *, sign_seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._reserve = reserve
        self._signer = signer
        self._sign_seconds = sign_seconds
        self._connection: sqlite3.Connection | None = None
        self._head = Head()
        self._wake = Condition()
        self._queue: deque[_Waiting] = deque()
        self._is_closing = True
        self._thread: Thread | None = None
        self._unrecorded: _Unrecorded | None = None
        self._is_disk_full = False
        self._broken = ""
        self._commits = 0
        self._failures = 0
        self._next_sign = 0.0
        self._next_retry = 0.0

    # -- life --------------------------------------------------------------------------------------------------

    def start(self, *, accept_rollback: bool) -> None:
        """Read where the log stands, check it against the memory of what was signed, and begin to write.

        Raises Refused when the database is not the log that was signed, unless `accept_rollback`; then the log itself
        says what was accepted. Raises Unavailable when the database cannot be read.
        """
        first: list[AuditEvent] = []
        try:
            self._connection = connect(self._database)
            self._head = read_head(self._connection, self._signer.verifying_key)
            wrong = self._signer.check_memory(self._connection, self._head.frontier)
            if wrong is not None:
                first.append(self._accept(wrong, self._connection, accept_rollback=accept_rollback))
            is_new = self._head.frontier.size == 0
            if self._head.frontier.size > self._signer.signed.size and wrong is None:
                span = {"first": self._signer.signed.size, "last": self._head.frontier.size - 1}
                first.append(self._note("audit.unsigned_end", span))
            if is_new and wrong is None:
                self._signer.sign(self._connection, self._head.frontier)
            if first:
                self._write([_Waiting(event, Future()) for event in first])
        except sqlite3.Error as error:
            self._disconnect()
            raise Unavailable(f"cannot read {self._database}: {error}") from error
        except PortError:
            self._disconnect()
            raise
        self._reserve.fill()
        self._is_closing = False
        self._thread = Thread(target=self._run, name="watchkey-audit-writer", daemon=True)
        self._thread.start()

    def _accept(self, wrong: str, connection: sqlite3.Connection, *, accept_rollback: bool) -> AuditEvent:
        if not accept_rollback:
            raise Refused(
                f"{wrong}. Find the newest copy of the database; only if there is none, accept the loss: the log will "
                "then say so (`watchkey audit accept-rollback`)"
            )
        self._signer.adopt(connection)
        return self._note("audit.rollback_accepted", {"why": wrong, "size": self._head.frontier.size})

    def stop(self) -> None:
        """Write what is waiting, sign the end, and let go. Twice is fine."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._disconnect()

    @property
    def high_water(self) -> datetime | None:
        """The latest instant in the log."""
        return self._head.high_water

    def stats(self) -> AuditStats:
        """A snapshot."""
        counts = self._unrecorded.counts if self._unrecorded else {}
        return AuditStats(
            entries=self._head.frontier.size,
            signed=self._signer.signed.size,
            waiting=len(self._queue),
            commits=self._commits,
            failures=self._failures,
            unrecorded=sum(counts.values()),
            is_disk_full=self._is_disk_full,
            broken=self._broken,
        )

    # -- callers -----------------------------------------------------------------------------------------------

    async def submit(self, what: AuditEvent | Work) -> int:
        """Wait until it is on disk; the entry's number, or -1 for work. Raises Unavailable or Malformed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._put(_Waiting(what, future, loop))
        return await future

    def submit_and_block(self, what: AuditEvent | Work) -> int:
        """The same for a thread that has no event loop."""
        future: Future[int] = Future()
        self._put(_Waiting(what, future))
        return future.result()

    def _put(self, waiting: _Waiting) -> None:
        with self._wake:
            if self._is_closing:
                raise Unavailable("the audit log is closed")
            if self._broken:
                raise Unavailable(self._broken)
            if len(self._queue) >= WAITING_MAX:
                self._count([waiting])
                raise Unavailable(f"{WAITING_MAX} entries are waiting for the audit log already", retry_after=1)
            self._queue.append(waiting)
            self._wake.notify()

    # -- the thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                if batch:
                    self._commit(batch)
                self._maintain()
            self._maintain(is_last=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever, and nothing is written after
            _LOG.exception("audit.writer_failed")
            self._break(f"the audit log's writer failed: {error!r}")
        finally:
            with self._wake:
                self._is_closing = True
                left = list(self._queue)
                self._queue.clear()
            _fail(left, self._broken or "the audit log is closed")

    def _take(self) -> list[_Waiting] | None:
        """What is waiting, at most BATCH_MAX; empty after a while without any; None when it is time to end."""
        with self._wake:
            if not self._queue and not self._is_closing:
                self._wake.wait(self._idle_seconds())
            if self._is_closing and not self._queue:
                return None
            return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]

    def _idle_seconds(self) -> float | None:
        has_more = self._head.frontier.size > self._signer.signed.size or self._unrecorded or self._is_disk_full
        return RETRY_SECONDS / 4 if has_more and not self._broken else None

    def _commit(self, batch: list[_Waiting]) -> None:
        if self._broken:
            _fail(batch, self._broken)
            return
        if self._is_disk_full:
            batch = self._only_essential(batch)
        if not batch:
            return
        try:
            results = self._write(batch) if self._is_disk_full else self._write_with_gap(batch)
        except (sqlite3.Error, PortError) as error:
            self._commit_failed(batch, error)
        except BaseException:
            _fail(batch, "the audit log's writer failed")
            raise
        else:
            _deliver(batch, results)

    def _write_with_gap(self, batch: list[_Waiting]) -> list[int | Malformed]:
        """Write, and first say what could not be written before, if anything."""
        with self._wake:
            told, self._unrecorded = self._unrecorded, None
        if told is None:
            return self._write(batch)
        note = self._note("audit.not_recorded", {"since": told.since.isoformat(), **told.counts})
        try:
            return self._write([_Waiting(note, Future()), *batch])[1:]
        except BaseException:
            with self._wake:
                self._unrecorded = told.plus(self._unrecorded)
            raise

    def _write(self, batch: Sequence[_Waiting]) -> list[int | Malformed]:
        """One transaction for all; returns after its fsync. Nothing is changed in memory before that."""
        connection = self._connection or self._reconnect()
        frontier, high_water = self._head.frontier, self._head.high_water
        rows: list[tuple[int, bytes, bytes]] = []
        results: list[int | Malformed] = []
        connection.execute("BEGIN IMMEDIATE")
        for waiting in batch:
            if callable(waiting.what):
                waiting.what(connection)
                results.append(-1)
                continue
            try:
                entry = make_entry(waiting.what, seq=frontier.size + len(rows), high_water=high_water)
            except Malformed as error:
                results.append(error)
                continue
            rows.append((entry.seq, entry.body, hash_leaf(entry.body)))
            results.append(entry.seq)
            high_water = entry.high_water
        connection.executemany("INSERT INTO entries (seq, body, leaf) VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
        self._head = Head(frontier.extend(leaf for _, _, leaf in rows), high_water)
        self._commits += 1
        return results

    def _commit_failed(self, batch: list[_Waiting], error: Exception) -> None:
        self._failures += 1
        self._disconnect()
        _LOG.error("audit.commit_failed", extra={"error": str(error), "entries": len(batch)})
        name = getattr(error, "sqlite_errorname", "")
        if isinstance(error, Refused):
            self._break(str(error))
        elif name in {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"}:
            # After a failed fsync the system may drop the data and report success the next time.
            self._break(f"the disk of {self._database} failed to store data; check it and start again")
        elif name == "SQLITE_FULL" and not self._is_disk_full:
            self._is_disk_full = True
            self._next_retry = self._clock.monotonic() + RETRY_SECONDS
            self._reserve.release()
            self._commit(batch)  # the reserve takes what is essential, and only that
            return
        with self._wake:
            self._count(batch)
        _fail(batch, self._broken or f"the audit log could not be written: {error}")

    def _only_essential(self, batch: list[_Waiting]) -> list[_Waiting]:
        """On a full disk no decision and no bulk is written, so that what ends access still finds room."""
        refused = [each for each in batch if each.decision or callable(each.what)]
        with self._wake:
            self._count(refused)
        _fail(refused, "the disk of the audit log is full")
        return [each for each in batch if not (each.decision or callable(each.what))]

    def _maintain(self, *, is_last: bool = False) -> None:
        """What is due besides entries: trying again, and signing. No caller waits for this."""
        if self._broken:
            return
        now = self._clock.monotonic()
        try:
            if (self._is_disk_full or self._unrecorded) and (now >= self._next_retry or is_last):
                self._next_retry = now + RETRY_SECONDS
                self._is_disk_full = self._is_disk_full and not self._reserve.fill()
                if self._unrecorded and not self._is_disk_full:
                    self._write_with_gap([])
            new = self._head.frontier.size - self._signer.signed.size
            if new and (new >= SIGN_EVERY or now >= self._next_sign or is_last):
                self._next_sign = now + self._sign_seconds
                self._signer.sign(self._connection or self._reconnect(), self._head.frontier)
        except Refused as error:
            self._break(str(error))
        except (sqlite3.Error, Unavailable) as error:
            self._failures += 1
            self._disconnect()
            _LOG.warning("audit.maintenance_failed", extra={"error": str(error)})

    # -- state -------------------------------------------------------------------------------------------------

    def _reconnect(self) -> sqlite3.Connection:
        """Open again after a failure, and learn from disk where the log stands: a failed commit may have come through.

        Raises Refused when what was acknowledged is not there.
        """
        connection = connect(self._database)
        try:
            head = read_head(connection, self._signer.verifying_key)
            ours: Frontier = self._head.frontier
            if head.frontier.size < ours.size or frontier_at(connection, ours.size, self._signer.verifying_key) != ours:
                raise Refused(f"{self._database} no longer holds the {ours.size} entries that were written to it")
        except (sqlite3.Error, PortError):
            connection.close()
            raise
        self._connection, self._head = connection, head
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _break(self, why: str) -> None:
        """Write nothing ever again: the log on disk is no longer the one that we wrote."""
        self._broken = why
        self._disconnect()
        _LOG.critical("audit.broken", extra={"why": why})

    def _note(self, what: str, fields: dict[str, Any]) -> Noted:
        return Noted(at=self._clock.now(), what=what, fields=fields)

    def _count(self, lost: Sequence[_Waiting]) -> None:
        """Remember what was not written; the caller holds `_wake`."""
        for each in lost:
            if self._unrecorded is None:
                self._unrecorded = _Unrecorded(self._clock.now())
            self._unrecorded.counts[each.decision or "other"] += 1


def _fail(batch: Sequence[_Waiting], why: str) -> None:
    _deliver(batch, [Unavailable(why, retry_after=RETRY_SECONDS) for _ in batch])


def _deliver(batch: Sequence[_Waiting], results: Sequence[int | Exception]) -> None:
    """Hand out results: to threads at once, to each event loop in one call for all its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[int], int | Exception]]] = {}
    for waiting, result in zip(batch, results, strict=True):
        if waiting.loop is None:
            _settle(waiting.future, result)
        elif isinstance(waiting.future, asyncio.Future):
            by_loop.setdefault(waiting.loop, []).append((waiting.future, result))
    for loop, pairs in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle_all, pairs)


def _settle_all(pairs: Sequence["tuple[asyncio.Future[int], int | Exception]"]) -> None:
    for future, result in pairs:
        _settle(future, result)


def _settle(future: "Future[int] | asyncio.Future[int]", result: int | Exception) -> None:
    if future.done():  # the caller was cancelled; the entry stays, and nobody learnt the answer
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
