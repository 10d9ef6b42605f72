"""Static types: arguments, look-ups that cannot exist, comparisons never equal; and what must stay allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import errors

SCHEMA = {
    "type": "object",
    "properties": {
        "subject": {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False},
        "level": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('p := 1 + "a"', "plus: invalid argument(s)"),
        ('p if { x := 1; startswith(x, "a") }', "startswith: invalid argument(s)"),
        ('p := sum([1, "a"])', "sum: invalid argument(s)"),
        ("p := array.concat([1], {2})", "array.concat: invalid argument(s)"),
        ('p if { x := {"a": 1}; x.b }', "undefined ref: x.b"),
        ('p if { x := "s"; x[0] }', "undefined ref: x[0]"),
        ("p if { x := [1]; x.foo }", "undefined ref: x.foo"),
        ("p := count({1}).x", "undefined ref"),
        ('p if { 1 == "a" }', "match error"),
        ('p if { x := 1; x == "a" }', "match error"),
        ("p if { [1] = {1} }", "match error"),
        ('q := 1\np if { q == "a" }', "match error"),
        ('q := {"a": 1}\np if { q.b }', "undefined ref: data.t.q.b"),
        ('f(1) := 2\np := f("a")', "data.t.f: invalid argument(s)"),
        ('p if { some x in [1, 2]; x == "a" }', "match error"),
        ('p := [1 | x := 1; x == "a"]', "match error"),
        ('f(x) := 1\np if { f(1) == "a" }', "match error"),
    ],
)
def test_what_is_refused(text: Any, part: Any) -> None:
    assert part in " ".join(errors(text))


@pytest.mark.parametrize(
    "text",
    [
        "p := input.x + 1",
        'p if { input.x == "a"; input.y == 1 }',
        "p := 1 if { data.x.y == 2 }",
        'p := "a" < 1',
        "f(x) := x.a\np := f(1)",
        "p := q if { q := 1 }",
        'q := 1 if input.a\nq := "a" if input.b\np if { q == "a" }',
        "p := max([]) if true",
        "q contains 1\np if { q[x]; x == 1 }",
        'p := {1, "a"} if { {1, "a"} == {"a", 1} }',
        'q := 1\np if { q == "x" with q as "x" }',
        'p := x if { x := [1, "a"][_]; x == "a" }',
        'p if { [x, y] := [1, "a"]; x == 1; y == "a" }',
        'p := object.get(input, "a", null) == 1',
        "p := [] == [1]",
        "p if { x := {}; count(x) == 0 }",
        'p := {"a": input.b}.a.c',
        'p.a := 1\np[x] := "s" if x := "b"\nq if { p.b == "s" }',
    ],
)
def test_what_is_allowed(text: Any) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('p if { input.subject.idd == "a" }', "undefined ref: input.subject.idd"),
        ("p if { input.nope }", "undefined ref: input.nope"),
        ('p if { input.level == "1" }', "match error"),
        ("p if { some x in input.tags; x == 1 }", "match error"),
        ("p := input.tags + 1", "plus: invalid argument(s)"),
        ("import input.subject as s\np if s.name", "undefined ref"),
    ],
)
def test_with_a_schema_of_the_input(text: Any, part: Any) -> None:
    assert errors(text) == []
    assert part in " ".join(errors(text, input_schema=SCHEMA))


@pytest.mark.parametrize(
    "text",
    [
        "p if { input.level == null }",
        "p if { input.level <= 1 }",
        "p if { input.subject.id == input.tags[_] }",
        'p := y if { y := input.subject with input as {"x": 1} }',
        'p if { input.x with input as {"x": 1} }',
    ],
)
def test_what_a_schema_allows(text: Any) -> None:
    assert errors(text, input_schema=SCHEMA) == []


def test_the_error_says_both_types() -> None:
    from tests.rego.evaluating import policy
    from watchkey.rego import RegoErrors

    with pytest.raises(RegoErrors) as caught:
        policy('p if { 1 == "a" }')
    assert caught.value.errors[0].hint == "left: number, right: string"


@pytest.mark.parametrize(
    "text",
    [
        "p := product({1, true})",
        'p := io.jwt.encode_sign({true: "a"}, {}, {})',
        'p := "c" in {false}',
        'p if { ["a" | true] == [1 | true] }',
    ],
)
def test_literals_are_looked_into(text: Any) -> None:
    assert "rego_type_error" in errors(text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "import future.keywords.or\np if { {null & {1}} or input.b }",
        "p if every x in [1] { x == true }",
        'p if every x in {"b"} { [y | some y in x] == 1 }',
        "r := [set() | true]\np := input.n * data.t.r",
        "p := product(-input.x)",
    ],
)
def test_what_opa_leaves_alone_is_left_alone(text: Any) -> None:
    assert errors(text) == []
