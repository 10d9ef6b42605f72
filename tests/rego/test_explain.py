"""Traces: what held, what stopped the rest and with which values, which lines ran; the answer stays the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rego.evaluating import policy
from watchkey.rego import freeze

POLICY = policy(
    """
default allow := false

allow if {
	on_call(input.who)
	level <= data.max
}

on_call(who) if {
	some entry in data.entries
	entry.who == who
}

level := l if l := input.level

names contains entry.who if some entry in data.entries

broken if input.subject.team == "a"

empty if {
	some x in input.none_there
	x == 1
}

negative if not input.who
"""
)
DATA = freeze({"max": 1, "entries": [{"who": "ann"}, {"who": "bob"}]})


def trace(who: str, level: object, query: str = "data.t.allow") -> Any:
    given = {"who": who, "level": level, "none_there": []}
    plain = POLICY.query(query).evaluate(given, DATA)
    traced = POLICY.query(query).evaluate(given, DATA, trace=True)
    assert traced.value == plain.value
    assert traced.steps == plain.steps
    assert traced.trace is not None
    assert plain.trace is None
    return traced.trace


def test_what_held() -> None:
    held = {finding.rule for finding in trace("ann", 1).held()}
    assert held == {"data.t.allow", "data.t.on_call", "data.t.level"}
    assert str(trace("ann", 1).explain("data.t.allow")[0]) == "data.t.allow holds (t.rego:6)"


def test_the_first_expression_that_failed_with_its_values() -> None:
    [finding, held] = trace("ann", 2).explain("data.t.allow")
    assert str(finding) == "data.t.allow does not hold: level <= data.max (t.rego:8; level = 2, data.max = 1)"
    assert held.held


def test_a_failure_leads_to_the_rule_that_it_names() -> None:
    steps = [str(finding) for finding in trace("carol", 1).explain("data.t.allow")]
    assert steps[0].startswith("data.t.allow does not hold: on_call(input.who) (t.rego:7;")
    assert steps[1] == 'data.t.on_call does not hold: entry.who == who (t.rego:13; entry.who = "bob", who = "carol")'


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("broken", "input.subject.team is undefined"),
        ("empty", "nothing matched"),
        ("negative", "nothing matched"),
    ],
)
def test_other_reasons(rule: Any, wanted: Any) -> None:
    [finding] = trace("ann", 1, f"data.t.{rule}").explain(f"data.t.{rule}")
    assert wanted in str(finding)


def test_lines_that_ran() -> None:
    lines = {line for _, line in trace("carol", 1).lines}
    assert {6, 7, 11, 12, 13} <= lines
    assert 8 not in lines


def test_as_json() -> None:
    document = trace("ann", 2).json()
    assert json.loads(json.dumps(document)) == document
    assert document["failed"][0]["values"] == {"data.max": 1, "level": 2}
    assert document["failed"][0]["line"] == 8


def test_solutions_can_be_traced_too() -> None:
    query = POLICY.bindings_query("data.t.names[x]")
    result = query.evaluate({}, DATA, trace=True)
    assert result.value == (("ann",), ("bob",))
    assert result.trace is not None
    assert result.trace.held()[0].rule == "data.t.names"


def test_an_unknown_rule_has_no_explanation() -> None:
    assert trace("ann", 1).explain("data.t.nothing") == ()
