"""Rego tests and cases: what passes, what fails, and what is said about it."""

import asyncio
import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import NOW, request
from tests.fakes.clock import DrivenClock
from tests.rego.real_opa import NO_OPA, OPA
from watchkey.flows.test_policy import Case, Result, Status, Wanted, rego_tests, run_case, run_rego_test
from watchkey.model.access import Allow, Decision, Deny, Reason
from watchkey.rego import Dialect, Location, compile_modules, freeze

PLACE = Location(file="c.yaml", line=1, column=1)
TESTS = """package a.b_test
test_yes if true
test_no := false
test_undefined if 1 == 2
test_number := 3
test_conflict := 1 if true
test_conflict := 2 if true
test_input if seen with input as {"x": 1}
seen if { print("seen", input.x); input.x == 1 }
test_data if data.limit == 3
test_now if time.now_ns() == 1782907200000000000
todo_test_later if 1 == 2
helper if true
test_set contains 1
test_each[name] if { some name, wanted in {"a": 1, "b": 2}; wanted == 1 }
test_all[name] if { some name, wanted in {"a": 1, "b": 2}; wanted < 3 }
test_each_of_each[x][y] if { some x in ["a", "b"]; some y in [1, 2]; not y == 2 }
test_values[x] := y if { some x, y in {"a": true, "b": false} }
test_empty[x] if some x in []
test_conflicting[x] := y if { x := "a"; some y in [true, false] }
test_function(x) if x
test_endless if { some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i == -j }
default test_default := true
"""


def results(text: str, data: dict[str, object] | None = None) -> dict[str, Result]:
    policy = compile_modules({"b_test.rego": text})
    clock = DrivenClock(NOW)
    return {
        test.name.rpartition(".")[2]: run_rego_test(policy, test, freeze(data or {}), clock)
        for test in rego_tests(policy.modules)
    }


def test_every_kind_of_end() -> None:
    found = results(TESTS, {"limit": 3})
    assert {name: result.status for name, result in found.items()} == {
        "test_yes": Status.PASSED,
        "test_no": Status.FAILED,
        "test_undefined": Status.FAILED,
        "test_number": Status.FAILED,
        "test_conflict": Status.FAILED,
        "test_conflict#01": Status.FAILED,
        "test_input": Status.PASSED,
        "test_data": Status.PASSED,
        "test_now": Status.PASSED,
        "todo_test_later": Status.SKIPPED,
        "test_set": Status.ERROR,
        "test_each": Status.FAILED,
        "test_all": Status.PASSED,
        "test_each_of_each": Status.FAILED,
        "test_values": Status.FAILED,
        "test_empty": Status.FAILED,
        "test_conflicting": Status.ERROR,
        "test_function": Status.ERROR,
        "test_endless": Status.ERROR,
    }
    assert found["test_each"].message == "1 of 2 cases are not true: b"
    assert found["test_each_of_each"].message == "2 of 4 cases are not true: a / 2, b / 2"
    assert found["test_values"].message == "1 of 2 cases are not true: b"
    assert found["test_empty"].message == "it has no case"
    assert found["test_no"].message == "it is false"
    assert found["test_undefined"].message == "it is undefined"
    assert found["test_number"].message == "it is 3"
    assert found["test_conflict"].message == "it is 1"
    assert "conflict" in found["test_conflicting"].message
    assert found["test_input"].prints == ("b_test.rego:9:11: seen 1",)
    assert (found["test_no"].location.file, found["test_no"].location.line) == ("b_test.rego", 3)


def test_each_rule_is_a_test_of_its_own() -> None:
    found = results("package a\ntest_x if 1 == 2\ntest_x if true\ntest_x := false\n")
    assert {name: result.status for name, result in found.items()} == {
        "test_x": Status.FAILED,
        "test_x#01": Status.PASSED,
        "test_x#02": Status.FAILED,
    }


def test_tests_in_the_old_syntax() -> None:
    policy = compile_modules({"a.rego": "package a\ntest_x { true }"}, dialect=Dialect.V0)
    (test,) = rego_tests(policy.modules)
    assert run_rego_test(policy, test, freeze({}), DrivenClock(NOW)).status is Status.PASSED


# --- cases -----------------------------------------------------------------------------------------------------------

YES = Allow(
    request=request(), decided_at=NOW, until=NOW + timedelta(hours=1), reason=Reason.ON_CALL, sentence="You are.",
    evidence=(),
)  # fmt: skip
NO = Deny(request=request(), decided_at=NOW, reason=Reason.NOT_ON_CALL, sentence="Bob Brown is on call instead.")


def judged(wanted: Wanted, decision: Decision) -> Result:
    async def ask(_: Case) -> Decision:
        return decision

    case = Case(name="c", location=PLACE, request=request(), at=NOW, wanted=wanted)
    return asyncio.run(run_case(case, ask, DrivenClock(NOW)))


@pytest.mark.parametrize(
    ("wanted", "decision"),
    [
        (Wanted(is_allow=True), YES),
        (Wanted(is_allow=True, reason=Reason.ON_CALL, until=YES.until, sentence="are"), YES),
        (Wanted(is_allow=False), NO),
        (Wanted(is_allow=False, reason=Reason.NOT_ON_CALL, sentence="Bob"), NO),
    ],
)
def test_what_is_wanted_passes(wanted: Wanted, decision: Decision) -> None:
    assert judged(wanted, decision).status is Status.PASSED


@pytest.mark.parametrize(
    ("wanted", "decision", "message"),
    [
        (Wanted(is_allow=False), YES, "wanted deny, got allow (on_call)"),
        (Wanted(is_allow=True), NO, "wanted allow, got deny (not_on_call)"),
        (Wanted(is_allow=False, reason=Reason.NO_ROSTER), NO, "wanted the reason no_roster, got not_on_call"),
        (Wanted(is_allow=True, until=NOW), YES, "wanted an end at 2026-07-01T12:00:00+00:00, got 2026-07-01T13:00"),
        (Wanted(is_allow=False, sentence="Carol"), NO, "wanted a sentence with 'Carol'"),
        (Wanted(is_allow=True, reason=Reason.ON_CALL), replace(YES, reason=Reason.RESPONDING), "got responding"),
    ],
)
def test_what_is_not_wanted_is_told(wanted: Wanted, decision: Decision, message: str) -> None:
    result = judged(wanted, decision)
    assert result.status is Status.FAILED
    assert message in result.message
    assert decision.sentence in result.message


PURE = """package pure_test
test_yes if true
test_no := false
test_undefined if 1 == 2
test_number := 3
test_input if seen with input as {"x": 1}
seen if input.x == 1
todo_test_later if 1 == 2
test_each[name] if { some name, wanted in {"a": 1, "b": 2}; wanted == 1 }
test_all[name] if { some name, wanted in {"a": 1, "b": 2}; wanted < 3 }
test_each_of_each[x][y] if { some x in ["a", "b"]; some y in [1, 2]; not y == 2 }
test_two[x] if { some x in ["a", "b"]; x == "a" }
test_two[x] if { some x in ["a", "b"]; x == "b" }
test_values[x] := y if { some x, y in {"a": true, "b": false} }
test_called[x] if { some x in ["a", "b"]; is_a(x) }
is_a(x) if x == "a"
test_conflicting[x] := y if { x := "a"; some y in [true, false] }
"""


@pytest.mark.skipif(OPA is None, reason=NO_OPA)
def test_the_same_file_ends_the_same_under_a_real_opa(tmp_path: Path) -> None:
    (tmp_path / "pure_test.rego").write_text(PURE)
    run = subprocess.run(
        [str(OPA), "test", "--format", "json", str(tmp_path)], capture_output=True, text=True, check=False
    )
    theirs = {
        each["name"]: Status.SKIPPED
        if each.get("skip")
        else Status.ERROR
        if each.get("error")
        else Status.FAILED
        if each.get("fail")
        else Status.PASSED
        for each in json.loads(run.stdout)
    }
    assert {name: result.status for name, result in results(PURE).items()} == theirs
