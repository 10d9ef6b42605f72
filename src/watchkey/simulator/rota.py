"""Who has which turn, by the simulator's own arithmetic, so that it can judge the product's.

Deliberately slow and plain: all borders are listed, the rules are asked once between each two of them, and equal
neighbours are joined.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

_DAY: Final = timedelta(days=1)
_HORIZON: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Turn:
    """One person's turn, half-open, UTC. `source` and `source_id` say what made it; `user` None is an empty member."""

    user: str | None
    start: datetime
    end: datetime
    source: str = "layer"
    source_id: str = ""


@dataclass(slots=True, kw_only=True)
class Restriction:
    """When a layer counts: daily, or weekly from ISO weekday `day` (1 is Monday), in the schedule's wall time."""

    start: time
    duration: timedelta
    day: int | None = None

    def covers(self, instant: datetime, zone: ZoneInfo) -> bool:
        """Whether the instant lies in one of the windows."""
        return any(start <= instant < end for start, end in self.windows(instant, instant, zone))

    def windows(self, since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
        """All windows that may touch the span."""
        back = self.duration + timedelta(days=8)
        current = (since - back).astimezone(zone).date()
        last = (until + _DAY).astimezone(zone).date()
        while current <= last:
            if self.day is None or current.isoweekday() == self.day:
                opens = datetime.combine(current, self.start)
                yield wall(opens, zone), wall(opens + self.duration, zone)
            current += _DAY


@dataclass(slots=True, kw_only=True)
class Layer:
    """One rotation of a layer-based schedule. A `turn` in whole days hands over at the same wall time all year."""

    id: str
    users: list[str]
    start: datetime
    turn: timedelta
    name: str = "Layer"
    end: datetime | None = None
    rotation_start: datetime | None = None
    """Where the counting of turns begins; the start when not given."""
    restrictions: list[Restriction] = field(default_factory=list)

    def user_at(self, instant: datetime, zone: ZoneInfo) -> str | None:
        """Whose turn it is in this layer alone."""
        if instant < self.start or (self.end is not None and instant >= self.end) or not self.users:
            return None
        if self.restrictions and not any(each.covers(instant, zone) for each in self.restrictions):
            return None
        return self.users[self._turn_number(instant, zone) % len(self.users)]

    def borders(self, since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Every instant at which this layer may change."""
        yield self.start
        if self.end is not None:
            yield self.end
        for number in range(self._turn_number(since, zone), self._turn_number(until, zone) + 2):
            yield self._handoff(number, zone)
        for restriction in self.restrictions:
            for window in restriction.windows(since, until, zone):
                yield from window

    def _handoff(self, number: int, zone: ZoneInfo) -> datetime:
        origin = (self.rotation_start or self.start).astimezone(UTC)
        if self.turn % _DAY:
            return origin + number * self.turn
        return wall(origin.astimezone(zone).replace(tzinfo=None) + number * self.turn, zone)

    def _turn_number(self, instant: datetime, zone: ZoneInfo) -> int:
        number = (instant - (self.rotation_start or self.start)) // self.turn
        while self._handoff(number + 1, zone) <= instant:
            number += 1
        while self._handoff(number, zone) > instant:
            number -= 1
        return number


@dataclass(slots=True, kw_only=True)
class Override:
    """A person put in place of whoever has the turn, by `created_by` (None: nobody knows)."""

    id: str
    user: str
    start: datetime
    end: datetime
    created_by: str | None = None


@dataclass(slots=True, kw_only=True)
class LayeredSchedule:
    """A layer-based (v2) schedule; later layers count more. One person at a time."""

    id: str
    name: str
    layers: list[Layer]
    time_zone: str = "UTC"
    overrides: list[Override] = field(default_factory=list)

    def final(self, since: datetime, until: datetime) -> list[Turn]:
        """The turns that touch the window, not cut at it; one that never changes hands ends at some midnight beyond."""
        low, high = self._wide(since, until)
        return _touching(self._turns(low, high), since, until)

    def layer_turns(self, layer: Layer, since: datetime, until: datetime) -> list[Turn]:
        """One layer's turns, as if it were alone."""
        zone = ZoneInfo(self.time_zone)
        low, high = self._wide(since, until)
        pieces = _pieces(layer.borders(low, high, zone), low, high)
        turns = ((layer.user_at(start, zone), start, end) for start, end in pieces)
        return _touching(_joined(Turn(user, start, end) for user, start, end in turns if user), since, until)

    def override_turns(self, since: datetime, until: datetime) -> list[Turn]:
        """What the overrides cover; the one made last counts."""
        if not self.overrides:
            return []
        borders = (border for each in self.overrides for border in (each.start, each.end))
        turns = []
        for start, end in _pieces(borders, min([since, *(o.start for o in self.overrides)]), until + _HORIZON):
            if (override := self._override_at(start)) is not None:
                turns.append(Turn(override.user, start, end, "override"))
        return _touching(_joined(turns), since, until)

    def _turns(self, since: datetime, until: datetime) -> Iterator[Turn]:
        zone = ZoneInfo(self.time_zone)
        borders = [border for layer in self.layers for border in layer.borders(since, until, zone)]
        borders += [border for each in self.overrides for border in (each.start, each.end)]
        turns = []
        for start, end in _pieces(borders, since, until):
            user = self._user_at(start, zone)
            if user is not None:
                turns.append(Turn(user, start, end))
        return _joined(turns)

    def _user_at(self, instant: datetime, zone: ZoneInfo) -> str | None:
        override = self._override_at(instant)
        if override is not None:
            return override.user
        by_weight = (layer.user_at(instant, zone) for layer in reversed(self.layers))
        return next((user for user in by_weight if user is not None), None)

    def _override_at(self, instant: datetime) -> Override | None:
        return next((each for each in reversed(self.overrides) if each.start <= instant < each.end), None)

    def _wide(self, since: datetime, until: datetime) -> tuple[datetime, datetime]:
        """A window in which every turn that touches the given one is whole; at midnight, so that two reads agree."""
        reach = min(_HORIZON, max((layer.turn for layer in self.layers), default=_DAY) * 2)
        low, high = since - reach, until + reach + _DAY
        return low.replace(hour=0, minute=0, second=0, microsecond=0), high.replace(
            hour=0, minute=0, second=0, microsecond=0
        )


@dataclass(slots=True, kw_only=True)
class Rotation:
    """One event of a shift-based schedule: a shift every `every_days`, each member for `shifts_per_member` in a row."""

    id: str
    members: list[str | None]
    """None is an empty member."""
    start: datetime
    length: timedelta
    every_days: int = 7
    shifts_per_member: int = 1
    all_at_once: bool = False
    until: datetime | None = None
    overrides: list[Override] = field(default_factory=list)

    def turns(self, since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[Turn]:
        """All shifts that touch the window, with the overrides of this rotation in their place."""
        first = self.start.astimezone(zone).replace(tzinfo=None)
        # The day count of both ends may differ by an hour in summer; one shift of margin on each side covers that.
        low = max(0, (since - self.start - self.length) // timedelta(days=self.every_days) - 1)
        high = (until - self.start) // timedelta(days=self.every_days) + 1
        for number in range(low, high + 1):
            opens = first + timedelta(days=number * self.every_days)
            start, end = wall(opens, zone), wall(opens + self.length, zone)
            if self.until is not None and start >= self.until:
                return
            members = (
                self.members
                if self.all_at_once
                else [self.members[number // self.shifts_per_member % len(self.members)]]
            )
            yield from _with_overrides(members, start, end, self.overrides, ("schedule_rotation", self.id))


@dataclass(slots=True, kw_only=True)
class CustomShift:
    """A shift planned by hand in a shift-based schedule."""

    id: str
    members: list[str | None]
    start: datetime
    end: datetime
    overrides: list[Override] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class FlexibleSchedule:
    """A shift-based (v3) schedule; several people at once are normal, and an override touches its own rotation only."""

    id: str
    name: str
    time_zone: str = "UTC"
    rotations: list[Rotation] = field(default_factory=list)
    custom_shifts: list[CustomShift] = field(default_factory=list)

    def final(self, since: datetime, until: datetime) -> list[Turn]:
        """The turns that touch the window, not cut at it, empty members included."""
        zone = ZoneInfo(self.time_zone)
        turns = [turn for rotation in self.rotations for turn in rotation.turns(since, until, zone)]
        for shift in self.custom_shifts:
            turns += _with_overrides(shift.members, shift.start, shift.end, shift.overrides, ("custom_shift", shift.id))
        return sorted(_touching(turns, since, until), key=lambda turn: (turn.start, turn.end, turn.user or ""))


Schedule = LayeredSchedule | FlexibleSchedule


def wall(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which a wall clock there shows that time; a skipped one comes when it would have come."""
    return local.replace(tzinfo=zone, fold=0).astimezone(UTC)


def _with_overrides(
    members: list[str | None], start: datetime, end: datetime, overrides: list[Override], source: tuple[str, str]
) -> Iterator[Turn]:
    for piece_start, piece_end in _pieces((b for o in overrides for b in (o.start, o.end)), start, end):
        override = next((each for each in reversed(overrides) if each.start <= piece_start < each.end), None)
        if override is not None:
            yield Turn(override.user, piece_start, piece_end, f"{source[0]}_override", override.id)
        else:
            for member in members:
                yield Turn(member, piece_start, piece_end, source[0], source[1])


def _pieces(borders: Iterable[datetime], since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    inside = sorted({since, until, *(border.astimezone(UTC) for border in borders if since < border < until)})
    yield from pairwise(inside)


def _joined(turns: Iterable[Turn]) -> Iterator[Turn]:
    """Join a person's neighbouring turns into one."""
    open_turn: Turn | None = None
    for turn in turns:
        if open_turn is not None and open_turn.user == turn.user and open_turn.end == turn.start:
            open_turn = Turn(turn.user, open_turn.start, turn.end, turn.source, turn.source_id)
            continue
        if open_turn is not None:
            yield open_turn
        open_turn = turn
    if open_turn is not None:
        yield open_turn


def _touching(turns: Iterable[Turn], since: datetime, until: datetime) -> list[Turn]:
    """The turns with an instant in the window; a window without length asks who has the turn at that instant."""
    if since == until:
        return [turn for turn in turns if turn.start <= since < turn.end]
    return [turn for turn in turns if turn.start < until and turn.end > since]
