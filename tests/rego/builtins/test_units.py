"""units.parse and units.parse_bytes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rego.builtins.calling import call
from watchkey.rego.errors import BuiltinError, LimitExceeded


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10", 10), ("1.5K", 1500), ("1Ki", 1024), ("1kI", 1024), ("2M", 2_000_000), ("1e3", 1000), ("1E", 10**18),
        ("500m", Decimal("0.5")), ("0.0005K", Decimal("0.5")), ('"3"G', 3 * 10**9), ("-1k", -1000), (".5k", 500),
        ("1ei", 1 << 60),
    ],
)  # fmt: skip
def test_quantities(text: str, wanted: Any) -> None:
    assert call("units.parse", text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", 1), ("1KB", 1000), ("1KiB", 1024), ("1k", 1000), ("1Mi", 1 << 20), ("4.1Mi", 4299161), ("1.9", 1),
        ("2EiB", 1 << 61), ("1e3", 1000), ("-1.9", -1),
    ],
)  # fmt: skip
def test_bytes(text: str, wanted: Any) -> None:
    assert call("units.parse_bytes", text) == wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no amount provided"),
        ("K", "no amount provided"),
        ("1 K", "spaces not allowed"),
        ("1x", "unit x not recognized"),
        ("1.2.3", "could not parse amount"),
        ("1e1234567", "exponent too large"),
        ("\uff11", "no amount provided"),
        ("1e+", "could not parse amount"),
    ],
)
def test_quantities_that_are_not(text: str, problem: str) -> None:
    with pytest.raises(BuiltinError, match=f"units.parse: units.parse: {problem}"):
        call("units.parse", text)


def test_bytes_that_are_not() -> None:
    with pytest.raises(BuiltinError, match=r"units\.parse_bytes: units\.parse_bytes: byte unit q not recognized"):
        call("units.parse_bytes", "1q")


@pytest.mark.parametrize("name", ["units.parse", "units.parse_bytes"])
@pytest.mark.parametrize("text", ["1e999999", "1e-999999", "1" * 5000])
def test_magnitudes_are_bounded(name: str, text: str) -> None:
    with pytest.raises(LimitExceeded):
        call(name, text)
