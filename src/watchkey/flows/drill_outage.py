"""Play an outage of the provider through in virtual time: who would still be let in, and when would nobody be.

The reading of the sources fails as it would, and the decisions are those of the service, as time passes and what was
read grows old. What is asked is whether somebody would be let in anew; an allow that was given before the roster grew
stale runs on to its own end, no longer than the resource's `ttl_max`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from watchkey.model.access import AccessRequest, Allow, Decision, Reason, Resource, Subject
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Scope
from watchkey.ports import RosterStore
from watchkey.rules.identity import Links
from watchkey.rules.roster import RosterIndex

CALLER: Final = CallerId("drill")
_HOUR: Final = timedelta(hours=1)
_JUST_AFTER: Final = timedelta(milliseconds=1)
"""An age is too old when it is above its bound, so the first instant of that is just after it."""


class Told(Protocol):
    """A decision with what led to it."""

    @property
    def decision(self) -> Decision:
        """The decision."""
        ...


class Explains(Protocol):
    """The decision without effect."""

    async def explain(self, request: AccessRequest, *, at: datetime | None = None) -> Told:
        """The decision as it would be now; recorded nowhere."""
        ...


class Syncs(Protocol):
    """Who reads the sources."""

    async def sync(self, name: SourceName) -> object:
        """Read one source, taken over whole or not at all; never raises."""
        ...


class VirtualTime(Protocol):
    """A clock that the drill sets forward."""

    def now(self) -> datetime:
        """The virtual instant."""
        ...

    def move_to(self, instant: datetime) -> None:
        """Let time pass until then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who would be let in."""

    subject: SubjectId
    name: str
    privileges: tuple[PrivilegeName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What one resource looks like at one instant."""

    at: datetime
    resource: ResourceId
    holders: tuple[Holder, ...]
    why: Reason | None = None
    """Why nobody would be let in: what is said to whoever has the pager, or that nobody has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The whole drill: each full hour of every resource, and each instant at which something may change."""

    starts_at: datetime
    ends_at: datetime
    moments: tuple[Moment, ...]

    def of(self, resource: ResourceId) -> tuple[Moment, ...]:
        """The moments of one resource, by time."""
        return tuple(moment for moment in self.moments if moment.resource == resource)

    def first_without(self, resource: ResourceId) -> Moment | None:
        """The first moment at which nobody would be let in; None when there is none."""
        return next((moment for moment in self.of(resource) if not moment.holders), None)

    def hours(self) -> Iterator[datetime]:
        """The full hours from the beginning on."""
        at = self.starts_at
        while at < self.ends_at:
            yield at
            at += _HOUR


class DrillOutage:
    """The use case, on rosters that were read once, just before the outage."""

    def __init__(
        self,
        *,
        clock: VirtualTime,
        sync: Syncs,
        explains: Explains,
        rosters: RosterStore,
        links: Links,
        sources: Iterable[SourceName],
    ) -> None:
        self._clock = clock
        self._sync = sync
        self._explains = explains
        self._rosters = rosters
        self._links = links
        self._sources = tuple(sources)

    async def play(self, resources: Sequence[Resource], length: timedelta) -> Outage:
        """Let the outage last so long, from the clock's present instant on."""
        start = self._clock.now()
        end = start + length
        asked: dict[datetime, list[Resource]] = {}
        for resource in resources:
            for instant in self._instants(resource, start, end):
                asked.setdefault(instant, []).append(resource)
        moments: list[Moment] = []
        for instant, there in sorted(asked.items()):
            self._clock.move_to(instant)
            if instant > start:
                for name in self._sources:
                    await self._sync.sync(name)
            moments += [await self._moment(resource, instant) for resource in there]
        return Outage(starts_at=start, ends_at=end, moments=tuple(moments))

    def _instants(self, resource: Resource, start: datetime, end: datetime) -> set[datetime]:
        """The full hours, the borders of the shifts, and when what was read becomes too old."""
        found = {start + count * _HOUR for count in range(int((end - start) / _HOUR) + 1)}
        ages = (resource.age_max, resource.forecast_max)
        found |= {start + age + _JUST_AFTER for age in ages} | {start + resource.ttl_max}
        for scope, index in self._held((*resource.scopes, *resource.second_scopes)):
            found.add(index.roster.window_ends_at)
            shifts = index.shifts(scope, start, end)
            found |= {edge for shift in shifts for edge in (shift.starts_at, shift.ends_at) if edge is not None}
        return {instant for instant in found if start <= instant < end}

    def _held(self, scopes: Sequence[Scope]) -> Iterator[tuple[Scope, RosterIndex]]:
        held = self._rosters.held()
        for scope in scopes:
            if scope.source in held:
                yield scope, held[scope.source].index

    async def _moment(self, resource: Resource, at: datetime) -> Moment:
        holders: list[Holder] = []
        held = self._rosters.held()
        # a source that was never read is not one that has nobody
        why = Reason.NOT_ON_CALL if all(one.source in held for one in resource.scopes) else Reason.NO_ROSTER
        for subject, name in self._candidates(resource, at).items():
            decisions = {one: await self._ask(resource, subject, one) for one in resource.privileges}
            given = tuple(one for one, decision in decisions.items() if isinstance(decision, Allow))
            if given:
                holders.append(Holder(subject=subject, name=name, privileges=given))
            else:
                why = next((decision.reason for decision in decisions.values()), why)
        return Moment(at=at, resource=resource.id, holders=tuple(holders), why=None if holders else why)

    def _candidates(self, resource: Resource, at: datetime) -> Mapping[SubjectId, str]:
        """Whoever has the pager or is at an incident, as far as they are linked."""
        found: dict[SubjectId, str] = {}
        for scope, index in self._held(resource.scopes):
            people: dict[PersonId, None] = {shift.person: None for shift in index.on_call(scope, at)}
            people |= {one.person: None for incident in index.incidents(scope) for one in incident.responders}
            for person in people:
                subject = self._links.subject_of(person, scope.source)
                known = index.person(person)
                if subject is not None:
                    found[subject] = person if known is None else known.name
        return found

    async def _ask(self, resource: Resource, subject: SubjectId, privilege: PrivilegeName) -> Decision:
        request = AccessRequest(subject=Subject(id=subject), privilege=privilege, resource=resource.id, caller=CALLER)
        return (await self._explains.explain(request)).decision
