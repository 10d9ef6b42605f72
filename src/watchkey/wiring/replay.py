"""Decisions of the log, made again on the rosters of then."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from watchkey.flows.keep_roster import stored_roster
from watchkey.flows.replay_decisions import LoggedDecision
from watchkey.model.access import Decision
from watchkey.model.errors import Refused
from watchkey.model.ids import SourceName
from watchkey.ports import PolicyEngine
from watchkey.rules.roster import RosterIndex, index_roster
from watchkey.settings import Settings
from watchkey.stores import sqlite
from watchkey.wiring.adapters import directory_of
from watchkey.wiring.dry import dry_access

REPLAY_ROSTERS: Final = 8
"""Rosters that a replay keeps in memory; decisions come in the order of time, and so do their rosters."""


class ReplayBench:
    """Makes decisions of the log again: rosters of then, resources and links of the configuration as it is now."""

    def __init__(self, settings: Settings, database: Path) -> None:
        self._settings = settings
        self._database = database
        self._directory = directory_of(settings)
        self._indexes: dict[tuple[SourceName, int], RosterIndex] = {}

    def asker(self, engine: PolicyEngine) -> Callable[[LoggedDecision], Awaitable[Decision]]:
        """How one policy would have decided. Raises `Refused` for what cannot be asked again, and port errors."""
        engines = dict.fromkeys((resource.policy for resource in self._settings.resources.values()), engine)

        async def ask(logged: LoggedDecision) -> Decision:
            resource = self._settings.resources.get(logged.request.resource)
            if resource is None:
                raise Refused(f"there is no resource {logged.request.resource!r} any more")
            rosters = [(self._index(source, revision), revision, age) for source, revision, age in logged.grounds]
            access = dry_access(rosters, engines, self._directory, at=logged.at, zone=self._settings.zone)
            return (await access.explain(logged.request)).decision

        return ask

    def _index(self, source: SourceName, revision: int) -> RosterIndex:
        key = (source, revision)
        if key not in self._indexes:
            content = sqlite.kept_roster(self._database, source, revision)
            if content is None:
                raise Refused(f"a roster of {source} is not kept any more")
            if len(self._indexes) >= REPLAY_ROSTERS:
                del self._indexes[next(iter(self._indexes))]
            self._indexes[key] = index_roster(stored_roster(content, source))
        return self._indexes[key]
