"""time.*: parsing, formatting, calendar arithmetic, zones and durations."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import NOW_NS, Context, call, is_undefined, rego
from watchkey.rego.errors import BuiltinError, LimitExceeded, OperandError

HOUR = 3600 * 10**9
NS = st.integers(-(1 << 63), (1 << 63) - 1)


def test_now_is_the_now_of_the_evaluation() -> None:
    assert call("time.now_ns") == NOW_NS


def test_now_is_undefined_where_the_caller_gave_none() -> None:
    assert is_undefined(call("time.now_ns", ctx=Context(now_ns=None)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T00:00:00,5Z", 500_000_000),
        ("1970-01-01T0:00:00Z", 0),
        ("2020-02-29T23:59:59Z", 1583020799 * 10**9),
        ("2262-04-11T23:47:16.854775807Z", (1 << 63) - 1),
        ("1677-09-21T00:12:43.145224192Z", -(1 << 63)),
    ],
)
def test_rfc3339(text: str, wanted: Any) -> None:
    assert call("time.parse_rfc3339_ns", text) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2021-02-29T00:00:00Z", "day out of range"),
        ("2021-13-01T00:00:00Z", "month out of range"),
        ("2021-01-01T24:00:00Z", "hour out of range"),
        ("2021-01-01T00:00:00+25:00", "time zone offset hour out of range"),
        ("2021-01-01T00:00:00Zx", 'extra text: "x"'),
        ("", 'cannot parse "" as "2006"'),
        ("2262-04-11T23:47:16.854775808Z", "time outside of valid range"),
        ("\uff12021-01-01T00:00:00Z", "cannot parse"),
    ],
)
def test_rfc3339_refuses(text: str, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem.replace("(", r"\(")):
        call("time.parse_rfc3339_ns", text)


@pytest.mark.parametrize(
    ("layout", "text", "wanted"),
    [
        ("2006-01-02", "1970-01-02", 24 * HOUR),
        ("RFC1123", "Thu, 01 Jan 1970 01:00:00 UTC", HOUR),
        ("Jan 2 2006 3:04PM", "jan 1 1970 12:15AM", HOUR // 4),
        ("06", "69", -365 * 24 * HOUR),
        ("2006 002", "1970 032", 31 * 24 * HOUR),
        ("2006 MST", "1970 PST", 0),
        ("2006-07:00:00", "1970+00:00:01", -(10**9)),
        ("15:04:05 2006", "00:00:01.5 1970", 1_500_000_000),
        ("2006  01", "1970 01", 0),
    ],
)
def test_go_layouts(layout: str, text: str, wanted: Any) -> None:
    assert call("time.parse_ns", layout, text) == wanted


def test_year_of_one_digit_is_not_a_year() -> None:
    with pytest.raises(BuiltinError, match='cannot parse "7" as "2006"'):
        call("time.parse_ns", "2006", "7")


@pytest.mark.parametrize(
    ("operand", "wanted"),
    [
        (0, "1970-01-01T00:00:00Z"),
        ([1, "UTC"], "1970-01-01T00:00:00.000000001Z"),
        ([0, "Asia/Kolkata"], "1970-01-01T05:30:00+05:30"),
        ([0, "America/New_York", "RFC822"], "31 Dec 69 19:00 EST"),
        ([0, "", "Jan _2 .000 ,999 pm 002"], "Jan  1 .000  am 001"),
        ([0, "America/Sao_Paulo", "MST"], "-03"),
    ],
)
def test_format(operand: Any, wanted: Any) -> None:
    assert call("time.format", operand) == wanted


def test_date_clock_and_weekday_in_a_zone() -> None:
    operand = [1_711_846_800 * 10**9, "Europe/Berlin"]  # the second after clocks went forward
    assert call("time.date", operand) == (2024, 3, 31)
    assert call("time.clock", operand) == (3, 0, 0)
    assert call("time.weekday", operand) == "Sunday"


@pytest.mark.parametrize("name", ["Nope/Zone", "../etc/passwd", "/etc/localtime", "Local", "a" * 5000, "\x00"])
def test_zones_that_are_not(name: str) -> None:
    with pytest.raises(BuiltinError):
        call("time.clock", [0, name])


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 1.5, Decimal("1e300")])
def test_a_timestamp_is_an_integer_of_64_bits(number: int) -> None:
    with pytest.raises(BuiltinError, match="timestamp too big"):
        call("time.date", number)


@pytest.mark.parametrize("operand", [[], ["x"], [0, 1], "x", None])
def test_an_instant_is_a_number_or_a_pair(operand: Any) -> None:
    with pytest.raises(OperandError, match="operand 1 must be"):
        call("time.date", operand)


def test_the_zone_of_the_machine_is_not_asked_for() -> None:
    with pytest.raises(BuiltinError, match='the zone "Local" differs from machine to machine'):
        call("time.clock", [0, "Local"])


def test_add_date_runs_over_the_ends_of_months() -> None:
    january_31 = call("time.parse_ns", "2006-01-02", "2021-01-31")
    assert call("time.add_date", january_31, 0, 1, 0) == call("time.parse_ns", "2006-01-02", "2021-03-03")
    assert call("time.add_date", january_31, 0, 0, -31) == call("time.parse_ns", "2006-01-02", "2020-12-31")


def test_add_date_keeps_the_clock_where_clocks_change() -> None:
    before = call("time.parse_rfc3339_ns", "2024-03-30T12:00:00+01:00")
    after = call("time.add_date", [before, "Europe/Berlin"], 0, 0, 1)
    assert after - before == 23 * HOUR


@pytest.mark.parametrize("parts", [(293, 0, 0), (10**15, 0, 0), (0, -(10**30), 0)])
def test_add_date_beyond_64_bits(parts: Any) -> None:
    with pytest.raises(BuiltinError, match="time outside of valid range"):
        call("time.add_date", 0, *parts)


def test_add_date_wants_integers() -> None:
    assert call("time.add_date", 0, rego(Decimal("1.0")), 0, 0) == 365 * 24 * HOUR
    with pytest.raises(OperandError, match="operand 3 must be integer number"):
        call("time.add_date", 0, 0, 1.5, 0)


def test_diff_counts_on_the_calendar() -> None:
    first = call("time.parse_ns", "2006-01-02", "2020-02-02")
    second = call("time.parse_ns", "2006-01-02", "2020-03-01")
    assert call("time.diff", first, second) == (0, 0, 28, 0, 0, 0)
    assert call("time.diff", second, first) == (0, 0, 28, 0, 0, 0)


@given(NS, NS)
def test_diff_is_never_negative(first: int, second: int) -> None:
    assert min(call("time.diff", first, second)) >= 0


@given(NS)
def test_what_is_formatted_can_be_parsed(instant: int) -> None:
    assert call("time.parse_rfc3339_ns", call("time.format", instant)) == instant


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1h30m", 5400 * 10**9),
        ("-1.5h", -5400 * 10**9),
        ("0", 0),
        ("1d", 24 * HOUR),
        ("1w2d3h", (9 * 24 + 3) * HOUR),
        ("1y", 365 * 24 * HOUR),
        (".5s", 500_000_000),
        ("1\u00b5s", 1000),
        ("9223372036854775807ns", (1 << 63) - 1),
        ("-9223372036854775808ns", -(1 << 63)),
    ],
)
def test_durations(text: str, wanted: Any) -> None:
    assert call("time.parse_duration_ns", text) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'invalid duration ""'),
        ("1", 'missing unit in duration "1"'),
        ("1q", 'unknown unit "q" in duration "1q"'),
        ("1d1q", 'unknown unit "q" in duration "1d1q"'),
        ("9223372036854775808ns", "invalid duration"),
        ("300y", "invalid duration"),
        ("1.2.3d", "invalid duration"),
        ("1e3s", 'unknown unit "e"'),
    ],
)
def test_durations_that_are_not(text: str, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("time.parse_duration_ns", text)


def test_a_hostile_layout_ends_in_the_budget() -> None:
    with pytest.raises(LimitExceeded):
        call("time.parse_ns", "1" * 200_000, "1" * 200_000, ctx=Context(steps=1_000_000))
