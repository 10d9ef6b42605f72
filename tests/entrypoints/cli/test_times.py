"""Instants and lengths in words."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.entrypoints.cli.times import say_day, say_distance, say_instant, say_length

NOW = datetime(2026, 11, 24, 7, 17, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("instant", "said"),
    [
        (datetime(2026, 11, 24, 9, 0, tzinfo=UTC), "09:00 UTC"),
        (datetime(2026, 11, 25, 9, 0, tzinfo=UTC), "Wed 09:00 UTC"),
        (datetime(2026, 11, 23, 9, 0, tzinfo=UTC), "Mon 09:00 UTC"),
        (datetime(2026, 12, 1, 9, 0, tzinfo=UTC), "Tue 1 Dec 09:00 UTC"),
        (datetime(2027, 1, 3, 9, 0, tzinfo=UTC), "Sun 3 Jan 2027 09:00 UTC"),
        (None, "no known end"),
    ],
)
def test_an_instant_is_said_as_short_as_it_is_unambiguous(instant: datetime | None, said: str) -> None:
    assert say_instant(instant, now=NOW) == said


def test_the_zone_decides_the_day_and_its_name_follows_the_clock_change() -> None:
    late = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)
    assert say_instant(late, now=NOW, zone=BERLIN) == "Wed 00:30 CET"
    summer = datetime(2026, 6, 24, 7, 0, tzinfo=UTC)
    assert say_instant(summer, now=summer, zone=BERLIN) == "09:00 CEST"


def test_a_weekday_a_week_off_is_not_taken_for_this_week() -> None:
    """Next Tuesday said as plain `Tue` on a Tuesday would send somebody to the wrong shift."""
    assert say_instant(NOW + timedelta(days=7), now=NOW).startswith("Tue 1 Dec")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (45, "45 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3 * 3600, "3 h"),
        (3 * 3600 + 20 * 60 + 5, "3 h 20 min"),
        (2 * 86400 + 4 * 3600 + 59 * 60, "2 d 4 h"),
        (86400 + 59, "1 d"),
    ],
)
def test_a_length_names_its_two_largest_units(seconds: int, said: str) -> None:
    assert say_length(timedelta(seconds=seconds)) == said


@given(st.integers(0, 10**8))
def test_a_length_is_never_said_longer_than_it_is(seconds: int) -> None:
    units = {"d": 86400, "h": 3600, "min": 60, "s": 1}
    words = say_length(timedelta(seconds=seconds)).split()
    said = sum(int(count) * units[unit] for count, unit in zip(words[::2], words[1::2], strict=True))
    assert said <= seconds
    largest = units[words[1]]
    assert seconds - said < max(largest, 1)


def test_distances_point_the_right_way() -> None:
    assert say_distance(NOW + timedelta(hours=3), now=NOW) == "in 3 h"
    assert say_distance(NOW - timedelta(hours=3), now=NOW) == "3 h ago"
    assert say_distance(NOW, now=NOW) == "now"
    assert say_distance(None, now=NOW) == "never"


def test_a_day_is_said_in_english() -> None:
    assert say_day(datetime(2026, 3, 1, tzinfo=UTC)) == "Sun 1 Mar"
