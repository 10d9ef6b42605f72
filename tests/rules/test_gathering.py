"""What all providers share: placing turns at levels, the window, overrides, who is known."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import EndKind, Provenance, Roster, Shift
from watchkey.rules.gathering import Gathered, Rung, Window, in_utc, refuse_missing
from watchkey.rules.roster import index_roster

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
ANNA, BERT = PersonId("anna"), PersonId("bert")


def gathered(*, unlisted: bool | None = False) -> Gathered:
    return Gathered(window=Window.of(NOW, DAY), unlisted=unlisted)


def roster(found: Gathered) -> Roster:
    read = found.roster(SourceName("s"), NOW, timedelta(0))
    index_roster(read)
    return read


def test_the_window_is_in_whole_seconds_and_utc() -> None:
    paris = timezone(2 * HOUR)
    window = Window.of(NOW.astimezone(paris) + timedelta(microseconds=7), DAY)
    assert (window.since, window.until) == (NOW, NOW + DAY)
    assert window.since.tzinfo is UTC


def test_whole_days_surround_the_window_and_move_once_a_day() -> None:
    first, last = Window.of(NOW, DAY).whole_days()
    assert (first, last) == (datetime(2026, 6, 30, tzinfo=UTC), datetime(2026, 7, 3, tzinfo=UTC))
    assert Window.of(NOW + 5 * HOUR, DAY).whole_days() == (first, last)


@given(st.integers(-72, 72), st.integers(0, 72))
def test_a_turn_is_kept_exactly_when_it_has_an_instant_in_the_window(start: int, length: int) -> None:
    found = gathered()
    begins = NOW + start * HOUR
    found.turn(ANNA, "S", begins, begins + length * HOUR)
    shifts = roster(found).shifts
    hours = [begins + hour * HOUR for hour in range(length)]
    assert bool(shifts) == any(NOW <= hour < NOW + DAY for hour in hours)
    for shift in shifts:
        cut = shift.ends_at is not None and shift.ends_at >= NOW + DAY
        assert shift.end_kind is (EndKind.TRUNCATED if cut else EndKind.EXACT)


def test_a_turn_backwards_is_malformed() -> None:
    with pytest.raises(Malformed, match="backwards"):
        gathered().turn(ANNA, "S", NOW + HOUR, NOW)


def test_an_end_that_nobody_knows_stays_unknown() -> None:
    found = gathered()
    found.turn(ANNA, "S", NOW - HOUR, None)
    [shift] = roster(found).shifts
    assert (shift.ends_at, shift.end_kind) == (None, EndKind.UNKNOWN)


def test_a_turn_is_one_shift_for_each_level_that_pages_it() -> None:
    found = gathered()
    found.policy("E1", "One", [Rung(level=1, schedules=("S",)), Rung(level=3, schedules=("S", "T"))])
    found.policy("E2", "Two", [Rung(level=None, schedules=("S",))])
    found.turn(ANNA, "S", NOW, NOW + HOUR)
    read = roster(found)
    assert {(s.policy, s.level) for s in read.shifts} == {("E1", 1), ("E1", 3), ("E2", None)}
    assert {p.id: p.schedules_by_level for p in read.policies} == {"E1": (("S",), (), ("S", "T")), "E2": ()}


def test_a_turn_that_nothing_pages_has_neither_policy_nor_level() -> None:
    found = gathered()
    found.turn(ANNA, "S", NOW, NOW + HOUR)
    assert [(s.policy, s.level, s.schedule) for s in roster(found).shifts] == [(None, None, "S")]


def test_who_is_named_directly_never_goes_off_call() -> None:
    found = gathered()
    found.policy("E1", "One", [Rung(level=2, people=(ANNA, ANNA))])
    [shift] = roster(found).shifts
    assert (shift.level, shift.starts_at, shift.end_kind) == (2, None, EndKind.PERMANENT)
    assert shift.provenance is Provenance.PERMANENT


@pytest.mark.parametrize("unlisted", [False, None])
def test_who_is_on_call_and_not_listed_is_as_the_provider_lets_us_know(unlisted: Any) -> None:
    found = gathered(unlisted=unlisted)
    found.person("bert", "Bert", ["b@example.com", None, "b@example.com"], active=True)
    found.mention("anna", "Anna", "a@example.com")
    found.turn(PersonId("cara"), "S", NOW, NOW + HOUR)
    people = {p.id: (p.name, p.emails, p.active) for p in roster(found).people}
    assert people == {
        "bert": ("Bert", ("b@example.com",), True),
        "anna": ("Anna", ("a@example.com",), unlisted),
        "cara": ("cara", (), unlisted),
    }


def test_a_schedule_that_is_only_mentioned_is_in_the_roster() -> None:
    found = gathered()
    found.schedule("S", None, "Europe/Paris")
    found.turn(ANNA, "T", NOW, NOW + HOUR)
    assert {(s.id, s.time_zone) for s in roster(found).schedules} == {("S", "Europe/Paris"), ("T", "UTC")}


def test_turns_that_touch_are_one_so_that_a_cut_at_now_does_not_show() -> None:
    one, two = gathered(), gathered()
    one.turn(ANNA, "S", NOW - HOUR, NOW + HOUR)
    two.turn(ANNA, "S", NOW - HOUR, NOW + timedelta(minutes=10))
    two.turn(ANNA, "S", NOW + timedelta(minutes=10), NOW + HOUR)
    assert index_roster(roster(one)).digest == index_roster(roster(two)).digest


def test_turns_of_two_people_or_with_a_gap_stay_apart() -> None:
    found = gathered()
    found.turn(ANNA, "S", NOW, NOW + HOUR)
    found.turn(BERT, "S", NOW + HOUR, NOW + 2 * HOUR)
    found.turn(ANNA, "S", NOW + 3 * HOUR, NOW + 4 * HOUR)
    assert len(roster(found).shifts) == 3


def test_an_override_is_cut_out_of_the_turn_and_does_not_spoil_the_rest() -> None:
    found = gathered()
    found.policy("E", "E", [Rung(level=1, schedules=("S",))])
    found.turn(ANNA, "S", NOW - HOUR, NOW + 5 * HOUR)
    found.override(ANNA, "S", NOW + HOUR, NOW + 2 * HOUR)
    found.override(ANNA, "T", NOW - HOUR, NOW + 5 * HOUR)
    found.override(BERT, "S", NOW - HOUR, NOW + 5 * HOUR)
    pieces = [(s.starts_at, s.ends_at, s.provenance) for s in roster(found).shifts]
    assert sorted(pieces) == [
        (NOW - HOUR, NOW + HOUR, Provenance.UNKNOWN),
        (NOW + HOUR, NOW + 2 * HOUR, Provenance.SELF_OVERRIDE),
        (NOW + 2 * HOUR, NOW + 5 * HOUR, Provenance.UNKNOWN),
    ]


def test_of_two_overrides_the_weaker_grade_counts() -> None:
    found = gathered()
    found.turn(ANNA, "S", NOW, NOW + HOUR)
    found.override(ANNA, "S", NOW, NOW + HOUR, Provenance.SWAP)
    found.override(ANNA, "S", NOW, NOW + HOUR, Provenance.SELF_OVERRIDE)
    assert [s.provenance for s in roster(found).shifts] == [Provenance.SELF_OVERRIDE]


def test_a_shift_that_comes_with_its_level_is_graded_too() -> None:
    found = gathered()
    found.policy("E", "E")
    found.shift(Shift(person=ANNA, schedule="S", policy="E", level=1, starts_at=NOW, ends_at=NOW + HOUR))
    found.override(ANNA, "S", NOW - HOUR, NOW + HOUR)
    assert [(s.level, s.provenance) for s in roster(found).shifts] == [(1, Provenance.SELF_OVERRIDE)]


def test_missing_objects_are_refused_by_name_and_none_is_fine() -> None:
    refuse_missing("Vendor", "schedules", ())
    with pytest.raises(Refused, match=r"Vendor does not know these schedules.*A, B"):
        refuse_missing("Vendor", "schedules", {"B", "A"})


def test_an_instant_comes_to_utc_and_none_stays_none() -> None:
    assert in_utc(None) is None
    assert in_utc(NOW.astimezone(timezone(HOUR))) == NOW


def test_nobody_is_on_the_rota_because_a_provider_says_so() -> None:
    found = gathered()
    found.policy("E", "E")
    found.shift(Shift(person=ANNA, policy="E", level=1, starts_at=NOW, ends_at=NOW + HOUR))
    found.turn(ANNA, "S", NOW, NOW + HOUR)
    assert {s.provenance for s in roster(found).shifts} == {Provenance.UNKNOWN}
