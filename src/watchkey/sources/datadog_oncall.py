"""Datadog On-Call: who is on call now and next in named schedules, and the steps of named escalation policies.

Datadog tells one shift ahead, and calls a position taken in which there is no shift: only shifts count. The start of
the running shift is when the question was asked, so it is not taken.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, Rung

_API: Final = "/api/v2/on-call"


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `datadog_oncall`."""

    api_key: Annotated[Secret, Meta(description="An API key.")]
    application_key: Annotated[Secret, Meta(description="An application key with `on_call_read` and nothing else.")]
    site: Annotated[str, Meta(pattern=r"^[a-z0-9.-]{3,64}\Z", description="The site, e.g. `datadoghq.eu`.")] = (
        "datadoghq.com"
    )
    schedules: Annotated[
        tuple[Id, ...], Meta(min_length=1, max_length=200, description="The schedules to read, by id.")
    ]
    escalation_policies: Annotated[
        tuple[Id, ...],
        Meta(max_length=200, description="The policies that say at which level a schedule is paged, by id."),
    ] = ()


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"DD-API-KEY": config.api_key, "DD-APPLICATION-KEY": config.application_key}
    provider = Provider(base_url=f"https://api.{config.site}", headers=headers, unlisted=None)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


class _Ref(msgspec.Struct, frozen=True):
    id: Id
    type: str


class _One(msgspec.Struct, frozen=True):
    data: _Ref | None


class _Many(msgspec.Struct, frozen=True):
    data: list[_Ref]


class _Attributes(msgspec.Struct, frozen=True):
    name: str | None = None
    email: str | None = None
    status: str | None = None
    time_zone: str | None = None
    position: str | None = None
    start: Instant | None = None
    end: Instant | None = None


class _Relations(msgspec.Struct, frozen=True):
    responders: _Many | None = None
    shifts: _Many | None = None
    user: _One | None = None
    steps: _Many | None = None
    targets: _Many | None = None


class _Object(msgspec.Struct, frozen=True):
    id: str
    type: str
    attributes: _Attributes | None = None
    relationships: _Relations | None = None


class _Document(msgspec.Struct, frozen=True):
    data: _Object
    included: list[_Object] | None = None

    def objects(self) -> Mapping[tuple[str, str], _Object]:
        """What came along, by type and id."""
        return {(each.type, each.id): each for each in self.included or ()}


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    for policy in config.escalation_policies:
        answer = await operation.get(f"{_API}/escalation-policies/{policy}", (("include", "steps.targets"),))
        _take_policy(gathered, answer.decode(_Document))
    for schedule in config.schedules:
        read = (await operation.get(f"{_API}/schedules/{schedule}")).decode(_Document).data
        attributes = read.attributes or _Attributes()
        gathered.schedule(schedule, attributes.name, attributes.time_zone)
        asked = (("include", "responders.shifts.user"), ("filter[position]", "current,next"))
        answer = await operation.get(f"{_API}/schedules/{schedule}/responders", asked)
        _take_responders(gathered, schedule, answer.decode(_Document))
    gathered.notes.append("Datadog tells the present and the next shift of a schedule, and none behind it")


def _take_policy(gathered: Gathered, document: _Document) -> None:
    known = document.objects()
    rungs = []
    for level, ref in enumerate(_many(document.data, "steps"), start=1):
        targets = _many(_found(known, ref), "targets")
        rungs.append(
            Rung(
                level=level,
                schedules=tuple(target.id for target in targets if target.type == "schedules"),
                people=tuple(PersonId(target.id) for target in targets if target.type == "users"),
            )
        )
        if any(target.type == "teams" for target in targets):
            gathered.notes.append(f"policy {document.data.id}, level {level}: a team is paged and nobody is named")
    attributes = document.data.attributes or _Attributes()
    gathered.policy(document.data.id, attributes.name, rungs)
    _take_people(gathered, known.values())


def _take_responders(gathered: Gathered, schedule: str, document: _Document) -> None:
    known = document.objects()
    _take_people(gathered, known.values())
    for ref in _many(document.data, "responders"):
        responder = _found(known, ref)
        is_current = responder.attributes is not None and responder.attributes.position == "current"
        relations = responder.relationships
        for each in relations.shifts.data if relations is not None and relations.shifts is not None else ():
            shift = _found(known, each)
            times, links = shift.attributes, shift.relationships
            if times is None or times.start is None or times.end is None or links is None or links.user is None:
                raise Malformed(f"schedule {schedule}: the shift {shift.id} came without its times or its user")
            if links.user.data is not None:
                start = None if is_current else times.start
                gathered.turn(PersonId(links.user.data.id), schedule, start, times.end)


def _take_people(gathered: Gathered, objects: Iterable[_Object]) -> None:
    for each in objects:
        if each.type == "users" and each.attributes is not None:
            status = (each.attributes.status or "").lower()
            # A pending account has never logged in; any other word than `active` is not active.
            gathered.person(each.id, each.attributes.name, [each.attributes.email], active=status == "active")


def _many(one: _Object, name: str) -> list[_Ref]:
    related = None if one.relationships is None else getattr(one.relationships, name)
    if related is None:
        raise Malformed(f"{one.type} {one.id} came without its {name}, which were asked for")
    refs: list[_Ref] = related.data
    return refs


def _found(known: Mapping[tuple[str, str], _Object], ref: _Ref) -> _Object:
    found = known.get((ref.type, ref.id))
    if found is None:
        raise Malformed(f"{ref.type} {ref.id} was asked for and did not come along")
    return found
