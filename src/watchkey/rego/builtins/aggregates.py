"""Built-ins that reduce a collection to one value: count, sum, product, max, min, sort, all, any."""

from __future__ import annotations

from typing import Any

from watchkey.rego.builtins import (
    CONSTANT,
    UNDEFINED,
    CallContext,
    Number,
    builtin,
    element_error,
)
from watchkey.rego.numbers import add, multiply
from watchkey.rego.types import ANY, ARRAY, BOOLEAN, NUMBER, OBJECT, SET, STRING, any_of, array_of, set_of
from watchkey.rego.values import NUMBER_TYPES, TRUE, Boolean, Set, boolean, sort_key, sort_values

_NUMBERS = any_of(array_of(NUMBER), set_of(NUMBER))
_COLLECTION = any_of(array_of(ANY), set_of(ANY))
_SET_FIRST = (("set", "array"),)
_ARRAY_FIRST = (("array", "set"),)


@builtin("count", (any_of(ARRAY, OBJECT, SET, STRING),), NUMBER, cost=CONSTANT)
def count(collection: Any) -> int:
    """Elements of a collection, or code points of a string."""
    return len(collection)


def _elements(collection: Any) -> tuple[Any, ...]:
    ordered: tuple[Any, ...] = collection.ordered() if type(collection) is Set else collection
    return ordered


def _numbers(collection: Any) -> tuple[Number, ...]:
    elements = _elements(collection)
    for element in elements:
        if type(element) not in NUMBER_TYPES:
            raise element_error(1, collection, element, "number")
    return elements


@builtin("sum", (_NUMBERS,), NUMBER, operands=_SET_FIRST)
def total(collection: Any) -> Number:
    """Sum of the numbers; 0 of none."""
    result: Number = 0
    for number in _numbers(collection):
        result = add(result, number)
    return result


@builtin("product", (_NUMBERS,), NUMBER, operands=_SET_FIRST, context=True)
def product(ctx: CallContext, collection: Any) -> Number:
    """Product of the numbers; 1 of none."""
    result: Number = 1
    for number in _numbers(collection):
        ctx.spend(1)
        result = multiply(result, number)
    return result


@builtin("max", (_COLLECTION,), ANY, operands=_SET_FIRST)
def largest(collection: Any) -> Any:
    """The last element in Rego's order; undefined of none."""
    return max(_elements(collection), key=sort_key, default=UNDEFINED)


@builtin("min", (_COLLECTION,), ANY, operands=_SET_FIRST)
def smallest(collection: Any) -> Any:
    """The first element in Rego's order; undefined of none."""
    return min(_elements(collection), key=sort_key, default=UNDEFINED)


@builtin("sort", (_COLLECTION,), ARRAY, operands=_SET_FIRST)
def in_order(collection: Any) -> tuple[Any, ...]:
    """The elements as an array in Rego's order."""
    return _elements(collection) if type(collection) is Set else tuple(sort_values(collection))


@builtin("all", (_COLLECTION,), BOOLEAN, operands=_ARRAY_FIRST)
def every_true(collection: Any) -> Boolean:
    """Whether every element is true; deprecated in OPA."""
    return boolean(all(element is TRUE for element in collection))


@builtin("any", (_COLLECTION,), BOOLEAN, operands=_ARRAY_FIRST)
def some_true(collection: Any) -> Boolean:
    """Whether some element is true; deprecated in OPA."""
    return boolean(any(element is TRUE for element in collection))
