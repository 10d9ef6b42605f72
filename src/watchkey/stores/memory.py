"""The current roster of each source, in memory: whole, immutable, swapped at once."""

from collections.abc import Mapping
from types import MappingProxyType

from watchkey.model.ids import SourceName
from watchkey.ports import HeldRoster, RosterStore
from watchkey.rules.roster import RosterIndex


class MemoryRosters:
    """A mapping that is replaced, never changed, so that a reader keeps one consistent view without a lock."""

    def __init__(self, held: Mapping[SourceName, HeldRoster] | None = None) -> None:
        self._held: Mapping[SourceName, HeldRoster] = MappingProxyType(dict(held or {}))

    def held(self) -> Mapping[SourceName, HeldRoster]:
        """All rosters as they are now."""
        return self._held

    def swap(self, index: RosterIndex, *, read_at: float) -> HeldRoster:
        """Make this the roster of its source; the same content only renews `read_at`."""
        before = self._held.get(index.source)
        is_same = before is not None and before.index.digest == index.digest
        revision = 1 if before is None else before.revision + (not is_same)
        held = HeldRoster(index=index, revision=revision, read_at=read_at)
        self._held = MappingProxyType({**self._held, index.source: held})
        return held


def build(held: Mapping[SourceName, HeldRoster] | None = None) -> RosterStore:
    """A store that begins with what an earlier run left, or empty; revisions go on from there."""
    return MemoryRosters(held)
