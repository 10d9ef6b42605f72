"""The arithmetic of a rota: layers, handoffs, restrictions and overrides become shifts.

Times of a rota are wall-clock times in its zone: a daily handoff at 09:00 stays at 09:00 when the clocks change, so
one turn has 23 hours and another 25. A wall-clock time means *the first instant at which the clock shows that time or
a later one*: an hour that occurs twice counts from its first, a time that is skipped means the instant of the skip.
That keeps the order of times, whatever the clocks do. Nothing here reads zone files: zones are handed in.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from operator import attrgetter
from typing import Final

from watchkey.model.ids import PersonId
from watchkey.model.oncall import Provenance, Shift
from watchkey.rules.provenance import grade_override

_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_RESTRICTION_DAYS_MAX: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Restriction:
    """A window of every week in which a layer counts: from `starts` on `weekday` to `ends`, `days_later` days on.

    `weekday` 0 is Monday. `days_later` 0 with `ends` at or before `starts` is an empty window: over midnight is 1.
    """

    weekday: int
    starts: time
    ends: time
    days_later: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.weekday < 7 or not 0 <= self.days_later <= _RESTRICTION_DAYS_MAX:
            raise ValueError("a restriction begins on a day of the week and lasts at most seven days")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """People who take turns.

    `turn` is a wall-clock length: 24 hours for daily, seven days for weekly. Handoffs are counted from the last
    `handoff` (on `weekday`, where there is one; 0 is Monday) at or before `starts_at`, one every `turn`. The first
    participant has the turn that contains `starts_at`.
    """

    participants: tuple[PersonId, ...]
    turn: timedelta
    handoff: time
    weekday: int | None = None
    starts_at: datetime
    ends_at: datetime | None = None
    restrictions: tuple[Restriction, ...] = ()
    """None: the layer always counts."""

    def __post_init__(self) -> None:
        if not self.participants:
            raise ValueError("a layer needs participants")
        if self.turn < timedelta(hours=1) or self.turn % timedelta(minutes=1):
            raise ValueError("a turn is at least an hour, in whole minutes")
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise ValueError("a layer ends after it starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Somebody takes `[starts_at, ends_at)`, whoever's turn it is; who arranged that, and when, if known."""

    person: PersonId
    starts_at: datetime
    ends_at: datetime
    created_by: PersonId | None = None
    created_at: datetime | None = None

    def __post_init__(self) -> None:
        if self.ends_at <= self.starts_at:
            raise ValueError("an override ends after it starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rota:
    """A schedule. A later layer wins over an earlier one, overrides over layers, a later override over an earlier."""

    schedule: str
    zone: tzinfo
    layers: tuple[Layer, ...] = ()
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True, slots=True)
class _Turn:
    """A piece of time that belongs to somebody."""

    starts_at: datetime
    ends_at: datetime
    person: PersonId
    provenance: Provenance = Provenance.ROTA
    created_by: PersonId | None = None


_Span = tuple[datetime, datetime]


def wall_to_utc(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first instant at which the clocks of the zone show `wall` (naive) or later."""
    before = _utc(wall, zone, fold=0)
    if before.astimezone(zone).replace(tzinfo=None) == wall:
        return before
    # The clocks skip this time. `before` reads it by the offset from before the skip and so lies at or behind it;
    # read by the offset from after the skip it lies in front. Zone changes happen at whole seconds.
    early, late = _utc(wall, zone, fold=1), before
    while late - early > _SECOND:
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle <= early:
            break
        if middle.astimezone(zone).replace(tzinfo=None) >= wall:
            late = middle
        else:
            early = middle
    return late.replace(microsecond=0)


def _utc(wall: datetime, zone: tzinfo, *, fold: int) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _wall(instant: datetime, zone: tzinfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


# -- one layer ---------------------------------------------------------------------------------------------------


def _anchor(layer: Layer, zone: tzinfo) -> datetime:
    """Return the wall-clock time of the last handoff at or before the start of the layer."""
    start = _wall(layer.starts_at, zone)
    anchor = datetime.combine(start.date(), layer.handoff)
    if layer.weekday is not None:
        anchor -= (anchor.weekday() - layer.weekday) % 7 * _DAY
    if anchor > start:
        anchor -= _DAY if layer.weekday is None else 7 * _DAY
    # By instants, not by the clock's face: in an hour that occurs twice the face shows a handoff as yet to come.
    while wall_to_utc(anchor + layer.turn, zone) <= layer.starts_at:
        anchor += layer.turn
    return anchor


def _turns(layer: Layer, zone: tzinfo, start: datetime, end: datetime) -> Iterator[_Turn]:
    """Yield the turns that share an instant with `[start, end)`, whole, but within the layer's own span."""
    start = max(start, layer.starts_at)
    end = end if layer.ends_at is None else min(end, layer.ends_at)
    anchor = _anchor(layer, zone)
    number = max(0, (_wall(start, zone) - anchor) // layer.turn - 1)
    begins = wall_to_utc(anchor + number * layer.turn, zone)
    while begins < end:
        number += 1
        ends = wall_to_utc(anchor + number * layer.turn, zone)
        if ends > start and ends > begins:  # a turn that the clocks skip altogether is nobody's
            yield _Turn(
                max(begins, layer.starts_at),
                ends if layer.ends_at is None else min(ends, layer.ends_at),
                layer.participants[(number - 1) % len(layer.participants)],
            )
        begins = ends


def _windows(restrictions: Sequence[Restriction], zone: tzinfo, start: datetime, end: datetime) -> list[_Span]:
    """Return when the restrictions let a layer count, around `[start, end)`: in order, without overlaps."""
    day = _wall(start, zone).date() - (_RESTRICTION_DAYS_MAX + 1) * _DAY
    last = _wall(end, zone).date() + _DAY
    spans: list[_Span] = []
    while day <= last:
        spans.extend(_window(one, day, zone) for one in restrictions if one.weekday == day.weekday())
        day += _DAY
    spans.sort()
    merged: list[_Span] = []
    for begins, ends in spans:
        if begins >= ends:
            continue
        if merged and begins <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], ends)
        else:
            merged.append((begins, ends))
    return merged


def _window(restriction: Restriction, day: date, zone: tzinfo) -> _Span:
    return (
        wall_to_utc(datetime.combine(day, restriction.starts), zone),
        wall_to_utc(datetime.combine(day + restriction.days_later * _DAY, restriction.ends), zone),
    )


def _layer_turns(layer: Layer, zone: tzinfo, start: datetime, end: datetime) -> list[_Turn]:
    """Return the turns of the layer in order, cut to its restrictions."""
    turns = list(_turns(layer, zone, start, end))
    if not layer.restrictions or not turns:
        return turns
    windows = _windows(layer.restrictions, zone, turns[0].starts_at, turns[-1].ends_at)
    return [
        replace(turn, starts_at=max(turn.starts_at, begins), ends_at=min(turn.ends_at, ends))
        for turn in turns
        for begins, ends in _overlapping(windows, turn.starts_at, turn.ends_at)
    ]


def _overlapping(spans: Sequence[_Span], start: datetime, end: datetime) -> Iterator[_Span]:
    """Yield those of the ordered, disjoint spans that share an instant with `[start, end)`."""
    i = max(0, bisect_right(spans, (start, start)) - 1)
    for span in spans[i:]:
        if span[0] >= end:
            return
        if span[1] > start:
            yield span


# -- layers and overrides together -------------------------------------------------------------------------------


def _overlay(below: Sequence[_Turn], above: Sequence[_Turn]) -> list[_Turn]:
    """Let `above` win over `below`; both in order and disjoint, as is the result."""
    spans = [(turn.starts_at, turn.ends_at) for turn in above]
    result = list(above)
    for turn in below:
        reached = turn.starts_at
        for begins, ends in _overlapping(spans, turn.starts_at, turn.ends_at):
            if begins > reached:
                result.append(replace(turn, starts_at=reached, ends_at=begins))
            reached = max(reached, ends)
        if reached < turn.ends_at:
            result.append(replace(turn, starts_at=reached))
    result.sort(key=attrgetter("starts_at"))
    return result


def _with_override(turns: Sequence[_Turn], override: Override, members: frozenset[PersonId]) -> list[_Turn]:
    """Lay an override over the turns: each piece is graded by whom it replaces; one's own turn stays what it is."""
    pieces: list[_Turn] = []
    reached = override.starts_at
    spans = [(turn.starts_at, turn.ends_at) for turn in turns]
    first = max(0, bisect_right(spans, (override.starts_at, override.starts_at)) - 1)
    for turn in turns[first:]:
        if turn.starts_at >= override.ends_at:
            break
        if turn.ends_at <= reached:
            continue
        begins, ends = max(turn.starts_at, override.starts_at), min(turn.ends_at, override.ends_at)
        if begins > reached:
            pieces.append(_piece(override, reached, begins, None, members))
        if turn.person != override.person:
            pieces.append(_piece(override, begins, ends, turn.person, members))
        reached = ends
    if reached < override.ends_at:
        pieces.append(_piece(override, reached, override.ends_at, None, members))
    return _overlay(turns, _joined(pieces))


def _piece(
    override: Override, start: datetime, end: datetime, replaced: PersonId | None, members: frozenset[PersonId]
) -> _Turn:
    grade = grade_override(beneficiary=override.person, creator=override.created_by, replaced=replaced, members=members)
    return _Turn(start, end, override.person, grade, override.created_by)


def _joined(pieces: Sequence[_Turn]) -> list[_Turn]:
    """Join the pieces of one override that touch and have one grade."""
    joined: list[_Turn] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and last.ends_at == piece.starts_at and last.provenance is piece.provenance:
            joined[-1] = replace(last, ends_at=piece.ends_at)
        else:
            joined.append(piece)
    return joined


def _horizon(rota: Rota, start: datetime, end: datetime) -> _Span:
    """Widen `[start, end)` so that every turn and override that touches it is known from its start to its end."""
    touching = [one for one in rota.overrides if one.starts_at < end and one.ends_at > start]
    low = min([start, *(one.starts_at for one in touching)])
    high = max([end, *(one.ends_at for one in touching)])
    borders = [
        (turn.starts_at, turn.ends_at)
        for layer in rota.layers
        for instant in (low, high)
        for turn in _turns(layer, rota.zone, instant, instant + _SECOND)
    ]
    return min([low, *(starts for starts, _ in borders)]), max([high, *(ends for _, ends in borders)])


def render(rota: Rota, start: datetime, end: datetime) -> tuple[Shift, ...]:
    """Return the shifts that share an instant with `[start, end)`, by start, whole: with the ends they really have.

    Their ends are all EXACT: a rota in a file is known beyond any window. Turns that follow each other stay two shifts
    even when they are the same person's. Overrides are graded by `grade_override`.
    """
    if start >= end:
        return ()
    low, high = _horizon(rota, start, end)
    turns: list[_Turn] = []
    for layer in rota.layers:
        turns = _overlay(turns, _layer_turns(layer, rota.zone, low, high))
    members = frozenset(person for layer in rota.layers for person in layer.participants)
    for override in rota.overrides:
        if override.starts_at < high and override.ends_at > low:
            turns = _with_override(turns, override, members)
    return tuple(
        Shift(
            person=turn.person,
            schedule=rota.schedule,
            starts_at=turn.starts_at,
            ends_at=turn.ends_at,
            provenance=turn.provenance,
            created_by=turn.created_by,
        )
        for turn in turns
        if turn.starts_at < end and turn.ends_at > start
    )
