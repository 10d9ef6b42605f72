"""Where the log stands: its tree and its highest time, read back from the database and checked against itself."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from watchkey.model.errors import Malformed, Refused
from watchkey.rules.checkpoint import VerifyingKey, open_checkpoint
from watchkey.rules.merkle import Frontier, hash_leaf


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log; `high_water` is None for an empty one."""

    frontier: Frontier = field(default_factory=Frontier)
    high_water: datetime | None = None


class _Times(msgspec.Struct):
    at: datetime
    high_water: datetime | None = None


_times: Final = msgspec.json.Decoder(_Times)


def read_leaves(connection: sqlite3.Connection, start: int, stop: int) -> Iterator[bytes]:
    """The leaves of the entries `[start, stop)`, hashed anew from the entries' bytes.

    Raises Refused at the first entry that is missing or does not have the hash that was stored beside it.
    """
    rows = connection.execute(
        "SELECT seq, body, leaf FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq", (start, stop)
    )
    expected = start
    for seq, body, stored in rows:
        if seq != expected:
            raise Refused(f"entry {expected} of the audit log is missing; `watchkey audit verify` tells more")
        leaf = hash_leaf(body)
        if leaf != stored:
            raise Refused(f"entry {seq} of the audit log was changed; `watchkey audit verify` tells more")
        expected += 1
        yield leaf
    if expected < stop:
        raise Refused(f"entry {expected} of the audit log is missing; `watchkey audit verify` tells more")


def count_entries(connection: sqlite3.Connection) -> int:
    """How many entries there are, if none is missing."""
    last = connection.execute("SELECT max(seq) FROM entries").fetchone()[0]
    return 0 if last is None else int(last) + 1


def newest_signed(connection: sqlite3.Connection, key: VerifyingKey, at_most: int | None = None) -> Frontier | None:
    """The tree at the largest checkpoint in the database (of at most that size); None when there is none.

    Raises Refused when its signature or its peaks are wrong.
    """
    row = connection.execute(
        "SELECT size, note, peaks FROM checkpoints WHERE size <= ? ORDER BY size DESC LIMIT 1",
        (2**62 if at_most is None else at_most,),
    ).fetchone()
    if row is None:
        return None
    size, note, packed = row
    try:
        checkpoint = open_checkpoint(note, key)
        frontier = Frontier.unpack(checkpoint.size, packed)
    except (Malformed, ValueError) as error:
        raise Refused(
            f"the newest checkpoint of the audit log is not one by the configured key ({error}). "
            "Either the key was exchanged or the database was changed; `watchkey audit verify` tells more"
        ) from error
    if checkpoint.size != size or frontier.root() != checkpoint.root:
        raise Refused("the newest checkpoint of the audit log was changed; `watchkey audit verify` tells more")
    return frontier


def frontier_at(connection: sqlite3.Connection, size: int, key: VerifyingKey) -> Frontier:
    """The tree when the log had `size` entries; reads only what came after the nearest checkpoint before."""
    base = newest_signed(connection, key, at_most=size) or Frontier()
    return base.extend(read_leaves(connection, base.size, size))


def read_head(connection: sqlite3.Connection, key: VerifyingKey) -> Head:
    """The end of the log as it is on disk. Raises Refused when it contradicts itself."""
    size = count_entries(connection)
    newest = newest_signed(connection, key)
    if newest is not None and newest.size > size:
        raise Refused(
            f"the audit log has lost its end: entries {size} to {newest.size - 1} are missing although a checkpoint "
            "in the same database covers them; `watchkey audit verify` tells more"
        )
    frontier = frontier_at(connection, size, key)
    row = connection.execute("SELECT body FROM entries WHERE seq = ?", (size - 1,)).fetchone()
    if row is None:
        return Head(frontier, None)
    try:
        times = _times.decode(row[0])
    except msgspec.MsgspecError as error:
        raise Refused(f"entry {size - 1} of the audit log is not an entry") from error
    return Head(frontier, max(filter(None, (times.at, times.high_water))))
