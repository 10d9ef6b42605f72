"""`watchkey readiness`: the table, the JSON, the page, and the exit code that a nightly job relies on."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.scripted_http import answer, scripted_aside
from tests.wiring.configured import ROSTER, configured
from watchkey.entrypoints.cli.main import watchkey
from watchkey.wiring import SystemClock


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
    assert told.exit_code == 1, told.output
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
    assert run(folder, "--resource", "nowhere").exit_code == 2


def test_a_policy_elsewhere_answers_as_it_is_now_and_that_is_said_once(folder: Path) -> None:
    with scripted_aside([answer(body=b'{"result": {"allow": true}}')]) as url:
        configured(folder, "policy: fleet", f"\npolicies:\n  fleet: {{engine: opa, url: '{url}'}}\n")
        told = run(folder, "--days", "2")
    assert told.exit_code == 0, told.output
    assert told.stderr.count("what it says of a coming instant it says as it is now") == 1


def test_it_says_when_no_service_has_kept_when_shifts_were_first_seen(folder: Path) -> None:
    assert "passes for the rota" in run(folder).stdout
    assert "no store of a service" in json.loads(run(folder, "--json").stdout)["baseline"]
    assert "passes for the rota" in run(folder, "--html").stdout


def test_a_gap_says_who_has_the_turn_and_why_it_does_not_open(folder: Path) -> None:
    configured(folder, "unvetted: [read]")
    now = SystemClock().now().replace(microsecond=0)
    times = f"from: '{now - timedelta(days=1)}', to: '{now + timedelta(days=30)}'"
    override = f"    overrides: [{{person: bob, {times}, by: bob}}]"
    (folder / "roster.yaml").write_text(ROSTER.replace("policies:", f"{override}\npolicies:"))
    told = run(folder, "--all")
    assert told.exit_code == 1, told.output
    assert "nobody would get write (Bob: provenance_too_weak)" in told.stdout
    assert "gets read (not write: provenance_too_weak)" in told.stdout
    (found,) = json.loads(run(folder, "--json").stdout)["resources"]
    assert found["gaps"][0]["why"] == [{"person": "bob", "name": "Bob", "denied": {"write": "provenance_too_weak"}}]
    assert found["gaps"][0]["tell"].startswith("Bob")


def test_groups_of_the_identity_provider_are_seen_when_they_are_given(folder: Path) -> None:
    configured(folder, "eligible_groups: [dba]")
    told = run(folder)
    assert (told.exit_code, "not_eligible" in told.stdout, "--groups" in told.stdout) == (1, True, True)
    groups = folder / "groups.json"
    groups.write_text('{"dba": ["alice"]}')
    assert run(folder, "--groups", str(groups)).exit_code == 0
    groups.write_text('{"dba": "alice"}')
    assert run(folder, "--groups", str(groups)).exception
    assert run(folder, "--groups", str(folder / "none.json")).exit_code == 2
