"""Better Stack: on-call calendars and their events. It tells no level, and knows people in events by e-mail alone.

So a person's id here is the e-mail address, in lower case: who changes it is a new person, and the link must be made
again. Whether an account exists is known of those who are on call now.
"""

from functools import partial
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, LinkedPage, Operation, Provider
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, refuse_missing

_HOST: Final = "https://uptime.betterstack.com"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `better_stack`."""

    token: Annotated[Secret, Meta(description="An Uptime API token that reads.")]
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read these calendars only, by id; empty: all.")
    ] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"Bearer {config.token.reveal()}")}
    provider = Provider(base_url=_HOST, headers=headers, unlisted=None)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


class _CalendarAttributes(msgspec.Struct, frozen=True):
    name: str | None = None
    team_name: str | None = None


class _Calendar(msgspec.Struct, frozen=True):
    id: Id
    attributes: _CalendarAttributes


class _UserAttributes(msgspec.Struct, frozen=True):
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _Included(msgspec.Struct, frozen=True):
    attributes: _UserAttributes


class _Pagination(msgspec.Struct, frozen=True):
    next: str | None


class _Calendars(msgspec.Struct, frozen=True):
    data: list[_Calendar]
    pagination: _Pagination
    included: list[_Included] | None = None


class _Event(msgspec.Struct, frozen=True):
    users: list[str]
    starts_at: Instant
    ends_at: Instant


class _Events(msgspec.Struct, frozen=True):
    events: list[_Event]


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    def page(answer: Answer) -> LinkedPage[_Calendar]:
        read = answer.decode(_Calendars)
        for user in read.included or ():
            _take_person(gathered, user.attributes)
        return LinkedPage(rows=read.data, next=_target(read.pagination.next))

    calendars = await operation.linked_rows("/api/v2/on-calls", (), page, lambda row: row.id)
    for calendar in calendars:
        gathered.schedule(calendar.id, calendar.attributes.name or calendar.attributes.team_name)
    refuse_missing("Better Stack", "schedules", set(config.schedules) - gathered.schedules.keys())
    for calendar in calendars:
        if config.schedules and calendar.id not in config.schedules:
            continue
        answer = await operation.get(f"/api/v2/on-calls/{calendar.id}/events")
        for event in answer.decode(_Events).events:
            for email in event.users:
                person = gathered.mention(email.lower(), email, email)
                gathered.turn(person, calendar.id, event.starts_at, event.ends_at)
    gathered.notes.append("Better Stack tells no level: a rule that needs one denies")


def _take_person(gathered: Gathered, user: _UserAttributes) -> None:
    if user.email:
        name = " ".join(part for part in (user.first_name, user.last_name) if part)
        gathered.person(PersonId(user.email.lower()), name, [user.email], active=True)


def _target(link: str | None) -> str | None:
    """The path and query of a link, for the host that is configured."""
    if link is None:
        return None
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"
