"""An iCalendar feed: who is on call as free text in events. The fallback of last resort.

Whoever can write the calendar can put himself on call, and the feed does not say who did; it names no level either. So
its facts have no level, their grade stays unknown however long ago they were published, and alone they never open what
asks for either. People count only when the configuration names them.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr
from icalendar import Calendar, Event
from msgspec import Meta

from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import Provenance, Shift
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.rules.gathering import Gathered, Id
from watchkey.rules.ical_blocks import Blocks, may_touch

_EVENTS_MAX: Final = 20_000
"""Events that are kept for a closer look, series among them."""
_STEPS_MAX: Final = 100_000
"""Occurrences of one series that are counted through until the window is reached."""
_TOO_FAST: Final = frozenset({"SECONDLY", "MINUTELY"})
_WRITER: Final = PersonId("whoever-writes-the-calendar")
"""Who made every shift of a feed. With a maker, being published early makes no rota of it."""
_PREFIX: Final = re.compile(r"^\s*\[L\d+\]\s*", re.IGNORECASE)


class Config(HttpSourceConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of a source of kind `icalendar`."""

    url: Annotated[Secret, Meta(description="The address of the feed; who knows it can read it, so it is a secret.")]
    people: Annotated[
        Mapping[str, Id],
        Meta(
            description="Who counts: what stands in an event's summary, or an attendee's e-mail address, in any case,"
            " and the id of that person. Any other event is nobody."
        ),
    ]
    schedule: Annotated[Id, Meta(description="The id under which the feed is a schedule.")] = "calendar"
    time_zone: Annotated[
        str, Meta(description="For events without a time zone and of whole days, e.g. `Europe/Berlin`.")
    ] = "UTC"
    bytes_max: Annotated[int, Meta(ge=1024, le=1 << 30, description="The largest feed that is read.")] = (
        256 * 1024 * 1024
    )


def build(config: Config, *, name: SourceName, clock: Clock) -> Source:
    """Make the source; no connection is opened yet. Raises `Refused` for a bad URL, CA file or time zone."""
    parts = urlsplit(config.url.reveal())
    try:
        zone = ZoneInfo(config.time_zone)
    except (ValueError, OSError, KeyError):
        raise Refused(f"{name}: there is no time zone {config.time_zone!r}") from None
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    provider = Provider(
        base_url=f"{parts.scheme}://{parts.netloc}",
        headers={"Accept": "text/calendar"},
        unlisted=None,
        hide_path=True,
        body_bytes=config.bytes_max,
    )
    return HttpSource(config, provider, partial(_read, config, target or "/", zone), name=name, clock=clock)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    """When one event is, and in which zone its series goes on."""

    start: datetime
    length: timedelta
    """By the wall clock, so that a day keeps its length in hours of the clock over a change of the clocks."""
    zone: tzinfo

    def span(self, wall: datetime) -> tuple[datetime, datetime]:
        """The occurrence that begins at that time on the wall, in UTC."""
        return self.utc(wall), self.utc(wall + self.length)

    def utc(self, wall: datetime) -> datetime:
        return wall.replace(tzinfo=self.zone).astimezone(UTC)


async def _read(config: Config, target: str, zone: tzinfo, operation: Operation, gathered: Gathered) -> None:
    gathered.schedule(config.schedule, config.schedule, config.time_zone)
    for person in dict.fromkeys(config.people.values()):
        gathered.person(person, person, [person] if "@" in person else [], active=True)
    events = await _events(operation, target, gathered)
    # Series are counted through: that is work for another thread, so that decisions do not wait for it.
    try:
        await asyncio.to_thread(_take, config, zone, events, gathered)
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        # The library keeps what it cannot read and fails when it is used. The text may quote the feed: left out.
        raise Malformed(f"the calendar has an event that cannot be read: {type(error).__name__}") from None
    gathered.notes.append("a calendar tells neither levels nor who made an entry: a rule that needs one denies")


async def _events(operation: Operation, target: str, gathered: Gathered) -> list[Any]:
    """Read the feed piece by piece and keep the events that may matter."""
    blocks, kept = Blocks(), []
    window = gathered.window
    async with aclosing(operation.stream(target)) as pieces:
        async for piece in pieces:
            for block in blocks.feed(piece):
                if block[:15].upper() == b"BEGIN:VTIMEZONE":
                    _parsed(block)  # the library remembers the zone by its name
                elif may_touch(block, window.since, window.until):
                    kept.extend(_parsed(block))
                if len(kept) > _EVENTS_MAX:
                    raise Malformed(f"the calendar has more than {_EVENTS_MAX} events that repeat or are in the window")
    blocks.close()
    return kept


def _parsed(block: bytes) -> list[Event]:
    text = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//watchkey//EN\r\n" + block + b"\r\nEND:VCALENDAR\r\n"
    try:
        calendar = Calendar.from_ical(text)
    except (ValueError, KeyError, IndexError) as error:
        raise Malformed(f"the calendar has an event that cannot be read: {type(error).__name__}") from None
    return [event for event in calendar.walk("VEVENT") if isinstance(event, Event)]


def _take(config: Config, zone: tzinfo, events: list[Event], gathered: Gathered) -> None:
    """Expand the series; an event that replaces an occurrence stands instead of it, wherever it was moved to."""
    by_name = {text.casefold(): PersonId(person) for text, person in config.people.items()}
    moved: dict[str, set[datetime]] = defaultdict(set)
    for event in events:
        if (instance := event.get("RECURRENCE-ID")) is not None:
            moved[str(event.get("UID", ""))].add(_instant(instance.dt, zone))
    strangers = 0
    for event in events:
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        people = _people(event, by_name)
        strangers += not people
        for start, end in _spans(event, zone, gathered) if people else ():
            if event.get("RECURRENCE-ID") is None and start in moved[str(event.get("UID", ""))]:
                continue
            for person in people:
                gathered.shift(
                    Shift(
                        person=person,
                        schedule=config.schedule,
                        starts_at=start,
                        ends_at=end,
                        provenance=Provenance.UNKNOWN,
                        created_by=_WRITER,
                    )
                )
    if strangers:
        gathered.notes.append(f"{strangers} event(s) name nobody whom `people` knows, so they are nobody's turn")


def _people(event: Event, by_name: Mapping[str, PersonId]) -> list[PersonId]:
    attendees = event.get("ATTENDEE", [])
    attendees = attendees if isinstance(attendees, list) else [attendees]
    texts = [_PREFIX.sub("", str(event.get("SUMMARY", ""))).strip()]
    texts += [re.sub(r"^mailto:", "", str(each), flags=re.IGNORECASE).strip() for each in attendees]
    found = (by_name.get(text.casefold()) for text in texts)
    return list(dict.fromkeys(person for person in found if person is not None))


def _spans(event: Event, zone: tzinfo, gathered: Gathered) -> Iterator[tuple[datetime, datetime]]:
    """Every occurrence in the window, once; those that the series leaves out are left out."""
    when = _time(event, zone)
    since = gathered.window.since.astimezone(when.zone).replace(tzinfo=None) - when.length - timedelta(days=1)
    until = gathered.window.until.astimezone(when.zone).replace(tzinfo=None) + timedelta(days=1)
    without = {_instant(each, zone) for each in _dates(event, "EXDATE")}
    walls = [when.start, *(_wall(each, when.zone) for each in _dates(event, "RDATE"))]
    if event.get("RECURRENCE-ID") is None:
        walls += _series(event, when, until)
    for wall in sorted(set(walls)):
        if since <= wall <= until and when.utc(wall) not in without:
            yield when.span(wall)


def _series(event: Event, when: _Time, until: datetime) -> Iterator[datetime]:
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        if not rule:
            continue
        if _TOO_FAST & {str(each).upper() for each in rule.get("FREQ", [])}:
            raise Malformed("the calendar has a series of seconds or minutes, which no rota is")
        parts = dict(rule)
        if parts.get("UNTIL"):
            # Both by the wall clock of the series: the library compares no zones.
            parts["UNTIL"] = [_wall(parts["UNTIL"][0], when.zone)]
        try:
            occurrences = rrulestr(type(rule)(parts).to_ical().decode(), dtstart=when.start)
            for count, wall in enumerate(occurrences):
                if wall > until:
                    break
                if count >= _STEPS_MAX:
                    raise Malformed(f"the calendar has a series of more than {_STEPS_MAX} turns")
                yield wall
        except (ValueError, TypeError) as error:
            raise Malformed(f"the calendar has a series that cannot be read: {error}") from None


def _time(event: Event, zone: tzinfo) -> _Time:
    started = event.get("DTSTART")
    if started is None:
        raise Malformed("the calendar has an event without a start")
    start = started.dt
    its_zone = start.tzinfo if isinstance(start, datetime) and start.tzinfo is not None else zone
    ended, lasting = event.get("DTEND"), event.get("DURATION")
    wall = _wall(start, its_zone)
    if ended is not None:
        length = _wall(ended.dt, its_zone) - wall
    elif lasting is not None:
        length = lasting.dt
    else:
        length = timedelta(0) if isinstance(start, datetime) else timedelta(days=1)
    if length < timedelta(0):
        raise Malformed("the calendar has an event that ends before it starts")
    return _Time(start=wall, length=length, zone=its_zone)


def _dates(event: Event, name: str) -> Iterator[date]:
    found = event.get(name, [])
    for group in found if isinstance(found, list) else [found]:
        for each in group.dts:
            yield each.dt[0] if isinstance(each.dt, tuple) else each.dt


def _wall(value: date, zone: tzinfo) -> datetime:
    """The time on the wall of that zone, without a zone; a day begins at midnight."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time())
    return value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(zone).replace(tzinfo=None)


def _instant(value: date, zone: tzinfo) -> datetime:
    is_aware = isinstance(value, datetime) and value.tzinfo is not None
    its_zone = value.tzinfo if isinstance(value, datetime) and is_aware else zone
    return _wall(value, its_zone or zone).replace(tzinfo=its_zone).astimezone(UTC)
