"""Built-ins of semantic versions: ``semver.compare`` and ``semver.is_valid``."""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import BuiltinError, builtin
from watchkey.rego.types import ANY, BOOLEAN, NUMBER, STRING
from watchkey.rego.values import Boolean, boolean, quoted

_IDENTIFIERS: Final = re.compile(r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*")
_DIGITS: Final = re.compile(r"[0-9]+")
_LARGEST: Final = (1 << 63) - 1

Version: TypeAlias = tuple[tuple[int, ...], tuple[str, ...]]
"""Major, minor and patch; the identifiers of the pre-release, none for a release."""


def parse_version(text: str) -> Version | None:
    """The version a text names, with or without a leading ``v``; None where it is not semantic."""
    rest, plus, build = text.removeprefix("v").partition("+")
    if plus and not _IDENTIFIERS.fullmatch(build):
        return None
    core, dash, pre = rest.partition("-")
    identifiers = tuple(pre.split(".")) if dash else ()
    if dash and not (_IDENTIFIERS.fullmatch(pre) and not any(_padded(each) for each in identifiers)):
        return None
    numbers = core.split(".")
    if len(numbers) != 3 or not all(_is_number(each) for each in numbers):
        return None
    return tuple(int(each) for each in numbers), identifiers


def _padded(identifier: str) -> bool:
    return len(identifier) > 1 and identifier[0] == "0" and _DIGITS.fullmatch(identifier) is not None


def _is_number(text: str) -> bool:
    return _DIGITS.fullmatch(text) is not None and not _padded(text) and len(text) < 20 and int(text) <= _LARGEST


def _precedence(identifier: str) -> tuple[int, int, str]:
    """Numbers before words; numbers beyond 64 bits are all the same, as in OPA."""
    if _DIGITS.fullmatch(identifier):
        return 0, int(identifier) if len(identifier) < 20 and int(identifier) <= _LARGEST else _LARGEST, ""
    return 1, 0, identifier


def _sort_key(version: Version) -> tuple[Any, ...]:
    numbers, identifiers = version
    return numbers, not identifiers, [_precedence(each) for each in identifiers]


@builtin("semver.compare", (STRING, STRING), NUMBER)
def compare(left: str, right: str) -> int:
    """-1, 0 or 1 by the precedence of semver.org; build metadata does not count."""
    keys = []
    for position, text in enumerate((left, right), start=1):
        version = parse_version(text)
        if version is None:
            raise BuiltinError(f"operand {position}: string {quoted(text)} is not a valid SemVer")
        keys.append(_sort_key(version))
    return (keys[0] > keys[1]) - (keys[0] < keys[1])


@builtin("semver.is_valid", (ANY,), BOOLEAN)
def is_valid(value: Any) -> Boolean:
    """Whether the value is a string that names a semantic version."""
    return boolean(type(value) is str and parse_version(value) is not None)
