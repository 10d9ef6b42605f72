"""Audit events and logs for the tests of the audit log: one of each kind, and a signed log in memory."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from watchkey.model.access import (
    AccessRequest,
    Allow,
    Deny,
    Evidence,
    FactKind,
    Ground,
    Reason,
    Subject,
)
from watchkey.model.audit import (
    AuditEvent,
    DecisionMade,
    DecisionsRepeated,
    Noted,
    OpaDecision,
    PolicySwapped,
    RosterHeld,
    RosterSwapped,
    ServiceStarted,
    ServiceStopped,
)
from watchkey.model.ids import CallerId, IncidentId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Scope, ScopeKind
from watchkey.rules.audit_check import KnownNote, StoredEntry
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from watchkey.rules.merkle import Frontier, hash_leaf

AT = datetime(2026, 11, 25, 3, 4, 5, 678901, tzinfo=UTC)
KEY = SigningKey("example.com/audit", bytes(range(32)))
SOURCE = SourceName("pager")
REQUEST = AccessRequest(
    subject=Subject(id=SubjectId("alice@example.com"), groups=frozenset({"sre", "db"})),
    privilege=PrivilegeName("write"),
    resource=ResourceId("orders-db"),
    caller=CallerId("gateway"),
    context={"token": "canary-in-context"},
)
SHIFT = Evidence(
    kind=FactKind.ON_CALL,
    person=PersonId("P1"),
    scope=Scope(SOURCE, ScopeKind.SERVICE, "orders"),
    until=AT + timedelta(hours=1),
    end_kind=EndKind.EXACT,
    level=1,
    starts_at=AT - timedelta(hours=1),
    schedule="orders-primary",
    policy="orders-policy",
)
RESPONSE = Evidence(
    kind=FactKind.RESPONDING,
    person=PersonId("P1"),
    scope=Scope(SOURCE, ScopeKind.SERVICE, "orders"),
    until=None,
    end_kind=EndKind.UNKNOWN,
    provenance=Provenance.UNKNOWN,
    incident=IncidentId("I1"),
    involvement="acknowledged",
    is_vetted=False,
    escalated_to=2,
    path=("checkout", "orders"),
)
ALLOW = Allow(
    request=REQUEST,
    decided_at=AT,
    until=AT + timedelta(minutes=30),
    reason=Reason.ON_CALL,
    sentence="alice holds the pager of orders, level 1, until 04:04 UTC",
    evidence=(SHIFT, RESPONSE),
    grounds=(Ground(source=SOURCE, revision=7, age=timedelta(seconds=12, milliseconds=500)),),
    policy_hash="ab" * 32,
    policy_revision=3,
)
DENY = Deny(
    request=replace(REQUEST, subject=Subject(id=SubjectId("bob@example.com"))),
    decided_at=AT,
    reason=Reason.NOT_ON_CALL,
    sentence="bob is not on call; alice is, until 04:04 UTC",
)
EVENTS: tuple[AuditEvent, ...] = (
    DecisionMade(decision=ALLOW),
    DecisionMade(decision=DENY),
    DecisionsRepeated(at=AT, seq=0, count=12),
    RosterSwapped(
        at=AT,
        source=SOURCE,
        revision=7,
        digest="cd" * 32,
        people=3,
        shifts=12,
        incidents=1,
        appeared=1,
        vanished=0,
    ),
    RosterHeld(at=AT, source=SOURCE, why="the read would have removed 4 of 5 holders"),
    PolicySwapped(at=AT, name="default", revision=3, policy_hash="ab" * 32),
    OpaDecision(
        at=AT,
        caller=CallerId("opa-prod"),
        fleet="prod",
        decision_id="6ea9f3a4",
        opa="opa-1",
        decided_at="2026-07-01T12:00:00.123456789Z",
        path="watchkey/access/decision",
        revision="7",
        outcome="allow",
        event='{"decision_id":"6ea9f3a4","result":true}',
        digest="ef" * 32,
    ),
    ServiceStarted(at=AT, version="0.1.0"),
    ServiceStopped(at=AT),
    Noted(at=AT, what="shift.confirmed", caller=CallerId("cli"), fields={"shift": "S1", "by": ["x", 1.5, None, True]}),
)


def allow(number: int = 0) -> DecisionMade:
    """An allow of its own for each number."""
    return DecisionMade(decision=replace(ALLOW, sentence=f"allow {number}"))


def deny(number: int = 0) -> DecisionMade:
    """A deny of its own for each number."""
    return DecisionMade(decision=replace(DENY, sentence=f"deny {number}"))


@dataclass(frozen=True)
class Log:
    """A log in memory: its entries, and a signed checkpoint for each of some sizes."""

    entries: tuple[StoredEntry, ...]
    notes: tuple[KnownNote, ...]


def note_at(entries: tuple[StoredEntry, ...], size: int, key: SigningKey = KEY) -> str:
    """The signed checkpoint of the first entries, as their bytes are."""
    root = Frontier().extend(hash_leaf(entry.body) for entry in entries[:size]).root()
    return sign_checkpoint(Checkpoint(key.name, size, root), key)


def make_log(size: int, signed: tuple[int, ...], key: SigningKey = KEY) -> Log:
    """A log of `size` entries with checkpoints at these sizes."""
    bodies = (make_entry(allow(seq), seq=seq, high_water=None).body for seq in range(size))
    entries = tuple(StoredEntry(seq, body, hash_leaf(body)) for seq, body in enumerate(bodies))
    notes = (KnownNote(where=f"checkpoint {each}", note=note_at(entries, each, key)) for each in signed)
    return Log(entries, tuple(notes))
