"""What generated code calls while it runs: the state of one evaluation, look-ups, iteration, and merged documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.errors import NOWHERE, EvaluationError, LimitExceeded, Location
from watchkey.rego.values import (
    COLLECTION_TYPES,
    EMPTY_OBJECT,
    PLAIN_TYPES,
    UNDEFINED,
    Object,
    Set,
    compare,
    from_json,
    integer_of,
    sort_values,
    value_text,
)
from watchkey.rego.weights import charge, same, weigh


class Unset:
    """Marks a rule that has not been evaluated yet."""

    __slots__ = ()


UNSET: Final = Unset()
CONFLICT: Final = "eval_conflict_error"


NO_MOCKS: Final[Mapping[str, Any]] = MappingProxyType({})


_SHARED: Final = (
    "budget", "cache", "host", "max_size", "now_ns", "prints", "seed", "strict", "taken", "trace", "weights",
)  # fmt: skip
"""What a state under ``with`` has in common with the one around it."""


class Budget:
    """Steps that are left; shared by an evaluation and the evaluations it opens with ``with``."""

    __slots__ = ("left",)

    def __init__(self, steps: int) -> None:
        self.left = steps

    def exhausted(self) -> None:
        """Raise LimitExceeded."""
        self.left = 0
        message = "the step budget is used up"
        raise LimitExceeded(message)


class State:
    """One evaluation: its documents, what has been computed so far, and its bounds."""

    __slots__ = (
        "budget",
        "cache",
        "data",
        "frozen",
        "host",
        "input",
        "max_size",
        "memo",
        "mocks",
        "now_ns",
        "presets",
        "prints",
        "seed",
        "strict",
        "taken",
        "trace",
        "weights",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - one is made for each decision, and a call by name costs more
        self, slots: int, data: Object, document: Any, steps: int, max_size: int, now_ns: int | None = None,
        seed: bytes | None = None, host: Any = None, strict: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> None:  # fmt: skip
        self.memo: list[Any] = [UNSET] * slots
        self.data = data
        self.input = document
        self.frozen = type(document) is Object
        self.budget = Budget(steps)
        self.max_size = max_size
        self.mocks: Mapping[str, Any] = NO_MOCKS
        self.presets: tuple[tuple[int, Any], ...] = ()
        self.cache: dict[Any, Any] = {}
        self.prints: list[tuple[Any, str]] = []
        self.now_ns = now_ns
        self.seed = seed
        self.host = host
        self.strict = strict
        self.trace: Any = None
        self.weights: dict[int, tuple[Any, int]] = {}
        self.taken: dict[int, tuple[Any, Any]] = {}

    # --- for built-ins (builtins.CallContext) ------------------------------------------------------------------------

    def spend(self, steps: int) -> None:
        """Pay for work."""
        budget = self.budget
        budget.left -= steps
        if budget.left < 0:
            budget.exhausted()

    def check_size(self, size: int) -> None:
        """Refuse results that are too large, and pay for building the others."""
        if size > self.max_size:
            message = f"a result would have {size} characters or elements, more than {self.max_size}"
            raise LimitExceeded(message)
        self.spend(size >> 6)

    # --- with --------------------------------------------------------------------------------------------------------

    def derive(self, changes: list[tuple[Any, ...]]) -> State:
        """A state with other documents or functions, which has computed nothing yet.

        `changes`: ``("input", path, value)``, ``("data", path, value, slots)``, ``("function", name, replacement)``,
        and ``("functions",)``: none replaced, which is how a replacement itself runs.
        """
        other = State.__new__(State)
        for name in (
            "budget",
            "cache",
            "host",
            "max_size",
            "now_ns",
            "prints",
            "seed",
            "strict",
            "taken",
            "trace",
            "weights",
        ):
            setattr(other, name, getattr(self, name))
        other.memo = [UNSET] * len(self.memo)
        other.data, other.mocks, other.presets = self.data, self.mocks, self.presets
        other.input, other.frozen = self.input, self.frozen
        for change in changes:
            other.apply(change)
        for slot, value in other.presets:
            other.memo[slot] = value
        self.spend(1 + (len(other.memo) >> 6))
        return other

    def apply(self, change: tuple[Any, ...]) -> None:
        """Make one change of `derive`."""
        kind = change[0]
        if kind == "input":
            base = UNDEFINED if self.input is UNDEFINED else take(self, self.input)
            self.input, self.frozen = replaced(base, change[1], change[2]), True
        elif kind == "function":
            self.mocks = {**self.mocks, change[1]: change[2]}
        elif kind == "functions":
            self.mocks = NO_MOCKS
        else:
            path, value, slots = change[1:]
            document = replaced(self.data, path, value)
            self.data = document if type(document) is Object else EMPTY_OBJECT
            self.presets = (*self.presets, *[(slot, nested(value, rest)) for slot, rest in slots])


def replaced(base: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The document with the value at `path`; what is in the way is replaced by objects."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    known = base.get(key, UNDEFINED) if type(base) is Object else UNDEFINED
    merged = dict(base) if type(base) is Object else {}
    merged[key] = replaced(known, rest, value)
    return Object(merged)


def nested(value: Any, path: Iterable[Any]) -> Any:
    """The part of a value at a path, or UNDEFINED."""
    for key in path:
        value = deref(value, key)
        if value is UNDEFINED:
            return UNDEFINED
    return value


# --- look-ups and iteration ------------------------------------------------------------------------------------------


def deref(value: Any, key: Any) -> Any:
    """``value[key]``, or UNDEFINED."""
    kind = type(value)
    if kind is Object:
        return value.get(key, UNDEFINED)
    if kind is tuple:
        index = key if type(key) is int else integer_of(key) if type(key) is Decimal else None
        return value[index] if index is not None and 0 <= index < len(value) else UNDEFINED
    if kind is Set:
        return key if key in value else UNDEFINED
    return UNDEFINED


def look_up(st: State, value: Any, key: Any) -> Any:
    """``value[key]`` where the key may be a composite."""
    if type(key) not in PLAIN_TYPES:
        charge(st, key)
    return deref(value, key)


def pairs(st: State, value: Any) -> Iterable[tuple[Any, Any]]:
    """Keys and values of a collection, in order; a set's elements are their own keys. Costs a step each."""
    kind = type(value)
    if kind not in COLLECTION_TYPES:
        return ()
    budget = st.budget
    budget.left -= len(value)
    if budget.left < 0:
        budget.exhausted()
    if kind is tuple:
        return enumerate(value)
    if kind is Object:
        found: Iterable[tuple[Any, Any]] = value.pairs()
        return found
    return [(element, element) for element in value.ordered()]


def items(st: State, value: Any) -> Iterable[Any]:
    """Values of a collection, in the order of their keys. Costs a step each."""
    kind = type(value)
    if kind not in COLLECTION_TYPES:
        return ()
    budget = st.budget
    budget.left -= len(value)
    if budget.left < 0:
        budget.exhausted()
    if kind is tuple:
        return value  # type: ignore[no-any-return]  # kind says tuple
    if kind is Object:
        return [item for _, item in value.pairs()]
    ordered: Iterable[Any] = value.ordered()
    return ordered


# --- the input, read where it lies -----------------------------------------------------------------------------------
#
# The input arrives as plain Python and is not frozen as a whole: what is only looked into is read where it lies, and a
# part is frozen when its value is needed. A name that holds such a part holds either plain Python or a Rego value.


def take(st: State, part: Any) -> Any:
    """The Rego value of a part of the input of `st`; a composite is frozen once in an evaluation."""
    if st.frozen:
        return part
    kind = type(part)
    if kind is not dict and kind is not list and kind is not tuple:
        return from_json(part)
    known = st.taken.get(id(part))
    if known is None:
        known = st.taken[id(part)] = (part, from_json(part))
    return known[1]


def input_path(st: State, path: tuple[str, ...]) -> Any:
    """A part of the input for which Python's own look-up found nothing: elements of sets are their own keys."""
    return nested(st.input, path) if st.frozen else UNDEFINED


def raw_look_up(st: State, value: Any, key: Any) -> Any:
    """``value[key]`` in a part of the input."""
    kind, of = type(value), type(key)
    if kind is dict and of is str:
        return value.get(key, UNDEFINED)
    if kind is list and of is int:
        return value[key] if 0 <= key < len(value) else UNDEFINED
    return look_up(st, take(st, value), key)


def raw_items(st: State, value: Any) -> Iterable[Any]:
    """As `items`, of a part of the input."""
    if type(value) is list:
        budget = st.budget
        budget.left -= len(value)
        if budget.left < 0:
            budget.exhausted()
        return value
    return items(st, take(st, value))


def raw_pairs(st: State, value: Any) -> Iterable[tuple[Any, Any]]:
    """As `pairs`, of a part of the input."""
    return enumerate(raw_items(st, value)) if type(value) is list else pairs(st, take(st, value))


# --- comparisons -----------------------------------------------------------------------------------------------------


def less(st: State, left: Any, right: Any) -> bool:
    """``left < right`` in Rego's order."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is str):
        return bool(left < right)
    _pay_for_order(st, left, right)
    return compare(left, right) < 0


def at_most(st: State, left: Any, right: Any) -> bool:
    """``left <= right`` in Rego's order."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is str):
        return bool(left <= right)
    _pay_for_order(st, left, right)
    return compare(left, right) <= 0


def _pay_for_order(st: State, left: Any, right: Any) -> None:
    if type(left) not in PLAIN_TYPES and type(left) is type(right):
        charge(st, left)
        charge(st, right)


def member(st: State, element: Any, collection: Any) -> bool:
    """``element in collection``."""
    kind = type(collection)
    if type(element) not in PLAIN_TYPES:
        charge(st, element)
        if kind is tuple or kind is Object:
            return any(same(st, element, each) for each in (collection if kind is tuple else collection.values()))
    if kind is Set:
        return element in collection
    if kind is tuple or kind is Object:
        st.spend(len(collection) >> 3)
    if kind is tuple:
        return element in collection
    return kind is Object and element in collection.values()


# --- building --------------------------------------------------------------------------------------------------------


def put(st: State, out: dict[Any, Any], key: Any, value: Any, at: Location = NOWHERE) -> None:
    """Add an entry to an object under construction."""
    if type(key) not in PLAIN_TYPES:
        charge(st, key)
    known = out.setdefault(key, value)
    if known is not value and (known != value if type(known) in PLAIN_TYPES else not same(st, known, value)):
        message = "object keys must be unique"
        raise EvaluationError(CONFLICT, message, at)


def add(st: State, out: set[Any], element: Any) -> None:
    """Add an element to a set under construction."""
    if type(element) not in PLAIN_TYPES:
        charge(st, element)
    out.add(element)


class Building(dict[Any, Any]):
    """An object under construction inside another one."""


def put_path(out: dict[Any, Any], path: tuple[Any, ...], value: Any) -> None:
    """Add a value under a path of keys."""
    inner = _inner(out, path[:-1])
    known = inner.get(path[-1], UNDEFINED)
    if known is UNDEFINED:
        inner[path[-1]] = value
    elif isinstance(known, Building | set) or known != value:
        message = "object keys must be unique"
        raise EvaluationError(CONFLICT, message)


def add_path(out: dict[Any, Any], path: tuple[Any, ...], element: Any) -> None:
    """Add an element to the set under a path of keys."""
    inner = _inner(out, path[:-1])
    known = inner.setdefault(path[-1], set())
    if not isinstance(known, set):
        message = "object keys must be unique"
        raise EvaluationError(CONFLICT, message)
    known.add(element)


def merge_path(out: dict[Any, Any], key: Any, value: Any) -> None:
    """Add the document of a rule further down: objects are merged, other values must not be there yet."""
    known = out.get(key, UNDEFINED)
    if type(value) is Object and isinstance(known, Building):
        for inner, item in value.items():
            merge_path(known, inner, item)
    elif type(value) is Set and type(known) is set:
        known |= value
    elif known is UNDEFINED:
        out[key] = _opened(value) if type(value) is Object else value
    elif isinstance(known, Building | set) or known != value:
        message = "object keys must be unique"
        raise EvaluationError(CONFLICT, message)


def _opened(value: Object) -> Building:
    built = Building()
    for key, item in value.items():
        built[key] = _opened(item) if type(item) is Object else item
    return built


def _inner(out: dict[Any, Any], path: tuple[Any, ...]) -> dict[Any, Any]:
    for key in path:
        known = out.setdefault(key, Building())
        if not isinstance(known, Building):
            message = "object keys must be unique"
            raise EvaluationError(CONFLICT, message)
        out = known
    return out


def built(out: dict[Any, Any]) -> Object:
    """The finished object."""
    return Object(
        {
            key: built(item) if isinstance(item, Building) else Set(item) if type(item) is set else item
            for key, item in out.items()
        }
    )


def conflict(at: Location, name: str) -> None:
    """Two bodies of a complete rule gave different values."""
    message = f"complete rules must not produce multiple outputs: rule {name} produced conflicting values"
    raise EvaluationError(CONFLICT, message, at)


def function_conflict(at: Location, name: str) -> None:
    """Two bodies of a function gave different values."""
    message = "functions must not produce multiple outputs for same inputs"
    raise EvaluationError(CONFLICT, f"{message}: function {name} produced conflicting values for the same inputs", at)


# --- documents with rules below them ---------------------------------------------------------------------------------


class Place:
    """A place in the tree under ``data`` below which rules stand: the run-time face of a RuleNode."""

    __slots__ = ("children", "evaluate", "path")

    def __init__(self, path: tuple[Any, ...]) -> None:
        self.path = path
        self.children: dict[Any, Place] = {}
        self.evaluate: Callable[[State], Any] | None = None


class Virtual:
    """A document under ``data`` that is looked into before it is computed as a whole."""

    __slots__ = ("base", "place")

    def __init__(self, place: Place, base: Any) -> None:
        self.place = place
        self.base = base


def enter(st: State, place: Place) -> Any:
    """The document at a place."""
    if place.evaluate is not None:
        return place.evaluate(st)
    return Virtual(place, nested(st.data, place.path))


def virtual_get(st: State, value: Any, key: Any) -> Any:
    """``value[key]`` where the value may be a Virtual; gives a value, a Virtual or UNDEFINED."""
    if type(value) is not Virtual:
        return deref(value, key)
    base = base_get(value.base, key)
    place = value.place.children.get(key)
    if place is None:
        return base
    return place.evaluate(st) if place.evaluate is not None else Virtual(place, base)


def base_get(base: Any, key: Any) -> Any:
    """A look-up in plain data, where a number also names the field of that text."""
    found = deref(base, key)
    if found is UNDEFINED and type(base) is Object and type(key) is int:
        return base.get(str(key), UNDEFINED)
    return found


def base_path(document: Object, path: Iterable[Any]) -> Any:
    """The part of plain data at a path, or UNDEFINED."""
    value: Any = document
    for key in path:
        value = base_get(value, key)
        if value is UNDEFINED:
            return UNDEFINED
    return value


def virtual_pairs(st: State, value: Any) -> Iterable[tuple[Any, Any]]:
    """Keys and values (or Virtuals) where the value may be a Virtual."""
    if type(value) is not Virtual:
        return pairs(st, value)
    base = value.base
    if type(base) is tuple and not value.place.children:
        return pairs(st, base)
    keys = set(value.place.children)
    if type(base) is Object:
        keys |= base.keys()
    st.spend(len(keys))
    found = [(key, virtual_get(st, value, key)) for key in sort_values(keys)]
    return [(key, item) for key, item in found if item is not UNDEFINED]


def settle(st: State, value: Any) -> Any:
    """The whole value of what may be a Virtual."""
    if type(value) is not Virtual:
        return value
    merged = dict(value.base) if type(value.base) is Object else {}
    for key, place in value.place.children.items():
        item = place.evaluate(st) if place.evaluate is not None else settle(st, virtual_get(st, value, key))
        if item is not UNDEFINED:
            merged[key] = over(merged[key], item) if key in merged else item
    st.spend(1 + (len(merged) >> 6))
    return Object(merged)


def over(base: Any, computed: Any) -> Any:
    """Plain data laid over a computed document at the same place: objects merge, elsewhere the data stands."""
    if type(base) is not Object or type(computed) is not Object:
        return base
    merged = dict(computed)
    for key, item in base.items():
        merged[key] = over(item, merged[key]) if key in merged else item
    return Object(merged)


# --- calls -----------------------------------------------------------------------------------------------------------


def call_mocked(st: State, name: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that ``with`` may have replaced."""
    replacement = st.mocks.get(name, UNSET)
    if replacement is UNSET:
        return function(st, *args)
    if type(replacement) is Replacement:
        return replacement.function(st.derive([("functions",)]), *args)
    return replacement


class Replacement:
    """A function that stands in for another."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
    """A built-in's call that turns its errors into UNDEFINED, or into the end of a strict evaluation."""

    def run(st: State, *args: Any) -> Any:
        try:
            result = call(st, *args)
        except BuiltinError as problem:
            if st.strict:
                raise EvaluationError(problem.code, str(problem)) from None
            return UNDEFINED
        if type(result) in COLLECTION_TYPES:
            weigh(st, result)
        return result

    return run


def remembered(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """A call whose result is kept for the rest of the evaluation."""

    def run(st: State, *args: Any) -> Any:
        key = (name, args)
        if key not in st.cache:
            st.cache[key] = call(st, *args)
        return st.cache[key]

    return run


def template_text(value: Any) -> str:
    """A value inside a template string."""
    if value is UNDEFINED:
        return "<undefined>"
    return value if type(value) is str else value_text(value)


def joined(st: State, texts: tuple[str, ...]) -> str:
    """The text of a template string."""
    st.check_size(sum([len(text) for text in texts]))
    return "".join(texts)


def only(known: Any, value: Any) -> Any:
    """The value of a part of a template string, which must be one."""
    if known is not UNDEFINED and known != value:
        message = "template-strings must not produce multiple outputs"
        raise EvaluationError(CONFLICT, message)
    return value


def printed(st: State, at: Location, values: tuple[Any, ...]) -> None:
    """Keep a line that the policy prints."""
    text = " ".join([template_text(value) for value in values])
    st.check_size(len(text) + len(st.prints))
    st.prints.append((at, text))


def member_pair(st: State, key: Any, value: Any, collection: Any) -> bool:
    """``key, value in collection``."""
    found = look_up(st, collection, key)
    if found is UNDEFINED:
        return False
    return bool(found == value) if type(found) in PLAIN_TYPES else same(st, found, value)
