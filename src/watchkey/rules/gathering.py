"""What one read of a provider has found so far, and how it becomes a roster: the part that all providers share.

Most providers keep schedules (who has which turn) apart from policies (which schedule is paged at which level). A turn
becomes one shift for each level that pages it, or one without policy and level when nothing does.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta

from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    EscalationPolicy,
    Incident,
    Person,
    Provenance,
    Roster,
    Schedule,
    Service,
    Shift,
)

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:@+=-]{1,128}\Z")]
"""A provider's identifier: safe in a path and in a log line."""

Instant = Annotated[datetime, Meta(tz=True)]
"""An instant with its offset; a local time without one is not an instant."""

_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_WEAKEST_LAST: Final = (Provenance.SWAP, Provenance.OTHER_OVERRIDE, Provenance.UNKNOWN, Provenance.SELF_OVERRIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time that is read, `[since, until)`, in whole seconds and UTC."""

    since: datetime
    until: datetime

    @classmethod
    def of(cls, now: datetime, length: timedelta) -> "Window":
        """The window of that length from `now` on."""
        since, until = now.astimezone(UTC), (now + length).astimezone(UTC)
        return cls(since=since.replace(microsecond=0), until=until.replace(microsecond=0))

    def touches(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether a span has an instant in the window; an empty one has none."""
        if start is not None and end is not None and start >= end:
            return False
        return (start is None or start < self.until) and (end is None or end > self.since)

    def whole_days(self) -> tuple[datetime, datetime]:
        """The days around the window, for providers that cut shifts off at what is asked for.

        Borders that move once a day, and not with each read, keep two reads of an unchanged rota equal. The first day
        is one earlier, so that a shift that began last night has its true start.
        """
        first = self.since.replace(hour=0, minute=0, second=0) - timedelta(days=1)
        last = self.until.replace(hour=0, minute=0, second=0) + timedelta(days=1)
        return first, last


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One level of an escalation policy: whom it pages. `level` None: there is one, and nobody can say which."""

    level: int | None
    schedules: tuple[str, ...] = ()
    people: tuple[PersonId, ...] = ()
    """Named directly: they never go off call."""


@dataclass(slots=True, kw_only=True)
class Gathered:
    """What one read has found so far. Used by one read, from the first request to `roster`."""

    window: Window
    unlisted: bool | None = False
    """Whether somebody who is on call and not in the list of people is active; None for providers without a list."""
    people: dict[PersonId, Person] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    incidents: list[Incident] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be learnt, in sentences for the operator."""
    _mentioned: dict[PersonId, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    _ladders: dict[str, tuple[str, tuple[Rung, ...]]] = field(default_factory=dict)
    _marks: dict[tuple[str | None, PersonId], list[Shift]] = field(default_factory=lambda: defaultdict(list))
    """By schedule and person, the time that is an override, with its grade and its maker."""
    _turns: list[Shift] = field(default_factory=list)
    _shifts: list[Shift] = field(default_factory=list)

    def person(self, id_: str, name: str | None, emails: Iterable[str | None] = (), *, active: bool | None) -> PersonId:
        """Take somebody from the provider's list of people."""
        person = PersonId(id_)
        known = tuple(dict.fromkeys(email for email in emails if email))
        self.people[person] = Person(id=person, name=name or id_, emails=known, active=active)
        return person

    def mention(self, id_: str, name: str | None = None, *emails: str | None) -> PersonId:
        """Somebody who is named somewhere; it tells nothing of whether the account still exists."""
        person = PersonId(id_)
        self._mentioned.setdefault(person, (name or id_, tuple(email for email in emails if email)))
        return person

    def schedule(self, id_: str, name: str | None, time_zone: str | None = None) -> None:
        """Take a schedule."""
        self.schedules[id_] = Schedule(id=id_, name=name or id_, time_zone=time_zone or "UTC")

    def service(self, id_: str, name: str | None, policy: str | None) -> None:
        """Take a service; the policy must be given too, before or after."""
        self.services[id_] = Service(id=id_, name=name or id_, policy=policy)

    def policy(self, id_: str, name: str | None, rungs: Iterable[Rung] = ()) -> None:
        """Take an escalation policy with what it pages at which level."""
        self._ladders[id_] = (name or id_, tuple(rungs))

    def turn(
        self,
        person: PersonId,
        schedule: str,
        starts_at: datetime | None,
        ends_at: datetime | None,
        provenance: Provenance = Provenance.UNKNOWN,
    ) -> None:
        """Somebody's turn in a schedule; the policies say later at which levels it is paged.

        Raises `Malformed` when it ends before it starts. One without an end has an end that nobody knows.
        """
        self._take(
            self._turns,
            Shift(person=person, schedule=schedule, starts_at=starts_at, ends_at=ends_at, provenance=provenance),
        )

    def override(
        self,
        person: PersonId,
        schedule: str,
        starts_at: datetime,
        ends_at: datetime,
        provenance: Provenance = Provenance.SELF_OVERRIDE,
    ) -> None:
        """Time of that person in that schedule which somebody put in by hand; turns are cut at its borders.

        When the provider does not say who did, it counts as done by its beneficiary.
        """
        mark = Shift(person=person, starts_at=starts_at, ends_at=ends_at, provenance=provenance)
        self._marks[schedule, person].append(mark)

    def shift(self, shift: Shift) -> None:
        """A shift with its policy and level, as some providers give it. Raises as `turn`.

        ROTA is not taken from a provider: a rota may have been changed a minute ago, and only the difference of two
        reads shows that (`rules/provenance`).
        """
        if shift.provenance is Provenance.ROTA:
            shift = replace(shift, provenance=Provenance.UNKNOWN)
        self._take(self._shifts, shift)

    def everybody(self) -> list[PersonId]:
        """Who was named so far, in order; for providers that are asked for people by id."""
        named = {*self.people, *self._mentioned}
        named |= {shift.person for shift in (*self._turns, *self._shifts)}
        named |= {person for _, rungs in self._ladders.values() for rung in rungs for person in rung.people}
        named |= {responder.person for incident in self.incidents for responder in incident.responders}
        return sorted(named)

    def roster(self, source: SourceName, now: datetime, clock_skew: timedelta) -> Roster:
        """Everything, as one value. `now` is when the read began, by our clock."""
        placed = (piece for shift in (*self._shifts, *self._placed_turns()) for piece in self._graded(shift))
        # Joined first: a turn that was cut in two at `now` has a part before the window.
        joined = _joined([*placed, *self._direct()])
        shifts = [shift for shift in joined if self.window.touches(shift.starts_at, shift.ends_at)]
        return Roster(
            source=source,
            taken_at=now.astimezone(UTC) + clock_skew,
            window_ends_at=self.window.until,
            people=self._known(shifts),
            schedules=tuple(self._all_schedules(shifts)),
            policies=tuple(self._policies()),
            services=tuple(self.services.values()),
            shifts=tuple(shifts),
            incidents=tuple(self.incidents),
            clock_skew=clock_skew,
        )

    # -- inside --------------------------------------------------------------------------------------------------

    def _take(self, into: list[Shift], shift: Shift) -> None:
        """Bring a shift to UTC and say what its end means."""
        start, end = in_utc(shift.starts_at), in_utc(shift.ends_at)
        if start is not None and end is not None and end < start:
            raise Malformed(
                f"{shift.person} is on call in {shift.schedule or shift.policy} from {start.isoformat()} to"
                f" {end.isoformat()}, which is backwards"
            )
        kind = shift.end_kind
        if end is None:
            kind = EndKind.PERMANENT if kind is EndKind.PERMANENT else EndKind.UNKNOWN
        elif kind is EndKind.EXACT and end >= self.window.until:
            kind = EndKind.TRUNCATED
        into.append(replace(shift, starts_at=start, ends_at=end, end_kind=kind))

    def _placed_turns(self) -> Iterator[Shift]:
        places: dict[str, list[tuple[str, int | None]]] = defaultdict(list)
        for policy, (_, rungs) in self._ladders.items():
            for rung in rungs:
                for schedule in rung.schedules:
                    places[schedule].append((policy, rung.level))
        for turn in self._turns:
            placed = places.get(turn.schedule or "", ())
            for policy, level in dict.fromkeys(placed):
                yield replace(turn, policy=policy, level=level)
            if not placed:
                yield turn

    def _graded(self, shift: Shift) -> Iterator[Shift]:
        """Cut a shift at the borders of the overrides in it, and grade each piece by the weakest that covers it."""
        marks = self._marks.get((shift.schedule, shift.person), ())
        starts, ends = shift.starts_at or _EVER, shift.ends_at or _NEVER
        instants = (instant for mark in marks for instant in (mark.starts_at, mark.ends_at) if instant is not None)
        borders = sorted({instant.astimezone(UTC) for instant in instants if starts < instant < ends})
        for start, end in pairwise([starts, *borders, ends]):
            piece = replace(
                shift,
                starts_at=shift.starts_at if start == starts else start,
                ends_at=shift.ends_at if end == ends else end,
                end_kind=shift.end_kind if end == ends else EndKind.EXACT,
            )
            covering = [mark.provenance for mark in marks if mark.covers(start)]
            if covering:
                piece = replace(piece, provenance=max(covering, key=_WEAKEST_LAST.index))
            yield piece

    def _direct(self) -> Iterator[Shift]:
        for policy, (_, rungs) in self._ladders.items():
            for rung in rungs:
                for person in dict.fromkeys(rung.people):
                    yield Shift(
                        person=person,
                        policy=policy,
                        level=rung.level,
                        starts_at=None,
                        ends_at=None,
                        end_kind=EndKind.PERMANENT,
                        provenance=Provenance.PERMANENT,
                    )

    def _policies(self) -> Iterator[EscalationPolicy]:
        for id_, (name, rungs) in self._ladders.items():
            levels: dict[int, list[str]] = defaultdict(list)
            for rung in rungs:
                if rung.level is not None:
                    levels[rung.level].extend(rung.schedules)
            top = max(levels, default=0)
            by_level = tuple(tuple(dict.fromkeys(levels.get(level, ()))) for level in range(1, top + 1))
            yield EscalationPolicy(id=id_, name=name, schedules_by_level=by_level)

    def _known(self, shifts: Iterable[Shift]) -> tuple[Person, ...]:
        """The listed, the mentioned and whoever else is on call: deleted accounts stay in schedules."""
        for shift in shifts:
            self.mention(shift.person)
        for incident in self.incidents:
            for responder in incident.responders:
                self.mention(responder.person)
        others = (
            Person(id=person, name=name, emails=emails, active=self.unlisted)
            for person, (name, emails) in self._mentioned.items()
            if person not in self.people
        )
        return (*self.people.values(), *others)

    def _all_schedules(self, shifts: Iterable[Shift]) -> Iterator[Schedule]:
        yield from self.schedules.values()
        others = dict.fromkeys(shift.schedule for shift in shifts if shift.schedule)
        yield from (Schedule(id=id_, name=id_) for id_ in others if id_ not in self.schedules)


def in_utc(instant: datetime | None) -> datetime | None:
    """The instant in UTC, or None when there is none."""
    return None if instant is None else instant.astimezone(UTC)


def refuse_missing(vendor: str, kind: str, missing: Iterable[str]) -> None:
    """Raise `Refused` for objects that the configuration names and the provider does not know; nothing for none."""
    names = ", ".join(sorted(missing))
    if names:
        raise Refused(f"{vendor} does not know these {kind}, which the configuration names: {names}")


def _joined(shifts: Iterable[Shift]) -> Iterator[Shift]:
    """Join shifts of one duty and grade that touch: some providers cut a running shift in two at each read."""
    groups: dict[Shift, list[Shift]] = defaultdict(list)
    for shift in dict.fromkeys(shifts):
        groups[replace(shift, starts_at=None, ends_at=None, end_kind=EndKind.EXACT)].append(shift)
    for group in groups.values():
        group.sort(key=lambda shift: shift.starts_at or _EVER)
        before = group[0]
        for shift in group[1:]:
            if before.end_kind is EndKind.EXACT and shift.starts_at == before.ends_at:
                before = replace(before, ends_at=shift.ends_at, end_kind=shift.end_kind)
            else:
                yield before
                before = shift
        yield before
