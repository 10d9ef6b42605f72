"""Files of cases: what may stand in them, and how a mistake is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from watchkey.model.access import Reason
from watchkey.model.oncall import EndKind, Provenance
from watchkey.rules.located import load
from watchkey.settings import ConfigError
from watchkey.settings.cases import CaseFile, cases_schema, load_cases

CASES = Path(__file__).parents[1] / "cases"
ROSTER = "roster: {people: {alice: {name: Alice}}, services: {s: {name: S}}}\n"
RESOURCES = "resources: {db: {privileges: [read], opened_by: [{service: s}]}}\n"
AT = "at: 2026-07-01T12:00:00Z\n"
ONE = "cases: [{name: one, ask: alice read db, want: deny}]\n"


def read(tmp_path: Path, text: str) -> CaseFile:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    return load_cases(tmp_path / "c.yaml")


def wrong(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    return [str(error).removeprefix(f"{tmp_path}/") for error in caught.value.all]


def test_the_least_that_works(tmp_path: Path) -> None:
    file = read(tmp_path, ROSTER + RESOURCES + AT + ONE)
    (case,) = file.cases
    assert (case.at, case.roster, case.read_ago) == (datetime(2026, 7, 1, 12, tzinfo=UTC), "default", timedelta(0))
    assert (case.request.subject.id, case.request.privilege, case.request.resource) == ("alice", "read", "db")
    assert (case.wanted.is_allow, case.wanted.reason, case.location.line) == (False, None, 4)
    assert (file.policy, file.links) == (None, None)
    assert file.resources["db"].scopes[0].id == "s"  # type: ignore[index]  # a plain text is fine here


@pytest.mark.parametrize("policy", ["{engine: opa, url: 'https://opa.example.com'}", "{dialect: v0}"])
def test_cases_are_about_a_policy_that_is_here(tmp_path: Path, policy: str) -> None:
    (error,) = wrong(tmp_path, f"policy: {policy}\n" + ROSTER + RESOURCES + AT + ONE)
    assert (
        error
        == "c.yaml:1:9: policy: cases are answered by a policy that is here; expected files or bundle: the policy's own"
    )


def test_everything_that_may_stand_in_a_case(tmp_path: Path) -> None:
    text = """cases:
  - name: one
    ask: alice read db
    want: allow
    reason: on_call
    until: 2026-07-01T15:00:00+02:00
    says: hello
    at: 2026-07-01T14:00:00+02:00
    roster: none
    read_ago: 5m
    taken_at: 2026-07-01T11:00:00Z
    groups: [sre]
    context: {ip: 10.0.0.1}
    parameters: {max: null}
    shifts: [{person: alice, end: unknown, provenance: self_override, from: 2026-07-01T11:00:00Z}]
"""
    (case,) = read(tmp_path, ROSTER + RESOURCES + text).cases
    assert case.at == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert case.wanted.until == datetime(2026, 7, 1, 13, tzinfo=UTC)
    assert (case.wanted.reason, case.wanted.sentence, case.roster) == (Reason.ON_CALL, "hello", None)
    assert (case.request.subject.groups, case.request.context) == (frozenset({"sre"}), {"ip": "10.0.0.1"})
    (shift,) = case.more_shifts
    assert (shift.level, shift.ends_at, shift.end_kind) == (None, None, EndKind.UNKNOWN)
    assert shift.provenance is Provenance.SELF_OVERRIDE


def test_a_roster_may_be_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("people: {}")
    assert read(tmp_path, "roster: r.yaml\n" + RESOURCES + AT + ONE).rosters["default"].data == {"people": {}}
    (error,) = wrong(tmp_path, "roster: gone.yaml\n" + RESOURCES + AT + ONE.replace("deny", "deny, roster: none"))
    assert error.startswith("gone.yaml:1:1: cannot be read")


def test_mistakes_come_all_at_once_with_their_places(tmp_path: Path) -> None:
    text = """cases:
  - {name: a, ask: alice db, want: deny, at: 2026-07-01T12:00:00Z}
  - {name: b, ask: alice read db, want: deny}
  - {name: c, ask: alice read db, want: deny, at: 2026-07-01T12:00:00Z, roster: defualt}
"""
    resources = "resources: {db: {privileges: [read], unvetted: [raed], opened_by: [{service: s}]}}\n"
    errors = wrong(tmp_path, ROSTER + resources + text)
    assert len(errors) == 4
    assert errors[0].startswith("c.yaml:2:")
    assert "did you mean read?" in errors[0]
    assert errors[1].startswith("c.yaml:4:")
    assert "SUBJECT PRIVILEGE RESOURCE" in errors[1]
    assert "at is missing" in errors[2]
    assert "did you mean default?" in errors[3]


@pytest.mark.parametrize("instant", ["2026-07-01 12:00", "2026-07-01", "noon", "12", "2026-13-01T00:00:00Z"])
def test_an_instant_has_its_offset(tmp_path: Path, instant: str) -> None:
    (error,) = wrong(tmp_path, ROSTER + RESOURCES + f"at: {instant}\n" + ONE)
    assert "expected a date and time with its offset" in error


def test_the_schema_accepts_our_files_and_rejects_a_typing_error() -> None:
    schema = cases_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    files = sorted(CASES.glob("*.yaml"))
    assert files
    for file in files:
        assert list(validator.iter_errors(load(file.read_text(), file.name).data)) == []
    broken = load(files[0].read_text(), "x").data
    broken["cases"][0]["wnat"] = "deny"
    assert list(validator.iter_errors(broken)) != []
