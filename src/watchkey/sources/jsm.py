"""Jira Service Management operations (and Compass, which has the same API): schedules, escalations, open alerts.

People are Atlassian accounts; whether one still exists is asked of Jira, and their e-mail addresses may be hidden.
"""

from base64 import b64encode
from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import (
    Answer,
    HttpSource,
    HttpSourceConfig,
    OffsetPage,
    OffsetPaging,
    Operation,
    Params,
    Provider,
)
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, refuse_missing
from watchkey.rules.ops_rota import Alert, Escalation, Timeline, incident, take_escalation, take_timeline

_HOST: Final = "https://api.atlassian.com"
_PEOPLE_AT_ONCE: Final = 90
"""Jira answers for 200 ids at most; the URL bounds it earlier."""


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `jsm`."""

    cloud_id: Annotated[Id, Meta(description="The site's cloud id: https://SITE.atlassian.net/_edge/tenant_info.")]
    email: Annotated[str, Meta(min_length=3, description="The e-mail address of the account that owns the token.")]
    token: Annotated[
        Secret,
        Meta(
            description="An API token with the scopes read:ops-config:jira-service-management,"
            " read:ops-alert:jira-service-management and read:jira-user."
        ),
    ]
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read the shifts of these schedules only; empty: of all.")
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open alerts and who owns them.")] = True
    page_size: Annotated[int, Meta(ge=1, le=100, description="Rows per page.")] = 100


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    pair = b64encode(f"{config.email}:{config.token.reveal()}".encode()).decode()
    provider = Provider(base_url=_HOST, headers={"Authorization": Secret(f"Basic {pair}")})
    return HttpSource(config, provider, _Reader(config).read, name=name, clock=clock)


# What Atlassian sends, as far as it is used.


class _Schedule(msgspec.Struct, frozen=True, rename="camel"):
    id: Id
    name: str
    timezone: str | None = None
    enabled: bool = True
    team_id: Id | None = None


class _User(msgspec.Struct, frozen=True, rename="camel"):
    account_id: Id
    active: bool
    display_name: str | None = None
    email_address: str | None = None


class _Users(msgspec.Struct, frozen=True, rename="camel"):
    values: list[_User]
    is_last: bool
    total: int | None = None


_Row = TypeVar("_Row")


class _Links(msgspec.Struct, frozen=True):
    next: str | None = None


class _Page(msgspec.Struct, Generic[_Row], frozen=True):
    values: list[_Row]
    links: _Links | None = None


class _Reader:
    """Reads one site."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ops = f"/jsm/ops/api/{config.cloud_id}/v1"
        self._jira = f"/ex/jira/{config.cloud_id}/rest/api/3"

    async def read(self, operation: Operation, gathered: Gathered) -> None:
        """Read what refers before what is referred to, so that an object made in between is not missed."""
        if self._config.incidents:
            open_only = (("query", "status:open"),)
            for alert in await self._rows(operation, "/alerts", _Page[Alert], lambda row: row.id, open_only):
                if alert.status == "open":
                    owner = None if alert.owner is None else PersonId(alert.owner)
                    gathered.incidents.append(incident(alert, owner, None))
        schedules = await self._rows(operation, "/schedules", _Page[_Schedule], lambda row: row.id)
        for schedule in schedules:
            gathered.schedule(schedule.id, schedule.name, schedule.timezone)
        refuse_missing("Jira Service Management", "schedules", set(self._config.schedules) - gathered.schedules.keys())
        for team in dict.fromkeys(schedule.team_id for schedule in schedules if schedule.team_id):
            path = f"/teams/{team}/escalations"
            for escalation in await self._rows(operation, path, _Page[Escalation], lambda row: row.id):
                take_escalation(gathered, escalation)
        for schedule in schedules:
            if not self._config.schedules or schedule.id in self._config.schedules:
                await self._timeline(operation, gathered, schedule)
        await self._people(operation, gathered)

    async def _timeline(self, operation: Operation, gathered: Gathered, schedule: _Schedule) -> None:
        if not schedule.enabled:
            gathered.notes.append(f"schedule {schedule.name} is switched off: nobody is on call in it")
            return
        first, last = gathered.window.whole_days()
        asked = (
            ("date", f"{first:%Y-%m-%dT%H:%M:%SZ}"),
            ("interval", str((last - first).days)),
            ("intervalUnit", "days"),
        )
        answer = await operation.get(f"{self._ops}/schedules/{schedule.id}/timeline", asked)
        take_timeline(gathered, schedule.id, schedule.name, answer.decode(Timeline))

    async def _people(self, operation: Operation, gathered: Gathered) -> None:
        """Ask Jira for everybody who was named; an account that it does not give is closed."""
        everybody = gathered.everybody()
        for first in range(0, len(everybody), _PEOPLE_AT_ONCE):
            some = everybody[first : first + _PEOPLE_AT_ONCE]
            paging = OffsetPaging(
                page=_user_page,
                key=lambda user: user.account_id,
                size=_PEOPLE_AT_ONCE,
                offset_name="startAt",
                limit_name="maxResults",
            )
            asked = tuple(("accountId", person) for person in some)
            for user in await operation.offset_rows(f"{self._jira}/user/bulk", asked, paging):
                gathered.person(user.account_id, user.display_name, [user.email_address], active=user.active)

    async def _rows(
        self,
        operation: Operation,
        path: str,
        shape: type[_Page[_Row]],
        key: Callable[[_Row], Hashable],
        params: Params = (),
    ) -> list[_Row]:
        paging = OffsetPaging(
            page=partial(_page, shape), key=key, size=self._config.page_size, limit_name="size", row_cap=20_000
        )
        return await operation.offset_rows(f"{self._ops}{path}", params, paging)


def _page(shape: type[_Page[_Row]], answer: Answer) -> OffsetPage[_Row]:
    read = answer.decode(shape)
    return OffsetPage(rows=read.values, more=read.links is not None and bool(read.links.next))


def _user_page(answer: Answer) -> OffsetPage[_User]:
    read = answer.decode(_Users)
    return OffsetPage(rows=read.values, more=not read.is_last, total=read.total)
