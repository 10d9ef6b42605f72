"""The document that a policy sees: typed, complete, without secrets; its JSON Schema is `policies/input.schema.json`.

Instants stand twice: as RFC 3339 text for people and as nanoseconds since 1970 (`*_ns`) for comparisons, so that no
policy ever compares text as time. Missing values are null, never absent.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from watchkey.model.access import Evidence, FactKind, Statement
from watchkey.rules.evidence import Findings, Question

VERSION: Final = 1
"""The document's version; it grows when a field changes its meaning, not when one is added."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def policy_document(question: Question, findings: Findings) -> dict[str, Any]:
    """Shape the document for one question. All facts are in it, also those that the decision objects to."""
    request, resource = question.request, question.resource
    evidence = [finding.evidence for finding in findings.facts]
    opening = {scope.source for scope in resource.scopes}
    return {
        "version": VERSION,
        "now": _text(question.now),
        "now_ns": nanoseconds(question.now),
        "subject": {"id": request.subject.id, "groups": sorted(request.subject.groups)},
        "privilege": request.privilege,
        "resource": {
            "id": resource.id,
            "kind": resource.kind,
            "labels": dict(resource.labels),
            "needs": str(resource.needs),
            "max_level": resource.max_level,
            "level_follows_escalation": resource.level_follows_escalation,
            "incident_roles": sorted(resource.incident_roles),
            "opens": {str(grade): sorted(privileges) for grade, privileges in resource.opens.items()},
            "unvetted": sorted(resource.unvetted),
            "blast_radius": {"opens": sorted(resource.blast_opens), "depth": resource.blast_depth},
            "ttl_max_s": int(resource.ttl_max.total_seconds()),
        },
        "on_call": [_shift(fact) for fact in evidence if fact.kind is FactKind.ON_CALL],
        "responding": [_response(fact) for fact in evidence if fact.kind is FactKind.RESPONDING],
        "grace": [_parting(fact) for fact in evidence if fact.kind is FactKind.GRACE],
        "is_stale": any(question.is_stale(view) for name, view in question.views.items() if name in opening),
        "caller": request.caller,
        "context": dict(request.context),
        "statement": None if request.statement is None else _statement(request.statement),
    }


def _statement(statement: Statement) -> dict[str, Any]:
    return {
        "verbs": list(statement.verbs),
        "kind": str(statement.kind),
        "tables": list(statement.tables),
        "functions": list(statement.functions),
    }


def _shift(fact: Evidence) -> dict[str, Any]:
    return {
        "person": fact.person,
        "scope": {"source": fact.scope.source, "kind": str(fact.scope.kind), "id": fact.scope.id},
        "level": fact.level,
        "schedule": fact.schedule,
        "policy": fact.policy,
        "starts_at": _text(fact.starts_at),
        "starts_ns": nanoseconds(fact.starts_at),
        "until": _text(fact.until),
        "until_ns": nanoseconds(fact.until),
        "end_kind": str(fact.end_kind),
        "provenance": str(fact.provenance),
        "incident": fact.incident,
        "escalated_to": fact.escalated_to,
        "is_vetted": fact.is_vetted,
    }


def _response(fact: Evidence) -> dict[str, Any]:
    return {
        "person": fact.person,
        "scope": {"source": fact.scope.source, "kind": str(fact.scope.kind), "id": fact.scope.id},
        "incident": fact.incident,
        "involvement": fact.involvement,
        "since": _text(fact.starts_at),
        "since_ns": nanoseconds(fact.starts_at),
        "is_vetted": fact.is_vetted,
        "path": list(fact.path),
    }


def _parting(fact: Evidence) -> dict[str, Any]:
    return {
        "person": fact.person,
        "scope": {"source": fact.scope.source, "kind": str(fact.scope.kind), "id": fact.scope.id},
        "incident": fact.incident,
        "involvement": fact.involvement,
        "ended_at": _text(fact.starts_at),
        "ended_ns": nanoseconds(fact.starts_at),
        "until": _text(fact.until),
        "until_ns": nanoseconds(fact.until),
        "is_vetted": fact.is_vetted,
        "path": list(fact.path),
    }


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else msgspec.to_builtins(instant)


def nanoseconds(instant: datetime | None) -> int | None:
    """Nanoseconds since 1970, exact to the microsecond that a datetime keeps."""
    return None if instant is None else (instant - _EPOCH) // _MICROSECOND * 1000
