"""An outage played through: the real flows on a virtual clock."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import NotSynced, SyncRoster
from watchkey.model.errors import PortError, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.ports import Clock, RosterStore
from watchkey.rules.roster import GuardLimits
from watchkey.settings import Settings
from watchkey.stores import memory
from watchkey.wiring.adapters import directory_of, sources_of
from watchkey.wiring.clocks import SystemClock, VirtualClock
from watchkey.wiring.dry import Forgetful, NoLog
from watchkey.wiring.kept import look_at_kept
from watchkey.wiring.policies import engines_of


class _Replayed:
    """A source that says what was read just before; one that is down says it once."""

    def __init__(self, roster: Roster, *, is_down: bool) -> None:
        self._roster = roster
        self._is_down = is_down
        self._was_read = False

    @property
    def name(self) -> SourceName:
        """The configured name."""
        return self._roster.source

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """The same roster as ever, read now; or nothing any more."""
        del window
        if self._is_down and self._was_read:
            raise Unavailable(f"{self.name}: the outage that is being played")
        self._was_read = True
        return replace(self._roster, taken_at=now + self._roster.clock_skew)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The real flows on a virtual clock, with rosters read once; `failures` are sources that could not be read."""

    clock: VirtualClock
    zone: tzinfo
    rosters: RosterStore
    sync: SyncRoster
    request_access: RequestAccess
    sources: Sequence[SourceName]
    failures: Mapping[SourceName, str]
    settings: Settings
    baseline: str
    """What is not known of when shifts were first seen, and what that means for their grades; empty when all is."""


async def open_stage(settings: Settings, *, down: Collection[SourceName], lasting: timedelta) -> Stage:
    """Read each source once. From then on those that are `down` fail, and the others say the same again and again."""
    real = SystemClock()
    began_at = real.now()
    rosters_read, failures = await _read_once(settings, down, lasting, real, began_at)
    clock, rosters, no_log = VirtualClock(began_at), memory.build(), NoLog()
    kept = look_at_kept(settings, clock)
    sync = SyncRoster(
        clock=clock,
        sources=[_Replayed(roster, is_down=roster.source in down) for roster in rosters_read],
        rosters=rosters,
        audit=no_log,
        memory=Forgetful(),
        sightings=kept.sightings,
        limits=GuardLimits(),
        window=settings.sync.window,
        poll_every=settings.sync.poll,
        words=kept,
    )
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines=engines_of(settings),
        audit=no_log,
        directory=directory_of(settings),
        zone=settings.zone,
    )
    logging.getLogger("watchkey.sync_roster").disabled = True  # the failures are the point of it
    for roster in rosters_read:
        if isinstance(outcome := await sync.sync(roster.source), NotSynced):
            failures[roster.source] = outcome.why
    return Stage(
        clock=clock,
        zone=settings.zone,
        rosters=rosters,
        sync=sync,
        request_access=access,
        sources=[roster.source for roster in rosters_read],
        failures=failures,
        settings=settings,
        baseline=kept.remark,
    )


async def _read_once(
    settings: Settings, down: Collection[SourceName], lasting: timedelta, clock: Clock, began_at: datetime
) -> tuple[list[Roster], dict[SourceName, str]]:
    """What each source says now, and why some say nothing."""
    read: list[Roster] = []
    failures: dict[SourceName, str] = {}
    for source in sources_of(settings, clock)[0]:
        # What stays up would be read again and again; its later windows are read at once.
        window = settings.sync.window if source.name in down else max(settings.sync.window, lasting)
        try:
            read.append(await source.fetch(now=began_at, window=window))
        except PortError as error:
            failures[source.name] = str(error)
        finally:
            await source.close()
    return read, failures
