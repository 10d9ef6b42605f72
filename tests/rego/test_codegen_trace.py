"""Traced code answers as plain code does, for every kind of rule and expression."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego import test_codegen, test_codegen_terms
from tests.rego.evaluating import policy
from watchkey.rego import freeze

CASES = [
    parameter[0]
    for test in (
        test_codegen.test_rules,
        test_codegen_terms.test_with,
        test_codegen_terms.test_not,
        test_codegen_terms.test_every,
        test_codegen_terms.test_values_and_order,
    )
    for parameter in test.pytestmark[0].args[1]
]


@pytest.mark.parametrize("text", CASES)
def test_tracing_changes_no_answer(text: Any) -> None:
    query = policy(text).query("data.t.p")
    given, data = test_codegen_terms.INPUT, freeze(test_codegen_terms.DATA)
    plain = query.evaluate(given, data, now_ns=1)
    traced = query.evaluate(given, data, now_ns=1, trace=True)
    assert traced.value == plain.value
    assert traced.steps == plain.steps
    assert traced.trace is not None
    document = traced.trace.json()
    assert all(finding["line"] > 0 for finding in [*document["held"], *document["failed"]])
