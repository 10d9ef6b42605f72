"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("3d", timedelta(days=3)),
        ("250ms", timedelta(milliseconds=250)),
        ("0s", timedelta(0)),
        ("3660d", timedelta(days=3660)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, length: timedelta) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "90", "s", "1.5h", "-1s", "1h30m", "1 h", "1H", "1w", "1M", "٣d", "1e3s", "1s\n", " 1s", "9999999999s"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3661d", "999999999d", "999999999h"])
def test_more_than_ten_years_is_a_typing_error(text: str) -> None:
    with pytest.raises(ValueError, match="longer than ten years"):
        parse_duration(text)


@given(milliseconds=st.integers(0, 3660 * 24 * 3600 * 1000))
def test_what_is_written_reads_back(milliseconds: int) -> None:
    length = timedelta(milliseconds=milliseconds)
    if milliseconds < 10**9 or milliseconds % 1000 == 0:
        assert parse_duration(format_duration(length)) == length


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(hours=24), "1d"),
        (timedelta(hours=25), "25h"),
        (timedelta(seconds=90), "90s"),
        (timedelta(seconds=120), "2m"),
        (timedelta(milliseconds=1500), "1500ms"),
        (timedelta(0), "0s"),
    ],
)
def test_the_largest_unit_without_a_rest_is_used(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


@pytest.mark.parametrize("length", [timedelta(microseconds=1), timedelta(seconds=-1)])
def test_what_cannot_be_written_is_refused(length: timedelta) -> None:
    with pytest.raises(ValueError, match="a duration is"):
        format_duration(length)
