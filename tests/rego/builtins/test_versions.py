"""semver.*."""

from __future__ import annotations

import pytest

from tests.rego.builtins.calling import call
from watchkey.rego.builtins.versions import parse_version
from watchkey.rego.errors import BuiltinError
from watchkey.rego.values import FALSE, TRUE

IN_ORDER = (
    "1.0.0-0", "1.0.0-1", "1.0.0-10", "1.0.0-1a", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2",
    "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "2.0.0", "10.0.0",
)  # fmt: skip


@pytest.mark.parametrize("left", range(len(IN_ORDER)))
def test_precedence_is_that_of_the_specification(left: int) -> None:
    for right, text in enumerate(IN_ORDER):
        assert call("semver.compare", IN_ORDER[left], text) == (left > right) - (left < right)


def test_build_and_the_leading_v_do_not_count() -> None:
    assert call("semver.compare", "v1.2.3+a", "1.2.3+b") == 0


def test_numbers_beyond_64_bits_are_all_the_same() -> None:
    assert call("semver.compare", "1.0.0-" + "9" * 20, "1.0.0-" + "9" * 21) == 0


@pytest.mark.parametrize(
    "text", ["", "1", "1.2", "1.2.3.4", "1.2.3-", "1.2.3+", "1.2.3-a..b", "01.2.3", "1.2.3-01", "1.+2.3", "1.-2.3",
             "vv1.2.3", "1.2.3 ", "1.2.\u0661", "9223372036854775808.0.0", "1.2.3-\u00fc"]
)  # fmt: skip
def test_versions_that_are_not(text: str) -> None:
    assert parse_version(text) is None
    assert call("semver.is_valid", text) is FALSE
    with pytest.raises(BuiltinError, match="operand 2: string"):
        call("semver.compare", "1.0.0", text)


def test_validity() -> None:
    assert call("semver.is_valid", "9223372036854775807.0.0-0a.b+c-d") is TRUE
    assert call("semver.is_valid", 1) is FALSE
