"""Expressions: with, not, every, unification, undefined; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer

INPUT = {"x": "abc", "arr": [1, 2, 3], "obj": {"k": 1, "l": 2}, "b": {"c": 1}}
DATA = {"other": {"a": 1}, "n": 5}


def check(text: str, wanted: object) -> None:
    assert answer(text, INPUT, DATA) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p := x if { x := input.x with input.x as 5 }", 5),
        ("q := input.x\np := [q, r] if { r := q with input.x as 5 }", ["abc", 5]),
        (
            "q := input.x\nr := s if { s := q with input.x as 1 }\np := [q, t] if { t := r with input.x as 9 }",
            ["abc", 1],
        ),
        ("q := data.other.a\np := [q, r] if { r := q with data.other.a as 7 }", [1, 7]),
        ("q := 1\nr := q + 1\np := x if { x := r with data.t.q as 10 }", 11),
        ("q := data.other\np := x if { x := q with data.other.z as 1 }", {"a": 1, "z": 1}),
        ("f(x) := x + 1\np := x if { x := f(1) with data.t.f as 5 }", 5),
        ("f(x) := x + 1\ng(x) := x * 100\nh := f(2)\np := x if { x := h with f as g }", 200),
        ("p := x if { x := count([1]) with count as 0 }", 0),
        ("m(x) := count(x) + 100\np := x if { x := count([1]) with count as m }", 101),
        ('p := x if { x := concat(",", ["a"]) with concat as sprintf }', ",%!(EXTRA string=a)"),
        ("p := x if { x := time.now_ns() with time.now_ns as 12 }", 12),
        ("p := [x | some x in input.arr with input.arr as [7, 8]]", [7, 8]),
        ("p if { every x in input.arr { x == 1 } with input.arr as [1, 1] }", True),
        ("p := x if { x := input with input as null }", None),
        ('q := input.a\np := x if { x := q with input as {"a": input.x} }', "abc"),
        ('p := x if { x := input.x.y with input.x as {"y": 1} with input.x as {"y": 2} }', 2),
        ("q if { not data.zz }\np := x if { x := q with data.zz as false }", True),
        ('allow if input.x == "abc"\np if { not allow with input as {} }', True),
        ('allow if helper(input.x)\nhelper(x) if x == "z"\np if { allow with input.x as "z"; not allow }', True),
    ],
)
def test_with(text: Any, wanted: Any) -> None:
    check(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("q := input.x\np := [y, r] if { y := q; r := q with input.x as 5 }", ["abc", 5]),
        ("p := [y, r] if { y := input.x; r := input.x with input.x as 5 }", ["abc", 5]),
        ("q := data.n\np := [y, r, z] if { y := q; r := q with data.n as 6; z := q }", [5, 6, 5]),
        ("q := count([1])\np := [y, r, z] if { y := q; r := q with count as 6; z := q }", [1, 6, 1]),
    ],
)
def test_what_is_computed_already_is_not_used_under_with(text: Any, wanted: Any) -> None:
    check(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p if not input.nope", True),
        ("p if not input.nope.deeper", True),
        ("p if not 1 == 2", True),
        ("p if not input.nope == 1", True),
        ("p if not input.nope = 1", True),
        ("p if { not input.x }", None),
        ("p if { x := 1; not x == 2 }", True),
        ("p := [x | some x in input.arr; not x == 2]", [1, 3]),
        ('p if not data.t.q.a\nq := {"a": 1} if input.nope', True),
        ('p if not to_number("abc")', True),
        # An undefined argument of a negated call makes the whole expression undefined, as in OPA.
        ('p if not startswith(input.nope, "a")', None),
        ("p if not input.nope > 1", None),
        ("p if not {input.nope}", None),
        ("p if not input.arr[input.nope]", None),
        ("p if not 1 in input.nope", None),
        ("p if not input.nope != 1", None),
        ("f(x) := true\np if not f(input.nope)", None),
        ("p if not count(input.nope) == 1", None),
        ('import future.keywords.not\np if not startswith(input.nope, "a")', True),
    ],
)
def test_not(text: Any, wanted: Any) -> None:
    check(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p if every x in input.arr { x > 0 }", True),
        ("p if every x in input.arr { x > 1 }", None),
        ("p if every x in [] { x > 5 }", True),
        ("p if every x in input.nope { x }", None),
        ("p if every x in 5 { x }", None),
        ("p if every i, x in input.arr { x == i + 1 }", True),
        ("p if every x in input.arr { some y in input.arr; y == x }", True),
        ('p if every k, v in input.obj { k != "zz"; v }', True),
        ("p if every x in {1, 2} { x < 3 }", True),
    ],
)
def test_every(text: Any, wanted: Any) -> None:
    check(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('p if { {"a": 1, "b": x} = {"b": 2, "a": 1}; x == 2 }', True),
        ("p if { {1, 2} = {2, 1} }", True),
        ("p := x if { [x, 2] = [[1, 2], [3, 4]][_] }", 1),
        ("p := [x | [x, _] := [[1, 2], [3, 4]][_]]", [1, 3]),
        ("p := k if { input.obj[k] = 2 }", "l"),
        ('p if { [x, [y, "c"]] = [1, [2, z]]; z == "c"; x < y }', True),
        ("r contains [1, 2]\np := x if { r[[1, x]] }", 2),
        ('p contains v if some {"a": v} in [{"a": 1}, {"b": 2}]', [1]),
        ("p contains v if some [v, 1] in [[5, 1], [6, 2]]", [5]),
        ('p := v if { split("a.b", ".", [v, "b"]) }', "a"),
        ("p if { 3 = plus(1, 2) }", True),
        ('p := [v | walk({"a": {1, 2}}, [["a", _], v])]', [1, 2]),
        ("p if { input.arr[0] = 1; input.arr[1.0] = 2 }", True),
        ("p := x if { x := 1; x.foo }", None),
    ],
)
def test_unification(text: Any, wanted: Any) -> None:
    if text.endswith("x.foo }"):
        from tests.rego.evaluating import codes

        assert codes(text) == ["rego_type_error"]
        return
    check(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p := input.arr[-1]", None),
        ("p := input.arr[99]", None),
        ("p := input.x[0]", None),
        ('p := input["x"]', "abc"),
        ('p := [1 < "a", null < false, true < 0, {"z": 1} < {1}, [1] < {"a": 1}]', [True] * 5),
        ('p := [null == false, 0 == false, "" == null, 1 == 1.0]', [False, False, False, True]),
        ("p := input.arr[0] < null", False),
        ("p if { input.obj.zz < 1 }", None),
        ('p := {true, 1, "1"}', [True, 1, "1"]),
        ("p := 1 in {1, 2}", True),
        ('p := "x", "a" in {"x": "a"}', True),
        ('p := "a" in "abc"', False),
        ('p := sort([3, "a", null, true, [1], {"a": 1}, 2])', [None, True, 2, 3, "a", [1], {"a": 1}]),
        ("p := [x | some x in {3, 1, 2}]", [1, 2, 3]),
        ('p := [k | some k, _ in {"b": 1, "a": 2}]', ["a", "b"]),
        ("p := [x | x := [y | y := [z | z := [w | w := [v | v := 1]]]]]", [[[[[1]]]]]),
        ('p := {"é": "ü", "日": 1}["日"]', 1),
        ('p := count("añ\U0001f600")', 3),
        ('p := "\\u00e9" == "é"', True),
        ("p := count([1 | input.arr[i] == input.arr[j]; i != j])", 0),
        ("p := input.arr[count(input.arr) - 1]", 3),
        ("p := data.nowhere[_].x", None),
        ("p if { input.obj[_] == 2 }", True),
    ],
)
def test_values_and_order(text: Any, wanted: Any) -> None:
    check(text, wanted)
