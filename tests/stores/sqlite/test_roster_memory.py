"""Kept values and rosters: damaged ones are refused, the last roster of each source is never pruned."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.audit_cases import AT
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import SourceName
from watchkey.ports import RosterRevision
from watchkey.stores.sqlite.database import connect, prepare
from watchkey.stores.sqlite.roster_memory import (
    prune_rosters,
    read_revisions,
    read_roster,
    read_value,
    write_roster,
    write_value,
)

A, B = SourceName("a"), SourceName("b")


@pytest.fixture
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    prepare(database)
    with closing(connect(database)) as opened:
        yield opened


def keep(connection: sqlite3.Connection, source: SourceName, number: int, digest: str, content: bytes = b"{}") -> None:
    revision = RosterRevision(source=source, revision=number, at=AT + timedelta(days=number), digest=digest)
    write_roster(connection, revision, zlib.compress(content))


def test_values_are_read_back(connection: sqlite3.Connection, database: Path) -> None:
    write_value(connection, "x", b'{"a":[1,2]}')
    write_value(connection, "x", b'{"a":[1]}')
    assert read_value(database, "x") == {"a": [1]}
    assert read_value(database, "y") is None


def test_one_content_is_kept_once(connection: sqlite3.Connection, database: Path) -> None:
    for number in range(5):
        keep(connection, A, number, "same", b"content" * 100)
    assert connection.execute("SELECT count(*) FROM roster_contents").fetchone() == (1,)
    assert read_roster(database, A, 3) == b"content" * 100
    assert [(each.revision, each.at) for each in read_revisions(database, A)] == [
        (number, AT + timedelta(days=number)) for number in range(5)
    ]


def test_pruning_by_size_takes_the_oldest_and_leaves_each_source_its_last(
    connection: sqlite3.Connection, database: Path
) -> None:
    for number in range(4):
        keep(connection, A, number, f"a{number}", bytes([number]) * 50)
    keep(connection, B, 0, "b0")
    size = sum(row[0] for row in connection.execute("SELECT length(content) FROM roster_contents"))
    prune_rosters(connection, AT - timedelta(days=1), size - 1)
    assert [each.revision for each in read_revisions(database, A)] == [1, 2, 3]
    prune_rosters(connection, AT - timedelta(days=1), 0)
    assert [each.revision for each in read_revisions(database, A)] == [3]
    assert [each.revision for each in read_revisions(database, B)] == [0]


def test_pruning_by_age_leaves_each_source_its_last(connection: sqlite3.Connection, database: Path) -> None:
    for number in range(4):
        keep(connection, A, number, f"a{number}")
    prune_rosters(connection, AT + timedelta(days=2), 10**9)
    assert [each.revision for each in read_revisions(database, A)] == [2, 3]
    prune_rosters(connection, AT + timedelta(days=99), 10**9)
    assert [each.revision for each in read_revisions(database, A)] == [3]
    assert connection.execute("SELECT digest FROM roster_contents").fetchall() == [("a3",)]


@pytest.mark.parametrize("packed", [b"", b"no zlib", zlib.compress(b"x" * 1000)[:-5]])
def test_a_damaged_roster_is_refused(connection: sqlite3.Connection, database: Path, packed: bytes) -> None:
    keep(connection, A, 1, "x")
    connection.execute("UPDATE roster_contents SET content = ?", (packed,))
    with pytest.raises(Malformed, match="the kept roster a 1 is damaged"):
        read_roster(database, A, 1)


def test_without_a_database_there_is_nothing_to_read(tmp_path: Path) -> None:
    for read in (
        lambda path: read_value(path, "x"),
        lambda path: read_roster(path, A, 1),
        lambda p: read_revisions(p, A),
    ):
        with pytest.raises(Refused, match="there is no database"):
            read(tmp_path / "none.db")
