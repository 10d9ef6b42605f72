"""Times as Go writes and reads them: layouts such as ``2006-01-02T15:04:05Z07:00``, durations such as ``1h30m``.

Dates here are plain integers, because Go's years reach from 0 to 9999 and its clock counts nanoseconds, which
``datetime`` does not. Everything raises BuiltinError with Go's own words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from watchkey.rego.builtins import BuiltinError

NANOSECONDS: Final = 10**9

NAMED_LAYOUTS: Final = {
    "ANSIC": "Mon Jan _2 15:04:05 2006",
    "UnixDate": "Mon Jan _2 15:04:05 MST 2006",
    "RubyDate": "Mon Jan 02 15:04:05 -0700 2006",
    "RFC822": "02 Jan 06 15:04 MST",
    "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
    "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
    "RFC3339": "2006-01-02T15:04:05Z07:00",
    "RFC3339Nano": "2006-01-02T15:04:05.999999999Z07:00",
}
"""Layouts that have a name in Go's ``time`` package, and may be given by it."""

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")

_DAYS_BEFORE: Final = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365)


@dataclass(frozen=True, slots=True)
class Civil:
    """A wall-clock reading; `offset` is in seconds east of UTC and `zone` its abbreviation ("" where it has none)."""

    year: int
    month: int
    day: int
    hour: int = 0
    minute: int = 0
    second: int = 0
    nanosecond: int = 0
    offset: int = 0
    zone: str = "UTC"


# --- the calendar ----------------------------------------------------------------------------------------------------


def is_leap(year: int) -> bool:
    """Whether the (proleptic Gregorian) year has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def days_in_month(year: int, month: int) -> int:
    """Days of a month, which counts from 1."""
    if month == 2:
        return 29 if is_leap(year) else 28
    return _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1]


def day_number(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01; months and days outside their range run over into the next or previous ones."""
    year += (month - 1) // 12
    month = (month - 1) % 12 + 1
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400
    days += _DAYS_BEFORE[month - 1] + (1 if month > 2 and is_leap(year) else 0)
    return days + day - 1 - 719162


def date_of_day(number: int) -> tuple[int, int, int]:
    """``(year, month, day)`` of a day counted from 1970-01-01."""
    cycle, rest = divmod(number + 719162, 146097)
    century = min(rest // 36524, 3)
    rest -= century * 36524
    quad, rest = divmod(rest, 1461)
    single = min(rest // 365, 3)
    rest -= single * 365
    year = 400 * cycle + 100 * century + 4 * quad + single + 1
    month = 1
    while rest >= days_in_month(year, month):
        rest -= days_in_month(year, month)
        month += 1
    return year, month, rest + 1


def civil_of(unix_ns: int, offset: int = 0, zone: str = "UTC") -> Civil:
    """The wall clock at an instant, `offset` seconds east of UTC."""
    seconds, nanosecond = divmod(unix_ns, NANOSECONDS)
    days, clock = divmod(seconds + offset, 86400)
    year, month, day = date_of_day(days)
    return Civil(
        year, month, day, clock // 3600, clock // 60 % 60, clock % 60, nanosecond, offset=offset, zone=zone
    )  # fmt: skip


def unix_ns_of(civil: Civil) -> int:
    """The instant of a wall-clock reading, in nanoseconds since 1970."""
    seconds = day_number(civil.year, civil.month, civil.day) * 86400
    seconds += civil.hour * 3600 + civil.minute * 60 + civil.second - civil.offset
    return seconds * NANOSECONDS + civil.nanosecond


def weekday_of(civil: Civil) -> int:
    """0 for Sunday."""
    return (day_number(civil.year, civil.month, civil.day) + 4) % 7


# --- layouts ---------------------------------------------------------------------------------------------------------

_ZONES: Final = ("-070000", "-07:00:00", "-0700", "-07:00", "-07", "Z070000", "Z07:00:00", "Z0700", "Z07:00", "Z07")

_PLAIN_ELEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "J": ("January",),
    "M": ("Monday", "MST"),
    "0": ("01", "02", "03", "04", "05", "06", "002"),
    "1": ("15", "1"),
    "2": ("2006", "2"),
    "3": ("3",),
    "4": ("4",),
    "5": ("5",),
    "P": ("PM",),
    "p": ("pm",),
    "-": _ZONES[:5],
    "Z": _ZONES[5:],
}

_ABBREVIATIONS: Final = {"J": "Jan", "M": "Mon"}

_CACHED_LENGTH: Final = 128
"""Longer layouts are not kept, so that a policy cannot fill the memory with them."""


def _digit_at(text: str, index: int) -> bool:
    return index < len(text) and "0" <= text[index] <= "9"


def _element_at(layout: str, index: int) -> tuple[int, str]:
    """``(where it starts, the element)`` if a layout element begins at `index`; ``(index, "")`` otherwise."""
    first = layout[index]
    for element in _PLAIN_ELEMENTS.get(first, ()):
        if layout.startswith(element, index):
            return index, element
    short = _ABBREVIATIONS.get(first)
    if short and layout.startswith(short, index):
        following = layout[index + 3 : index + 4]
        return (index, "") if "a" <= following <= "z" else (index, short)
    if first == "_":
        return _padded_at(layout, index)
    if first in ".," and index + 1 < len(layout) and layout[index + 1] in "09":
        end = index + 1
        while end < len(layout) and layout[end] == layout[index + 1]:
            end += 1
        if not _digit_at(layout, end):
            return index, layout[index:end]
    return index, ""


def _padded_at(layout: str, index: int) -> tuple[int, str]:
    if layout.startswith("_2006", index):
        return index + 1, "2006"
    if layout.startswith("_2", index):
        return index, "_2"
    return (index, "__2") if layout.startswith("__2", index) else (index, "")


def chunks(layout: str) -> tuple[tuple[str, str], ...]:
    """The layout as ``(literal text, element)`` pairs; the last one has the element ``""``."""
    return _cached_chunks(layout) if len(layout) <= _CACHED_LENGTH else _split(layout)


@lru_cache(maxsize=256)
def _cached_chunks(layout: str) -> tuple[tuple[str, str], ...]:
    return _split(layout)


def _split(layout: str) -> tuple[tuple[str, str], ...]:
    found = []
    start = index = 0
    while index < len(layout):
        begin, element = _element_at(layout, index)
        if not element:
            index += 1
            continue
        found.append((layout[start:begin], element))
        start = index = begin + len(element)
    found.append((layout[start:], ""))
    return tuple(found)


# --- writing ---------------------------------------------------------------------------------------------------------


def format_time(civil: Civil, layout: str) -> str:
    """The reading as the layout shows it."""
    return "".join([literal + (_shown(civil, element) if element else "") for literal, element in chunks(layout)])


def _shown(civil: Civil, element: str) -> str:
    if element[0] in ".,":
        return _shown_fraction(civil.nanosecond, element)
    if element in _ZONES:
        return _shown_offset(civil.offset, element)
    if element == "MST":
        return civil.zone or _shown_offset(civil.offset, "-0700" if civil.offset % 3600 else "-07")
    return _shown_date(civil, element) or _shown_clock(civil, element)


def _shown_date(civil: Civil, element: str) -> str:  # noqa: PLR0911 - one for each element
    match element:
        case "2006":
            return f"{civil.year:04d}"
        case "06":
            return f"{civil.year % 100:02d}"
        case "January" | "Jan":
            return MONTHS[civil.month - 1][: 3 if element == "Jan" else None]
        case "1" | "01":
            return str(civil.month).zfill(len(element))
        case "Monday" | "Mon":
            return WEEKDAYS[weekday_of(civil)][: 3 if element == "Mon" else None]
        case "2" | "02" | "_2":
            return str(civil.day).rjust(len(element), "0" if element == "02" else " ")
        case "002" | "__2":
            yday = day_number(civil.year, civil.month, civil.day) - day_number(civil.year, 1, 1) + 1
            return str(yday).rjust(3, "0" if element == "002" else " ")
        case _:
            return ""


def _shown_clock(civil: Civil, element: str) -> str:
    match element:
        case "15":
            return f"{civil.hour:02d}"
        case "3" | "03":
            return str(civil.hour % 12 or 12).zfill(len(element))
        case "4" | "04":
            return str(civil.minute).zfill(len(element))
        case "5" | "05":
            return str(civil.second).zfill(len(element))
        case "PM":
            return "PM" if civil.hour >= 12 else "AM"
        case _:
            return "pm" if civil.hour >= 12 else "am"


def _shown_fraction(nanosecond: int, element: str) -> str:
    digits = f"{nanosecond:09d}"[: len(element) - 1]
    if element[1] == "0":
        return element[0] + digits
    digits = digits.rstrip("0")
    return element[0] + digits if digits else ""


def _shown_offset(offset: int, element: str) -> str:
    if element[0] == "Z" and offset == 0:
        return "Z"
    size = abs(offset)
    parts = [f"{size // 3600:02d}"]
    if len(element) > 3:
        parts.append(f"{size // 60 % 60:02d}")
    if len(element) > 6:
        parts.append(f"{size % 60:02d}")
    return ("-" if offset < 0 else "+") + (":" if ":" in element else "").join(parts)


# --- reading ---------------------------------------------------------------------------------------------------------


class _DoesNotMatchError(Exception):
    """The text is not what the layout element asks for."""


class _OutOfRangeError(Exception):
    """The text is a number that the layout element cannot be."""


def quote(text: str) -> str:
    """A text as the error messages of Go's ``time`` package show it."""
    shown = []
    for character in text:
        if character in '"\\':
            shown.append("\\" + character)
        elif " " <= character < "\x80":
            shown.append(character)
        else:
            shown.append("".join(f"\\x{byte:02x}" for byte in character.encode()))
    return '"' + "".join(shown) + '"'


def _atoi(text: str) -> int:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise _DoesNotMatchError
    return -int(digits) if text[0] == "-" else int(digits)


def parse_time(layout: str, text: str) -> int:
    """Nanoseconds since 1970 of a text in a layout; raises BuiltinError where it is not in that layout."""
    reader = _Reader(layout, text)
    parts = chunks(layout)
    for index, (literal, element) in enumerate(parts):
        reader.skip(literal)
        if element:
            reader.read(element, following=parts[index + 1][1])
    return reader.instant()


_RUNS: Final = re.compile(" +|[^ ]+")


class _Reader:
    """Takes the elements of a time from a text, one after the other."""

    def __init__(self, layout: str, text: str) -> None:
        self.layout = layout
        self.text = text
        self.rest = text
        self.year = self.hour = self.minute = self.second = self.nanosecond = 0
        self.month = self.day = self.year_day = -1
        self.noon: str = ""
        self.zone_is_utc = False
        self.offset: int | None = None
        self.fraction_follows = False

    def skip(self, literal: str) -> None:
        """Step over literal text; a run of spaces matches any run of spaces."""
        for run in _RUNS.findall(literal):
            if run[0] == " ":
                if self.rest and self.rest[0] != " ":
                    raise self._mismatch(self.rest, literal)
                self.rest = self.rest.lstrip(" ")
            elif self.rest.startswith(run):
                self.rest = self.rest[len(run) :]
            else:
                same = 0
                while self.rest[same : same + 1] == run[same]:
                    same += 1
                raise self._mismatch(self.rest[same:], literal)

    def _mismatch(self, found: str, element: str) -> BuiltinError:
        whole = f"parsing time {quote(self.text)} as {quote(self.layout)}"
        return BuiltinError(f"{whole}: cannot parse {quote(found)} as {quote(element)}")

    def _failed(self, problem: str) -> BuiltinError:
        return BuiltinError(f"parsing time {quote(self.text)}: {problem}")

    def read(self, element: str, *, following: str) -> None:
        """Take one layout element; `following` is the next one of the layout."""
        held = self.rest
        self.fraction_follows = following[:1] in (".", ",") if following else False
        try:
            self._take(element)
        except _OutOfRangeError as problem:
            raise self._failed(f"{problem} out of range") from None
        except _DoesNotMatchError:
            raise self._mismatch(held, element) from None

    def _take(self, element: str) -> None:
        if element[0] in ".,":
            self._take_fraction(element)
        elif element in _ZONES:
            self._take_offset(element)
        elif element == "MST":
            self._take_zone_name()
        elif element in ("PM", "pm"):
            self.noon = self._cut(2)
            if self.noon not in ({"PM", "AM"} if element == "PM" else {"pm", "am"}):
                raise _DoesNotMatchError
        elif element in ("15", "3", "03", "4", "04", "5", "05"):
            self._take_clock(element)
        else:
            self._take_date(element)

    def _take_date(self, element: str) -> None:
        match element:
            case "06":
                year = _atoi(self._cut(2))
                self.year = year + (1900 if year >= 69 else 2000)
            case "2006":
                if not _digit_at(self.rest, 0):
                    raise _DoesNotMatchError
                self.year = _atoi(self._cut(4))
            case "January" | "Jan":
                self.month = 1 + self._name(MONTHS, short=element == "Jan")
            case "Monday" | "Mon":
                self._name(WEEKDAYS, short=element == "Mon")
            case "1" | "01":
                self.month = self._number(2, fixed=element == "01")
                if not 1 <= self.month <= 12:
                    raise _OutOfRangeError("month")
            case "2" | "02" | "_2":
                self._skip_padding(element.count("_"))
                self.day = self._number(2, fixed=element == "02")
            case _:
                self._skip_padding(element.count("_"))
                self.year_day = self._number(3, fixed=element == "002")

    def _take_clock(self, element: str) -> None:
        fixed = element[0] == "0"
        number = self._number(2, fixed=fixed)
        match element[-1] if element != "15" else "15":
            case "15":
                self.hour = self._within(number, 24, "hour")
            case "3":
                self.hour = self._within(number, 13, "hour")
            case "4":
                self.minute = self._within(number, 60, "minute")
            case _:
                self.second = self._within(number, 60, "second")
                if not self.fraction_follows and self.rest[:1] in (".", ",") and _digit_at(self.rest, 1):
                    self._take_fraction(self.rest[0] + "9")

    @staticmethod
    def _within(number: int, end: int, what: str) -> int:
        if number >= end:
            raise _OutOfRangeError(what)
        return number

    def _cut(self, length: int) -> str:
        if len(self.rest) < length:
            raise _DoesNotMatchError
        taken, self.rest = self.rest[:length], self.rest[length:]
        return taken

    def _skip_padding(self, count: int) -> None:
        for _ in range(count):
            self.rest = self.rest.removeprefix(" ")

    def _number(self, most: int, *, fixed: bool) -> int:
        length = 0
        while length < most and _digit_at(self.rest, length):
            length += 1
        if not length or (fixed and length < most):
            raise _DoesNotMatchError
        return int(self._cut(length))

    def _name(self, names: tuple[str, ...], *, short: bool) -> int:
        for index, name in enumerate(names):
            wanted = name[:3] if short else name
            if self.rest[: len(wanted)].lower() == wanted.lower() and self.rest[: len(wanted)].isascii():
                self.rest = self.rest[len(wanted) :]
                return index
        raise _DoesNotMatchError

    def _take_fraction(self, element: str) -> None:
        if element[1] == "9":
            if self.rest[:1] not in (".", ",") or not _digit_at(self.rest, 1):
                return
            length = 1
            while _digit_at(self.rest, length):
                length += 1
        else:
            length = len(element)
            if len(self.rest) < length or self.rest[0] not in ".,":
                raise _DoesNotMatchError
        digits = self._cut(length)[1:10]
        self.nanosecond = _atoi(digits)
        if self.nanosecond < 0:
            raise _OutOfRangeError("fractional second")
        self.nanosecond *= 10 ** (9 - len(digits))

    def _take_offset(self, element: str) -> None:
        if element[0] == "Z" and self.rest[:1] == "Z":
            self.rest = self.rest[1:]
            self.zone_is_utc = True
            return
        taken = self._cut(len(element))
        if any(taken[at] != ":" for at, character in enumerate(element) if character == ":"):
            raise _DoesNotMatchError
        width = 3 if ":" in element else 2
        numbers: list[int] = []
        for at in range(1, len(element), width):
            if not (_digit_at(taken, at) and _digit_at(taken, at + 1)):
                break
            numbers.append(int(taken[at : at + 2]))
        self._check_offset(numbers)
        if len(numbers) < (len(element) + width - 2) // width or taken[0] not in "+-":
            raise _DoesNotMatchError
        hours, minutes, seconds = [*numbers, 0, 0][:3]
        size = (hours * 60 + minutes) * 60 + seconds
        self.offset = -size if taken[0] == "-" else size

    @staticmethod
    def _check_offset(numbers: list[int]) -> None:
        """The last unit that is too large is the one that is named."""
        limits = ((24, "time zone offset hour"), (60, "time zone offset minute"), (60, "time zone offset second"))
        beyond = [what for number, (most, what) in zip(numbers, limits, strict=False) if number > most]
        if beyond:
            raise _OutOfRangeError(beyond[-1])

    def _take_zone_name(self) -> None:
        if self.rest.startswith("UTC"):
            self.rest = self.rest[3:]
            self.zone_is_utc = True
            return
        length = _zone_name_length(self.rest)
        if not length:
            raise _DoesNotMatchError
        # Go looks the abbreviation up in the zone of the machine; here that is always UTC, where no other is known.
        self._cut(length)

    def instant(self) -> int:
        """The instant that was read, in nanoseconds since 1970."""
        if self.rest:
            raise self._failed(f"extra text: {quote(self.rest)}")
        if self.noon in ("PM", "pm") and self.hour < 12:
            self.hour += 12
        elif self.noon in ("AM", "am") and self.hour == 12:
            self.hour = 0
        self._settle_day()
        # Go marks "no offset" with -1, so an offset of minus one second is lost there.
        offset = 0 if self.zone_is_utc or self.offset == -1 else self.offset or 0
        return unix_ns_of(
            Civil(
                self.year, self.month, self.day, self.hour, self.minute, self.second, self.nanosecond, offset=offset
            )
        )  # fmt: skip

    def _settle_day(self) -> None:
        if self.year_day >= 0:
            if not 1 <= self.year_day <= (366 if is_leap(self.year) else 365):
                raise self._failed("day-of-year out of range")
            _, month, day = date_of_day(day_number(self.year, 1, self.year_day))
            if self.month >= 0 and self.month != month:
                raise self._failed("day-of-year does not match month")
            if self.day >= 0 and self.day != day:
                raise self._failed("day-of-year does not match day")
            self.month, self.day = month, day
        self.month = 1 if self.month < 0 else self.month
        self.day = 1 if self.day < 0 else self.day
        if not 1 <= self.day <= days_in_month(self.year, self.month):
            raise self._failed("day out of range")


def _signed_offset_length(text: str) -> int:
    digits = 1
    while _digit_at(text, digits):
        digits += 1
    good = text[:1] in ("+", "-") and digits > 1 and digits < 20 and int(text[1:digits]) <= 23
    return digits if good else 0


def _zone_name_length(text: str) -> int:  # noqa: PLR0911 - one for each rule of Go's
    """Characters at the start of the text that look like a zone's abbreviation; 0 for none."""
    if len(text) < 3:
        return 0
    if text[:4] in ("ChST", "MeST"):
        return 4
    if text.startswith("GMT"):
        return 3 + _signed_offset_length(text[3:])
    if text[0] in "+-":
        return _signed_offset_length(text)
    capitals = 0
    while capitals < 6 and "A" <= text[capitals : capitals + 1] <= "Z":
        capitals += 1
    if capitals == 5:
        return 5 if text[4] == "T" else 0
    if capitals == 4:
        return 4 if text[3] == "T" or text[:4] == "WITA" else 0
    return 3 if capitals == 3 else 0


# --- durations -------------------------------------------------------------------------------------------------------

_UNITS: Final = {
    "ns": 1,
    "us": 1000,
    "\u00b5s": 1000,
    "\u03bcs": 1000,
    "ms": 10**6,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}
_LIMIT: Final = 1 << 63


def _digits_from(text: str, start: int) -> int:
    while _digit_at(text, start):
        start += 1
    return start


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration such as ``-1.5h10ms``, as Go's ``time.ParseDuration`` reads it."""
    invalid = BuiltinError(f"time: invalid duration {quote(text)}")
    at = 1 if text[:1] in ("+", "-") else 0
    if text[at:] == "0":
        return 0
    if not text[at:]:
        raise invalid
    total = 0
    while at < len(text):
        value, at = _duration_part(text, at, invalid)
        total += value
        if total > _LIMIT:
            raise invalid
    if text[0] == "-":
        return -total
    if total > _LIMIT - 1:
        raise invalid
    return total


def _duration_part(text: str, at: int, invalid: BuiltinError) -> tuple[int, int]:
    whole_end = _digits_from(text, at)
    whole = text[at:whole_end]
    fraction = ""
    end = whole_end
    if text[whole_end : whole_end + 1] == ".":
        end = _digits_from(text, whole_end + 1)
        fraction = text[whole_end + 1 : end]
    value = int(whole.lstrip("0")[:20] or "0")
    if not (whole or fraction) or value > _LIMIT:
        raise invalid
    unit_end = end
    while unit_end < len(text) and text[unit_end] != "." and not _digit_at(text, unit_end):
        unit_end += 1
    if unit_end == end:
        raise BuiltinError(f"time: missing unit in duration {quote(text)}")
    unit = _UNITS.get(text[end:unit_end])
    if unit is None:
        raise BuiltinError(f"time: unknown unit {quote(text[end:unit_end])} in duration {quote(text)}")
    if value > _LIMIT // unit:
        raise invalid
    value = value * unit + _fraction_of(fraction, unit)
    if value > _LIMIT:
        raise invalid
    return value, unit_end


def _fraction_of(digits: str, unit: int) -> int:
    """Go keeps as many digits as fit 63 bits and then computes with floating point; so does this."""
    number, scale = 0, 1.0
    for digit in digits:
        longer = number * 10 + int(digit)
        if number > (_LIMIT - 1) // 10 or longer > _LIMIT:
            break
        number, scale = longer, scale * 10
    return int(float(number) * (float(unit) / scale)) if number else 0
