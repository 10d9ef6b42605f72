"""The tree of rules: conflicts, recursion, and which rules a reference can reach."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import codes, errors, policy
from watchkey.rego import RegoErrors, compile_modules


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("p := 1\np contains 2", "conflicting rules data.t.p found"),
        ("p := 1\np(x) := x", "conflicting rules data.t.p found"),
        ("f(x) := x\nf(x, y) := [x, y]", "conflicting rules data.t.f found"),
        ("p contains 1\np[x] := 2 if x := 3", "conflicting rules data.t.p found"),
        ("p.q := 1\np.q.r := 2", "rule data.t.p.q conflicts with [data.t.p.q.r]"),
        ("p[x] := 1 if x := 2\np.f(x) := x", "rule data.t.p conflicts with [data.t.p.f]"),
        ("default p := 1\ndefault p := 2", "multiple default rules data.t.p found"),
    ],
)
def test_conflicts(text: Any, part: Any) -> None:
    assert part in " ".join(errors(text))


def test_a_package_conflicts_with_a_rule_of_its_name() -> None:
    with pytest.raises(RegoErrors, match=r"rule data.a.b conflicts with"):
        compile_modules({"a.rego": "package a\nb := 1", "b.rego": "package a.b\nc := 1"})


@pytest.mark.parametrize(
    "text",
    [
        "p := p",
        "p := q\nq := p",
        "p if { q }\nq if { not p }",
        "f(x) := f(x)",
        "p if data.t.q[_]\nq contains 1 if p",
        "p := [x | x := data.t[_]]",
        "p := data.t",
        "f(x) := g(x)\ng(x) := data.t.p\np := f(1)",
        "p := 1 if { every x in [1] { data.t.p == x } }",
        'p := $"{data.t.p}"',
        "p := x if { x := 1 with input as data.t.p }",
    ],
)
def test_recursion(text: Any) -> None:
    assert "rego_recursion_error" in codes(text)


def test_every_rule_of_a_cycle_is_named() -> None:
    found = errors("p := q\nq := r\nr := p\ns := p")
    assert [each.split(":")[0] for each in found] == ["1", "2", "3"]
    assert "data.t.p -> data.t.q -> data.t.r -> data.t.p" in found[0]


def test_what_a_reference_covers() -> None:
    from watchkey.rego.ast import Const, Var

    program = policy("a.x := 1\na.y := 2\nb := 3\nf(x) := x")._program
    assert [node.path[1:] for node in program.covered([Const("t"), Const("a"), Var("k")])] != []
    assert {node.path for node in program.covered([Const("t"), Const("a")])} == {
        ("data", "t", "a", "x"),
        ("data", "t", "a", "y"),
    }
    assert program.find_function("data.t.f") is not None
    assert program.find_document("data.t.f") is None
    assert program.find_document("data.t.b") is not None
    assert program.find(("data", "nowhere")) is None


def test_long_chains_of_rules_are_not_recursion() -> None:
    text = "a0 := 1\n" + "\n".join(f"a{n + 1} := a{n} + 1" for n in range(150)) + "\np := a150"
    assert policy(text).query("data.t.p").evaluate().json() == 151
