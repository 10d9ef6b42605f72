"""Calls and modifiers: unknown functions, arity, targets, deprecated built-ins."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import errors
from watchkey.rego import Dialect, RegoErrors, compile_modules


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("p := foo(1)", "rego_type_error undefined function foo"),
        ("p if { http.send({}) }", "rego_type_error undefined function http.send"),
        ("p := opa.runtime()", "rego_type_error undefined function opa.runtime"),
        ('p := net.lookup_ip_addr("a")', "rego_type_error undefined function net.lookup_ip_addr"),
        ('p := rand.intn("a", 1)', "rego_type_error undefined function rand.intn"),
        ("p := data.nowhere.f(1)", "rego_type_error undefined function data.nowhere.f"),
        ("p := count(1, 2, 3)", "count: arity mismatch"),
        ("p := count()", "count: arity mismatch"),
        ("f(x) := x\np := f(1, 2, 3)", "function data.t.f has arity 1, got 3 arguments"),
        ("f(x, y) := [x, y]\np := f(1)", "function data.t.f has arity 2, got 1 argument"),
        ("f(x) := x\np := [f(1, 2)]", "function data.t.f has arity 1, got 2 arguments"),
        ("p := any([true])", "deprecated built-in function calls in expression: any"),
        ('q := {"a": 1}\np if { q with q.a as 2 }', "with keyword cannot partially replace virtual document(s)"),
        ("p := 1 if { true with walk as 1 }", 'replacement of "walk" invalid'),
        ("p := q(1)\nq := 1", "has arity"),
        ("f(x) := x\np := f", "used as reference, not called"),
    ],
)
def test_what_is_refused(text: Any, part: Any) -> None:
    assert part in " ".join(errors(text))


def test_deprecated_built_ins_work_in_v0() -> None:
    assert errors("p { any([true]) }", dialect=Dialect.V0) == []
    assert "deprecated" in errors("p { any([true]) }", dialect=Dialect.V0, strict=True)[0]


def test_the_result_may_be_a_further_argument_of_a_statement() -> None:
    assert errors("p := x if { count([1], x) }") == []


def test_several_problems_at_once() -> None:
    found = errors("p := foo(1)\n\nq if { x == 1 }\n\nr := count()\n")
    assert [each.split(" ")[0] for each in found] == ["1:6", "3:8", "5:6"]


def test_a_name_that_is_unused_or_shadows_a_root_hides_no_other_error() -> None:
    text = "import data.u\np if { input := 3; b == 2 }\nq if { foo(1) }"
    said = " ".join(errors(text, strict=True))
    for part in ("import data.u unused", "must not shadow input", "var b is unsafe", "undefined function foo"):
        assert part in said


@pytest.mark.parametrize(
    ("call", "why"),
    [('http.send({"url": "x"})', "it reaches outside"), ('rand.intn("a", 1)', "it needs a seed"), ("foo(1)", "")],
)
def test_why_a_function_is_not_there(call: str, why: str) -> None:
    with pytest.raises(RegoErrors) as caught:
        compile_modules({"p.rego": f"package p\nq := {call}"})
    (error,) = caught.value.errors
    assert error.hint.startswith(why)
    assert bool(error.hint) is bool(why)
