"""Arithmetic as OPA does it: exact on integers, a 64-bit binary mantissa where a fraction is involved."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Final

from watchkey.rego.errors import BuiltinError
from watchkey.rego.values import EXACT, checked_number, integer_of

MANTISSA_BITS: Final = 64
"""Precision of Go's ``big.Float`` where none is asked for."""


def _as_binary(number: Fraction) -> tuple[int, int]:
    """``(mantissa, exponent)`` of the nearest ``mantissa * 2**exponent`` with 64 bits; ties to even."""
    numerator, denominator = number.numerator, number.denominator
    shift = MANTISSA_BITS - (abs(numerator).bit_length() - denominator.bit_length())
    scaled = _scaled(number, shift)
    if abs(round(scaled)).bit_length() > MANTISSA_BITS:
        shift -= 1
        scaled = _scaled(number, shift)
    return round(scaled), -shift


def _scaled(number: Fraction, shift: int) -> Fraction:
    return number * (1 << shift) if shift >= 0 else number / (1 << -shift)


def _binary_value(mantissa: int, exponent: int) -> Fraction:
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def to_binary(number: int | Decimal) -> Fraction:
    """The number as a ``big.Float`` of 64 bits would hold it."""
    exact = Fraction(number)
    return _binary_value(*_as_binary(exact)) if exact else exact


def from_binary(number: Fraction) -> int | Decimal:
    """Round to 64 bits and give the shortest decimal that names that ``big.Float``; an integer where it is one."""
    if not number:
        return 0
    mantissa, exponent = _as_binary(number)
    value = _binary_value(mantissa, exponent)
    if value.denominator == 1 and exponent <= 0:
        return int(value)
    shortest = _shortest(mantissa, exponent)
    return int(shortest) if value.denominator == 1 else shortest


def _shortest(mantissa: int, exponent: int) -> Decimal:
    """The decimal with the fewest digits that rounds to ``mantissa * 2**exponent``."""
    value = _binary_value(mantissa, exponent)
    half = _binary_value(1, exponent) / 2
    exact = EXACT.divide(Decimal(value.numerator), Decimal(value.denominator))
    for digits in range(1, 25):
        candidate = EXACT.create_decimal(f"{exact:.{digits - 1}e}")
        distance = abs(Fraction(candidate) - value)
        if distance < half or (distance == half and mantissa % 2 == 0):
            return candidate.normalize(EXACT)
    return exact


def _float_result(number: Fraction) -> int | Decimal:
    return checked_number(from_binary(number))


def add(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Sum."""
    if type(left) is int and type(right) is int:
        return checked_number(left + right)
    if (pair := _integers(left, right)) is not None:
        return checked_number(pair[0] + pair[1])
    return _float_result(to_binary(left) + to_binary(right))


def subtract(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Difference."""
    if type(left) is int and type(right) is int:
        return checked_number(left - right)
    if (pair := _integers(left, right)) is not None:
        return checked_number(pair[0] - pair[1])
    return _float_result(to_binary(left) - to_binary(right))


def multiply(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Product."""
    if type(left) is int and type(right) is int:
        return checked_number(left * right)
    if (pair := _integers(left, right)) is not None:
        return checked_number(pair[0] * pair[1])
    return _float_result(to_binary(left) * to_binary(right))


def _integers(left: int | Decimal, right: int | Decimal) -> tuple[int, int] | None:
    first, second = integer_of(left), integer_of(right)
    return None if first is None or second is None else (first, second)


_SMALL: Final = 1 << 31


def divide(left: int | Decimal, right: int | Decimal) -> int | Decimal:
    """Quotient; an integer where small integers divide evenly, else of 64 bits. Raises BuiltinError on zero."""
    if not right:
        message = "divide by zero"
        raise BuiltinError(message)
    if type(left) is int and type(right) is int and abs(left) < _SMALL and left % right == 0:
        return left // right
    return _float_result(to_binary(left) / to_binary(right))


def remainder(left: int | Decimal, right: int | Decimal) -> int:
    """Remainder with the sign of the dividend. Raises BuiltinError on zero and on fractions."""
    pair = _integers(left, right)
    if pair is None:
        message = "modulo on floating-point number"
        raise BuiltinError(message)
    if not pair[1]:
        message = "modulo by zero"
        raise BuiltinError(message)
    rest = abs(pair[0]) % abs(pair[1])
    return -rest if pair[0] < 0 else rest


def absolute(number: int | Decimal) -> int | Decimal:
    """Magnitude."""
    return abs(number) if type(number) is int else _float_result(abs(to_binary(number)))


def round_half_away(number: int | Decimal) -> int:
    """Nearest integer, halves away from zero."""
    if type(number) is int:
        return number
    value = to_binary(number)
    magnitude = int(abs(value) + Fraction(1, 2))
    return -magnitude if value < 0 else magnitude


def ceiling(number: int | Decimal) -> int:
    """Least integer not below."""
    return number if type(number) is int else -int(-to_binary(number) // 1)


def floor(number: int | Decimal) -> int:
    """Greatest integer not above."""
    return number if type(number) is int else int(to_binary(number) // 1)
