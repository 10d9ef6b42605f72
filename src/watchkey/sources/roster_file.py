"""A roster kept in a YAML file, complete enough for a team without any vendor: people, rotas, policies, incidents.

Times without an offset are wall-clock times in the schedule's zone. A date alone means the handoff of that day in a
layer, and midnight in an override. Levels are listed from the one that is paged first. See `docs/roster-file.md`.
"""

import asyncio
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    EscalationPolicy,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Responder,
    Roster,
    Schedule,
    Service,
    Shift,
)
from watchkey.ports import Clock, Source
from watchkey.rules.located import ConfigError, Hooks, Located, load, nearest, parse_duration
from watchkey.rules.rotation import Layer, Override, Restriction, Rota, render, wall_to_utc
from watchkey.rules.yaml_nodes import SIZE_MAX
from watchkey.rules.yaml_nodes import Path as Place

LOOK_BACK: Final = timedelta(hours=12)
"""Shifts that ended so long ago are told too, so that a refusal can say when one's own shift ended."""

OVERRIDE_MAX: Final = timedelta(days=366)
"""A longer override is a typing error, or a rota of its own."""

_YEARS: Final = (1971, 9000)
"""Far enough from the ends of the calendar that no zone's arithmetic leaves it."""

_DAY: Final = timedelta(days=1)
_WEEK: Final = timedelta(days=7)
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the roster is."""

    path: Path
    """The YAML file, read again at each poll."""


# -- the shape of the file ---------------------------------------------------------------------------------------


class Weekday(StrEnum):
    """A day of the week as the file writes it."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


@dataclass(frozen=True, slots=True)
class WallTime:
    """`09:00`, or `mon 09:00`; `24:00` is midnight at the end of the day."""

    at: time
    weekday: int | None = None
    is_next_day: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, a local date and time, or an instant with its offset."""

    day: date
    at: time | None = None
    instant: datetime | None = None

    def in_zone(self, zone: tzinfo, default: time) -> datetime:
        """Return the instant meant, in UTC; `default` is the time of a date alone."""
        if self.instant is not None:
            return self.instant
        return wall_to_utc(datetime.combine(self.day, default if self.at is None else self.at), zone)


@dataclass(frozen=True, slots=True)
class TurnLength:
    """`daily`, `weekly`, or a number of hours or days: `12h`, `2d`, `14d`."""

    length: timedelta


_Level = Annotated[int, msgspec.Meta(ge=1, le=100)]


class PersonEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One person, under their id."""

    name: str
    emails: tuple[str, ...] = ()
    active: bool = True


class WindowEntry(msgspec.Struct, frozen=True, kw_only=True):
    """When a layer counts: times on some days, or from one day and time of the week to another."""

    starts: WallTime = msgspec.field(name="from")
    ends: WallTime = msgspec.field(name="to")
    days: tuple[Weekday, ...] | None = None


class LayerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """People who take turns."""

    participants: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    turn: TurnLength
    handoff: WallTime
    starts: Moment = msgspec.field(name="from")
    ends: Moment | None = msgspec.field(name="until", default=None)
    only: tuple[WindowEntry, ...] = ()


class OverrideEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody stands in; `by` is who arranged it, and without it the shift counts as made by its beneficiary."""

    person: str
    starts: Moment = msgspec.field(name="from")
    ends: Moment = msgspec.field(name="to")
    by: str | None = None
    at: Moment | None = None


class ScheduleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A rota, under its id. Later layers win over earlier ones, overrides over layers, later overrides over earlier."""

    name: str
    zone: str = "UTC"
    layers: tuple[LayerEntry, ...] = ()
    overrides: tuple[OverrideEntry, ...] = ()


class LevelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who is paged at one level; `people` are paged whatever the rota says, for ever, and count as permanent."""

    schedules: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


class PolicyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who is paged in which order, under its id. A level may be written as the list of its schedules."""

    name: str
    levels: tuple[tuple[str, ...] | LevelEntry, ...]


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What breaks, under its id."""

    name: str
    policy: str | None = None
    depends_on: tuple[str, ...] = ()


class ResponderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One person's part: `as` is `acknowledged`, `joined`, `assigned`, …; or `role` names what they are there for."""

    person: str
    involvement: Involvement = msgspec.field(name="as", default=Involvement.ROLE)
    role: str | None = None
    since: Moment | None = None


class IncidentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Something on fire, under its id."""

    title: str
    status: IncidentStatus
    service: str | None = None
    policy: str | None = None
    responders: tuple[ResponderEntry, ...] = ()
    opened_by: str | None = None
    opened_at: Moment | None = None
    escalation_level: _Level | None = None


class RosterDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The file as a whole."""

    people: dict[str, PersonEntry]
    schedules: dict[str, ScheduleEntry] = {}
    policies: dict[str, PolicyEntry] = {}
    services: dict[str, ServiceEntry] = {}
    incidents: dict[str, IncidentEntry] = {}


_CLOCK: Final = r"(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])"
_WALL_TIME: Final = re.compile(rf"((?P<day>[a-z]+) )?{_CLOCK}", re.ASCII | re.IGNORECASE)
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?", re.ASCII)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def _read_wall_time(value: Any) -> WallTime:
    found = _WALL_TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a time of day; expected a time such as 09:00, or mon 09:00")
    day = found["day"].lower() if found["day"] else None
    if day is not None and day not in _WEEKDAYS:
        raise ValueError(f"{day!r} is no day of the week; expected one of {', '.join(_WEEKDAYS)}")
    hour, minute = int(found["hour"]), int(found["minute"])
    if hour == 24 and minute:
        raise ValueError("no day has this time; expected 24:00 at the latest")
    return WallTime(time(hour % 24, minute), None if day is None else _WEEKDAYS.index(day), hour == 24)


def _read_moment(value: Any) -> Moment:
    shape = "a date, a date and time, or an instant: 2026-03-01, 2026-03-01 18:00, 2026-03-01T18:00:00Z"
    if not isinstance(value, str) or not (_LOCAL.fullmatch(value) or _INSTANT.fullmatch(value)):
        raise ValueError(f"not a time; expected {shape}")
    try:
        read = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"no such time in the calendar; expected {shape}") from error
    if not _YEARS[0] <= read.year <= _YEARS[1]:
        raise ValueError(f"a year out of range; expected {shape}")
    if read.tzinfo is not None:
        return Moment(read.date(), None, read.astimezone(UTC))
    return Moment(read.date(), read.time() if len(value) > len("2026-03-01") else None)


def _read_turn(value: Any) -> TurnLength:
    words = {"daily": _DAY, "weekly": _WEEK}
    try:
        length = words[value] if value in words else parse_duration(value)
    except (TypeError, ValueError) as error:
        raise ValueError("no length of a turn; expected daily, weekly, 12h, 2d or the like") from error
    if length < timedelta(hours=1) or length % timedelta(hours=1) or length > 366 * _DAY:
        raise ValueError("a turn lasts whole hours, at least one, at most a year")
    return TurnLength(length)


_HOOKS: Final[Hooks] = {WallTime: _read_wall_time, Moment: _read_moment, TurnLength: _read_turn}


# -- from the file to rotas --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterText:
    """A file that was read and checked: everything that does not depend on the time of asking."""

    document: RosterDocument
    rotas: tuple[Rota, ...]
    incidents: tuple[Incident, ...]


class _Checker:
    """Turns a document into rotas; every name and time that makes no sense is an error with its place."""

    def __init__(self, located: Located, document: RosterDocument) -> None:
        self.located = located
        self.document = document

    def known(self, path: Place, name: str, among: Mapping[str, object], what: str) -> None:
        if name not in among:
            raise self.located.error(path, f"{name[:80]!r} is not among the {what}", suggestion=nearest(name, among))

    def all_known(self, path: Place, names: Sequence[str], among: Mapping[str, object], what: str) -> None:
        for i, name in enumerate(names):
            self.known((*path, i), name, among, what)

    def check(self) -> RosterText:
        document = self.document
        for policy_id, policy in document.policies.items():
            for i, level in enumerate(policy.levels):
                path: Place = ("policies", policy_id, "levels", i)
                if isinstance(level, LevelEntry):
                    self.all_known((*path, "schedules"), level.schedules, document.schedules, "schedules")
                    self.all_known((*path, "people"), level.people, document.people, "people")
                else:
                    self.all_known(path, level, document.schedules, "schedules")
        for service_id, service in document.services.items():
            if service.policy is not None:
                self.known(("services", service_id, "policy"), service.policy, document.policies, "policies")
            path = ("services", service_id, "depends_on")
            self.all_known(path, service.depends_on, document.services, "services")
        return RosterText(
            document=document,
            rotas=tuple(self.rota(name, entry) for name, entry in document.schedules.items()),
            incidents=tuple(self.incident(name, entry) for name, entry in document.incidents.items()),
        )

    def rota(self, name: str, entry: ScheduleEntry) -> Rota:
        path: Place = ("schedules", name)
        try:
            zone = ZoneInfo(entry.zone)
        except (ValueError, OSError, LookupError):
            zones = available_timezones()
            raise self.located.error(
                (*path, "zone"),
                f"{entry.zone[:60]!r} is no time zone",
                expected="a name such as Europe/Berlin",
                suggestion=nearest(entry.zone, zones),
            ) from None
        return Rota(
            schedule=name,
            zone=zone,
            layers=tuple(self.layer((*path, "layers", i), one, zone) for i, one in enumerate(entry.layers)),
            overrides=tuple(self.override((*path, "overrides", i), one, zone) for i, one in enumerate(entry.overrides)),
        )

    def layer(self, path: Place, entry: LayerEntry, zone: tzinfo) -> Layer:
        self.all_known((*path, "participants"), entry.participants, self.document.people, "people")
        is_weekly = entry.turn.length % _WEEK == timedelta(0)
        if is_weekly != (entry.handoff.weekday is not None):
            expected = "a day and a time such as mon 09:00" if is_weekly else "a time such as 09:00"
            message = "turns of whole weeks change on a day of the week, others do not"
            raise self.located.error((*path, "handoff"), message, expected=expected)
        if entry.handoff.is_next_day:
            raise self.located.error((*path, "handoff"), "24:00 is no handoff", expected="00:00 of the next day")
        starts_at = entry.starts.in_zone(zone, entry.handoff.at)
        ends_at = None if entry.ends is None else entry.ends.in_zone(zone, entry.handoff.at)
        if ends_at is not None and ends_at <= starts_at:
            raise self.located.error((*path, "until"), "the layer ends before it starts")
        return Layer(
            participants=tuple(PersonId(person) for person in entry.participants),
            turn=entry.turn.length,
            handoff=entry.handoff.at,
            weekday=entry.handoff.weekday,
            starts_at=starts_at,
            ends_at=ends_at,
            restrictions=tuple(
                restriction
                for i, window in enumerate(entry.only)
                for restriction in self.restrictions((*path, "only", i), window)
            ),
        )

    def restrictions(self, path: Place, window: WindowEntry) -> Iterator[Restriction]:
        starts, ends = window.starts, window.ends
        has_days = (starts.weekday is not None, ends.weekday is not None)
        if starts.is_next_day:
            raise self.located.error((*path, "from"), "24:00 begins nothing", expected="00:00 of the next day")
        if has_days == (False, False):
            later = int(ends.is_next_day or ends.at <= starts.at)
            for day in window.days if window.days is not None else tuple(Weekday):
                yield Restriction(weekday=_WEEKDAYS.index(day), starts=starts.at, ends=ends.at, days_later=later)
        elif starts.weekday is not None and ends.weekday is not None and window.days is None:
            later = (ends.weekday - starts.weekday) % 7 + ends.is_next_day
            if later == 0 and ends.at <= starts.at:
                later = 7
            yield Restriction(weekday=starts.weekday, starts=starts.at, ends=ends.at, days_later=min(later, 7))
        else:
            message = "a window names its days either in `days`, or in both `from` and `to`"
            raise self.located.error(path, message)

    def override(self, path: Place, entry: OverrideEntry, zone: tzinfo) -> Override:
        self.known((*path, "person"), entry.person, self.document.people, "people")
        if entry.by is not None:
            self.known((*path, "by"), entry.by, self.document.people, "people")
        starts_at, ends_at = entry.starts.in_zone(zone, time()), entry.ends.in_zone(zone, time())
        if ends_at <= starts_at:
            raise self.located.error((*path, "to"), "the override ends before it starts")
        if ends_at - starts_at > OVERRIDE_MAX:
            raise self.located.error((*path, "to"), "the override is longer than a year")
        return Override(
            person=PersonId(entry.person),
            starts_at=starts_at,
            ends_at=ends_at,
            created_by=None if entry.by is None else PersonId(entry.by),
            created_at=None if entry.at is None else entry.at.in_zone(zone, time()),
        )

    def incident(self, name: str, entry: IncidentEntry) -> Incident:
        path: Place = ("incidents", name)
        if entry.service is not None:
            self.known((*path, "service"), entry.service, self.document.services, "services")
        if entry.policy is not None:
            self.known((*path, "policy"), entry.policy, self.document.policies, "policies")
        if entry.opened_by is not None:
            self.known((*path, "opened_by"), entry.opened_by, self.document.people, "people")
        return Incident(
            id=IncidentId(name),
            title=entry.title,
            service=entry.service,
            policy=entry.policy,
            status=entry.status,
            responders=tuple(self.responder((*path, "responders", i), one) for i, one in enumerate(entry.responders)),
            opened_by=None if entry.opened_by is None else PersonId(entry.opened_by),
            is_opened_by_machine=entry.opened_by is None,
            opened_at=None if entry.opened_at is None else entry.opened_at.in_zone(UTC, time()),
            escalation_level=entry.escalation_level,
        )

    def responder(self, path: Place, entry: ResponderEntry) -> Responder:
        self.known((*path, "person"), entry.person, self.document.people, "people")
        if (entry.involvement is Involvement.ROLE) != (entry.role is not None):
            ways = ", ".join(one for one in Involvement if one is not Involvement.ROLE)
            raise self.located.error(path, "a responder has either a role or an `as`", expected=f"as: one of {ways}")
        return Responder(
            person=PersonId(entry.person),
            involvement=entry.involvement,
            role=entry.role,
            since=None if entry.since is None else entry.since.in_zone(UTC, time()),
        )


def read_roster_text(text: str | bytes, filename: str) -> RosterText:
    """Read and check a roster file. Raises `ConfigError`."""
    return read_located_roster(load(text, filename))


def read_located_roster(located: Located) -> RosterText:
    """Read and check a roster that is a part of another file. Raises `ConfigError`."""
    return _Checker(located, located.convert(RosterDocument, hooks=_HOOKS)).check()


# -- from rotas to a roster --------------------------------------------------------------------------------------


def make_roster(text: RosterText, *, source: SourceName, now: datetime, window: timedelta) -> Roster:
    """Render what the file says from shortly before `now` to `now + window`."""
    document = text.document
    places: dict[str, list[tuple[str, int]]] = {name: [] for name in document.schedules}
    direct: list[Shift] = []
    for policy_id, policy in document.policies.items():
        for level, entry in enumerate(map(_level, policy.levels), start=1):
            for schedule in dict.fromkeys(entry.schedules):
                places[schedule].append((policy_id, level))
            direct.extend(_direct(person, policy_id, level) for person in dict.fromkeys(entry.people))
    return Roster(
        source=source,
        taken_at=now,
        window_ends_at=now + window,
        people=tuple(
            Person(id=PersonId(name), name=one.name, emails=one.emails, active=one.active)
            for name, one in document.people.items()
        ),
        schedules=tuple(Schedule(id=n, name=one.name, time_zone=one.zone) for n, one in document.schedules.items()),
        policies=tuple(
            EscalationPolicy(
                id=name, name=one.name, schedules_by_level=tuple(_level(level).schedules for level in one.levels)
            )
            for name, one in document.policies.items()
        ),
        services=tuple(
            Service(id=name, name=one.name, policy=one.policy, depends_on=one.depends_on)
            for name, one in document.services.items()
        ),
        shifts=(
            *(
                placed
                for rota in text.rotas
                for shift in render(rota, now - LOOK_BACK, now + window)
                for placed in _placed(shift, places[rota.schedule])
            ),
            *direct,
        ),
        incidents=text.incidents,
    )


def _level(entry: tuple[str, ...] | LevelEntry) -> LevelEntry:
    return entry if isinstance(entry, LevelEntry) else LevelEntry(schedules=entry)


def _placed(shift: Shift, places: Iterable[tuple[str, int]]) -> Iterator[Shift]:
    """Yield the shift once for each level of a policy that pages its schedule; once without, when none does."""
    is_paged = False
    for policy, level in places:
        is_paged = True
        yield _at_level(shift, policy, level)
    if not is_paged:
        yield shift


def _at_level(shift: Shift, policy: str, level: int) -> Shift:
    # Written out: `dataclasses.replace` costs three times as much, and this runs for every shift of every poll.
    return Shift(
        person=shift.person,
        schedule=shift.schedule,
        policy=policy,
        level=level,
        starts_at=shift.starts_at,
        ends_at=shift.ends_at,
        provenance=shift.provenance,
        created_by=shift.created_by,
    )


def _direct(person: str, policy: str, level: int) -> Shift:
    return Shift(
        person=PersonId(person),
        policy=policy,
        level=level,
        starts_at=None,
        ends_at=None,
        end_kind=EndKind.PERMANENT,
        provenance=Provenance.PERMANENT,
    )


# -- the source --------------------------------------------------------------------------------------------------


class RosterFile:
    """A source that reads a file at each poll; a file that cannot be understood changes nothing."""

    def __init__(self, path: Path, *, name: SourceName) -> None:
        self._path: Final = path
        self._name: Final = name
        self._last: tuple[bytes, RosterText] | None = None

    @property
    def name(self) -> SourceName:
        """The configured name."""
        return self._name

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """Read the file and render it. Raises `Unavailable` when it cannot be read, `Malformed` when it is wrong."""
        return await asyncio.to_thread(self._fetch, now, window)

    async def close(self) -> None:
        """Hold nothing open."""

    def _fetch(self, now: datetime, window: timedelta) -> Roster:
        raw = _read(self._path)
        if self._last is None or self._last[0] != raw:
            try:
                self._last = (raw, read_roster_text(raw, str(self._path)))
            except ConfigError as error:
                more = f" (and {len(error.others)} more)" if error.others else ""
                raise Malformed(f"{error}{more}") from error
        return make_roster(self._last[1], source=self._name, now=now, window=window)


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe put in the file's place must not stop the loop."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    """Read a regular file, up to one byte more than is allowed: the reader then refuses it by name."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            raw = file.read(SIZE_MAX + 1) if is_file else b""
    except OSError as error:
        raise Unavailable(f"{path}: the roster cannot be read: {error.strerror}") from error
    if not is_file:
        raise Unavailable(f"{path}: the roster must be a regular file")
    return raw


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:  # noqa: ARG001 - every adapter is built alike
    """Build the source; the file is first read by the first `fetch`."""
    return RosterFile(config.path, name=name)
