"""What the service has kept, looked at without touching it, so that a desk grades shifts as the service does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster
from watchkey.model.errors import PortError, Unavailable
from watchkey.model.ids import SourceName
from watchkey.ports import Clock, RosterRevision
from watchkey.rules.confirmation import Confirmation
from watchkey.rules.provenance import Sightings
from watchkey.settings import Settings
from watchkey.stores import sqlite
from watchkey.wiring.dry import NoLog


class ReadOnlyMemory:
    """The service's memory as it is now; it takes nothing."""

    def __init__(self, database: Path) -> None:
        self._database = database

    async def remember(self, name: str, value: Any) -> None:
        """Refuse."""
        del value
        raise Unavailable(f"nothing is kept here, not even {name}")

    def recall(self, name: str) -> Any:
        """What the service keeps under that name."""
        return sqlite.recalled(self._database, name)

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        """Refuse."""
        del content
        raise Unavailable(f"nothing is kept here, not even {revision}")

    def kept_roster(self, source: SourceName, revision: int) -> bytes | None:
        """The content of a revision that the service has kept."""
        return sqlite.kept_roster(self._database, source, revision)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """When shifts were first seen, and what people vouched for."""

    sightings: Mapping[SourceName, Sightings] = field(default_factory=dict)
    words: Mapping[SourceName, Sequence[Confirmation]] = field(default_factory=dict)
    remark: str = ""
    """What is missing of it, and what that means for the grades; empty when nothing is."""

    def standing(self, source: SourceName) -> Sequence[Confirmation]:
        """The words that count there."""
        return self.words.get(source, ())

    def taken_back(self, source: SourceName) -> Sequence[Confirmation]:
        """None: nothing here was ever raised by them."""
        del source
        return ()

    async def lapse(self, gone: Sequence[Confirmation]) -> None:
        """Nothing: only the service lets a word go."""


def look_at_kept(settings: Settings, clock: Clock) -> Kept:
    """What the service of this configuration has kept; with a remark instead of it where there is nothing to read."""
    database = settings.storage.path
    if not database.exists():
        return Kept(remark=_baseline(f"there is no store of a service at {database}"))
    memory = ReadOnlyMemory(database)
    keeps = KeepRoster(memory=memory, clock=clock)
    try:
        found = {name: keeps.sightings(name) for name in settings.sources}
        words = KeepConfirmations(memory=memory, audit=NoLog(), clock=clock).recall()
        standing = {name: tuple(words.standing(name)) for name in settings.sources}
    except PortError as error:
        return Kept(remark=_baseline(f"the store of the service cannot be read: {error}"))
    unseen = [name for name, sightings in found.items() if sightings is None]
    return Kept(
        sightings={name: sightings for name, sightings in found.items() if sightings is not None},
        words=standing,
        remark=_baseline(f"the service has not read {', '.join(unseen)} yet") if unseen else "",
    )


def _baseline(why: str) -> str:
    return (
        f"{why}: what is read there now is taken as it is, so a shift that came at short notice by an unknown hand "
        "passes for the rota"
    )
