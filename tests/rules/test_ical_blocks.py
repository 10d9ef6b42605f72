"""Cutting a feed into events: whatever the pieces, in the memory of one event, and nothing dropped that may matter."""

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.errors import Malformed
from watchkey.rules.ical_blocks import BLOCK_BYTES_MAX, Blocks, may_touch

SINCE = datetime(2026, 7, 1, 12, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
FEED = (
    b"\xef\xbb\xbfBEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VTIMEZONE\r\nTZID:X\r\nEND:VTIMEZONE\r\n"
    b"BEGIN:VEVENT\r\nSUMMARY:a lo\r\n ng name\r\nBEGIN:VALARM\r\nEND:VALARM\r\nEND:VEVENT\r\n"
    b"BEGIN:VTODO\r\nSUMMARY:no\r\nEND:VTODO\r\nBEGIN:VEVENT\nSUMMARY:two\nEND:VEVENT\nEND:VCALENDAR\r\n"
)
BLOCKS = [
    b"BEGIN:VTIMEZONE\r\nTZID:X\r\nEND:VTIMEZONE",
    b"BEGIN:VEVENT\r\nSUMMARY:a long name\r\nBEGIN:VALARM\r\nEND:VALARM\r\nEND:VEVENT",
    b"BEGIN:VEVENT\r\nSUMMARY:two\r\nEND:VEVENT",
]


@given(st.integers(min_value=1, max_value=len(FEED)))
def test_the_blocks_are_the_same_whatever_the_pieces(size: int) -> None:
    blocks = Blocks()
    pieces = [FEED[start : start + size] for start in range(0, len(FEED), size)]
    assert [block for piece in pieces for block in blocks.feed(piece)] == BLOCKS
    blocks.close()


@pytest.mark.parametrize("cut", [1, 17, 40, 90, len(FEED) - 5])
def test_a_feed_that_is_cut_off_is_malformed(cut: int) -> None:
    blocks = Blocks()
    list(blocks.feed(FEED[:cut]))
    with pytest.raises(Malformed, match=r"cut off|empty|no calendar"):
        blocks.close()


def test_a_last_line_without_an_end_of_line_counts() -> None:
    blocks = Blocks()
    assert len(list(blocks.feed(FEED.rstrip()))) == 3
    blocks.close()


@pytest.mark.parametrize("text", [b"<!doctype html>\n", b'{"a": 1}\n', b"BEGIN:VEVENT\n"])
def test_anything_else_is_no_calendar(text: bytes) -> None:
    with pytest.raises(Malformed, match="no calendar"):
        list(Blocks().feed(text))


def test_huge_lines_and_huge_events_are_malformed() -> None:
    with pytest.raises(Malformed, match="a line of more"):
        list(Blocks().feed(b"x" * (BLOCK_BYTES_MAX + 1)))
    line = b"X:" + b"y" * 1000 + b"\n"
    with pytest.raises(Malformed, match="an event of more"):
        list(Blocks().feed(b"BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + line * (BLOCK_BYTES_MAX // 1000 + 1)))


def test_a_long_feed_needs_the_memory_of_one_event() -> None:
    event = b"BEGIN:VEVENT\r\nSUMMARY:x\r\nDTSTART:20200101T000000Z\r\nDTEND:20200102T000000Z\r\nEND:VEVENT\r\n" * 700
    blocks = Blocks()
    list(blocks.feed(b"BEGIN:VCALENDAR\r\n"))
    tracemalloc.start()
    kept = sum(may_touch(block, SINCE, UNTIL) for _ in range(300) for block in blocks.feed(event))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept == 0
    assert peak < 2 * 1024 * 1024


def text(*lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VEVENT", *lines, "END:VEVENT"]).encode()


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (("DTSTART:20200101T000000Z", "DTEND:20200102T000000Z"), False),
        (("DTSTART:20300101T000000Z", "DTEND:20300102T000000Z"), False),
        (("DTSTART:20200101T000000Z",), False),
        (("DTSTART;VALUE=DATE:20200101",), False),
        (("DTSTART:20260701T000000Z", "DTEND:20260702T000000Z"), True),
        (("DTSTART:20200101T000000Z", "DTEND:20300102T000000Z"), True),
        (("DTSTART;TZID=Europe/Paris:20260701T000000",), True),
        (("DTSTART:20200101T000000Z", "DURATION:P9Y"), True),
        (("DTSTART:20200101T000000Z", "DTEND:20200102T000000Z", "RRULE:FREQ=DAILY"), True),
        (("dtstart:20200101T000000Z", "dtend:20200102T000000Z", "rdate:20260701T000000Z"), True),
        (("DTSTART:20200101T000000Z", "DTEND:20200102T000000Z", "RECURRENCE-ID:20260701T000000Z"), True),
        (("SUMMARY:without a start",), True),
    ],
)
def test_only_what_certainly_lies_outside_is_dropped(lines: tuple[str, ...], kept: bool) -> None:  # noqa: FBT001 -- what is expected
    assert may_touch(text(*lines), SINCE, UNTIL) is kept


@given(st.integers(-200, 200), st.integers(0, 100), st.integers(-14, 14))
def test_no_event_in_the_window_is_dropped_in_any_zone(start: int, length: int, offset: int) -> None:
    begins = SINCE + timedelta(hours=start)
    ends = begins + timedelta(hours=length)
    wall = timedelta(hours=offset)
    event = text(f"DTSTART;TZID=Z:{begins + wall:%Y%m%dT%H%M%S}", f"DTEND;TZID=Z:{ends + wall:%Y%m%dT%H%M%S}")
    if begins < UNTIL and ends > SINCE:
        assert may_touch(event, SINCE, UNTIL)
