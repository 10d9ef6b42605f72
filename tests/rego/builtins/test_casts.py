"""to_number, type_name, is_*, cast_*."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rego.builtins.calling import call
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE, Set

EACH = {"null": None, "boolean": True, "number": 1.5, "string": "a", "array": [], "object": {}, "set": {1}}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, 0),
        (True, 1),
        (False, 0),
        (5, 5),
        ("1.50", Decimal("1.5")),
        ("1e3", 1000),
        ("-2", -2),
        ("+1", 1),
        (".5", Decimal("0.5")),
    ],
)
def test_numbers(value: Any, wanted: Any) -> None:
    assert call("to_number", value) == wanted


@pytest.mark.parametrize("text", ["", "abc", "0x10", " 1", "1 ", "--1", "1_000", "٣"])
def test_texts_that_are_no_numbers(text: Any) -> None:
    with pytest.raises(BuiltinError):
        call("to_number", text)


@pytest.mark.parametrize("text", ["inf", "-Infinity", "NaN", "iNf"])
def test_numbers_that_are_not_finite(text: Any) -> None:
    with pytest.raises(OperandError, match="valid number string"):
        call("to_number", text)


def test_huge_exponents() -> None:
    with pytest.raises(LimitExceeded):
        call("to_number", "1e999999999")


@pytest.mark.parametrize("kind", EACH)
def test_kinds(kind: Any) -> None:
    for other, value in EACH.items():
        assert call(f"is_{kind}", value) is (TRUE if kind == other else FALSE)
        assert (call("type_name", value) == kind) == (kind == other)


@pytest.mark.parametrize("kind", ["null", "boolean", "string", "object"])
def test_casts_that_only_check(kind: Any) -> None:
    for other, value in EACH.items():
        if kind == other:
            call(f"cast_{kind}", value)
        else:
            with pytest.raises(OperandError, match=f"must be {kind}"):
                call(f"cast_{kind}", value)


def test_casts_between_collections() -> None:
    assert call("cast_array", {2, 1}) == (1, 2)
    assert call("cast_set", [1, 1]) == Set([1])
    with pytest.raises(OperandError):
        call("cast_array", "a")
