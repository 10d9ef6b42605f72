"""The signer: it remembers before it tells, and never signs two stories, whatever the database says (P8)."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.audit_cases import KEY, make_log
from watchkey.model.errors import Refused, Unavailable
from watchkey.rules.checkpoint import SigningKey, open_checkpoint
from watchkey.rules.merkle import Frontier, hash_leaf
from watchkey.stores.sqlite.database import connect, prepare
from watchkey.stores.sqlite.head import read_head
from watchkey.stores.sqlite.signer import Signer

LOG = make_log(12, signed=())
LEAVES = [hash_leaf(entry.body) for entry in LOG.entries]


def tree(size: int) -> Frontier:
    return Frontier().extend(LEAVES[:size])


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    prepare(database)
    with closing(connect(database)) as opened:
        opened.execute("DROP TRIGGER entries_are_not_changed")
        opened.execute("DROP TRIGGER entries_are_not_removed")
        yield opened


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "memory"


@pytest.fixture
def grow(connection: sqlite3.Connection) -> Callable[[int], None]:
    """Let the log in the database have so many entries."""

    def grow_to(size: int) -> None:
        rows = [(entry.seq, entry.body, entry.leaf) for entry in LOG.entries[:size]]
        connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", rows)

    return grow_to


def test_what_is_signed_is_remembered_and_stored(
    connection: sqlite3.Connection, database: Path, memory: Path, grow: Callable[[int], None]
) -> None:
    signer = Signer(database, KEY, memory)
    for size in (0, 5, 12):
        grow(size)
        signer.sign(connection, tree(size))
        note = memory.read_text(encoding="utf-8")
        assert connection.execute("SELECT note FROM checkpoints ORDER BY size DESC").fetchone() == (note,)
        checkpoint = open_checkpoint(note, KEY.verifying)
        assert (checkpoint.size, checkpoint.root) == (size, tree(size).root())
        assert signer.signed == tree(size)


def test_nothing_is_told_that_could_not_be_remembered(
    connection: sqlite3.Connection, database: Path, tmp_path: Path, grow: Callable[[int], None]
) -> None:
    signer = Signer(database, KEY, tmp_path / "no such folder" / "memory")
    grow(3)
    with pytest.raises(Unavailable, match="cannot remember a checkpoint"):
        signer.sign(connection, tree(3))
    assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
    assert signer.signed == Frontier()


def test_what_was_remembered_but_not_stored_is_known_at_the_next_start(
    connection: sqlite3.Connection, database: Path, memory: Path, grow: Callable[[int], None]
) -> None:
    grow(5)
    Signer(database, KEY, memory).sign(connection, tree(5))
    connection.execute("DELETE FROM checkpoints")  # the crash came between the two
    grow(7)
    signer = Signer(database, KEY, memory)
    assert signer.check_memory(connection, tree(7)) is None
    assert signer.signed == tree(5)


def test_an_older_memory_than_the_database_is_checked_too(
    connection: sqlite3.Connection, database: Path, memory: Path, grow: Callable[[int], None]
) -> None:
    signer = Signer(database, KEY, memory)
    grow(5)
    signer.sign(connection, tree(5))
    old = memory.read_text(encoding="utf-8")
    grow(12)
    signer.sign(connection, tree(12))
    memory.write_text(old, encoding="utf-8")
    again = Signer(database, KEY, memory)
    assert again.check_memory(connection, tree(12)) is None
    assert again.signed == tree(5)


def test_a_database_behind_its_memory_is_named_with_what_is_missing(
    connection: sqlite3.Connection, database: Path, memory: Path, grow: Callable[[int], None]
) -> None:
    grow(9)
    Signer(database, KEY, memory).sign(connection, tree(9))
    connection.execute("DELETE FROM checkpoints")
    connection.execute("DELETE FROM entries WHERE seq >= 4")
    wrong = Signer(database, KEY, memory).check_memory(connection, read_head(connection, KEY.verifying).frontier)
    assert wrong is not None
    assert "Missing: entries 4 to 8" in wrong


def test_a_memory_that_is_no_checkpoint_of_this_key_is_refused(
    connection: sqlite3.Connection, database: Path, memory: Path
) -> None:
    Signer(database, SigningKey(KEY.name, bytes(32)), memory).sign(connection, Frontier())
    with pytest.raises(Refused, match="does not hold a checkpoint by the configured key"):
        Signer(database, KEY, memory).check_memory(connection, Frontier())


def test_no_signature_over_anything_but_what_was_written(
    connection: sqlite3.Connection, database: Path, memory: Path, grow: Callable[[int], None]
) -> None:
    signer = Signer(database, KEY, memory)
    grow(5)
    signer.sign(connection, tree(5))
    before = memory.read_bytes()
    grow(9)
    forged = tree(6).extend(hash_leaf(b"forged") for _ in range(3))
    with pytest.raises(Refused, match="entries 5 to 8 are not those that were written"):
        signer.sign(connection, forged)
    assert memory.read_bytes() == before
    assert connection.execute("SELECT max(size) FROM checkpoints").fetchone() == (5,)
