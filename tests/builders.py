"""Short ways to write the domain's values in tests; every default is an ordinary, allowed case."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from watchkey.model.access import AccessRequest, Caller, Link, Needs, Resource, StaleMode, Subject
from watchkey.model.ids import CallerId, IncidentId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import (
    EscalationPolicy,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Responder,
    Roster,
    Schedule,
    Scope,
    ScopeKind,
    Service,
    Shift,
)
from watchkey.rules.evidence import Question, View
from watchkey.rules.identity import Links
from watchkey.rules.roster import RosterIndex, index_roster

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SOURCE = SourceName("pager")
SERVICE = Scope(SOURCE, ScopeKind.SERVICE, "orders")
POLICY = Scope(SOURCE, ScopeKind.ESCALATION_POLICY, "orders-policy")
SCHEDULE = Scope(SOURCE, ScopeKind.SCHEDULE, "orders-primary")
ALL_GRADES = {
    Provenance.ROTA: frozenset({PrivilegeName("read"), PrivilegeName("write")}),
    Provenance.SWAP: frozenset({PrivilegeName("read"), PrivilegeName("write")}),
    Provenance.OTHER_OVERRIDE: frozenset({PrivilegeName("read"), PrivilegeName("write")}),
    Provenance.SELF_OVERRIDE: frozenset({PrivilegeName("read")}),
    Provenance.UNKNOWN: frozenset({PrivilegeName("read")}),
}
CALLER = Caller(id=CallerId("gateway"), resources=None, is_trusted=True)


def resource(**changes: Any) -> Resource:
    fields: dict[str, Any] = {
        "id": ResourceId("orders-db"),
        "kind": "postgres",
        "privileges": (PrivilegeName("read"), PrivilegeName("write")),
        "scopes": (SERVICE,),
        "needs": Needs.EITHER,
        "max_level": 1,
        "incident_roles": frozenset({"acknowledged", "joined", "incident_commander"}),
        "ttl_max": HOUR,
        "age_max": timedelta(minutes=10),
        "stale_mode": StaleMode.INCUMBENT,
        "opens": ALL_GRADES,
        "unvetted": frozenset({PrivilegeName("read")}),
    }
    return Resource(**(fields | changes))


def shift(person: str = "PALICE", **changes: Any) -> Shift:
    fields: dict[str, Any] = {
        "person": PersonId(person),
        "schedule": "orders-primary",
        "policy": "orders-policy",
        "level": 1,
        "starts_at": NOW - HOUR,
        "ends_at": NOW + HOUR / 2,
    }
    return Shift(**(fields | changes))


def incident(*responders: Responder, **changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "id": IncidentId("Q1"),
        "title": "orders are slow",
        "service": "orders",
        "status": IncidentStatus.ACKNOWLEDGED,
        "responders": responders,
        "is_opened_by_machine": "opened_by" not in changes,
    }
    return Incident(**(fields | changes))


def responder(person: str = "PALICE", involvement: Involvement = Involvement.ACKNOWLEDGED, **changes: Any) -> Responder:
    return Responder(person=PersonId(person), involvement=involvement, **changes)


def roster(*shifts: Shift, **changes: Any) -> Roster:
    fields: dict[str, Any] = {
        "source": SOURCE,
        "taken_at": NOW,
        "window_ends_at": NOW + timedelta(hours=72),
        "people": tuple(
            Person(id=PersonId(f"P{name.upper()}"), name=name, emails=(f"{name}@example.com",))
            for name in ("alice", "bob", "carol")
        ),
        "schedules": (Schedule(id="orders-primary", name="Orders, primary"),),
        "policies": (EscalationPolicy(id="orders-policy", name="Orders"),),
        "services": (Service(id="orders", name="Orders", policy="orders-policy"),),
        "shifts": shifts,
    }
    return Roster(**(fields | changes))


def index(*shifts: Shift, **changes: Any) -> RosterIndex:
    return index_roster(roster(*shifts, **changes))


def links(*pairs: tuple[str, str]) -> Links:
    pairs = pairs or (("alice", "PALICE"), ("bob", "PBOB"), ("carol", "PCAROL"))
    return Links([Link(subject=SubjectId(s), source=SOURCE, person=PersonId(p)) for s, p in pairs])


def request(subject: str = "alice", privilege: str = "write", **changes: Any) -> AccessRequest:
    fields: dict[str, Any] = {
        "subject": Subject(id=SubjectId(subject)),
        "privilege": PrivilegeName(privilege),
        "resource": ResourceId("orders-db"),
        "caller": CALLER.id,
    }
    return AccessRequest(**(fields | changes))


def question(
    *shifts: Shift,
    asks: AccessRequest | None = None,
    about: Resource | None = None,
    now: datetime = NOW,
    age: timedelta = timedelta(0),
    facts: Mapping[str, Any] | None = None,
    linked: Links | None = None,
    **changes: Any,
) -> Question:
    view = View(index=index(*shifts, **(facts or {})), revision=1, age=age)
    return Question(
        request=asks or request(),
        resource=about or resource(),
        now=now,
        views={SOURCE: view},
        links=linked or links(),
        **changes,
    )
