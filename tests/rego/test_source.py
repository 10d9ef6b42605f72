"""Sources: places of offsets, and the odd white space of pasted policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.evaluating import policy
from watchkey.rego import RegoErrors, compile_modules, normalise_spaces
from watchkey.rego.source import Source, character_name, is_odd_space


@given(st.text(alphabet="ab\n\r é"), st.integers(0, 30))
def test_places_of_offsets(text: Any, offset: Any) -> None:
    offset = min(offset, len(text))
    source = Source("f.rego", text)
    before = text[:offset]
    assert source.line_of(offset) == before.count("\n") + 1
    assert source.column_of(offset) == len(before.rpartition("\n")[2]) + 1


def test_an_error_shows_the_line_and_a_caret() -> None:
    error = Source("f.rego", "one\n\ttwo three\n").error("code", "message", 9, "try this")
    assert str(error).splitlines() == ["f.rego:2:6: code: message", "     two three", "         ^", "    try this"]


@pytest.mark.parametrize("character", ["\u00a0", "\u200b", "\u2028", "\u3000", "\ufeff", "\x0c"])
def test_odd_spaces_are_errors_that_name_the_code_point(character: Any) -> None:
    with pytest.raises(RegoErrors) as caught:
        policy(f"p := 1\nq :={character}2\n")
    error = caught.value.errors[0]
    assert (error.line, error.column) == (4, 5)
    assert f"U+{ord(character):04X}" in error.message


def test_normalising_makes_a_pasted_policy_usable() -> None:
    text = "package t\n\np\u00a0:=\u00a01\u200b\nq\u2028:= 2\n"
    cleaned, count = normalise_spaces(text)
    assert count == 4
    assert "\u00a0" not in cleaned
    assert compile_modules({"t.rego": cleaned.replace("q\n:=", "q :=")}).query("data.t.p").evaluate().json() == 1


def test_clean_text_is_left_alone() -> None:
    assert normalise_spaces("p := 1\t\r\n") == ("p := 1\t\r\n", 0)
    assert normalise_spaces("é := 1") == ("é := 1", 0)


def test_names_of_characters() -> None:
    assert character_name("\u00a0") == "U+00A0 (no-break space)"
    assert character_name("\x01") == "U+0001 (control character)"
    assert not is_odd_space("a")
