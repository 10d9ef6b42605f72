"""The store as the rest of the service sees it: the audit log, and what must outlive a restart, in one SQLite file."""

import asyncio
import zlib
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from watchkey.model.audit import AuditEvent
from watchkey.model.errors import PortError, Unavailable
from watchkey.model.ids import SourceName
from watchkey.ports import Clock, RosterRevision
from watchkey.rules.checkpoint import SigningKey, VerifyingKey
from watchkey.stores.sqlite import roster_memory
from watchkey.stores.sqlite.database import Reserve, WriterLock, prepare
from watchkey.stores.sqlite.key_files import replace_text
from watchkey.stores.sqlite.reading import public_key_of
from watchkey.stores.sqlite.signer import Signer
from watchkey.stores.sqlite.writer import AuditStats, Writer

_PACK_LEVEL = 3
"""Rosters repeat themselves so much that more effort saves little."""


class SqliteStore:
    """Implements `ports.AuditLog`, and remembers values and rosters. Open it before use, close it after."""

    def __init__(
        self, *, path: Path, key: SigningKey, memory: Path, sign_seconds: float, reserve_bytes: int, clock: Clock
    ) -> None:
        self.path = path
        self.verifying_key: VerifyingKey = key.verifying
        self._lock = WriterLock(path)
        signer = Signer(path, key, memory)
        self._writer = Writer(path, signer, Reserve(path, reserve_bytes), clock, sign_seconds=sign_seconds)

    def open(self, *, accept_rollback: bool = False) -> None:
        """Lock the file, check that it is the newest state of the log, and begin to write.

        Raises Refused when another process has it, when it is not ours, or when it is not the log that was signed
        (unless `accept_rollback`); Unavailable when the disk does not let us.
        """
        self._lock.acquire()
        try:
            prepare(self.path)
            self._writer.start(accept_rollback=accept_rollback)
            replace_text(public_key_of(self.path), f"{self.verifying_key}\n")
        except OSError as error:
            self.close()
            raise Unavailable(f"cannot write beside {self.path}: {error}") from error
        except PortError:
            self.close()
            raise

    def close(self) -> None:
        """Write what is waiting, sign the end, give the file back. Twice is fine."""
        self._writer.stop()
        self._lock.release()

    async def __aenter__(self) -> Self:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    @property
    def high_water(self) -> datetime | None:
        """The latest instant in the log; a clock far behind it was set back. None: nothing is in it yet."""
        return self._writer.high_water

    def stats(self) -> AuditStats:
        """How the log does, for metrics and health."""
        return self._writer.stats()

    async def append(self, event: AuditEvent) -> int:
        """See `ports.AuditLog`. Also raises Malformed for an event that cannot be written exactly."""
        return await self._writer.submit(event)

    def append_and_block(self, event: AuditEvent) -> int:
        """The same where there is no event loop: the calling thread waits for the disk."""
        return self._writer.submit_and_block(event)

    async def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name, in place of what was there; returns when it is on disk."""
        data = msgspec.json.encode(value)
        await self._writer.submit(lambda connection: roster_memory.write_value(connection, name, data))

    def recall(self, name: str) -> Any:
        """What `remember` kept under that name, None when nothing."""
        return roster_memory.read_value(self.path, name)

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        """Keep a roster's canonical JSON, so that decisions can be replayed with the roster as it was."""
        packed = await asyncio.to_thread(zlib.compress, content, _PACK_LEVEL)
        await self._writer.submit(lambda connection: roster_memory.write_roster(connection, revision, packed))

    def kept_roster(self, source: SourceName, revision: int) -> bytes | None:
        """The content of a revision; None when it was never kept or was pruned."""
        return roster_memory.read_roster(self.path, source, revision)

    def kept_revisions(self, source: SourceName) -> list[RosterRevision]:
        """The revisions of a source that are kept, oldest first."""
        return roster_memory.read_revisions(self.path, source)

    async def prune_rosters(self, *, before: datetime, bytes_max: int) -> None:
        """Forget rosters older than `before`, then the oldest beyond `bytes_max` packed; each source's last stays."""
        await self._writer.submit(lambda connection: roster_memory.prune_rosters(connection, before, bytes_max))
