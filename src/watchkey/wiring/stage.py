"""An outage played through: the real flows on a virtual clock."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import NotSynced, SyncRoster
from watchkey.model.errors import PortError, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.ports import Clock, RosterStore
from watchkey.settings import Settings
from watchkey.wiring.adapters import sources_of
from watchkey.wiring.clocks import SystemClock, VirtualClock
from watchkey.wiring.desk import dry_flows


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
    clock = VirtualClock(began_at)
    replayed = [_Replayed(roster, is_down=roster.source in down) for roster in rosters_read]
    dry = dry_flows(settings, clock, replayed, settings.sync.window)
    for roster in rosters_read:
        if isinstance(outcome := await dry.sync.sync(roster.source), NotSynced):
            failures[roster.source] = outcome.why
    return Stage(
        clock=clock,
        zone=settings.zone,
        rosters=dry.rosters,
        sync=dry.sync,
        request_access=dry.request_access,
        sources=[roster.source for roster in rosters_read],
        failures=failures,
        settings=settings,
        baseline=dry.baseline,
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
