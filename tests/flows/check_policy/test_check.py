"""The check as a whole: errors and traps together, silence with a reason, and the published sample."""

import json
from pathlib import Path

import pytest

from watchkey.flows.check_policy import RULES, check_policy

ROOT = Path(__file__).parents[3]
CONTRACTS = ROOT.parent / "shared" / "contracts"
POLICIES = ROOT / "src/watchkey/policies"
SCHEMA = json.loads((POLICIES / "input.schema.json").read_text())

FLAWS = {
    "level-floor": 45, "no-scope": 33, "permanent-on-call": 33, "get-body": 19, "first-only": 28, "mail-case": 28,
    "mail-identity": 28, "status-unread": 19, "network": 19, "secret-in-data": 25, "ttl-constant": 4, "one-page": 19,
    "cross-type": 45, "v0-syntax": 4, "no-accept": 19, "no-responders": 33, "no-provenance": 33, "one-answer": 33,
    "no-reason": 4,
}  # fmt: skip
"""The flaws that are known of the sample, with the first line of each."""


@pytest.mark.skipif(not CONTRACTS.exists(), reason="needs ../shared/contracts beside the project")
@pytest.mark.parametrize("name", ["cyral-sample.rego", "cyral-sample-as-published.rego"])
def test_every_known_flaw_of_the_sample_is_found(name: str) -> None:
    report = check_policy({name: (CONTRACTS / name).read_text()}, dialect="cyral")
    first: dict[str, int] = {}
    for finding in report.findings:
        first.setdefault(finding.rule, finding.location.line)
    assert first == FLAWS


@pytest.mark.skipif(not CONTRACTS.exists(), reason="needs ../shared/contracts beside the project")
def test_the_sample_as_published_has_odd_blanks() -> None:
    name = "cyral-sample-as-published.rego"
    report = check_policy({name: (CONTRACTS / name).read_text()}, dialect="cyral")
    (error,) = report.errors
    assert str(error).startswith(f"{name}:5:1: rego_parse_error: 170 blanks are not a plain space")
    assert "fmt-check --normalise" in error.hint
    assert report.odd_spaces == {name: 170}


def test_the_policy_that_ships_has_nothing() -> None:
    texts = {path.name: path.read_text() for path in POLICIES.glob("*.rego")}
    report = check_policy(texts, is_strict=True, input_schema=SCHEMA)
    assert (report.errors, report.findings) == ((), ())


def test_errors_and_traps_of_several_files_come_at_once() -> None:
    report = check_policy(
        {
            "a.rego": "package a\nallow if {\n\tnonsense\n}\nallow if other.thing(1)",
            "b.rego": "package b\nallow if input.on_call[0].level >= 1",
        },
        input_schema=SCHEMA,
    )
    assert [(error.file, error.line) for error in report.errors] == [("a.rego", 3), ("a.rego", 5)]
    assert {finding.rule for finding in report.findings} >= {"level-floor", "first-only"}
    assert {finding.location.file for finding in report.findings} == {"b.rego"}


def test_what_the_input_does_not_have_is_an_error_by_the_schema() -> None:
    text = "package a\nallow if input.subjcet.id == 1"
    assert check_policy({"a.rego": text}).errors == ()
    (error, *_) = check_policy({"a.rego": text}, input_schema=SCHEMA).errors
    assert (error.line, "subjcet" in str(error)) == (2, True)


def test_tests_may_do_wrong_things_on_purpose() -> None:
    wrong = "allow if input.on_call[0].level >= 1"
    assert check_policy({"a_test.rego": f"package a\n{wrong}"}).findings == ()
    assert check_policy({"a.rego": f"package a\ntest_{wrong}"}).findings == ()


@pytest.mark.parametrize(
    ("comment", "is_silent"),
    [
        ("# watchkey: allow level-floor, cross-type: ours count from the other end", True),
        ("# watchkey: allow level-floor, cross-type:", False),
        ("# watchkey: allow level-floor, cross-type", False),
        ("# watchkey: allow first-only: another one", False),
    ],
)
def test_a_trap_is_silenced_with_a_reason_only(comment: str, is_silent: bool) -> None:  # noqa: FBT001
    rule = "allow if { some s in input.on_call; s.provenance == input.privilege; s.level >= 1 }\nb if input.responding"
    first, second = rule.split("\n")
    for text in (f"package a\n{comment}\n{rule}", f"package a\n{first} {comment}\n{second}"):
        found = {finding.rule for finding in check_policy({"a.rego": text}).findings}
        assert found == (set() if is_silent else {"level-floor", "cross-type"})


def test_a_trap_can_be_ignored_by_name() -> None:
    text = "package a\ndefault allow := true"
    assert [finding.rule for finding in check_policy({"a.rego": text}).findings] == ["default-allow"]
    assert check_policy({"a.rego": text}, ignored=["default-allow"]).findings == ()


def test_every_name_is_in_the_list_and_on_the_page() -> None:
    page = (ROOT / "docs/how-to/write-a-policy.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "src/watchkey/flows/check_policy").glob("traps_*.py"))
    for rule in RULES:
        assert f'rule="{rule}"' in source or f'"{rule}",' in source
        assert f"`{rule}`" in page
