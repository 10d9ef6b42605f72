"""Built-ins of time: parsing, formatting, calendar arithmetic, time zones and durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isinf
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from watchkey.rego.builtins import (
    CONSTANT,
    UNDEFINED,
    BuiltinError,
    CallContext,
    OperandError,
    builtin,
    integer_operand,
    operand_error,
)
from watchkey.rego.builtins.go_layouts import (
    NAMED_LAYOUTS,
    WEEKDAYS,
    Civil,
    civil_of,
    day_number,
    days_in_month,
    format_time,
    parse_duration,
    parse_time,
    weekday_of,
)
from watchkey.rego.numbers import to_binary
from watchkey.rego.types import NUMBER, STRING, any_of, tuple_of
from watchkey.rego.values import NUMBER_TYPES, quoted, type_name

_INSTANT: Final = any_of(NUMBER, tuple_of(NUMBER, STRING))
_INSTANT_LAYOUT: Final = any_of(NUMBER, tuple_of(NUMBER, STRING), tuple_of(NUMBER, STRING, STRING))
_UNCHECKED: Final = ((),)

_FIRST_NS: Final = -(1 << 63)
_LAST_NS: Final = (1 << 63) - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_ZONE: Final = 128


def _in_range(unix_ns: int) -> int:
    if not _FIRST_NS <= unix_ns <= _LAST_NS:
        raise BuiltinError("time outside of valid range")
    return unix_ns


@builtin("time.now_ns", (), NUMBER, context=True, deterministic=False)
def now_ns(ctx: CallContext) -> Any:
    """The `now` of the evaluation; undefined where the caller gave none."""
    return UNDEFINED if ctx.now_ns is None else ctx.now_ns


@builtin("time.parse_ns", (STRING, STRING), NUMBER, context=True)
def parse_ns(ctx: CallContext, layout: str, text: str) -> int:
    """Nanoseconds since 1970 of a time written in a Go layout, or in one of Go's named layouts."""
    ctx.spend(len(layout) * len(text) >> 10)
    return _in_range(parse_time(NAMED_LAYOUTS.get(layout, layout), text))


@builtin("time.parse_rfc3339_ns", (STRING,), NUMBER)
def parse_rfc3339_ns(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 time."""
    return _in_range(parse_time(NAMED_LAYOUTS["RFC3339"], text))


# --- durations -------------------------------------------------------------------------------------------------------

_LONG_UNITS: Final = {"d": 24, "w": 7 * 24, "y": 365 * 24}
_SEGMENTS: Final = re.compile(r"[-+]?(?:[0-9.]+(?:ms|us|\u00b5s|ns|[a-z]))+")
_SEGMENT: Final = re.compile(r"([0-9.]+)(ms|us|\u00b5s|ns|[a-z])")


@builtin("time.parse_duration_ns", (STRING,), NUMBER)
def parse_duration_ns(text: str) -> int:
    """Nanoseconds of a duration; beside Go's units d, w and y stand for 24, 168 and 8,760 hours."""
    if not text:
        raise BuiltinError(f"time: invalid duration {quoted(text)}")
    if not any(unit in text for unit in _LONG_UNITS):
        return parse_duration(text)
    if not _SEGMENTS.fullmatch(text):
        raise BuiltinError(f"time: invalid duration {quoted(text)}")
    sign = text[0] if text[0] in "+-" else ""
    plain = sign + "".join([_in_hours(digits, unit, text) for digits, unit in _SEGMENT.findall(text)])
    try:
        return parse_duration(plain)
    except BuiltinError as problem:
        raise BuiltinError(f"{str(problem).rpartition(' ')[0]} {quoted(text)}") from None


def _in_hours(digits: str, unit: str, text: str) -> str:
    if unit not in _LONG_UNITS:
        return digits + unit
    try:
        hours = float(digits) * _LONG_UNITS[unit]
    except ValueError:
        hours = float("inf")
    if isinf(hours):
        raise BuiltinError(f"time: invalid duration {quoted(text)}")
    return format(Decimal(repr(hours)).normalize(), "f") + "h"


# --- instants and zones ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    """The zone of that IANA name; None for UTC."""
    if name in ("", "UTC"):
        return None
    if name == "Local":
        raise BuiltinError('the zone "Local" differs from machine to machine; name a zone')
    if ".." in name or name[0] in "/\\" or "\\" in name:
        raise BuiltinError("time: invalid location name")
    if len(name) > _LONGEST_ZONE:
        raise BuiltinError(f"unknown time zone {name[:_LONGEST_ZONE]}")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BuiltinError(f"unknown time zone {name}") from None


def _wall_clock(unix_ns: int, zone: ZoneInfo | None) -> Civil:
    if zone is None:
        return civil_of(unix_ns)
    local = (_EPOCH + timedelta(seconds=unix_ns // 10**9)).astimezone(zone)
    offset = local.utcoffset() or timedelta()
    return civil_of(unix_ns, round(offset.total_seconds()), local.tzname() or "")


def _timestamp(value: Any) -> int:
    """Nanoseconds since 1970; a number that is not an integer of 64 bits is refused in OPA's words."""
    if type(value) not in NUMBER_TYPES:
        raise operand_error(1, value, "number")
    number = value if type(value) is int else to_binary(value)
    if number.denominator != 1 or not _FIRST_NS <= number <= _LAST_NS:
        raise BuiltinError("timestamp too big")
    return int(number)


def _instant(operand: Any) -> tuple[int, ZoneInfo | None, str]:
    """``(nanoseconds, zone, layout)`` of a number or ``[number, zone, layout]``."""
    if type(operand) in NUMBER_TYPES:
        return _timestamp(operand), None, ""
    if type(operand) is not tuple or not operand:
        kind = type_name(operand)
        raise OperandError(f"operand 1 must be either number (ns) or [number (ns), string (tz)] but got {kind}")
    if type(operand[0]) not in NUMBER_TYPES:
        raise operand_error(1, operand[0], "number")
    for text in operand[1:3]:
        if type(text) is not str:
            raise operand_error(1, text, "string")
    zone = _zone(operand[1]) if len(operand) > 1 else None
    return _timestamp(operand[0]), zone, operand[2] if len(operand) > 2 else ""


def _reading(operand: Any) -> tuple[Civil, str]:
    unix_ns, zone, layout = _instant(operand)
    return _wall_clock(unix_ns, zone), layout


@builtin("time.format", (_INSTANT_LAYOUT,), STRING, operands=_UNCHECKED, context=True)
def format_instant(ctx: CallContext, operand: Any) -> str:
    """The instant in a layout; RFC 3339 with nanoseconds where none is given."""
    civil, layout = _reading(operand)
    ctx.spend(len(layout) >> 4)
    return format_time(civil, NAMED_LAYOUTS.get(layout or "RFC3339Nano", layout))


@builtin("time.date", (_INSTANT,), tuple_of(NUMBER, NUMBER, NUMBER), operands=_UNCHECKED, cost=CONSTANT)
def date(operand: Any) -> tuple[int, int, int]:
    """``[year, month, day]``."""
    civil, _ = _reading(operand)
    return civil.year, civil.month, civil.day


@builtin("time.clock", (_INSTANT,), tuple_of(NUMBER, NUMBER, NUMBER), operands=_UNCHECKED, cost=CONSTANT)
def clock(operand: Any) -> tuple[int, int, int]:
    """``[hour, minute, second]``."""
    civil, _ = _reading(operand)
    return civil.hour, civil.minute, civil.second


@builtin("time.weekday", (_INSTANT,), STRING, operands=_UNCHECKED, cost=CONSTANT)
def weekday(operand: Any) -> str:
    """``Sunday`` to ``Saturday``."""
    return WEEKDAYS[weekday_of(_reading(operand)[0])]


@builtin("time.add_date", (NUMBER, NUMBER, NUMBER, NUMBER), NUMBER, operands=((), (), (), ()), cost=CONSTANT)
def add_date(operand: Any, years: Any, months: Any, days: Any) -> int:
    """The instant after years, months and days on the calendar of its zone; February 30 is March 1 or 2."""
    unix_ns, zone, _ = _instant(operand)
    parts = []
    for position, number in enumerate((years, months, days), start=2):
        if type(number) not in NUMBER_TYPES:
            raise operand_error(position, number, "number")
        parts.append(integer_operand(position, number))
    civil = _wall_clock(unix_ns, zone)
    if any(abs(part) > 1 << 40 for part in parts):
        raise BuiltinError("time outside of valid range")
    day = day_number(civil.year + parts[0], civil.month + parts[1], 1) + civil.day - 1 + parts[2]
    clock_ns = ((civil.hour * 60 + civil.minute) * 60 + civil.second) * 10**9 + civil.nanosecond
    wall = _in_range_of_years(day * 86400 * 10**9 + clock_ns)
    return _in_range(wall - _offset_of_wall(wall, zone) * 10**9)


def _in_range_of_years(wall_ns: int) -> int:
    """A day more than the valid range either way is decided only after the zone's offset is known."""
    if not _FIRST_NS - 10**14 <= wall_ns <= _LAST_NS + 10**14:
        raise BuiltinError("time outside of valid range")
    return wall_ns


def _offset_of_wall(wall_ns: int, zone: ZoneInfo | None) -> int:
    """Seconds east of UTC at a wall-clock time; where a change of clocks makes it doubtful, as Go decides."""
    if zone is None:
        return 0
    guess = _wall_clock(wall_ns, zone).offset
    return _wall_clock(wall_ns - guess * 10**9, zone).offset if guess else 0


_SIX_NUMBERS: Final = tuple_of(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)


@builtin("time.diff", (_INSTANT, _INSTANT), _SIX_NUMBERS, operands=((), ()), cost=CONSTANT)
def diff(left: Any, right: Any) -> tuple[int, ...]:
    """``[years, months, days, hours, minutes, seconds]`` between two instants, on the calendar of the first's zone."""
    first_ns, zone, _ = _instant(left)
    second_ns, _, _ = _instant(right)
    earlier = _wall_clock(min(first_ns, second_ns), zone)
    later = _wall_clock(max(first_ns, second_ns), zone)
    seconds = later.second - earlier.second
    minutes = later.minute - earlier.minute
    hours = later.hour - earlier.hour
    days = later.day - earlier.day
    months = later.month - earlier.month
    years = later.year - earlier.year
    minutes, seconds = minutes + seconds // 60, seconds % 60
    hours, minutes = hours + minutes // 60, minutes % 60
    days, hours = days + hours // 24, hours % 24
    if days < 0:
        days += days_in_month(earlier.year, earlier.month)
        months -= 1
    years, months = years + months // 12, months % 12
    return years, months, days, hours, minutes, seconds
