"""incident.io: schedules with their final entries, escalation paths, open escalations, roles of live incidents.

A path is a tree with conditions. The levels before its first branch always come in that order and are counted; behind
a branch nobody can say which level somebody is on, and the fact says so.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from watchkey.http_client import Answer, HttpSource, HttpSourceConfig, LinkedPage, Operation, Params, Provider
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import Incident, IncidentStatus, Involvement, Responder
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id, Instant, Rung, in_utc, refuse_missing

_HOST: Final = "https://api.incident.io"
_STATUS: Final = {"triggered": IncidentStatus.TRIGGERED, "acked": IncidentStatus.ACKNOWLEDGED}


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `incident_io`."""

    api_key: Annotated[Secret, Meta(description="An API key that may view data and nothing else.")]
    schedules: Annotated[
        tuple[Id, ...], Meta(max_length=200, description="Read the shifts of these schedules only; empty: of all.")
    ] = ()
    incidents: Annotated[
        bool, Meta(description="Read open escalations, who acknowledged them, and who has a role in their incidents.")
    ] = True
    webhook_keys: Annotated[
        tuple[Secret, ...],
        Meta(
            description="Signing secrets (`whsec_…`) of the webhook endpoint that gets `schedule.shift_change_v1`,"
            " `schedule.updated_v1` and escalations; two while one is being replaced."
        ),
    ] = ()
    page_size: Annotated[int, Meta(ge=1, le=250, description="Rows per page of people and incidents.")] = 250


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` when the URL or the CA file is not acceptable."""
    headers = {"Authorization": Secret(f"Bearer {config.api_key.reveal()}")}
    provider = Provider(base_url=_HOST, headers=headers)
    return HttpSource(config, provider, partial(_read, config), name=name, clock=clock)


# What incident.io sends, as far as it is used.


class _User(msgspec.Struct, frozen=True):
    id: Id
    name: str
    email: str | None = None


class _Ref(msgspec.Struct, frozen=True):
    id: Id


class _Schedule(msgspec.Struct, frozen=True):
    id: Id
    name: str
    timezone: str | None = None


class _Entry(msgspec.Struct, frozen=True):
    start_at: Instant
    end_at: Instant
    user: _User | None = None
    """Absent: nobody."""
    rotation_id: str | None = None
    layer_id: str | None = None
    fingerprint: str | None = None


class _Entries(msgspec.Struct, frozen=True):
    final: list[_Entry]
    overrides: list[_Entry]


class _Target(msgspec.Struct, frozen=True):
    id: str
    type: str
    schedule_mode: str | None = None


class _Level(msgspec.Struct, frozen=True):
    targets: list[_Target]


class _Branch(msgspec.Struct, frozen=True):
    then_path: list["_Node"]
    else_path: list["_Node"]


class _Node(msgspec.Struct, frozen=True):
    type: str
    level: _Level | None = None
    if_else: _Branch | None = None


class _Path(msgspec.Struct, frozen=True):
    id: Id
    name: str
    path: list[_Node]


class _Creator(msgspec.Struct, frozen=True):
    user: _Ref | None = None
    alert: dict[str, object] | None = None
    workflow: dict[str, object] | None = None


class _Event(msgspec.Struct, frozen=True):
    event: str
    occurred_at: Instant
    users: list[_User] | None = None


class _Escalation(msgspec.Struct, frozen=True):
    id: Id
    status: str
    created_at: Instant
    events: list[_Event]
    title: str | None = None
    escalation_path_id: Id | None = None
    creator: _Creator | None = None
    related_incidents: list[_Ref] | None = None


class _Role(msgspec.Struct, frozen=True):
    name: str
    role_type: str


class _Assignment(msgspec.Struct, frozen=True):
    role: _Role
    assignee: _User | None = None


class _Incident(msgspec.Struct, frozen=True):
    id: Id
    incident_role_assignments: list[_Assignment]


class _After(msgspec.Struct, frozen=True):
    after: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    pagination_meta: _After | None = None

    @property
    def after(self) -> str | None:
        """The cursor of the next page."""
        return None if self.pagination_meta is None else self.pagination_meta.after or None


class _Users(_Page, frozen=True, kw_only=True):
    users: list[_User]


class _Schedules(_Page, frozen=True, kw_only=True):
    schedules: list[_Schedule]


class _ScheduleEntries(_Page, frozen=True, kw_only=True):
    schedule_entries: _Entries


class _Paths(_Page, frozen=True, kw_only=True):
    escalation_paths: list[_Path]


class _Escalations(_Page, frozen=True, kw_only=True):
    escalations: list[_Escalation]


class _Incidents(_Page, frozen=True, kw_only=True):
    incidents: list[_Incident]


_ById = _User | _Schedule | _Path | _Escalation | _Incident


def _by_id(row: _ById) -> Hashable:
    return row.id


async def _read(config: Config, operation: Operation, gathered: Gathered) -> None:
    """Read what refers before what is referred to, so that an object made in between is not missed."""
    size = (("page_size", str(config.page_size)),)
    if config.incidents:
        await _incidents(operation, gathered, size)
    paths = await operation.cursor_rows("/v2/escalation_paths", (("page_size", "25"),), _paths, _by_id, "after")
    for path in paths:
        gathered.policy(path.id, path.name, _rungs(gathered, path))
    schedules = await operation.cursor_rows("/v2/schedules", (("page_size", "25"),), _schedules, _by_id, "after")
    for schedule in schedules:
        gathered.schedule(schedule.id, schedule.name, schedule.timezone)
    refuse_missing("incident.io", "schedules", set(config.schedules) - gathered.schedules.keys())
    for schedule in schedules:
        if not config.schedules or schedule.id in config.schedules:
            await _turns(operation, gathered, schedule)
    for user in await operation.cursor_rows("/v2/users", size, _users, _by_id, "after"):
        gathered.person(user.id, user.name, [user.email], active=True)


def _paths(answer: Answer) -> LinkedPage[_Path]:
    read = answer.decode(_Paths)
    return LinkedPage(rows=read.escalation_paths, next=read.after)


def _schedules(answer: Answer) -> LinkedPage[_Schedule]:
    read = answer.decode(_Schedules)
    return LinkedPage(rows=read.schedules, next=read.after)


def _users(answer: Answer) -> LinkedPage[_User]:
    read = answer.decode(_Users)
    return LinkedPage(rows=read.users, next=read.after)


def _escalations(answer: Answer) -> LinkedPage[_Escalation]:
    read = answer.decode(_Escalations)
    return LinkedPage(rows=read.escalations, next=read.after)


def _live_incidents(answer: Answer) -> LinkedPage[_Incident]:
    read = answer.decode(_Incidents)
    return LinkedPage(rows=read.incidents, next=read.after)


async def _turns(operation: Operation, gathered: Gathered, schedule: _Schedule) -> None:
    """Read the final entries of a schedule, and its overrides. The cursor of a page stands for the window's start."""
    first, last = gathered.window.whole_days()

    def path(start: str) -> str:
        query = (("schedule_id", schedule.id), ("entry_window_start", start), ("entry_window_end", _iso(last)))
        return f"/v2/schedule_entries?{urlencode(query)}"

    def page(answer: Answer) -> LinkedPage[tuple[bool, _Entry]]:
        read = answer.decode(_ScheduleEntries)
        entries = read.schedule_entries
        rows = [*((False, entry) for entry in entries.final), *((True, entry) for entry in entries.overrides)]
        return LinkedPage(rows=rows, next=None if read.after is None else path(read.after))

    key: Callable[[tuple[bool, _Entry]], Hashable] = lambda row: row  # noqa: E731 -- the row is its own key
    for is_override, entry in await operation.linked_rows(path(_iso(first)), (), page, key):
        if entry.user is None:
            continue
        person = gathered.mention(entry.user.id, entry.user.name, entry.user.email)
        if is_override:
            gathered.override(person, schedule.id, entry.start_at, entry.end_at)
        else:
            gathered.turn(person, schedule.id, entry.start_at, entry.end_at)


def _rungs(gathered: Gathered, path: _Path) -> Iterator[Rung]:
    for level, targets in _levels(path.path, 0):
        unclear = [target for target in targets if not _names_somebody(target)]
        for target in unclear:
            gathered.notes.append(
                f"path {path.name}: a {target.type} is paged ({target.schedule_mode or 'no mode'}) and nobody is named,"
                " so it opens nothing"
            )
        named = [target for target in targets if target not in unclear]
        yield Rung(
            level=level,
            schedules=tuple(target.id for target in named if target.type == "schedule"),
            people=tuple(PersonId(target.id) for target in named if target.type == "user"),
        )


def _names_somebody(target: _Target) -> bool:
    """Whether it means a user, or whoever is on call in a schedule (and not everybody who is in its rota)."""
    return target.type == "user" or (
        target.type == "schedule" and target.schedule_mode in {None, "", "currently_on_call"}
    )


def _levels(nodes: Iterable[_Node], above: int | None) -> Iterator[tuple[int | None, Sequence[_Target]]]:
    """Number the levels of a tree; from the first branch on the number is unknown."""
    for node in nodes:
        if node.level is not None and node.type == "level":
            above = None if above is None else above + 1
            yield above, node.level.targets
        if node.if_else is not None and node.type == "if_else":
            above = None
            yield from _levels(node.if_else.then_path, None)
            yield from _levels(node.if_else.else_path, None)


async def _incidents(operation: Operation, gathered: Gathered, size: Params) -> None:
    """An open escalation is what is on fire for its path; roles come from the incidents that it belongs to."""
    status = (("status[one_of]", "triggered"), ("status[one_of]", "acked"), ("page_size", "50"))
    escalations = await operation.cursor_rows("/v2/escalations", status, _escalations, _by_id, "after")
    live = (*size, ("status_category[one_of]", "live"))
    incidents = await operation.cursor_rows("/v2/incidents", live, _live_incidents, _by_id, "after")
    roles = {row.id: row.incident_role_assignments for row in incidents}
    for row in escalations:
        if row.status in _STATUS:
            held = [each for related in row.related_incidents or () for each in roles.get(related.id, ())]
            gathered.incidents.append(_incident(row, held))


def _incident(row: _Escalation, held: Iterable[_Assignment]) -> Incident:
    parts = [
        Responder(person=PersonId(each.assignee.id), involvement=Involvement.ROLE, role=_role(each.role.name))
        for each in held
        # Who reported an incident need not be at it.
        if each.assignee is not None and each.role.role_type != "reporter"
    ]
    if row.status == "acked":
        parts.extend(
            Responder(person=PersonId(user.id), involvement=Involvement.ACKNOWLEDGED, since=in_utc(event.occurred_at))
            for event in row.events
            if event.event == "acked"
            for user in event.users or ()
        )
    creator = row.creator
    return Incident(
        id=IncidentId(row.id),
        title=row.title or row.id,
        service=None,
        policy=row.escalation_path_id,
        status=_STATUS[row.status],
        responders=tuple(dict.fromkeys(parts)),
        opened_by=PersonId(creator.user.id) if creator is not None and creator.user is not None else None,
        is_opened_by_machine=creator is not None
        and creator.user is None
        and (creator.alert is not None or creator.workflow is not None),
        opened_at=in_utc(row.created_at),
    )


def _role(name: str) -> str:
    """`Incident Lead` as `incident_lead`, as configurations and policies write roles."""
    return "_".join(name.lower().split())


def _iso(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"
