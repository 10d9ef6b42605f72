"""Better Stack: calendars in pages, their events in one answer, people by e-mail."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import better_stack


def calendar(id_: str) -> dict[str, Any]:
    return {"id": id_, "type": "on_call_calendar", "attributes": {"name": f"Tier {id_}", "default_calendar": False}}


def event(email: str, start: str, end: str) -> dict[str, Any]:
    return {"id": 1, "users": [email], "starts_at": start, "ends_at": end}


WORLD: dict[str, Any] = {
    "calendars": [calendar("1"), calendar("2")],
    "included": [
        {
            "id": "7",
            "type": "user",
            "attributes": {"first_name": "Person", "last_name": "One", "email": "One@example.com"},
        }
    ],
    "1": [
        event("One@example.com", "2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z"),
        event("two@example.com", "2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z"),
    ],
    "2": [],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = better_stack.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return better_stack.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        parts = path.removeprefix("/api/v2/on-calls").strip("/").split("/")
        if parts == [""]:
            number = int(query.get("page", "1"))
            base = "https://uptime.betterstack.com/api/v2/on-calls"
            following = f"{base}?page={number + 1}" if number < len(world["calendars"]) else None
            rows = world["calendars"][number - 1 : number]
            return json({"data": rows, "included": world["included"], "pagination": {"next": following}})
        return json({"events": world[parts[0]]}) if parts[1:] == ["events"] and parts[0] in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"1": []}),
    holders=frozenset({("one@example.com", None)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
