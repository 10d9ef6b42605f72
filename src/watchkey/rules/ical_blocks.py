"""A calendar feed cut into its events as it arrives, so that a feed of any size needs the memory of one event.

Events that certainly lie outside the window are dropped by their text alone; that is what makes large feeds quick.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from watchkey.model.errors import Malformed

BLOCK_BYTES_MAX: Final = 256 * 1024
"""One event, or one time zone."""
_WANTED: Final = (b"VEVENT", b"VTIMEZONE")
_REPEATS: Final = re.compile(rb"^(?:RRULE|RDATE|RECURRENCE-ID)[;:]", re.MULTILINE | re.IGNORECASE)
_START: Final = re.compile(rb"^DTSTART[^:\r\n]*:(\d{8})", re.MULTILINE | re.IGNORECASE)
_END: Final = re.compile(rb"^DTEND[^:\r\n]*:(\d{8})", re.MULTILINE | re.IGNORECASE)
_DURATION: Final = re.compile(rb"^DURATION[;:]", re.MULTILINE | re.IGNORECASE)
_SLACK: Final = timedelta(days=2)
"""More than any time zone is from UTC, and than an event of one day is long."""


@dataclass(slots=True)
class Blocks:
    """Takes the bytes of a feed in pieces and gives out each event and each time zone as bytes, unfolded."""

    _rest: bytes = b""
    _block: list[bytes] = field(default_factory=list)
    _size: int = 0
    _inside: bytes | None = None
    _is_calendar: bool = False
    _is_over: bool = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the blocks that this piece completes. Raises `Malformed` for what is no calendar, or a huge block."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > BLOCK_BYTES_MAX:
            raise Malformed(f"the calendar has a line of more than {BLOCK_BYTES_MAX} bytes")
        for line in lines:
            block = self._line(line.rstrip(b"\r"))
            if block is not None:
                yield block

    def close(self) -> None:
        """Say that nothing more comes. Raises `Malformed` when the calendar was not at its end: it is cut off."""
        self._line(self._rest.rstrip(b"\r"))
        if not self._is_over:
            raise Malformed("the calendar is empty" if not self._is_calendar else "the calendar is cut off")

    def _line(self, line: bytes) -> bytes | None:
        name = line.strip().upper()
        if not self._is_calendar:
            if name and name.removeprefix(b"\xef\xbb\xbf") != b"BEGIN:VCALENDAR":
                raise Malformed("this is no calendar: it does not begin with BEGIN:VCALENDAR")
            self._is_calendar = bool(name)
            return None
        if self._inside is None:
            if name == b"END:VCALENDAR":
                self._is_over = True
            elif name.startswith(b"BEGIN:") and name[6:] in _WANTED:
                self._inside, self._block, self._size = name[6:], [line], len(line)
            return None
        self._size += len(line)
        if self._size > BLOCK_BYTES_MAX:
            raise Malformed(f"the calendar has an event of more than {BLOCK_BYTES_MAX} bytes")
        if line[:1] in {b" ", b"\t"} and self._block:
            self._block[-1] += line[1:]  # a long line goes on
            return None
        self._block.append(line)
        if name != b"END:" + self._inside:
            return None
        self._inside = None
        return b"\r\n".join(self._block)


def may_touch(event: bytes, since: datetime, until: datetime) -> bool:
    """Whether an event may have an instant in `[since, until)`, judged by its text: in doubt it may."""
    start = _START.search(event)
    if _REPEATS.search(event) or start is None:
        return True
    if start[1] > _day(until + _SLACK):
        return False
    end = _END.search(event)
    if end is not None:
        return end[1] >= _day(since - _SLACK)
    return _DURATION.search(event) is not None or start[1] >= _day(since - _SLACK)


def _day(instant: datetime) -> bytes:
    return f"{instant:%Y%m%d}".encode()
