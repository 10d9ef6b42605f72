"""Names: scopes, shadowing, imports, what is declared twice, too late or for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, errors
from watchkey.rego.ast import Array, Const, ObjectTerm, SetTerm, Var
from watchkey.rego.resolve import dotted, fold, kind_name
from watchkey.rego.values import Object, Set


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p if { x := 1; x := 2 }", "var x assigned above"),
        ("p if { x = 1; x := 2 }", "var x referenced above"),
        ("p if { some x; x := 2; x = 2 }", "var x declared above"),
        ("f(x) := y if { x := 1; y := x }", "arg x redeclared"),
        ("p if { some x in [1]; some x in [2] }", "var x declared above"),
        ("p if { some x in [x] }", "var x assigned before"),
        ("p if { 1 := 2 }", None),
        ("p if { input := 1 }", "variables must not shadow input"),
        ("p if { not x := 1 }", "cannot assign vars inside negated expression"),
        ("p if { count(1) := 2 }", "cannot assign to call"),
        ("p if { f := 1; f(2) }", "called function f shadowed"),
        ("p if { some x; true }", "declared var x unused"),
        ("p if { every x in [1] { true } }", "declared var x unused"),
        ("p := 1 if { true with foo as 1 }", "with keyword target must reference existing"),
        ("p := 1 if { true with input[data.x] as 1 }", "with keyword target must be ground"),
    ],
)
def test_declarations(text: Any, message: Any) -> None:
    found = errors(text)
    if message is None:
        assert found == [] or "cannot assign" in found[0]
    else:
        assert any(message in each for each in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p if { x := 1 }", "assigned var x unused"),
        ("f(x) := 1", "unused argument x"),
        ("p := [1 | x := 2]", "assigned var x unused"),
        ("import data.foo\np := 1", "import data.foo unused"),
    ],
)
def test_what_only_strict_mode_reports(text: Any, message: Any) -> None:
    assert errors(text) == []
    assert message in errors(text, strict=True)[0]


@pytest.mark.parametrize(
    "text",
    [
        "f(_) := 1",
        "f(x) := x",
        "f(x) if x",
        "p if { _ := 1 }",
        "import data.foo\np := foo",
        "f(x) := 1 if x == 2 else := x",
    ],
)
def test_what_strict_mode_accepts(text: Any) -> None:
    assert errors(text, strict=True) == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("q := 1\np := q if { q := 2 }", 2),
        ("q := 1\np := [x | x := q] if { true }", [1]),
        ("p := x if { x := 1; [y | x := 2; y := x] == [2] }", 1),
        ("p := [x | x := 1] if { x := 2; x == 2 }", [1]),
        ("import input.a as q\np := q", 5),
        ("import data.t.r\np := r\nr := 3", 3),
        ("import input\np := input.a", 5),
        ("count := 3\np := count", 3),
        ("p := y if { x = 1; y := [z | z = x] }", [1]),
        ("p := 1 if { every x in [1, 2] { y := x; y > 0 } }", 1),
    ],
)
def test_scopes(text: Any, wanted: Any) -> None:
    assert answer(text, {"a": 5}) == wanted


def test_duplicate_imports() -> None:
    assert "import must not shadow" in errors("import data.a\nimport data.b.a\np := a")[0]


def test_folding_of_constants() -> None:
    assert fold(Array([Const(1), Const(2)])) == Const((1, 2))
    assert fold(SetTerm([Const(1), Const(1)])) == Const(Set([1]))
    assert fold(ObjectTerm([(Const("a"), Const(1))])) == Const(Object({"a": 1}))
    open_array = Array([Var("x")])
    assert fold(open_array) is open_array
    assert kind_name(Const("a")) == "string"
    assert kind_name(Var("x")) == "var"


def test_dotted_paths() -> None:
    assert dotted(("data", "a", "b c", 1)) == 'data.a["b c"][1]'
