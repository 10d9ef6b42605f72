"""`watchkey drill outage`: the hours, the verdict, and the exit code that a build relies on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.wiring.configured import ROSTER, configured
from watchkey.entrypoints.cli.main import watchkey


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    configured(tmp_path)
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(folder / "watchkey.yaml"), "drill", "outage", *words])


def test_those_on_call_stay_to_their_end_and_then_nobody_is_left(folder: Path) -> None:
    told = run(folder)
    assert told.exit_code == 1, told.output
    assert "✗ orders-db: nobody from " in told.stdout
    assert "roster_stale, incumbent mode" in told.stdout
    assert "Alice (read/write)" in told.stdout
    assert "+71 h" in told.stdout
    assert "+72 h" not in told.stdout


def test_a_forecast_bridges_the_handoffs(folder: Path) -> None:
    configured(folder, "stale_mode: forecast\n    forecast_max: 3d")
    told = run(folder, "--hours", "48")
    assert told.exit_code == 0, told.output
    assert "✓ orders-db: always somebody" in told.stdout


def test_a_source_that_is_not_down_goes_on(folder: Path) -> None:
    config = folder / "watchkey.yaml"
    spare = "  local: {kind: roster_file, path: roster.yaml}\n  spare: {kind: roster_file, path: roster.yaml}\n"
    text = config.read_text().replace("  local: {kind: roster_file, path: roster.yaml}\n", spare)
    config.write_text(text)
    assert run(folder, "--source", "spare").exit_code == 0
    report = json.loads(run(folder, "--source", "local", "--json").stdout)
    assert report["down"] == ["local"]
    assert report["resources"][0]["why"] == "roster_stale"


def test_the_json_has_each_moment(folder: Path) -> None:
    report = json.loads(run(folder, "--hours", "2", "--json").stdout)
    (found,) = report["resources"]
    assert found["moments"][0]["holders"] == [{"subject": "alice", "name": "Alice", "privileges": ["read", "write"]}]
    assert len(found["moments"]) >= 3


def test_a_resource_that_no_shift_opens_is_left_out(folder: Path) -> None:
    configured(folder, "needs: responding")
    told = run(folder)
    assert told.exit_code == 0
    assert "opens to responders" in told.stdout


def test_a_drill_on_a_source_that_cannot_be_read_tells_nothing(folder: Path) -> None:
    (folder / "roster.yaml").write_text("nonsense")
    told = run(folder)
    assert told.exit_code == 3
    assert "source local could not be read" in told.stderr


def test_names_that_do_not_exist_are_misuse(folder: Path) -> None:
    assert run(folder, "--source", "nothing").exit_code == 2
    assert run(folder, "--resource", "nothing").exit_code == 2


SECOND = """\
stale_mode: second_source
    second_source: {pagers: [{source: second, schedule: primary}]}"""


def test_a_second_source_that_stays_up_carries_the_outage_and_says_where_the_two_differ(folder: Path) -> None:
    configured(folder)
    text = (folder / "watchkey.yaml").read_text()
    text = text.replace("sources:\n", "sources:\n  second: {kind: roster_file, path: second.yaml}\n", 1)
    text = text.replace("max_level: 1", SECOND).replace("{local: alice}", "{local: alice, second: alice}")
    (folder / "watchkey.yaml").write_text(text)
    (folder / "second.yaml").write_text(ROSTER)
    told = run(folder, "--source", "local")
    assert told.exit_code == 0, told.output
    told = run(folder)
    assert (told.exit_code, "second_source_silent, second_source mode" in told.stdout) == (1, True)
    (folder / "second.yaml").write_text(ROSTER.replace("[alice]", "[bob]"))
    told = run(folder, "--source", "local", "--json")
    assert json.loads(told.stdout)["resources"][0]["why"] == "sources_disagree"
