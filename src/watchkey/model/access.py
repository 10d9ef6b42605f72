"""The question and its answer: who may do what to which resource, until when, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from watchkey.model.ids import CallerId, IncidentId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Who acts. `groups` come from the identity provider or from the configuration, never from the on-call tool."""

    id: SubjectId
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The program that asks on a subject's behalf. `resources` None means all of them."""

    id: CallerId
    resources: frozenset[ResourceId] | None = frozenset()
    is_trusted: bool = False
    """A trusted caller learns the reason of a denial; an untrusted one learns *no*."""
    is_admin: bool = False
    """May let in a read that the shrink guard holds back."""

    def may_ask_about(self, resource: ResourceId) -> bool:
        """Whether this caller may ask about that resource at all."""
        return self.resources is None or resource in self.resources


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A subject is this person of that source: pinned by immutable id, confirmed by somebody."""

    subject: SubjectId
    source: SourceName
    person: PersonId


class Needs(StrEnum):
    """Which fact opens a resource."""

    ON_CALL = "on_call"
    RESPONDING = "responding"
    EITHER = "either"
    NOTHING = "nothing"


class StaleMode(StrEnum):
    """What a roster older than the resource's bound is still good for."""

    STRICT = "strict"
    """Nothing."""
    INCUMBENT = "incumbent"
    """Those on call at the last complete read stay to the published end of their shift."""
    FORECAST = "forecast"
    """Also those whose shift was published in the last complete read, within `forecast_max`."""
    SECOND_SOURCE = "second_source"
    """Nothing by itself: a shift of the last complete read counts while the resource's second source, fresh, agrees."""


class Agreement(StrEnum):
    """When a resource's second source is asked."""

    WHEN_STALE = "when_stale"
    """When the first is too old, under `StaleMode.SECOND_SOURCE`."""
    ALWAYS = "always"
    """Also when the first is fresh: nobody gets in whom not both have on call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What is protected, and whose pager opens it."""

    id: ResourceId
    kind: str
    privileges: tuple[PrivilegeName, ...]
    scopes: tuple[Scope, ...] = ()
    """Whose pager opens it; any one suffices."""
    needs: Needs = Needs.ON_CALL
    max_level: int = 1
    """The highest escalation level that counts; 1 is paged first."""
    level_follows_escalation: bool = False
    """A level above 1 counts only while an open incident of its pager has escalated to it."""
    incident_roles: frozenset[str] = frozenset()
    """How one must be involved to count as responding: `acknowledged`, `joined`, `assigned`, or a role's name."""
    ttl_max: timedelta = timedelta(hours=1)
    age_max: timedelta = timedelta(minutes=10)
    """A roster older than this is stale for this resource."""
    stale_mode: StaleMode = StaleMode.INCUMBENT
    forecast_max: timedelta = timedelta(hours=24)
    second_scopes: tuple[Scope, ...] = ()
    """Whose pager must agree; any one suffices. They give no fact of their own."""
    agreement: Agreement = Agreement.WHEN_STALE
    opens: Mapping[Provenance, frozenset[PrivilegeName]] = field(default_factory=dict)
    """Which privileges a shift of each grade opens; a grade that is not named opens nothing."""
    blast_opens: frozenset[PrivilegeName] = frozenset()
    """Which privileges an incident of a service that depends on one of `scopes` opens."""
    blast_depth: int = 1
    """Over how many dependencies such an incident may be away."""
    incident_grace: timedelta = timedelta(0)
    """How long who was responding keeps what he held when his part in the incident ended."""
    unvetted: frozenset[PrivilegeName] = frozenset()
    """Which privileges an incident gives that nobody but its own opener has acknowledged."""
    eligible_groups: frozenset[str] = frozenset()
    """When not empty, the subject must be in one of them besides being on call."""
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: str = "default"
    target: Mapping[str, Any] = field(default_factory=dict)
    """How the enforcing side reaches it; opaque here."""

    @property
    def sources(self) -> tuple[SourceName, ...]:
        """Every source that a decision about it looks at, each once."""
        return tuple(dict.fromkeys(scope.source for scope in (*self.scopes, *self.second_scopes)))


class StatementKind(StrEnum):
    """The strongest thing that a statement does, weakest first."""

    SESSION = "session"
    READ = "read"
    WRITE = "write"
    SCHEMA = "schema"
    OTHER = "other"
    """Nobody can tell from its text, such as `DO` or `CALL`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is about to be done in a session, as it is written; several statements in one text are one."""

    verbs: tuple[str, ...]
    kind: StatementKind
    tables: tuple[str, ...]
    """With their schema where it is written."""
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """May this subject do this to that resource, now? `context` is what the caller tells besides; never a fact."""

    subject: Subject
    privilege: PrivilegeName
    resource: ResourceId
    caller: CallerId
    context: Mapping[str, Any] = field(default_factory=dict)
    statement: Statement | None = None
    """Asked in a session that is allowed already; None: about the session."""


class FactKind(StrEnum):
    """Which kind of fact an evidence is."""

    ON_CALL = "on_call"
    RESPONDING = "responding"
    GRACE = "grace"
    """Was responding, and held the privilege, until a moment ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One fact about one person that touches the resource: policy, decision and audit log have it."""

    kind: FactKind
    person: PersonId
    scope: Scope
    """The configured scope through which the fact counts."""
    until: datetime | None
    """When the fact ends by itself; None when it does not, or when nobody knows."""
    end_kind: EndKind
    level: int | None = None
    starts_at: datetime | None = None
    schedule: str | None = None
    policy: str | None = None
    provenance: Provenance = Provenance.ROTA
    incident: IncidentId | None = None
    involvement: str | None = None
    """For RESPONDING: `acknowledged`, `joined`, `assigned`, or the role's name."""
    is_vetted: bool = True
    """For RESPONDING: somebody else than its opener is at the incident too, or a machine opened it."""
    path: tuple[str, ...] = ()
    """For RESPONDING through dependencies: the services from the incident's to the scope's, both included."""
    escalated_to: int | None = None
    """For ON_CALL: the highest level that an open incident of the scope has reached; `incident` is that one."""


class Outcome(StrEnum):
    """What a policy engine did with a question."""

    YES = "yes"
    NO = "no"
    UNDEFINED = "undefined"
    MALFORMED = "malformed"
    FAILED = "failed"
    OVER_BUDGET = "over_budget"
    UNREACHABLE = "unreachable"
    """The policy lives elsewhere and could not be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the policy said. It is evidence for the decision, not the decision; `ttl` None means no wish."""

    outcome: Outcome
    ttl: timedelta | None = None
    reasons: tuple[str, ...] = ()
    detail: str = ""
    """For the operator: what went wrong. Never shown to an untrusted caller."""
    policy_hash: str = ""
    """Which policy spoke, as far as its engine knows: see `ports.PolicyEngine`."""
    policy_revision: int = 0


class Reason(StrEnum):
    """Why. Stable codes: they stand in the audit log, in metrics and in other people's scripts."""

    # allows
    ON_CALL = "on_call"
    RESPONDING = "responding"
    GRACE = "grace"
    NO_FACT_NEEDED = "no_fact_needed"
    # denials that concern the question
    CALLER_NOT_ALLOWED = "caller_not_allowed"
    UNKNOWN_RESOURCE = "unknown_resource"
    UNKNOWN_PRIVILEGE = "unknown_privilege"
    # ... what is known
    NO_ROSTER = "no_roster"
    ROSTER_STALE = "roster_stale"
    CLOCK_DOUBTFUL = "clock_doubtful"
    # ... who is asking
    NOT_LINKED = "not_linked"
    IDENTITY_AMBIGUOUS = "identity_ambiguous"
    PERSON_UNKNOWN = "person_unknown"
    PERSON_INACTIVE = "person_inactive"
    NOT_ELIGIBLE = "not_eligible"
    # ... the facts
    NOT_ON_CALL = "not_on_call"
    LEVEL_TOO_HIGH = "level_too_high"
    LEVEL_UNKNOWN = "level_unknown"
    NOT_ESCALATED = "not_escalated"
    ESCALATION_UNKNOWN = "escalation_unknown"
    ONLY_PERMANENT = "only_permanent"
    PROVENANCE_TOO_WEAK = "provenance_too_weak"
    SOURCES_DISAGREE = "sources_disagree"
    SECOND_SOURCE_SILENT = "second_source_silent"
    NOT_RESPONDING = "not_responding"
    INCIDENT_UNVETTED = "incident_unvetted"
    OUTSIDE_BLAST_RADIUS = "outside_blast_radius"
    SCOPE_UNKNOWN = "scope_unknown"
    # ... the policy
    POLICY_DENIED = "policy_denied"
    POLICY_UNDEFINED = "policy_undefined"
    POLICY_MALFORMED = "policy_malformed"
    POLICY_FAILED = "policy_failed"
    POLICY_OVER_BUDGET = "policy_over_budget"
    POLICY_UNREACHABLE = "policy_unreachable"
    # ... ourselves
    NO_TIME_LEFT = "no_time_left"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """On which roster a decision stands: its revision, and how old its last complete read was."""

    source: SourceName
    revision: int
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Yes, until then, because of these facts. `until` is absolute and exclusive; no cache may extend it."""

    request: AccessRequest
    decided_at: datetime
    until: datetime
    reason: Reason
    sentence: str
    evidence: tuple[Evidence, ...]
    grounds: tuple[Ground, ...] = ()
    policy_hash: str = ""
    policy_revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnCallInstead:
    """Who holds the pager now, for the person at 3 a.m. who does not."""

    name: str
    level: int | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """No, because. `sentence` says what is missing, who is on call instead, and when one's own next shift starts."""

    request: AccessRequest
    decided_at: datetime
    reason: Reason
    sentence: str
    instead: tuple[OnCallInstead, ...] = ()
    next_shift_at: datetime | None = None
    evidence: tuple[Evidence, ...] = ()
    """Facts that were found and did not suffice."""
    grounds: tuple[Ground, ...] = ()
    policy_hash: str = ""
    policy_revision: int = 0


Decision = Allow | Deny
