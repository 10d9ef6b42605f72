"""The cursor: dialects and their keywords, words that begin references, depth."""

from __future__ import annotations

from typing import Any

import pytest

from watchkey.rego import Dialect
from watchkey.rego.cursor import MAX_NESTING, Cursor, ParseFailure, TooDeep
from watchkey.rego.lexer import Lexer
from watchkey.rego.source import Source


def cursor(text: str, dialect: Dialect = Dialect.V1) -> Cursor:
    source = Source("f", text)
    return Cursor(source, Lexer(source).tokens(), dialect)


@pytest.mark.parametrize("word", ["if", "in", "contains", "every"])
def test_v0_has_fewer_keywords(word: Any) -> None:
    assert cursor(word).at_keyword(word)
    assert not cursor(word, Dialect.V0).at_keyword(word)


def test_a_keyword_that_begins_a_reference_is_a_name() -> None:
    assert not cursor("if.a").at_keyword("if")
    assert not cursor("if[1]").at_keyword("if")
    assert cursor("if .a").at_keyword("if")


def test_moving_and_expecting() -> None:
    here = cursor("( a")
    here.expect("(")
    assert here.last_end == 1
    with pytest.raises(ParseFailure, match="unexpected identifier token a"):
        here.expect(")")
    here.advance()
    assert here.at_end()
    assert here.advance().text == ""


def test_other_tokens_for_a_while() -> None:
    here, inner = cursor("a b"), cursor("x")
    saved = here.swap_tokens(inner._tokens)
    assert here.current.text == "x"
    here.restore_tokens(saved)
    assert here.current.text == "a"


def test_depth_is_bounded() -> None:
    here = cursor("a")
    for _ in range(MAX_NESTING):
        here.enter()
    with pytest.raises(TooDeep):
        here.enter()
    here.leave()
