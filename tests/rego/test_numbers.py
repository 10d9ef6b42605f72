"""Arithmetic: exact on integers, OPA's 64 bits elsewhere; figures checked with a real OPA."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.errors import BuiltinError, LimitExceeded
from watchkey.rego.numbers import (
    absolute,
    add,
    ceiling,
    divide,
    floor,
    from_binary,
    multiply,
    remainder,
    round_half_away,
    subtract,
    to_binary,
)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (add(Decimal("0.1"), Decimal("0.2")), "0.3"),
        (divide(1, 3), "0.33333333333333333334"),
        (divide(2, 3), "0.6666666666666666667"),
        (multiply(Decimal("1.1"), Decimal("1.1")), "1.21"),
        (divide(10, 4), "2.5"),
        (divide(1, 7), "0.14285714285714285714"),
        (multiply(100, Decimal("1.1")), "110"),
        (divide(6, 2), "3"),
        (divide(-7, 2), "-3.5"),
        (divide(12345678901234567890123, 3), "4115226300411522630000"),
        (subtract(Decimal(3), Decimal("0.5")), "2.5"),
        (multiply(Decimal("0.1"), 3), "0.3"),
        (divide(0, 5), "0"),
    ],
)
def test_figures_of_opa(found: Any, wanted: Any) -> None:
    assert found == Decimal(wanted)


@given(st.integers(), st.integers())
def test_integers_are_exact(left: Any, right: Any) -> None:
    assert add(left, right) == left + right
    assert subtract(left, right) == left - right
    assert multiply(left, right) == left * right


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6).filter(bool))
def test_the_remainder_has_the_sign_of_the_dividend(left: Any, right: Any) -> None:
    found = remainder(left, right)
    assert abs(found) < abs(right)
    assert (left - found) % right == 0
    assert found == 0 or (found < 0) == (left < 0)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_binary_there_and_back(number: Any) -> None:
    assert from_binary(to_binary(number)) == number


def test_rounding() -> None:
    assert [round_half_away(Decimal(text)) for text in ("0.5", "-0.5", "1.4", "-2.5")] == [1, -1, 1, -3]
    assert (ceiling(Decimal("1.2")), ceiling(Decimal("-1.2")), floor(Decimal("-1.2"))) == (2, -1, -2)
    assert (absolute(-3), absolute(Decimal("-1.5"))) == (3, Decimal("1.5"))


def test_errors() -> None:
    for attempt in (
        lambda: divide(1, 0),
        lambda: remainder(1, 0),
        lambda: remainder(Decimal("1.5"), 1),
        lambda: divide(1, Decimal("0.0")),
    ):
        with pytest.raises(BuiltinError):
            attempt()
    with pytest.raises(LimitExceeded):
        multiply(10**4000, 10**4000)
    with pytest.raises(LimitExceeded):
        divide(Decimal("1e-4000"), Decimal("1e4000"))
