"""Rego values as Python objects: their representation, equality, total order, text, and the way to and from JSON.

==========  =======================================================================
Rego        Python
==========  =======================================================================
null        ``None``
boolean     ``TRUE`` or ``FALSE`` (never Python's ``bool``: ``True == 1`` in Python,
            while in Rego ``true`` and ``1`` differ, in sets and as keys too)
number      ``int``, or ``decimal.Decimal`` where the number has a fraction or an
            exponent (never ``float``; numbers are as exact as their JSON text)
string      ``str``
array       ``tuple``
object      ``Object`` (a ``dict`` that cannot be changed and can be hashed)
set         ``Set`` (a ``frozenset`` that remembers its sorted order)
undefined   ``UNDEFINED``; it is not a value: never inside a collection
==========  =======================================================================

With this representation Python's ``==`` and ``hash`` *are* Rego's equality: ``1 == Decimal("1.0")``, and nothing
else is equal across types. Ordering is ``compare`` and ``sort_key``. Iterate over ``Object.pairs()`` and
``Set.ordered()``: OPA visits keys and elements in sorted order, and results may show that order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, NoReturn, TypeAlias

from watchkey.rego.errors import LimitExceeded, MalformedValue

MAX_NESTING: Final = 200
"""Levels of arrays and objects that a document from outside may have."""

MAX_DIGITS: Final = 4096
"""Decimal digits a number may have, and the largest decimal exponent either way."""

EXACT: Final = Context(prec=2 * MAX_DIGITS, Emax=10**9, Emin=-(10**9))
"""Context for decimal arithmetic that must not round."""


class Boolean:
    """One of Rego's two booleans; compare with ``is TRUE`` / ``is FALSE`` and build with ``boolean()``."""

    __slots__ = ("_held",)

    def __init__(self, held: bool) -> None:  # noqa: FBT001 - the value itself
        self._held = held

    def __bool__(self) -> bool:
        return self._held

    def __repr__(self) -> str:
        return "true" if self._held else "false"

    def __reduce__(self) -> tuple[Any, ...]:
        return boolean, (self._held,)


TRUE: Final = Boolean(True)
FALSE: Final = Boolean(False)


def boolean(held: object) -> Boolean:
    """Rego's boolean for a Python truth value."""
    return TRUE if held else FALSE


class Undefined:
    """The absence of a value; asking for its truth is a programming error and raises."""

    __slots__ = ()

    def __bool__(self) -> bool:
        message = "undefined has no truth value; compare with `is UNDEFINED`"
        raise TypeError(message)

    def __repr__(self) -> str:
        return "undefined"

    def __reduce__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = Undefined()


def _immutable(*_args: object, **_kwargs: object) -> NoReturn:
    message = "a Rego object cannot be changed"
    raise TypeError(message)


class Object(dict[Any, Any]):
    """A Rego object: an immutable mapping from any value to any value, hashable, iterated in sorted key order."""

    __slots__ = ("_hash", "_pairs", "weight")
    _hash: int
    _pairs: tuple[tuple[Any, Any], ...]
    weight: int

    def __hash__(self) -> int:  # type: ignore[override]  # dict declares it None; this dict never changes
        known: int | None = getattr(self, "_hash", None)
        if known is None:
            known = self._hash = hash(frozenset(self.items()))
        return known

    def pairs(self) -> tuple[tuple[Any, Any], ...]:
        """``(key, value)`` pairs in the order of the keys; computed once."""
        known: tuple[tuple[Any, Any], ...] | None = getattr(self, "_pairs", None)
        if known is None:
            known = self._pairs = tuple([(key, self[key]) for key in sort_values(self.keys())])
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return Object, (dict(self),)

    __setitem__ = __delitem__ = _immutable
    clear = pop = popitem = setdefault = update = __ior__ = _immutable


class Set(frozenset[Any]):
    """A Rego set: a frozenset that remembers its elements in sorted order."""

    __slots__ = ("_ordered", "weight")
    _ordered: tuple[Any, ...]
    weight: int

    def ordered(self) -> tuple[Any, ...]:
        """The elements in Rego's order; computed once."""
        known: tuple[Any, ...] | None = getattr(self, "_ordered", None)
        if known is None:
            known = self._ordered = tuple(sort_values(self))
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return Set, (list(self),)


EMPTY_OBJECT: Final = Object()
EMPTY_SET: Final = Set()

Value: TypeAlias = Boolean | int | Decimal | str | tuple[Any, ...] | Object | Set | None
"""A Rego value. Python cannot say it recursively without cost, so elements are typed ``Any``."""

PLAIN_TYPES: Final = frozenset({str, int, type(None), Boolean, Decimal})
NUMBER_TYPES: Final = frozenset({int, Decimal})
COLLECTION_TYPES: Final = frozenset({tuple, Object, Set})

_RANKS: Final[dict[type, int]] = {
    type(None): 0,
    Boolean: 1,
    int: 2,
    Decimal: 2,
    str: 3,
    tuple: 4,
    Object: 5,
    Set: 6,
}

_NAMES: Final = ("null", "boolean", "number", "string", "array", "object", "set")


def type_name(value: Value) -> str:
    """``null``, ``boolean``, ``number``, ``string``, ``array``, ``object`` or ``set``."""
    return _NAMES[_RANKS[type(value)]]


# --- order ---------------------------------------------------------------------------------------------------------


def sort_key(value: Value) -> tuple[Any, ...]:
    """A key under which Python sorts values in Rego's total order.

    null < boolean < number < string < array < object < set; arrays and sets element by element, then by length;
    objects pair by pair in key order, then by length.
    """
    kind = type(value)
    rank = _RANKS[kind]
    if rank in (2, 3):
        return (rank, value)
    if rank == 0:
        return (0,)
    if kind is Boolean:
        return (1, value is TRUE)
    if kind is tuple:
        return (4, tuple([sort_key(element) for element in value]))  # type: ignore[union-attr]  # kind says tuple
    if kind is Object:
        pairs = value.pairs()  # type: ignore[union-attr]  # kind says Object
        return (5, tuple([(sort_key(key), sort_key(item)) for key, item in pairs]))
    return (6, tuple([sort_key(element) for element in value.ordered()]))  # type: ignore[union-attr]  # a Set remains


def sort_values(values: Iterable[Any]) -> list[Any]:
    """The values in Rego's order."""
    found = list(values)
    kinds = {type(value) for value in found}
    if kinds <= {str} or kinds <= NUMBER_TYPES:
        found.sort()
    else:
        found.sort(key=sort_key)
    return found


def compare(left: Value, right: Value) -> int:
    """-1, 0 or 1 as `left` is before, equal to or after `right` in Rego's total order."""
    if left == right:
        return 0
    ranks = _RANKS[type(left)], _RANKS[type(right)]
    if ranks[0] != ranks[1]:
        return -1 if ranks[0] < ranks[1] else 1
    if ranks[0] in (2, 3):
        return -1 if left < right else 1  # type: ignore[operator]  # same rank: both numbers or both strings
    return -1 if sort_key(left) < sort_key(right) else 1


# --- numbers -------------------------------------------------------------------------------------------------------


def parse_number(text: str) -> int | Decimal:
    """The number that a JSON number text denotes, exactly.

    Raises LimitExceeded where it has more digits, or a larger exponent, than MAX_DIGITS.
    """
    if len(text) > MAX_DIGITS:
        message = f"a number has more than {MAX_DIGITS} digits"
        raise LimitExceeded(message)
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)
    except InvalidOperation:
        message = f"not a number: {text[:40]}"
        raise MalformedValue(message) from None
    return checked_number(number)


def checked_number(number: int | Decimal) -> int | Decimal:
    """The number itself if its magnitude is within bounds; raises LimitExceeded otherwise, MalformedValue for NaN."""
    if isinstance(number, int):
        if number.bit_length() > MAX_DIGITS * 3.33:
            message = f"a number has more than {MAX_DIGITS} digits"
            raise LimitExceeded(message)
        return number
    if not number.is_finite():
        message = f"not a number of JSON: {number}"
        raise MalformedValue(message)
    if number and abs(number.adjusted()) > MAX_DIGITS:
        message = f"a number has an exponent beyond {MAX_DIGITS}"
        raise LimitExceeded(message)
    return number


def integer_of(number: int | Decimal) -> int | None:
    """The integer a number is equal to (``1``, ``1.0``, ``1e3``), or None where it has a fraction."""
    if isinstance(number, int):
        return number
    return int(number) if number == number.to_integral_value() else None


def number_text(number: int | Decimal) -> str:
    """The number as JSON text: digits as they were written, exponents as Go writes them."""
    if isinstance(number, int):
        return str(number)
    text = format(number, "f") if -7 < number.adjusted() < 21 else str(number)
    mantissa, mark, exponent = text.partition("E")
    if not mark:
        return text
    sign = exponent[0] if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent.lstrip('+-').zfill(2)}"


# --- JSON ----------------------------------------------------------------------------------------------------------


def from_json(document: object, *, _level: int = 0) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """A Rego value from what ``json.loads`` gives (dict, list, str, int, float, Decimal, bool, None) or a Rego value.

    Raises MalformedValue for any other type, NaN, infinities and keys that are not strings; LimitExceeded for
    documents nested deeper than MAX_NESTING and numbers beyond MAX_DIGITS.
    """
    kind = type(document)
    if kind is str or document is None:
        return document
    if kind is dict:
        return _object_from_json(document, _level + 1)  # type: ignore[arg-type]  # kind says dict
    if kind is list:
        return _array_from_json(document, _level + 1)  # type: ignore[arg-type]  # kind says list
    if kind is bool:
        return TRUE if document else FALSE
    if kind is int:
        return checked_number(document)  # type: ignore[arg-type]  # kind says int
    if kind is Object or kind is Set or kind is Boolean:
        return document
    return _uncommon_from_json(document, _level)


_PLAIN: Final = frozenset({str, type(None)})
_SMALL: Final = 1 << 62


def _object_from_json(document: Mapping[Any, Any], level: int) -> Object:
    """The loop repeats what from_json does for scalars: this is where an evaluation spends most of its time."""
    if level > MAX_NESTING:
        raise _too_deep()
    frozen = {}
    for key, item in document.items():
        if type(key) is not str:
            message = f"an object key is not a string: {key!r:.40}"
            raise MalformedValue(message)
        kind = type(item)
        if kind in _PLAIN or (kind is int and -_SMALL < item < _SMALL):
            frozen[key] = item
        else:
            frozen[key] = from_json(item, _level=level)
    return Object(frozen)


def _array_from_json(document: Iterable[Any], level: int) -> tuple[Any, ...]:
    if level > MAX_NESTING:
        raise _too_deep()
    return tuple([item if type(item) is str else from_json(item, _level=level) for item in document])


def _too_deep() -> LimitExceeded:
    return LimitExceeded(f"a document is nested deeper than {MAX_NESTING} levels")


def _uncommon_from_json(document: object, level: int) -> Any:  # noqa: PLR0911 - one return for each kind of value
    """What is not one of the plain JSON types: floats, Rego values, subclasses of dict, list, str and int."""
    if isinstance(document, float):
        return checked_number(Decimal(repr(float(document))))
    if isinstance(document, Decimal):
        return checked_number(document)
    if isinstance(document, Boolean | Object | Set):
        return document
    if isinstance(document, Mapping):
        return _object_from_json(document, level + 1)
    if isinstance(document, list | tuple):
        return _array_from_json(document, level + 1)
    if isinstance(document, str):
        return str(document)
    if isinstance(document, int):
        return checked_number(int(document))
    message = f"a {type(document).__name__} is not a JSON value"
    raise MalformedValue(message)


def to_json(value: Any) -> Any:
    """A value as plain Python for ``json.dumps``: sets become sorted lists, other keys than strings their JSON text.

    A number with a fraction becomes a ``float``; use ``json_text`` where every digit counts.
    """
    kind = type(value)
    if kind is str or kind is int or value is None:
        return value
    if kind is Boolean:
        return value is TRUE
    if kind is tuple:
        return [to_json(element) for element in value]
    if kind is Object:
        return {key: to_json(item) for key, item in text_pairs(value)}
    if kind is Set:
        return [to_json(element) for element in value.ordered()]
    if kind is Decimal:
        return float(value)
    message = f"not a Rego value: {kind.__name__}"
    raise MalformedValue(message)


def text_pairs(value: Object) -> list[tuple[str, Any]]:
    """The entries of an object with their keys as JSON text has them, sorted by that text."""
    pairs = [(key_text(key), item) for key, item in value.pairs()]
    if not all(type(key) is str for key in value):
        pairs.sort(key=lambda pair: pair[0])
    return pairs


def key_text(key: Any) -> str:
    """An object key as JSON needs it: a string as it is, any other value as its JSON text, as Go writes it."""
    return key if type(key) is str else json_text(key).translate(_GO_ESCAPES)


_GO_ESCAPES: Final = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}
"""What Go's JSON escapes so that it may stand in HTML."""


def json_text(value: Any) -> str:
    """Compact JSON text, keys sorted, every number with all its digits."""
    kind = type(value)
    if kind is str:
        return json.dumps(value, ensure_ascii=False)
    if kind is tuple:
        return "[" + ",".join([json_text(element) for element in value]) + "]"
    if kind is Object:
        pairs = [f"{json_text(key)}:{json_text(item)}" for key, item in text_pairs(value)]
        return "{" + ",".join(pairs) + "}"
    if kind is Set:
        return "[" + ",".join([json_text(element) for element in value.ordered()]) + "]"
    return scalar_text(value)


def parse_json(text: str) -> Any:
    """The value of a JSON text, exact in its numbers.

    Raises MalformedValue where the text is not JSON, LimitExceeded where it is too deep or its numbers are too large.
    """
    try:
        document = json.loads(text, parse_float=parse_number, parse_int=parse_number, parse_constant=_no_constant)
    except RecursionError:
        message = f"a document is nested deeper than {MAX_NESTING} levels"
        raise LimitExceeded(message) from None
    except ValueError as problem:
        message = f"not JSON: {problem}"
        raise MalformedValue(message) from None
    return from_json(document)


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


# --- text ----------------------------------------------------------------------------------------------------------


def scalar_text(value: Any) -> str:
    """null, booleans and numbers as text."""
    if value is None:
        return "null"
    return repr(value) if type(value) is Boolean else number_text(value)


def value_text(value: Any) -> str:
    """A value as Rego source shows it: ``{"a": [1, true]}``, ``{1, 2}``, ``set()``; the form of print and sprintf."""
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is tuple:
        return "[" + ", ".join([value_text(element) for element in value]) + "]"
    if kind is Object:
        return "{" + ", ".join([f"{value_text(key)}: {value_text(item)}" for key, item in value.pairs()]) + "}"
    if kind is Set:
        return "{" + ", ".join([value_text(element) for element in value.ordered()]) + "}" if value else "set()"
    if value is UNDEFINED:
        return "undefined"
    return scalar_text(value)


_ESCAPES: Final = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def quoted(text: str) -> str:
    """A string in double quotes with Go's escapes, printable characters as they are."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join([_escaped(character) for character in text]) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
