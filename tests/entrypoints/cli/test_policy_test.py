"""`policy test`: our own cases, failures, shares, watching."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.entrypoints.cli.policy_house import CASES, POLICIES, run
from watchkey.entrypoints.cli import policy_test
from watchkey.entrypoints.cli.output import Globals
from watchkey.entrypoints.cli.policy_files import policies_of
from watchkey.entrypoints.cli.policy_test import Work, footprint

FAILING = """\
roster:
  people: {alice: {name: Alice}}
  policies: {p: {name: P, levels: [{people: [alice]}]}}
  services: {s: {name: S, policy: p}}
resources: {db: {privileges: [read], opened_by: [{service: s}]}}
at: 2026-07-01T12:00:00Z
cases:
  - {name: wrong, ask: alice read db, want: allow}
  - {name: right, ask: alice read db, want: deny, reason: only_permanent}
"""


def test_our_own_cases_and_rego_tests_pass() -> None:
    result = run("test", CASES, POLICIES)
    assert result.exit_code == 0, result.output
    passed = int(re.search(r"fine: (\d+) passed", result.output)[1])  # type: ignore[index]  # it is there, or fails
    names = re.findall(r"^test_\w+", (POLICIES / "default_test.rego").read_text(), re.MULTILINE)
    cases = re.findall(
        r"^  - (?:\{name|name)", "".join(path.read_text() for path in CASES.glob("*.yaml")), re.MULTILINE
    )
    assert passed == len(names) + len(cases)


def test_without_files_the_shipped_policy_is_tested(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("version: 1\n")
    result = run("test", "-v", config=tmp_path / "w.yaml")
    assert result.exit_code == 0
    assert "data.watchkey_test.test_nobody_is_not" in result.output


def test_a_failure_is_told_and_counted(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(FAILING)
    result = run("test", tmp_path, "--junit", tmp_path / "j.xml")
    assert result.exit_code == 1
    assert "FAILED 8: wrong\n    wanted allow, got deny (only_permanent); it said: " in result.output
    assert "wrong: 1 passed, 1 failed" in result.output
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()
    answer = json.loads(run("test", tmp_path, "--json").output)
    assert [one["status"] for one in answer["results"]] == ["failed", "passed"]
    assert run("test", tmp_path, "--run", "^right$").exit_code == 0


def test_a_policy_of_the_configuration_brings_its_tests(tmp_path: Path) -> None:
    (tmp_path / "p.rego").write_text('package watchkey\ndecision := {"allow": input.privilege == "read"}')
    (tmp_path / "p_test.rego").write_text(
        'package t\nimport data.watchkey\ntest_x if watchkey.decision.allow with input as {"privilege": "read"}'
    )
    (tmp_path / "c.yaml").write_text(FAILING.replace("people: [alice]", "schedules: [q]").replace(
        "  policies:", "  schedules: {q: {name: Q, layers: [{participants: [alice], turn: daily, handoff: '09:00', "
        "from: 2026-06-01}]}}\n  policies:").replace("want: deny, reason: only_permanent", "want: allow")
        )  # fmt: skip
    (tmp_path / "w.yaml").write_text("policies:\n  own: {files: [p.rego], tests: [p_test.rego, c.yaml]}\n")
    result = run("test", "-v", config=tmp_path / "w.yaml")
    assert (result.exit_code, "fine: 3 passed" in result.output) == (0, True), result.output


def test_what_cannot_be_run_has_exit_code_2(tmp_path: Path) -> None:
    assert run("test", tmp_path).exit_code == 2  # no test at all
    assert run("test", tmp_path, "--run", "[").exit_code == 2
    (tmp_path / "a.rego").write_text("package a\ntest_x if nonsense")
    assert run("test", tmp_path).exit_code == 2
    (tmp_path / "a.rego").write_text("package a\ntest_x contains 1")
    assert run("test", tmp_path).exit_code == 2
    (tmp_path / "a.rego").unlink()
    (tmp_path / "c.yaml").write_text(FAILING.replace("want: allow", "want: maybe"))
    result = run("test", tmp_path)
    assert result.exit_code != 0


def test_shares_of_several_processes_are_the_whole() -> None:
    (policy,) = policies_of(Globals(), (CASES, POLICIES), None)
    whole = policy_test.run(Work(policies=(policy,)))
    shared = policy_test.run(Work(policies=(policy,)), jobs=2)
    assert [(one.name, one.status) for one in shared] == [(one.name, one.status) for one in whole]


def test_a_change_is_seen_and_tested_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.rego"
    file.write_text("package a")
    before = footprint(Globals(), [tmp_path])
    assert footprint(Globals(), [tmp_path]) == before
    (tmp_path / "note.txt").write_text("x")
    assert footprint(Globals(), [tmp_path]) == before
    file.write_text("package ab")
    assert footprint(Globals(), [tmp_path]) != before

    runs: list[str] = []
    texts: Iterator[str] = iter(["package abc", "package abc", "package abcd"])

    class Ended(Exception):
        pass

    async def instead_of_waiting(_: object, __: float) -> None:
        text = next(texts, None)
        if text is None:
            raise Ended
        file.write_text(text)

    monkeypatch.setattr(policy_test, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(policy_test.SystemClock, "sleep", instead_of_waiting)
    with pytest.raises(Ended):
        asyncio.run(policy_test._watch(Globals(), [tmp_path], lambda: runs.append(file.read_text()) or 0))
    assert runs[0] == "package ab"
    assert runs[-1] == "package abcd"


def test_the_schema_is_printed() -> None:
    assert json.loads(run("test", "--schema").output)["title"] == "Watchkey policy cases"


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")
def test_opa_and_we_agree_on_what_passes(tmp_path: Path) -> None:
    text = """package a
test_yes if true
test_no := false
test_number := 3
test_object := {"a": true}
test_undefined if input.x == 1
todo_test_later if false
"""
    (tmp_path / "a_test.rego").write_text(text)
    theirs = subprocess.run(
        ["opa", "test", "--format=json", str(tmp_path)], capture_output=True, text=True, check=False
    )
    wanted = {
        one["name"]: "skipped" if one.get("skip") else "failed" if one.get("fail") else "passed"
        for one in json.loads(theirs.stdout)
    }
    ours = json.loads(run("test", tmp_path, "--json").output)["results"]
    assert {one["name"].rpartition(".")[2]: one["status"] for one in ours} == wanted
