"""`policy coverage`."""

import json
from pathlib import Path

from tests.entrypoints.cli.policy_house import POLICIES, run

POLICY = """package a

allow if {
	input.x == 1
	input.y == 2
}

allow if input.z == 3
"""
TEST = 'package a_test\n\nimport data.a\n\ntest_x if a.allow with input as {"x": 1, "y": 2}\n'


def test_every_line_of_the_shipped_policy_is_run() -> None:
    result = run("coverage", "--least", "100", POLICIES)
    assert result.exit_code == 0, result.output
    assert "100.0 %" in result.output


def test_lines_that_no_test_runs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_text(POLICY)
    (tmp_path / "a_test.rego").write_text(TEST.replace('"x": 1', '"x": 2'))
    answer = json.loads(run("coverage", "--json", tmp_path).output)
    (file,) = answer["files"]
    assert (file["file"], file["missed"], answer["failed"]) == (f"{tmp_path}/a.rego", [5], 1)
    (tmp_path / "a_test.rego").write_text(TEST)
    assert run("coverage", tmp_path).exit_code == 0
    (tmp_path / "a_test.rego").write_text(TEST.replace("a.allow", "true"))
    assert run("coverage", "--least", "50", tmp_path).exit_code == 1


def test_without_a_test_nothing_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.rego").write_text(POLICY)
    assert run("coverage", tmp_path).exit_code == 2
    (tmp_path / "a.rego").write_text("package a\nx if y")
    assert run("coverage", tmp_path).exit_code == 2
