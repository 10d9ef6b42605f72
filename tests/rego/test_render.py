"""Terms as text for explanations."""

from __future__ import annotations

from typing import Any

import pytest

from watchkey.rego.parse_modules import parse_query
from watchkey.rego.render import MAX_TEXT, term_text
from watchkey.rego.resolve import Resolver


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("input.a[0].b", "input.a[0].b"),
        ("data.t.rule.x", "rule.x"),
        ("count(data.t.f(1))", "count(f(1))"),
        ("1 + input.x", "1 + input.x"),
        ('"a" in input.xs', '"a" in input.xs'),
        ("[1, input.x]", "[1, input.x]"),
        ('{"a": input.x}', '{"a": input.x}'),
        ("{input.x}", "{input.x}"),
        ("[x | x := 1]", "[x | …]"),
        ("{x: 1 | x := 1}", "{x: 1 | …}"),
        ('$"a{input.x}"', '$"a{input.x}"'),
        ("data.other.x", "data.other.x"),
    ],
)
def test_terms(text: Any, wanted: Any) -> None:
    source, body = parse_query(text)
    resolved, _ = Resolver(source, {}, frozenset(["count"]), strict=False).query(body)
    assert term_text(resolved[0].node.term, ("data", "t")) == wanted  # type: ignore[union-attr]  # a term


def test_long_terms_are_cut() -> None:
    _, body = parse_query('"' + "a" * 500 + '"')
    assert len(term_text(body[0].node.term)) == MAX_TEXT  # type: ignore[union-attr]  # a term
