"""LinkedIn Oncall: events with roles; a configured map says which role is which level, any other role is not on call.

Its own answer to *who is on call* includes both borders and shows one role a person. Events have neither flaw, so only
they are read; from one event to the next the instant belongs to the later one.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.errors import Refused
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import Shift
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, refuse_missing

_API: Final = "/api/v0"
_ROLES: Final = {"primary": 1, "secondary": 2}
_AWAY: Final = frozenset({"vacation", "unavailable", "shadow"})
"""Roles of people who are not to be paged; they may not be given a level."""

_Level = Annotated[int, Meta(ge=1, le=100)]
_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `linkedin_oncall`; reading must need no login."""

    base_url: Annotated[str, Meta(description="Where LinkedIn Oncall runs; https, or http on loopback.")]
    roles: Annotated[
        Mapping[_Name, _Level],
        Meta(
            description="Which role is paged at which level; whoever has any other role is not on call. Left out:"
            " `primary` 1, `secondary` 2."
        ),
    ] = msgspec.field(default_factory=lambda: dict(_ROLES))
    teams: Annotated[tuple[_Name, ...], Meta(max_length=500, description="Read these teams only; empty: all.")] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` for a bad URL, CA file or map of roles."""
    away = sorted(_AWAY & config.roles.keys())
    if away:
        raise Refused(f"{name}: whoever has the role {away[0]} is not on call: take it out of roles")
    return HttpSource(config, Provider(base_url=config.base_url), partial(_read, config), name=name, clock=clock)


class _Event(msgspec.Struct, frozen=True):
    start: Annotated[int, Meta(ge=0, le=1 << 34)]
    end: Annotated[int, Meta(ge=0, le=1 << 34)]
    team: _Name
    role: _Name
    user: _Name
    full_name: str | None = None


class _Team(msgspec.Struct, frozen=True):
    name: _Name
    services: list[_Name]
    scheduling_timezone: str | None = None


class _Contacts(msgspec.Struct, frozen=True):
    email: str | None = None


class _User(msgspec.Struct, frozen=True):
    name: _Name
    active: int
    full_name: str | None = None
    contacts: _Contacts | None = None


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to. A team has a policy and, for each role, a schedule."""
    since, until = gathered.window.since.timestamp(), gathered.window.until.timestamp()
    # An event that ends now is over, whatever the provider's own comparison says.
    asked = (("start__lt", str(int(until))), ("end__gt", str(int(since))))
    events = (await operation.get(f"{_API}/events", asked)).decode(list[_Event])
    teams = (await operation.get(f"{_API}/teams")).decode(list[_Name])
    refuse_missing("LinkedIn Oncall", "teams", set(config.teams) - set(teams))
    wanted = set(config.teams or teams)
    owners: dict[str, list[str]] = defaultdict(list)
    for team in sorted(wanted):
        path = f"{_API}/teams/{quote(team, safe='')}"
        read = (await operation.get(path, (("fields", "services"),))).decode(_Team)
        gathered.policy(team, team)
        for role in config.roles:
            gathered.schedule(f"{team}/{role}", f"{team}, {role}", read.scheduling_timezone)
        for service in read.services:
            owners[service].append(team)
    for event in events:
        if event.team in wanted and event.role in config.roles:
            gathered.shift(_shift(config, gathered, event))
    unmapped = {event.role for event in events if event.team in wanted} - config.roles.keys() - _AWAY
    gathered.notes.extend(f"role {role} has no level, so whoever has it is not on call" for role in sorted(unmapped))
    await _services(operation, gathered, owners)
    for user in (await operation.get(f"{_API}/users")).decode(list[_User]):
        email = user.contacts.email if user.contacts else None
        gathered.person(user.name, user.full_name, [email], active=bool(user.active))


def _shift(config: Config, gathered: Gathered, event: _Event) -> Shift:
    gathered.mention(event.user, event.full_name)
    return Shift(
        person=PersonId(event.user),
        schedule=f"{event.team}/{event.role}",
        policy=event.team,
        level=config.roles[event.role],
        starts_at=datetime.fromtimestamp(event.start, UTC),
        ends_at=datetime.fromtimestamp(event.end, UTC),
    )


async def _services(operation: Operation, gathered: Gathered, owners: Mapping[str, list[str]]) -> None:
    """A service of one team is paged to it; of several, nobody can say which."""
    for service in (await operation.get(f"{_API}/services")).decode(list[_Name]):
        teams = owners.get(service, [])
        if len(teams) > 1:
            gathered.notes.append(f"service {service} belongs to {len(teams)} teams: name the policy instead")
        gathered.service(service, service, teams[0] if len(teams) == 1 else None)
