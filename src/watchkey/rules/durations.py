"""Lengths of time as people write them in configuration: `90s`, `15m`, `12h`, `3d`."""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)", re.ASCII)
_DURATION_MAX: Final = timedelta(days=3660)
DURATION_SHAPE: Final = "a duration such as 90s, 15m, 12h or 3d"


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `12h`, `3d` (or `250ms`): one whole number and one unit. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is no duration")
    number, unit = int(found[1]), _UNITS[found[2]]
    if number > _DURATION_MAX // unit:
        raise ValueError(f"{text!r} is longer than ten years")
    return number * unit


def format_duration(length: timedelta) -> str:
    """Write a duration in the largest unit that leaves no rest; the inverse of `parse_duration`.

    Raises ValueError for what cannot be written: negative, or finer than a millisecond.
    """
    if length < timedelta(0):
        raise ValueError("a duration is not negative")
    for name, unit in _UNITS.items():
        if length % unit == timedelta(0) and (length or name == "s"):
            return f"{length // unit}{name}"
    raise ValueError("a duration is whole milliseconds")
