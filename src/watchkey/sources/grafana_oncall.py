"""Grafana OnCall, and its successor Grafana IRM in the cloud: schedules, escalation chains, integrations, alert groups.

The level of a chain is counted here: a wait step that follows a step which notifies begins the next one. The `level` of
Grafana's own shifts is the priority of a layer, which is another thing and is not read.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Annotated, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, LinkedPage, Operation, Params, Provider
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import Incident, IncidentStatus, Involvement, Responder
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, Rung, in_utc, refuse_missing

_CLOUD: Final = "https://oncall-prod-us-central-0.grafana.net/oncall"
_API: Final = "/api/v1"
_STATUS: Final = {
    "firing": IncidentStatus.TRIGGERED,
    "new": IncidentStatus.TRIGGERED,
    "acknowledged": IncidentStatus.ACKNOWLEDGED,
}


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `grafana_oncall`; `base_url` is the API URL of OnCall's settings, without `/api`."""

    token: Annotated[
        Secret, Meta(description="An OnCall API key, or with `grafana_url` the token of a service account that reads.")
    ]
    grafana_url: Annotated[
        str | None,
        Meta(description="The Grafana stack, when the token is a service account's: https://ORG.grafana.net"),
    ] = None
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read the shifts of these schedules only; empty: of all.")
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open alert groups and who acknowledged them.")] = True


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers: dict[str, str | Secret] = {"Authorization": config.token}
    if config.grafana_url is not None:
        headers = {
            "Authorization": Secret(f"Bearer {config.token.reveal()}"),
            "X-Grafana-URL": config.grafana_url.rstrip("/"),
        }
    provider = Provider(base_url=_CLOUD, headers=headers)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


# What Grafana sends, as far as it is used.


class _Schedule(msgspec.Struct, frozen=True):
    id: Id
    name: str
    time_zone: str | None = None


class _FinalShift(msgspec.Struct, frozen=True):
    user_pk: Id
    shift_start: Instant
    shift_end: Instant
    user_email: str | None = None
    user_username: str | None = None


class _Chain(msgspec.Struct, frozen=True):
    id: Id
    name: str


class _Step(msgspec.Struct, frozen=True):
    id: Id
    escalation_chain_id: Id
    position: int
    type: str | None
    persons_to_notify: list[Id] | None = None
    persons_to_notify_next_each_time: list[Id] | None = None
    notify_on_call_from_schedule: Id | None = None


class _Route(msgspec.Struct, frozen=True):
    id: Id
    integration_id: Id
    escalation_chain_id: Id | None
    position: int
    is_the_last_route: bool = False


class _Integration(msgspec.Struct, frozen=True):
    id: Id
    name: str


class _User(msgspec.Struct, frozen=True):
    id: Id
    username: str
    email: str | None = None


class _AlertGroup(msgspec.Struct, frozen=True):
    id: Id
    integration_id: Id | None
    route_id: Id | None
    state: str
    acknowledged_by: Id | None
    acknowledged_at: Instant | None
    created_at: Instant | None = None
    title: str | None = None


_Row = TypeVar("_Row")


class _Page(msgspec.Struct, Generic[_Row], frozen=True):
    next: str | None
    results: list[_Row]


async def _rows(
    operation: Operation, path: str, shape: type[_Page[_Row]], key: Callable[[_Row], Hashable], params: Params = ()
) -> list[_Row]:
    """Read a list to its last `next`: a page beyond the end would be the last page once more, never an empty one."""

    def page(answer: Answer) -> LinkedPage[_Row]:
        read = answer.decode(shape)
        return LinkedPage(rows=read.results, next=_target(read.next))

    return await operation.linked_rows(f"{_API}/{path}", params, page, key)


def _target(link: str | None) -> str | None:
    """The path and query of a link: behind a proxy OnCall builds links with a scheme and host that are not ours."""
    if link is None:
        return None
    parts = urlsplit(link)
    path = parts.path[parts.path.find(_API) :] if _API in parts.path else parts.path
    return f"{path}?{parts.query}"


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to, so that an object made in between is not missed."""
    groups = await _alert_groups(operation) if config.incidents else []
    routes = await _rows(operation, "routes/", _Page[_Route], lambda row: row.id)
    for integration in await _rows(operation, "integrations/", _Page[_Integration], lambda row: row.id):
        _services(gathered, integration, [route for route in routes if route.integration_id == integration.id])
    steps = await _rows(operation, "escalation_policies/", _Page[_Step], lambda row: row.id)
    for chain in await _rows(operation, "escalation_chains/", _Page[_Chain], lambda row: row.id):
        own = sorted((step for step in steps if step.escalation_chain_id == chain.id), key=lambda step: step.position)
        gathered.policy(chain.id, chain.name, _rungs(gathered, chain, own))
    await _turns(config, operation, gathered)
    for user in await _rows(operation, "users/", _Page[_User], lambda row: row.id):
        gathered.person(user.id, user.username, [user.email], active=True)
    chains = {route.id: route.escalation_chain_id for route in routes}
    gathered.incidents.extend(_incident(group, chains) for group in groups if group.state in _STATUS)


async def _turns(config: Config, operation: Operation, gathered: Gathered) -> None:
    schedules = await _rows(operation, "schedules/", _Page[_Schedule], lambda row: row.id)
    for schedule in schedules:
        gathered.schedule(schedule.id, schedule.name, schedule.time_zone)
    refuse_missing("Grafana OnCall", "schedules", set(config.schedules) - gathered.schedules.keys())
    first, last = gathered.window.whole_days()
    # Whole days, both included: OnCall takes no more precision here than it has a time zone for.
    asked = (("start_date", f"{first:%Y-%m-%d}"), ("end_date", f"{last:%Y-%m-%d}"))
    for schedule in schedules:
        if config.schedules and schedule.id not in config.schedules:
            continue
        path = f"schedules/{schedule.id}/final_shifts"
        for row in await _rows(operation, path, _Page[_FinalShift], lambda row: row, asked):
            person = gathered.mention(row.user_pk, row.user_username, row.user_email)
            gathered.turn(person, schedule.id, row.shift_start, row.shift_end)


def _services(gathered: Gathered, integration: _Integration, routes: Iterable[_Route]) -> None:
    """An integration is a service paged by its last route; each other route is one of its own."""
    ordered = sorted(routes, key=lambda route: (route.is_the_last_route, route.position))
    default = ordered[-1] if ordered else None
    gathered.service(integration.id, integration.name, default.escalation_chain_id if default else None)
    for route in ordered[:-1]:
        if route.escalation_chain_id is not None:
            gathered.service(route.id, f"{integration.name}, route {route.position}", route.escalation_chain_id)


def _rungs(gathered: Gathered, chain: _Chain, steps: Iterable[_Step]) -> Iterator[Rung]:
    """Number the levels; steps that notify somebody whom the API does not name take their place and page nobody."""
    people: dict[int, list[PersonId]] = defaultdict(list)
    schedules: dict[int, list[str]] = defaultdict(list)
    level, has_notified = 1, False
    for step in steps:
        kind = step.type or ""
        if kind == "wait" and has_notified:
            level, has_notified = level + 1, False
        if not kind.startswith("notify") or kind.startswith("notify_if_"):  # the latter are conditions
            continue
        has_notified = True
        named = [*(step.persons_to_notify or ()), *(step.persons_to_notify_next_each_time or ())]
        people[level].extend(PersonId(person) for person in named)
        if step.notify_on_call_from_schedule is not None:
            schedules[level].append(step.notify_on_call_from_schedule)
        elif not named:
            gathered.notes.append(
                f"chain {chain.name}, level {level}: {kind} does not say whom it notifies, so it opens nothing"
            )
    for each in sorted(people.keys() | schedules.keys()):
        yield Rung(level=each, schedules=tuple(schedules.get(each, ())), people=tuple(people.get(each, ())))


async def _alert_groups(operation: Operation) -> list[_AlertGroup]:
    """Open alert groups. New ones first: one that is acknowledged in between is in both lists, and counts as that."""
    found: dict[str, _AlertGroup] = {}
    for state in ("new", "acknowledged"):
        for group in await _rows(
            operation, "alert_groups/", _Page[_AlertGroup], lambda row: row.id, (("state", state),)
        ):
            found[group.id] = group
    return list(found.values())


def _incident(group: _AlertGroup, chains: dict[str, str | None]) -> Incident:
    responders: tuple[Responder, ...] = ()
    if group.acknowledged_by is not None and _STATUS[group.state] is IncidentStatus.ACKNOWLEDGED:
        since = in_utc(group.acknowledged_at)
        person = PersonId(group.acknowledged_by)
        responders = (Responder(person=person, involvement=Involvement.ACKNOWLEDGED, since=since),)
    return Incident(
        id=IncidentId(group.id),
        title=group.title or group.id,
        service=group.integration_id,
        policy=chains.get(group.route_id or ""),
        status=_STATUS[group.state],
        responders=responders,
        opened_at=in_utc(group.created_at),
    )
