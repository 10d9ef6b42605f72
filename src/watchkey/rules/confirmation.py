"""A second person's word for a shift: which shift it is about, until when it counts, and what it makes of a roster.

A word is for one shift as it stood: person, duty, start and end. When any of that changes, nobody has vouched for what
is there now, and the word lapses. It also ends by itself, so that a long shift is vouched for again and again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

import msgspec

from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Roster, Shift

LASTS_MAX: Final = timedelta(hours=24)
"""How long a word counts at most, from when it is given or from the start of the shift, whichever is later."""

_DOUBTFUL: Final = frozenset({Provenance.SELF_OVERRIDE, Provenance.UNKNOWN})
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Somebody vouched for this shift."""

    source: SourceName
    shift: str
    """What `shift_id` says of it; to name it by. What counts is compared in full."""
    person: PersonId
    policy: str | None
    level: int | None
    schedule: str | None
    created_by: PersonId | None
    starts_at: datetime | None
    """None: since ever."""
    ends_at: datetime | None
    """None: nobody knew its end, and it is another shift once somebody does."""
    by: SubjectId
    at: datetime
    until: datetime
    """When the word ends; never after the shift."""

    def is_about(self, shift: Shift) -> bool:
        """Whether this is the shift that was vouched for, unchanged."""
        return (
            self.person,
            self.policy,
            self.level,
            self.schedule,
            self.created_by,
            self.starts_at,
            self.ends_at,
        ) == (*_duty(shift), shift.created_by, *_time(shift))


def _duty(shift: Shift) -> tuple[PersonId, str | None, int | None, str | None]:
    return shift.person, shift.policy, shift.level, shift.schedule


def _time(shift: Shift) -> tuple[datetime | None, datetime | None]:
    """From when to when, as far as it is certain: where the window cuts a shift off moves with each read."""
    return shift.starts_at, shift.ends_at if shift.end_kind is EndKind.EXACT else None


def shift_id(source: SourceName, shift: Shift) -> str:
    """A name for a shift exactly as it stands: 16 hexadecimal digits. A shift that changes has another one."""
    encoded = msgspec.json.encode((source, *_duty(shift), shift.created_by, *_time(shift)), order="deterministic")
    return sha256(encoded).hexdigest()[:16]


def is_doubtful(shift: Shift) -> bool:
    """Whether a second person's word would raise the shift's grade."""
    return shift.provenance in _DOUBTFUL and shift.end_kind is not EndKind.PERMANENT


def confirmation_of(
    shift: Shift, source: SourceName, by: SubjectId, at: datetime, lasts_max: timedelta = LASTS_MAX
) -> Confirmation:
    """A word for the shift as it stands."""
    starts_at, ends_at = _time(shift)
    return Confirmation(
        source=source,
        shift=shift_id(source, shift),
        person=shift.person,
        policy=shift.policy,
        level=shift.level,
        schedule=shift.schedule,
        created_by=shift.created_by,
        starts_at=starts_at,
        ends_at=ends_at,
        by=by,
        at=at,
        until=min(ends_at or _NEVER, max(at, starts_at or at) + lasts_max),
    )


def apply_confirmations(roster: Roster, confirmations: Sequence[Confirmation]) -> Roster:
    """The roster, as it was read, with each shift vouched for graded as an override that somebody else made.

    A shift is cut where the word for it ends: what comes after keeps its grade.
    """
    mine: dict[PersonId, list[Confirmation]] = defaultdict(list)
    for one in confirmations:
        if one.source == roster.source:
            mine[one.person].append(one)
    if not mine:
        return roster
    shifts = tuple(piece for shift in roster.shifts for piece in _graded(shift, mine.get(shift.person, ())))
    return roster if shifts == roster.shifts else replace(roster, shifts=shifts)


def _graded(shift: Shift, confirmations: Iterable[Confirmation]) -> Iterator[Shift]:
    until = max((one.until for one in confirmations if one.is_about(shift)), default=_EVER)
    if not is_doubtful(shift) or until <= (shift.starts_at or _EVER):
        yield shift
    elif until >= (shift.ends_at or _NEVER):
        yield replace(shift, provenance=Provenance.OTHER_OVERRIDE)
    else:
        yield replace(shift, ends_at=until, end_kind=EndKind.EXACT, provenance=Provenance.OTHER_OVERRIDE)
        yield replace(shift, starts_at=until)


def take_back(roster: Roster, gone: Sequence[Confirmation], standing: Sequence[Confirmation]) -> Roster:
    """A kept roster in which words count that were withdrawn or lapsed since, without what they raised.

    It says no longer what was read, so whatever could have been raised by a word that is gone counts as an unknown
    hand's, but for what a word that stands has raised.
    """
    mine = [one for one in gone if one.source == roster.source]
    if not mine:
        return roster
    still = [one for one in standing if one.source == roster.source]
    shifts = tuple(
        replace(shift, provenance=Provenance.UNKNOWN)
        if any(_may_have_raised(one, shift) for one in mine) and not any(_has_raised(one, shift) for one in still)
        else shift
        for shift in roster.shifts
    )
    return roster if shifts == roster.shifts else replace(roster, shifts=shifts)


def _has_raised(word: Confirmation, shift: Shift) -> bool:
    """Whether this is exactly what the word makes of its shift."""
    ends_with_it = shift.ends_at == word.until or (word.ends_at is None and shift.end_kind is not EndKind.EXACT)
    whose = (*_duty(shift), shift.created_by, shift.starts_at)
    return ends_with_it and whose == (
        word.person, word.policy, word.level, word.schedule, word.created_by, word.starts_at,
    )  # fmt: skip


def _may_have_raised(word: Confirmation, shift: Shift) -> bool:
    return (
        shift.provenance is Provenance.OTHER_OVERRIDE
        and _duty(shift) == (word.person, word.policy, word.level, word.schedule)
        and (shift.starts_at or _EVER) < word.until
        and (shift.ends_at or _NEVER) > (word.starts_at or _EVER)
    )


def lapsed(shifts: Iterable[Shift], confirmations: Sequence[Confirmation]) -> tuple[Confirmation, ...]:
    """Those whose shift is not among these any more, or needs no word any more."""
    people = {one.person for one in confirmations}
    there = [shift for shift in shifts if shift.person in people and is_doubtful(shift)] if people else []
    return tuple(one for one in confirmations if not any(one.is_about(shift) for shift in there))


def still_needed(confirmations: Iterable[Confirmation], now: datetime) -> tuple[Confirmation, ...]:
    """Those whose time is not over; the audit log keeps the others."""
    return tuple(one for one in confirmations if one.until > now)
