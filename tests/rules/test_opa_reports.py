"""What OPAs report is read as they write it, and kept as it came."""

import json
from typing import Any

import pytest

from watchkey.model.errors import Malformed
from watchkey.rules.opa_reports import EVENTS_MAX, TEXT_MAX, DecisionReport, read_decisions, read_status


def event(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "labels": {"id": "opa-1", "version": "1.22.2"},
        "decision_id": "d1",
        "bundles": {"prod": {"revision": "7"}},
        "path": "watchkey/access/decision",
        "input": {"subject": "alice", "n": 12345678901234567890},
        "result": {"allow": True, "until_ns": 1782907200000000000},
        "erased": ["/input/password"],
        "requested_by": "127.0.0.1:1",
        "timestamp": "2026-07-01T12:00:00.123456789Z",
        "metrics": {"timer_server_handler_ns": 1},
    } | changes
    return {name: value for name, value in fields.items() if value is not ...}


def read(**changes: Any) -> DecisionReport:
    (report,) = read_decisions(json.dumps([event(**changes)]).encode())
    return report


def test_an_event_is_kept_to_the_letter() -> None:
    text = json.dumps(event(), indent=1)
    (report,) = read_decisions(f"[ {text} ]".encode())
    assert report.text == text
    assert (report.decision_id, report.opa, report.path) == ("d1", "opa-1", "watchkey/access/decision")
    assert (report.decided_at, report.outcome) == ("2026-07-01T12:00:00.123456789Z", "allow")


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (True, "allow"), (False, "deny"), ({"allow": False}, "deny"), ({"allow": "yes"}, None), ({}, None), ([], None),
        (None, None), (..., None), ("allow", None), (1, None),
    ],
)  # fmt: skip
def test_the_outcome_is_read_only_where_it_is_plain(result: Any, outcome: str | None) -> None:
    assert read(result=result).outcome == outcome


def test_which_bundle_it_stood_on() -> None:
    assert read().revision_of("prod") == "7"
    assert read().revision_of("called otherwise") == "7"
    assert read(bundles={"a": {"revision": "1"}, "b": {}}).revision_of("b") == "1"
    assert read(bundles={"a": {"revision": "1"}, "b": {"revision": "2"}}).revision_of("c") == ""
    assert read(bundles=..., revision="3").revision_of("prod") == "3"
    assert read(bundles=...).revision_of("prod") == ""


def test_what_is_searched_for_is_cut_off() -> None:
    report = read(path="x" * 5000, labels={"id": "y" * 5000}, timestamp="z" * 5000)
    assert {len(report.path), len(report.opa), len(report.decided_at)} == {TEXT_MAX}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[", b"[1]", b"[{}]", b'[{"decision_id": ""}]', b'[{"decision_id": 5}]', b"[null]",
        b'[{"decision_id": "' + b"x" * 201 + b'"}]', b'[{"decision_id": "d", "path": "\xff"}]',
        b'[{"decision_id": "d", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b'[{"decision_id": "d"}' + b',{"decision_id": "d"}' * EVENTS_MAX + b"]",
    ],
    ids=range(12),
)  # fmt: skip
def test_what_is_no_decision_log_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_decisions(body)


def status(**changes: Any) -> dict[str, Any]:
    return {
        "labels": {"id": "opa-1", "version": "1.22.2"},
        "bundles": {"prod": {"name": "prod", "active_revision": "7", "metrics": {}}},
        "plugins": {"bundle": {"state": "OK"}, "status": {"state": "OK"}},
    } | changes


def test_a_status_is_read() -> None:
    report = read_status(json.dumps(status()).encode(), "prod")
    assert (report.opa, report.version, report.revision, report.code) == ("opa-1", "1.22.2", "7", "")
    assert report.plugins == {}


def test_a_status_with_troubles_is_read() -> None:
    trouble = {"name": "prod", "code": "bundle_error", "message": "Service Unavailable", "http_code": "503"}
    body = json.dumps(
        status(bundles={"other": trouble}, plugins={"bundle": {"state": "NOT_READY"}, "x": None})
    ).encode()
    report = read_status(body, "prod")
    assert (report.revision, report.code, report.message) == ("", "bundle_error", "Service Unavailable")
    assert report.plugins == {"bundle": "NOT_READY"}


def test_a_status_before_the_first_bundle_is_read() -> None:
    report = read_status(json.dumps({"labels": {"id": "a"}, "bundles": {"prod": None}}).encode(), "prod")
    assert (report.revision, report.code, report.version) == ("", "", "")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"labels": {}}', b'{"labels": {"id": 5}}', b'{"labels": {"id": "a"}, "bundles": []}']
)
def test_what_is_no_status_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_status(body, "prod")
