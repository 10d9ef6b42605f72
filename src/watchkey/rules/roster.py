"""Who is on call at an instant: a roster as an immutable, indexed value; its differences; the guard against shrinking.

Every span is half-open, `[starts_at, ends_at)`. Nothing here reads a clock; `now` and `instant` are arguments.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec

from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    Incident,
    Involvement,
    Person,
    Provenance,
    Responder,
    Roster,
    Scope,
    ScopeKind,
    Shift,
)
from watchkey.rules.dependencies import turned
from watchkey.rules.identity import canonical_email

_LEVEL_LAST: Final = 1 << 30
"""Sorts a missing level behind every real one."""

_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_FEW: Final = 32
"""Up to so many shifts of one person are looked through; an index over them would cost more than it saves."""

_NOT_RESPONDING: Final = frozenset({Involvement.REQUESTED, Involvement.DECLINED})

_WEAKEST_LAST: Final = (
    Provenance.ROTA,
    Provenance.SWAP,
    Provenance.OTHER_OVERRIDE,
    Provenance.PERMANENT,
    Provenance.SELF_OVERRIDE,
    Provenance.UNKNOWN,
)
_CERTAIN_LAST: Final = (EndKind.UNKNOWN, EndKind.TRUNCATED, EndKind.EXACT, EndKind.PERMANENT)

Duty = tuple[PersonId, str | None, int | None, str | None]
"""What one person is there for: person, policy, level, schedule. Rows with the same four speak of the same duty."""


def _starts(shift: Shift) -> datetime:
    return shift.starts_at or _EVER


def _ends(shift: Shift) -> datetime:
    return shift.ends_at or _NEVER


_Order = tuple[datetime, datetime, int, str, str, str, str, str]


def _by_start(shift: Shift) -> _Order:
    """A total order, so that equal content has one order whatever the provider's was."""
    return (
        _starts(shift),
        _ends(shift),
        _LEVEL_LAST if shift.level is None else shift.level,
        shift.person,
        shift.policy or "",
        shift.schedule or "",
        shift.provenance,
        shift.created_by or "",
    )


def _by_level(shift: Shift) -> tuple[int, _Order]:
    return _LEVEL_LAST if shift.level is None else shift.level, _by_start(shift)


def _duty(shift: Shift) -> Duty:
    return shift.person, shift.policy, shift.level, shift.schedule


class _Timeline:
    """Shifts in the order of their starts, with what is needed to find those that cover an instant.

    `longer[i]` is the nearest earlier shift that ends later than shift i (-1: none). Walking back from the last start
    at or before the instant, everything between i and `longer[i]` has ended if i has: so the walk visits what covers
    the instant and little else, in memory linear in the number of shifts even when all of them overlap.
    """

    __slots__ = ("ends", "longer", "shifts", "starts")

    def __init__(self, shifts: Iterable[Shift]) -> None:
        self.shifts: Final = tuple(sorted(shifts, key=_by_start))
        self.starts: Final = [_starts(s) for s in self.shifts]
        self.ends: Final = [_ends(s) for s in self.shifts]
        self.longer: Final = [-1] * len(self.shifts)
        for i, end in enumerate(self.ends):
            j = i - 1
            while j >= 0 and self.ends[j] <= end:
                j = self.longer[j]
            self.longer[i] = j

    def _back_from(self, i: int, instant: datetime) -> Iterator[Shift]:
        while i >= 0:
            if self.ends[i] > instant:
                yield self.shifts[i]
                i -= 1
            else:
                i = self.longer[i]

    def covering(self, instant: datetime) -> Iterator[Shift]:
        """Yield the shifts that cover the instant, latest start first."""
        return self._back_from(bisect_right(self.starts, instant) - 1, instant)

    def overlapping(self, start: datetime, end: datetime) -> Iterator[Shift]:
        """Yield the shifts that share an instant with `[start, end)`, latest start first."""
        return self._back_from(bisect_left(self.starts, end) - 1, start) if start < end else iter(())


_EMPTY: Final = _Timeline(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How long somebody stays covered without a gap, and what kind of end that is."""

    until: datetime | None
    """None: it never ends (`end_kind` PERMANENT) or nobody knows (UNKNOWN)."""
    end_kind: EndKind


class RosterIndex:
    """A roster with its lookups. Equal content has an equal `digest`; nothing about it ever changes.

    Made by `index_roster`. Parts of the index are built when they are first asked for; building them twice at once is
    harmless, so that it may be shared between threads.
    """

    __slots__ = (
        "_by_email",
        "_by_person",
        "_by_policy",
        "_by_schedule",
        "_dependents",
        "_incidents_by_policy",
        "_incidents_by_service",
        "_people",
        "_person_timelines",
        "_policies",
        "_policy_of",
        "_schedules",
        "_timelines",
        "digest",
        "roster",
    )

    def __init__(self, roster: Roster, digest: str) -> None:
        self.roster: Final = roster
        self.digest: Final = digest
        """SHA-256, hexadecimal, of the canonical content: not of when or how it was read."""
        self._people: Final = {person.id: person for person in roster.people}
        self._policy_of: Final = {service.id: service.policy for service in roster.services}
        self._dependents: Final = turned({service.id: service.depends_on for service in roster.services})
        self._policies: Final = frozenset(policy.id for policy in roster.policies)
        self._schedules: Final = frozenset(schedule.id for schedule in roster.schedules)
        by_person: dict[PersonId, list[Shift]] = defaultdict(list)
        by_policy: dict[str, list[Shift]] = defaultdict(list)
        by_schedule: dict[str, list[Shift]] = defaultdict(list)
        for shift in roster.shifts:
            by_person[shift.person].append(shift)
            if shift.policy is not None:
                by_policy[shift.policy].append(shift)
            if shift.schedule is not None:
                by_schedule[shift.schedule].append(shift)
        self._by_person: Final[Mapping[PersonId, Sequence[Shift]]] = dict(by_person)
        self._by_policy: Final[Mapping[str, Sequence[Shift]]] = dict(by_policy)
        self._by_schedule: Final[Mapping[str, Sequence[Shift]]] = dict(by_schedule)
        self._incidents_by_service: Final = _group(roster.incidents, lambda incident: incident.service)
        self._incidents_by_policy: Final = _group(roster.incidents, self._policy_of_incident)
        self._timelines: Final[dict[tuple[ScopeKind, str], _Timeline]] = {}
        self._person_timelines: Final[dict[PersonId, _Timeline]] = {}
        self._by_email: dict[str, tuple[Person, ...]] | None = None

    def __repr__(self) -> str:
        return f"<RosterIndex {self.source} {self.digest[:12]} {len(self.roster.shifts)} shifts>"

    # -- who and what exists -------------------------------------------------------------------------------------

    @property
    def source(self) -> SourceName:
        """The source that was read."""
        return self.roster.source

    def person(self, person: PersonId) -> Person | None:
        """Return the person with that id."""
        return self._people.get(person)

    def people_by_email(self, canonical: str) -> tuple[Person, ...]:
        """Return everybody with an address of that form (`identity.canonical_email`); more than one is a collision."""
        if self._by_email is None:
            found: dict[str, dict[PersonId, Person]] = defaultdict(dict)
            for person in self.roster.people:
                for email in person.emails:
                    found[canonical_email(email)][person.id] = person
            self._by_email = {email: tuple(people.values()) for email, people in found.items()}
        return self._by_email.get(canonical, ())

    def knows(self, scope: Scope) -> bool:
        """Whether the scope exists in this source: *nobody on call* and *no such thing* are different answers."""
        if scope.source != self.source:
            return False
        match scope.kind:
            case ScopeKind.SERVICE:
                return scope.id in self._policy_of
            case ScopeKind.ESCALATION_POLICY:
                return scope.id in self._policies or scope.id in self._by_policy
            case ScopeKind.SCHEDULE:
                return scope.id in self._schedules or scope.id in self._by_schedule

    def is_in(self, shift: Shift, scope: Scope) -> bool:
        """Return whether the shift is one of that scope's."""
        return self._in_scope(scope)(shift)

    def policy_of(self, service: str) -> str | None:
        """Return the escalation policy that the service pages; None also for a service that does not exist."""
        return self._policy_of.get(service)

    def dependents_of(self, service: str) -> tuple[str, ...]:
        """Return the services that the source says depend on it."""
        return self._dependents.get(service, ())

    # -- who is on call ------------------------------------------------------------------------------------------

    def on_call(self, scope: Scope, instant: datetime) -> tuple[Shift, ...]:
        """Return the shifts that cover the instant, first paged first, those without a level last."""
        return tuple(sorted(self._timeline(scope).covering(instant), key=_by_level))

    def on_call_of(self, person: PersonId, scope: Scope, instant: datetime) -> tuple[Shift, ...]:
        """Return that person's shifts that cover the instant in the scope, in the order of `on_call`."""
        covers = self._in_scope(scope)
        found = [shift for shift in self._covering(person, instant) if covers(shift)]
        return tuple(sorted(found, key=_by_level)) if len(found) > 1 else tuple(found)

    def shifts(self, scope: Scope, start: datetime, end: datetime) -> tuple[Shift, ...]:
        """Return the shifts of the scope that share an instant with `[start, end)`, by start."""
        return tuple(self._timeline(scope).overlapping(start, end))[::-1]

    def shifts_of(self, person: PersonId) -> tuple[Shift, ...]:
        """Return all shifts of that person, by start."""
        return tuple(self._by_person.get(person, ()))

    def next_shift_of(
        self, person: PersonId, scope: Scope, instant: datetime, max_level: int | None = None
    ) -> Shift | None:
        """Return that person's first shift in the scope that starts after the instant.

        With `max_level`, only shifts at or below it count; a shift without a level then does not.
        """
        in_scope = self._in_scope(scope)
        for shift in self._by_person.get(person, ()):
            if _starts(shift) > instant and in_scope(shift) and _within(shift, max_level):
                return shift
        return None

    def last_shift_of(
        self, person: PersonId, scope: Scope, instant: datetime, max_level: int | None = None
    ) -> Shift | None:
        """Return that person's shift in the scope that ended last, at or before the instant."""
        in_scope = self._in_scope(scope)
        ended = (
            shift
            for shift in self._by_person.get(person, ())
            if _ends(shift) <= instant and in_scope(shift) and _within(shift, max_level)
        )
        return max(ended, key=_ends, default=None)

    def coverage(
        self, person: PersonId, scope: Scope, instant: datetime, accepts: Callable[[Shift], bool]
    ) -> Coverage | None:
        """Follow the accepted shifts of that person in the scope from the instant on, as long as there is no gap.

        Back-to-back and overlapping shifts are one chain. None when no accepted shift covers the instant. A chain
        never rests on an end that nobody knows when there is a known one: it stops at the last known end. The
        answer's `end_kind` belongs to its last link: only EXACT may be promised, TRUNCATED and UNKNOWN bound it.
        """
        in_scope = self._in_scope(scope)
        reached, kind = instant, None
        is_unknown = False
        for shift in self._by_person.get(person, ()):  # by start, so one pass suffices
            if _starts(shift) > reached:
                break
            if _ends(shift) <= instant or not in_scope(shift) or not accepts(shift):
                continue
            if shift.end_kind is EndKind.PERMANENT:
                return Coverage(until=None, end_kind=EndKind.PERMANENT)
            if shift.ends_at is None:
                is_unknown = is_unknown or _starts(shift) <= instant
            elif shift.ends_at > reached:
                reached, kind = shift.ends_at, shift.end_kind
            elif shift.ends_at == reached and kind is not None:
                kind = min(kind, shift.end_kind, key=_CERTAIN_LAST.index)
        if kind is not None:
            return Coverage(until=reached, end_kind=kind)
        return Coverage(until=None, end_kind=EndKind.UNKNOWN) if is_unknown else None

    def coverage_end(
        self, person: PersonId, scope: Scope, instant: datetime, accepts: Callable[[Shift], bool]
    ) -> datetime | None:
        """Return where `coverage` ends; the instant itself when there is none, None when it is endless or unknown."""
        found = self.coverage(person, scope, instant, accepts)
        return instant if found is None else found.until

    # -- who responds --------------------------------------------------------------------------------------------

    def incidents(self, scope: Scope) -> tuple[Incident, ...]:
        """Return the open incidents of a service, or of an escalation policy; a schedule has none."""
        if scope.source != self.source:
            return ()
        match scope.kind:
            case ScopeKind.SERVICE:
                return self._incidents_by_service.get(scope.id, ())
            case ScopeKind.ESCALATION_POLICY:
                return self._incidents_by_policy.get(scope.id, ())
            case ScopeKind.SCHEDULE:
                return ()

    def incidents_of(self, person: PersonId, scope: Scope) -> tuple[tuple[Incident, Responder], ...]:
        """Return the open incidents at which that person is, once for each part they have in it.

        Who was only asked, or declined, is not at it.
        """
        return tuple(
            (incident, responder)
            for incident in self.incidents(scope)
            for responder in incident.responders
            if responder.person == person and responder.involvement not in _NOT_RESPONDING
        )

    # -- inside --------------------------------------------------------------------------------------------------

    def _policy_of_incident(self, incident: Incident) -> str | None:
        if incident.policy is not None or incident.service is None:
            return incident.policy
        return self._policy_of.get(incident.service)

    def _key(self, scope: Scope) -> tuple[ScopeKind, str] | None:
        """Return whose shifts the scope means: a policy's or a schedule's; None when nobody's."""
        if scope.source != self.source:
            return None
        if scope.kind is not ScopeKind.SERVICE:
            return scope.kind, scope.id
        policy = self._policy_of.get(scope.id)
        return None if policy is None else (ScopeKind.ESCALATION_POLICY, policy)

    def _timeline(self, scope: Scope) -> _Timeline:
        key = self._key(scope)
        if key is None:
            return _EMPTY
        timeline = self._timelines.get(key)
        if timeline is None:
            groups = self._by_schedule if key[0] is ScopeKind.SCHEDULE else self._by_policy
            if key[1] not in groups:
                return _EMPTY  # not kept: asking for what does not exist must not grow memory
            timeline = self._timelines[key] = _Timeline(groups[key[1]])
        return timeline

    def _in_scope(self, scope: Scope) -> Callable[[Shift], bool]:
        key = self._key(scope)
        if key is None:
            return lambda _: False
        kind, wanted = key
        if kind is ScopeKind.SCHEDULE:
            return lambda shift: shift.schedule == wanted
        return lambda shift: shift.policy == wanted

    def _covering(self, person: PersonId, instant: datetime) -> Iterator[Shift]:
        mine = self._by_person.get(person, ())
        if len(mine) <= _FEW:
            return (shift for shift in mine if shift.covers(instant))
        timeline = self._person_timelines.get(person)
        if timeline is None:
            timeline = self._person_timelines[person] = _Timeline(mine)
        return timeline.covering(instant)


def _within(shift: Shift, max_level: int | None) -> bool:
    return max_level is None or (shift.level is not None and shift.level <= max_level)


def _group(incidents: Iterable[Incident], key: Callable[[Incident], str | None]) -> Mapping[str, tuple[Incident, ...]]:
    groups: dict[str, list[Incident]] = defaultdict(list)
    for incident in incidents:
        group = key(incident) if incident.is_open else None
        if group is not None:
            groups[group].append(incident)
    return {group: tuple(members) for group, members in groups.items()}


# -- building ----------------------------------------------------------------------------------------------------


def index_roster(roster: Roster) -> RosterIndex:
    """Check a roster and index it: sorted, without duplicates.

    Raises `Malformed` for what no reading can make sense of: an instant without a zone, a shift that ends before it
    starts, an end that is missing without being PERMANENT or UNKNOWN, a level below 1, two people with one id.
    """
    _check_people(roster)
    shifts = _merged(roster)
    if shifts != roster.shifts:
        roster = replace(roster, shifts=shifts)
    return RosterIndex(roster, _digest(roster))


def _check_people(roster: Roster) -> None:
    seen: dict[PersonId, Person] = {}
    for person in roster.people:
        if seen.setdefault(person.id, person) != person:
            raise Malformed(f"{roster.source}: two people have the id {person.id!r}: {person.name!r} and another")


def _check_shift(roster: Roster, shift: Shift) -> None:
    what = f"{roster.source}: a shift of {shift.person!r} in {shift.schedule or shift.policy!r}"
    for instant in (shift.starts_at, shift.ends_at):
        if instant is not None and instant.tzinfo is None:
            raise Malformed(f"{what}: {instant.isoformat()} has no time zone")
    if shift.ends_at is None and shift.end_kind not in {EndKind.PERMANENT, EndKind.UNKNOWN}:
        raise Malformed(f"{what} has no end, but its end is called {shift.end_kind}")
    if shift.end_kind is EndKind.PERMANENT and shift.ends_at is not None:
        raise Malformed(f"{what} is permanent, but ends at {shift.ends_at.isoformat()}")
    if _starts(shift) > _ends(shift):
        raise Malformed(f"{what} ends before it starts: {shift.starts_at} to {shift.ends_at}")
    if shift.level is not None and shift.level < 1:
        raise Malformed(f"{what} has level {shift.level}; level 1 is the first")


def _merged(roster: Roster) -> tuple[Shift, ...]:
    """Return the shifts by start, each fact once; what covers no instant is left out."""
    groups: dict[tuple[Duty, PersonId | None], list[Shift]] = defaultdict(list)
    window_end = roster.window_ends_at
    for shift in roster.shifts:
        _check_shift(roster, shift)
        if shift.starts_at is not None and shift.starts_at == shift.ends_at:
            continue
        if shift.end_kind is EndKind.EXACT and shift.ends_at == window_end:
            # Nobody asked what comes after the window, so its end says nothing about the shift's.
            groups[_duty(shift), shift.created_by].append(replace(shift, end_kind=EndKind.TRUNCATED))
        else:
            groups[_duty(shift), shift.created_by].append(shift)
    merged: list[Shift] = []
    for group in groups.values():
        merged.extend(group if len(group) == 1 else _merge(group))
    merged.sort(key=_by_start)
    return tuple(merged)


def _merge(group: list[Shift]) -> Iterator[Shift]:
    """Yield rows that say the same thing of the same person once.

    Overlapping rows of one grade become one row. The same span with two grades keeps the weaker. Rows that only touch
    stay apart: they are two turns, and `coverage` chains them.
    """
    spans: dict[tuple[datetime, datetime], Shift] = {}
    for shift in group:
        span = _starts(shift), _ends(shift)
        spans[span] = _weaker(spans[span], shift) if span in spans else shift
    open_by_grade: dict[Provenance, Shift] = {}
    for shift in sorted(spans.values(), key=_by_start):
        before = open_by_grade.get(shift.provenance)
        if before is None:
            open_by_grade[shift.provenance] = shift
        elif _starts(shift) < _ends(before):
            later = max(before, shift, key=lambda s: (_ends(s), -_CERTAIN_LAST.index(s.end_kind)))
            open_by_grade[shift.provenance] = replace(before, ends_at=later.ends_at, end_kind=later.end_kind)
        else:
            yield before
            open_by_grade[shift.provenance] = shift
    yield from open_by_grade.values()


def _weaker(one: Shift, other: Shift) -> Shift:
    """Join two rows of one span: the weaker grade, the less certain end."""
    return replace(
        one,
        provenance=max(one.provenance, other.provenance, key=_WEAKEST_LAST.index),
        end_kind=min(one.end_kind, other.end_kind, key=_CERTAIN_LAST.index),
    )


def _digest(roster: Roster) -> str:
    """Hash the content in canonical order: two reads of the same facts agree, whatever order the pages came in."""
    encode = msgspec.json.Encoder(order="deterministic").encode
    digest = sha256(roster.source.encode())
    # Where the window cut a shift off moves with each read and says nothing about the shift.
    shifts = tuple(replace(s, ends_at=None) if s.end_kind is EndKind.TRUNCATED else s for s in roster.shifts)
    for part in (roster.people, roster.schedules, roster.policies, roster.services, shifts, roster.incidents):
        lines = sorted(encode(item) for item in part)
        digest.update(b"\n%d\n" % len(lines))
        digest.update(b"\n".join(lines))
    return digest.hexdigest()


# -- two rosters -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterChange:
    """What data changed about who holds what from `now` on, within the time that both rosters know.

    The passing of time is no change: a shift that has ended neither appears nor vanishes.
    """

    appeared: tuple[Shift, ...] = ()
    """Shifts of the new roster that give somebody time which the old one did not."""
    vanished: tuple[Shift, ...] = ()
    """Shifts of the old roster that gave somebody time which the new one does not."""
    holders_now: int = 0
    """How many duties active people have at `now` in the old roster."""
    lost_now: frozenset[Duty] = frozenset()
    """Which of them the same person, active, does not have at `now` in the new one."""
    holders_ahead: int = 0
    """How many duties active people have in the old roster at any time from `now` on."""
    lost_ahead: frozenset[Duty] = frozenset()
    """Which of them they have at no time from `now` on in the new one."""
    services: int = 0
    """How many services page somebody in the old roster."""
    lost_services: frozenset[str] = frozenset()
    """Which of them page nobody, or another policy, in the new one."""

    @property
    def people(self) -> frozenset[PersonId]:
        """Everybody who gains or loses something."""
        return frozenset(shift.person for shift in (*self.appeared, *self.vanished)) | frozenset(
            duty[0] for duty in (*self.lost_now, *self.lost_ahead)
        )

    @property
    def is_empty(self) -> bool:
        """Whether nobody gains or loses anything."""
        return not (self.people or self.lost_services)


def diff(old: RosterIndex, new: RosterIndex, now: datetime) -> RosterChange:
    """Compare what two rosters of one source say from `now` to the earlier end of their windows."""
    if old.source != new.source:
        raise ValueError(f"{old.source} and {new.source} are two sources: their rosters cannot be compared")
    window_end = min(old.roster.window_ends_at, new.roster.window_ends_at)
    if old.digest == new.digest and not any(_is_cut_before(window_end, index) for index in (old, new)):
        return RosterChange()
    changed = _changed_people(old, new)
    appeared: list[Shift] = []
    vanished: list[Shift] = []
    for person in changed:
        appeared += _not_covered(new.shifts_of(person), old.shifts_of(person), now, window_end)
        vanished += _not_covered(old.shifts_of(person), new.shifts_of(person), now, window_end)
    old_now, old_ahead = _duties(old, old.roster.shifts, now, window_end)
    new_now, new_ahead = _duties(new, (s for p in changed for s in new.shifts_of(p)), now, window_end)
    old_services = {service.id: service.policy for service in old.roster.services if service.policy is not None}
    return RosterChange(
        appeared=tuple(appeared),
        vanished=tuple(vanished),
        holders_now=len(old_now),
        lost_now=frozenset(duty for duty in old_now - new_now if duty[0] in changed),
        holders_ahead=len(old_ahead),
        lost_ahead=frozenset(duty for duty in old_ahead - new_ahead if duty[0] in changed),
        services=len(old_services),
        lost_services=frozenset(s for s, policy in old_services.items() if new.policy_of(s) != policy),
    )


def _is_cut_before(instant: datetime, index: RosterIndex) -> bool:
    """Whether a shift is cut off within the time compared: the digest leaves out where, so it cannot vouch for it."""
    return any(s.end_kind is EndKind.TRUNCATED and _ends(s) < instant for s in index.roster.shifts)


def _changed_people(old: RosterIndex, new: RosterIndex) -> frozenset[PersonId]:
    everybody = {shift.person for shift in old.roster.shifts} | {shift.person for shift in new.roster.shifts}
    return frozenset(
        person
        for person in everybody
        if old.shifts_of(person) != new.shifts_of(person) or old.person(person) != new.person(person)
    )


def _duties(
    index: RosterIndex, shifts: Iterable[Shift], now: datetime, window_end: datetime
) -> tuple[set[Duty], set[Duty]]:
    """Return the duties of active people at `now`, and at any time in `[now, window_end)`."""
    at_now: set[Duty] = set()
    ahead: set[Duty] = set()
    for shift in shifts:
        if max(_starts(shift), now) >= min(_ends(shift), window_end):
            continue
        person = index.person(shift.person)
        if person is None or person.active is not True:
            continue
        ahead.add(_duty(shift))
        if _starts(shift) <= now:
            at_now.add(_duty(shift))
    return at_now, ahead


def _not_covered(
    shifts: Sequence[Shift], others: Sequence[Shift], now: datetime, window_end: datetime
) -> Iterator[Shift]:
    """Yield the shifts with an instant in `[now, window_end)` that no other shift of the same duty and grade covers."""
    spans: dict[tuple[Duty, Provenance], list[tuple[datetime, datetime]]] = defaultdict(list)
    for other in others:
        spans[_duty(other), other.provenance].append((_starts(other), _ends(other)))
    for shift in shifts:
        reached, end = max(_starts(shift), now), min(_ends(shift), window_end)
        for other_start, other_end in sorted(spans.get((_duty(shift), shift.provenance), ())):
            if other_start > reached:
                break
            reached = max(reached, other_end)
        if reached < end:
            yield shift


# -- the guard against shrinking ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardLimits:
    """How much one read may take away by data. The defaults are those of the promise P11 in the security facts."""

    shrink_max: int = 3
    """So many holders may always vanish."""
    shrink_share_max: float = 0.3
    """And this share of them, when that is more."""
    agreeing_after: timedelta = timedelta(seconds=60)
    """A second read agrees with a first one that is at least so much older."""
    skew_max: timedelta = timedelta(seconds=60)
    """A source whose clock differs by more is not believed."""

    def allows(self, lost: int, of: int) -> bool:
        """Whether so many of so many may go at once."""
        return lost <= max(self.shrink_max, int(of * self.shrink_share_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Believe the candidate."""

    change: RosterChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Keep the previous roster."""

    why: str
    """A sentence for the operator and the audit log."""
    pending: RosterIndex | None
    """What to hand in as `pending` with the next candidate."""


def shrink_guard(
    previous: RosterIndex | None,
    candidate: RosterIndex,
    pending: RosterIndex | None,
    now: datetime,
    limits: GuardLimits = GuardLimits(),
) -> Take | Hold:
    """Decide whether a complete read may replace the roster: empty is not zero, and a bad read must not throw all out.

    1. A clock too far from ours: hold, whatever it says.
    2. No roster yet: take.
    3. A kind of object of which there were some and are none: hold until an operator says otherwise.
    4. No more lost by data than the limits allow: take. What ends by time never counts as lost.
    5. A pending read, old enough, that lost at least the same: take.
    6. Otherwise hold, and remember the first of the reads that agree.
    """
    name = candidate.source
    skew = abs(candidate.roster.clock_skew)
    if skew > limits.skew_max:  # 1
        why = f"{name}: its clock differs from ours by {skew.total_seconds():g} s, at most "
        return Hold(why=f"{why}{limits.skew_max.total_seconds():g} s are believed", pending=pending)
    if previous is None:  # 2
        return Take(change=RosterChange())
    if gone := _emptied(previous, candidate, now):  # 3
        why = f"{name}: the read has no {gone} at all, the one before had some; empty is taken for a fault"
        return Hold(why=why, pending=pending)
    change = diff(previous, candidate, now)
    excess = _excess(change, limits)
    if not excess:  # 4
        return Take(change=change)
    wait = limits.agreeing_after
    agrees = pending is not None and _loses_no_more(change, diff(previous, pending, now))
    if pending is not None and agrees and candidate.roster.taken_at - pending.roster.taken_at >= wait:  # 5
        return Take(change=change)
    why = f"{name}: the read would take away {excess} at once; a read {wait.total_seconds():g} s later must agree"
    return Hold(why=why, pending=pending if agrees else candidate)  # 6


def _excess(change: RosterChange, limits: GuardLimits) -> str:
    """Say what is lost beyond the limits; empty when nothing is."""
    losses = (
        (change.lost_now, change.holders_now, "duties held now"),
        (change.lost_ahead, change.holders_ahead, "duties in the window"),
        (change.lost_services, change.services, "services that page somebody"),
    )
    return ", ".join(f"{len(lost)} of {of} {what}" for lost, of, what in losses if not limits.allows(len(lost), of))


def _emptied(previous: RosterIndex, candidate: RosterIndex, now: datetime) -> str | None:
    """Name a part that has nothing left although the previous roster, as of `now`, has."""
    old, new = previous.roster, candidate.roster
    ahead = any(_ends(shift) > now and _starts(shift) < new.window_ends_at for shift in old.shifts)
    parts = (
        ("shifts", ahead, new.shifts),
        ("people", old.people, new.people),
        ("schedules", old.schedules, new.schedules),
        ("escalation policies", old.policies, new.policies),
        ("services", old.services, new.services),
    )
    return next((what for what, had, has in parts if had and not has), None)


def _loses_no_more(second: RosterChange, first: RosterChange) -> bool:
    return (
        second.lost_now <= first.lost_now
        and second.lost_ahead <= first.lost_ahead
        and second.lost_services <= first.lost_services
    )
