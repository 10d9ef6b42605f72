from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from watchkey.simulator.rota import (
    CustomShift,
    FlexibleSchedule,
    Layer,
    LayeredSchedule,
    Override,
    Restriction,
    Rotation,
    Turn,
    wall,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00")


def who(schedule: LayeredSchedule | FlexibleSchedule, instant: datetime) -> list[str | None]:
    return [turn.user for turn in schedule.final(instant, instant)]


def test_handoffs_are_half_open() -> None:
    rota = LayeredSchedule(
        id="S", name="S", layers=[Layer(id="L", users=["A", "B"], start=at("2026-01-01T09:00"), turn=DAY)]
    )
    handoff = at("2026-01-02T09:00")
    assert who(rota, handoff - timedelta(microseconds=1)) == ["A"]
    assert who(rota, handoff) == ["B"]
    assert who(rota, at("2026-01-01T08:59")) == []
    assert rota.final(at("2026-01-01T10:00"), at("2026-01-02T10:00")) == [
        Turn("A", at("2026-01-01T09:00"), handoff),
        Turn("B", handoff, at("2026-01-03T09:00")),
    ]


@pytest.mark.parametrize(
    ("zone", "before", "after", "length"),
    [
        ("America/New_York", "2027-03-13T14:00", "2027-03-14T13:00", 23 * HOUR),
        ("America/New_York", "2026-10-31T13:00", "2026-11-01T14:00", 25 * HOUR),
        ("Europe/London", "2027-03-27T09:00", "2027-03-28T08:00", 23 * HOUR),
        ("Australia/Lord_Howe", "2026-10-02T22:30", "2026-10-03T22:00", 23.5 * HOUR),
        ("Asia/Kolkata", "2026-10-03T03:30", "2026-10-04T03:30", 24 * HOUR),
    ],
)
def test_daily_handoffs_stay_at_nine_when_the_clocks_change(
    zone: str, before: str, after: str, length: timedelta
) -> None:
    start = wall(datetime(2026, 1, 1, 9), ZoneInfo(zone))  # noqa: DTZ001 - a wall time
    layer = Layer(id="L", users=["A", "B"], start=start, turn=DAY)
    rota = LayeredSchedule(id="S", name="S", time_zone=zone, layers=[layer])
    [turn] = [turn for turn in rota.final(at(before), at(after)) if turn.start == at(before)]
    assert (turn.end, turn.end - turn.start) == (at(after), length)


def test_later_layers_and_overrides_count_more_and_gaps_are_nobody() -> None:
    base = Layer(id="L1", users=["A"], start=at("2026-01-01T00:00"), turn=DAY, end=at("2026-01-03T00:00"))
    night = Layer(
        id="L2",
        users=["N"],
        start=at("2026-01-01T00:00"),
        turn=DAY,
        restrictions=[Restriction(start=time(22), duration=8 * HOUR)],
    )
    rota = LayeredSchedule(id="S", name="S", layers=[base, night])
    rota.overrides.append(Override(id="O", user="C", start=at("2026-01-02T05:00"), end=at("2026-01-02T07:00")))
    turns = [(turn.user, turn.start, turn.end) for turn in rota.final(at("2026-01-01T12:00"), at("2026-01-03T12:00"))]
    assert turns == [
        ("A", at("2026-01-01T06:00"), at("2026-01-01T22:00")),
        ("N", at("2026-01-01T22:00"), at("2026-01-02T05:00")),
        ("C", at("2026-01-02T05:00"), at("2026-01-02T07:00")),
        ("A", at("2026-01-02T07:00"), at("2026-01-02T22:00")),
        ("N", at("2026-01-02T22:00"), at("2026-01-03T06:00")),
    ]
    assert who(rota, at("2026-01-03T07:00")) == []
    assert [turn.user for turn in rota.override_turns(at("2026-01-01T12:00"), at("2026-01-03T12:00"))] == ["C"]
    assert [turn.user for turn in rota.layer_turns(base, at("2026-01-02T05:00"), at("2026-01-02T06:00"))] == ["A"]


def test_weekly_restrictions_count_on_their_day() -> None:
    layer = Layer(id="L", users=["A"], start=at("2026-01-01T00:00"), turn=DAY)
    layer.restrictions.append(Restriction(start=time(20), duration=10 * HOUR, day=5))
    rota = LayeredSchedule(id="S", name="S", layers=[layer])
    assert [(turn.start, turn.end) for turn in rota.final(at("2026-01-08T00:00"), at("2026-01-14T00:00"))] == [
        (at("2026-01-09T20:00"), at("2026-01-10T06:00"))
    ]


def test_short_turns_count_absolute_hours() -> None:
    layer = Layer(id="L", users=["A", "B"], start=datetime(2027, 3, 14, 0, tzinfo=UTC), turn=8 * HOUR)
    rota = LayeredSchedule(id="S", name="S", time_zone="America/New_York", layers=[layer])
    turns = rota.final(at("2027-03-14T01:00"), at("2027-03-14T23:00"))
    assert {turn.end - turn.start for turn in turns} == {8 * HOUR}


def test_a_shift_based_override_touches_its_own_rotation_only() -> None:
    begin = at("2026-01-01T09:00")
    first = Rotation(id="R1", members=["A", "B"], start=begin, length=DAY, every_days=1, shifts_per_member=2)
    second = Rotation(id="R2", members=["C", None], start=begin, length=DAY, every_days=1)
    third = Rotation(id="R3", members=["D", "E"], start=begin, length=HOUR, every_days=7, all_at_once=True)
    custom = CustomShift(id="C1", members=["F"], start=begin, end=begin + HOUR)
    rota = FlexibleSchedule(id="S", name="S", rotations=[first, second, third], custom_shifts=[custom])
    assert who(rota, begin) == ["C", "D", "E", "F", "A"] or sorted(map(str, who(rota, begin))) == [
        "A",
        "C",
        "D",
        "E",
        "F",
    ]
    first.overrides.append(Override(id="O", user="X", start=begin + HOUR, end=begin + 2 * HOUR))
    assert sorted(map(str, who(rota, begin + HOUR))) == ["C", "X"]
    [taken] = [turn for turn in rota.final(begin + HOUR, begin + HOUR) if turn.user == "X"]
    assert (taken.source, taken.source_id) == ("schedule_rotation_override", "O")
    assert sorted(map(str, who(rota, begin + DAY))) == ["A", "None"]
    assert sorted(map(str, who(rota, begin + 2 * DAY))) == ["B", "C"]
