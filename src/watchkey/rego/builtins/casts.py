"""Built-ins about types: to_number, type_name, is_*, and the deprecated cast_*."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from watchkey.rego.builtins import CONSTANT, BuiltinError, Number, OperandError, builtin, operand_error
from watchkey.rego.types import ANY, ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, SET, STRING, Type, any_of
from watchkey.rego.values import FALSE, NUMBER_TYPES, TRUE, Boolean, Set, boolean, parse_number, type_name

_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[+-]*(?:inf|infinity|nan)", re.IGNORECASE)


@builtin(
    "to_number",
    (any_of(NULL, BOOLEAN, NUMBER, STRING),),
    NUMBER,
    operands=(("null", "boolean", "number", "string"),),
)
def to_number(value: Any) -> Number:
    """A number from null (0), a boolean (0 or 1), a number, or the text of one."""
    if value is None or value is FALSE:
        return 0
    if value is TRUE:
        return 1
    if type(value) in NUMBER_TYPES:
        number: Number = value
        return number
    if _NOT_FINITE.fullmatch(value):
        message = "operand 1 must be valid number string but got string"
        raise OperandError(message)
    if not _FLOAT.fullmatch(value):
        message = f'strconv.ParseFloat: parsing "{value[:80]}": invalid syntax'
        raise BuiltinError(message)
    return parse_number(value)


@builtin("type_name", (ANY,), STRING, operands=((),), cost=CONSTANT)
def name_of_type(value: Any) -> str:
    """null, boolean, number, string, array, object or set."""
    return type_name(value)


_KINDS: Final[dict[str, Type]] = {
    "array": ARRAY,
    "boolean": BOOLEAN,
    "null": NULL,
    "number": NUMBER,
    "object": OBJECT,
    "set": SET,
    "string": STRING,
}


def _predicate(kind: str) -> Callable[[Any], Boolean]:
    def is_kind(value: Any) -> Boolean:
        return boolean(type_name(value) == kind)

    return is_kind


def _cast(kind: str) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        if type_name(value) != kind:
            raise operand_error(1, value, kind)
        return value

    return cast


for _kind, _type in _KINDS.items():
    builtin(f"is_{_kind}", (ANY,), BOOLEAN, operands=((),), cost=CONSTANT)(_predicate(_kind))
    if _kind not in ("array", "set", "number"):
        builtin(f"cast_{_kind}", (ANY,), _type, operands=((),), cost=CONSTANT)(_cast(_kind))


@builtin("cast_array", (ANY,), ARRAY, operands=(("array", "set"),))
def cast_array(value: Any) -> tuple[Any, ...]:
    """An array from an array or a set."""
    return value.ordered() if type(value) is Set else tuple(value)


@builtin("cast_set", (ANY,), SET, operands=(("array", "set"),))
def cast_set(value: Any) -> Set:
    """A set from an array or a set."""
    return value if type(value) is Set else Set(value)
