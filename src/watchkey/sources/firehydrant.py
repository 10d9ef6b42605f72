"""FireHydrant Signals: on-call schedules and escalation policies of each team.

Its reading hosts may be half a minute behind what was written.
"""

from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, LinkedPage, Operation, Provider
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, Rung, refuse_missing

_HOST: Final = "https://api.firehydrant.io"
_SCHEDULE: Final = "OnCallSchedule"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `firehydrant`."""

    token: Annotated[Secret, Meta(description="The token of a bot user that reads.")]
    teams: Annotated[tuple[Id, ...], Meta(max_length=200, description="Read these teams only, by id; empty: all.")] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    provider = Provider(base_url=_HOST, headers={"Authorization": Secret(f"Bearer {config.token.reveal()}")})
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


class _Named(msgspec.Struct, frozen=True):
    id: Id
    name: str
    time_zone: str | None = None


class _User(msgspec.Struct, frozen=True):
    id: Id
    name: str | None = None
    email: str | None = None


class _Shift(msgspec.Struct, frozen=True):
    start_time: Instant
    end_time: Instant
    user: _User | None


class _Schedule(msgspec.Struct, frozen=True):
    shifts: list[_Shift]


class _Target(msgspec.Struct, frozen=True):
    id: Id
    type: str


class _Step(msgspec.Struct, frozen=True):
    position: int
    targets: list[_Target]


class _Policy(msgspec.Struct, frozen=True):
    id: Id
    name: str
    steps: list[_Step]


_Row = TypeVar("_Row")


class _Pagination(msgspec.Struct, frozen=True):
    next: int | None


class _List(msgspec.Struct, Generic[_Row], frozen=True):
    data: list[_Row]
    pagination: _Pagination


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    teams = await _rows(operation, "/v1/teams", _List[_Named], lambda row: row.id)
    refuse_missing("FireHydrant", "teams", set(config.teams) - {team.id for team in teams})
    first, last = gathered.window.whole_days()
    span = (
        ("shift_time_window_start", f"{first:%Y-%m-%dT%H:%M:%SZ}"),
        ("shift_time_window_end", f"{last:%Y-%m-%dT%H:%M:%SZ}"),
    )
    for team in teams:
        if config.teams and team.id not in config.teams:
            continue
        path = f"/v1/teams/{team.id}"
        for policy in await _rows(operation, f"{path}/escalation_policies", _List[_Policy], lambda row: row.id):
            gathered.policy(policy.id, f"{team.name}: {policy.name}", _rungs(gathered, policy))
        for schedule in await _rows(operation, f"{path}/on_call_schedules", _List[_Named], lambda row: row.id):
            gathered.schedule(schedule.id, f"{team.name}: {schedule.name}", schedule.time_zone)
            answer = await operation.get(f"{path}/on_call_schedules/{schedule.id}", span)
            for shift in answer.decode(_Schedule).shifts:
                if shift.user is not None:
                    person = gathered.mention(shift.user.id, shift.user.name, shift.user.email)
                    gathered.turn(person, schedule.id, shift.start_time, shift.end_time)
    for user in await _rows(operation, "/v1/users", _List[_User], lambda row: row.id):
        gathered.person(user.id, user.name, [user.email], active=True)


def _rungs(gathered: Gathered, policy: _Policy) -> Iterator[Rung]:
    """Number the steps by their positions, whatever the first position is called."""
    for level, position in enumerate(sorted({step.position for step in policy.steps}), start=1):
        targets = [target for step in policy.steps if step.position == position for target in step.targets]
        if any(target.type not in {_SCHEDULE, "User"} for target in targets):
            gathered.notes.append(f"policy {policy.name}, level {level}: not only people and schedules are paged")
        yield Rung(
            level=level,
            schedules=tuple(target.id for target in targets if target.type == _SCHEDULE),
            people=tuple(PersonId(target.id) for target in targets if target.type == "User"),
        )


async def _rows(
    operation: Operation, path: str, shape: type[_List[_Row]], key: Callable[[_Row], Hashable]
) -> list[_Row]:
    def page(answer: Answer) -> LinkedPage[_Row]:
        read = answer.decode(shape)
        following = read.pagination.next
        return LinkedPage(rows=read.data, next=None if following is None else f"{path}?page={following}&per_page=100")

    return await operation.linked_rows(f"{path}?page=1&per_page=100", (), page, key)
