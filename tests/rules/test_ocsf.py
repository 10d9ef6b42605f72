"""OCSF events against the parts of the schema that they use, in tests/golden/ocsf_parts.json."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from watchkey.rules.ocsf import session_event, statement_event

SCHEMA = json.loads((Path(__file__).parent.parent / "golden" / "ocsf_parts.json").read_text())
AT = "2026-11-25T03:04:05.678901Z"
SESSION = {
    "session": "s1",
    "lease": "l1",
    "subject": "alice@example.com",
    "resource": "orders-db",
    "client": "203.0.113.7:5",
}
LINE = {
    "at": AT, "session": "s1", "lease": "l1", "subject": "alice@example.com", "resource": "orders-db",
    "account": "wk_alice_1", "fact": "on call", "kind": "read", "text": "SELECT 1", "outcome": "done", "ms": 250.4,
    "rows": 1, "tag": "SELECT 1", "sqlstate": "",
}  # fmt: skip


def valid(event: dict[str, Any] | None) -> dict[str, Any]:
    assert event is not None
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    schema = {**SCHEMA, "$ref": f"#/$defs/{event['class_uid']}"}
    jsonschema.Draft202012Validator(schema).validate(event)
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    return event


def of_entry(**entry: Any) -> dict[str, Any] | None:
    return session_event({"at": AT, "seq": 7, **entry}, product_version="1.0")


def test_coming_and_going_is_authentication() -> None:
    opened = valid(of_entry(kind="noted", what="session.opened", fields={**SESSION, "application": "psql"}))
    assert (opened["activity_id"], opened["status_id"], opened["time"]) == (1, 1, 1795575845678)
    assert (opened["user"]["name"], opened["src_endpoint"]) == ("alice@example.com", {"ip": "203.0.113.7", "port": 5})
    assert (opened["session"]["uid"], opened["metadata"]["uid"]) == ("s1", "7")
    ended = valid(of_entry(kind="noted", what="session.ended", fields={**SESSION, "why": "lease_ended"}))
    assert (ended["activity_id"], ended["status_detail"]) == (2, "lease_ended")


def test_a_shared_account_is_told_as_one() -> None:
    fields = {**SESSION, "account": "orders_app", "shared_account": True}
    event = valid(of_entry(kind="noted", what="session.opened", fields=fields))
    assert event["unmapped"] == {"lease": "l1", "account": "orders_app", "shared_account": True}


def test_who_is_kept_out_is_a_failed_logon() -> None:
    entry = {
        "kind": "decision",
        "outcome": "deny",
        "subject": "alice",
        "resource": "orders-db",
        "reason": "not_on_call",
    }
    event = valid(of_entry(**entry, caller="pg-gateway", sentence="bob is primary"))
    assert (event["activity_id"], event["status_id"], event["severity_id"]) == (1, 2, 2)
    assert (event["status_detail"], event["message"]) == ("not_on_call", "bob is primary")
    assert of_entry(**entry, caller="somebody else") is None
    assert of_entry(**{**entry, "outcome": "allow"}, caller="pg-gateway") is None
    assert of_entry(kind="service_started") is None


@pytest.mark.parametrize(
    ("text", "tag", "activity"),
    [
        ("SELECT 1", "SELECT 1", 4), ("WITH x AS (SELECT 1) DELETE FROM t", "DELETE 3", 7),
        ("INSERT …", "INSERT 0 1", 5),
        ("UPDATE t SET a = 1", "", 2), ("CREATE TABLE t ()", "CREATE TABLE", 6), ("BEGIN", "BEGIN", 99), ("", "", 99),
    ],
)  # fmt: skip
def test_statements_are_datastore_activity(text: str, tag: str, activity: int) -> None:
    event = valid(statement_event({**LINE, "text": text, "tag": tag}, "[2001:db8::7]:5", product_version="1.0"))
    assert (event["activity_id"], event["query_info"]["query_string"]) == (activity, text)
    assert (event["duration"], event["end_time"] - event["start_time"]) == (250, 250)
    assert event["unmapped"]["lease"] == "l1"


@pytest.mark.parametrize(
    ("outcome", "status"), [("done", 1), ("suspended", 1), ("failed", 2), ("skipped", 2), ("unknown", 0)]
)
def test_outcomes(outcome: str, status: int) -> None:
    event = valid(statement_event({**LINE, "outcome": outcome, "sqlstate": "42501"}, "", product_version="1.0"))
    assert (event["status_id"], event["status_code"], event["src_endpoint"]) == (status, "42501", {"name": "unknown"})


def test_the_parts_refuse_what_ocsf_refuses() -> None:
    event = statement_event(LINE, "", product_version="1.0")
    for change in ({"src_endpoint": None}, {"actor": None}, {"database": {"name": "x"}}, {"surplus": 1}):
        broken = {name: value for name, value in (event | change).items() if value is not None}
        with pytest.raises(jsonschema.ValidationError):
            valid(broken)
