"""Static types of Rego terms: how signatures of functions are written, and when two types can never agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Scalar:
    """null, boolean, number or string."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value; nothing is known."""

    def __str__(self) -> str:
        return "any"


@dataclass(frozen=True, slots=True)
class Array:
    """An array whose first elements have the types `fixed`; further ones are of type `rest`, None for none."""

    fixed: tuple[Type, ...] = ()
    rest: Type | None = None

    def __str__(self) -> str:
        inner = ", ".join(str(t) for t in self.fixed)
        if self.rest is None:
            return f"array<{inner}>"
        return f"array[{self.rest}]" if not self.fixed else f"array<{inner}>[{self.rest}]"


@dataclass(frozen=True, slots=True)
class SetOf:
    """A set whose elements have the type `of`; None: the empty set."""

    of: Type | None

    def __str__(self) -> str:
        return f"set[{self.of}]" if self.of is not None else "set[]"


@dataclass(frozen=True, slots=True)
class Mapping:
    """An object with known fields (string keys), and further entries of `key` -> `value` where those are given."""

    fields: tuple[tuple[str, Type], ...] = ()
    key: Type | None = None
    value: Type | None = None

    def __str__(self) -> str:
        known = ", ".join(f"{name}: {kind}" for name, kind in self.fields)
        if self.key is None:
            return f"object<{known}>"
        return f"object<{known}>[{self.key}: {self.value}]" if known else f"object[{self.key}: {self.value}]"

    def field(self, name: str) -> Type | None:
        """The type of a known field, or None."""
        for known, kind in self.fields:
            if known == name:
                return kind
        return None


@dataclass(frozen=True, slots=True)
class Union:
    """One of several types."""

    of: tuple[Type, ...]

    def __str__(self) -> str:
        return "any<" + ", ".join(str(t) for t in self.of) + ">"


@dataclass(frozen=True, slots=True)
class Function:
    """A function: the types of its arguments and of its result."""

    args: tuple[Type, ...]
    result: Type

    def __str__(self) -> str:
        return "(" + ", ".join(str(t) for t in self.args) + ") => " + str(self.result)


Type: TypeAlias = Scalar | Anything | Array | SetOf | Mapping | Union | Function

NULL: Final = Scalar("null")
BOOLEAN: Final = Scalar("boolean")
NUMBER: Final = Scalar("number")
STRING: Final = Scalar("string")
ANY: Final = Anything()


def array_of(element: Type) -> Array:
    """An array of any length."""
    return Array((), element)


def tuple_of(*elements: Type) -> Array:
    """An array of exactly these elements."""
    return Array(tuple(elements))


def set_of(element: Type) -> SetOf:
    """A set."""
    return SetOf(element)


def object_of(key: Type, value: Type) -> Mapping:
    """An object with any number of entries."""
    return Mapping((), key, value)


def record(*, open_with: Type | None = None, **fields: Type) -> Mapping:
    """An object with exactly these fields; with `open_with`, further string keys of that type too."""
    known = tuple(sorted(fields.items()))
    return Mapping(known) if open_with is None else Mapping(known, ANY, open_with)


def any_of(*options: Type) -> Type:
    """One of several types; unions are flattened, and a single option is that option."""
    flat: list[Type] = []
    for option in options:
        flat.extend(option.of if isinstance(option, Union) else (option,))
    if any(option == ANY for option in flat):
        return ANY
    unique = tuple(dict.fromkeys(flat))
    return unique[0] if len(unique) == 1 else Union(unique)


ARRAY: Final = array_of(ANY)
SET: Final = set_of(ANY)
OBJECT: Final = object_of(ANY, ANY)


def kinds(of: Type) -> tuple[str, ...]:
    """The names of the kinds of values a type admits, as ``values.type_name`` gives them; empty for any."""
    match of:
        case Scalar(name):
            return (name,)
        case Array():
            return ("array",)
        case SetOf():
            return ("set",)
        case Mapping():
            return ("object",)
        case Union(options):
            found = [kinds(option) for option in options]
            return () if () in found else tuple(dict.fromkeys(name for names in found for name in names))
        case _:
            return ()
