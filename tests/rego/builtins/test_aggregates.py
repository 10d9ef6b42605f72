"""count, sum, product, max, min, sort, all, any."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rego.builtins.calling import call, is_undefined
from watchkey.rego.builtins import OperandError
from watchkey.rego.values import FALSE, TRUE


def test_counts() -> None:
    assert [call("count", value) for value in ([1, 2], {"a": 1}, {1, 2, 3}, "añ\U0001f600", "")] == [2, 1, 3, 3, 0]


def test_sums_and_products() -> None:
    assert call("sum", [1, 2.5, 3]) == Decimal("6.5")
    assert call("sum", []) == 0
    assert call("product", {2, 3}) == 6
    assert call("product", []) == 1
    assert call("sum", [49649733057, 1]) == 49649733058


def test_extremes_follow_the_order_of_types() -> None:
    assert call("max", [3, "a", None]) == "a"
    assert call("min", [3, "a", None]) is None
    assert is_undefined(call("max", []))
    assert is_undefined(call("min", set()))


def test_sorting() -> None:
    assert call("sort", ["b", 2, None, True]) == (None, TRUE, 2, "b")
    assert call("sort", {3, 1}) == (1, 3)


def test_truth_of_all_and_any() -> None:
    assert call("all", [True, True]) is TRUE
    assert call("all", []) is TRUE
    assert call("all", [True, 1]) is FALSE
    assert call("any", {False, True}) is TRUE
    assert call("any", []) is FALSE


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("count", [1], "count: operand 1 must be one of {array, object, set, string} but got number"),
        ("sum", [[1, "a"]], "sum: operand 1 must be array of numbers but got array containing string"),
        ("sum", ["a"], "sum: operand 1 must be one of {set, array} but got string"),
        ("max", [{"a": 1}], "max: operand 1 must be one of {set, array} but got object"),
    ],
)
def test_wrong_operands(name: Any, args: Any, text: Any) -> None:
    with pytest.raises(OperandError) as caught:
        call(name, *args)
    assert str(caught.value) == text
