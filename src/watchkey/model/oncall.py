"""On-call facts: people, shifts, incidents, and the roster that holds them all as read at one time.

All instants are aware and in UTC; all spans are half-open, `[starts_at, ends_at)`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from watchkey.model.ids import IncidentId, PersonId, SourceName


class ScopeKind(StrEnum):
    """What kind of provider object a pager belongs to. Ids are unique within a kind only."""

    SERVICE = "service"
    ESCALATION_POLICY = "escalation_policy"
    SCHEDULE = "schedule"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Whose pager: one service, escalation policy or schedule of one source."""

    source: SourceName
    kind: ScopeKind
    id: str

    def __str__(self) -> str:
        """`pagerduty-main/service/PSVC1`."""
        return f"{self.source}/{self.kind}/{self.id}"


class EndKind(StrEnum):
    """What the end of a shift means: only EXACT may be counted on."""

    EXACT = "exact"
    PERMANENT = "permanent"
    """A direct escalation target: never goes off call, so it ends nowhere."""
    TRUNCATED = "truncated"
    """Cut off at the window that was read: the person may well stay on call."""
    UNKNOWN = "unknown"


class Provenance(StrEnum):
    """Who put this person on call, as far as the source or the difference of two reads can tell."""

    ROTA = "rota"
    SWAP = "swap"
    OTHER_OVERRIDE = "other_override"
    SELF_OVERRIDE = "self_override"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person as one source knows them. E-mail addresses propose a link, they never prove one."""

    id: PersonId
    name: str
    emails: tuple[str, ...] = ()
    active: bool | None = True
    """None: the source cannot tell, which counts as inactive where it matters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One person's turn, `[starts_at, ends_at)`.

    `starts_at` None means since ever; `ends_at` None stands only with PERMANENT or UNKNOWN.
    """

    person: PersonId
    schedule: str | None = None
    policy: str | None = None
    level: int | None = None
    """1 is paged first; None when the source cannot tell, and then no rule about levels is satisfied."""
    starts_at: datetime | None
    ends_at: datetime | None
    end_kind: EndKind = EndKind.EXACT
    provenance: Provenance = Provenance.ROTA
    created_by: PersonId | None = None

    def covers(self, instant: datetime) -> bool:
        """Whether `starts_at <= instant < ends_at`."""
        return (self.starts_at is None or self.starts_at <= instant) and (
            self.ends_at is None or instant < self.ends_at
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A rota."""

    id: str
    name: str
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationPolicy:
    """Who is paged in which order; `levels[0]` names the schedules of level 1."""

    id: str
    name: str
    schedules_by_level: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Something that breaks and pages an escalation policy; `policy` None means that nobody is paged."""

    id: str
    name: str
    policy: str | None
    depends_on: tuple[str, ...] = ()


class IncidentStatus(StrEnum):
    """Whether an incident still calls for hands."""

    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Involvement(StrEnum):
    """How a person is part of an incident; REQUESTED and DECLINED are not responding."""

    ASSIGNED = "assigned"
    ACKNOWLEDGED = "acknowledged"
    JOINED = "joined"
    ROLE = "role"
    REQUESTED = "requested"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Responder:
    """One person's part in one incident; `role` is set with Involvement.ROLE only, e.g. `incident_commander`."""

    person: PersonId
    involvement: Involvement
    role: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that is on fire, with the people who are at it."""

    id: IncidentId
    title: str
    service: str | None
    policy: str | None = None
    status: IncidentStatus
    responders: tuple[Responder, ...] = ()
    opened_by: PersonId | None = None
    """The person who opened it by hand; None when a machine did, or when the source cannot tell."""
    is_opened_by_machine: bool = False
    """A monitor opened it. False without `opened_by`: nobody can tell, and it may be whoever profits from it."""
    opened_at: datetime | None = None
    escalation_level: int | None = None
    """The highest level that it has reached; None when the source cannot tell."""

    @property
    def is_open(self) -> bool:
        """Whether it is triggered or acknowledged."""
        return self.status is not IncidentStatus.RESOLVED


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """Everything one source said in one complete read; incomplete reads never become a Roster."""

    source: SourceName
    taken_at: datetime
    """The instant the read began, by the source's own clock where it has one (its `Date` header)."""
    window_ends_at: datetime
    """Shifts beyond this instant were not asked for; a shift that ends exactly here is TRUNCATED."""
    people: tuple[Person, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    policies: tuple[EscalationPolicy, ...] = ()
    services: tuple[Service, ...] = ()
    shifts: tuple[Shift, ...] = ()
    incidents: tuple[Incident, ...] = ()
    clock_skew: timedelta = timedelta(0)
    """The source's clock minus ours, as measured during the read."""
