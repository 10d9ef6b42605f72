"""What a coming stretch of time looks like for one resource: whose turns open it, and when nobody's does.

The turns come from the roster, the answers from the same decision as in the service; this page only adds them up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from watchkey.model.access import Needs, Reason, Resource
from watchkey.model.ids import PrivilegeName, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Person, Provenance, Scope, ScopeKind, Shift
from watchkey.rules.identity import Ambiguous, Links
from watchkey.rules.roster import RosterIndex

Span = tuple[datetime, datetime]
"""Half-open, `[first, second)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A shift that should open the resource, cut to the stretch of time that is looked at."""

    scope: Scope
    shift: Shift
    person: Person | None
    """None: the source names somebody whom it does not know."""
    subject: SubjectId | None
    unlinked: Reason | None
    """Why there is no subject; None when there is one."""
    starts_at: datetime
    ends_at: datetime
    """Equal to `starts_at` when nobody knows when the shift ends: then it covers nothing that can be counted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTurn:
    """A turn and what its holder would get at its start. `problem` None: at least one privilege."""

    turn: Turn
    opens: tuple[PrivilegeName, ...]
    problem: Reason | None
    denied: Mapping[PrivilegeName, Reason] = field(default_factory=dict)
    """What else was asked for, and why its holder would not get that."""
    sentence: str = ""
    """What the decision says to its holder."""
    is_standby: bool = False
    """It opens only once an incident has escalated to it, so it covers no gap before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Time in which nobody would get these privileges, with whoever has the turn before and after."""

    starts_at: datetime
    ends_at: datetime
    privileges: tuple[PrivilegeName, ...]
    before: tuple[Turn, ...] = ()
    after: tuple[Turn, ...] = ()
    during: tuple[CheckedTurn, ...] = ()
    """Whoever has the turn meanwhile and would not get them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """One resource over a stretch of time. `remark` says why there is nothing to check, where there is not."""

    resource: Resource
    starts_at: datetime
    ends_at: datetime
    turns: tuple[CheckedTurn, ...] = ()
    gaps: tuple[Gap, ...] = ()
    unread: tuple[SourceName, ...] = ()
    """Sources that could not be read: nobody can tell who is on call there."""
    unknown: tuple[Scope, ...] = ()
    """Pagers that the configuration names and the source does not know."""
    remark: str = ""

    @property
    def failing(self) -> tuple[CheckedTurn, ...]:
        """The turns whose holders would be turned away."""
        return tuple(turn for turn in self.turns if turn.problem is not None)

    @property
    def has_hole(self) -> bool:
        """Whether somebody has to do something before it is too late."""
        return bool(self.failing or self.gaps or self.unknown)


def nothing_to_check(resource: Resource) -> str:
    """Why no shift opens the resource, so that no gap in a rota is a hole; empty when shifts do."""
    match resource.needs:
        case Needs.RESPONDING:
            return "opens to responders of an incident only, whoever is on call"
        case Needs.NOTHING:
            return "needs no on-call fact"
        case _:
            return ""


def stands_by(resource: Resource, turn: Turn) -> bool:
    """Whether the turn opens only once an incident has escalated to it."""
    return resource.level_follows_escalation and turn.shift.level is not None and turn.shift.level > 1


def turns_of(
    resource: Resource, rosters: Mapping[SourceName, RosterIndex], links: Links, start: datetime, end: datetime
) -> Iterator[Turn]:
    """Yield the turns in `[start, end)` that the resource's ceiling lets count, by scope and start.

    A permanent target is nobody's turn unless the resource opens something to it.
    """
    permanent_counts = bool(resource.opens.get(Provenance.PERMANENT))
    for scope in resource.scopes:
        index = rosters.get(scope.source)
        for shift in () if index is None else index.shifts(scope, start, end):
            if shift.end_kind is EndKind.PERMANENT and not permanent_counts:
                continue
            # A level that nobody knows is a turn all the same: its holder is paged, and would be turned away.
            if scope.kind is not ScopeKind.SCHEDULE and (shift.level or 1) > resource.max_level:
                continue
            if index is not None:
                yield _turn(scope, shift, index, links, start, end)


def _turn(scope: Scope, shift: Shift, index: RosterIndex, links: Links, start: datetime, end: datetime) -> Turn:
    linked = links.linked_to(shift.person, scope.source)
    starts_at = start if shift.starts_at is None else max(start, shift.starts_at)
    known_end = end if shift.end_kind is EndKind.PERMANENT else shift.ends_at or starts_at
    subject = None if isinstance(linked, Ambiguous) else linked
    unlinked = Reason.IDENTITY_AMBIGUOUS if isinstance(linked, Ambiguous) else Reason.NOT_LINKED
    return Turn(
        scope=scope,
        shift=shift,
        person=index.person(shift.person),
        subject=subject,
        unlinked=unlinked if subject is None else None,
        starts_at=starts_at,
        ends_at=min(end, known_end),
    )


def gaps_of(
    privileges: Sequence[PrivilegeName], turns: Sequence[CheckedTurn], start: datetime, end: datetime
) -> tuple[Gap, ...]:
    """Find the time in `[start, end)` in which a privilege opens to nobody; equal times are one gap."""
    by_time: dict[Span, list[PrivilegeName]] = {}
    for privilege in privileges:
        spans = [
            (one.turn.starts_at, one.turn.ends_at) for one in turns if privilege in one.opens and not one.is_standby
        ]
        for span in uncovered(spans, start, end):
            by_time.setdefault(span, []).append(privilege)
    return tuple(
        Gap(
            starts_at=first,
            ends_at=last,
            privileges=tuple(lost),
            before=tuple(one.turn for one in turns if one.turn.ends_at == first),
            after=tuple(one.turn for one in turns if one.turn.starts_at == last),
            during=tuple(
                one
                for one in turns
                if one.turn.starts_at < last and one.turn.ends_at > first and not one.denied.keys().isdisjoint(lost)
            ),
        )
        for (first, last), lost in sorted(by_time.items())
    )


def uncovered(spans: Iterable[Span], start: datetime, end: datetime) -> Iterator[Span]:
    """Yield what the spans leave of `[start, end)`."""
    reached = start
    for first, last in sorted(spans):
        if first > reached:
            yield reached, min(first, end)
        reached = max(reached, last)
        if reached >= end:
            return
    if reached < end:
        yield reached, end
