"""The drawing of who holds the pager: golden pictures, and what must hold for any bars."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.golden_files import agrees
from watchkey.entrypoints.cli.timeline import ASCII, UNICODE, Bar, Glyphs, timeline, uncovered

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
START = datetime(2026, 11, 24, 4, 17, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


BARS = (
    Bar(label="1 Alice Adams", starts_at=None, ends_at=at("2026-11-24T09:00")),
    Bar(label="1 Bob", starts_at=at("2026-11-24T09:00"), ends_at=at("2026-11-25T02:00")),
    Bar(label="1 Alice Adams", starts_at=at("2026-11-25T09:00"), ends_at=at("2026-11-26T09:00")),
    Bar(label="2 Carol", starts_at=at("2026-11-24T10:00"), ends_at=at("2026-11-24T11:00"), is_end_known=False),
    Bar(label="3 Dave", starts_at=None, ends_at=None),
)


@pytest.mark.parametrize(
    ("name", "hours", "glyphs", "zone"),
    [
        ("3h", 3, UNICODE, UTC),
        ("24h", 24, UNICODE, BERLIN),
        ("72h", 72, ASCII, BERLIN),
        ("14d", 24 * 14, UNICODE, UTC),
    ],
)
def test_pictures(name: str, hours: int, glyphs: Glyphs, zone: ZoneInfo) -> None:
    drawn = timeline(
        BARS[:4],
        start=START,
        end=START + timedelta(hours=hours),
        now=START + timedelta(hours=2),
        zone=zone,
        glyphs=glyphs,
        gaps="nobody",
    )
    agrees(GOLDEN / f"timeline-{name}.txt", drawn + "\n")


def test_a_bar_without_an_end_runs_on() -> None:
    row = timeline(BARS[4:], start=START, end=START + timedelta(hours=6), glyphs=ASCII).splitlines()[3]
    assert row.startswith("3 Dave ##")
    assert row.endswith("#>")


def test_nobody_at_all_is_drawn_as_a_gap_from_end_to_end() -> None:
    last = timeline([], start=START, end=START + timedelta(hours=6), glyphs=ASCII, gaps="nobody").splitlines()[-1]
    assert set(last.removeprefix("nobody ")) == {"#"}


def test_a_minute_on_call_does_not_vanish_from_a_fortnight() -> None:
    short = Bar(label="x", starts_at=START + timedelta(days=3), ends_at=START + timedelta(days=3, minutes=1))
    assert timeline([short], start=START, end=START + timedelta(days=14), glyphs=ASCII).count("#") == 1


def test_the_clock_change_shows_in_ticks_and_in_the_zone() -> None:
    start = datetime(2026, 10, 24, 22, 0, tzinfo=UTC)
    drawn = timeline([], start=start, end=start + timedelta(hours=24), zone=BERLIN, glyphs=ASCII)
    assert drawn.splitlines()[1].startswith("CEST/CET")
    assert "03:00" in drawn
    assert "06:00" in drawn


def test_a_name_cannot_move_the_cursor() -> None:
    evil = Bar(label="\x1b[2Jeve\u202e", starts_at=None, ends_at=None)
    drawn = timeline([evil], start=START, end=START + timedelta(hours=1))
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        timeline(BARS, start=START, end=START)


@st.composite
def bars(draw: st.DrawFn) -> Bar:
    begin = draw(st.none() | st.integers(-50, 150))
    end = draw(st.none() | st.integers((begin if begin is not None else -60) + 1, 200))
    return Bar(
        label=draw(st.sampled_from(["ann", "bob", "日本", "x" * 60])),
        starts_at=None if begin is None else START + timedelta(minutes=begin),
        ends_at=None if end is None else START + timedelta(minutes=end),
        is_end_known=draw(st.booleans()),
    )


@given(st.lists(bars(), max_size=6), st.integers(1, 100), st.integers(20, 200))
def test_no_line_is_wider_than_asked_for(some: list[Bar], minutes: int, width: int) -> None:
    from watchkey.entrypoints.cli.output import width_of

    end = START + timedelta(minutes=minutes)
    drawn = timeline(some, start=START, end=end, now=START + timedelta(minutes=minutes / 2), width=width, gaps="none")
    assert max(width_of(line) for line in drawn.splitlines()) <= max(width, 30 + 29)


@given(st.lists(bars(), max_size=6))
def test_gaps_are_exactly_the_minutes_that_no_bar_covers(some: list[Bar]) -> None:
    """The oracle asks each minute by itself; borders lie on whole minutes, so the middle of one decides."""
    end = START + timedelta(minutes=100)
    holes = uncovered(some, start=START, end=end)
    for minute in range(100):
        instant = START + timedelta(minutes=minute, seconds=30)
        covered = any(
            (bar.starts_at is None or bar.starts_at <= instant) and (bar.ends_at is None or instant < bar.ends_at)
            for bar in some
        )
        assert covered != any(begin <= instant < finish for begin, finish in holes)
