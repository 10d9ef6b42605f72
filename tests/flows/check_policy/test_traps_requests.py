"""Each trap about requests and secrets."""

import pytest

from tests.flows.check_policy.linted import findings, rules
from watchkey.flows.check_policy import check_policy

GOOD = """allow {
	page := http.send({"method": "GET", "url": "https://api.pagerduty.com/oncalls?schedule_ids[]=P1&offset=0",
		"headers": {"Accept": "application/vnd.pagerduty+json;version=2"}})
	page.status_code == 200
	page.body.more == false
	page.body.oncalls[_].end > "2026"
}
"""


def traps(text: str) -> set[str]:
    return rules(text, dialect="cyral")


def test_a_careful_request_is_still_a_request() -> None:
    requests = {"network", "get-body", "no-accept", "one-page", "no-scope", "status-unread"}
    assert traps(GOOD) & requests == {"network"}


@pytest.mark.parametrize(
    ("was", "becomes", "rule"),
    [
        ('"headers": {"Accept": "application/vnd.pagerduty+json;version=2"}', '"headers": {"A": "b"}', "no-accept"),
        (',\n\t\t"headers": {"Accept": "application/vnd.pagerduty+json;version=2"}', "", "no-accept"),
        ('"method": "GET"', '"method": "GET", "body": {"a": 1}', "get-body"),
        ("page.status_code == 200", "true", "status-unread"),
        ("page.body.more == false", "true", "one-page"),
        ("?schedule_ids[]=P1&offset=0", "", "no-scope"),
    ],
)
def test_each_carelessness(was: str, becomes: str, rule: str) -> None:
    assert was in GOOD
    assert rule in traps(GOOD.replace(was, becomes))
    assert rule not in traps(GOOD)


def test_the_name_of_a_header_has_no_case() -> None:
    assert "no-accept" not in traps(GOOD.replace('"Accept"', '"accept"'))


def test_a_body_of_a_post_is_no_trap() -> None:
    assert "get-body" not in traps(GOOD.replace('"method": "GET"', '"method": "POST", "body": {"a": 1}'))


def test_a_scope_may_be_looked_at_afterwards() -> None:
    text = GOOD.replace("?schedule_ids[]=P1&offset=0", "")
    assert "no-scope" not in traps(text.replace('.end > "2026"', '.schedule.id == "P1"'))


@pytest.mark.parametrize(
    ("line", "is_trap"),
    [
        ("data.policyparams.api_token == 1", True),
        ("p := data.policyparams; p.password == 1", True),
        ('data.vault["client-secret"] == 1', True),
        ('x := {"Authorization": "Token token=abc"}; count(x) > 0', True),
        ("data.policyparams.max == 1", False),
        ("tokens := 3; tokens == 3", False),
    ],
)
def test_secrets(line: str, is_trap: bool) -> None:  # noqa: FBT001
    assert ("secret-in-data" in rules(f"allow if {{ {line} }}")) is is_trap


def test_secrets_behind_an_import() -> None:
    (found,) = findings("import data.policyparams as p\nallow if p.api_token == 1")
    assert (found.rule, found.location.line, found.location.column) == ("secret-in-data", 3, 10)


def test_secrets_in_data_files_have_their_place() -> None:
    text = "pager:\n  - name: a\n    api_token: abc\n    token_count: 3\n"
    report = check_policy({"p.rego": "package p"}, data={"d.yaml": text})
    (found,) = report.findings
    assert (found.rule, found.location.file, found.location.line, found.location.column) == (
        "secret-in-data",
        "d.yaml",
        3,
        5,
    )


def test_a_data_file_that_is_none_is_an_error() -> None:
    report = check_policy({"p.rego": "package p"}, data={"d.json": '{"a": '})
    assert [error.file for error in report.errors] == ["d.json"]


def test_long_numbers_are_fine_in_json() -> None:
    report = check_policy({"p.rego": "package p"}, data={"d.json": '{"now_ns": 17829072000000000001}'})
    assert (report.errors, report.findings) == ((), ())


def test_a_url_that_is_put_together_is_recognised() -> None:
    text = """ask(path) = answer {
	answer := http.send({"method": "GET", "url": concat("/", ["https://api.pagerduty.com", path])}).body
}
allow { ask("oncalls?limit=100").oncalls[_].end == 1 }
"""
    assert {"one-page", "no-scope", "no-accept"} <= traps(text)
    assert "no-scope" not in traps(text.replace("limit=100", "schedule_ids[]=P1"))
