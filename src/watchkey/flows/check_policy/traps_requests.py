"""Traps in what a policy asks of the world: requests, secrets, pages, headers."""

from collections.abc import Iterator
from typing import Final

from watchkey.flows.check_policy.findings import Finding, Severity
from watchkey.flows.check_policy.sight import REQUEST, Sight, field_of, nodes, operator, plain, request_field
from watchkey.rego import Location
from watchkey.rego.ast import ObjectTerm, Ref
from watchkey.rules.located import Located

NETWORK: Final = frozenset({REQUEST, "net.lookup_ip_addr", "opa.runtime"})
_SECRET_WORDS: Final = ("token", "secret", "password", "passwd", "api_key", "apikey", "credential", "private_key")


def request_traps(sight: Sight) -> Iterator[Finding]:
    """Everything in this file."""
    yield from _network(sight)
    yield from _secrets(sight)
    for scene, call, url in sight.requests():
        place = scene.place(call)
        if str(plain(request_field(call, "method"))).upper() == "GET" and request_field(call, "body") is not None:
            yield Finding(
                rule="get-body",
                severity=Severity.HIGH,
                location=place,
                message="the filter stands in the body of a GET, which a server may ignore: then page one of everybody "
                "comes back, and the first of them is let in",
                fix="put filters into the query string, and compare the id of every row that comes back",
            )
        is_pagerduty = "pagerduty.com" in url
        headers = request_field(call, "headers")
        if is_pagerduty and (not isinstance(headers, ObjectTerm) or field_of(headers, "Accept") is None):
            yield Finding(
                rule="no-accept",
                severity=Severity.LOW,
                location=place,
                message="the request has no Accept header, which PagerDuty's schema requires",
                fix="send Accept: application/vnd.pagerduty+json;version=2",
            )
        if ("/oncalls" in url or "/users" in url) and not sight.reads_any("more", "offset", "next_cursor"):
            yield Finding(
                rule="one-page",
                severity=Severity.MEDIUM,
                location=place,
                message="only the first page is read; whoever stands on the second is never found",
                fix="no policy can page; decide from input.on_call, which is read completely or not at all",
            )
        if "/oncalls" in url and not _has_scope(sight, url):
            yield Finding(
                rule="no-scope",
                severity=Severity.HIGH,
                location=place,
                message="no schedule, escalation policy or service is looked at: any rota of the account opens "
                "everything",
                fix="name the pagers under `opened_by` of the resource; Watchkey then answers with shifts in scope "
                "only",
            )
    first = next(sight.requests(), None)
    if first is not None and not sight.reads_any("status_code", "status"):
        yield Finding(
            rule="status-unread",
            severity=Severity.MEDIUM,
            location=first[0].place(first[1]),
            message="the status of the answer is never read: 401, 429 and 5xx all look like *not on call*",
            fix="decide from the facts in input: there an outage has a reason of its own (roster_stale, no_roster)",
        )


def _has_scope(sight: Sight, url: str) -> bool:
    in_url = any(name in url for name in ("schedule_ids", "escalation_policy_ids", "service_ids"))
    return in_url or sight.reads_any("escalation_policy", "schedule", "service", "scope")


def _network(sight: Sight) -> Iterator[Finding]:
    for scene in sight.scenes:
        for call in scene.calls():
            if operator(call) in NETWORK:
                yield Finding(
                    rule="network",
                    severity=Severity.MEDIUM,
                    location=scene.place(call),
                    message=f"{operator(call)} reaches outside: a decision then waits and fails with what is there",
                    fix="decide from input; of http.send, dialect cyral answers PagerDuty's users and on-calls from "
                    "the roster, and nothing else",
                )


def _is_secret(name: str) -> bool:
    return any(word in name.casefold() for word in _SECRET_WORDS)


def _secret(location: Location, name: str) -> Finding:
    return Finding(
        rule="secret-in-data",
        severity=Severity.MEDIUM,
        location=location,
        message=f"{name!r} looks like a secret; whoever can read the policy's data, a bundle or an explanation has it",
        fix="keep secrets out of policies; Watchkey's sources hold the read-only key, and a policy needs none",
    )


def _secrets(sight: Sight) -> Iterator[Finding]:
    for scene in sight.scenes:
        for node in nodes([scene.exprs, scene.rule.value]):
            if isinstance(node, Ref):
                path = scene.path(node)
                name = next((step for step in path if isinstance(step, str) and _is_secret(step)), None)
                if path[0] in {"data", "input"} and name is not None:
                    yield _secret(scene.place(node), name)
            elif isinstance(node, ObjectTerm) and isinstance(plain(field_of(node, "Authorization")), str):
                yield _secret(scene.place(field_of(node, "Authorization")), "Authorization")


def data_secrets(data: Located) -> Iterator[Finding]:
    """Secrets in a data file: keys that say so and hold a text."""
    stack: list[tuple[tuple[str | int, ...], object]] = [((), data.data)]
    while stack:
        path, value = stack.pop()
        steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        stack.extend(((*path, step), inner) for step, inner in steps)
        if isinstance(value, str) and path and isinstance(path[-1], str) and _is_secret(path[-1]):
            mark = data.mark(*path, at_key=True)
            yield _secret(Location(file=data.filename, line=mark.line, column=mark.column), path[-1])
