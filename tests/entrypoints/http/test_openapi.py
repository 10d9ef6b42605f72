"""The document is as reviewed, and real answers agree with it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.entrypoints.http.house import ASK, Got, House, call
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.golden_files import agrees
from watchkey.entrypoints.http.app import App
from watchkey.entrypoints.http.fleets import Fleets, routes
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.openapi import document
from watchkey.flows.receive_opa_reports import ReceiveDecisions

GOLDEN = Path(__file__).parents[2] / "golden" / "http" / "openapi.json"


def test_it_is_as_reviewed() -> None:
    agrees(GOLDEN, json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def test_it_names_every_route_and_no_other() -> None:
    decisions = ReceiveDecisions(clock=DrivenClock(), audit=MemoryAudit())
    fleets = Fleets(publishers={}, statuses={}, decisions=decisions)
    app = App(House(), more=routes(fleets, Limits()))
    served = {(method, path.rstrip("/") or path) for method, path in app._exact}
    served |= {(route.method, route.path.rstrip("/")) for route in app._below}
    written = {
        (method.upper(), path.partition("/{")[0])
        for path, operations in document()["paths"].items()
        for method in operations
        if method in {"get", "post"}
    }
    assert served == written


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(document()["components"]["schemas"])


def check(method: str, path: str, got: Got) -> None:
    whole = document()
    responses = whole["paths"][path][method]["responses"]
    assert str(got.status) in responses, f"{path} may not answer {got.status}"
    schema: dict[str, Any] = responses[str(got.status)]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": whole["components"]}).validate(got.json)


@pytest.mark.parametrize("who", ["trusted", "plain", None])
@pytest.mark.parametrize("subject", ["alice", "bob", "carol", "nobody", ""])
def test_answers_of_the_service_agree_with_it(house: House, who: str | None, subject: str) -> None:
    ask = {**ASK, "subject": {"id": subject}}
    check("post", "/v1/decide", call(house, "POST", "/v1/decide", ask, who=who))
    check("post", "/v1/decide", call(house, "POST", "/v1/decide", {"requests": [ask, ASK]}, who=who))
    for path in ("watchkey/decision", "watchkey/allow", "nope", "%FF"):
        check("post", "/v1/data/{path}", call(house, "POST", f"/v1/data/{path}?metrics", {"input": ask}, who=who))
        check("get", "/v1/data/{path}", call(house, "GET", f"/v1/data/{path}", who=who))
    for path, query in (
        ("/v1/on-call", "?resource=orders-db"),
        ("/v1/on-call", "?resource=no-such"),
        ("/v1/on-call", "?scope=other/service/x"),
        ("/v1/roster", ""),
        ("/v1/roster", "?limit=x"),
        ("/health", ""),
        ("/ready", ""),
    ):
        check("get", path, call(house, "GET", path + query, who=who))
    check(
        "post", "/v1/webhooks/pagerduty/{source}", call(house, "POST", "/v1/webhooks/pagerduty/pager", b"{}", who=None)
    )


def test_what_the_service_refuses_the_document_refuses_too() -> None:
    whole = document()
    schema = {"$ref": "#/components/schemas/Question", "components": whole["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(ASK)
    for wrong in ({}, {**ASK, "more": 1}, {**ASK, "privilege": ""}, {**ASK, "subject": "alice"}):
        assert not validator.is_valid(wrong)
