"""PagerDuty as a source: users, on-calls, services, escalation policies, both kinds of schedules, open incidents.

One paged read of each list serves every resource, whatever their number. What the API leaves open is decided so that
nobody gains by it; `docs/sources/pagerduty.md` lists each such choice.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal, Protocol, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpClient, Limits, OffsetPage, OffsetPaging, Operation, Params
from watchkey.model.errors import Malformed, PortError, Refused
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    EscalationPolicy,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Responder,
    Roster,
    Schedule,
    Service,
    Shift,
)
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.provenance import grade_override

_HOSTS: Final = {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
_ACCEPT: Final = "application/vnd.pagerduty+json;version=2"
_WINDOW_MAX: Final = timedelta(days=90)
_AUDIT_BACK: Final = timedelta(days=30)
"""How far back audit records are looked through; PagerDuty answers for 31 days at most."""
_AUDIT_PAGES: Final = 5
"""Pages of audit records per read; an override whose record lies further back has no known creator."""
_OVERRIDE_READS: Final = 50
"""Schedules per read whose overrides are looked at one by one."""
_CREATORS_KEPT: Final = 10_000
_WEBHOOKS_EVERY: Final = 300.0
"""Seconds between two looks at the webhook subscriptions."""
_WEBHOOKS_SECONDS: Final = 5.0
"""What a look may take: a read that may end somebody's access must not wait for it."""
_MANAGERS: Final = frozenset({"owner", "admin", "user"})
"""Account roles that may plan for others; PagerDuty calls the manager role `user`."""
_WEAKEST_LAST: Final = (
    Provenance.SWAP,
    Provenance.OTHER_OVERRIDE,
    Provenance.UNKNOWN,
    Provenance.SELF_OVERRIDE,
)
_USER_KINDS: Final = frozenset({"user_reference", "user"})
_NOT_READABLE: Final = (402, 403, 404)

_Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
_Instant = Annotated[datetime, Meta(tz=True)]
_Ids = Annotated[tuple[_Id, ...], Meta(max_length=100)]


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `pagerduty`."""

    token: Annotated[Secret, Meta(description="A read-only REST API key of the account: {env: NAME} or {file: PATH}.")]
    region: Annotated[Literal["us", "eu"], Meta(description="Where the account lives.")] = "us"
    base_url: Annotated[
        str | None, Meta(description="Instead of the region's address; https, or http on loopback.")
    ] = None
    ca_file: Annotated[
        str | None, Meta(description="PEM file of the authorities to trust instead of the public ones.")
    ] = None
    deadline: Annotated[timedelta, Meta(description="What one read of everything may take, pauses included.")] = (
        timedelta(seconds=60)
    )
    request_timeout: Annotated[timedelta, Meta(description="What one request may take.")] = timedelta(seconds=15)
    page_size: Annotated[int, Meta(ge=1, le=100, description="Rows per page.")] = 100
    services: Annotated[_Ids, Meta(description="Read only these services and their incidents; empty: all.")] = ()
    escalation_policies: Annotated[
        _Ids, Meta(description="Read only these policies and their on-calls; empty: all.")
    ] = ()
    schedules: Annotated[
        _Ids,
        Meta(
            description="Read these schedules one by one: those that no policy uses (they are in no list of on-calls), "
            "shift-based ones whose overrides must be told from planned turns, and those of whose overrides the "
            "creators count."
        ),
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open incidents and who is at them.")] = True
    dependencies: Annotated[
        _Ids,
        Meta(
            description="Read which services depend on these and which these depend on, one request each; see "
            "`blast_radius` of a resource."
        ),
    ] = ()
    shift_based: Annotated[bool, Meta(description="Read the shift-based (v3) schedules too.")] = True
    audit: Annotated[
        bool,
        Meta(description="Learn who made an override from the account's audit records; needs an admin's key and plan."),
    ] = False
    webhook_keys: Annotated[
        tuple[Secret, ...],
        Meta(description="Secrets that sign this account's webhooks; two of them while one is being replaced."),
    ] = ()
    allow_writable_token: Annotated[
        bool, Meta(description="Work with a key that can change schedules. Whoever steals it can put himself on call.")
    ] = False


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    return PagerDuty(config, name=name, clock=clock)


class PagerDuty:
    """Reads one PagerDuty account. Implements `ports.Source`."""

    def __init__(self, config: Config, *, name: SourceName, clock: Clock) -> None:
        self._config = config
        self._name = name
        self._clock = clock
        self._is_token_checked = config.allow_writable_token
        self._creators: dict[str, PersonId] = {}
        self._reached: dict[IncidentId, int] = {}
        """How far open incidents had escalated by the read before: whoever was assigned may be off call by now."""
        self._notes: tuple[str, ...] = ()
        self._webhook_notes: tuple[str, ...] = ()
        self._webhooks_looked_at: float | None = None
        self._requests = 0
        self._client = HttpClient(
            config.base_url or _HOSTS[config.region],
            clock=clock,
            ca_file=config.ca_file,
            headers={
                "Accept": _ACCEPT,
                "Content-Type": "application/json",
                "Authorization": Secret(f"Token token={config.token.reveal()}"),
            },
            limits=Limits(
                request_seconds=config.request_timeout.total_seconds(),
                operation_seconds=config.deadline.total_seconds(),
            ),
        )

    @property
    def name(self) -> SourceName:
        """The configured name."""
        return self._name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the last complete read could not learn, in sentences for the operator."""
        return self._notes

    @property
    def requests(self) -> int:
        """How many requests the last complete read cost, retries included."""
        return self._requests

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """Read everything from `now` to `now + window`, all pages, or raise as `ports.Source.fetch` says.

        Instants are sent in whole seconds. Shifts that end at or after the end of the window are TRUNCATED but keep the
        end that PagerDuty gave, so that two reads of an unchanged rota are equal.
        """
        if not timedelta(0) < window <= _WINDOW_MAX:
            raise Refused(
                f"{self._name}: PagerDuty knows 90 days ahead at most; the window of {window} is not readable"
            )
        operation = self._client.operation()
        await self._refuse_writable(operation)
        span = _Span(since=_seconds(now), until=_seconds(now + window))
        read = await _Reader(self._config, operation, span, self._creators, self._reached).read()
        self._reached = {one.id: one.escalation_level for one in read.incidents if one.escalation_level is not None}
        self._notes = (*read.notes, *await self._webhook_troubles())
        self._requests = operation.requests
        while len(self._creators) > _CREATORS_KEPT:
            del self._creators[next(iter(self._creators))]
        skew = operation.clock_skew
        return Roster(
            source=self._name,
            taken_at=now + skew,
            window_ends_at=span.until,
            people=read.people(),
            schedules=tuple(read.schedules.values()),
            policies=tuple(read.policies.values()),
            services=tuple(read.services),
            shifts=tuple(dict.fromkeys(read.shifts)),
            incidents=tuple(read.incidents),
            clock_skew=skew,
        )

    async def _webhook_troubles(self) -> tuple[str, ...]:
        """What is wrong with the account's webhook subscriptions, looked at now and then when hints are expected.

        A webhook is a hint only, so nothing that goes wrong here spoils a read or keeps it waiting for long.
        """
        tick, looked_at = self._clock.monotonic(), self._webhooks_looked_at
        if self._config.webhook_keys and (looked_at is None or tick - looked_at >= _WEBHOOKS_EVERY):
            self._webhooks_looked_at = tick
            paging = _paging(_SubscriptionPage, lambda page: page.webhook_subscriptions, _by_id, self._config.page_size)
            try:
                async with asyncio.timeout(_WEBHOOKS_SECONDS):
                    rows = await self._client.operation().offset_rows("/webhook_subscriptions", (), paging)
                self._webhook_notes = tuple(_subscription_notes(rows))
            except (PortError, TimeoutError) as error:
                why = str(error) or "no answer in time"
                self._webhook_notes = (f"nobody can tell whether webhook subscriptions deliver: {why}",)
        return self._webhook_notes

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.close()

    async def _refuse_writable(self, operation: Operation) -> None:
        """Refuse a key that can change schedules, once per start.

        PagerDuty has no call that tells what a key may do. Previewing a schedule needs the right to write and, as
        documented, saves nothing; it is asked with an empty schedule, which is not even a valid preview.
        """
        if self._is_token_checked:
            return
        answer = await operation.send(
            "POST", "/schedules/preview", body=b'{"schedule":{}}', may_retry=True, accepted={400, 403, 404, 405, 422}
        )
        advice = f"set allow_writable_token: true on {self._name} to work with it all the same"
        if answer.status in {404, 405}:
            raise Refused(
                f"{answer.what} answered {answer.status}: nobody can tell whether the key is read-only; {advice}"
            )
        if answer.status != 403:
            raise Refused(f"{self._name}: the API key can change schedules: make a read-only one, or {advice}")
        self._is_token_checked = True


def _subscription_notes(rows: Sequence["_SubscriptionRow"]) -> Iterator[str]:
    """One sentence for each subscription that delivers nothing; it loses events without a word."""
    if not rows:
        yield "webhook_keys are configured and the account has no webhook subscription: nothing is heard before a poll"
    for row in rows:
        name = f"webhook subscription {row.id} ({row.description or 'no description'})"
        if not row.active:
            yield f"{name} is not active: what it would tell is seen at the next poll"
        elif row.delivery_method.temporarily_disabled:
            yield (
                f"{name} is switched off by PagerDuty after failed deliveries and loses what happens meanwhile;"
                " polling goes on. Switch it on again once the endpoint answers"
            )


# What PagerDuty sends, as far as it is used. Keys without a default must be there; null is allowed only where it says
# so, because a missing `end` must never be taken for "does not end".


class _UserRef(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["user_reference", "user"]
    summary: str | None = None


class _PolicyRef(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["escalation_policy_reference", "escalation_policy"]


class _ServiceRef(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["service_reference", "service"]


class _ScheduleRef(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["schedule_reference", "schedule", "schedule_v3_reference", "schedule_v3"]
    summary: str | None = None


class _AnyRef(msgspec.Struct, frozen=True):
    id: _Id
    type: str


class _OnCallRow(msgspec.Struct, frozen=True):
    user: _UserRef
    escalation_policy: _PolicyRef
    escalation_level: Annotated[int, Meta(ge=1, le=1000)]
    schedule: _ScheduleRef | None
    start: _Instant | None
    end: _Instant | None


class _UserRow(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["user"]
    name: str
    email: str
    role: str | None = None


class _ServiceRow(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["service"]
    escalation_policy: _PolicyRef | None
    name: str | None = None
    summary: str | None = None


class _Rule(msgspec.Struct, frozen=True):
    targets: list[_AnyRef] | None


class _PolicyRow(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["escalation_policy"]
    name: str
    escalation_rules: list[_Rule]


class _Entry(msgspec.Struct, frozen=True):
    start: _Instant
    end: _Instant | None
    user: _UserRef | None = None


class _SubSchedule(msgspec.Struct, frozen=True):
    rendered_schedule_entries: list[_Entry] | None = None


class _Layer(msgspec.Struct, frozen=True):
    rendered_schedule_entries: list[_Entry] | None = None


class _ScheduleRow(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["schedule"]
    time_zone: str
    name: str | None = None
    summary: str | None = None
    overrides_subschedule: _SubSchedule | None = None
    final_schedule: _SubSchedule | None = None
    schedule_layers: list[_Layer] | None = None
    users: list[_UserRef] | None = None


class _ScheduleAnswer(msgspec.Struct, frozen=True):
    schedule: _ScheduleRow


class _V3Row(msgspec.Struct, frozen=True):
    id: _Id
    type: Literal["schedule_v3_reference", "schedule_v3"]
    summary: str


class _Member(msgspec.Struct, frozen=True):
    type: Literal["user_member", "empty_member"]
    user_id: _Id | None = None


class _ShiftOrigin(msgspec.Struct, frozen=True):
    type: str
    override_id: _Id | None = None


class _Assigned(msgspec.Struct, frozen=True):
    start_time: _Instant
    end_time: _Instant
    member: _Member
    source: _ShiftOrigin


class _V3Final(msgspec.Struct, frozen=True):
    computed_shift_assignments: list[_Assigned]


class _V3Schedule(msgspec.Struct, frozen=True):
    id: _Id
    name: str
    time_zone: str
    final_schedule: _V3Final


class _V3Answer(msgspec.Struct, frozen=True):
    schedule: _V3Schedule


class _OverrideRow(msgspec.Struct, frozen=True):
    id: _Id
    start: _Instant
    end: _Instant
    user: _UserRef


class _OverrideAnswer(msgspec.Struct, frozen=True):
    overrides: list[_OverrideRow]


class _AuditReferences(msgspec.Struct, frozen=True):
    added: list[_AnyRef] | None = None


class _AuditDetails(msgspec.Struct, frozen=True):
    resource: _AnyRef
    references: list[_AuditReferences] | None = None


class _AuditRow(msgspec.Struct, frozen=True):
    id: str
    action: str
    root_resource: _AnyRef
    actors: list[_AnyRef] | None = None
    details: _AuditDetails | None = None


class _AuditAnswer(msgspec.Struct, frozen=True):
    records: list[_AuditRow]
    next_cursor: str | None


class _Assignment(msgspec.Struct, frozen=True):
    at: _Instant
    assignee: _UserRef


class _Acknowledgement(msgspec.Struct, frozen=True):
    at: _Instant
    acknowledger: _AnyRef
    """May be a service, which is nobody."""


class _ResponderRow(msgspec.Struct, frozen=True):
    state: str
    user: _UserRef
    requested_at: str | None = None


class _Trigger(msgspec.Struct, frozen=True):
    agent: _AnyRef | None = None


class _IncidentRow(msgspec.Struct, frozen=True):
    id: _Id
    status: Literal["triggered", "acknowledged", "resolved"]
    assignments: list[_Assignment] | None
    acknowledgements: list[_Acknowledgement] | None
    service: _ServiceRef | None
    title: str | None = None
    summary: str | None = None
    created_at: _Instant | None = None
    escalation_policy: _PolicyRef | None = None
    assigned_via: str | None = None
    incidents_responders: list[_ResponderRow] | None = None
    first_trigger_log_entry: _Trigger | None = None


class _Dependency(msgspec.Struct, frozen=True):
    supporting_service: _AnyRef
    dependent_service: _AnyRef


class _DependencyAnswer(msgspec.Struct, frozen=True):
    relationships: list[_Dependency]


class _Delivery(msgspec.Struct, frozen=True):
    temporarily_disabled: bool | None = None


class _SubscriptionRow(msgspec.Struct, frozen=True):
    id: _Id
    active: bool
    delivery_method: _Delivery
    description: str | None = None


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """What all lists read by offset have in common; a page without `more` cannot be known to be the last."""

    more: bool
    total: int | None = None
    limit: int | None = None
    offset: int | None = None


class _OnCallPage(_Page, frozen=True, kw_only=True):
    oncalls: list[_OnCallRow]


class _UserPage(_Page, frozen=True, kw_only=True):
    users: list[_UserRow]


class _ServicePage(_Page, frozen=True, kw_only=True):
    services: list[_ServiceRow]


class _PolicyPage(_Page, frozen=True, kw_only=True):
    escalation_policies: list[_PolicyRow]


class _SchedulePage(_Page, frozen=True, kw_only=True):
    schedules: list[_ScheduleRow]


class _V3Page(_Page, frozen=True, kw_only=True):
    schedules: list[_V3Row]


class _IncidentPage(_Page, frozen=True, kw_only=True):
    incidents: list[_IncidentRow]


class _SubscriptionPage(_Page, frozen=True, kw_only=True):
    webhook_subscriptions: list[_SubscriptionRow]


_PageT = TypeVar("_PageT", bound=_Page)
_Row = TypeVar("_Row")


def _by_id(row: _HasId) -> str:
    return row.id


def _paging(
    shape: type[_PageT], rows: Callable[[_PageT], list[_Row]], key: Callable[[_Row], Hashable], size: int
) -> OffsetPaging[_Row]:
    def page(answer: Answer) -> OffsetPage[_Row]:
        read = answer.decode(shape)
        return OffsetPage(rows=rows(read), more=read.more, total=read.total, limit=read.limit, offset=read.offset)

    return OffsetPaging(page=page, key=key, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """The window that is read, `[since, until)`."""

    since: datetime
    until: datetime

    def query(self) -> Params:
        return (("since", _iso(self.since)), ("until", _iso(self.until)))

    def touches(self, start: datetime | None, end: datetime | None) -> bool:
        """Whether a span has an instant in the window; an empty one has none."""
        if start is not None and end is not None and start >= end:
            return False
        return (start is None or start < self.until) and (end is None or end > self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """A stretch of somebody's turn in a schedule that is not simply the rota."""

    start: datetime | None
    end: datetime | None
    provenance: Provenance
    created_by: PersonId | None = None


@dataclass(slots=True, kw_only=True)
class _Read:
    """What one read has found so far."""

    people_by_id: dict[PersonId, Person] = field(default_factory=dict)
    roles: dict[PersonId, str] = field(default_factory=dict)
    policies: dict[str, EscalationPolicy] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    services: list[Service] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: dict[PersonId, str] = field(default_factory=dict)
    """Names of the people who were mentioned anywhere."""

    def people(self) -> tuple[Person, ...]:
        """Everybody who is listed, and who is mentioned and no longer listed: deleted users stay in schedules."""
        gone = (
            Person(id=person, name=name, active=False)
            for person, name in self.names.items()
            if person not in self.people_by_id
        )
        return (*self.people_by_id.values(), *gone)

    def mention(self, user: _UserRef) -> PersonId:
        person = PersonId(user.id)
        self.names.setdefault(person, user.summary or user.id)
        return person


class _Reader:
    """One read of everything; used once."""

    def __init__(
        self,
        config: Config,
        operation: Operation,
        span: _Span,
        creators: dict[str, PersonId],
        reached: Mapping[IncidentId, int],
    ) -> None:
        self._config = config
        self._operation = operation
        self._span = span
        self._creators = creators
        """Who made which override, by its id; kept from read to read, because it never changes."""
        self._reached = reached
        self._read = _Read()
        self._marks: dict[tuple[str, PersonId], list[_Mark]] = defaultdict(list)
        self._overridden: dict[str, list[_Entry]] = {}
        """By layer-based schedule, what its overrides cover in the window."""
        self._v3: set[str] = set()
        self._details: dict[str, _ScheduleRow] = {}
        self._v3_details: dict[str, _V3Schedule] = {}

    async def read(self) -> _Read:
        """Read what refers before what is referred to, so that an object made in between is not missed."""
        on_calls = await self._on_calls()
        incidents = await self._incidents() if self._config.incidents else []
        await self._policies()
        await self._services()
        await self._dependencies()
        await self._schedules()
        await self._named_schedules()
        await self._users()
        await self._grade_overrides()
        raw = [shift for row in on_calls if (shift := self._shift(row)) is not None]
        raw.extend(self._own_shifts())
        self._read.shifts = [piece for shift in raw for piece in _graded(shift, self._marks_of(shift))]
        levels = _Levels(raw)
        self._read.incidents = [self._incident(row, levels) for row in incidents if row.status != "resolved"]
        return self._read

    async def _list(
        self,
        path: str,
        shape: type[_PageT],
        rows: Callable[[_PageT], list[_Row]],
        key: Callable[[_Row], Hashable],
        params: Params = (),
    ) -> list[_Row]:
        paging = _paging(shape, rows, key, self._config.page_size)
        return await self._operation.offset_rows(path, (*params, ("total", "true")), paging)

    async def _on_calls(self) -> list[_OnCallRow]:
        only = tuple(("escalation_policy_ids[]", policy) for policy in self._config.escalation_policies)
        rows = await self._list(
            "/oncalls", _OnCallPage, lambda page: page.oncalls, lambda row: row, (*self._span.query(), *only)
        )
        wanted = set(self._config.escalation_policies)
        return [row for row in rows if not wanted or row.escalation_policy.id in wanted]

    async def _incidents(self) -> list[_IncidentRow]:
        params = [("statuses[]", "triggered"), ("statuses[]", "acknowledged"), ("date_range", "all")]
        params.append(("include[]", "first_trigger_log_entries"))
        params.extend(("service_ids[]", service) for service in self._config.services)
        rows = await self._list("/incidents", _IncidentPage, lambda page: page.incidents, _by_id, params)
        wanted = set(self._config.services)
        return [row for row in rows if not wanted or (row.service is not None and row.service.id in wanted)]

    async def _policies(self) -> None:
        rows = await self._list("/escalation_policies", _PolicyPage, lambda page: page.escalation_policies, _by_id)
        wanted = set(self._config.escalation_policies)
        for row in rows:
            if not wanted or row.id in wanted:
                levels = tuple(
                    tuple(target.id for target in rule.targets or () if target.type.startswith("schedule"))
                    for rule in row.escalation_rules
                )
                self._read.policies[row.id] = EscalationPolicy(id=row.id, name=row.name, schedules_by_level=levels)
        _refuse_missing("escalation_policies", wanted - self._read.policies.keys())

    async def _services(self) -> None:
        rows = await self._list("/services", _ServicePage, lambda page: page.services, _by_id)
        wanted = set(self._config.services)
        self._read.services = [
            Service(
                id=row.id,
                name=row.name or row.summary or row.id,
                policy=row.escalation_policy.id if row.escalation_policy else None,
            )
            for row in rows
            if not wanted or row.id in wanted
        ]
        known = {service.id for service in self._read.services}
        _refuse_missing("services", wanted - known)
        _refuse_missing("dependencies", set(self._config.dependencies) - known)

    async def _dependencies(self) -> None:
        """Who depends on whom, told by either end. Business services page nobody and lead nowhere."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        for service in self._config.dependencies:
            answer = await self._operation.get(f"/service_dependencies/technical_services/{service}")
            for one in answer.decode(_DependencyAnswer).relationships:
                if "business" not in one.dependent_service.type + one.supporting_service.type:
                    found[one.dependent_service.id][one.supporting_service.id] = None
        self._read.services = [
            replace(service, depends_on=tuple(sorted(found[service.id]))) if service.id in found else service
            for service in self._read.services
        ]

    async def _schedules(self) -> None:
        """List both kinds; each list has its own kind only. The first one tells the overrides of its kind as well."""
        params = (*self._span.query(), ("include[]", "overrides_subschedule"))
        for row in await self._list("/schedules", _SchedulePage, lambda page: page.schedules, _by_id, params):
            name = row.name or row.summary or row.id
            self._read.schedules[row.id] = Schedule(id=row.id, name=name, time_zone=row.time_zone)
            overrides = row.overrides_subschedule
            if overrides is None:
                raise Malformed(f"GET /schedules: {row.id} came without its overrides, which were asked for")
            if overrides.rendered_schedule_entries:
                self._overridden[row.id] = overrides.rendered_schedule_entries
        if self._config.shift_based:
            for v3 in await self._list("/v3/schedules", _V3Page, lambda page: page.schedules, _by_id):
                self._read.schedules[v3.id] = Schedule(id=v3.id, name=v3.summary)
                self._v3.add(v3.id)
        _refuse_missing("schedules", set(self._config.schedules) - self._read.schedules.keys())

    async def _named_schedules(self) -> None:
        """Read the schedules that the configuration names, where the lists do not say enough about them."""
        attached = self._attached()
        overflow = (*self._span.query(), ("overflow", "true"))
        shift_based = set(self._config.schedules) & self._v3
        if self._config.audit:
            shift_based |= set(sorted(self._v3 & attached)[:_OVERRIDE_READS])
        # Whether an override gives the maker's own turn away shows in the layers only.
        overridden = sorted(attached & self._overridden.keys())[:_OVERRIDE_READS] if self._config.audit else ()
        for schedule in dict.fromkeys((*self._config.schedules, *sorted(shift_based), *overridden)):
            if schedule in shift_based:
                params = (*overflow, ("include[]", "final_schedule"))
                v3 = (await self._operation.get(f"/v3/schedules/{schedule}", params)).decode(_V3Answer).schedule
                self._v3_details[schedule] = v3
                self._read.schedules[schedule] = Schedule(id=schedule, name=v3.name, time_zone=v3.time_zone)
            elif schedule not in attached or schedule in self._overridden:
                answer = await self._operation.get(f"/schedules/{schedule}", overflow)
                self._details[schedule] = answer.decode(_ScheduleAnswer).schedule

    async def _users(self) -> None:
        for row in await self._list("/users", _UserPage, lambda page: page.users, _by_id):
            person = PersonId(row.id)
            self._read.people_by_id[person] = Person(id=person, name=row.name, emails=(row.email,), active=True)
            if row.role:
                self._read.roles[person] = row.role

    def _attached(self) -> set[str]:
        return {
            schedule
            for policy in self._read.policies.values()
            for level in policy.schedules_by_level
            for schedule in level
        }

    def _shift(self, row: _OnCallRow) -> Shift | None:
        """One row of on-calls as a shift, or None when it does not touch the window after all."""
        person = self._read.mention(row.user)
        schedule = row.schedule.id if row.schedule else None
        if row.schedule and row.schedule.id not in self._read.schedules:
            # Attached, but in neither list: deleted meanwhile, or of the kind that is not asked for.
            self._read.schedules[row.schedule.id] = Schedule(
                id=row.schedule.id, name=row.schedule.summary or row.schedule.id
            )
        return self._span_shift(
            Shift(
                person=person,
                schedule=schedule,
                policy=row.escalation_policy.id,
                level=row.escalation_level,
                starts_at=row.start,
                ends_at=row.end,
            )
        )

    def _span_shift(self, shift: Shift) -> Shift | None:
        """Bring the instants to UTC and say what the end means."""
        start = shift.starts_at.astimezone(UTC) if shift.starts_at else None
        end = shift.ends_at.astimezone(UTC) if shift.ends_at else None
        if start is not None and end is not None and end < start:
            raise Malformed(
                f"GET /oncalls: {shift.person} is on call from {_iso(start)} to {_iso(end)}, which is backwards"
            )
        if not self._span.touches(start, end):
            return None
        if end is None:
            kind, provenance = EndKind.PERMANENT, Provenance.PERMANENT
        else:
            kind = EndKind.TRUNCATED if end >= self._span.until else EndKind.EXACT
            provenance = Provenance.UNKNOWN if shift.schedule else Provenance.PERMANENT
        return replace(shift, starts_at=start, ends_at=end, end_kind=kind, provenance=provenance)

    def _own_shifts(self) -> Iterator[Shift]:
        """The shifts of named schedules that no policy uses: they have no policy and no level."""
        attached = self._attached()
        for schedule, row in self._details.items():
            if schedule in attached:
                continue
            if row.final_schedule is None or row.final_schedule.rendered_schedule_entries is None:
                raise Malformed(f"GET /schedules/{schedule} came without its final schedule")
            for entry in row.final_schedule.rendered_schedule_entries:
                if entry.user is not None:
                    yield from self._own_shift(self._read.mention(entry.user), schedule, entry.start, entry.end)
        for schedule, v3 in self._v3_details.items():
            if schedule in attached:
                continue
            for assigned in v3.final_schedule.computed_shift_assignments:
                if (person := self._member(schedule, assigned)) is not None:
                    yield from self._own_shift(person, schedule, assigned.start_time, assigned.end_time)

    def _own_shift(self, person: PersonId, schedule: str, start: datetime, end: datetime | None) -> Iterator[Shift]:
        shift = self._span_shift(Shift(person=person, schedule=schedule, starts_at=start, ends_at=end))
        if shift is not None:
            yield shift

    def _member(self, schedule: str, assigned: _Assigned) -> PersonId | None:
        """Who is meant; an empty member is nobody, however long its turn."""
        if assigned.member.type == "empty_member":
            return None
        if assigned.member.user_id is None:
            raise Malformed(f"GET /v3/schedules/{schedule}: a user_member has no user_id")
        person = PersonId(assigned.member.user_id)
        self._read.names.setdefault(person, str(person))
        return person

    async def _grade_overrides(self) -> None:
        """Mark the stretches that are overrides, each by who made it.

        Everything else in a schedule stays UNKNOWN: a layer may have been changed a minute ago, and only the difference
        of two reads shows that (`rules/provenance`).
        """
        looked_at = [
            schedule for schedule in self._overridden if self._config.audit or schedule in self._config.schedules
        ][:_OVERRIDE_READS]
        exact = {schedule: await self._overrides(schedule) for schedule in looked_at}
        shift_based = [
            (schedule, assigned, assigned.source.override_id)
            for schedule, v3 in self._v3_details.items()
            for assigned in v3.final_schedule.computed_shift_assignments
            if assigned.source.type.endswith("_override")
        ]
        await self._find_creators(
            [(schedule, override.id) for schedule, overrides in exact.items() for override in overrides]
            + [(schedule, override) for schedule, _, override in shift_based if override is not None]
        )
        for schedule, entries in self._overridden.items():
            for entry in entries:
                if entry.user is not None:
                    person = self._read.mention(entry.user)
                    maker = self._maker(person, entry, exact.get(schedule, ()))
                    self._mark(schedule, person, maker, entry)
        for schedule, assigned, override in shift_based:
            if (member := self._member(schedule, assigned)) is not None:
                maker = self._creators.get(override) if override is not None else None
                self._mark(schedule, member, maker, _Entry(start=assigned.start_time, end=assigned.end_time))

    def _maker(self, person: PersonId, entry: _Entry, overrides: Sequence[_OverrideRow]) -> PersonId | None:
        """Who made a stretch of override; when several overrides made it, their creators must agree to be believed."""
        makers = {
            self._creators.get(override.id)
            for override in overrides
            if override.user.id == person
            and override.start < (entry.end or override.end)
            and override.end > entry.start
        }
        return makers.pop() if len(makers) == 1 else None

    def _mark(self, schedule: str, person: PersonId, maker: PersonId | None, entry: _Entry) -> None:
        """Remember a stretch; one that is cut off at the window reaches beyond it, nobody was told how far."""
        self._marks[schedule, person].append(
            _Mark(
                start=entry.start.astimezone(UTC) if entry.start > self._span.since else None,
                end=entry.end.astimezone(UTC) if entry.end is not None and entry.end < self._span.until else None,
                provenance=self._grade(schedule, person, maker, entry),
                created_by=maker,
            )
        )

    def _grade(self, schedule: str, person: PersonId, maker: PersonId | None, entry: _Entry) -> Provenance:
        """Grade by `rules.provenance`; without a known maker it counts as made by its beneficiary.

        Somebody who may not plan for others and put a colleague on call is no manager: that stays UNKNOWN.
        """
        if maker is None:
            return Provenance.SELF_OVERRIDE
        is_gift = self._gives_away(schedule, person, maker, entry)
        grade = grade_override(
            beneficiary=person,
            creator=maker,
            replaced=maker if is_gift else None,
            members=frozenset({person, maker}) if is_gift else frozenset(),
        )
        if grade is Provenance.OTHER_OVERRIDE and self._read.roles.get(maker) not in _MANAGERS:
            return Provenance.UNKNOWN
        return grade

    def _gives_away(self, schedule: str, person: PersonId, maker: PersonId, entry: _Entry) -> bool:
        """Whether the maker's own turn was given to another member of the same rota."""
        row = self._details.get(schedule)
        if row is None or not {person, maker} <= {user.id for user in row.users or ()}:
            return False
        return any(
            turn.user is not None
            and turn.user.id == maker
            and turn.start <= entry.start
            and (turn.end is None or (entry.end is not None and turn.end >= entry.end))
            for layer in row.schedule_layers or ()
            for turn in layer.rendered_schedule_entries or ()
        )

    def _marks_of(self, shift: Shift) -> Sequence[_Mark]:
        if shift.schedule is None or shift.provenance is Provenance.PERMANENT:
            return ()
        return self._marks.get((shift.schedule, shift.person), ())

    async def _overrides(self, schedule: str) -> list[_OverrideRow]:
        answer = await self._operation.get(
            f"/schedules/{schedule}/overrides", (*self._span.query(), ("overflow", "true"))
        )
        return answer.decode(_OverrideAnswer).overrides

    async def _find_creators(self, overrides: Iterable[tuple[str, str]]) -> None:
        """Look up who made the overrides (schedule and id) that are new; one that is not found has no known creator."""
        wanted: dict[str, set[str]] = defaultdict(set)
        for schedule, override in overrides:
            if override not in self._creators:
                wanted[schedule].add(override)
        if self._config.audit and wanted:
            everything = {override for missing in wanted.values() for override in missing}
            await self._search_audit("/audit/records", everything, (("root_resource_types[]", "schedules"),))
        else:
            for schedule, missing in wanted.items():
                await self._search_audit(f"/schedules/{schedule}/audit/records", missing, ())

    async def _search_audit(self, path: str, missing: set[str], params: Params) -> None:
        """Go through audit records, newest first, until all are found or the bounds are reached."""
        since = (("since", _iso(self._span.since - _AUDIT_BACK)), ("limit", "100"))
        cursor: Params = ()
        for _ in range(_AUDIT_PAGES):
            answer = await self._operation.get(path, (*params, *since, *cursor), accepted=_NOT_READABLE)
            if answer.status in _NOT_READABLE:
                self._read.notes.append(
                    f"audit records are not readable ({answer.what} answered {answer.status}):"
                    " overrides have no known creator"
                )
                return
            page = answer.decode(_AuditAnswer)
            for record in page.records:
                self._learn(record, missing)
            if page.next_cursor is None or not missing - self._creators.keys():
                return
            cursor = (("cursor", page.next_cursor),)

    def _learn(self, record: _AuditRow, missing: set[str]) -> None:
        """Take the creator from a record in which exactly one person made, or added, one of the overrides."""
        if record.details is None:
            return
        made = {ref.id for refs in record.details.references or () for ref in refs.added or ()}
        if record.action == "create":
            made.add(record.details.resource.id)
        actors = record.actors or ()
        if len(actors) != 1 or actors[0].type not in _USER_KINDS:
            return
        for override in made & missing:
            self._creators.setdefault(override, PersonId(actors[0].id))

    def _incident(self, row: _IncidentRow, levels: "_Levels") -> Incident:
        responders = tuple(dict.fromkeys(self._responders(row)))
        policy = row.escalation_policy.id if row.escalation_policy else None
        agent = row.first_trigger_log_entry.agent if row.first_trigger_log_entry else None
        reached: int | None = None
        if policy is not None and row.assigned_via == "escalation_policy":
            reached = levels.reached(policy, [(PersonId(each.assignee.id), each.at) for each in row.assignments or ()])
        before = self._reached.get(IncidentId(row.id))
        if before is not None:
            reached = max(before, reached or before)  # the highest that it has come to, not where it is now
        return Incident(
            id=IncidentId(row.id),
            title=row.title or row.summary or row.id,
            service=row.service.id if row.service else None,
            policy=policy,
            status=IncidentStatus(row.status),
            responders=responders,
            opened_by=PersonId(agent.id) if agent is not None and agent.type in _USER_KINDS else None,
            is_opened_by_machine=agent is not None and agent.type not in _USER_KINDS,
            opened_at=row.created_at.astimezone(UTC) if row.created_at else None,
            escalation_level=reached,
        )

    def _responders(self, row: _IncidentRow) -> Iterator[Responder]:
        for assignment in row.assignments or ():
            person = self._read.mention(assignment.assignee)
            yield Responder(person=person, involvement=Involvement.ASSIGNED, since=assignment.at.astimezone(UTC))
        for acknowledgement in row.acknowledgements or ():
            if acknowledgement.acknowledger.type in _USER_KINDS:
                person = PersonId(acknowledgement.acknowledger.id)
                self._read.names.setdefault(person, str(person))
                since = acknowledgement.at.astimezone(UTC)
                yield Responder(person=person, involvement=Involvement.ACKNOWLEDGED, since=since)
        states = {"joined": Involvement.JOINED, "pending": Involvement.REQUESTED}
        for asked in row.incidents_responders or ():
            yield Responder(
                person=self._read.mention(asked.user),
                # Every state but the two that are known is like a refusal: it does not make a responder.
                involvement=states.get(asked.state, Involvement.DECLINED),
                since=_instant_or_none(asked.requested_at),
            )


class _Levels:
    """Which escalation level an incident has reached, told from whom it is assigned to."""

    def __init__(self, shifts: Iterable[Shift]) -> None:
        self._shifts: dict[tuple[str, PersonId], list[Shift]] = defaultdict(list)
        for shift in shifts:
            if shift.policy is not None:
                self._shifts[shift.policy, shift.person].append(shift)

    def reached(self, policy: str, assigned: Sequence[tuple[PersonId, datetime]]) -> int | None:
        """The highest level among the assignees, each by the lowest level held at assignment; None: cannot tell."""
        levels: list[int] = []
        for person, at in assigned:
            held = [
                shift.level for shift in self._shifts[policy, person] if shift.level is not None and shift.covers(at)
            ]
            if not held:
                return None
            levels.append(min(held))
        return max(levels, default=None)


def _graded(shift: Shift, marks: Sequence[_Mark]) -> Iterator[Shift]:
    """Cut a shift at the borders of its marks, and give each piece the grade of what covers it, the weakest first."""
    borders = sorted(
        {border for mark in marks for border in (mark.start, mark.end) if border is not None and _inside(shift, border)}
    )
    starts = [shift.starts_at, *borders]
    ends = [*borders, shift.ends_at]
    for start, end in zip(starts, ends, strict=True):
        covering = [mark for mark in marks if _overlap(mark, start, end)]
        piece = replace(
            shift, starts_at=start, ends_at=end, end_kind=shift.end_kind if end == shift.ends_at else EndKind.EXACT
        )
        if covering:
            weakest = max(covering, key=lambda mark: _WEAKEST_LAST.index(mark.provenance))
            piece = replace(piece, provenance=weakest.provenance, created_by=weakest.created_by)
        yield piece


def _inside(shift: Shift, instant: datetime) -> bool:
    return (shift.starts_at is None or shift.starts_at < instant) and (shift.ends_at is None or instant < shift.ends_at)


def _overlap(mark: _Mark, start: datetime | None, end: datetime | None) -> bool:
    return (mark.start is None or end is None or mark.start < end) and (
        mark.end is None or start is None or mark.end > start
    )


def _refuse_missing(key: str, missing: Iterable[str]) -> None:
    """An object that the configuration names and PagerDuty does not know is an error, not an empty answer."""
    names = ", ".join(sorted(missing))
    if names:
        raise Refused(f"PagerDuty does not know these {key}, which the configuration names: {names}")


def _seconds(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _instant_or_none(text: str | None) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo else None
