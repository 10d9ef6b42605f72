"""Go's reference layouts, taken apart; the calendar beneath; durations."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.go_layouts import (
    Civil,
    chunks,
    civil_of,
    date_of_day,
    day_number,
    days_in_month,
    format_time,
    is_leap,
    parse_duration,
    parse_time,
    quote,
    unix_ns_of,
    weekday_of,
)


@given(st.dates())
def test_days_are_those_of_the_calendar(day: Any) -> None:
    number = (day - date(1970, 1, 1)).days
    assert day_number(day.year, day.month, day.day) == number
    assert date_of_day(number) == (day.year, day.month, day.day)
    assert weekday_of(Civil(day.year, day.month, day.day)) == (day.weekday() + 1) % 7


def test_year_zero_is_a_leap_year() -> None:
    assert is_leap(0)
    assert date_of_day(day_number(0, 2, 29)) == (0, 2, 29)
    assert day_number(1, 1, 1) - day_number(0, 1, 1) == 366


def test_months_run_over() -> None:
    assert day_number(2021, 14, 1) == day_number(2022, 2, 1)
    assert day_number(2021, 0, 1) == day_number(2020, 12, 1)
    assert [days_in_month(2021, month) for month in (1, 2, 12)] == [31, 28, 31]


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-50_000, 50_000))
def test_readings_lead_back_to_the_instant(instant: int, offset: int) -> None:
    assert unix_ns_of(civil_of(instant, offset, "")) == instant


@pytest.mark.parametrize(
    ("layout", "elements"),
    [
        ("2006-01-02T15:04:05Z07:00", ["2006", "01", "02", "15", "04", "05", "Z07:00"]),
        ("Janet January Jan", ["January", "Jan"]),
        ("_2006 _2 __2", ["2006", "_2", "__2"]),
        (".000 .0001 ,999", [".000", "01", ",999"]),
        ("MSTx -07 -0700", ["MST", "-07", "-0700"]),
        ("stdlib", []),
    ],
)
def test_elements_of_a_layout(layout: str, elements: Any) -> None:
    assert [element for _, element in chunks(layout) if element] == elements


def test_an_unnamed_zone_shows_its_offset() -> None:
    assert format_time(civil_of(0, 5400, ""), "MST") == "+0130"
    assert format_time(civil_of(0, 3600, ""), "MST -07:00:00 Z070000") == "+01 +01:00:00 +010000"


def test_twelve_hour_clock() -> None:
    assert [format_time(Civil(2021, 1, 1, hour), "3PM") for hour in (0, 11, 12, 23)] == ["12AM", "11AM", "12PM", "11PM"]


def test_names_are_read_in_any_case_and_weekdays_are_not_checked() -> None:
    assert parse_time("Mon Jan 2 2006", "tue JAN 1 1970") == 0


def test_fraction_that_the_layout_does_not_have() -> None:
    assert parse_time("2006 5", "1970 1.123456789999") == 1_123_456_789


@pytest.mark.parametrize("text", ["1970 060x", "1970 366", "1970 000"])
def test_days_of_the_year_that_are_not(text: str) -> None:
    with pytest.raises(BuiltinError):
        parse_time("2006 002", text)


def test_quotes_as_go() -> None:
    assert quote('a"\\\n\u00fc') == '"a\\"\\\\\\x0a\\xc3\\xbc"'


@given(st.integers(0, 10**6), st.sampled_from(["ns", "us", "ms", "s", "m", "h"]))
def test_whole_durations(count: int, unit: Any) -> None:
    sizes = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
    assert parse_duration(f"{count}{unit}") == count * sizes[unit]
    assert parse_duration(f"-{count}{unit}") == -count * sizes[unit]


def test_fractions_of_an_hour_keep_nanoseconds() -> None:
    assert parse_duration("0.000000000001h") == 3
    assert parse_duration("0.3333333333333333333h") == 1200 * 10**9
    assert parse_duration("0.333333333333h") == 1_199_999_999_998
