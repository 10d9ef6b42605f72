"""Works with static types: the type of a constant, of a look-up, and whether two types have a value in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from watchkey.rego.types import (
    ANY,
    BOOLEAN,
    NULL,
    NUMBER,
    STRING,
    Anything,
    Array,
    Function,
    Mapping,
    Scalar,
    SetOf,
    Type,
    Union,
    any_of,
    set_of,
)
from watchkey.rego.values import Boolean, Object, Set

MAX_OPTIONS: Final = 12
MAX_DEPTH: Final = 8
_MAX_FIELDS: Final = 200


_ANY_OF_KIND: Final[dict[type, Type]] = {tuple: Array((), ANY), Object: Mapping((), ANY, ANY), Set: set_of(ANY)}


def type_of(value: Any, depth: int = 0) -> Type:  # noqa: PLR0911 - one return for each kind of value
    """The type of a value known at compile time."""
    kind = type(value)
    if kind is str:
        return STRING
    if kind is int or kind is Decimal:
        return NUMBER
    if value is None:
        return NULL
    if kind is Boolean:
        return BOOLEAN
    if depth >= MAX_DEPTH or len(value) > _MAX_FIELDS:
        return _ANY_OF_KIND[kind]
    if kind is tuple:
        return Array(tuple([type_of(element, depth + 1) for element in value]))
    if kind is Set:
        return SetOf(union([type_of(element, depth + 1) for element in value])) if value else SetOf(None)
    return object_type([(key, type_of(item, depth + 1)) for key, item in value.pairs()])


def object_type(pairs: list[tuple[Any, Type]]) -> Mapping:
    """The type of an object with these keys, of which the last one counts; keys other than strings make it open."""
    named = {key: kind for key, kind in pairs if type(key) is str}
    fields = tuple([(key, named[key]) for key in sorted(named)])
    others = [(type_of(key), kind) for key, kind in pairs if type(key) is not str]
    if not others:
        return Mapping(fields)
    return Mapping(fields, union([key for key, _ in others]), union([kind for _, kind in others]))


def union(options: list[Type]) -> Type:
    """One of the options; many of them are as good as any."""
    if not options:
        return ANY
    merged = any_of(*options)
    return ANY if isinstance(merged, Union) and len(merged.of) > MAX_OPTIONS else merged


def has_empty_set(kind: Type | None) -> bool:
    """Whether a type is, or holds, that of the empty set, of whose elements nothing is known."""
    if isinstance(kind, SetOf):
        return kind.of is None or has_empty_set(kind.of)
    if isinstance(kind, Array):
        return any(has_empty_set(each) for each in (*kind.fixed, kind.rest))
    if isinstance(kind, Mapping):
        return any(has_empty_set(each) for each in (*[each for _, each in kind.fields], kind.key, kind.value))
    return isinstance(kind, Union) and any(has_empty_set(each) for each in kind.of)


def limited(kind: Type, depth: int = 0) -> Type:  # noqa: PLR0911 - one return for each kind of type
    """The type with what is nested very deep forgotten, so that types of long chains of rules stay small."""
    if depth >= MAX_DEPTH:
        return ANY
    if isinstance(kind, Array):
        rest = limited(kind.rest, depth + 1) if kind.rest is not None else None
        return Array(tuple(limited(each, depth + 1) for each in kind.fixed), rest)
    if isinstance(kind, SetOf):
        return SetOf(limited(kind.of, depth + 1)) if kind.of is not None else kind
    if isinstance(kind, Mapping):
        fields = tuple((name, limited(each, depth + 1)) for name, each in kind.fields)
        if kind.key is None or kind.value is None:
            return Mapping(fields)
        return Mapping(fields, limited(kind.key, depth + 1), limited(kind.value, depth + 1))
    if isinstance(kind, Union):
        return union([limited(each, depth) for each in kind.of])
    return kind


# --- having a value in common ----------------------------------------------------------------------------------------


def compatible(left: Type | None, right: Type | None) -> bool:  # noqa: PLR0911 - one return for each kind of type
    """Whether some value has both types; an unknown type (None) is compatible with any."""
    if left is None or right is None or isinstance(left, Anything) or isinstance(right, Anything):
        return True
    if isinstance(left, Union):
        return any(compatible(each, right) for each in left.of)
    if isinstance(right, Union):
        return any(compatible(left, each) for each in right.of)
    if isinstance(left, Scalar) and isinstance(right, Scalar):
        return left.name == right.name
    if isinstance(left, Array) and isinstance(right, Array):
        return _arrays(left, right)
    if isinstance(left, SetOf) and isinstance(right, SetOf):
        return left.of is None or right.of is None or compatible(left.of, right.of)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return _objects(left, right)
    return isinstance(left, Function) or isinstance(right, Function)


def _arrays(left: Array, right: Array) -> bool:
    if len(left.fixed) > len(right.fixed):
        left, right = right, left
    if len(left.fixed) < len(right.fixed) and left.rest is None:
        return False
    for index, kind in enumerate(right.fixed):
        other = left.fixed[index] if index < len(left.fixed) else left.rest
        if not compatible(kind, other):
            return False
    return compatible(left.rest, right.rest)


def _objects(left: Mapping, right: Mapping) -> bool:
    for one, other in ((left, right), (right, left)):
        for name, kind in one.fields:
            known = other.field(name)
            if known is not None:
                if not compatible(kind, known):
                    return False
            elif other.key is None or not compatible(STRING, other.key) or not compatible(kind, other.value):
                return False
    return True


# --- look-ups --------------------------------------------------------------------------------------------------------


def selected(kind: Type, key: Any) -> Type | None:  # noqa: PLR0911 - one return for each kind of type
    """The type of a look-up with a constant key; None where there can be no such part."""
    if isinstance(kind, Anything):
        return ANY
    if isinstance(kind, Union):
        found = [each for option in kind.of if (each := selected(option, key)) is not None]
        return union(found) if found else None
    if isinstance(kind, Array):
        if type(key) not in (int, Decimal) or key < 0:
            return None
        if key < len(kind.fixed):
            return kind.fixed[int(key)]
        return kind.rest
    if isinstance(kind, SetOf):
        return kind.of if kind.of is not None and compatible(kind.of, type_of(key)) else None
    if isinstance(kind, Mapping):
        known = kind.field(key) if type(key) is str else None
        if known is not None:
            return known
        return kind.value if kind.key is not None and compatible(kind.key, type_of(key)) else None
    return None


def keys_of(kind: Type) -> Type | None:
    """The type of the keys of a collection; None where it is not a collection."""
    if isinstance(kind, Anything):
        return ANY
    if isinstance(kind, Union):
        found = [each for option in kind.of if (each := keys_of(option)) is not None]
        return union(found) if found else None
    if isinstance(kind, Array):
        return NUMBER
    if isinstance(kind, SetOf):
        return kind.of or ANY
    if isinstance(kind, Mapping):
        options: list[Type] = [STRING] if kind.fields else []
        if kind.key is not None:
            options.append(kind.key)
        return union(options)
    return None


def values_of(kind: Type) -> Type | None:
    """The type of the values of a collection; None where it is not a collection."""
    if isinstance(kind, Anything):
        return ANY
    if isinstance(kind, Union):
        found = [each for option in kind.of if (each := values_of(option)) is not None]
        return union(found) if found else None
    if isinstance(kind, Array):
        return union([*kind.fixed, *([kind.rest] if kind.rest is not None else [])])
    if isinstance(kind, SetOf):
        return kind.of or ANY
    if isinstance(kind, Mapping):
        options = [each for _, each in kind.fields]
        if kind.value is not None:
            options.append(kind.value)
        return union(options)
    return None


# --- JSON Schema -----------------------------------------------------------------------------------------------------


def from_schema(schema: Any, root: Any = None, depth: int = 0) -> Type:
    """The type that a JSON Schema describes; where it says more than types can, the type is any.

    An object with `properties` is closed unless `additionalProperties` says otherwise.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > MAX_DEPTH * 2:
        return ANY
    if "$ref" in schema:
        return from_schema(_resolved(schema["$ref"], root), root, depth + 1)
    if "const" in schema or "enum" in schema:
        from watchkey.rego.values import from_json  # noqa: PLC0415 - only schemas need it

        listed = schema["enum"] if "enum" in schema else [schema["const"]]
        return union([type_of(from_json(each)) for each in listed])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return union([from_schema(each, root, depth + 1) for each in schema[word]])
    names = schema.get("type", "object" if "properties" in schema else None)
    if names is None or "allOf" in schema:
        return ANY
    return union([_schema_kind(name, schema, root, depth) for name in (names if isinstance(names, list) else [names])])


def _resolved(reference: str, root: Any) -> Any:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _schema_kind(name: str, schema: dict[str, Any], root: Any, depth: int) -> Type:
    scalars = {"null": NULL, "boolean": BOOLEAN, "number": NUMBER, "integer": NUMBER, "string": STRING}
    if name in scalars:
        return scalars[name]
    if name == "array":
        fixed = tuple(from_schema(each, root, depth + 1) for each in schema.get("prefixItems", ()))
        return Array(fixed, from_schema(schema.get("items", True), root, depth + 1))
    properties = schema.get("properties")
    fields = tuple(sorted((key, from_schema(each, root, depth + 1)) for key, each in (properties or {}).items()))
    further = schema.get("additionalProperties", properties is None)
    if further is False:
        return Mapping(fields)
    return Mapping(fields, STRING, from_schema(further, root, depth + 1))
