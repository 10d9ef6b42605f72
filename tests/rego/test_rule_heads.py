"""Heads: which kind of rule each form declares, in both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from watchkey.rego import Dialect
from watchkey.rego.parse_modules import parse_module
from watchkey.rego.rule_heads import is_constant


def kinds(text: str, dialect: Dialect = Dialect.V1) -> list[str]:
    return [rule.kind for rule in parse_module("f", "package t\n" + text, dialect).rules]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p := 1", "complete"),
        ("p if true", "complete"),
        ("p contains 1", "set"),
        ("p.q.r := 1", "complete"),
        ("p[x] := 1 if x := 1", "object"),
        ("p[x] if x := 1", "object"),
        ('p["a"] := 1', "complete"),
        ("p[x].q := 1 if x := 1", "object"),
        ("p.q contains 1", "set"),
        ("p[x] contains 1 if x := 1", "set"),
        ("f(x) := x", "function"),
        ("f(x) if x", "function"),
        ("f() := 1", "complete"),
        ("default p := 1", "complete"),
        ("default f(_) := 1", "function"),
        ("a.b.f(x) := x", "function"),
    ],
)
def test_v1(text: Any, wanted: Any) -> None:
    assert kinds(text) == [wanted]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p[x] { x := 1 }", "set"),
        ("p[1]", "set"),
        ("p[x] = 1 { x := 1 }", "object"),
        ("p.a { true }", "set"),
        ("p.a.b { true }", "complete"),
        ("p { true }", "complete"),
        ("f(x) { x }", "function"),
    ],
)
def test_v0(text: Any, wanted: Any) -> None:
    assert kinds(text, Dialect.V0) == [wanted]


def test_constants() -> None:
    from watchkey.rego.parse_modules import parse_query

    for text, wanted in (("[1, {2}, {3: 4}]", True), ("[x]", False), ("{x: 1}", False), ("input", False)):
        _, body = parse_query(text)
        assert is_constant(body[0].node.term) is wanted  # type: ignore[union-attr]  # a term
