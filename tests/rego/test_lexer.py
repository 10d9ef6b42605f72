"""The lexer: tokens with their places, escapes, numbers, template strings, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.errors import RegoErrors
from watchkey.rego.lexer import Lexer
from watchkey.rego.source import MAX_SOURCE, Source


def tokens(text: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in Lexer(Source("f", text)).tokens()[:-1]]


def complaint(text: str) -> str:
    with pytest.raises(RegoErrors) as caught:
        tokens(text)
    return caught.value.errors[0].message


def test_kinds() -> None:
    assert tokens('p := "a\\n" != `b\\n` 1.5e3 # c\n>=') == [
        ("name", "p"),
        ("symbol", ":="),
        ("string", "a\n"),
        ("symbol", "!="),
        ("string", "b\\n"),
        ("number", "1.5e3"),
        ("symbol", ">="),
    ]


def test_blanks_before_tokens_are_known() -> None:
    found = Lexer(Source("f", "a .b\nc")).tokens()
    assert [(token.spaced, token.newline) for token in found[:4]] == [
        (False, False),
        (True, False),
        (False, False),
        (True, True),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(r'"\u00e9\t\/\\"', "é\t/\\"), (r'"\ud83d\ude00"', "\U0001f600"), (r'"\ud800"', "\ufffd"), ('"é"', "é")],
)
def test_escapes(text: Any, wanted: Any) -> None:
    assert tokens(text) == [("string", wanted)]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('"a\\q"', "illegal escape"),
        ('"abc', "non-terminated"),
        ("`abc", "non-terminated"),
        ('"a\nb"', "non-terminated"),
        ("01", "leading zero"),
        ("1.", "fraction"),
        ("1a", "illegal number"),
        ("'a'", "illegal token"),
        ("$x", "illegal $"),
        ("\x01", "illegal character"),
        ("é", "illegal character"),
        ('$"{1', "non-terminated"),
        ('$"a', "non-terminated"),
    ],
)
def test_what_is_refused(text: Any, part: Any) -> None:
    assert part in complaint(text)


def test_template_strings_hold_tokens() -> None:
    token = Lexer(Source("f", r'$"a\{b}{x.y}{$"{z}"}"')).tokens()[0]
    assert token.kind == "template"
    assert token.parts is not None
    assert token.parts[0] == "a{b}"
    assert [each.text for each in token.parts[1]] == ["x", ".", "y", ""]  # type: ignore[union-attr]  # a list of tokens


def test_template_strings_do_not_nest_without_end() -> None:
    assert "too deeply" in complaint('$"{' * 40 + "1" + '}"' * 40)


def test_comments_are_kept() -> None:
    lexer = Lexer(Source("f", "a # one\r\n# two"))
    lexer.tokens()
    assert [comment.text for comment in lexer.comments] == [" one", " two"]


def test_sources_are_bounded() -> None:
    with pytest.raises(RegoErrors, match="longer than"):
        Lexer(Source("f", " " * (MAX_SOURCE + 1)))


@given(st.text(max_size=60))
def test_no_text_crashes_it(text: Any) -> None:
    try:
        found = Lexer(Source("f", text)).tokens()
    except RegoErrors as problem:
        places = [error.line for error in problem.errors]
    else:
        places = [found[-1].start + 1]
    assert min(places) >= 1


@given(st.text())
def test_any_string_survives_json_quoting(text: Any) -> None:
    assert tokens(json.dumps(text)) == [("string", text)]
