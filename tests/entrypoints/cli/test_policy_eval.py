"""`policy eval` and `explain`."""

import json
from pathlib import Path

import pytest

from tests.entrypoints.cli.policy_house import POLICIES, ROOT, run

GOLDEN = ROOT / "tests/golden/policy_input.json"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    text = 'package a\nallow if { input.x > data.limit; print("x is", input.x) }\nnow := time.now_ns()\n'
    (tmp_path / "a.rego").write_text(text + 'bad := 1 / input.x\ntext := "\\u001b[31m"\n')
    (tmp_path / "limit.json").write_text('{"limit": 3}')
    return tmp_path / "a.rego"


def test_a_value(policy: Path) -> None:
    data = ("-d", policy.parent / "limit.json")
    result = run("eval", "data.a.allow", policy, *data, "-i", "-", given='{"x": 4}')
    assert result.exit_code == 0
    assert "true\n" in result.output
    assert f"{policy}:2:" in result.output  # what it printed
    assert "x is 4" in result.output
    undefined = run("eval", "data.a.allow", policy, *data, "-i", "-", given="x: 3")
    assert (undefined.exit_code, undefined.output) == (1, "undefined\n")


def test_a_query_needs_no_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("eval", "x := 1 + 1").output == "x = 2\n"
    assert run("eval", "data.watchkey.decision.allow", "-i", GOLDEN).output == "true\n"
    assert run("eval", "1", config=tmp_path / "none.yaml").exit_code != 0


@pytest.mark.parametrize(("query", "code"), [("not 1 == 2", 0), ("not 1 == 1", 1), ("not input.x", 0)])
def test_a_query_that_negates(query: str, code: int, policy: Path) -> None:
    result = run("eval", query, policy)
    assert (result.exit_code, result.output) == (code, "undefined\n" if code else "true\n")


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "- " * 5_000 + "x"])
def test_an_input_without_a_floor_is_told_in_words(deep: str, policy: Path) -> None:
    result = run("eval", "input", policy, "-i", "-", given=deep)
    assert result.exit_code != 0
    assert "nested" in str(result.exception) + result.output


def test_solutions() -> None:
    result = run("eval", "x := [1, 2][_]; y := x + 1", POLICIES)
    assert (result.exit_code, result.output) == (0, "x = 1, y = 2\nx = 2, y = 3\n")
    answer = json.loads(run("eval", "x := [1, 2][_]; x > 5", POLICIES, "--json").output)
    assert (answer["defined"], answer["solutions"]) == (False, [])


def test_the_instant_is_given(policy: Path) -> None:
    result = run("eval", "data.a.now", policy, "--at", "2026-07-01T12:00:00Z", "--json")
    assert json.loads(result.output)["value"] == 1782907200000000000
    assert run("eval", "data.a.now", policy, "--at", "noon").exit_code == 2


def test_each_kind_of_trouble_has_its_exit_code(policy: Path) -> None:
    for asked in (["eval"], ["explain"]):
        assert run(*asked, "data.a.bad", policy, "-i", "-", "--lenient-errors", given='{"x": 0}').exit_code == 1
        assert run(*asked, "data.a.bad", policy, "-i", "-", given='{"x": 0}').exit_code == 3
    assert run("eval", "nonsense(1)", policy).exit_code == 2
    policy.write_text("package a\nallow if {")
    result = run("eval", "data.a.allow", policy)
    assert (result.exit_code, f"{policy}:2:" in result.output) == (2, True)
    assert "errors" in json.loads(run("eval", "data.a.allow", policy, "--json").output)


def test_control_characters_do_not_reach_the_terminal(policy: Path) -> None:
    assert "\x1b" not in run("eval", "data.a.text", policy).output


def test_why_the_shipped_policy_answers() -> None:
    allowed = run("explain", "data.watchkey.decision", POLICIES, "-i", GOLDEN)
    assert allowed.exit_code == 0
    assert "data.watchkey.decision holds (" in allowed.output
    document = json.loads(GOLDEN.read_text())
    document["resource"]["max_level"] = 0
    document["responding"] = []
    denied = run("explain", "data.watchkey.decision", POLICIES, "-i", "-", given=json.dumps(document))
    assert "data.watchkey.level_counts does not hold: shift.level <= input.resource.max_level" in denied.output
    assert "input.resource.max_level = 0" in denied.output
    answer = json.loads(
        run("explain", "data.watchkey.decision", POLICIES, "-i", "-", "--json", given=json.dumps(document)).output
    )
    assert answer["value"]["allow"] is False
    assert {"held", "failed", "lines"} <= set(answer["trace"])
    assert any(step["values"].get("input.resource.max_level") == 0 for step in answer["why"])


def test_only_a_rule_can_be_explained() -> None:
    assert run("explain", "x := 1", POLICIES).exit_code == 2


def test_several_policies_of_a_configuration_need_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_text("package a\nx := 1")
    config = tmp_path / "w.yaml"
    config.write_text("policies:\n  a: {files: [a.rego]}\n  b: {files: [a.rego], parameters: {y: 2}}\n")
    assert run("eval", "data.a.x", config=config).exit_code == 2
    assert run("eval", "data.policyparams.y", "--policy", "b", config=config).output == "2\n"
