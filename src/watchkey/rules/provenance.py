"""How much a shift proves: who put this person on call, from what the source tells or from when it was first seen.

Whoever can write the rota can open production; so a shift that its beneficiary may have made himself, or that nobody
had time to see, opens less.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId
from watchkey.model.oncall import EndKind, Provenance, Roster, Shift

NOTICE: Final = timedelta(hours=24)
"""A shift that was published so long before it starts could be seen and objected to."""

_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


def grade_override(
    *, beneficiary: PersonId, creator: PersonId | None, replaced: PersonId | None, members: frozenset[PersonId]
) -> Provenance:
    """Grade an override by who made it; `replaced` is whose turn it takes, None in a gap; `members` are the rota's.

    1. Nobody knows who made it: UNKNOWN, which counts as self.
    2. Its beneficiary made it: SELF_OVERRIDE.
    3. A member of the rota gave his own turn to another member: SWAP.
    4. Anybody else made it: OTHER_OVERRIDE.
    """
    if creator is None:  # 1
        return Provenance.UNKNOWN
    if creator == beneficiary:  # 2
        return Provenance.SELF_OVERRIDE
    if creator == replaced and {beneficiary, creator} <= members:  # 3
        return Provenance.SWAP
    return Provenance.OTHER_OVERRIDE  # 4


Duty = tuple[PersonId, str | None, int | None, str | None]
"""Person, policy, level, schedule."""


_Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class _Span:
    """Time in which somebody was seen on a duty; `is_settled`: published early enough to count as rota."""

    starts_at: datetime
    ends_at: datetime
    is_settled: bool
    gone_since: datetime | None = None
    """The first read that did not show it any more."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    shown: tuple[_Interval, ...]
    """What the last read showed of the duty, joined."""
    spans: tuple[_Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """What earlier reads have shown, as far as it still matters: a value that the sync flow carries along."""

    known: Mapping[Duty, _Sighting] = field(default_factory=dict)


def dump_sightings(sightings: Sightings) -> bytes:
    """Write sightings as JSON, to be kept over a restart: else each restart would be a new baseline for everybody."""
    return msgspec.json.encode(list(sightings.known.items()))


def load_sightings(stored: bytes) -> Sightings:
    """Read what `dump_sightings` wrote. Raises `Malformed` for anything else."""
    try:
        return Sightings(known=dict(msgspec.json.decode(stored, type=list[tuple[Duty, _Sighting]])))
    except msgspec.DecodeError as error:
        raise Malformed(f"the stored sightings cannot be read: {error}") from error


def grade_by_sight(
    roster: Roster, before: Sightings | None, now: datetime, notice: timedelta = NOTICE
) -> tuple[Roster, Sightings]:
    """Grade what the source could not: by how long before its start each piece of time was first seen.

    Only shifts of provenance UNKNOWN without a creator are looked at; where the source knows more, it is right. The
    roster must look further ahead than `notice`, or nothing can ever be seen early enough.

    - A permanent target is PERMANENT.
    - `before` None is the first complete read: all that it shows is the baseline, and ROTA.
    - Time first seen at least `notice` before it begins is ROTA, unless it prolongs time that is not; all other time
      stays UNKNOWN. A shift with both is split where the grade changes, so that prolonging one's shift does not spoil
      its published part.
    - Time that vanishes and comes back within `notice` keeps its grade: taking back an override restores the rota.
    """
    by_duty: dict[Duty, list[Shift]] = defaultdict(list)
    shifts: list[Shift] = []
    for shift in roster.shifts:
        if shift.provenance is not Provenance.UNKNOWN or shift.created_by is not None:
            shifts.append(shift)
        elif shift.end_kind is EndKind.PERMANENT:
            shifts.append(replace(shift, provenance=Provenance.PERMANENT))
        else:
            by_duty[shift.person, shift.policy, shift.level, shift.schedule].append(shift)
    known = {} if before is None else before.known
    settled_from = _EVER if before is None else now + notice
    after: dict[Duty, _Sighting] = {}
    for duty in by_duty.keys() | known.keys():
        members = by_duty.get(duty, ())
        sighting = _look(known.get(duty), _joined(members), settled_from, now, notice)
        if sighting.spans:
            after[duty] = sighting
        for shift in members:
            shifts.extend(_graded(shift, sighting.spans))
    return replace(roster, shifts=tuple(shifts)), Sightings(known=after)


def _interval(shift: Shift) -> _Interval:
    return shift.starts_at or _EVER, shift.ends_at or _NEVER


def _joined(shifts: Iterable[Shift]) -> tuple[_Interval, ...]:
    """Return the time of the shifts, in order, without overlaps or seams."""
    joined: list[_Interval] = []
    for starts, ends in sorted(_interval(shift) for shift in shifts):
        if joined and starts <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(ends, joined[-1][1])
        else:
            joined.append((starts, ends))
    return tuple(joined)


def _look(
    before: _Sighting | None, shown: tuple[_Interval, ...], settled_from: datetime, now: datetime, notice: timedelta
) -> _Sighting:
    """Bring what is known of one duty up to date with what a read shows of it."""
    if before is not None and before.shown == shown and all(span.gone_since is None for span in before.spans):
        return before
    spans: list[_Span] = []
    for span in before.spans if before is not None else ():
        if span.gone_since is not None and span.gone_since <= now - notice:
            continue  # gone for so long that coming back would be news
        time = (span.starts_at, span.ends_at)
        spans += [replace(span, starts_at=a, ends_at=b, gone_since=None) for a, b in _common(time, shown)]
        gone_since = span.gone_since or now
        spans += [replace(span, starts_at=a, ends_at=b, gone_since=gone_since) for a, b in _without(time, shown)]
    spans.sort(key=lambda span: span.starts_at)
    old = [(span.starts_at, span.ends_at) for span in spans]
    unsettled = [span for span in spans if not span.is_settled and span.gone_since is None]
    for interval in shown:
        for starts, ends in _without(interval, old):
            prolongs = any(starts == span.ends_at or ends == span.starts_at for span in unsettled)
            spans.append(_Span(starts, ends, starts >= settled_from and not prolongs))
    spans.sort(key=lambda span: span.starts_at)
    return _Sighting(shown, tuple(spans))


def _common(time: _Interval, others: Sequence[_Interval]) -> Iterator[_Interval]:
    for starts, ends in others:
        if starts < time[1] and ends > time[0]:
            yield max(starts, time[0]), min(ends, time[1])


def _without(time: _Interval, others: Sequence[_Interval]) -> Iterator[_Interval]:
    """Yield what the others, in order and disjoint, leave of the time."""
    reached = time[0]
    for starts, ends in _common(time, others):
        if starts > reached:
            yield reached, starts
        reached = ends
    if reached < time[1]:
        yield reached, time[1]


def _graded(shift: Shift, spans: Sequence[_Span]) -> Iterator[Shift]:
    """Split a shift where its grade changes. Only its last piece has the end, and the kind of end, of the whole."""
    starts, ends = _interval(shift)
    pieces: list[tuple[datetime, Provenance]] = []
    for span in spans:
        if span.starts_at < ends and span.ends_at > starts:
            grade = Provenance.ROTA if span.is_settled else Provenance.UNKNOWN
            if not pieces or pieces[-1][1] is not grade:
                pieces.append((max(span.starts_at, starts), grade))
    for i, (begins, grade) in enumerate(pieces):
        piece = replace(shift, provenance=grade)
        if i > 0:
            piece = replace(piece, starts_at=begins)
        if i + 1 < len(pieces):
            piece = replace(piece, ends_at=pieces[i + 1][0], end_kind=EndKind.EXACT)
        yield piece
