"""`check`, `who`, `when`, `explain`: what they print, as text and JSON, and the exit codes that scripts rely on."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.scripted_http import answer, scripted_aside
from tests.wiring.configured import configured
from watchkey.entrypoints.cli.decisions import CANNOT_TELL, exit_code
from watchkey.entrypoints.cli.main import watchkey
from watchkey.model.access import Reason


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    configured(tmp_path)
    return tmp_path


def run(folder: Path, *words: str, **env: str) -> Result:
    return CliRunner().invoke(watchkey, ["--config", str(folder / "watchkey.yaml"), *words], env=env)


def test_check_says_yes_and_no_with_the_sentence_and_the_code(folder: Path) -> None:
    yes = run(folder, "check", "alice", "write", "orders-db")
    assert yes.exit_code == 0, yes.output
    assert yes.stdout.startswith("allow  alice is on call (level 1) for orders-db: write until ")
    assert "[on_call]" in yes.stdout
    assert "nothing is recorded" in yes.stdout
    no = run(folder, "check", "bob", "write", "orders-db")
    assert no.exit_code == 1
    assert "Alice is on call now" in no.stdout
    assert "[not_on_call]" in no.stdout


def test_check_as_json_is_one_document(folder: Path) -> None:
    answer = json.loads(run(folder, "check", "alice", "write", "orders-db", "--json").stdout)
    assert answer["allow"] is True
    assert answer["evidence"][0]["scope"] == {"source": "local", "kind": "service", "id": "orders"}
    denied = json.loads(run(folder, "check", "bob", "write", "orders-db", "--json").stdout)
    assert denied["instead"][0]["name"] == "Alice"
    assert denied["next_shift_at"] is None


def test_check_at_another_instant(folder: Path) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # noqa: TID251  # the real service reads real time
    assert run(folder, "check", "alice", "write", "orders-db", "--at", tomorrow).exit_code == 0
    for wrong in ("tomorrow", "2026-01-01T00:00", "2020-01-01T00:00Z", "2099-01-01T00:00Z"):
        answer = run(folder, "check", "alice", "write", "orders-db", "--at", wrong)
        assert answer.exit_code == 2
        assert "--at" in answer.output


def test_cannot_tell_is_neither_yes_nor_no(folder: Path) -> None:
    (folder / "roster.yaml").write_text("people: {alice: {nonsense: 1}}")
    answer = run(folder, "check", "alice", "write", "orders-db")
    assert answer.exit_code == 3
    assert "[no_roster]" in answer.stdout
    assert "source local could not be read" in answer.stderr
    assert "roster.yaml:1:" in answer.stderr


def test_an_unknown_resource_is_a_denial(folder: Path) -> None:
    assert "[unknown_resource]" in run(folder, "check", "alice", "write", "orders").stdout


def test_asking_a_service_needs_a_token(folder: Path) -> None:
    words = ("check", "alice", "write", "orders-db", "--server", "http://127.0.0.1:1")
    assert "WATCHKEY_TOKEN is empty" in run(folder, *words).output
    both = run(folder, *words, "--at", "2026-01-01T00:00Z")
    assert both.exit_code == 2


def test_explain_shows_each_fact_and_the_policys_word(folder: Path) -> None:
    told = run(folder, "explain", "alice", "write", "orders-db")
    assert told.exit_code == 0
    assert "on call, level 1, by rota through local/service/orders: counts" in told.stdout
    assert "Policy: yes (on_call)" in told.stdout
    nothing = run(folder, "explain", "bob", "write", "orders-db")
    assert nothing.exit_code == 1
    assert "Facts:\n  none" in nothing.stdout
    document = json.loads(run(folder, "explain", "alice", "write", "orders-db", "--json").stdout)
    assert document["facts"][0]["objection"] is None
    assert document["input"]["version"] == 1


def test_who_draws_and_lists(folder: Path) -> None:
    told = run(folder, "who", "orders-db", "--hours", "48")
    assert told.exit_code == 0
    assert told.stdout.startswith("orders-db: now Alice.")
    assert "Alice L1" in told.stdout
    turns = json.loads(run(folder, "who", "orders-db", "--json").stdout)
    assert turns["on_call_now"] == ["Alice"]
    assert turns["turns"][0]["level"] == 1


def test_who_of_nothing_names_what_there_is(folder: Path) -> None:
    with pytest.raises(Exception, match="there is orders-db"):
        CliRunner().invoke(
            watchkey, ["--config", str(folder / "watchkey.yaml"), "who", "nothing"], catch_exceptions=False
        )


def test_when_lists_the_shifts_of_a_subject_and_says_when_there_are_none(folder: Path) -> None:
    told = run(folder, "when", "alice")
    assert told.exit_code == 0
    assert told.stdout.startswith("alice: now orders-db.")
    none = run(folder, "when", "bob")
    assert none.exit_code == 1
    assert "bob: nobody and nothing until" not in none.stdout
    assert "bob: no shift until" in none.stdout


def test_exit_codes_tell_no_from_nobody_knows() -> None:
    assert exit_code("on_call", is_allowed=True) == 0
    for reason in Reason:
        assert exit_code(reason, is_allowed=False) == (3 if reason in CANNOT_TELL else 1)
    assert Reason.NOT_ON_CALL not in CANNOT_TELL


def test_a_policy_elsewhere_is_asked_and_what_it_cannot_tell_is_said(folder: Path) -> None:
    told = b'{"result": {"allow": true}, "provenance": {"bundles": {"authz": {"revision": "7"}}}}'
    with scripted_aside([answer(body=told)]) as url:
        configured(folder, "policy: fleet", f"\npolicies:\n  fleet: {{engine: opa, url: '{url}'}}\n")
        asked = run(folder, "explain", "alice", "write", "orders-db")
    assert asked.exit_code == 0, asked.output
    assert "Policy: yes opa:authz@7" in asked.stdout
    assert f"the policy of orders-db is in the OPA at {url}: which rules held is known there only" in asked.stderr
    gone = run(folder, "check", "alice", "write", "orders-db")
    assert gone.exit_code == 3
    assert "[policy_unreachable]" in gone.stdout
