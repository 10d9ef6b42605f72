"""Reads a log without being able to change it, also while the service writes: for verify, prove, tail and export."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from watchkey.model.errors import Refused
from watchkey.rules.audit_check import KnownNote, StoredEntry
from watchkey.rules.checkpoint import Proof, VerifyingKey, open_checkpoint
from watchkey.rules.merkle import Frontier, hash_leaf, inclusion_proof
from watchkey.stores.sqlite.database import READ_ERRORS, connect_read_only, reading_failed
from watchkey.stores.sqlite.key_files import read_text

_ROWS: Final = "SELECT seq, CAST(body AS BLOB), CAST(leaf AS BLOB) FROM entries"
"""A damaged file may hold another type than was stored; as bytes it is compared, not stumbled over."""


def memory_of(database: Path) -> Path:
    """Where the last signed checkpoint is remembered, unless the configuration names another place."""
    return Path(f"{database}.checkpoint")


def public_key_of(database: Path) -> Path:
    """Where the public key is put for convenience. It proves nothing against somebody who can write there."""
    return Path(f"{database}.vkey")


class AuditReader:
    """One consistent view of a log, as it was when the reader was made. Everything raises only port errors."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._connection = connect_read_only(database)
        self._connection.text_factory = lambda raw: raw.decode(errors="replace")
        try:
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT 1 FROM entries").fetchone()  # the view begins with the first read
        except READ_ERRORS as error:
            self._connection.close()
            raise reading_failed(database, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def _query(self, sql: str, *parameters: int) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._connection.execute(sql, parameters)
        except READ_ERRORS as error:
            raise reading_failed(self._database, error) from error

    def size(self) -> int:
        """One more than the number of the last entry."""
        last = next(self._query("SELECT max(seq) FROM entries"))[0]
        return 0 if last is None else int(last) + 1

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """The entries `[start, stop)` in order, as they are stored; what is missing is simply not there."""
        rows = self._query(f"{_ROWS} WHERE seq >= ? AND seq < ? ORDER BY seq", start, 2**62 if stop is None else stop)
        return (StoredEntry(seq, body or b"", leaf or b"") for seq, body, leaf in rows)

    def notes(self) -> list[KnownNote]:
        """The signed checkpoints in the database, oldest first."""
        rows = self._query("SELECT size, coalesce(CAST(note AS TEXT), '') FROM checkpoints ORDER BY size")
        return [KnownNote(where=f"the stored checkpoint {size}", note=note) for size, note in rows]

    def remembered(self, memory: Path | None = None) -> KnownNote | None:
        """The checkpoint that is remembered outside the database; None when there is no such file."""
        path = memory or memory_of(self._database)
        note = read_text(path)
        return None if note is None else KnownNote(where=f"the remembered checkpoint {path.name}", note=note)

    def public_key_text(self) -> str | None:
        """The public key that was put beside the database; None when there is none."""
        return read_text(public_key_of(self._database))

    def newest_note(self) -> str:
        """The newest signed checkpoint in the database. Raises Refused when there is none."""
        notes = self.notes()
        if not notes:
            raise Refused(f"{self._database} holds no signed checkpoint yet")
        return notes[-1].note

    def root_of(self, start: int, stop: int) -> bytes:
        """The root over the stored leaves `[start, stop)`."""
        rows = self._query("SELECT leaf FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq", start, stop)
        return Frontier().extend(leaf for (leaf,) in rows).root()

    def prove(self, seq: int, key: VerifyingKey) -> Proof:
        """The entry with all that shows its place under the newest checkpoint. Time: proportional to the log.

        Raises Refused when there is no such entry or no checkpoint covers it yet, Malformed for a damaged log.
        """
        checkpoint = open_checkpoint(note := self.newest_note(), key)
        entry = next(self.entries(seq, seq + 1), None)
        if entry is None:
            raise Refused(f"there is no entry {seq}; the log has {self.size()}")
        if seq >= checkpoint.size:
            raise Refused(f"entry {seq} is not signed yet: the newest checkpoint covers {checkpoint.size} entries")
        hashes = inclusion_proof(seq, checkpoint.size, self.root_of)
        if hash_leaf(entry.body) != entry.leaf:
            raise Refused(f"entry {seq} was changed; it cannot be proven")
        return Proof(index=seq, entry=entry.body, hashes=hashes, note=note)
