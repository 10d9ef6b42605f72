"""Reads what a policy answered, `{allow, ttl, reasons}`; whichever engine asked it, any other shape is malformed."""

import re
from datetime import timedelta
from typing import Any, Final

import msgspec

from watchkey.model.access import Outcome

_DURATION: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TTL_MAX: Final = 366 * 24 * 3600.0


class PolicyAnswer(msgspec.Struct, frozen=True):
    """An answer as read: yes, no, or malformed with what was wrong in `detail`."""

    outcome: Outcome
    ttl: timedelta | None = None
    reasons: tuple[str, ...] = ()
    detail: str = ""


def not_an_object(answer: Any) -> PolicyAnswer:
    """What an answer is that is no object at all."""
    return _malformed(f"wanted an object with allow, got {kind_of(answer)}")


def read_answer(allow: Any, ttl: Any, reasons: Any) -> PolicyAnswer:
    """Read the three fields as plain JSON values; a missing one is given as None, None and an empty list."""
    if not isinstance(allow, bool):
        return _malformed(f"allow must be true or false, is {kind_of(allow)}")
    span = None if ttl is None else parse_ttl(ttl)
    if ttl is not None and span is None:
        return _malformed("ttl must be seconds or a duration like 60s, at most a year")
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        return _malformed("reasons must be texts")
    return PolicyAnswer(Outcome.YES if allow else Outcome.NO, span, tuple(reasons))


def _malformed(detail: str) -> PolicyAnswer:
    return PolicyAnswer(Outcome.MALFORMED, detail=detail)


def parse_ttl(ttl: object) -> timedelta | None:
    """Seconds as a number, or a duration as Go writes it (`60s`, `1h30m`); None for anything else or beyond a year."""
    if isinstance(ttl, bool):
        return None
    if isinstance(ttl, int | float):
        seconds = float(ttl) if -_TTL_MAX <= ttl <= _TTL_MAX else _TTL_MAX * 2
    elif isinstance(ttl, str) and len(ttl) <= 32 and _DURATION.fullmatch(ttl):
        seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(ttl))
    else:
        return None
    return timedelta(seconds=seconds) if -_TTL_MAX <= seconds <= _TTL_MAX else None


def kind_of(value: object) -> str:
    """What a JSON value is, in words; the value itself may hold anything."""
    if value is None:
        return "nothing"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "an array", dict: "an object"}
    return names.get(type(value), "something else")
