"""Built-ins behind the operators: comparison, arithmetic, membership, set operations, bits and rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from watchkey.rego.builtins import (
    CONSTANT,
    CallContext,
    Number,
    OperandError,
    builtin,
    operand_error,
)
from watchkey.rego.numbers import (
    absolute,
    add,
    ceiling,
    divide,
    floor,
    multiply,
    remainder,
    round_half_away,
    subtract,
)
from watchkey.rego.types import ANY, BOOLEAN, NUMBER, SET, any_of, set_of
from watchkey.rego.values import (
    MAX_DIGITS,
    NUMBER_TYPES,
    Boolean,
    Object,
    Set,
    boolean,
    compare,
    integer_of,
)

_ANY_TWO = (ANY, ANY)
_UNCHECKED = ((), ())
_NUMBERS = (NUMBER, NUMBER)


@builtin("eq", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="=")
@builtin("equal", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="==")
def equal(left: Any, right: Any) -> Boolean:
    """Equality; never across types."""
    return boolean(left == right)


@builtin("neq", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="!=")
def unequal(left: Any, right: Any) -> Boolean:
    """The opposite of equality."""
    return boolean(left != right)


@builtin("lt", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="<")
def before(left: Any, right: Any) -> Boolean:
    """Strictly before in Rego's order."""
    return boolean(compare(left, right) < 0)


@builtin("lte", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="<=")
def not_after(left: Any, right: Any) -> Boolean:
    """Before or equal in Rego's order."""
    return boolean(compare(left, right) <= 0)


@builtin("gt", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix=">")
def after(left: Any, right: Any) -> Boolean:
    """Strictly after in Rego's order."""
    return boolean(compare(left, right) > 0)


@builtin("gte", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix=">=")
def not_before(left: Any, right: Any) -> Boolean:
    """After or equal in Rego's order."""
    return boolean(compare(left, right) >= 0)


@builtin("internal.member_2", _ANY_TWO, BOOLEAN, operands=_UNCHECKED, infix="in")
def contains_value(value: Any, collection: Any) -> Boolean:
    """Whether a collection has a value."""
    kind = type(collection)
    if kind is Object:
        return boolean(value in collection.values())
    return boolean(kind in (tuple, Set) and value in collection)


@builtin("internal.member_3", (ANY, ANY, ANY), BOOLEAN, operands=((), (), ()), infix="in")
def contains_pair(key: Any, value: Any, collection: Any) -> Boolean:
    """Whether a collection has a value under a key."""
    kind = type(collection)
    if kind is Object:
        return boolean(key in collection and collection[key] == value)
    if kind is tuple:
        index = integer_of(key) if type(key) in NUMBER_TYPES else None
        return boolean(index is not None and 0 <= index < len(collection) and collection[index] == value)
    return boolean(kind is Set and key == value and key in collection)


# --- arithmetic ------------------------------------------------------------------------------------------------------


@builtin("plus", _NUMBERS, NUMBER, cost=CONSTANT, infix="+")
def plus(left: Number, right: Number) -> Number:
    """Sum."""
    return add(left, right)


@builtin(
    "minus", (any_of(NUMBER, SET), any_of(NUMBER, SET)), any_of(NUMBER, set_of(ANY)), operands=_UNCHECKED, infix="-"
)
def minus(left: Any, right: Any) -> Any:
    """Difference of numbers or of sets."""
    if type(left) in NUMBER_TYPES and type(right) in NUMBER_TYPES:
        return subtract(left, right)
    if type(left) is Set and type(right) is Set:
        return Set(left - right)
    if type(left) not in NUMBER_TYPES and type(left) is not Set:
        raise operand_error(1, left, "number", "set")
    raise operand_error(2, right, "set" if type(right) in NUMBER_TYPES else "number")


@builtin("mul", _NUMBERS, NUMBER, cost=CONSTANT, infix="*")
def times(left: Number, right: Number) -> Number:
    """Product."""
    return multiply(left, right)


@builtin("div", _NUMBERS, NUMBER, cost=CONSTANT, infix="/")
def divided(left: Number, right: Number) -> Number:
    """Quotient."""
    return divide(left, right)


@builtin("rem", _NUMBERS, NUMBER, cost=CONSTANT, infix="%")
def rest(left: Number, right: Number) -> Number:
    """Remainder with the sign of the dividend."""
    return remainder(left, right)


@builtin("abs", (NUMBER,), NUMBER, cost=CONSTANT)
def magnitude(number: Number) -> Number:
    """Magnitude."""
    return absolute(number)


@builtin("round", (NUMBER,), NUMBER, cost=CONSTANT)
def rounded(number: Number) -> Number:
    """Nearest integer, halves away from zero."""
    return round_half_away(number)


@builtin("ceil", (NUMBER,), NUMBER, cost=CONSTANT)
def rounded_up(number: Number) -> Number:
    """Least integer not below."""
    return ceiling(number)


@builtin("floor", (NUMBER,), NUMBER, cost=CONSTANT)
def rounded_down(number: Number) -> Number:
    """Greatest integer not above."""
    return floor(number)


# --- sets ------------------------------------------------------------------------------------------------------------


@builtin("and", (SET, SET), SET, infix="&")
def common(left: Set, right: Set) -> Set:
    """Elements of both sets."""
    return Set(left & right)


@builtin("or", (SET, SET), SET, infix="|")
def either(left: Set, right: Set) -> Set:
    """Elements of either set."""
    return Set(left | right)


# --- bits ------------------------------------------------------------------------------------------------------------


def _integer(position: int, number: Number) -> int:
    whole = integer_of(number)
    if whole is None:
        message = f"operand {position} must be integer number but got floating-point number"
        raise OperandError(message)
    return whole


def _bits(name: str, compute: Callable[[int, int], int]) -> None:
    def bits(left: Number, right: Number) -> int:
        return compute(_integer(1, left), _integer(2, right))

    builtin(name, _NUMBERS, NUMBER, cost=CONSTANT)(bits)


_bits("bits.and", lambda left, right: left & right)
_bits("bits.or", lambda left, right: left | right)
_bits("bits.xor", lambda left, right: left ^ right)


@builtin("bits.negate", (NUMBER,), NUMBER, cost=CONSTANT)
def negated_bits(number: Number) -> int:
    """Bitwise complement."""
    return ~_integer(1, number)


@builtin("bits.lsh", _NUMBERS, NUMBER, cost=CONSTANT, context=True)
def shifted_left(ctx: CallContext, number: Number, by: Number) -> int:
    """Shift left."""
    value, count = _integer(1, number), _shift(by)
    ctx.check_size(count)
    if value and value.bit_length() + count > MAX_DIGITS * 3:
        ctx.check_size(ctx.max_size + 1)
    return value << count


@builtin("bits.rsh", _NUMBERS, NUMBER, cost=CONSTANT)
def shifted_right(number: Number, by: Number) -> int:
    """Shift right."""
    value, count = _integer(1, number), _shift(by)
    return value >> min(count, value.bit_length() + 1)


def _shift(by: Number) -> int:
    count = _integer(2, by)
    if count < 0:
        message = "operand 2 must be an unsigned integer number but got a negative integer"
        raise OperandError(message)
    return count
