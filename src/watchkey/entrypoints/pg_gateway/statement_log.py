"""The trace of what was asked: JSON lines in a file, and the hash of each batch in the audit log.

Nothing is dropped: when the file or the audit log falls behind, the clients are not read from until it has caught up.
"""

import asyncio
import hashlib
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import CallerId
from watchkey.ports import AuditLog, Clock
from watchkey.rules.bound_values import KEY_BYTES, Parameters, parse_key, value_hash
from watchkey.rules.statements import guards_named, kind_of, redacted
from watchkey.wire.pg_statements import Outcome, StatementRecord

log = logging.getLogger("watchkey.statement_log")

WAIT_MAX: Final = 0.5
"""Seconds that a record waits for its batch, at most."""
PENDING_MAX: Final = 8 * 1024 * 1024
"""Bytes of lines that may wait before the clients are held; they are let go again at a quarter of it."""
_CACHED_MAX: Final = 2000  # bytes of a text whose description is remembered
_LINE_SIZE: Final = 350  # bytes of a line besides its text, about
_SLICE: Final = 100  # sessions' records that are made lines without looking at anything else


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Who:
    """What each line of a session says besides the statement, how bound parameters are told; equal to itself only."""

    session: str
    lease: str
    subject: str
    resource: str
    account: str
    fact: str
    parameters: Parameters = Parameters.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRules:
    """Where the trace is kept, and how much of it."""

    path: Path
    rotate_at: int = 64 * 1024 * 1024
    """Bytes of one file."""
    keep: int = 20
    """So many rotated files."""
    has_hashes: bool = False
    """Whether any resource has its parameters hashed; then the log has a key, in a file of its own beside it."""
    key_of: Path | None = None
    """The log whose key it is, where several logs have one."""


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
        self._taken: list[tuple[Who, Sequence[StatementRecord]]] = []
        self._taken_bytes = 0  # about
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._written: list[tuple[dict[str, Any], int]] = []  # in the file, and not in the audit log yet
        self._zero = _zero(clock)
        self._key = b""
        self._is_holding = False
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write in the background. Raises OSError or Refused when the key cannot be had."""
        if self._rules.has_hashes:
            self._key = own_key(self._rules.key_of or self._rules.path)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Write what waits, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    def add(self, who: Who, records: Sequence[StatementRecord]) -> None:
        """Take records; never waits, never drops, and leaves all work for later."""
        self._taken.append((who, records))
        for record in records:
            size = _LINE_SIZE + len(record[0][0])
            self._taken_bytes += size if record[1] is None else size + sum(map(_size_of, record[1]))
        if self._taken_bytes + self._pending_bytes > PENDING_MAX:
            self._wake.set()
            if not self._is_holding:
                self._is_holding = True
                self._on_pressure(True)

    async def flush(self) -> None:
        """Make everything that was added before this call durable. Raises Unavailable when it cannot be."""
        async with self._writing:
            self._zero = _zero(self._clock)
            await self._encode_taken()
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
        if self._is_holding and self._taken_bytes + self._pending_bytes <= PENDING_MAX // 4:
            self._is_holding = False
            self._on_pressure(False)

    async def _encode_taken(self) -> None:
        """Turn what was taken into lines, a few at a time: in a thread it would fight for the interpreter instead."""
        taken, self._taken = self._taken, []
        self._taken_bytes = 0
        try:
            while taken:
                for who, records in taken[:_SLICE]:
                    for record in records:
                        line = _line(who, record, self._zero, self._key)
                        self._pending.append(line)
                        self._pending_bytes += len(line)
                del taken[:_SLICE]
                if taken:
                    await asyncio.sleep(0)
        finally:
            if taken:  # cancelled in between: nothing may be lost
                self._taken = taken + self._taken

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


def _line(who: Who, record: StatementRecord, zero: float, key: bytes) -> bytes:
    """One line of the file. It is put together from parts that repeat, which a general encoder cannot know."""
    sql, values, asked_at, ended_at, outcome, rows, tag, sqlstate = record
    kept, size, digest = sql
    second, micros = divmod(round((zero + asked_at) * 1e6), 1_000_000)
    return b"".join(
        (
            _second(second),
            b'.%06dZ"' % micros if micros else b'Z"',
            _opening(who),
            _described(kept) if len(kept) <= _CACHED_MAX else _describe(kept),
            _ended(outcome, rows, tag, sqlstate),
            b"%.3f" % ((ended_at - asked_at) * 1000),
            b"}\n" if values is None and not digest else _rest(_told(who.parameters, values, key), size, digest),
        )
    )


_json: Final = msgspec.json.Encoder().encode


def _zero(clock: Clock) -> float:
    """What the monotonic clock's ticks begin at, in seconds since 1970."""
    return clock.now().timestamp() - clock.monotonic()


@lru_cache(maxsize=64)
def _second(second: int) -> bytes:
    return f'{{"at":"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}'.encode()


@lru_cache(maxsize=4096)
def _opening(who: Who) -> bytes:
    names = ("session", "lease", "subject", "resource", "account", "fact")
    return b"".join(b',"%b":%b' % (name.encode(), _json(getattr(who, name))) for name in names)


@lru_cache(maxsize=2048)
def _described(kept: bytes) -> bytes:
    """Programs repeat themselves, so most statements were described before."""
    return _describe(kept)


def _describe(kept: bytes) -> bytes:
    text = kept.decode("utf-8", "backslashreplace")
    guards = guards_named(text)
    shown = b',"kind":"%b","text":%b' % (kind_of(text).encode(), _json(redacted(text)))
    return shown + b',"guards":%b' % _json(guards) if guards else shown


@lru_cache(maxsize=2048)
def _ended(outcome: Outcome, rows: int | None, tag: str, sqlstate: str) -> bytes:
    parts = (outcome.value, rows, tag, sqlstate)
    return b',"outcome":%b,"rows":%b,"tag":%b,"sqlstate":%b,"ms":' % tuple(map(_json, parts))


def _rest(told: bytes, size: int, digest: str) -> bytes:
    """`size` in bytes and `sha256` of a text that was cut; what is told of bound values."""
    return (b',"size":%d,"sha256":%b' % (size, _json(digest)) if digest else b"") + told + b"}\n"


def _told(parameters: Parameters, values: tuple[bytes | None, ...] | None, key: bytes) -> bytes:
    """The values, or their HMACs in a field of their own, so that none can be taken for the other."""
    if values is None or parameters is Parameters.OFF:
        return b""
    if parameters is Parameters.FULL:
        return b',"values":' + _json([_shown(value) for value in values])
    return b',"value_hashes":' + _json([None if value is None else value_hash(key, value) for value in values])


def log_of_worker(log_path: Path, number: int) -> Path:
    """Where the worker process of that number keeps its part of the log."""
    return log_path.with_name(f"{log_path.stem}.w{number}{log_path.suffix}")


def key_file(log_path: Path) -> Path:
    """Where the key of that statement log is."""
    return log_path.with_name(log_path.name + ".key")


def own_key(log_path: Path) -> bytes:
    """The key of that statement log, made when there is none. Raises OSError, or Refused for a file that is no key."""
    path = key_file(log_path)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return parse_key(path.read_text(encoding="ascii"))
        except ValueError as error:
            raise Refused(f"{path} holds no key of a statement log: {error}") from error
    key = secrets.token_bytes(KEY_BYTES)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key.hex())
        file.flush()
        os.fsync(descriptor)
    return key


def _shown(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _size_of(value: bytes | None) -> int:
    return 5 if value is None else len(value)
