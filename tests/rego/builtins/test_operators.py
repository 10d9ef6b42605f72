"""Comparison, arithmetic, membership, set operations and bits, as functions."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE, Set


@pytest.mark.parametrize(
    ("name", "left", "right", "wanted"),
    [
        ("equal", 1, 1.0, TRUE),
        ("equal", True, 1, FALSE),
        ("eq", [1], [1], TRUE),
        ("neq", "a", 1, TRUE),
        ("lt", None, False, TRUE),
        ("lte", 1, 1, TRUE),
        ("gt", "a", 10**9, TRUE),
        ("gte", [], "z", TRUE),
        ("internal.member_2", 1, [2, 1], TRUE),
        ("internal.member_2", "v", {"k": "v"}, TRUE),
        ("internal.member_2", "a", "abc", FALSE),
        ("internal.member_2", 1, {2}, FALSE),
    ],
)
def test_comparisons(name: Any, left: Any, right: Any, wanted: Any) -> None:
    assert call(name, left, right) is wanted


def test_membership_with_a_key() -> None:
    assert call("internal.member_3", 0, "a", ["a"]) is TRUE
    assert call("internal.member_3", "k", 1, {"k": 1}) is TRUE
    assert call("internal.member_3", "k", 2, {"k": 1}) is FALSE
    assert call("internal.member_3", 1, 1, {1}) is TRUE
    assert call("internal.member_3", "x", 1, [1]) is FALSE
    assert call("internal.member_3", 0, 1, "a") is FALSE


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("plus", [1, 2.5], Decimal("3.5")),
        ("minus", [5, 2], 3),
        ("mul", [3, 4], 12),
        ("div", [7, 2], Decimal("3.5")),
        ("rem", [-7, 3], -1),
        ("abs", [-2], 2),
        ("round", [2.5], 3),
        ("ceil", [1.2], 2),
        ("floor", [-1.2], -2),
        ("minus", [{1, 2}, {2}], Set([1])),
        ("and", [{1, 2}, {2}], Set([2])),
        ("or", [{1}, {2}], Set([1, 2])),
        ("bits.and", [6, 3], 2),
        ("bits.or", [6, 3], 7),
        ("bits.xor", [6, 3], 5),
        ("bits.negate", [5], -6),
        ("bits.lsh", [1, 70], 1 << 70),
        ("bits.rsh", [8, 2], 2),
        ("bits.rsh", [-8, 1000], -1),
        ("bits.lsh", [0, 10], 0),
    ],
)
def test_figures(name: Any, args: Any, wanted: Any) -> None:
    assert call(name, *args) == wanted


@pytest.mark.parametrize(
    ("name", "args", "kind"),
    [
        ("div", [1, 0], BuiltinError),
        ("rem", [1, 0], BuiltinError),
        ("rem", [1.5, 1], BuiltinError),
        ("minus", [1, {1}], OperandError),
        ("minus", ["a", 1], OperandError),
        ("minus", [{1}, 1], OperandError),
        ("plus", ["a", 1], OperandError),
        ("bits.and", [1.5, 1], OperandError),
        ("bits.lsh", [1, -1], OperandError),
        ("and", [[1], {1}], OperandError),
    ],
)
def test_errors(name: Any, args: Any, kind: Any) -> None:
    with pytest.raises(kind) as caught:
        call(name, *args)
    assert str(caught.value).startswith(f"{name}: ")


def test_shifts_are_bounded() -> None:
    for by in (100_000, 10**9):
        with pytest.raises(LimitExceeded):
            call("bits.lsh", 1, by, ctx=Context(max_size=1_000_000))
