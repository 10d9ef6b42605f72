"""Built-ins of quantities with a unit: ``units.parse`` ("10Mi", "500m") and ``units.parse_bytes`` ("10MiB")."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import wraps
from typing import Any, Final

from watchkey.rego.builtins import BuiltinError, LimitExceeded, builtin
from watchkey.rego.numbers import to_binary
from watchkey.rego.types import NUMBER, STRING
from watchkey.rego.values import EXACT, MAX_DIGITS, checked_number

_LETTERS: Final = "kmgtpe"
_DECIMAL: Final = {letter: 1000 ** (index + 1) for index, letter in enumerate(_LETTERS)}
_BINARY: Final = {letter + "i": 1024 ** (index + 1) for index, letter in enumerate(_LETTERS)}

_BYTES: Final = {
    "": 1,
    **{unit + end: size for unit, size in (_DECIMAL | _BINARY).items() for end in ("", "b")},
}

_SCALES: Final[dict[str, Fraction]] = {
    "": Fraction(1),
    # OPA's milli is the binary fraction nearest to 0.001, so that "1000m" is 1.0000000000 and not 1.
    "m": Fraction(0.001),
    "M": Fraction(1000**2),
    **{
        spelled: Fraction(size)
        for unit, size in (_DECIMAL | _BINARY).items()
        for spelled in (unit, unit.capitalize())
        if spelled not in ("m", "M")
    },
}

_AMOUNT: Final = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NUMERIC: Final = frozenset("0123456789.+-")
_DIGITS: Final = frozenset("0123456789")
_EXPONENT_DIGITS: Final = 6
_SHOWN_PLACES: Final = 10


def _amount_and_unit(text: str) -> tuple[str, str]:
    """Where the number ends: an ``e`` belongs to it only with a digit or a sign after it."""
    index = 0
    while index < len(text):
        character = text[index]
        if character in "eE":
            following = text[index + 1 : index + 2]
            if not following or following not in "+-0123456789":
                break
            index += following in "+-"
            end = index + 1
            while end < len(text) and text[end] in _DIGITS:
                end += 1
            if end - index - 1 > _EXPONENT_DIGITS:
                raise BuiltinError("exponent too large")
        elif character not in _NUMERIC:
            break
        index += 1
    return text[:index], text[index:]


def _split(text: str, what: str) -> tuple[str, str]:
    if " " in text:
        raise BuiltinError("spaces not allowed in resource strings")
    amount, unit = _amount_and_unit(text)
    if not amount:
        raise BuiltinError(f"no {what} provided")
    return amount, unit


def _named_twice(name: str) -> Callable[[Callable[[str], Any]], Callable[[str], Any]]:
    """OPA's errors of units have the name of the built-in twice."""

    def decorate(function: Callable[[str], Any]) -> Callable[[str], Any]:
        @wraps(function)
        def call(text: str) -> Any:
            try:
                return function(text)
            except BuiltinError as problem:
                raise BuiltinError(f"{name}: {problem}") from None

        return call

    return decorate


def _number(amount: str, failure: str) -> Decimal:
    if not _AMOUNT.fullmatch(amount):
        raise BuiltinError(failure)
    if len(amount) > MAX_DIGITS:
        raise LimitExceeded(f"a number has more than {MAX_DIGITS} digits")
    number = checked_number(Decimal(amount))
    return number if type(number) is Decimal else Decimal(number)


@builtin("units.parse", (STRING,), NUMBER)
@_named_twice("units.parse")
def parse(text: str) -> int | Decimal:
    """The amount times its SI or binary unit; ``m`` is milli and ``M`` mega, other letters in either case."""
    amount, unit = _split(text.replace('"', ""), "amount")
    unit = unit[:1] + unit[1:].lower()
    if unit not in _SCALES:
        raise BuiltinError(f"unit {unit} not recognized")
    exact = Fraction(_number(amount, "could not parse amount to a number")) * _SCALES[unit]
    if exact.denominator == 1:
        return checked_number(int(exact))
    scaled = abs(exact) * 10**_SHOWN_PLACES
    digits = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
    return EXACT.scaleb(Decimal(-digits if exact < 0 else digits), -_SHOWN_PLACES)


@builtin("units.parse_bytes", (STRING,), NUMBER)
@_named_twice("units.parse_bytes")
def parse_bytes(text: str) -> int:
    """Whole bytes of an amount with a unit of bytes, in any case; fractions of a byte are cut off."""
    amount, unit = _split(text.lower().replace('"', ""), "byte amount")
    if unit not in _BYTES:
        raise BuiltinError(f"byte unit {unit} not recognized")
    number = to_binary(_number(amount, "could not parse byte amount to a number"))
    return int(checked_number(int(to_binary(_as_decimal(number * _BYTES[unit])))))


def _as_decimal(number: Fraction) -> Decimal:
    """Exact, for the denominator is a power of two."""
    return EXACT.divide(Decimal(number.numerator), Decimal(number.denominator))
