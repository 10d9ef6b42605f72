"""Modules: both dialects, rules of all kinds, imports, several errors at once, the way from v0."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, codes, errors, policy
from watchkey.rego import Dialect, RegoErrors, compile_modules
from watchkey.rego.parse_modules import parse_module, parse_query


def test_several_rules_with_syntax_errors_are_all_reported() -> None:
    found = errors("p := 1 +\n\nq := 2\n\nr := [1 2]\n\ns if {\n  x := \n}\n")
    assert [each.split(":")[0] for each in found] == ["3", "5", "9"]


def test_v0_is_suggested_where_it_would_do() -> None:
    with pytest.raises(RegoErrors) as caught:
        policy("p[x] { x := 1 }")
    assert "set its dialect to v0" in caught.value.errors[0].hint
    assert "`contains` keyword is required" in str(caught.value) or "`if` keyword is required" in str(caught.value)


def test_v0_is_never_guessed() -> None:
    with pytest.raises(RegoErrors):
        policy("allow { true }")
    assert answer("p { true }", dialect=Dialect.V0) is True


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p[x] { x := 1 }", [1]),
        ('p["a"] = 1 { true }', {"a": 1}),
        ("p.a { true }", ["a"]),
        ("p = x { x := 1 }", 1),
        ("p { false } { true }", True),
        ("default p = false", False),
        ("if := 1\np = if { true }", 1),
        ("in := [1]\np = x { x := in[_] }", 1),
        ("p { input.contains }", True),
        ("p = 1 { false } else = 2 { true }", 2),
        ("import future.keywords\np if true", True),
        ("import future.keywords.in\np { 1 in [1] }", True),
        ("import rego.v1\np contains 1 if true", [1]),
        ("f(x) = x + 1\np = f(1)", 2),
        ("f(x) { x == 1 }\np { f(1) }", True),
    ],
)
def test_v0_rules(text: Any, wanted: Any) -> None:
    assert answer(text, {"contains": 1}, dialect=Dialect.V0) == wanted


def test_dialects_are_per_file() -> None:
    modules = {"old.rego": "package a\np { true }", "new.rego": "package b\nq if data.a.p"}
    compiled = compile_modules(modules, dialect={"old.rego": Dialect.V0})
    assert compiled.query("data.b.q").evaluate().json() is True


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("if := 1", "if keyword cannot be used for rule name"),
        ("p { true }", "`if` keyword is required before rule body"),
        ("p", "rule must have value assignment and/or body declaration"),
        ("p contains x if { x := 1 } else := 2", "else keyword cannot be used on multi-value rules"),
        ("f(x) contains 1 if true", "the contains keyword can only be used with multi-value rule definitions"),
        ("import foo.bar", "unexpected import path"),
        ("import future.keywords.foo", "unexpected keyword"),
        ("import rego.v9", "must be `rego.v1`"),
        ("import data.foo as input", "expected var"),
        ("import data.if", "must not end with a keyword"),
        ("package x", "unexpected package"),
        ("p if {\n}\nq if { x := 1; [y | ] }", "found empty body"),
        ("p if { input.x; }", "unexpected } token"),
        ("p if { a := 1 b := 2 }", "expected \\n or ;"),
        ("p if { every 1 in [1] { true } }", "expected key and value of every to be variables"),
        ("p if { some 1 }", "expected var"),
        ("p if { not some x }", "illegal negation"),
        ("p := 1 with input as 2", "unexpected"),
        ("default p := input.x", "value cannot contain ref"),
        ("default p := q", "value cannot contain var"),
        ("default p := f(1)", "value cannot contain call"),
        ("default f(1) := 1", "arguments must be plain variables"),
        ("default f(x, x) := 1", "arguments cannot be repeated"),
        ("p := 1 else", "unexpected else"),
    ],
)
def test_what_is_refused(text: Any, part: Any) -> None:
    assert part in errors(text)[0]


def test_an_empty_file_and_one_without_a_package() -> None:
    for text, part in (("", "empty module"), ("p := 1", "package expected"), ("package", "expected path")):
        with pytest.raises(RegoErrors, match=part):
            parse_module("f.rego", text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p if true else := 2", True),
        ("p := 1 if false else := 2 if false else := 3", 3),
        ("p := 1 if { true }", 1),
        ("p if not false", True),
        ("p contains 1\np contains 2", [1, 2]),
        ("p[k] := v if some k, v in {1: 2}", {"1": 2}),
        ("p.a.b := 1", {"a": {"b": 1}}),
        ('p["x y"] := 1', {"x y": 1}),
        ("p if {\n true # why\n true\n}", True),
        ("p := {1 |\n true }", [1]),
        ('contains_x if contains("ax", "x")\np if contains_x', True),
    ],
)
def test_rules(text: Any, wanted: Any) -> None:
    assert answer(text) == wanted


def test_logical_keywords_have_to_be_imported() -> None:
    assert codes("p if { true and true }") == ["rego_parse_error"]
    assert (
        answer("import future.keywords.and\nimport future.keywords.or\np if { false or (true and { x := 1; x > 0 }) }")
        is True
    )


def test_negated_bodies_have_to_be_imported() -> None:
    assert answer("import future.keywords.not\np if { not { x := input.a; x > 1 } }", {"a": 1}) is True


def test_queries() -> None:
    _, body = parse_query("x := 1; y = 2\nx < y")
    assert len(body) == 3
    for text in ("", "x :=", "[" * 50_000, "1 2"):
        with pytest.raises(RegoErrors):
            parse_query(text)
