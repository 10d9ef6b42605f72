"""ilert: on-calls with their level, alert sources as services, open alerts.

An accepted alert is being worked on by whom it is assigned to: so ilert's own documentation explains the state.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, OffsetPage, OffsetPaging, Operation, Provider
from watchkey.http_client import Params as _Params
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import EndKind, Incident, IncidentStatus, Involvement, Provenance, Responder, Shift
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Instant, in_utc, refuse_missing

_HOST: Final = "https://api.ilert.com"
_STATUS: Final = {"PENDING": IncidentStatus.TRIGGERED, "ACCEPTED": IncidentStatus.ACKNOWLEDGED}
_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `ilert`."""

    api_key: Annotated[Secret, Meta(description="The API key of a user that only reads.")]
    schedules: Annotated[
        tuple[_Number, ...],
        Meta(
            max_length=100,
            description="Read these schedules one by one, by their number: for their overrides, and for those that no"
            " policy uses, which are in no list of on-calls.",
        ),
    ] = ()
    incidents: Annotated[bool, Meta(description="Read open alerts and who is at them.")] = True
    page_size: Annotated[int, Meta(ge=1, le=100, description="Rows per page.")] = 100


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    provider = Provider(base_url=_HOST, headers={"Authorization": Secret(f"Bearer {config.api_key.reveal()}")})
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


# What ilert sends, as far as it is used.


class _Ref(msgspec.Struct, frozen=True):
    id: int
    name: str | None = None


class _User(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None

    @property
    def name(self) -> str | None:
        """First and last name."""
        return " ".join(part for part in (self.first_name, self.last_name) if part) or None


class _OnCall(msgspec.Struct, frozen=True, rename="camel"):
    user: _User
    escalation_policy: _Ref
    escalation_level: Annotated[int, Meta(ge=1, le=1000)]
    start: Instant | None = None
    end: Instant | None = None
    schedule: _Ref | None = None


class _Schedule(msgspec.Struct, frozen=True):
    id: int
    name: str
    timezone: str | None = None


class _Turn(msgspec.Struct, frozen=True):
    user: _User
    start: Instant
    end: Instant


class _AlertSource(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    name: str
    escalation_policy: _Ref | None = None


class _Alert(msgspec.Struct, frozen=True, rename="camel"):
    id: int
    status: str
    report_time: Instant
    summary: str | None = None
    alert_source: _Ref | None = None
    assigned_to: _User | None = None


_Row = TypeVar("_Row")


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to, so that an object made in between is not missed."""
    rows = partial(_rows, config, operation)
    if config.incidents:
        states = (("states", "PENDING"), ("states", "ACCEPTED"))
        for alert in await rows("/api/alerts", list[_Alert], lambda row: row.id, states):
            if alert.status in _STATUS:
                gathered.incidents.append(_incident(alert))
    first, last = gathered.window.whole_days()
    span = (("from", f"{first:%Y-%m-%dT%H:%M:%SZ}"), ("until", f"{last:%Y-%m-%dT%H:%M:%SZ}"))
    attached = set()
    for row in await rows("/api/on-calls", list[_OnCall], lambda row: row, (*span, ("expand", "user"))):
        _take(gathered, row)
        attached.add(row.schedule.id if row.schedule else None)
    for policy in await rows("/api/escalation-policies", list[_Ref], lambda row: row.id):
        gathered.policy(str(policy.id), policy.name)
    for source in await rows("/api/alert-sources", list[_AlertSource], lambda row: row.id):
        policy_id = None if source.escalation_policy is None else str(source.escalation_policy.id)
        gathered.service(str(source.id), source.name, policy_id)
    for schedule in await rows("/api/schedules", list[_Schedule], lambda row: row.id):
        gathered.schedule(str(schedule.id), schedule.name, schedule.timezone)
    refuse_missing("ilert", "schedules", set(config.schedules) - gathered.schedules.keys())
    for name in config.schedules:
        await _named(operation, gathered, name, span, is_attached=int(name) in attached)
    for user in await rows("/api/users", list[_User], lambda row: row.id):
        gathered.person(str(user.id), user.name, [user.email], active=True)


def _take(gathered: Gathered, row: _OnCall) -> None:
    person = gathered.mention(str(row.user.id), row.user.name, row.user.email)
    gathered.policy(str(row.escalation_policy.id), row.escalation_policy.name)
    gathered.shift(
        Shift(
            person=person,
            schedule=None if row.schedule is None else str(row.schedule.id),
            policy=str(row.escalation_policy.id),
            level=row.escalation_level,
            starts_at=row.start,
            ends_at=row.end,
            end_kind=EndKind.PERMANENT if row.schedule is None and row.end is None else EndKind.EXACT,
            provenance=Provenance.PERMANENT if row.schedule is None else Provenance.UNKNOWN,
        )
    )


async def _named(operation: Operation, gathered: Gathered, schedule: str, span: _Params, *, is_attached: bool) -> None:
    """Read one schedule: its overrides, and its turns when no policy uses it."""
    path = f"/api/schedules/{schedule}"
    for override in (await operation.get(f"{path}/overrides", span)).decode(list[_Turn]):
        gathered.override(PersonId(str(override.user.id)), schedule, override.start, override.end)
    if not is_attached:
        for turn in (await operation.get(f"{path}/shifts", span)).decode(list[_Turn]):
            person = gathered.mention(str(turn.user.id), turn.user.name, turn.user.email)
            gathered.turn(person, schedule, turn.start, turn.end)


def _incident(alert: _Alert) -> Incident:
    since = in_utc(alert.report_time)
    status = _STATUS[alert.status]
    parts: list[Responder] = []
    if alert.assigned_to is not None:
        is_at_it = status is IncidentStatus.ACKNOWLEDGED
        involvement = Involvement.ACKNOWLEDGED if is_at_it else Involvement.ASSIGNED
        parts.append(Responder(person=PersonId(str(alert.assigned_to.id)), involvement=involvement))
    return Incident(
        id=IncidentId(str(alert.id)),
        title=alert.summary or str(alert.id),
        service=None if alert.alert_source is None else str(alert.alert_source.id),
        status=status,
        responders=tuple(parts),
        opened_at=since,
    )


async def _rows(
    config: Config,
    operation: Operation,
    path: str,
    shape: type[list[_Row]],
    key: Callable[[_Row], Hashable],
    params: _Params = (),
) -> list[_Row]:
    """Read a list to its end, which only a page that is not full shows: ilert sends bare arrays."""

    def page(answer: Answer) -> OffsetPage[_Row]:
        rows = answer.decode(shape)
        return OffsetPage(rows=rows, more=len(rows) >= config.page_size)

    paging = OffsetPaging(
        page=page,
        key=key,
        size=config.page_size,
        row_cap=100_000,
        offset_name="start-index",
        limit_name="max-results",
    )
    return await operation.offset_rows(path, params, paging)
