"""OPA's conformance cases all pass, or are listed with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rego import conformance
from watchkey.rego import Dialect

CASES = conformance.find_cases(None)


@pytest.mark.skipif(CASES is None, reason="../shared/contracts/rego is not here and OPA_CASES is not set")
@pytest.mark.parametrize("dialect", list(Dialect))
def test_every_case_passes_or_is_listed(dialect: Any) -> None:
    assert CASES is not None
    listed = conformance.exceptions()
    cases = [case for case in conformance.load(CASES) if case.dialect == dialect]
    failures = {
        case.identity: problem for case in cases if (problem := conformance.run(case)) and case.identity not in listed
    }
    assert failures == {}


@pytest.mark.skipif(CASES is None, reason="../shared/contracts/rego is not here and OPA_CASES is not set")
def test_every_exception_is_still_one() -> None:
    assert CASES is not None
    listed = conformance.exceptions()
    cases = [case for case in conformance.load(CASES) if case.identity in listed]
    assert [case.identity for case in cases if not conformance.run(case)] == []
    assert len(cases) >= 38  # newer versions of OPA have a few more


def case(**content: Any) -> conformance.Case:
    return conformance.Case(dialect=Dialect.V1, content={"note": "a/b", "query": "data.t.p = x", **content})


@pytest.mark.parametrize(
    ("content", "passes"),
    [
        ({"modules": ["package t\np := 1"], "want_result": [{"x": 1}]}, True),
        ({"modules": ["package t\np := 1"], "want_result": [{"x": 2}]}, False),
        ({"modules": ["package t\np := 1"], "want_result": [{"x": True}]}, False),
        ({"modules": ["package t\np := 1 if false"], "want_result": []}, True),
        ({"modules": ["package t\np := 1 if false"], "want_result": [{"x": 1}]}, False),
        ({"modules": ["package t\np := {2, 1}"], "want_result": [{"x": [1, 2]}]}, True),
        ({"modules": ["package t\np := 1\np := 2"], "want_error_code": "eval_conflict_error"}, True),
        ({"modules": ["package t\np := 1"], "want_error_code": "eval_conflict_error"}, False),
        ({"modules": ["package t\np := 1 / 0"], "want_error_code": "eval_builtin_error", "strict_error": True}, True),
        ({"modules": ["package t\np := foo(1)"], "want_result": [{"x": 1}]}, False),
    ],
)
def test_the_judge(content: Any, passes: Any) -> None:
    assert (conformance.run(case(**content)) == "") is passes


def test_the_command(tmp_path: Any, capsys: Any) -> None:
    good = {"note": "a/good", "query": "data.t.p = x", "modules": ["package t\np := 1"], "want_result": [{"x": 1}]}
    bad = {**good, "note": "a/bad", "want_result": [{"x": 2}]}
    path = tmp_path / "cases-v1.jsonl"
    path.write_text(json.dumps(good) + "\n")
    assert conformance.main(["--cases", str(path)]) == 0
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    assert conformance.main(["--cases", str(tmp_path)]) == 1
    folder = tmp_path / "testdata" / "v0" / "cat"
    folder.mkdir(parents=True)
    (folder / "test-1.yaml").write_text(
        "cases:\n- note: cat/x\n  query: data.t.p = x\n  modules: ['package t\n\n    p { true }']\n"
        "  want_result: [{x: true}]\n"
    )
    assert conformance.main(["--cases", str(tmp_path / "testdata")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 cases: 1 passed, 0 listed as exceptions, 0 failed"
