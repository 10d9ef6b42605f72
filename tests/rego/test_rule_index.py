"""Rule indexing: which rules it covers, that it changes no answer, and that many rules cost no more than a few."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import answer, policy, value
from watchkey.rego import EvaluationError
from watchkey.rego.rule_index import MIN_RULES, rule_index

ROLES = "\n".join(f'p := {n} if input.role == "r{n}"' for n in range(20))
FUNCTIONS = "\n".join(f'f("k{n}") := {n}' for n in range(20))


def index_of(text: str, path: tuple[str, ...]) -> Any:
    node = policy(text)._program.find(("data", "t", *path))
    assert node is not None
    return rule_index(node)


def test_what_is_indexed() -> None:
    assert index_of(ROLES, ("p",)).key == ("input", ("role",))
    assert index_of(FUNCTIONS, ("f",)).key == ("argument", 0)
    mixed = "\n".join(f"f(x) := {n} if x == {n}" for n in range(MIN_RULES)) + "\nf(y) := 99 if y > 50"
    found = index_of(mixed, ("f",))
    assert (found.key, found.rest) == (("argument", 0), [MIN_RULES])
    assert found.table[3] == [3, MIN_RULES]


@pytest.mark.parametrize(
    "text",
    [
        'p := 1 if input.role == "a"',
        "\n".join(f"p := {n} if input.x > {n}" for n in range(20)),
        "\n".join(f'p := {n} if not input.role == "r{n}"' for n in range(20)),
        "\n".join(f'p := {n} if input.role == "r{n}" with input.role as "x"' for n in range(20)),
        "\n".join(f'p := {n} if input.role == "r{n}" else := 5 if false' for n in range(20)),
        "\n".join(f"p[x] := {n} if {{ input.role == {n}; x := {n} }}" for n in range(20)),
    ],
)
def test_what_is_not(text: str) -> None:
    assert index_of(text, ("p",)) is None


@pytest.mark.parametrize(
    ("role", "wanted"), [("r3", 3), ("r19", 19), ("other", None), (3, None), ([], None), (None, None)]
)
def test_answers(role: object, wanted: object) -> None:
    assert answer(ROLES, {"role": role}) == wanted


def test_answers_of_functions_and_defaults() -> None:
    text = FUNCTIONS + '\ndefault f(_) := -1\np := [f("k3"), f("none"), f(3), f(["k3"])]'
    assert answer(text) == [3, -1, -1, -1]
    assert answer("default p := 7\n" + ROLES, {}) == 7
    assert answer(ROLES) is None


def test_numbers_are_found_by_magnitude() -> None:
    text = "\n".join(f"p := {n} if input.x == {n}" for n in range(20))
    assert answer(text, {"x": 3.0}) == 3
    assert answer(text, {"x": True}) is None


def test_conflicts_are_still_found() -> None:
    text = ROLES + '\np := 99 if input.role == "r3"'
    with pytest.raises(EvaluationError, match="multiple outputs"):
        value(text, {"role": "r3"})
    assert value(text, {"role": "r4"}) == 4


def test_with_is_seen() -> None:
    text = ROLES.replace("p :=", "q :=") + '\np := [x, y] if { x := q with input.role as "r5"; y := q }'
    assert answer(text, {"role": "r1"}) == [5, 1]


def test_traces_show_every_rule() -> None:
    result = policy(ROLES).query("data.t.p").evaluate({"role": "r19"}, trace=True)
    assert result.json() == 19
    assert result.trace is not None
    assert len(result.trace.failed()) == 19
