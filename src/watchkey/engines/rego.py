"""The embedded policy engine: Rego in this process, without network, within a budget.

Policies in the style of Cyral's sample (`dialect: cyral`) run unmodified: they find `input.userID` and
`data.policyparams`, and the two PagerDuty requests that they make are answered from the facts of the question. They see
only this subject's facts in the resource's scopes, no token exists for them, and any other URL ends in a denial.
"""

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

import msgspec

from watchkey.model.access import Outcome, Verdict
from watchkey.model.errors import Malformed
from watchkey.rego import (
    BuiltinError,
    Dialect,
    EvaluationError,
    HostFunction,
    LimitExceeded,
    Limits,
    Policy,
    RegoErrors,
    Trace,
    compile_modules,
    freeze,
    to_json,
)
from watchkey.rules.policy_answer import not_an_object, read_answer
from watchkey.rules.policy_bundle import owned
from watchkey.rules.policy_input import nanoseconds

STEPS_MAX: Final = 200_000
"""The budget of one decision; the shipped policy takes a few dozen steps."""

WITHHELD: Final = "withheld-by-watchkey"
"""What a Cyral-style policy finds as its token: it needs one to build a header, and gets no real one."""

_ANSWER: Final = (("allow", None), ("ttl", None), ("reasons", ()))
"""What is read of a policy's answer, and what stands for a field that is missing."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One policy: its modules by file name, and how they are asked."""

    modules: Mapping[str, str]
    dialect: Literal["v1", "v0", "cyral"] = "v1"
    entrypoint: str = "data.watchkey.decision"
    parameters: Mapping[str, Any] = {}
    """What the policy finds under `data.policyparams`."""
    data: Mapping[str, Any] = {}
    """What else it finds under `data`."""
    revision: int = 1
    versions: Mapping[str, Literal["v1", "v0"]] = {}
    """The language of single modules, by name, where a bundle says so; the rest is in that of `dialect`."""
    bundle: "BundleOrigin | None" = None
    strict_errors: bool = True
    """An error of a built-in fails the evaluation; False: it is undefined, and `not` of it true, as with OPA."""


class BundleOrigin(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of the policy that came out of it."""

    revision: str
    declared: int | None
    """The revision where it is a whole number, so that an older one can be told."""
    roots: tuple[str, ...]
    """The paths below `data` that the bundle owns; a package elsewhere is no part of it."""


@dataclass(slots=True)
class _Exchange:
    """What the host functions of one evaluation know, and what they had to refuse."""

    document: Mapping[str, Any]
    refused: list[str] = field(default_factory=list)


class RegoEngine:
    """A compiled policy behind the port; immutable, and safe to ask from several tasks."""

    def __init__(self, config: Config) -> None:
        self.config = config
        """What it was made of."""
        self._is_cyral = config.dialect == "cyral"
        hosts = {"http.send": HostFunction(function=_http_send)} if self._is_cyral else {}
        try:
            policy = compile_modules(config.modules, dialect=dialects_of(config), host_functions=hosts)
            _check_roots(policy, config.bundle)
            self._query = policy.query(config.entrypoint)
        except RegoErrors as error:
            raise Malformed(str(error)) from error
        self._data = freeze({**config.data, "policyparams": _parameters(config)})
        self._limits = Limits(steps=STEPS_MAX)
        self._traces: list[Trace] | None = None
        self._revision = config.revision
        self._hash = policy_hash(config)
        self.declared_revision = _declared(policy, config.bundle)
        """The revision that the policy says of itself: its bundle's, or `custom: {revision: 7}` of a package."""

    @property
    def policy_hash(self) -> str:
        """SHA-256 over everything that makes the policy: files, dialect, entry point, parameters."""
        return self._hash

    def numbered(self, revision: int) -> "RegoEngine":
        """The same policy with another revision; nothing is compiled again."""
        other = copy(self)
        other._revision = revision  # noqa: SLF001 -- its own kind
        return other

    def traced(self, into: list[Trace]) -> "RegoEngine":
        """The same policy, which leaves a trace of each evaluation: for the tools."""
        other = copy(self)
        other._traces = into  # noqa: SLF001 -- its own kind
        return other

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        """Judge one document; every failure is an outcome."""
        exchange = _Exchange(document)
        given = {"userID": document["subject"]["id"]} if self._is_cyral else document
        try:
            result = self._query.evaluate(
                given,
                self._data,
                now_ns=nanoseconds(now),
                host=exchange,
                limits=self._limits,
                strict_builtin_errors=self.config.strict_errors,
                trace=self._traces is not None,
            )
            if self._traces is not None and result.trace is not None:
                self._traces.append(result.trace)
            if exchange.refused:
                return self._verdict(Outcome.FAILED, detail=exchange.refused[0])
            if not result.defined:
                return self._verdict(Outcome.UNDEFINED)
            return self._read(result.value)
        except LimitExceeded as error:
            return self._verdict(Outcome.OVER_BUDGET, detail=str(error))
        except EvaluationError as error:
            return self._verdict(Outcome.FAILED, detail=str(error))
        except Exception as error:  # noqa: BLE001 -- the port is total: a fault of the engine is a denial with its name
            return self._verdict(Outcome.FAILED, detail=f"the engine broke ({type(error).__name__})")

    def _read(self, answer: Any) -> Verdict:
        """Read `{allow, ttl, reasons}`; any other shape is malformed, never a guess."""
        if not isinstance(answer, dict):
            read = not_an_object(to_json(answer))
        else:
            read = read_answer(*[to_json(answer.get(name, missing)) for name, missing in _ANSWER])
        return self._verdict(read.outcome, ttl=read.ttl, reasons=read.reasons, detail=read.detail)

    def _verdict(
        self, outcome: Outcome, *, ttl: timedelta | None = None, reasons: tuple[str, ...] = (), detail: str = ""
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            ttl=ttl,
            reasons=reasons,
            detail=detail,
            policy_hash=self._hash,
            policy_revision=self._revision,
        )


def build(config: Config) -> RegoEngine:
    """Compile a policy. Raises `Malformed` with every error of its files."""
    return RegoEngine(config)


def dialects_of(config: Config) -> dict[str, Dialect]:
    """The language of each module, by name."""
    return {
        name: Dialect.V1 if config.versions.get(name, config.dialect) == "v1" else Dialect.V0 for name in config.modules
    }


def _check_roots(policy: Policy, bundle: BundleOrigin | None) -> None:
    if bundle is None:
        return
    for name, module in policy.modules.items():
        path = module.package[1:]  # without `data`
        if not owned(bundle.roots, path):
            package, roots = ".".join(path), ", ".join(map(repr, bundle.roots))
            raise Malformed(f"{name}: package {package} is outside the roots that .manifest names: {roots}")


def _declared(policy: Policy, bundle: BundleOrigin | None) -> int | None:
    if bundle is not None and bundle.declared is not None:
        return bundle.declared
    found = [
        revision
        for module in policy.modules.values()
        for annotation in module.annotations
        if annotation.scope == "package" and isinstance(custom := annotation.content.get("custom"), dict)
        if isinstance(revision := custom.get("revision"), int) and not isinstance(revision, bool)
    ]
    return max(found, default=None)


def policy_hash(config: Config) -> str:
    """SHA-256, hexadecimal, over the policy's parts in a canonical form; the revision is not part of it."""
    parts: list[Any] = [
        sorted(config.modules.items()), config.dialect, config.entrypoint, config.parameters, config.data,
    ]  # fmt: skip
    if config.bundle is not None:
        # With its revision: the same policy under a higher one is another state to go back from.
        parts += [sorted(config.versions.items()), config.bundle.revision, config.bundle.roots]
    if not config.strict_errors:
        parts.append("lenient")  # the same text decides otherwise
    return sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _parameters(config: Config) -> dict[str, Any]:
    parameters = dict(config.parameters)
    if config.dialect == "cyral":
        parameters["api_token"] = WITHHELD
    return parameters


# --- the two requests of a Cyral-style policy ----------------------------------------------------------------------


def _http_send(exchange: _Exchange, request: Any) -> Any:
    """Answer a request of the policy from the facts; what is not one of the two known requests is refused."""
    asked = to_json(request)
    url = urlsplit(str(asked.get("url", "")))
    is_known = (url.scheme, url.netloc) == ("https", "api.pagerduty.com") and asked.get("method") in ("GET", "get")
    body = asked.get("body") if isinstance(asked.get("body"), dict) else {}
    if is_known and url.path == "/users":
        queries = {*_texts(body.get("query")), *_query(url.query, "query")}
        return _response({"users": _users(exchange.document, queries)})
    if is_known and url.path == "/oncalls":
        ids = {*_texts(body.get("user_ids")), *_query(url.query, "user_ids[]")}
        return _response({"oncalls": _oncalls(exchange.document, ids)})
    exchange.refused.append(
        f"the policy asked for {asked.get('method')} {url.scheme}://{url.netloc}{url.path}; only the users and "
        "on-calls of PagerDuty are answered here, from the roster"
    )
    raise BuiltinError(exchange.refused[-1])


def _response(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"status": "200 OK", "status_code": 200, "body": body, "raw_body": json.dumps(body), "headers": {}}


def _texts(value: object) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return [text for text in given if isinstance(text, str)]


def _query(text: str, name: str) -> list[str]:
    return parse_qs(text).get(name, [])


def _people(document: Mapping[str, Any]) -> list[str]:
    """The subject as the sources know them, through the confirmed link only; each once."""
    facts = [*document["on_call"], *document["responding"]]
    return list(dict.fromkeys(fact["person"] for fact in facts))


def _users(document: Mapping[str, Any], queries: set[str]) -> list[dict[str, Any]]:
    """The person that the subject is linked to, when the policy asks for the subject; nobody else is told of."""
    subject = document["subject"]["id"]
    if queries and subject not in queries:
        return []
    return [{"id": person, "type": "user", "email": subject, "name": subject} for person in _people(document)]


def _oncalls(document: Mapping[str, Any], ids: set[str]) -> list[dict[str, Any]]:
    return [
        {
            "user": {"id": fact["person"], "type": "user_reference"},
            "schedule": None if fact["schedule"] is None else {"id": fact["schedule"], "type": "schedule_reference"},
            "escalation_policy": {"id": fact["policy"], "type": "escalation_policy_reference"},
            "escalation_level": fact["level"],
            "start": fact["starts_at"],
            "end": fact["until"],
        }
        for fact in document["on_call"]
        if not ids or fact["person"] in ids
    ]
