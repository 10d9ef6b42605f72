"""Safety: bodies are ordered so that variables are bound first, and what cannot be is an error with its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, codes, errors


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("p if { x == 2 }", "x"),
        ("p := x if { true }", "x"),
        ("f(x) if { x == y }", "y"),
        ("p if { not input.x[i] }", "i"),
        ("p if { not input.x[_] }", "_"),
        ("p := [x | y := input.a[_]]", "x"),
        ("p contains x if { y := 1; y }", "x"),
        ("p[x] := 1 if { true }", "x"),
        ("p if { x = y }", "x"),
        ("p if { count(x) == 1 }", "x"),
        ("p if { {x} = {1} }", "x"),
        ("p if { some i; not input[i] }", "i"),
        ("p if { every x in y { x } }", "y"),
        ("p if { x.a = 1 }", "x"),
        ("p if { input.x = 1 with input as y }", "y"),
        ("p if { x := [y | y := x] }", "x"),
        ("p := misspelt", "misspelt"),
        ("allow if { is_on_cal }\nis_on_call := true", "is_on_cal"),
        ("p := {x: y | x := 1}", "y"),
        ("p if { f(x) }\nf(x) := x", "x"),
        ("p if { {y: 1} = input }", "y"),
    ],
)
def test_unsafe_variables(text: Any, name: Any) -> None:
    assert f"rego_unsafe_var_error var {name} is unsafe" in " ".join(errors(text))


def test_each_unsafe_variable_has_its_place() -> None:
    assert errors("p if {\n  x == 1\n  y == 2\n}") == [
        "2:3 rego_unsafe_var_error var x is unsafe",
        "3:3 rego_unsafe_var_error var y is unsafe",
    ]


@pytest.mark.parametrize("text", ["p if { print(x) }", 'p := $"{x}" if { true }', 'p if { y := $"{input[_]}"; y }'])
def test_undeclared_in_print_and_templates(text: Any) -> None:
    assert "rego_compile_error" in codes(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("p := x if { x == 1; x = 1 }", 1),
        ("p := y if { y := x + 1; x := 1 }", None),
        ("p := x if { x = y; y = z; z = 3 }", 3),
        ("p := [x, y] if { [x, 1] = [3, y] }", [3, 1]),
        ("p := [x, y] if { [x, y] = [y, 1] }", [1, 1]),
        ('p := z if { {"k": [x, {"z": z}]} = {"k": [1, {"z": 5}]}; x == 1 }', 5),
        ("p := x if { not x == 2; x := 1 }", None),
        ("p := x if { not x == 2; x = 1 }", 1),
        ("p := x if { f(y, x); y = 1 }\nf(a) := a + 1", 2),
        ("p := n if { n = count(xs); xs = [x | x = input.a[_]] }", 2),
        ("p := [i, v] if { v == 2; v = input.a[i] }", [1, 2]),
        ("p if { every x in xs { x > 0 }; xs = [1] }", True),
        ("p := x if { [x, 2] = input.a }", 1),
        ("p := k if { input.o[k] = 3 }", "b"),
    ],
)
def test_bodies_are_put_in_order(text: Any, wanted: Any) -> None:
    if wanted is None:
        assert codes(text)
    else:
        assert answer(text, {"a": [1, 2], "o": {"b": 3}}) == wanted


def test_closures_wait_for_the_variables_around_them() -> None:
    assert answer("p := y if { y = [z | z = x]; x = 1 }") == [1]
    assert answer("p if { [x | x = 1]; [x | x = 2] }") is True
