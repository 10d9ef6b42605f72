"""Rootly: on-calls with their level, overrides from the list of shifts, services, open alerts.

A level counts on a policy's default path only: another path is taken under conditions, and its first level need not be
who is paged first.
"""

from collections import defaultdict
from functools import partial
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, LinkedPage, Operation, Params, Provider
from watchkey.model.errors import Malformed
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import EndKind, Incident, IncidentStatus, Involvement, Provenance, Responder, Shift
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, in_utc, refuse_missing

_HOST: Final = "https://api.rootly.com"
_STATUS: Final = {
    "open": IncidentStatus.TRIGGERED,
    "triggered": IncidentStatus.TRIGGERED,
    "acknowledged": IncidentStatus.ACKNOWLEDGED,
}


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `rootly`."""

    token: Annotated[Secret, Meta(description="An API key that reads; a global one sees all teams.")]
    schedules: Annotated[
        tuple[Id, ...],
        Meta(max_length=200, description="Schedules that must be there; the shifts of all are read in one list."),
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open alerts and who responds to them.")] = True
    webhook_keys: Annotated[
        tuple[Secret, ...],
        Meta(description="Secrets that sign this account's webhooks; two of them while one is being replaced."),
    ] = ()
    page_size: Annotated[int, Meta(ge=1, le=100, description="Rows per page.")] = 100


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    provider = Provider(
        base_url=_HOST,
        headers={"Authorization": Secret(f"Bearer {config.token.reveal()}"), "Accept": "application/vnd.api+json"},
    )
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


# What Rootly sends, as far as it is used.


class _OnCall(msgspec.Struct, frozen=True):
    escalation_policy_id: Id
    user_id: int
    starts_at: Instant | None
    ends_at: Instant | None
    escalation_level: Annotated[int, Meta(ge=1, le=1000)]
    is_default_path: bool
    escalation_policy_name: str | None = None
    schedule_id: Id | None = None
    schedule_name: str | None = None


class _Shift(msgspec.Struct, frozen=True):
    schedule_id: Id
    starts_at: Instant
    ends_at: Instant
    is_override: bool
    is_shadow: bool = False
    user_id: int | None = None
    """None: nobody."""


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Policy(msgspec.Struct, frozen=True):
    name: str
    service_ids: list[Id] | None = None


class _User(msgspec.Struct, frozen=True):
    email: str
    full_name: str | None = None


class _UserRef(msgspec.Struct, frozen=True):
    id: int


class _Alert(msgspec.Struct, frozen=True):
    status: str
    created_at: Instant
    summary: str | None = None
    service_ids: list[Id] | None = None
    responders: list[_UserRef] | None = None


_Attributes = TypeVar("_Attributes")


class _Row(msgspec.Struct, Generic[_Attributes], frozen=True):
    id: Id
    attributes: _Attributes


class _Meta(msgspec.Struct, frozen=True):
    next_page: int | None


class _Links(msgspec.Struct, frozen=True):
    next: str | None


class _List(msgspec.Struct, Generic[_Attributes], frozen=True):
    data: list[_Row[_Attributes]]
    meta: _Meta | None = None
    links: _Links | None = None


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to, so that an object made in between is not missed."""
    size = config.page_size
    if config.incidents:
        for status in ("open", "triggered", "acknowledged"):
            asked = (("filter[status]", status),)
            for alert in await _pages(operation, "/v1/alerts", asked, _List[_Alert], size):
                _take_alert(gathered, alert)
    scheduled = await _on_calls(operation, gathered)
    await _shifts(operation, gathered, size, scheduled)
    for schedule in await _pages(operation, "/v1/schedules", (), _List[_Named], size):
        gathered.schedule(schedule.id, schedule.attributes.name)
    refuse_missing("Rootly", "schedules", set(config.schedules) - gathered.schedules.keys())
    await _services(operation, gathered, size)
    for user in await _pages(operation, "/v1/users", (), _List[_User], size):
        gathered.person(user.id, user.attributes.full_name, [user.attributes.email], active=True)


async def _on_calls(operation: Operation, gathered: Gathered) -> set[str]:
    """Take the on-calls, which come in one answer; return the schedules that they come from."""
    first, last = gathered.window.whole_days()
    asked = (("since", f"{first:%Y-%m-%dT%H:%M:%SZ}"), ("until", f"{last:%Y-%m-%dT%H:%M:%SZ}"))
    answer = await operation.get("/v1/oncalls", asked)
    read = answer.decode(_List[_OnCall])
    rows = read.data
    if (read.meta and read.meta.next_page is not None) or (read.links and read.links.next is not None):
        raise Malformed(f"{answer.what} answered a first page of on-calls, and is documented to answer all of them")
    for row in (each.attributes for each in rows):
        gathered.policy(row.escalation_policy_id, row.escalation_policy_name)
        is_direct = row.schedule_id is None
        gathered.shift(
            Shift(
                person=PersonId(str(row.user_id)),
                schedule=row.schedule_id,
                policy=row.escalation_policy_id,
                level=row.escalation_level if row.is_default_path else None,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                end_kind=EndKind.PERMANENT if is_direct and row.ends_at is None else EndKind.EXACT,
                provenance=Provenance.PERMANENT if is_direct else Provenance.UNKNOWN,
            )
        )
    return {row.attributes.schedule_id for row in rows if row.attributes.schedule_id is not None}


async def _shifts(operation: Operation, gathered: Gathered, size: int, scheduled: set[str]) -> None:
    """Learn which time is an override, and who has schedules that no policy uses. A shadow is not on call."""
    first, last = gathered.window.whole_days()
    asked = (("from", f"{first:%Y-%m-%dT%H:%M:%SZ}"), ("to", f"{last:%Y-%m-%dT%H:%M:%SZ}"))
    for row in await _pages(operation, "/v1/shifts", asked, _List[_Shift], size):
        shift = row.attributes
        if shift.user_id is None or shift.is_shadow:
            continue
        person = PersonId(str(shift.user_id))
        if shift.is_override:
            gathered.override(person, shift.schedule_id, shift.starts_at, shift.ends_at)
        if shift.schedule_id not in scheduled:
            gathered.turn(person, shift.schedule_id, shift.starts_at, shift.ends_at)


async def _services(operation: Operation, gathered: Gathered, size: int) -> None:
    """Take the services. A policy names its services; a service that two policies name is paged by neither alone."""
    pages: dict[str, list[str]] = defaultdict(list)
    for policy in await _pages(operation, "/v1/escalation_policies", (), _List[_Policy], size):
        gathered.policy(policy.id, policy.attributes.name)
        for service in policy.attributes.service_ids or ():
            pages[service].append(policy.id)
    for row in await _pages(operation, "/v1/services", (), _List[_Named], size):
        policies = pages.get(row.id, [])
        if len(policies) > 1:
            gathered.notes.append(
                f"service {row.attributes.name} is paged by {len(policies)} policies: name the policy instead"
            )
        gathered.service(row.id, row.attributes.name, policies[0] if len(policies) == 1 else None)


def _take_alert(gathered: Gathered, row: _Row[_Alert]) -> None:
    """An alert of one service is an incident of it. Its responders are assigned: who acknowledged is not said."""
    alert = row.attributes
    services = alert.service_ids or []
    if alert.status not in _STATUS or any(known.id == row.id for known in gathered.incidents):
        return
    since = in_utc(alert.created_at)
    parts = [
        Responder(person=PersonId(str(each.id)), involvement=Involvement.ASSIGNED, since=since)
        for each in alert.responders or ()
    ]
    gathered.incidents.append(
        Incident(
            id=IncidentId(row.id),
            title=alert.summary or row.id,
            service=services[0] if len(services) == 1 else None,
            status=_STATUS[alert.status],
            responders=tuple(parts),
            opened_at=since,
        )
    )


async def _pages(
    operation: Operation, path: str, params: Params, shape: type[_List[_Attributes]], size: int
) -> list[_Row[_Attributes]]:
    """Read a list by page numbers. One without word of a next page cannot be known to be complete."""

    def target(number: int) -> str:
        return f"{path}?{urlencode([*params, ('page[number]', str(number)), ('page[size]', str(size))])}"

    def page(answer: Answer) -> LinkedPage[_Row[_Attributes]]:
        read = answer.decode(shape)
        if read.meta is not None:
            following = None if read.meta.next_page is None else target(read.meta.next_page)
        elif read.links is not None:
            following = None if read.links.next is None else _target(read.links.next)
        else:
            raise Malformed(f"{answer.what} answered a list that does not say whether it goes on")
        return LinkedPage(rows=read.data, next=following)

    return await operation.linked_rows(target(1), (), page, lambda row: row.id)


def _target(link: str) -> str:
    """The path and query of a link, for the host that is configured."""
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"
