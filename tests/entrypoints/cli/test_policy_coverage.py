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
    result = run("coverage", "--least", "100", POLICIES / "default.rego", POLICIES / "default_test.rego")
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


CASES = """\
policy: {files: [office.rego]}
roster:
  people: {alice: {name: Alice}, bob: {name: Bob}}
  schedules:
    primary:
      name: Primary
      layers: [{participants: [alice], turn: daily, handoff: "09:00", from: 2026-06-29}]
  policies: {orders: {name: Orders, levels: [[primary]]}}
  services: {orders: {name: Orders, policy: orders}}
resources:
  orders-db: {privileges: [read, write], opened_by: [{service: orders}]}
at: 2026-07-01T12:00:00Z
cases:
  - {name: reading, ask: alice read orders-db, want: allow}
"""
OFFICE = """package watchkey

default decision := {"allow": false}

decision := {"allow": true, "ttl": 60} if {
	input.privilege == "read"
}

decision := {"allow": true, "ttl": 30} if {
	input.privilege == "write"
	input.is_stale == false
}
"""


def test_cases_run_lines_too(tmp_path: Path) -> None:
    (tmp_path / "office.rego").write_text(OFFICE)
    (tmp_path / "cases.yaml").write_text(CASES)
    answer = json.loads(run("coverage", "--json", tmp_path / "cases.yaml").output)
    (file,) = answer["files"]
    assert (file["file"], file["missed"], answer["failed"]) == ("office.rego", [11], 0)
    test = (
        'package t_test\n\nimport data.watchkey\n\ntest_w if watchkey.decision.ttl == 30 with input as {"privilege": '
    )
    (tmp_path / "office_test.rego").write_text(test + '"write", "is_stale": false}\n')
    words = ("coverage", "--json", tmp_path / "office.rego", tmp_path / "office_test.rego", tmp_path / "cases.yaml")
    (file,) = json.loads(run(*words).output)["files"]
    assert (file["file"], file["missed"]) == (f"{tmp_path}/office.rego", [])
