"""Zenduty: who is on call now for each team's escalation policies. It tells neither a level nor an end.

So nothing of it satisfies a rule about levels. Where an operator says so, a policy counts as a schedule of its own,
which names exactly its people; they are in for minutes at once, and read again with each poll.
"""

from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.ids import SourceName
from watchkey.model.oncall import EndKind, Shift
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, refuse_missing

_HOST: Final = "https://www.zenduty.com"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `zenduty`."""

    token: Annotated[Secret, Meta(description="An API token that reads.")]
    policies_as_schedules: Annotated[
        bool,
        Meta(
            description="Let whoever is on call for an escalation policy, at a level that nobody is told, be named as "
            "the schedule with the policy's id. Without it no fact of this source opens anything."
        ),
    ] = False
    teams: Annotated[tuple[Id, ...], Meta(max_length=200, description="Read these teams only, by id; empty: all.")] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"Token {config.token.reveal()}")}
    return HttpSource(config, Provider(base_url=_HOST, headers=headers), partial(_read, config), name=name, clock=clock)


class _Named(msgspec.Struct, frozen=True):
    unique_id: Id
    name: str


class _Service(msgspec.Struct, frozen=True):
    unique_id: Id
    name: str
    escalation_policy: Id | None = None


class _User(msgspec.Struct, frozen=True):
    username: Id
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None

    @property
    def name(self) -> str:
        """First and last name."""
        return " ".join(part for part in (self.first_name, self.last_name) if part)


class _OnCall(msgspec.Struct, frozen=True):
    escalation_policy: _Named
    users: list[_User]


class _Member(msgspec.Struct, frozen=True):
    user: _User


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    teams = (await operation.get("/api/account/teams/")).decode(list[_Named])
    refuse_missing("Zenduty", "teams", set(config.teams) - {team.unique_id for team in teams})
    for team in teams:
        if config.teams and team.unique_id not in config.teams:
            continue
        path = f"/api/account/teams/{team.unique_id}"
        for row in (await operation.get(f"{path}/oncall/")).decode(list[_OnCall]):
            _take(gathered, row, are_schedules=config.policies_as_schedules)
        for policy in (await operation.get(f"{path}/escalation_policies/")).decode(list[_Named]):
            gathered.policy(policy.unique_id, f"{team.name}: {policy.name}")
            if config.policies_as_schedules:
                gathered.schedule(policy.unique_id, f"{team.name}: {policy.name}")
        for service in (await operation.get(f"{path}/services/")).decode(list[_Service]):
            gathered.service(service.unique_id, service.name, service.escalation_policy)
    for member in (await operation.get("/api/account/members/")).decode(list[_Member]):
        gathered.person(member.user.username, member.user.name, [member.user.email], active=True)
    gathered.notes.append("Zenduty tells neither levels nor ends: a rule that needs one denies")


def _take(gathered: Gathered, row: _OnCall, *, are_schedules: bool) -> None:
    policy = row.escalation_policy.unique_id
    gathered.policy(policy, row.escalation_policy.name)
    schedule = policy if are_schedules else None
    for user in row.users:
        person = gathered.mention(user.username, user.name, user.email)
        gathered.shift(
            Shift(
                person=person,
                policy=policy,
                schedule=schedule,
                starts_at=None,
                ends_at=None,
                end_kind=EndKind.UNKNOWN,
            )
        )
