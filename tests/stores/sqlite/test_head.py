"""Reading back where the log stands: what contradicts itself is refused, and only new entries are read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.audit_cases import AT, KEY, Log, make_log
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.checkpoint import SigningKey
from watchkey.rules.merkle import Frontier, hash_leaf
from watchkey.stores.sqlite.database import connect, prepare
from watchkey.stores.sqlite.head import count_entries, frontier_at, newest_signed, read_head, read_leaves

LOG = make_log(20, signed=(0, 8, 13))
LEAVES = [hash_leaf(entry.body) for entry in LOG.entries]


def store(connection: sqlite3.Connection, log: Log) -> None:
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", ((e.seq, e.body, e.leaf) for e in log.entries))
    for each in log.notes:
        size = int(each.note.split("\n")[1])
        packed = Frontier().extend(LEAVES[:size]).packed()
        connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", (size, each.note, packed))


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    prepare(database)
    with closing(connect(database)) as opened:
        opened.execute("DROP TRIGGER entries_are_not_changed")
        opened.execute("DROP TRIGGER entries_are_not_removed")
        store(opened, LOG)
        yield opened


def test_the_head_is_the_tree_over_all_entries(connection: sqlite3.Connection) -> None:
    head = read_head(connection, KEY.verifying)
    assert head.frontier == Frontier().extend(LEAVES)
    assert head.high_water == AT


def test_an_empty_log_has_a_head_too(database: Path) -> None:
    prepare(database)
    with closing(connect(database)) as connection:
        head = read_head(connection, KEY.verifying)
        assert (head.frontier, head.high_water, count_entries(connection)) == (Frontier(), None, 0)


def test_the_highest_time_survives_an_entry_that_stepped_back(connection: sqlite3.Connection) -> None:
    late = AT + timedelta(days=1)
    for seq, at in ((20, late), (21, AT)):
        entry = make_entry(Noted(at=at, what="x"), seq=seq, high_water=late)
        connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (seq, entry.body, hash_leaf(entry.body)))
    assert read_head(connection, KEY.verifying).high_water == late


@pytest.mark.parametrize("size", range(21))
def test_the_tree_at_any_size(connection: sqlite3.Connection, size: int) -> None:
    assert frontier_at(connection, size, KEY.verifying) == Frontier().extend(LEAVES[:size])


def test_only_what_came_after_the_checkpoint_is_read(connection: sqlite3.Connection) -> None:
    # A start must not take longer with every year of the log; `audit verify` reads everything.
    connection.execute("UPDATE entries SET body = x'00' WHERE seq < 13")
    assert read_head(connection, KEY.verifying).frontier == Frontier().extend(LEAVES)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE entries SET body = x'00' WHERE seq = 15", "entry 15 of the audit log was changed"),
        ("UPDATE entries SET leaf = x'00' WHERE seq = 15", "entry 15 of the audit log was changed"),
        ("DELETE FROM entries WHERE seq = 15", "entry 15 of the audit log is missing"),
        ("DELETE FROM entries WHERE seq >= 10", "has lost its end: entries 10 to 12 are missing"),
        (
            "UPDATE checkpoints SET peaks = zeroblob(96) WHERE size = 13",
            "newest checkpoint of the audit log was changed",
        ),
        ("UPDATE checkpoints SET peaks = x'' WHERE size = 13", "is not one by the configured key"),
        ("UPDATE checkpoints SET note = replace(note, '13', '14') WHERE size = 13", "is not one by the configured key"),
        ("UPDATE checkpoints SET size = 14 WHERE size = 13", "newest checkpoint of the audit log was changed"),
    ],
)
def test_a_log_that_contradicts_itself_is_refused(connection: sqlite3.Connection, statement: str, said: str) -> None:
    connection.execute(statement)
    with pytest.raises(Refused, match=said):
        read_head(connection, KEY.verifying)


def test_a_last_entry_that_is_none_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE entries SET body = ?, leaf = ? WHERE seq = 19", (b"{}", hash_leaf(b"{}")))
    with pytest.raises(Refused, match="entry 19 of the audit log is not an entry"):
        read_head(connection, KEY.verifying)


def test_a_checkpoint_by_another_key_is_not_ours(connection: sqlite3.Connection) -> None:
    with pytest.raises(Refused, match="not one by the configured key"):
        newest_signed(connection, SigningKey(KEY.name, bytes(32)).verifying)


def test_leaves_that_are_asked_for_and_not_there_are_missing(connection: sqlite3.Connection) -> None:
    assert list(read_leaves(connection, 5, 9)) == LEAVES[5:9]
    with pytest.raises(Refused, match="entry 20 of the audit log is missing"):
        list(read_leaves(connection, 18, 22))
