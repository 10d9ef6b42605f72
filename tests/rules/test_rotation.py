"""The rota's arithmetic against a clock that is watched minute by minute, and the cases that people ask about."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from watchkey.model.ids import PersonId
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.rules.rotation import Layer, Override, Restriction, Rota, render, wall_to_utc

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
NEW_YORK, LONDON, LORD_HOWE, APIA, KOLKATA = (
    ZoneInfo(name)
    for name in ("America/New_York", "Europe/London", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata")
)
ALICE, BOB, CAROL, DAVE = (PersonId(name) for name in ("alice", "bob", "carol", "dave"))


def wall(text: str) -> datetime:
    """A time as a clock on a wall shows it: without a zone."""
    return datetime.fromisoformat(text)


# Days in whose middle the clocks change (or, for Kolkata, do not), with the wall-clock times around the change.
CHANGES = (
    (NEW_YORK, datetime(2026, 3, 8, 7, 0, tzinfo=UTC), ("01:30", "02:00", "02:30", "03:00")),
    (NEW_YORK, datetime(2026, 11, 1, 6, 0, tzinfo=UTC), ("00:30", "01:00", "01:30", "02:00")),
    (LONDON, datetime(2026, 3, 29, 1, 0, tzinfo=UTC), ("00:59", "01:00", "01:30", "02:00")),
    (LONDON, datetime(2026, 10, 25, 1, 0, tzinfo=UTC), ("00:59", "01:00", "01:30", "02:00")),
    (LORD_HOWE, datetime(2026, 4, 4, 15, 0, tzinfo=UTC), ("01:15", "01:30", "01:45", "02:00")),
    (LORD_HOWE, datetime(2026, 10, 3, 15, 30, tzinfo=UTC), ("01:45", "02:00", "02:15", "02:30")),
    (APIA, datetime(2011, 12, 30, 10, 0, tzinfo=UTC), ("00:00", "12:00", "23:59")),  # a whole day is skipped
    (KOLKATA, datetime(2026, 3, 8, 7, 0, tzinfo=UTC), ("12:30",)),
)


# -- wall-clock times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "shown", "instant"),
    [
        (NEW_YORK, wall("2026-07-01 09:00"), wall("2026-07-01 13:00")),
        (NEW_YORK, wall("2026-03-08 02:30"), wall("2026-03-08 07:00")),  # skipped: the instant of the skip
        (NEW_YORK, wall("2026-03-08 03:00"), wall("2026-03-08 07:00")),
        (NEW_YORK, wall("2026-11-01 01:30"), wall("2026-11-01 05:30")),  # twice: the first
        (NEW_YORK, wall("2026-11-01 02:00"), wall("2026-11-01 07:00")),
        (LORD_HOWE, wall("2026-10-04 02:15"), wall("2026-10-03 15:30")),  # half an hour is skipped
        (LORD_HOWE, wall("2026-04-05 01:45"), wall("2026-04-04 14:45")),  # half an hour comes twice
        (LORD_HOWE, wall("2026-04-05 02:00"), wall("2026-04-04 15:30")),
        (APIA, wall("2011-12-30 12:00"), wall("2011-12-30 10:00")),  # the day does not exist
        (KOLKATA, wall("2026-03-08 09:00"), wall("2026-03-08 03:30")),
    ],
)
def test_a_wall_clock_time_is_the_first_instant_at_which_the_clock_shows_it_or_later(
    zone: ZoneInfo, shown: datetime, instant: datetime
) -> None:
    assert wall_to_utc(shown, zone) == instant.replace(tzinfo=UTC)


@given(change=st.sampled_from(CHANGES), first=st.integers(-200_000_000, 200_000_000), step=st.integers(0, 200_000_000))
def test_wall_clock_times_keep_their_order(change: Any, first: int, step: int) -> None:
    zone, around, _ = change
    face = around.astimezone(zone).replace(tzinfo=None) + timedelta(milliseconds=first)
    reached = wall_to_utc(face, zone)
    assert reached <= wall_to_utc(face + timedelta(milliseconds=step), zone)
    assert reached.astimezone(zone).replace(tzinfo=None) >= face
    assert (reached - MICROSECOND).astimezone(zone).replace(tzinfo=None) < face


# -- the oracle: watch the clock ---------------------------------------------------------------------------------


def latest_faces(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield each minute with the latest time that the clock has shown up to it: that is what handoffs wait for."""
    shown = datetime.min  # noqa: DTZ901 - wall-clock times are naive
    instant = start
    while instant < end:
        shown = max(shown, instant.astimezone(zone).replace(tzinfo=None))
        yield instant, shown
        instant += MINUTE


def turn_number(layer: Layer, face: datetime) -> int:
    """Count turns from some handoff; only differences mean anything."""
    origin = datetime.combine(date(2000, 1, 3), layer.handoff)  # a Monday
    if layer.weekday is not None:
        origin += layer.weekday * DAY
    return (face - origin) // layer.turn


def is_let_through(layer: Layer, face: datetime) -> bool:
    if not layer.restrictions:
        return True
    for back in range(9):
        day = face.date() - back * DAY
        for one in layer.restrictions:
            if day.weekday() == one.weekday:
                begins = datetime.combine(day, one.starts)
                ends = datetime.combine(day + one.days_later * DAY, one.ends)
                if begins <= face < ends:
                    return True
    return False


def watched(rota: Rota, start: datetime, end: datetime) -> dict[datetime, tuple[PersonId, Provenance] | None]:
    """Who is on call at each minute, found by watching a clock from before all layers began."""
    zone = rota.zone
    assert isinstance(zone, ZoneInfo)
    began = min([start, *(layer.starts_at for layer in rota.layers)])
    members = {person for layer in rota.layers for person in layer.participants}
    first_turn: dict[int, int] = {}
    result: dict[datetime, tuple[PersonId, Provenance] | None] = {}
    for instant, face in latest_faces(zone, began - 2 * DAY, end):
        current: tuple[PersonId, Provenance] | None = None
        for i, layer in enumerate(rota.layers):
            if instant < layer.starts_at or (layer.ends_at is not None and instant >= layer.ends_at):
                continue
            number = turn_number(layer, face)
            first_turn.setdefault(i, number)
            if is_let_through(layer, face):
                who = layer.participants[(number - first_turn[i]) % len(layer.participants)]
                current = who, Provenance.ROTA
        for one in rota.overrides:
            if one.starts_at <= instant < one.ends_at and (current is None or current[0] != one.person):
                current = one.person, grade(one, current and current[0], members)
        if instant >= start:
            result[instant] = current
    return result


def grade(one: Override, replaced: PersonId | None, members: set[PersonId]) -> Provenance:
    if one.created_by is None:
        return Provenance.UNKNOWN
    if one.created_by == one.person:
        return Provenance.SELF_OVERRIDE
    if one.created_by == replaced and one.person in members and replaced in members:
        return Provenance.SWAP
    return Provenance.OTHER_OVERRIDE


# -- generators that aim at the changes --------------------------------------------------------------------------


def layers(zone: ZoneInfo, around: datetime, times: Sequence[str]) -> st.SearchStrategy[Layer]:
    near = st.sampled_from([time.fromisoformat(text) for text in (*times, "00:00", "09:00", "23:30")])
    restriction = st.builds(
        Restriction, weekday=st.integers(0, 6), starts=near, ends=near, days_later=st.sampled_from([0, 1, 1, 2, 7])
    )

    def layer(people: list[PersonId], days: int, handoff: time, **rest: Any) -> Layer:
        turn = days * HOUR
        starts_at = around - rest.pop("age")
        lasts = rest.pop("lasts")
        return Layer(
            participants=tuple(people),
            turn=turn,
            handoff=handoff,
            weekday=around.astimezone(zone).weekday() if turn % (7 * DAY) == timedelta(0) else None,
            starts_at=starts_at,
            ends_at=None if lasts is None else starts_at + lasts,
            restrictions=tuple(rest.pop("restrictions")),
        )

    return st.builds(
        layer,
        people=st.lists(st.sampled_from([ALICE, BOB, CAROL, DAVE]), min_size=1, max_size=4),
        days=st.sampled_from([1, 2, 6, 12, 24, 24, 168]),
        handoff=near,
        age=st.integers(-12 * 60, 3 * 24 * 60).map(lambda minutes: minutes * MINUTE),
        lasts=st.none() | st.integers(1, 5 * 24 * 60).map(lambda minutes: minutes * MINUTE),
        restrictions=st.just([]) | st.lists(restriction, max_size=4),
    )


@st.composite
def rotas(draw: st.DrawFn) -> tuple[Rota, datetime, datetime]:
    zone, around, times = draw(st.sampled_from(CHANGES))
    minutes = st.integers(-26 * 60, 26 * 60).map(lambda minutes: around + minutes * MINUTE)
    near = minutes | st.sampled_from([around + i * MINUTE for i in (-60, -30, -1, 0, 1, 30, 60)])

    def override(one: datetime, other: datetime, **who: Any) -> Override:
        return Override(starts_at=min(one, other), ends_at=max(one, other) + MINUTE, **who)

    people = st.sampled_from([ALICE, BOB, CAROL, DAVE])
    start = draw(near)
    rota = Rota(
        schedule="s",
        zone=zone,
        layers=tuple(draw(st.lists(layers(zone, around, times), min_size=0, max_size=3))),
        overrides=tuple(
            draw(
                st.lists(
                    st.builds(override, one=near, other=near, person=people, created_by=st.none() | people), max_size=3
                )
            )
        ),
    )
    return rota, start, start + draw(st.integers(1, 26 * 60)) * MINUTE


def on_call(shifts: Sequence[Shift], instant: datetime) -> list[tuple[PersonId, Provenance]]:
    return [(shift.person, shift.provenance) for shift in shifts if shift.covers(instant)]


def test_at_each_minute_and_just_before_it_the_rota_says_what_a_watched_clock_says() -> None:
    reached: set[str] = set()

    def note(what: str) -> None:
        event(what)
        reached.add(what)

    # Drawn overrides are seldom a member's own turn given to another; this one always is.
    begun = datetime(2026, 2, 10, 9, tzinfo=UTC)
    given_away = Override(person=BOB, starts_at=begun + HOUR, ends_at=begun + 2 * HOUR, created_by=ALICE)
    turns = layer(ALICE, BOB, starts_at=begun)
    swapped = Rota(schedule="s", zone=ZoneInfo("UTC"), layers=(turns,), overrides=(given_away,))

    @settings(max_examples=250, deadline=None)
    @given(case=rotas())
    @example(case=(swapped, begun, begun + 3 * HOUR))
    def check(case: tuple[Rota, datetime, datetime]) -> None:
        rota, start, end = case
        shifts = render(rota, start, end)
        for instant, who in watched(rota, start, end).items():
            expected = [] if who is None else [who]
            assert on_call(shifts, instant) == expected, instant
            just_before_the_next = instant + MINUTE - MICROSECOND
            assert on_call(shifts, just_before_the_next) == expected, just_before_the_next
            note("gap" if who is None else who[1])
        for shift in shifts:
            assert shift.end_kind is EndKind.EXACT
            assert shift.starts_at is not None
            assert shift.ends_at is not None
            assert shift.starts_at < end
            assert shift.ends_at > start
            if shift.starts_at < start:
                note("began before the window")
            if shift.ends_at > end:
                note("ends after the window")

    check()
    grades = {"rota", "swap", "other_override", "self_override", "unknown"}
    assert reached == {"gap", "began before the window", "ends after the window", *grades}


@settings(max_examples=150, deadline=None)
@given(case=rotas(), before=st.integers(0, 4000), after=st.integers(0, 4000))
def test_a_shift_is_the_same_from_whichever_window_it_is_seen(
    case: tuple[Rota, datetime, datetime], before: int, after: int
) -> None:
    rota, start, end = case
    wide = render(rota, start - before * MINUTE, end + after * MINUTE)
    assert render(rota, start, end) == tuple(
        shift for shift in wide if shift.starts_at and shift.ends_at and shift.starts_at < end and shift.ends_at > start
    )


# -- cases that people ask about ---------------------------------------------------------------------------------


def layer(*participants: PersonId, **changes: Any) -> Layer:
    fields: dict[str, Any] = {
        "participants": participants,
        "turn": DAY,
        "handoff": time(9),
        "starts_at": datetime(2026, 1, 5, 9, tzinfo=UTC),
    }
    return Layer(**(fields | changes))


def spans(rota: Rota, start: datetime, end: datetime) -> list[tuple[str, str, str]]:
    return [
        (shift.person, f"{shift.starts_at:%d %H:%M}", f"{shift.ends_at:%d %H:%M}")
        for shift in render(rota, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
    ]


def test_a_daily_handoff_in_new_york_stays_at_nine_when_the_clocks_change() -> None:
    rota = Rota(
        schedule="s", zone=NEW_YORK, layers=(layer(ALICE, BOB, starts_at=datetime(2027, 3, 12, 14, tzinfo=UTC)),)
    )
    assert spans(rota, wall("2027-03-12 14:00"), wall("2027-03-15 00:00")) == [
        ("alice", "12 14:00", "13 14:00"),
        ("bob", "13 14:00", "14 13:00"),  # 23 hours
        ("alice", "14 13:00", "15 13:00"),
    ]


def test_a_half_hour_change_makes_a_turn_of_23_and_a_half_hours() -> None:
    rota = Rota(schedule="s", zone=LORD_HOWE, layers=(layer(ALICE, starts_at=datetime(2026, 10, 1, tzinfo=UTC)),))
    found = render(rota, datetime(2026, 10, 3, 12, tzinfo=UTC), datetime(2026, 10, 3, 13, tzinfo=UTC))
    assert [shift.ends_at and shift.starts_at and shift.ends_at - shift.starts_at for shift in found] == [23.5 * HOUR]


def test_a_weekly_rotation_begins_with_the_turn_that_contains_its_start() -> None:
    wednesday = datetime(2026, 1, 7, 12, tzinfo=UTC)
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE, BOB, turn=7 * DAY, weekday=0, starts_at=wednesday),))
    assert spans(rota, wall("2026-01-05 00:00"), wall("2026-01-20 00:00")) == [
        ("alice", "07 12:00", "12 09:00"),
        ("bob", "12 09:00", "19 09:00"),
        ("alice", "19 09:00", "26 09:00"),
    ]


def test_a_higher_layer_wins_and_what_it_leaves_is_the_lower_one_s() -> None:
    night = tuple(Restriction(weekday=day, starts=time(22), ends=time(6), days_later=1) for day in range(7))
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE), layer(BOB, restrictions=night)))
    assert spans(rota, wall("2026-01-06 09:00"), wall("2026-01-07 09:00")) == [
        ("alice", "06 09:00", "06 22:00"),
        ("bob", "06 22:00", "07 06:00"),
        ("alice", "07 06:00", "07 09:00"),
    ]


def test_a_restricted_layer_leaves_gaps() -> None:
    day = Restriction(weekday=1, starts=time(9), ends=time(17))
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE, restrictions=(day,)),))
    assert spans(rota, wall("2026-01-05 00:00"), wall("2026-01-12 00:00")) == [("alice", "06 09:00", "06 17:00")]


def test_a_window_over_the_weekend_is_one_span() -> None:
    weekend = Restriction(weekday=4, starts=time(17), ends=time(9), days_later=3)
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE, turn=7 * DAY, weekday=2, restrictions=(weekend,)),))
    assert spans(rota, wall("2026-01-08 00:00"), wall("2026-01-13 00:00")) == [("alice", "09 17:00", "12 09:00")]


def test_an_override_across_a_handoff_is_graded_by_whom_it_replaces() -> None:
    override = Override(
        person=CAROL,
        starts_at=datetime(2026, 1, 6, 8, tzinfo=UTC),
        ends_at=datetime(2026, 1, 6, 10, tzinfo=UTC),
        created_by=ALICE,
    )
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE, BOB, CAROL),), overrides=(override,))
    found = render(rota, override.starts_at, override.ends_at)
    assert [(shift.person, shift.provenance, shift.created_by) for shift in found] == [
        (CAROL, Provenance.SWAP, ALICE),
        (CAROL, Provenance.OTHER_OVERRIDE, ALICE),
    ]


def test_an_override_of_one_s_own_turn_changes_nothing() -> None:
    override = Override(
        person=ALICE, starts_at=datetime(2026, 1, 5, 12, tzinfo=UTC), ends_at=datetime(2026, 1, 5, 13, tzinfo=UTC)
    )
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE),))
    window = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 6, 9, tzinfo=UTC)
    assert render(replace(rota, overrides=(override,)), *window) == render(rota, *window)


def test_a_later_override_wins_over_an_earlier_one() -> None:
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    rota = Rota(
        schedule="s",
        zone=UTC,
        overrides=tuple(Override(person=who, starts_at=noon, ends_at=noon + HOUR) for who in (ALICE, BOB)),
    )
    assert spans(rota, wall("2026-01-05 00:00"), wall("2026-01-06 00:00")) == [("bob", "05 12:00", "05 13:00")]


def test_a_long_override_keeps_its_true_ends() -> None:
    override = Override(
        person=DAVE,
        starts_at=datetime(2026, 2, 1, tzinfo=UTC),
        ends_at=datetime(2026, 3, 1, tzinfo=UTC),
        created_by=BOB,
    )
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE),), overrides=(override,))
    assert spans(rota, wall("2026-02-10 00:00"), wall("2026-02-11 00:00")) == [("dave", "01 00:00", "01 00:00")]


def test_an_override_over_many_turns_is_graded_by_those_before_the_window_too() -> None:
    swap = Override(
        person=DAVE,
        starts_at=datetime(2026, 2, 1, tzinfo=UTC),
        ends_at=datetime(2026, 3, 1, tzinfo=UTC),
        created_by=ALICE,
    )
    later = layer(DAVE, starts_at=datetime(2027, 1, 1, tzinfo=UTC))
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE, turn=HOUR), later), overrides=(swap,))
    (shift,) = render(rota, datetime(2026, 2, 10, tzinfo=UTC), datetime(2026, 2, 11, tzinfo=UTC))
    assert (shift.starts_at, shift.ends_at, shift.provenance) == (swap.starts_at, swap.ends_at, Provenance.SWAP)


@example(minutes=-1)
@example(minutes=0)
@given(minutes=st.integers(-100_000, 100_000))
def test_before_it_starts_and_after_it_ends_a_layer_is_silent(minutes: int) -> None:
    starts_at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    rota = Rota(schedule="s", zone=NEW_YORK, layers=(layer(ALICE, starts_at=starts_at, ends_at=starts_at + DAY),))
    instant = starts_at + minutes * MINUTE
    found = on_call(render(rota, instant, instant + MINUTE), instant)
    assert bool(found) == (0 <= minutes < 24 * 60)


def test_an_empty_window_has_no_shifts() -> None:
    rota = Rota(schedule="s", zone=UTC, layers=(layer(ALICE),))
    instant = datetime(2026, 1, 6, tzinfo=UTC)
    assert render(rota, instant, instant) == ()


@pytest.mark.parametrize(
    "make",
    [
        layer,
        lambda: layer(ALICE, turn=timedelta(minutes=59)),
        lambda: layer(ALICE, turn=HOUR + timedelta(seconds=1)),
        lambda: layer(ALICE, ends_at=datetime(2026, 1, 5, 9, tzinfo=UTC)),
        lambda: Override(
            person=ALICE, starts_at=datetime(2026, 1, 1, tzinfo=UTC), ends_at=datetime(2026, 1, 1, tzinfo=UTC)
        ),
        lambda: Restriction(weekday=7, starts=time(9), ends=time(17)),
        lambda: Restriction(weekday=0, starts=time(9), ends=time(17), days_later=8),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"layer|turn|ends|restriction"):
        make()
