"""Splunk On-Call (VictorOps): turns of each team's policies, overrides taken out of them, levels from policy steps.

A rotation is only named in a turn, by its label; when a policy has that label in one step, that is the level, otherwise
nobody can say which it is.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, refuse_missing

_HOST: Final = "https://api.victorops.com"
_API: Final = "/api-public"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `splunk_oncall`."""

    api_id: Annotated[str, Meta(min_length=1, description="The API id of the account.")]
    api_key: Annotated[Secret, Meta(description="A read-only API key.")]
    teams: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read these teams only, by slug; empty: all.")
    ] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    provider = Provider(base_url=_HOST, headers={"X-VO-Api-Id": config.api_id, "X-VO-Api-Key": config.api_key})
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


class _Team(msgspec.Struct, frozen=True):
    slug: Id
    name: str


class _Username(msgspec.Struct, frozen=True):
    username: Id | None = None


class _Roll(msgspec.Struct, frozen=True, rename="camel"):
    start: Instant
    end: Instant
    on_call_user: _Username | None = None


class _Entry(msgspec.Struct, frozen=True, rename="camel"):
    on_call_type: str
    rolls: list[_Roll] | None = None
    on_call_user: _Username | None = None
    rotation_name: str | None = None


class _Override(msgspec.Struct, frozen=True, rename="camel"):
    start: Instant
    end: Instant
    orig_on_call_user: _Username | None = None
    override_on_call_user: _Username | None = None


class _PolicyRef(msgspec.Struct, frozen=True):
    slug: Id
    name: str


class _PolicySchedule(msgspec.Struct, frozen=True):
    policy: _PolicyRef
    schedule: list[_Entry]
    overrides: list[_Override] | None = None


class _TeamSchedule(msgspec.Struct, frozen=True):
    schedules: list[_PolicySchedule]


class _Group(msgspec.Struct, frozen=True):
    label: str | None = None


class _StepEntry(msgspec.Struct, frozen=True, rename="camel"):
    rotation_group: _Group | None = None
    user: _Username | None = None


class _Step(msgspec.Struct, frozen=True):
    entries: list[_StepEntry]


class _Policy(msgspec.Struct, frozen=True):
    steps: list[_Step]


class _User(msgspec.Struct, frozen=True, rename="camel"):
    username: Id
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None


class _Users(msgspec.Struct, frozen=True):
    users: list[_User]


_Levels = Mapping[str, set[int]]
"""By `label of a rotation` or `@username`, the levels at which a policy pages it."""


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """There is no list of all schedules: each team is asked. Splunk takes about two requests a second."""
    teams = (await operation.get(f"{_API}/v1/team")).decode(list[_Team])
    refuse_missing("Splunk On-Call", "teams", set(config.teams) - {team.slug for team in teams})
    first, last = gathered.window.whole_days()
    asked = (("daysForward", str((last - first).days)), ("daysSkip", "0"))
    for team in teams:
        if config.teams and team.slug not in config.teams:
            continue
        answer = await operation.get(f"{_API}/v2/team/{team.slug}/oncall/schedule", asked)
        for row in answer.decode(_TeamSchedule).schedules:
            policy = (await operation.get(f"{_API}/v1/policies/{row.policy.slug}")).decode(_Policy)
            gathered.policy(row.policy.slug, f"{team.name}: {row.policy.name}")
            _take(gathered, row, _levels(policy))
    for user in (await operation.get(f"{_API}/v2/user")).decode(_Users).users:
        name = " ".join(part for part in (user.first_name, user.last_name) if part)
        gathered.person(user.username, name, [user.email], active=True)


def _levels(policy: _Policy) -> _Levels:
    found: dict[str, set[int]] = defaultdict(set)
    for level, step in enumerate(policy.steps, start=1):
        for entry in step.entries:
            if entry.rotation_group is not None and entry.rotation_group.label:
                found[entry.rotation_group.label].add(level)
            if entry.user is not None and entry.user.username:
                found[f"@{entry.user.username}"].add(level)
    return found


def _take(gathered: Gathered, row: _PolicySchedule, levels: _Levels) -> None:
    for entry in row.schedule:
        if entry.on_call_type == "user" and entry.on_call_user is not None and entry.on_call_user.username:
            user = entry.on_call_user.username
            level = _only(levels.get(f"@{user}", set()))
            gathered.shift(_permanent(PersonId(user), row.policy.slug, level))
            continue
        level = _only(levels.get(entry.rotation_name or "", set()))
        for user, start, end, grade in _turns(entry, row.overrides or ()):
            gathered.shift(
                Shift(
                    person=PersonId(user),
                    schedule=None if entry.rotation_name is None else f"{row.policy.slug}/{entry.rotation_name}",
                    policy=row.policy.slug,
                    level=level,
                    starts_at=start,
                    ends_at=end,
                    provenance=grade,
                )
            )


def _turns(
    entry: _Entry, overrides: list[_Override] | tuple[()]
) -> Iterator[tuple[str, datetime, datetime, Provenance]]:
    """The rolls of an entry as they are after the overrides; who made an override is not said."""
    for roll in entry.rolls or ():
        if roll.on_call_user is None or not roll.on_call_user.username:
            continue
        user, reached = roll.on_call_user.username, roll.start
        mine = [o for o in overrides if o.orig_on_call_user is not None and o.orig_on_call_user.username == user]
        for override in sorted(mine, key=lambda each: each.start):
            start, end = max(override.start, reached), min(override.end, roll.end)
            if start >= end:
                continue
            if start > reached:
                yield user, reached, start, Provenance.UNKNOWN
            if override.override_on_call_user is not None and override.override_on_call_user.username:
                yield override.override_on_call_user.username, start, end, Provenance.SELF_OVERRIDE
            reached = end
        if reached < roll.end:
            yield user, reached, roll.end, Provenance.UNKNOWN


def _permanent(person: PersonId, policy: str, level: int | None) -> Shift:
    return Shift(
        person=person,
        policy=policy,
        level=level,
        starts_at=None,
        ends_at=None,
        end_kind=EndKind.PERMANENT,
        provenance=Provenance.PERMANENT,
    )


def _only(levels: set[int]) -> int | None:
    return next(iter(levels)) if len(levels) == 1 else None
