"""Small facts and whole rosters that outlive a restart, in the same database as the log.

The functions write within a transaction that somebody else opened, so that a roster and the entry about it are stored
together or not at all.
"""

import sqlite3
import zlib
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from watchkey.model.errors import Malformed
from watchkey.model.ids import SourceName
from watchkey.ports import RosterRevision
from watchkey.rules.audit_entry import instant
from watchkey.stores.sqlite.database import READ_ERRORS, connect_read_only, reading_failed

CONTENT_BYTES_MAX: Final = 512 * 1024 * 1024
"""A roster of 100,000 people takes about 60 MiB; a damaged one must not fill the memory when it is unpacked."""


def write_value(connection: sqlite3.Connection, name: str, value: bytes) -> None:
    """Remember a JSON text under a name, in place of what was there."""
    connection.execute("INSERT OR REPLACE INTO remembered (name, value) VALUES (?, ?)", (name, value))


def read_value(database: Path, name: str) -> Any:
    """What was remembered under a name; None when nothing was. Raises port errors."""
    row = _one(database, "SELECT value FROM remembered WHERE name = ?", name)
    return None if row is None else msgspec.json.decode(row[0])


def write_roster(connection: sqlite3.Connection, revision: RosterRevision, packed: bytes) -> None:
    """Keep a roster's content (once for each digest) and that this revision has it."""
    connection.execute(
        "INSERT OR IGNORE INTO roster_contents (digest, content) VALUES (?, ?)", (revision.digest, packed)
    )
    connection.execute(
        "INSERT OR REPLACE INTO roster_revisions (source, revision, at, digest) VALUES (?, ?, ?, ?)",
        (revision.source, revision.revision, instant(revision.at), revision.digest),
    )


def read_roster(database: Path, source: SourceName, revision: int) -> bytes | None:
    """A revision's content as it was given; None when it was never kept or was pruned. Raises port errors."""
    row = _one(
        database,
        "SELECT content FROM roster_contents JOIN roster_revisions USING (digest) WHERE source = ? AND revision = ?",
        source,
        revision,
    )
    if row is None:
        return None
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(row[0], CONTENT_BYTES_MAX)
    except zlib.error as error:
        raise Malformed(f"the kept roster {source} {revision} is damaged: {error}") from error
    if not unpacker.eof:
        raise Malformed(f"the kept roster {source} {revision} is damaged or larger than {CONTENT_BYTES_MAX} bytes")
    return content


def read_revisions(database: Path, source: SourceName) -> list[RosterRevision]:
    """All revisions of a source that are kept, oldest first. Raises port errors."""
    sql = "SELECT revision, at, digest FROM roster_revisions WHERE source = ? ORDER BY revision"
    try:
        with closing(connect_read_only(database)) as connection:
            rows = connection.execute(sql, (source,)).fetchall()
    except READ_ERRORS as error:
        raise reading_failed(database, error) from error
    return [
        RosterRevision(source=source, revision=revision, at=datetime.fromisoformat(at), digest=digest)
        for revision, at, digest in rows
    ]


_FORGET_OLD: Final = """
DELETE FROM roster_revisions WHERE at < ?
AND revision < (SELECT max(revision) FROM roster_revisions AS r WHERE r.source = roster_revisions.source)
"""
_OLDEST: Final = """
SELECT source, revision FROM roster_revisions
WHERE revision < (SELECT max(revision) FROM roster_revisions AS r WHERE r.source = roster_revisions.source)
ORDER BY at LIMIT 1
"""


def prune_rosters(connection: sqlite3.Connection, before: datetime, bytes_max: int) -> None:
    """Forget revisions older than `before`, then the oldest until the packed contents fit; each source's last stays."""
    connection.execute(_FORGET_OLD, (instant(before),))
    _drop_orphans(connection)
    while _packed_bytes(connection) > bytes_max:
        oldest = connection.execute(_OLDEST).fetchone()
        if oldest is None:
            return
        connection.execute("DELETE FROM roster_revisions WHERE source = ? AND revision = ?", oldest)
        _drop_orphans(connection)


def _drop_orphans(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM roster_contents WHERE digest NOT IN (SELECT digest FROM roster_revisions)")


def _packed_bytes(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(sum(length(content)), 0) FROM roster_contents").fetchone()[0])


def _one(database: Path, sql: str, *parameters: str | int) -> tuple[Any, ...] | None:
    try:
        with closing(connect_read_only(database)) as connection:
            row: tuple[Any, ...] | None = connection.execute(sql, parameters).fetchone()
    except READ_ERRORS as error:
        raise reading_failed(database, error) from error
    return row
