"""The OpenAPI 3.1 document: its schemas are made from the very types that decode requests and encode answers."""

from inspect import cleandoc
from typing import Any, Final

import msgspec

from watchkey import __version__
from watchkey.entrypoints.http.answer import DecisionAnswer, ErrorAnswer
from watchkey.entrypoints.http.confirmations import ConfirmedAnswer, DoubtfulAnswers, ShiftBody
from watchkey.entrypoints.http.exchange import Door, Request, Response, Route, native_fault
from watchkey.entrypoints.http.fleets import Taken
from watchkey.entrypoints.http.health import HealthAnswer, ReadyAnswer
from watchkey.entrypoints.http.held_reads import AcceptBody, AcceptedAnswer, HeldAnswer, HeldBody
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Batch, BatchAnswer, OnCallAnswer, Question, RosterAnswer
from watchkey.entrypoints.http.opa import DataAnswer, DataBody, InputBody, OpaError
from watchkey.entrypoints.http.tokens import TokenAnswer, TokenBody
from watchkey.model.access import Caller


class FaultAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no answer. `allow` is false, for whoever looks at nothing else."""

    allow: bool
    error: ErrorAnswer


_TYPES: Final = (
    AcceptBody,
    AcceptedAnswer,
    Batch,
    BatchAnswer,
    ConfirmedAnswer,
    DataAnswer,
    DataBody,
    DecisionAnswer,
    DoubtfulAnswers,
    FaultAnswer,
    HealthAnswer,
    HeldAnswer,
    HeldBody,
    InputBody,
    OnCallAnswer,
    OpaError,
    Question,
    ReadyAnswer,
    RosterAnswer,
    ShiftBody,
    Taken,
    TokenAnswer,
    TokenBody,
)

_Json = dict[str, Any]


def document() -> _Json:
    """The whole document."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        if "description" in schema:  # a docstring, which Python indents before 3.13
            schema["description"] = cleandoc(schema["description"])
    # `input` and `result` are any JSON; msgspec writes an empty schema for both, and OpenAPI reads it so.
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Watchkey",
            "version": __version__,
            "summary": "Access follows the pager.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": {
            **_native_paths(),
            **_people_paths(),
            **_data_paths(),
            **_webhook_paths(),
            **_fleet_paths(),
            **_health_paths(),
        },
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token `wk_…` of a configured caller."},
                "person": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A person's own token `wkt_…`, as `POST /v1/tokens` gives it.",
                },
            },
        },
    }


def routes(limits: Limits) -> tuple[Route, ...]:
    """The route of the document."""
    body = msgspec.json.encode(document())

    async def openapi(request: Request, caller: Caller | None) -> Response:
        del request, caller
        return Response(status=200, body=body)

    return (
        Route(
            name="openapi",
            method="GET",
            path="/openapi.json",
            door=Door.OPEN,
            handler=openapi,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        ),
    )


def _native_paths() -> _Json:
    decide = _operation(
        "decide",
        "May this subject use this privilege on that resource, now? One question, or many.",
        _one_of("DecisionAnswer", "BatchAnswer"),
        errors=(400, 401, 413, 429, 500, 503),
    )
    decide["requestBody"] = {"required": True, "content": _content(_one_of("Question", "Batch"))}
    on_call = _operation("onCall", "Who is on call; trusted callers only.", _ref("OnCallAnswer"), errors=_TRUSTED)
    on_call["parameters"] = [
        _parameter("resource", "The id of a resource; either this or `scope`."),
        _parameter("scope", "`SOURCE/KIND/ID` with a kind of service, escalation_policy or schedule."),
        _parameter("at", "An instant; now when left out.", {"type": "string", "format": "date-time"}),
    ]
    roster = _operation("roster", "A page of a roster; trusted callers only.", _ref("RosterAnswer"), errors=_TRUSTED)
    roster["parameters"] = [
        _parameter("source", "The source; may be left out when there is one."),
        _parameter("start", "Now when left out.", {"type": "string", "format": "date-time"}),
        _parameter("end", "A day after `start` when left out.", {"type": "string", "format": "date-time"}),
        _parameter("after", "How many shifts to skip: `next` of the page before.", {"type": "integer", "minimum": 0}),
        _parameter("limit", "Shifts on a page.", {"type": "integer", "minimum": 0, "maximum": 5000}),
    ]
    return {"/v1/decide": {"post": decide}, "/v1/on-call": {"get": on_call}, "/v1/roster": {"get": roster}}


def _people_paths() -> _Json:
    """What people do themselves, or an operator in person."""
    listed = _operation(
        "confirmations", "The shifts that need a second person's word.", _ref("DoubtfulAnswers"), errors=(401, 500)
    )
    errors = (400, 401, 403, 413, 500, 503)
    confirm = _posted("confirm", "Vouch for a shift as it stands.", "ShiftBody", _ref("ConfirmedAnswer"), errors)
    withdraw = _posted("withdraw", "Take a word back; it counts no more.", "ShiftBody", {"type": "object"}, errors)
    for operation in (listed, confirm, withdraw):
        operation["security"] = [{"person": []}]
    token = _posted(
        "token", "A short-lived token of a person; trusted callers only.", "TokenBody", _ref("TokenAnswer"), errors
    )
    held = _posted(
        "heldRead",
        "What the guard against shrinking holds back of a source; callers that may administer only.",
        "HeldBody",
        _ref("HeldAnswer"),
        (*errors, 404),
    )
    accept = _posted(
        "acceptHeldRead",
        "Let in the read that was looked at; callers that may administer only.",
        "AcceptBody",
        _ref("AcceptedAnswer"),
        (*errors, 409),
    )
    return {
        "/v1/tokens": {"post": token},
        "/v1/confirmations": {"get": listed, "post": confirm},
        "/v1/confirmations/withdraw": {"post": withdraw},
        "/v1/sources/held": {"post": held},
        "/v1/sources/accept": {"post": accept},
    }


def _posted(name: str, summary: str, body: str, schema: _Json, errors: tuple[int, ...]) -> _Json:
    operation = _operation(name, summary, schema, errors=errors)
    operation["requestBody"] = {"required": True, "content": _content(_ref(body))}
    return operation


def _data_paths() -> _Json:
    summary = "OPA's Data API; `watchkey/allow` and `watchkey/decision` are defined."
    paths: _Json = {}
    for path, suffix in (("/v1/data", "Root"), ("/v1/data/{path}", "")):
        post = _operation(f"postData{suffix}", summary, _ref("DataAnswer"), errors=_DATA, error="OpaError")
        post["requestBody"] = {"required": False, "content": _content(_ref("DataBody"))}
        get = _operation(f"getData{suffix}", summary, _ref("DataAnswer"), errors=_DATA, error="OpaError")
        get["parameters"] = [_parameter("input", "The input as JSON.")]
        paths[path] = {"post": post, "get": get}
        if not suffix:
            paths[path]["parameters"] = [_in_path("path", "Parts of a path below `data`, divided by `/`.")]
    return paths


def _webhook_paths() -> _Json:
    return {
        f"/v1/webhooks/{kind}/{{source}}": {
            "post": _webhook(f"{name}Webhook", f"{what}: a hint to read the source soon. Proven by `{header}`."),
            "parameters": [_in_path("source", "A source's name.")],
        }
        for kind, name, what, header in (
            ("pagerduty", "pagerduty", "A PagerDuty v3 webhook", "X-PagerDuty-Signature"),
            ("incident_io", "incidentIo", "An incident.io webhook", "webhook-signature"),
            ("rootly", "rootly", "A Rootly webhook", "X-Rootly-Signature"),
        )
    }


def _webhook(name: str, summary: str) -> _Json:
    post = _operation(name, summary, {"type": "object"}, errors=(401, 413), status=202)
    post["security"] = []
    post["requestBody"] = {"required": True, "content": _content({})}
    return post


def _fleet_paths() -> _Json:
    """What OPAs ask; served where `fleets` are configured."""
    bundle = _operation("bundle", "The bundle of the caller's fleet, or what changed in it.", {}, errors=_FLEET)
    bundle["responses"]["200"]["content"] = {
        kind: {"schema": {"type": "string", "format": "binary"}}
        for kind in ("application/gzip", "application/vnd.openpolicyagent.bundles")
    }
    bundle["responses"]["304"] = {"description": "Nothing has changed, also not within the time that was asked for."}
    bundle["parameters"] = [
        _header("If-None-Match", "The `ETag` of the bundle that the OPA has."),
        _header("Prefer", "`modes=snapshot,delta;wait=SECONDS`; with `wait`, a change is waited for."),
    ]
    paths: _Json = {
        "/bundles/{name}": {"get": bundle, "parameters": [_in_path("name", "The fleet's name.")]},
    }
    for path, name, summary, answer in (
        ("/logs", "opaLogs", "A decision log of OPA; gzip is taken. Answered when it is durable.", _ref("Taken")),
        ("/status", "opaStatus", "The status of an OPA; gzip is taken.", {"type": "object"}),
    ):
        for suffix, more in (
            ("", []),
            ("/{partition}", [_in_path("partition", "The OPA's own; it means nothing here.")]),
        ):
            post = _operation(name + ("Partition" if more else ""), summary, answer, errors=_FLEET_REPORTS)
            post["requestBody"] = {"required": True, "content": _content({})}
            paths[path + suffix] = {"post": post, **({"parameters": more} if more else {})}
    return paths


def _health_paths() -> _Json:
    health = _operation("health", "The process answers.", _ref("HealthAnswer"), errors=())
    ready = _operation("ready", "There is a complete roster of each source.", _ref("ReadyAnswer"), errors=())
    ready["responses"]["503"] = {"description": "Not yet.", "content": _content(_ref("ReadyAnswer"))}
    openapi = _operation("openapi", "This document.", {"type": "object"}, errors=())
    for operation in (health, ready, openapi):
        operation["security"] = []
    metrics = _operation("metrics", "Figures for Prometheus; trusted callers only.", {}, errors=(401, 403))
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/health": {"get": health},
        "/ready": {"get": ready},
        "/metrics": {"get": metrics},
        "/openapi.json": {"get": openapi},
    }


_TRUSTED: Final = (400, 401, 403, 404, 500, 503)
_FLEET: Final = (401, 403, 404, 503)
_FLEET_REPORTS: Final = (400, 401, 403, 413, 503)
_DATA: Final = (400, 401, 413, 429, 500, 503)
_MEANINGS: Final = {
    400: "The request is malformed.",
    401: "No known caller, or no genuine signature.",
    403: "Not for this caller, or not for this person.",
    404: "Not there, or not for this caller.",
    409: "What is there is not what was asked for any more.",
    413: "The body is too long.",
    429: "The caller is over its quota; `Retry-After` says when to try again.",
    500: "An internal error, logged under the request's id.",
    503: "No answer now.",
}


def _operation(
    name: str, summary: str, schema: _Json, *, errors: tuple[int, ...], error: str = "FaultAnswer", status: int = 200
) -> _Json:
    responses: _Json = {str(status): {"description": "The answer.", "content": _content(schema)}}
    for each in errors:
        responses[str(each)] = {"description": _MEANINGS[each], "content": _content(_ref(error))}
    return {"operationId": name, "summary": summary, "responses": responses}


def _content(schema: _Json) -> _Json:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> _Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _one_of(*names: str) -> _Json:
    return {"oneOf": [_ref(name) for name in names]}


def _parameter(name: str, description: str, schema: _Json | None = None) -> _Json:
    return {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}


def _header(name: str, description: str) -> _Json:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _in_path(name: str, description: str) -> _Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}
