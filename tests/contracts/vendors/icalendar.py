"""An iCalendar feed: one document, and the address is the credential."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.contracts.answers import NOT_FOUND
from tests.contracts.source_case import CANARY, SourceCase
from tests.fakes.scripted_http import answer
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import icalendar

PEOPLE = {"One": "one@example.com", "Two": "two@example.com"}


def event(summary: str, start: str, end: str, *more: str, uid: str = "") -> str:
    """Start and end with their parameters: `:20260701T070000Z`, `;TZID=Europe/Paris:20260701T090000`."""
    lines = ["BEGIN:VEVENT", f"UID:{uid or summary + start}", f"SUMMARY:{summary}", f"DTSTART{start}"]
    return "\r\n".join([*lines, *([f"DTEND{end}"] if end else []), *more, "END:VEVENT"])


def feed(*events: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN", *events, "END:VCALENDAR", ""])


def build(url: str, clock: Clock, name: SourceName, *, path: str = f"/feeds/{CANARY}.ics", **more: Any) -> Source:
    options: dict[str, Any] = {"people": PEOPLE} | more
    config = icalendar.Config(url=Secret(url + path), request_timeout=timedelta(seconds=1), **options)
    return icalendar.build(config, name=name, clock=clock)


def reply(text: str) -> Callable[[str], bytes]:
    return lambda target: answer(body=text.encode()) if target == f"/feeds/{CANARY}.ics" else NOT_FOUND


CASE = SourceCase(
    build=build,
    reply=reply(
        feed(
            event("[L1] One", ":20260701T070000Z", ":20260701T160000Z"),
            event("Two", ":20260701T160000Z", ":20260702T070000Z"),
        )
    ),
    empty=reply(feed()),
    holders=frozenset({("one@example.com", None)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, path="/gone.ics"),
    unknown="there is no such thing",
    is_paged=False,
)
