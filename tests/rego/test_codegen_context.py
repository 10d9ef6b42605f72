"""What code generation knows: functions, replaced ones, slots; and that a query changes nothing of it."""

from __future__ import annotations

from typing import Any

from tests.rego.evaluating import policy
from watchkey.rego.codegen import all_expressions
from watchkey.rego.codegen_context import mocked_functions

POLICY = policy(
    "f(x) := count(x)\nq := input.a\np := x if { x := q with count as 1 with data.t.f as 2 with input as 3 }"
)


def context() -> Any:
    return next(iter(POLICY._generated.values())).context


def test_functions_by_name() -> None:
    assert context().arity("data.t.f") == 1
    assert context().arity("count") == 1
    assert context().arity("data.t.q") == 0
    assert context().arity("nothing") is None
    assert context().is_relation("walk")
    assert not context().is_relation("count")


def test_replaced_functions_are_found() -> None:
    found = mocked_functions(POLICY._rules, all_expressions)
    assert {"count", "data.t.f"} <= found
    assert context().is_mocked("count")


def test_a_fork_changes_nothing() -> None:
    before = context()
    names = dict(before.names)
    fork = before.fork()
    fork.function("sum")
    assert before.names == names
    assert "sum" in fork.names


def test_queries_leave_the_policy_as_it_was() -> None:
    before = context().slots
    POLICY.query("input.entirely.new.path").evaluate({})
    assert context().slots == before
