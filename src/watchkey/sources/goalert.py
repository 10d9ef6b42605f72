"""GoAlert: schedules with their shifts, escalation policies and services, in one GraphQL document.

A GraphQL key of GoAlert is made for one document and answers no other, so there is one: `DOCUMENT`. GoAlert counts
steps from 0; levels begin at 1.
"""

from functools import partial
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, Rung, refuse_missing

_PATH: Final = "/api/graphql"
_LISTS: Final = ("services", "policies", "schedules", "users")
DOCUMENT: Final = """\
query Watchkey(
  $since: ISOTimestamp!, $until: ISOTimestamp!
  $services: String, $policies: String, $schedules: String, $users: String
) {
  services(input: {first: 100, after: $services}) {
    nodes { id name escalationPolicyID }
    pageInfo { hasNextPage endCursor }
  }
  policies: escalationPolicies(input: {first: 100, after: $policies}) {
    nodes { id name steps { stepNumber targets { id type } } }
    pageInfo { hasNextPage endCursor }
  }
  schedules(input: {first: 100, after: $schedules}) {
    nodes { id name timeZone shifts(start: $since, end: $until) { userID start end } }
    pageInfo { hasNextPage endCursor }
  }
  users(input: {first: 100, after: $users}) {
    nodes { id name email }
    pageInfo { hasNextPage endCursor }
  }
}
"""
"""What the key must be made for."""


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `goalert`."""

    base_url: Annotated[str, Meta(description="Where GoAlert runs; https, or http on loopback.")]
    token: Annotated[
        Secret, Meta(description="A GraphQL API key of GoAlert, made for the document on the sources page.")
    ]
    schedules: Annotated[tuple[Id, ...], Meta(max_length=200, description="Schedules that must be there.")] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"Bearer {config.token.reveal()}")}
    provider = Provider(base_url=config.base_url, headers=headers)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


class _Shift(msgspec.Struct, frozen=True, rename={"user": "userID"}):
    user: Id
    start: Instant
    end: Instant


class _Schedule(msgspec.Struct, frozen=True, rename={"time_zone": "timeZone"}):
    id: Id
    name: str
    time_zone: str
    shifts: list[_Shift]


class _Target(msgspec.Struct, frozen=True):
    id: Id
    type: str


class _Step(msgspec.Struct, frozen=True, rename={"number": "stepNumber"}):
    number: Annotated[int, Meta(ge=0, le=1000)]
    targets: list[_Target]


class _Policy(msgspec.Struct, frozen=True):
    id: Id
    name: str
    steps: list[_Step]


class _Service(msgspec.Struct, frozen=True, rename={"policy": "escalationPolicyID"}):
    id: Id
    name: str
    policy: Id


class _User(msgspec.Struct, frozen=True):
    id: Id
    name: str
    email: str | None = None


class _PageInfo(msgspec.Struct, frozen=True, rename="camel"):
    has_next_page: bool
    end_cursor: str | None


_Node = TypeVar("_Node")


class _Connection(msgspec.Struct, Generic[_Node], frozen=True, rename={"page_info": "pageInfo"}):
    nodes: list[_Node]
    page_info: _PageInfo


class _Everything(msgspec.Struct, frozen=True):
    services: _Connection[_Service]
    policies: _Connection[_Policy]
    schedules: _Connection[_Schedule]
    users: _Connection[_User]

    def info(self, name: Literal["services", "policies", "schedules", "users"]) -> _PageInfo:
        """Where one list stands."""
        connection: _Connection[Any] = getattr(self, name)
        return connection.page_info


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Ask until every list is at its end; a list that is there already has nothing new behind its last cursor."""
    first, last = gathered.window.whole_days()
    cursors: dict[str, str | None] = dict.fromkeys(_LISTS)
    span = {"since": f"{first:%Y-%m-%dT%H:%M:%SZ}", "until": f"{last:%Y-%m-%dT%H:%M:%SZ}"}
    has_more = True
    while has_more:
        page = await operation.graphql(_PATH, DOCUMENT, span | cursors, _Everything)
        _take(gathered, page)
        has_more = False
        for name in _LISTS:
            info = page.info(name)
            if info.has_next_page and info.end_cursor in {None, cursors[name]}:
                raise Malformed(f"GoAlert's list of {name} goes on and its cursor does not")
            cursors[name] = info.end_cursor or cursors[name]
            has_more = has_more or info.has_next_page
    refuse_missing("GoAlert", "schedules", set(config.schedules) - gathered.schedules.keys())


def _take(gathered: Gathered, page: _Everything) -> None:
    for service in page.services.nodes:
        gathered.service(service.id, service.name, service.policy)
    for policy in page.policies.nodes:
        gathered.policy(policy.id, policy.name, [_rung(gathered, policy, step) for step in policy.steps])
    for schedule in page.schedules.nodes:
        gathered.schedule(schedule.id, schedule.name, schedule.time_zone)
        for shift in schedule.shifts:
            gathered.turn(PersonId(shift.user), schedule.id, shift.start, shift.end)
    for user in page.users.nodes:
        gathered.person(user.id, user.name, [user.email], active=True)


def _rung(gathered: Gathered, policy: _Policy, step: _Step) -> Rung:
    level = step.number + 1
    for target in step.targets:
        if target.type == "rotation":
            gathered.notes.append(
                f"policy {policy.name}, level {level}: a rotation is paged, whose turns GoAlert does not tell ahead;"
                " put it into a schedule"
            )
    return Rung(
        level=level,
        schedules=tuple(target.id for target in step.targets if target.type == "schedule"),
        people=tuple(PersonId(target.id) for target in step.targets if target.type == "user"),
    )
