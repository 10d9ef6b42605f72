"""Rules of every kind, as generated code evaluates them; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, policy, value
from watchkey.rego import EvaluationError
from watchkey.rego.ast import Array, Const, Ref, Var
from watchkey.rego.codegen import all_expressions, is_pattern

INPUT = {"x": "abc", "arr": [1, 2, 3], "obj": {"k": 1, "l": 2}}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p := 1 if input.nope\np := 2 if input.x", 2),
        ("p if input.nope\np if input.x", True),
        ("default p := 5\np := 6 if input.nope", 5),
        ('default p := {"a": [1]}', {"a": [1]}),
        ("p := 1 if { input.nope } else := 2 if { input.nope2 } else := 3", 3),
        ("p := y if { some x in input.arr; x == 2; y := x * 2 } else := 7", 4),
        ("p contains x if some x in input.arr\np contains 9", [1, 2, 3, 9]),
        ("p[k] := v if some k, v in input.obj", {"k": 1, "l": 2}),
        ('p[x][y] := 1 if { x := "a"; y := "b" }\np[x][y] := 2 if { x := "a"; y := "c" }', {"a": {"b": 1, "c": 2}}),
        ('p[x] contains y if { some x in ["a", "b"]; some y in [1, 2] }', {"a": [1, 2], "b": [1, 2]}),
        ('p.a := 1\np[x] := 2 if x := "b"', {"a": 1, "b": 2}),
        ('p.a contains 1\np[x] contains 2 if x := "a"', {"a": [1, 2]}),
        ("p[upper(input.x)] := 1", {"ABC": 1}),
        ('f(1) := "one"\nf(2) := "two"\np := [f(1), f(2)]', ["one", "two"]),
        ("f([a, _]) := a\np := f([1, 2])", 1),
        ('f({"k": b}) := b\np := f({"k": 3})', 3),
        ("f(x, x) := 1\np := [f(2, 2), [y | y := f(2, 3)]]", [1, []]),
        ("f(x) := 1 if { x == 1 } else := 2 if { x == 2 } else := 3\np := [f(1), f(2), f(3)]", [1, 2, 3]),
        ("default f(_) := 0\nf(x) := x if x > 1\np := [f(1), f(2)]", [0, 2]),
        ('f($"{x} b") := 42 if { x = "a" }\np := f("a b")', 42),
        ("f(x) := false\np if not f(1)", True),
        ("p := f()\nf() := 12", 12),
        ("a.b.f(x) := x\np := a.b.f(3)", 3),
        ("p := {x: y | some x, y in input.obj}", {"k": 1, "l": 2}),
        ('p := x if { x := {"a": input.zz} }', None),
        ("p := [x, y] if { x := input.arr[i]; y := input.arr[j]; i == 0; j == 2 }", [1, 3]),
    ],
)
def test_rules(text: Any, wanted: Any) -> None:
    assert answer(text, INPUT) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "p := 1\np := 2",
        "p := x if { x := input.arr[_] }",
        'p[x] := y if { x := "k"; y := input.arr[_] }',
        "f(x) := 1 if x > 0\nf(x) := 2 if x > 1\np := f(2)",
        'p := {x: y | x := "k"; y := input.arr[_]}',
        'p[x] := 1 if x := "a"\np[x] := 2 if x := "a"',
        "p := 1 if { input.nope } else := x if { x := input.arr[_] }",
    ],
)
def test_conflicts(text: Any) -> None:
    with pytest.raises(EvaluationError) as caught:
        value(text, INPUT)
    assert caught.value.code == "eval_conflict_error"


def test_equal_values_are_no_conflict() -> None:
    assert answer("p := 1\np := x if { x := [1, 1][_] }") == 1
    assert answer('p := {"a": [1]} if true\np := {"a": [x]} if x := 1') == {"a": [1]}


def test_the_first_success_of_a_constant_rule_ends_the_search() -> None:
    steps = policy("p if { some x in input; x == 0 }").query("data.t.p")
    assert steps.evaluate(list(range(1000))).json() is True


def test_a_rule_is_computed_once() -> None:
    text = "slow := count([1 | some x in input; some y in input; x == y])\np := [slow, slow, slow]"
    one = policy("slow := count([1 | some x in input; some y in input; x == y])\np := slow").query("data.t.p")
    three = policy(text).query("data.t.p")
    given = list(range(50))
    assert three.evaluate(given).steps - one.evaluate(given).steps < 10


def test_arguments_that_need_evaluation_are_not_patterns() -> None:
    assert is_pattern(Array([Var("x"), Const(1)]))
    assert not is_pattern(Ref(Var("input"), [Const("a")]))


def test_all_expressions_include_inner_ones() -> None:
    rule = policy("p if { every x in [1] { y := [z | z := x]; y } }")._rules[0]
    assert len(list(all_expressions(rule))) >= 3
