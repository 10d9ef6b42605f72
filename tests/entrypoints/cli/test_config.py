"""`watchkey config`: what it finds, how it says it, and its exit codes."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator

from watchkey.entrypoints.cli.main import watchkey


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    assert CliRunner().invoke(watchkey, ["init", str(tmp_path)]).exit_code == 0
    return tmp_path


def run(directory: Path, *words: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(directory / "watchkey.yaml"), "config", *words])


def change(directory: Path, was: str, becomes: str) -> None:
    file = directory / "watchkey.yaml"
    text = file.read_text()
    assert was in text
    file.write_text(text.replace(was, becomes, 1))


@pytest.mark.parametrize("words", [("check",), ("check", "--offline")])
def test_the_example_is_fine(directory: Path, words: tuple[str, ...]) -> None:
    result = run(directory, *words)
    assert result.exit_code == 0, result.output
    assert "fine" in result.output
    assert "1 source, 2 resources, 1 caller, 3 links" in result.output


def test_everything_that_is_wrong_is_listed_with_its_place(directory: Path) -> None:
    change(directory, "max_level: 2", "max_levle: 2")
    change(directory, "poll: 30s", "poll: 30")
    result = run(directory, "check", "--offline")
    assert result.exit_code == 1
    first, second, last = result.output.splitlines()
    assert first.startswith(f"{directory}/watchkey.yaml:35:5: resources.orders-db.max_levle: unknown key")
    assert first.endswith("did you mean max_level?")
    assert "sync.poll: this is 30; expected a duration such as 90s" in second
    assert last == f"wrong: 2 problems in {directory}/watchkey.yaml"


def test_problems_for_programs(directory: Path) -> None:
    change(directory, "service: orders}", "servce: orders}")
    result = run(directory, "check", "--offline", "--json")
    assert result.exit_code == 1
    answer = json.loads(result.output)
    assert answer["ok"] is False
    (problem,) = answer["problems"]
    assert (problem["line"], problem["column"], problem["suggestion"]) == (33, 25, "service")
    assert problem["path"] == "resources.orders-db.opened_by[0].servce"


SHARED = """\
    target:
      {mode: shared_account, host: db, database: orders, manager: watchkey_manager, manager_password: {env: NONE},
       accounts: {write: {name: app, password: {env: NONE}}}}
"""


def test_a_target_that_could_not_be_built_is_found_with_its_place(directory: Path) -> None:
    change(directory, "    needs: either", SHARED.replace("manager:", "manger:") + "    needs: either")
    result = run(directory, "check", "--offline", "--json")
    assert result.exit_code == 1
    assert "manager" in {problem["suggestion"] for problem in json.loads(result.output)["problems"]}
    change(directory, "manger:", "manager:")
    change(directory, "    kind: postgres", "    kind: oracle")
    assert "there is no kind of target 'oracle'" in run(directory, "check", "--offline").output


def test_what_a_shared_account_costs_is_said_and_is_no_mistake(directory: Path) -> None:
    change(directory, "    needs: either", SHARED + "    needs: either")
    result = run(directory, "check", "--offline")
    assert result.exit_code == 0
    assert "risk: orders-db has a shared account: an end cuts connections and nothing else" in result.output
    assert len(json.loads(run(directory, "check", "--offline", "--json").output)["risks"]) == 6


def test_a_gateway_that_could_not_be_served_is_found_with_its_place(directory: Path) -> None:
    change(
        directory, "listen:\n", "listen:\n  gateways:\n    - databases: {x: {resource: orders-db}}\n      worker: 2\n"
    )
    result = run(directory, "check", "--offline")
    assert result.exit_code == 1
    assert "listen.gateways[0].worker: unknown key" in result.output
    change(directory, "worker: 2", "workers: 2")
    problems = json.loads(run(directory, "check", "--json").output)["problems"]
    assert [problem["path"] for problem in problems] == ["listen.gateways[0].databases.x.resource"]


def test_an_unknown_pager_is_found_in_the_source(directory: Path) -> None:
    change(directory, "service: orders}", "service: ordrs}")
    change(directory, "bob: {local: bob}", "bob: {local: robert}")
    assert run(directory, "check", "--offline").exit_code == 0
    result = run(directory, "check")
    assert result.exit_code == 1
    assert "'local' has no service 'ordrs'; did you mean orders?" in result.output
    assert "links.bob.local: 'local' has no person 'robert'" in result.output


def test_a_source_that_cannot_be_read_is_not_fine(directory: Path) -> None:
    (directory / "roster.yaml").unlink()
    result = run(directory, "check")
    assert result.exit_code == 3
    assert "cannot tell: source local could not be read" in result.output
    assert "fine" not in result.output


def test_a_missing_key_is_found(directory: Path) -> None:
    (directory / "audit.key").unlink()
    result = run(directory, "check")
    assert result.exit_code == 1
    assert "storage.key_file" in result.output


def test_a_secret_that_is_not_set_matters_only_online(directory: Path) -> None:
    change(directory, "  # pagerduty:", "  pagerduty:")
    change(directory, "  #   kind: pagerduty", "    kind: pagerduty")
    change(directory, "  #   token: {env: PAGERDUTY_TOKEN}", "    token: {env: WATCHKEY_TEST_NOT_SET}")
    assert run(directory, "check", "--offline").exit_code == 0
    result = run(directory, "check")
    assert result.exit_code == 1
    assert "the environment variable WATCHKEY_TEST_NOT_SET is not set" in result.output


def test_no_file_is_a_finding_that_names_the_command(tmp_path: Path) -> None:
    result = run(tmp_path, "check")
    assert result.exit_code == 1
    assert "`watchkey init` writes one" in result.output


def test_the_file_of_the_environment_is_looked_at(directory: Path) -> None:
    result = CliRunner().invoke(
        watchkey, ["config", "check", "--offline"], env={"WATCHKEY_CONFIG": str(directory / "watchkey.yaml")}
    )
    assert result.exit_code == 0


def test_the_schema_is_printed(directory: Path) -> None:
    result = CliRunner().invoke(watchkey, ["config", "schema"])
    assert result.exit_code == 0
    Draft202012Validator.check_schema(json.loads(result.output))
    assert result.output == (directory / "watchkey.schema.json").read_text()
