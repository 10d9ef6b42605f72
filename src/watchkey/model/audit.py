"""What the audit log keeps: one frozen value for each kind of fact that can be proven later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from watchkey.model.access import Decision
from watchkey.model.ids import CallerId, SourceName


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade:
    """A decision, before anybody learnt it."""

    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionsRepeated:
    """So many identical answers were given on the strength of entry `seq` since it, or since the last such count."""

    at: datetime
    seq: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSwapped:
    """A complete read replaced the roster; the counts say by how much the holders changed."""

    at: datetime
    source: SourceName
    revision: int
    digest: str
    """SHA-256 of the roster's canonical form, hexadecimal."""
    people: int
    shifts: int
    incidents: int
    appeared: int
    vanished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterHeld:
    """A read was not taken over: it failed, or would have removed too many holders at once."""

    at: datetime
    source: SourceName
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySwapped:
    """Another policy decides from now on."""

    at: datetime
    name: str
    revision: int
    policy_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpaDecision:
    """What an OPA of a fleet says that it decided; received after the fact, so it proves the report, not the decision.

    What the OPA erased or masked is missing here too.
    """

    at: datetime
    """When it was received."""
    caller: CallerId
    fleet: str
    decision_id: str
    """Unique per OPA; a second report of it is not logged again."""
    opa: str
    """The OPA's own id (`labels.id`)."""
    decided_at: str
    """By the OPA's clock, as it wrote it."""
    path: str
    revision: str
    """Of the fleet's bundle that it decided by; empty when it does not say."""
    outcome: str | None
    """`allow` or `deny` where the result is a boolean or has a boolean `allow`; None for anything else."""
    event: str | None
    """The whole event as it came, JSON; None when it was too long to keep."""
    digest: str
    """SHA-256 of the event as it came, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStarted:
    """The service began to answer; `version` is the program's."""

    at: datetime
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStopped:
    """The service ended in order. A start without a stop before it is a crash."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Anything else that must be provable: `what` is a stable dotted name, `fields` are JSON values without secrets."""

    at: datetime
    what: str
    caller: CallerId | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


AuditEvent = (
    DecisionMade
    | DecisionsRepeated
    | RosterSwapped
    | RosterHeld
    | PolicySwapped
    | OpaDecision
    | ServiceStarted
    | ServiceStopped
    | Noted
)
