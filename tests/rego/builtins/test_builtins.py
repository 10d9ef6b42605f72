"""The registry: what every built-in has to keep, and how calls are checked."""

from __future__ import annotations

import pytest

from tests.rego.builtins.calling import Context, call
from watchkey.rego.builtins import (
    FAMILIES,
    OperandError,
    builtin,
    element_error,
    integer_operand,
    operand_error,
    registered,
    strings_in,
)
from watchkey.rego.types import NUMBER, STRING
from watchkey.rego.values import Set


def test_every_family_is_listed_in_order() -> None:
    assert list(FAMILIES) == sorted(FAMILIES)


def test_names_are_declared_once() -> None:
    registered()
    with pytest.raises(ValueError, match="declared twice"):
        builtin("count", (STRING,), NUMBER)(len)


def test_every_pure_built_in_checks_its_operands() -> None:
    for name, each in registered().items():
        if each.function is None or not each.args:
            continue
        assert len(each.operands) == each.arity, name


def test_operands_are_checked_before_the_function_runs() -> None:
    with pytest.raises(OperandError, match="lower: operand 1 must be string but got null"):
        call("lower", None)


def test_texts_of_errors() -> None:
    assert str(operand_error(2, 1, "string", "array")) == "operand 2 must be one of {string, array} but got number"
    assert (
        str(element_error(1, (1,), 1, "string")) == "operand 1 must be array of strings but got array containing number"
    )
    assert "(any of)" in str(element_error(1, Set([1]), 1, "string", "array"))
    assert strings_in(1, Set(["b", "a"])) == ["a", "b"]
    assert integer_operand(1, 5) == 5


def test_unencodable_text_is_an_error_not_a_crash() -> None:
    from watchkey.rego.builtins import BuiltinError

    with pytest.raises(BuiltinError, match="cannot be encoded"):
        call("base64.encode", "\ud800")


def test_each_call_costs_a_step() -> None:
    ctx = Context(steps=10)
    call("lower", "a", ctx=ctx)
    assert ctx.left == 9
