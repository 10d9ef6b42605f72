"""Built-ins about the policy itself: rego.metadata.* and rego.parse_module."""

from __future__ import annotations

from typing import Any

from watchkey.rego.builtins import BuiltinError, builtin
from watchkey.rego.types import ANY, ARRAY


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
