"""Keep the last roster over a restart, so that those on call stay in when service and provider fail together.

Kept are each revision's content (for replays too), when it was last confirmed by a complete read, and when each piece
of shift was first seen. What comes back is as old as its last read; a clock that was set back brings nothing back.
"""

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from watchkey.model.errors import Malformed
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.ports import Clock, HeldRoster, Memory, RosterRevision
from watchkey.rules.provenance import Sightings, dump_sightings, load_sightings
from watchkey.rules.roster import RosterIndex, index_roster

SIGHTINGS_EVERY: Final = timedelta(minutes=10)
"""First sightings move with the look-ahead on each read. What is lost of them in a crash lies at its far end, where it
is seen again long before it matters; what came at short notice changed the roster and was kept with it."""

LARGE: Final = 2_000
"""Shifts from which on encoding would hold up everybody who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a source's last run left."""

    index: RosterIndex
    revision: int
    age: timedelta
    sightings: Sightings | None


class _Note(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered of a source between two rosters."""

    revision: int
    read_at: datetime


class KeepRoster:
    """The use case for all sources."""

    def __init__(self, *, memory: Memory, clock: Clock) -> None:
        self._memory = memory
        self._clock = clock
        self._kept: dict[SourceName, tuple[int, datetime]] = {}

    async def keep(self, held: HeldRoster, sightings: Sightings, *, age: timedelta = timedelta(0)) -> None:
        """Keep a roster that a complete read has confirmed so long ago. Raises `Unavailable` when the disk fails."""
        name, now = held.index.source, self._clock.now()
        revision, sighted_at = self._kept.get(name, (-1, now))
        if revision != held.revision:
            content = await _encoded(held, msgspec.json.encode, held.index.roster)
            await self._memory.keep_roster(
                RosterRevision(source=name, revision=held.revision, at=now, digest=held.index.digest), content
            )
        if revision != held.revision or now - sighted_at >= SIGHTINGS_EVERY:
            dumped = await _encoded(held, dump_sightings, sightings)
            await self._memory.remember(f"sightings/{name}", b64encode(dumped).decode())
            sighted_at = now
        await self._memory.remember(f"roster/{name}", _Note(revision=held.revision, read_at=now - age))
        self._kept[name] = (held.revision, sighted_at)

    def restore(self, name: SourceName) -> Restored | None:
        """What was kept of a source; None when nothing usable was.

        Raises `Malformed` when what was kept is not what this program keeps, and port errors of the memory.
        """
        found = self._memory.recall(f"roster/{name}")
        if found is None:
            return None
        note = _read(found, _Note, name)
        age = self._clock.now() - note.read_at
        content = self._memory.kept_roster(name, note.revision)
        if content is None or age < timedelta(0):
            return None
        index = index_roster(stored_roster(content, name))
        return Restored(index=index, revision=note.revision, age=age, sightings=self.sightings(name))

    def sightings(self, name: SourceName) -> Sightings | None:
        """When each piece of shift was first seen; None when that was never kept. Raises as `restore`."""
        dumped = self._memory.recall(f"sightings/{name}")
        return None if dumped is None else load_sightings(b64decode(_read(dumped, str, name)))


def stored_roster(content: bytes, name: SourceName) -> Roster:
    """The roster that was kept as these bytes. Raises `Malformed` when they are not what this program keeps."""
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise Malformed(f"what was kept of the roster of {name} cannot be read: {error}") from error
    roster: Roster = _read(value, Roster, name)
    return roster


async def _encoded(held: HeldRoster, encode: Callable[[Any], bytes], value: Any) -> bytes:
    """Encode in a thread when the roster is large: on a hundred thousand people it takes half a second."""
    if len(held.index.roster.shifts) < LARGE:
        return encode(value)
    return await asyncio.to_thread(encode, value)


def _read(value: Any, kind: type[Any], name: SourceName) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"what was kept of the roster of {name} cannot be read: {error}") from error
