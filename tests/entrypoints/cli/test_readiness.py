"""`watchkey readiness`: the table, the JSON, the page, and the exit code that a nightly job relies on."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.scripted_http import answer, scripted_aside
from tests.wiring.configured import ROSTER, configured
from watchkey.entrypoints.cli.main import watchkey


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    configured(tmp_path)
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(folder / "watchkey.yaml"), "readiness", *words])


def with_bob_unlinked(folder: Path) -> None:
    text = (folder / "watchkey.yaml").read_text().replace("  bob: {local: bob}\n", "")
    (folder / "watchkey.yaml").write_text(text)
    roster = ROSTER.replace("bob: {name: Bob}", "bob: {name: '<b>Bob</b>', emails: [bob@example.com]}")
    (folder / "roster.yaml").write_text(roster.replace("participants: [alice]", "participants: [alice, bob]"))


def test_all_is_well_beyond_the_window_of_the_service(folder: Path) -> None:
    told = run(folder, "--days", "14")
    assert told.exit_code == 0, told.output
    assert "✓ orders-db: 15 turns" in told.stdout
    assert "TELL" not in told.stdout
    assert "gets read, write" in run(folder, "--all").stdout


def test_a_holder_who_is_not_linked_is_a_hole_with_somebody_to_tell(folder: Path) -> None:
    with_bob_unlinked(folder)
    told = run(folder)
    assert told.exit_code == 1
    assert "not_linked" in told.stdout
    assert "bob@example.com" in told.stdout
    assert "nobody would get read, write" in told.stdout


def test_the_json_has_every_turn_and_gap(folder: Path) -> None:
    with_bob_unlinked(folder)
    told = run(folder, "--json", "--privilege", "write", "--resource", "orders-db")
    report = json.loads(told.stdout)
    assert report["has_hole"] is True
    (found,) = report["resources"]
    assert {turn["problem"] for turn in found["turns"]} == {None, "not_linked"}
    assert found["gaps"][0]["privileges"] == ["write"]
    assert "whoever edits the rota" in found["gaps"][0]["tell"]


def test_the_page_escapes_what_comes_from_outside(folder: Path) -> None:
    with_bob_unlinked(folder)
    page = run(folder, "--html").stdout
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;Bob&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "\x1b" not in page


def test_a_source_that_cannot_be_read_is_neither_well_nor_a_hole(folder: Path) -> None:
    (folder / "roster.yaml").write_text("people: [nonsense")
    told = run(folder)
    assert told.exit_code == 3
    assert "local could not be read" in told.stdout
    assert json.loads(run(folder, "--json").stdout)["sources_unread"]


def test_questions_that_make_no_sense_are_misuse(folder: Path) -> None:
    assert run(folder, "--html", "--json").exit_code == 2
    assert run(folder, "--privilege", "writ").exit_code == 2


def test_a_policy_elsewhere_answers_as_it_is_now_and_that_is_said_once(folder: Path) -> None:
    with scripted_aside([answer(body=b'{"result": {"allow": true}}')]) as url:
        configured(folder, "policy: fleet", f"\npolicies:\n  fleet: {{engine: opa, url: '{url}'}}\n")
        told = run(folder, "--days", "2")
    assert told.exit_code == 0, told.output
    assert told.stderr.count("what it says of a coming instant it says as it is now") == 1
