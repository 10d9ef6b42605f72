"""Calls built-ins as the evaluator does, with plain Python values, for the tests of every family."""

from __future__ import annotations

from typing import Any

from watchkey.rego.builtins import registered
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import UNDEFINED, Boolean, Object, Set, boolean, from_json, parse_json

NOW_NS = 1_700_000_000_123_456_789


class Context:
    """An evaluation's side of a call, with a budget of its own."""

    def __init__(self, steps: int = 5_000_000, max_size: int = 1_000_000, now_ns: int | None = NOW_NS) -> None:
        self.now_ns = now_ns
        self.seed: bytes | None = b"seed"
        self.host = None
        self.cache: dict[Any, Any] = {}
        self.max_size = max_size
        self.left = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise LimitExceeded("the step budget is used up")

    def check_size(self, size: int) -> None:
        if size > self.max_size:
            raise LimitExceeded("a result is too large")


def rego(value: Any) -> Any:
    """A Rego value for plain Python, sets included."""
    if isinstance(value, Boolean | Object | Set):
        return value
    if isinstance(value, bool):
        return boolean(value)
    if isinstance(value, set | frozenset):
        return Set([rego(each) for each in value])
    if isinstance(value, list | tuple):
        return tuple([rego(each) for each in value])
    if isinstance(value, dict):
        return Object({rego(key): rego(item) for key, item in value.items()})
    return from_json(value)


def json_value(text: str) -> Any:
    """A Rego value for a JSON text, exact in its numbers."""
    return parse_json(text)


def call(name: str, *args: Any, ctx: Context | None = None) -> Any:
    """What the built-in answers."""
    return registered()[name].call(ctx or Context(), *[rego(arg) for arg in args])


def is_undefined(value: Any) -> bool:
    """Whether the call had no answer and no error."""
    return value is UNDEFINED
