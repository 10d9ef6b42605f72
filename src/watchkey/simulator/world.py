"""What the simulated account holds and what can happen to it; every verb keeps the log and tells the webhooks."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

from watchkey.simulator.rota import FlexibleSchedule, LayeredSchedule, Override, Schedule, Turn


class _HasId(Protocol):
    id: str


_Thing = TypeVar("_Thing", bound=_HasId)
ResponderState = Literal["pending", "joined", "declined", "user_cancelled"]


class UnknownThing(LookupError):
    """The account has nothing of that kind with that id."""


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody with a login."""

    id: str
    name: str
    email: str
    role: str = "limited_user"
    time_zone: str = "UTC"


@dataclass(slots=True, kw_only=True)
class Rule:
    """One escalation level: users by id, schedules by id."""

    users: list[str] = field(default_factory=list)
    schedules: list[str] = field(default_factory=list)
    delay_minutes: int = 30
    round_robin: bool = False


@dataclass(slots=True, kw_only=True)
class Policy:
    """Who is paged in which order."""

    id: str
    name: str
    rules: list[Rule]


@dataclass(slots=True, kw_only=True)
class Service:
    """Something that breaks."""

    id: str
    name: str
    policy: str


@dataclass(slots=True, kw_only=True)
class Responder:
    """Somebody who was asked for help with an incident."""

    user: str
    state: ResponderState
    requested_at: datetime
    requester: str


@dataclass(slots=True, kw_only=True)
class LogEntry:
    """One step of an incident. `agent` is a kind and an id: `user`, `service` or `integration`."""

    id: str
    kind: str
    at: datetime
    agent: tuple[str, str]
    assignees: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Incident:
    """Something on fire. Acknowledgers are pairs of kind (`user` or `service`) and id."""

    id: str
    number: int
    title: str
    service: str
    policy: str
    created_at: datetime
    updated_at: datetime
    status: Literal["triggered", "acknowledged", "resolved"] = "triggered"
    assigned: list[tuple[str, datetime]] = field(default_factory=list)
    assigned_via: Literal["escalation_policy", "direct_assignment"] = "escalation_policy"
    acknowledged: list[tuple[str, str, datetime]] = field(default_factory=list)
    responders: list[Responder] = field(default_factory=list)
    level: int = 1
    log: list[LogEntry] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """Who changed which schedule. `resource` is the kind and id of what was touched inside it."""

    id: str
    at: datetime
    actor: str | None
    action: Literal["create", "update", "delete"]
    schedule: str
    resource: tuple[str, str]


@dataclass(slots=True, kw_only=True)
class Subscription:
    """Where webhooks go. Three dropped deliveries in a row switch it off for 24 hours."""

    id: str
    url: str
    secret: str
    description: str = ""
    dropped_in_a_row: int = 0
    disabled_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One webhook event about one incident, as it will be delivered."""

    id: str
    kind: str
    at: datetime
    agent: tuple[str, str]
    incident: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class World:
    """One account. `now` is its clock; ids are counted, so that a run can be repeated exactly."""

    now: Callable[[], datetime]
    users: dict[str, User] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    incidents: dict[str, Incident] = field(default_factory=dict)
    audit: list[AuditRecord] = field(default_factory=list)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    tell: Callable[[Event], None] = lambda _: None
    """Called with each event; the webhook sender listens here."""
    version: int = 0
    """Grows with every change, so that answers can be kept between two."""
    _count: int = 0

    # People, rotas, policies, services

    def add_user(self, id: str, name: str, email: str, role: str = "limited_user") -> User:  # noqa: A002 - the API's own word
        """Add somebody, or change them."""
        return self._put(self.users, User(id=id, name=name, email=email, role=role))

    def delete_user(self, user: str) -> None:
        """Delete a login; schedules go on naming it."""
        self._known(self.users, user)
        del self.users[user]
        self.version += 1

    def add_schedule(self, schedule: Schedule) -> Schedule:
        """Add a rota of either kind."""
        return self._put(self.schedules, schedule)

    def add_policy(self, id: str, name: str, rules: list[Rule]) -> Policy:  # noqa: A002 - the API's own word
        """Add an escalation policy."""
        return self._put(self.policies, Policy(id=id, name=name, rules=rules))

    def add_service(self, id: str, name: str, policy: str) -> Service:  # noqa: A002 - the API's own word
        """Add a service that pages a policy."""
        self._known(self.policies, policy)
        return self._put(self.services, Service(id=id, name=name, policy=policy))

    def override(
        self, schedule: str, user: str, start: datetime, end: datetime, by: str | None = None, part: str | None = None
    ) -> str:
        """Put a person in place of whoever has the turn, `by` somebody; `part` is a rotation of a v3 schedule."""
        self._known(self.users, user)
        override = Override(id=self._id("QO"), user=user, start=start, end=end, created_by=by)
        self._overrides_of(schedule, part).append(override)
        self._record(by, "create", schedule, ("override", override.id))
        return override.id

    def remove_override(self, schedule: str, override: str, by: str | None = None) -> None:
        """Take an override away; whoever has the turn has it again."""
        for overrides in self._all_overrides(schedule):
            for each in overrides:
                if each.id == override:
                    overrides.remove(each)
                    self._record(by, "delete", schedule, ("override", override))
                    return
        raise UnknownThing(f"schedule {schedule} has no override {override}")

    # Who is on call

    def on_call(
        self, policy: Policy, since: datetime, until: datetime
    ) -> Iterator[tuple[int, str | None, Turn | None, str]]:
        """Level, schedule, turn and user of everybody in the window; a direct target has neither schedule nor turn."""
        for level, rule in enumerate(policy.rules, start=1):
            for user in rule.users:
                yield level, None, None, user
            for schedule in rule.schedules:
                for turn in self._known(self.schedules, schedule).final(since, until):
                    if turn.user is not None:
                        yield level, schedule, turn, turn.user

    def _paged(self, policy: Policy, level: int) -> list[str]:
        now = self.now()
        return list(dict.fromkeys(user for at, _, _, user in self.on_call(policy, now, now) if at == level))

    # Incidents

    def trigger(self, service: str, title: str = "It is broken", by: str | None = None) -> str | None:
        """Open an incident, by a person or by a machine. Returns its id, or None: with nobody on call there is none."""
        broken = self._known(self.services, service)
        policy = self._known(self.policies, broken.policy)
        now = self.now()
        for level in range(1, len(policy.rules) + 1):
            if users := self._paged(policy, level):
                number = len(self.incidents) + 1
                incident = Incident(
                    id=self._id("QI"),
                    number=number,
                    title=title,
                    service=service,
                    policy=policy.id,
                    created_at=now,
                    updated_at=now,
                    level=level,
                )
                self.incidents[incident.id] = incident
                agent = ("user", by) if by else ("service", service)
                self._step(incident, "trigger", agent, "incident.triggered")
                self._assign(incident, users, ("service", service))
                return incident.id
        return None

    def acknowledge(self, incident: str, user: str, kind: Literal["user", "service"] = "user") -> None:
        """Somebody, or a service, takes the incident in hand."""
        fire = self._open(incident)
        if kind == "user":
            self._known(self.users, user)
        else:
            self._known(self.services, user)
        fire.status = "acknowledged"
        fire.acknowledged = [each for each in fire.acknowledged if each[1] != user] + [(kind, user, self.now())]
        self._step(fire, "acknowledge", (kind, user), "incident.acknowledged")

    def unacknowledge(self, incident: str) -> None:
        """The acknowledgement runs out."""
        fire = self._open(incident)
        fire.status, fire.acknowledged = "triggered", []
        self._step(fire, "unacknowledge", ("service", fire.service), "incident.unacknowledged")

    def escalate(self, incident: str) -> int:
        """Go to the next level that has somebody; returns it."""
        fire = self._open(incident)
        policy = self._known(self.policies, fire.policy)
        for level in range(fire.level + 1, len(policy.rules) + 1):
            if users := self._paged(policy, level):
                fire.level, fire.assigned_via = level, "escalation_policy"
                fire.assigned = [(user, self.now()) for user in users]
                self._step(fire, "escalate", ("service", fire.service), "incident.escalated", users)
                return level
        return fire.level

    def reassign(self, incident: str, users: list[str], by: str) -> None:
        """Give the incident to these people directly."""
        fire = self._open(incident)
        for user in users:
            self._known(self.users, user)
        fire.assigned_via = "direct_assignment"
        fire.status, fire.acknowledged = "triggered", []
        self._assign(fire, users, ("user", by))

    def request_responder(self, incident: str, user: str, by: str) -> None:
        """Ask somebody for help."""
        fire = self._open(incident)
        self._known(self.users, user)
        fire.responders.append(Responder(user=user, state="pending", requested_at=self.now(), requester=by))
        self._touch(fire, "incident.responder.added", ("user", by), {"user": user, "state": "pending"})

    def answer_request(self, incident: str, user: str, state: ResponderState) -> None:
        """The person who was asked joins, declines, or is no longer needed."""
        fire = self._open(incident)
        asked = next((each for each in fire.responders if each.user == user), None)
        if asked is None:
            raise UnknownThing(f"nobody asked {user} for help with {incident}")
        asked.state = state
        self._touch(fire, "incident.responder.replied", ("user", user), {"user": user, "state": state})

    def resolve(self, incident: str, by: str) -> None:
        """It is over; nobody is assigned any more."""
        fire = self._open(incident)
        fire.status, fire.assigned, fire.acknowledged = "resolved", [], []
        self._step(fire, "resolve", ("user", by), "incident.resolved")

    # Webhooks

    def subscribe(self, url: str, secret: str, description: str = "") -> str:
        """Send events there, signed with the secret."""
        subscription = Subscription(id=self._id("PW"), url=url, secret=secret, description=description)
        return self._put(self.subscriptions, subscription).id

    def enable_subscription(self, subscription: str) -> None:
        """Switch a disabled subscription on again."""
        found = self._known(self.subscriptions, subscription)
        found.disabled_until, found.dropped_in_a_row = None, 0
        self.version += 1

    # Inside

    def _assign(self, incident: Incident, users: Iterable[str], agent: tuple[str, str]) -> None:
        incident.assigned = [(user, self.now()) for user in users]
        self._step(incident, "assign", agent, "incident.reassigned", [user for user, _ in incident.assigned])

    def _step(
        self, incident: Incident, kind: str, agent: tuple[str, str], event: str, assignees: list[str] | None = None
    ) -> None:
        entry = LogEntry(id=self._id("RL"), kind=kind, at=self.now(), agent=agent, assignees=assignees or [])
        incident.log.append(entry)
        self._touch(incident, event, agent, {})

    def _touch(self, incident: Incident, event: str, agent: tuple[str, str], data: dict[str, Any]) -> None:
        incident.updated_at = self.now()
        self.version += 1
        self.tell(Event(id=self._id("EV"), kind=event, at=self.now(), agent=agent, incident=incident.id, data=data))

    def _record(
        self, actor: str | None, action: Literal["create", "update", "delete"], schedule: str, resource: tuple[str, str]
    ) -> None:
        self.version += 1
        record = AuditRecord(
            id=self._id("AR"), at=self.now(), actor=actor, action=action, schedule=schedule, resource=resource
        )
        self.audit.append(record)

    def _overrides_of(self, schedule: str, part: str | None) -> list[Override]:
        found = self._known(self.schedules, schedule)
        if isinstance(found, LayeredSchedule):
            return found.overrides
        parts = {
            **{each.id: each.overrides for each in found.rotations},
            **{each.id: each.overrides for each in found.custom_shifts},
        }
        if part in parts:
            return parts[part]
        raise UnknownThing(f"schedule {schedule} has no part {part}")

    def _all_overrides(self, schedule: str) -> list[list[Override]]:
        found = self._known(self.schedules, schedule)
        if isinstance(found, FlexibleSchedule):
            return [*(each.overrides for each in found.rotations), *(each.overrides for each in found.custom_shifts)]
        return [found.overrides]

    def _open(self, incident: str) -> Incident:
        fire = self._known(self.incidents, incident)
        if fire.status == "resolved":
            raise UnknownThing(f"incident {incident} is resolved")
        return fire

    def _put(self, where: dict[str, _Thing], thing: _Thing) -> _Thing:
        where[thing.id] = thing
        self.version += 1
        return thing

    @staticmethod
    def _known(where: dict[str, _Thing], id_: str) -> _Thing:
        try:
            return where[id_]
        except KeyError:
            raise UnknownThing(f"there is no {id_}") from None

    def _id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count:07d}"


def backdate(incident: Incident, age: timedelta) -> None:
    """Make an incident look as old as that."""
    incident.created_at -= age
    incident.updated_at -= age
