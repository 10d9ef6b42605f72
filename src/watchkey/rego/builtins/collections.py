"""Built-ins on arrays, objects and sets, ranges of numbers, and walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from watchkey.rego.builtins import (
    BuiltinError,
    CallContext,
    LimitExceeded,
    Number,
    OperandError,
    builtin,
    element_error,
    integer_operand,
    operand_error,
)
from watchkey.rego.types import ANY, ARRAY, BOOLEAN, NUMBER, OBJECT, SET, any_of, array_of, set_of, tuple_of
from watchkey.rego.values import (
    EMPTY_OBJECT,
    EMPTY_SET,
    MAX_NESTING,
    UNDEFINED,
    Boolean,
    Object,
    Set,
    boolean,
    integer_of,
    type_name,
)

_KEYS: Final = any_of(ARRAY, OBJECT, SET)
_KEY_KINDS: Final = ("object", "set", "array")
_CONTAINERS: Final = any_of(ARRAY, SET, OBJECT)


# --- arrays ----------------------------------------------------------------------------------------------------------


@builtin("array.concat", (ARRAY, ARRAY), ARRAY, context=True)
def array_concat(ctx: CallContext, left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    """One array after the other."""
    ctx.check_size(len(left) + len(right))
    return left + right


@builtin("array.flatten", (ARRAY,), ARRAY, context=True)
def array_flatten(ctx: CallContext, array: tuple[Any, ...]) -> tuple[Any, ...]:
    """The elements, those of arrays inside in their place, one level deep."""
    ctx.check_size(sum([len(element) if type(element) is tuple else 1 for element in array]))
    flat: list[Any] = []
    for element in array:
        flat.extend(element if type(element) is tuple else (element,))
    return tuple(flat)


@builtin("array.reverse", (ARRAY,), ARRAY)
def array_reverse(array: tuple[Any, ...]) -> tuple[Any, ...]:
    """The elements from last to first."""
    return array[::-1]


@builtin("array.slice", (ARRAY, NUMBER, NUMBER), ARRAY)
def array_slice(array: tuple[Any, ...], start: Number, stop: Number) -> tuple[Any, ...]:
    """The elements from `start` up to before `stop`, both kept within the array."""
    last = min(max(integer_operand(3, stop), 0), len(array))
    first = min(max(integer_operand(2, start), 0), last)
    return array[first:last]


# --- numbers ---------------------------------------------------------------------------------------------------------


def _whole(position: int, number: Number) -> int:
    whole = integer_of(number)
    if whole is None:
        message = f"operand {position} must be integer number but got floating-point number"
        raise OperandError(message)
    return whole


def _range(ctx: CallContext, start: int, end: int, step: int) -> tuple[int, ...]:
    length = abs(end - start) // step + 1
    ctx.check_size(length)
    ctx.spend(length)
    return tuple(range(start, end + 1, step) if start <= end else range(start, end - 1, -step))


@builtin("numbers.range", (NUMBER, NUMBER), array_of(NUMBER), context=True)
def numbers_range(ctx: CallContext, start: Number, end: Number) -> tuple[int, ...]:
    """The integers from one number to another, both included, up or down."""
    return _range(ctx, _whole(1, start), _whole(2, end), 1)


@builtin("numbers.range_step", (NUMBER, NUMBER, NUMBER), array_of(NUMBER), context=True)
def numbers_range_step(ctx: CallContext, start: Number, end: Number, step: Number) -> tuple[int, ...]:
    """Every step-th integer from one number to another, up or down."""
    first, last, by = _whole(1, start), _whole(2, end), _whole(3, step)
    if by <= 0:
        message = "step must be a positive integer"
        raise BuiltinError(message)
    return _range(ctx, first, last, by)


# --- objects ---------------------------------------------------------------------------------------------------------


def _key_set(keys: Any) -> frozenset[Any]:
    return keys if type(keys) is Set else frozenset(keys)


@builtin("object.get", (OBJECT, ANY, ANY), ANY, operands=(("object",), (), ()))
def object_get(document: Object, key: Any, default: Any) -> Any:
    """The value under a key, or at a path given as an array; the default where there is none."""
    if type(key) is not tuple:
        return document.get(key, default)
    found: Any = document
    for part in key:
        found = _get(found, part)
        if found is UNDEFINED:
            return default
    return found


def _get(value: Any, key: Any) -> Any:
    if type(value) is Object:
        return value.get(key, UNDEFINED)
    if type(value) is tuple:
        index = integer_of(key) if type_name(key) == "number" else None
        return value[index] if index is not None and 0 <= index < len(value) else UNDEFINED
    if type(value) is Set:
        return key if key in value else UNDEFINED
    return UNDEFINED


@builtin("object.keys", (OBJECT,), set_of(ANY))
def object_keys(document: Object) -> Set:
    """The keys as a set."""
    return Set(document)


@builtin("object.remove", (OBJECT, _KEYS), OBJECT, operands=(("object",), _KEY_KINDS))
def object_remove(document: Object, keys: Any) -> Object:
    """The object without some keys."""
    unwanted = _key_set(keys)
    return Object({key: value for key, value in document.items() if key not in unwanted})


@builtin("object.filter", (OBJECT, _KEYS), OBJECT, operands=(("object",), _KEY_KINDS))
def object_filter(document: Object, keys: Any) -> Object:
    """The object with only some keys."""
    wanted = _key_set(keys)
    return Object({key: value for key, value in document.items() if key in wanted})


@builtin("object.union", (OBJECT, OBJECT), OBJECT, context=True)
def object_union(ctx: CallContext, left: Object, right: Object) -> Object:
    """Both objects merged, objects inside too; elsewhere the right one wins."""
    return _merged(ctx, left, right, 0)


def _merged(ctx: CallContext, left: Object, right: Object, level: int) -> Object:
    if level > MAX_NESTING:
        message = "objects are nested too deeply"
        raise LimitExceeded(message)
    ctx.check_size(len(left) + len(right))
    merged = dict(left)
    for key, value in right.items():
        known = merged.get(key, UNDEFINED)
        both = type(known) is Object and type(value) is Object
        merged[key] = _merged(ctx, known, value, level + 1) if both else value
    return Object(merged)


@builtin("object.union_n", (array_of(OBJECT),), OBJECT, context=True)
def object_union_n(ctx: CallContext, documents: tuple[Any, ...]) -> Object:
    """Several objects merged in turn."""
    merged = EMPTY_OBJECT
    for document in documents:
        if type(document) is not Object:
            raise element_error(1, documents, document, "object")
        merged = _merged(ctx, merged, document, 0)
    return merged


@builtin("object.subset", (_CONTAINERS, _CONTAINERS), BOOLEAN, operands=((), ()), context=True)
def object_subset(ctx: CallContext, larger: Any, smaller: Any) -> Boolean:
    """Whether one collection is contained in another: objects recursively, arrays as a run of elements."""
    kinds = type_name(larger), type_name(smaller)
    if kinds not in (("object", "object"), ("set", "set"), ("array", "array"), ("array", "set")):
        message = "both arguments object.subset must be of the same type or array and set"
        raise OperandError(message)
    return boolean(_subset(ctx, larger, smaller))


def _subset(ctx: CallContext, larger: Any, smaller: Any) -> bool:
    ctx.spend(1 + len(smaller))
    if type(larger) is Object and type(smaller) is Object:
        return all(_entry_within(ctx, larger.get(key, UNDEFINED), value) for key, value in smaller.items())
    if type(larger) is Set and type(smaller) is Set:
        return smaller <= larger
    if type(smaller) is Set:
        return smaller <= frozenset(larger)
    ctx.spend(len(larger) * max(len(smaller), 1) >> 3)
    width = len(smaller)
    return any(larger[start : start + width] == smaller for start in range(len(larger) - width + 1))


def _entry_within(ctx: CallContext, known: Any, value: Any) -> bool:
    if known is UNDEFINED:
        return False
    if known == value:
        return True
    if type(known) is type(value) and type(value) in (Object, Set, tuple):
        return _subset(ctx, known, value)
    return False


# --- sets ------------------------------------------------------------------------------------------------------------


def _sets(collection: Set) -> tuple[Set, ...]:
    for element in collection.ordered():
        if type(element) is not Set:
            raise operand_error(1, element, "set")
    return collection.ordered()


@builtin("union", (set_of(SET),), SET, context=True)
def union(ctx: CallContext, collection: Set) -> Set:
    """Elements of any of the sets."""
    sets = _sets(collection)
    ctx.check_size(sum(len(each) for each in sets))
    return Set(frozenset().union(*sets))


@builtin("intersection", (set_of(SET),), SET, context=True)
def intersection(ctx: CallContext, collection: Set) -> Set:
    """Elements of all of the sets."""
    sets = _sets(collection)
    if not sets:
        return EMPTY_SET
    ctx.spend(sum(len(each) for each in sets) >> 3)
    return Set(sets[0].intersection(*sets[1:]))


@builtin("set_diff", (SET, SET), SET)
def set_difference(left: Set, right: Set) -> Set:
    """Elements of the left set that the right one lacks; deprecated in OPA."""
    return Set(left - right)


# --- walk ------------------------------------------------------------------------------------------------------------


@builtin("walk", (ANY,), tuple_of(ARRAY, ANY), operands=((),), relation=True, context=True)
def walk(ctx: CallContext, document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value inside a document with its path, the document itself first."""
    return _walk(ctx, document)


def _walk(ctx: CallContext, document: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    stack: list[tuple[tuple[Any, ...], Any]] = [((), document)]
    while stack:
        path, value = stack.pop()
        ctx.spend(1 + (len(path) >> 3))
        yield path, value
        kind = type(value)
        if kind is Object:
            inner = value.pairs()
        elif kind is tuple:
            inner = tuple(enumerate(value))
        elif kind is Set:
            inner = tuple([(element, element) for element in value.ordered()])
        else:
            continue
        stack.extend([((*path, key), item) for key, item in reversed(inner)])
