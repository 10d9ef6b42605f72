"""Terms: precedence, references, comprehensions against unions, templates, keywords as names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, errors


@pytest.mark.parametrize(
    ("term", "wanted"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 - 2 - 1", 4),
        ("8 / 2 / 2", 2),
        ("1 < 2 == true", True),
        ("{1} | {2} & {2, 3}", [1, 2]),
        ("1 + 1 in [2]", True),
        ("-input.n", -5),
        ("-1 - -1", 0),
        ("1e2", 100),
        ("[1, 2, ]", [1, 2]),
        ('{"a": 1, }', {"a": 1}),
        ("set()", []),
        ("{}", {}),
        ("[x | x := 1]", [1]),
        ("{x | x := 1} | {2}", [1, 2]),
        ('{"k": x | x := 1}', {"k": 1}),
        ("[{1} | {2}, 3]", [[1, 2], 3]),
        ('{"a": {"b": [1, 2]}}.a.b[1]', 2),
        ('{"a b": 1}["a b"]', 1),
        ("[1, 2][0]", 1),
        ('{"if": 3}.if', 3),
        ("1 in [1, 2]", True),
        ('"a", 1 in {"a": 1}', True),
        ("[1 in [1], 2]", [True, 2]),
        ("(1, 2 in [2])", False),
        ('$"a{1 + 1}b{input.zz}"', "a2b<undefined>"),
        ("$`{input.n}\\{`", "5{"),
        ('"\\u00e9"', "é"),
    ],
)
def test_terms(term: Any, wanted: Any) -> None:
    assert answer(f"p := {term}", {"n": 5}) == wanted


@pytest.mark.parametrize(
    "term",
    [
        "1 +",
        "[1 2]",
        '{"a" 1}',
        "a[1 2]",
        "(1",
        "{1",
        "null.foo",
        '"a".foo',
        "[x + 1 | x := 1]",
        "f(",
        "1 2",
        "not",
        '$"{x = 1}"',
        '$"{not x}"',
        '$"{some x in [1]}"',
        '$"{}"',
        '$"{1 2}"',
        "a.1",
        "a. b",
        "01",
        "[,]]",
    ],
)
def test_terms_that_are_refused(term: Any) -> None:
    assert errors(f"p := {term}")[0].split(" ")[1] == "rego_parse_error"


def test_backtracking_does_not_multiply() -> None:
    found = errors("p := " + "{" * 50)
    assert "rego_parse_error" in found[0]


@pytest.mark.parametrize("opened", ["[", "(", "{", '{"a":', "count(", "[x | x := ", "input["])
def test_deep_nesting_ends_in_an_error(opened: Any) -> None:
    assert "nested too deeply" in errors("p := " + opened * 20_000)[0]


@pytest.mark.parametrize("chain", ["+1" * 5000, "|{1}" * 5000, " in [1]" * 5000])
def test_long_chains_end_in_an_error(chain: Any) -> None:
    assert "too many operators" in errors(f"p := 1{chain}")[0]


def test_long_references_end_in_an_error() -> None:
    assert "too many" in errors("p := input" + ".a" * 5000)[0]


def test_commas_before_the_first_element_are_tolerated() -> None:
    assert answer("p := [, 1, 2]") == [1, 2]


def test_a_wildcard_is_another_variable_each_time() -> None:
    assert answer("p if { [_, _] = [1, 2] }") is True


def test_a_fraction_may_follow_a_point() -> None:
    assert answer("p := [.01, -.5]") == [0.01, -0.5]
    assert "invalid float" in errors("p := . 3.14")[0]


def test_no_blank_is_needed_between_in_and_an_array() -> None:
    assert answer("p := 1 in[1, 2]") is True
    assert answer("p if every k, v in[1, 2] { k + 1 == v }") is True
    assert answer("p contains[k, v] if some k, v in[1]") == [[0, 1]]
    assert answer("p := x if { x := input.x with input.x as[1] }") == [1]


def test_a_call_where_a_rule_has_to_stand() -> None:
    assert "conflicts with built-in function" in errors("p := 1 array.reverse(x)")[0]
