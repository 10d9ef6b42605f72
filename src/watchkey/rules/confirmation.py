"""A second person's word for a shift: which time of whom it covers, and what it makes of a roster.

A confirmation is for one duty (person, policy, level, schedule) and for the time that was there to be seen. Whatever
is added to the shift afterwards, by a longer end or another policy, nobody has vouched for.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Roster, Shift

UNKNOWN_END_MAX: Final = timedelta(hours=24)
"""How long a shift is vouched for whose end nobody knows."""

_DOUBTFUL: Final = frozenset({Provenance.SELF_OVERRIDE, Provenance.UNKNOWN})
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Somebody vouched for this time of that duty."""

    source: SourceName
    person: PersonId
    policy: str | None
    level: int | None
    schedule: str | None
    starts_at: datetime | None
    """None: since ever."""
    ends_at: datetime
    by: SubjectId
    at: datetime

    def is_about(self, shift: Shift) -> bool:
        """Whether the shift is the same duty, whatever its time."""
        return (self.person, self.policy, self.level, self.schedule) == (
            shift.person,
            shift.policy,
            shift.level,
            shift.schedule,
        )


def is_doubtful(shift: Shift) -> bool:
    """Whether a second person's word would raise the shift's grade."""
    return shift.provenance in _DOUBTFUL and shift.end_kind is not EndKind.PERMANENT


def confirmation_of(shift: Shift, source: SourceName, by: SubjectId, at: datetime) -> Confirmation:
    """A word for the shift as it stands."""
    return Confirmation(
        source=source,
        person=shift.person,
        policy=shift.policy,
        level=shift.level,
        schedule=shift.schedule,
        starts_at=shift.starts_at,
        ends_at=shift.ends_at or at + UNKNOWN_END_MAX,
        by=by,
        at=at,
    )


def apply_confirmations(roster: Roster, confirmations: Sequence[Confirmation]) -> Roster:
    """The roster with the confirmed time of doubtful shifts graded as an override that somebody else made.

    Shifts are cut where the confirmed time begins and ends. Applying the same confirmations again changes nothing.
    """
    mine = [one for one in confirmations if one.source == roster.source]
    if not mine:
        return roster
    shifts = tuple(piece for shift in roster.shifts for piece in _graded(shift, mine))
    return roster if shifts == roster.shifts else replace(roster, shifts=shifts)


def _graded(shift: Shift, confirmations: Iterable[Confirmation]) -> Iterator[Shift]:
    about = [one for one in confirmations if one.is_about(shift)] if is_doubtful(shift) else []
    if not about:
        yield shift
        return
    start, end = shift.starts_at or _EVER, shift.ends_at or _NEVER
    edges = {edge for one in about for edge in (one.starts_at or _EVER, one.ends_at)}
    borders = [start, *sorted(edge for edge in edges if start < edge < end), end]
    for first, last in pairwise(borders):
        is_confirmed = any((one.starts_at or _EVER) <= first < one.ends_at for one in about)
        yield replace(
            shift,
            starts_at=shift.starts_at if first == start else first,
            ends_at=shift.ends_at if last == end else last,
            end_kind=shift.end_kind if last == end else EndKind.EXACT,
            provenance=Provenance.OTHER_OVERRIDE if is_confirmed else shift.provenance,
        )


def still_needed(confirmations: Iterable[Confirmation], now: datetime) -> tuple[Confirmation, ...]:
    """Those whose time is not over; the audit log keeps the others."""
    return tuple(one for one in confirmations if one.ends_at > now)
