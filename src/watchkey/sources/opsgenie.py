"""Opsgenie, until it is switched off: schedules, escalations, users, open alerts. Its successor is kind `jsm`."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, OffsetPage, OffsetPaging, Operation, Provider
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, refuse_missing
from watchkey.rules.ops_rota import Alert, Escalation, Timeline, incident, take_escalation, take_timeline

_HOSTS: Final = {"us": "https://api.opsgenie.com", "eu": "https://api.eu.opsgenie.com"}


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `opsgenie`."""

    api_key: Annotated[
        Secret, Meta(description="The key of an API integration with read and configuration access, of no team.")
    ]
    region: Annotated[Literal["us", "eu"], Meta(description="Where the account lives.")] = "us"
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read the shifts of these schedules only; empty: of all.")
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open alerts, who owns and who acknowledged them.")] = True
    page_size: Annotated[int, Meta(ge=1, le=100, description="Rows per page.")] = 100


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"GenieKey {config.api_key.reveal()}")}
    provider = Provider(base_url=_HOSTS[config.region], headers=headers)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


# What Opsgenie sends, as far as it is used.


class _Schedule(msgspec.Struct, frozen=True):
    id: Id
    name: str
    enabled: bool
    timezone: str | None = None


class _User(msgspec.Struct, frozen=True, rename="camel"):
    id: Id
    username: str
    full_name: str | None = None
    blocked: bool = False


_Row = TypeVar("_Row")


class _Data(msgspec.Struct, Generic[_Row], frozen=True):
    data: _Row


class _Paging(msgspec.Struct, frozen=True):
    next: str | None = None


class _Page(msgspec.Struct, Generic[_Row], frozen=True):
    data: list[_Row]
    paging: _Paging | None = None


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to, so that an object made in between is not missed."""
    alerts = await _rows(config, operation, "/v2/alerts", _Page[Alert], lambda row: row.id) if config.incidents else []
    for escalation in (await operation.get("/v2/escalations")).decode(_Data[list[Escalation]]).data:
        take_escalation(gathered, escalation)
    schedules = (await operation.get("/v2/schedules")).decode(_Data[list[_Schedule]]).data
    for schedule in schedules:
        gathered.schedule(schedule.id, schedule.name, schedule.timezone)
    refuse_missing("Opsgenie", "schedules", set(config.schedules) - gathered.schedules.keys())
    for schedule in schedules:
        if not config.schedules or schedule.id in config.schedules:
            await _timeline(operation, gathered, schedule)
    users = await _rows(config, operation, "/v2/users", _Page[_User], lambda row: row.id)
    for user in users:
        gathered.person(user.id, user.full_name, [user.username], active=not user.blocked)
    by_name = {user.username: PersonId(user.id) for user in users}
    for alert in alerts:
        if alert.status == "open":
            acknowledger = None if alert.report is None else by_name.get(alert.report.acknowledged_by or "")
            gathered.incidents.append(incident(alert, by_name.get(alert.owner or ""), acknowledger))


async def _timeline(operation: Operation, gathered: Gathered, schedule: _Schedule) -> None:
    if not schedule.enabled:
        gathered.notes.append(f"schedule {schedule.name} is switched off: nobody is on call in it")
        return
    first, last = gathered.window.whole_days()
    asked = (
        ("date", f"{first:%Y-%m-%dT%H:%M:%SZ}"),
        ("interval", str((last - first).days)),
        ("intervalUnit", "days"),
    )
    answer = await operation.get(f"/v2/schedules/{schedule.id}/timeline", asked)
    take_timeline(gathered, schedule.id, schedule.name, answer.decode(_Data[Timeline]).data)


async def _rows(
    config: Config, operation: Operation, path: str, shape: type[_Page[_Row]], key: Callable[[_Row], Hashable]
) -> list[_Row]:
    def page(answer: Answer) -> OffsetPage[_Row]:
        read = answer.decode(shape)
        return OffsetPage(rows=read.data, more=read.paging is not None and bool(read.paging.next))

    params = (("query", "status:open"),) if path.endswith("alerts") else ()
    # Beyond 20,000 rows Opsgenie answers no more: then nothing is taken.
    paging = OffsetPaging(page=page, key=key, size=config.page_size, row_cap=20_000)
    return await operation.offset_rows(path, params, paging)
