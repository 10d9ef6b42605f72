"""A policy: queries of all forms, reuse across inputs and data, threads, what is not shared."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.rego.evaluating import policy
from watchkey.rego import RegoErrors, freeze, to_json

POLICY = policy(
    """
import data.roster

default allow := false

allow if level <= roster.max

level := l if {
	some entry in roster.entries
	entry.who == input.who
	l := entry.level
}

names contains entry.who if some entry in roster.entries

both if {
	allow with input as {"who": "ann"}
	not allow with input as {"who": "bob"}
}
"""
)


def roster(*entries: tuple[str, int], ceiling: int = 1) -> Any:
    return freeze({"roster": {"max": ceiling, "entries": [{"who": who, "level": level} for who, level in entries]}})


def test_answers_do_not_leak_from_one_evaluation_into_the_next() -> None:
    query = POLICY.query("data.t.allow")
    first, second = roster(("ann", 1)), roster(("ann", 2), ("bob", 1))
    for _ in range(3):
        assert query.evaluate({"who": "ann"}, first).json() is True
        assert query.evaluate({"who": "bob"}, first).json() is False
        assert query.evaluate({"who": "ann"}, second).json() is False
        assert query.evaluate({"who": "bob"}, second).json() is True
        assert query.evaluate({}, second).json() is False
        assert query.evaluate().json() is False


def test_with_does_not_leak_either() -> None:
    query, allow = POLICY.query("data.t.both"), POLICY.query("data.t.allow")
    data = roster(("ann", 1), ("bob", 5))
    assert query.evaluate({"who": "carol"}, data).json() is True
    assert allow.evaluate({"who": "carol"}, data).json() is False


def test_the_input_is_not_changed_and_may_be_used_again() -> None:
    given = {"who": "ann", "nested": {"list": [1, {"a": None}]}}
    before = repr(given)
    POLICY.query("data.t").evaluate(given, roster(("ann", 1)))
    assert repr(given) == before


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("data.t.level", 1),
        ("data.t.names", ["ann"]),
        ("data.roster.max", 1),
        ('data["t"].allow', True),
        ("input.who", "ann"),
        ("count(data.t.names)", 1),
        ("data.t.level + 1", 2),
        ("[x | some x in data.t.names]", ["ann"]),
        ("1 < 2", True),
    ],
)
def test_queries_for_one_value(text: Any, wanted: Any) -> None:
    assert POLICY.query(text).evaluate({"who": "ann"}, roster(("ann", 1))).json() == wanted


def test_a_query_for_what_is_not_there_is_undefined() -> None:
    result = POLICY.query("data.t.nothing.here").evaluate()
    assert not result.defined
    with pytest.raises(ValueError, match="undefined"):
        result.json()


@pytest.mark.parametrize(
    "text", ["x := 1", "data.t[x]", "x = 1; y = 2", "foo(1)", "x", "data.t.p(", "some x in [1]", "not 1 == 2"]
)
def test_queries_that_are_refused(text: Any) -> None:
    with pytest.raises(RegoErrors):
        POLICY.query(text)


def test_solutions_of_a_query() -> None:
    found = POLICY.evaluate_query("x = data.roster.entries[i].who; y := i + 1", data=roster(("ann", 1), ("bob", 2)))
    assert [to_json(row["x"]) for row in found] == ["ann", "bob"]
    assert [row["y"] for row in found] == [1, 2]
    assert POLICY.evaluate_query("false") == []
    assert POLICY.evaluate_query("true") == [{}]


def test_a_query_may_replace_functions_that_the_policy_does_not() -> None:
    compiled = policy("p := count(input.xs)")
    query = compiled.bindings_query("x := data.t.p with count as 7")
    assert query.evaluate({"xs": [1]}).value == ((7,),)
    assert compiled.query("data.t.p").evaluate({"xs": [1]}).json() == 1


def test_many_threads_share_a_policy() -> Any:
    query = POLICY.query("data.t.allow")
    people = [(f"u{n}", n % 4) for n in range(200)]
    data = roster(*people, ceiling=1)

    def ask(index: int) -> bool:
        who, level = people[index % 200]
        prepared = (
            POLICY.query("data.t.allow") if index % 7 else POLICY.query(f"data.t.allow == {str(level <= 1).lower()}")
        )
        answer = prepared.evaluate({"who": who}, data).json()
        return answer is (level <= 1) if prepared is query else answer is True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(4000)))


def test_queries_are_kept_but_not_without_end() -> None:
    compiled = policy("p := 1")
    assert compiled.query("data.t.p") is compiled.query("data.t.p")
    for number in range(600):
        compiled.query(f"{number} + data.t.p")
    assert len(compiled._queries) < 600
