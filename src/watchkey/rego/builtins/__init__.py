"""The registry of built-in functions, and everything that a module of built-ins needs.

Writing a built-in
==================
One module per family, ``builtins/<family>.py``; the registry imports every module listed in ``FAMILIES`` below, so
a new family is one file and one line. A built-in is a plain function under ``@builtin``::

    @builtin("strings.count", (STRING, STRING), NUMBER)
    def strings_count(search: str, part: str) -> int:
        return search.count(part)

    @builtin("numbers.range", (NUMBER, NUMBER), array_of(NUMBER), context=True)
    def numbers_range(ctx: CallContext, start: Number, end: Number) -> tuple[int, ...]:
        ...
        ctx.spend(length)

**Values in and out** are those of ``watchkey.rego.values``: ``TRUE``/``FALSE`` (never Python's booleans; write
``return boolean(a in b)``), ``int`` or ``Decimal`` (never ``float``), ``str``, ``tuple``, ``Object``, ``Set``,
``None`` for null. They are immutable. Iterate over ``Object.pairs()`` and ``Set.ordered()``.

**Types** are those of ``watchkey.rego.types``: ``STRING``, ``NUMBER``, ``BOOLEAN``, ``NULL``, ``ANY``, ``ARRAY``,
``OBJECT``, ``SET``, ``array_of(t)``, ``set_of(t)``, ``object_of(k, v)``, ``tuple_of(t, ...)``, ``record(a=t)``,
``any_of(t, ...)``. The compiler checks calls against them. At run time the *kind* of each argument (string, array,
...) has been checked before the function is called, against the declared types, with OPA's error text; give
``operands=`` where OPA's check is laxer or lists the kinds in another order. What is *inside* a collection has not
been checked: use ``strings_in``, ``element_error`` and the like.

**Failing.** ``raise BuiltinError("text")`` (or ``OperandError`` for a wrong type): the expression is undefined, or the
evaluation ends where errors are strict. ``return UNDEFINED``: undefined, and never an error. The text is OPA's
without the leading ``name: ``, which the registry adds. Python errors must not escape: catch what the libraries you
call raise. (UnicodeError, from a lone surrogate, is turned into a BuiltinError for you.)

**Cost.** Each call costs one step, plus one for each 64 characters or elements of its arguments unless
``cost=CONSTANT``. Work that is not linear in the arguments is paid for with ``ctx.spend(n)`` *before* it is done.
A result that may be larger than the arguments is announced with ``ctx.check_size(n)`` before it is built (characters
or elements). Both raise LimitExceeded, which must pass through.

**Outside the policy.** ``time.now_ns`` is ``ctx.now_ns``; nothing reads a clock, a random source, a file or a socket.
A built-in that has to reach outside is only *declared*, with ``declare_host``: it is a compile error unless the host
supplies it. ``needs_seed=True`` marks the ones that draw random numbers: they exist only for a policy that is
evaluated with a seed. ``deterministic=False``: the result is kept for the rest of the evaluation, so that the same
call gives the same answer.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from watchkey.rego.errors import BuiltinError, LimitExceeded, OperandError
from watchkey.rego.types import Type, kinds
from watchkey.rego.values import UNDEFINED, Boolean, Object, Set, type_name

__all__ = [
    "CONSTANT",
    "FAMILIES",
    "LINEAR",
    "UNDEFINED",
    "Builtin",
    "BuiltinError",
    "CallContext",
    "LimitExceeded",
    "Number",
    "OperandError",
    "builtin",
    "declare_host",
    "element_error",
    "integer_operand",
    "load_all",
    "operand_error",
    "registered",
    "strings_in",
]

FAMILIES: Final = (
    "aggregates",
    "casts",
    "certificates",
    "collections",
    "digests",
    "encoding",
    "formatting",
    "graphql_queries",
    "graphs",
    "hosts",
    "identifiers",
    "json_edits",
    "json_schema",
    "jwt",
    "networks",
    "operators",
    "patterns",
    "reflection",
    "strings",
    "templates",
    "times",
    "units",
    "uris",
    "versions",
)
"""Modules of this package that declare built-ins."""

Number: TypeAlias = int | Decimal
F = TypeVar("F", bound=Callable[..., Any])

CONSTANT: Final = "constant"
LINEAR: Final = "linear"

_CHARGE_SHIFT: Final = 6


class CallContext(Protocol):
    """What a built-in may ask of the evaluation that calls it."""

    now_ns: int | None
    """Nanoseconds since 1970, the same for a whole evaluation; None where the caller gave no time."""
    seed: bytes | None
    """Seed of the random built-ins; None where there is none."""
    host: Any
    """What the caller passed for its host functions."""
    cache: dict[Any, Any]
    """Results that must stay the same within one evaluation; key with a tuple that starts with the built-in's name."""
    max_size: int
    """Characters of a string, or elements of a collection, that a result may have."""

    def spend(self, steps: int) -> None:
        """Pay for work; raises LimitExceeded when the budget is used up."""

    def check_size(self, size: int) -> None:
        """Announce a result of that many characters or elements; raises LimitExceeded when it is too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """One built-in: its name, its signature and the function that computes it (None: the host supplies it)."""

    name: str
    args: tuple[Type, ...]
    result: Type
    function: Callable[..., Any] | None
    context: bool = False
    deterministic: bool = True
    cost: str = LINEAR
    needs_seed: bool = False
    operands: tuple[tuple[str, ...], ...] = ()
    infix: str = ""
    relation: bool = False
    """Yields several answers in turn (only ``walk``): the function returns an iterable of values."""
    call: Callable[..., Any] = field(default=lambda *_args: UNDEFINED, compare=False)
    """``call(ctx, *args)``: checks the kinds of the arguments, charges for the call, and computes."""

    @property
    def arity(self) -> int:
        """Number of arguments."""
        return len(self.args)


_REGISTRY: Final[dict[str, Builtin]] = {}


def builtin(  # noqa: PLR0913 - a declaration with optional parts, each named
    name: str,
    args: Iterable[Type],
    result: Type,
    *,
    context: bool = False,
    deterministic: bool = True,
    cost: str = LINEAR,
    needs_seed: bool = False,
    operands: Iterable[tuple[str, ...]] = (),
    infix: str = "",
    relation: bool = False,
) -> Callable[[F], F]:
    """Register the decorated function as a built-in; see the module's text.

    `context`: the function takes the CallContext first. `operands`: for each argument the kinds that pass the check at
    run time, in the order of the error text, ``()`` for any; by default those of `args`. `infix`: the operator.
    """

    def register(function: F) -> F:
        types = tuple(args)
        checked = tuple(operands) or tuple(kinds(each) for each in types)
        made = Builtin(
            name=name,
            args=types,
            result=result,
            function=function,
            context=context,
            deterministic=deterministic,
            cost=cost,
            needs_seed=needs_seed,
            operands=checked,
            infix=infix,
            relation=relation,
            call=_checked_call(name, function, checked, context=context, cost=cost),
        )
        _add(made)
        return function

    return register


def declare_host(name: str, args: Iterable[Type], result: Type) -> None:
    """Register a built-in of OPA that only the host can supply; without the host it is unknown to the compiler."""
    _add(Builtin(name=name, args=tuple(args), result=result, function=None, deterministic=False))


def _add(made: Builtin) -> None:
    if made.name in _REGISTRY:
        message = f"the built-in {made.name} is declared twice"
        raise ValueError(message)
    _REGISTRY[made.name] = made


def load_all() -> None:
    """Import every family, once."""
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")


def registered() -> dict[str, Builtin]:
    """Every built-in by name, all families loaded."""
    load_all()
    return dict(_REGISTRY)


# --- the call, with its checks ---------------------------------------------------------------------------------------

_TYPES_OF_KIND: Final[dict[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "boolean": (Boolean,),
    "number": (int, Decimal),
    "string": (str,),
    "array": (tuple,),
    "object": (Object,),
    "set": (Set,),
}

_SIZED: Final = frozenset({str, tuple, Object, Set})


def _checked_call(
    name: str, function: Callable[..., Any], operands: tuple[tuple[str, ...], ...], *, context: bool, cost: str
) -> Callable[..., Any]:
    checks = [
        (position, frozenset(t for kind in wanted for t in _TYPES_OF_KIND[kind]), wanted)
        for position, wanted in enumerate(operands)
        if wanted
    ]
    linear = cost == LINEAR

    def call(ctx: CallContext, *args: Any) -> Any:
        for position, allowed, wanted in checks:
            if type(args[position]) not in allowed:
                raise OperandError(f"{name}: {_operand_text(position + 1, args[position], wanted)}")
        if linear:
            ctx.spend(1 + (sum([len(arg) for arg in args if type(arg) in _SIZED]) >> _CHARGE_SHIFT))
        try:
            return function(ctx, *args) if context else function(*args)
        except BuiltinError as problem:
            raise type(problem)(f"{name}: {problem}") from None
        except UnicodeError:
            message = f"{name}: a string has a character that cannot be encoded"
            raise BuiltinError(message) from None

    return call


def _operand_text(position: int, value: Any, wanted: tuple[str, ...]) -> str:
    expected = wanted[0] if len(wanted) == 1 else "one of {" + ", ".join(wanted) + "}"
    return f"operand {position} must be {expected} but got {type_name(value)}"


def operand_error(position: int, value: Any, *wanted: str) -> OperandError:
    """Argument `position` (from 1) is not of a kind it must have."""
    return OperandError(_operand_text(position, value, wanted))


def element_error(position: int, collection: Any, element: Any, *wanted: str) -> OperandError:
    """Argument `position` (from 1) is a collection with an element of a kind it must not have."""
    expected = wanted[0] if len(wanted) == 1 else "(any of) {" + ", ".join(wanted) + "}"
    kind = type_name(collection)
    return OperandError(
        f"operand {position} must be {kind} of {expected}s but got {kind} containing {type_name(element)}"
    )


def strings_in(position: int, collection: Any) -> list[str]:
    """The elements of an array or set, in order, which must be strings."""
    elements = collection if type(collection) is tuple else collection.ordered()
    for element in elements:
        if type(element) is not str:
            raise element_error(position, collection, element, "string")
    return list(elements)


def integer_operand(position: int, number: Number) -> int:
    """The integer that argument `position` is (``1.0`` is one), an OperandError where it has a fraction or exponent."""
    if type(number) is Decimal and number.as_tuple().exponent == -1 and number == number.to_integral_value():
        return int(number)
    if type(number) is not int:
        message = f"operand {position} must be integer number but got floating-point number"
        raise OperandError(message)
    return number
