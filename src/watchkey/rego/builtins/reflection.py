"""Built-ins about the policy itself: rego.metadata.* and rego.parse_module."""

from __future__ import annotations

from typing import Any

from watchkey.rego.builtins import BuiltinError, CallContext, builtin
from watchkey.rego.errors import RegoErrors
from watchkey.rego.parse_modules import parse_to_json
from watchkey.rego.types import ANY, ARRAY, OBJECT, STRING
from watchkey.rego.values import from_json

_STEPS_PER_CHARACTER = 8


def _outside(name: str) -> Any:
    message = f"the {name} function must only be called within the scope of a rule"
    raise BuiltinError(message)


@builtin("rego.metadata.chain", (), ARRAY)
def metadata_chain() -> Any:
    """The annotations that apply to the rule; the compiler puts the value in place of the call."""
    return _outside("rego.metadata.chain")


@builtin("rego.metadata.rule", (), ANY)
def metadata_rule() -> Any:
    """The rule's own annotation; the compiler puts the value in place of the call."""
    return _outside("rego.metadata.rule")


@builtin("rego.parse_module", (STRING, STRING), OBJECT, context=True)
def parse_module(ctx: CallContext, file: str, text: str) -> Any:
    """The syntax tree of a v1 module as OPA's JSON."""
    ctx.spend(len(text) * _STEPS_PER_CHARACTER)
    try:
        return from_json(parse_to_json(file, text))
    except RegoErrors as problem:
        raise BuiltinError(str(problem)) from None
