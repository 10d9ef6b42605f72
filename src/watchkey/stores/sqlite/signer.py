"""Signs checkpoints of the log, and remembers outside the database what it signed, so that it never signs two stories.

The memory is one small file: the last signed checkpoint. A database that does not continue that checkpoint was
restored from a copy or changed, and is not written to.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.rules.checkpoint import Checkpoint, SigningKey, open_checkpoint, sign_checkpoint
from watchkey.rules.merkle import Frontier
from watchkey.stores.sqlite.database import connect_read_only
from watchkey.stores.sqlite.head import frontier_at, newest_signed, read_leaves
from watchkey.stores.sqlite.key_files import read_text, replace_text

KEEP_ONE_IN: Final = 1024
"""Of the checkpoints within so many entries the first stays: dense enough to say where a change lies."""


class Signer:
    """Holds the key and the last signed tree. Used by the writer's thread only."""

    def __init__(self, database: Path, key: SigningKey, memory: Path) -> None:
        self._database = database
        self._key = key
        self._memory = memory
        self.verifying_key = key.verifying
        self.signed = Frontier()

    def check_memory(self, connection: sqlite3.Connection, frontier: Frontier) -> str | None:
        """Compare the database with what was signed last. None when it continues that, else what is wrong, in words.

        Also learns the last signed tree, from which signing goes on.
        """
        remembered = self._remembered()
        if remembered is None:
            self.signed = Frontier()
            if newest_signed(connection, self.verifying_key) is None:  # the memory is always written first
                return None
            return (
                f"the memory of the last signed checkpoint, {self._memory}, is gone, so nobody can tell whether "
                f"{self._database} is the newest state of the log"
            )
        if remembered.size > frontier.size:
            return (
                f"{self._database} is older than the log: it ends before entry {frontier.size}, but entries up to "
                f"{remembered.size - 1} were written and signed. Missing: {_span(frontier.size, remembered.size)}"
            )
        try:
            then = frontier_at(connection, remembered.size, self.verifying_key)
        except Refused as error:
            return str(error)
        if then.root() != remembered.root:
            return (
                f"{self._database} does not continue the log: its first {remembered.size} entries are not those that "
                "were signed"
            )
        self.signed = then
        return None

    def adopt(self, connection: sqlite3.Connection) -> None:
        """Go on from the newest checkpoint in the database, although the memory says otherwise: somebody said so."""
        self.signed = newest_signed(connection, self.verifying_key) or Frontier()

    def _remembered(self) -> Checkpoint | None:
        note = read_text(self._memory)
        if note is None:
            return None
        try:
            return open_checkpoint(note, self.verifying_key)
        except Malformed as error:
            raise Refused(f"{self._memory} does not hold a checkpoint by the configured key: {error}") from error

    def sign(self, connection: sqlite3.Connection, frontier: Frontier) -> None:
        """Sign the log as far as `frontier`, after reading the new entries back from disk.

        Raises Refused when what is on disk is not what was written (then nothing is signed, ever again), Unavailable
        when the memory cannot be written, sqlite3.Error when the database cannot.
        """
        with closing(connect_read_only(self._database)) as reader:
            seen = self.signed.extend(read_leaves(reader, self.signed.size, frontier.size))
        if seen != frontier:
            span = _span(self.signed.size, frontier.size)
            raise Refused(f"{self._database} was changed by somebody else: {span} are not those that were written")
        note = sign_checkpoint(Checkpoint(self._key.name, seen.size, seen.root()), self._key)
        try:
            replace_text(self._memory, note)  # before anybody can see the note: we never forget what we signed
        except OSError as error:
            raise Unavailable(f"cannot remember a checkpoint in {self._memory}: {error}") from error
        before, self.signed = self.signed, seen
        connection.execute("BEGIN IMMEDIATE")
        if before.size and (before.size - 1) // KEEP_ONE_IN == (seen.size - 1) // KEEP_ONE_IN:
            self._thin(connection, before.size)
        connection.execute(
            "INSERT OR REPLACE INTO checkpoints (size, note, peaks) VALUES (?, ?, ?)", (seen.size, note, seen.packed())
        )
        connection.execute("COMMIT")

    def _thin(self, connection: sqlite3.Connection, size: int) -> None:
        """Forget the last checkpoint when an earlier one of the same stretch stands for it."""
        first = (size - 1) // KEEP_ONE_IN * KEEP_ONE_IN + 1
        earlier = "SELECT 1 FROM checkpoints WHERE size >= ? AND size < ?"
        if connection.execute(earlier, (first, size)).fetchone():
            connection.execute("DELETE FROM checkpoints WHERE size = ?", (size,))


def _span(start: int, stop: int) -> str:
    return f"entry {start}" if stop - start == 1 else f"entries {start} to {stop - 1}"
