"""ilert: bare arrays, read until a page is not full."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import ilert


def user(number: int) -> dict[str, Any]:
    return {"id": number, "firstName": "Person", "lastName": str(number), "email": f"u{number}@example.com"}


def on_call(number: int, level: int, start: str | None, end: str | None) -> dict[str, Any]:
    return {
        "user": user(number),
        "escalationPolicy": {"id": 7, "name": "Payments", "escalationRules": []},
        "schedule": {"id": 5, "name": "Primary", "type": "STATIC"} if start else None,
        "start": start,
        "end": end,
        "escalationLevel": level,
    }


WORLD: dict[str, Any] = {
    "/api/alerts": [],
    "/api/on-calls": [
        on_call(1, 1, "2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z"),
        on_call(2, 1, "2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z"),
        on_call(3, 2, None, None),
    ],
    "/api/escalation-policies": [{"id": 7, "name": "Payments", "escalationRules": []}],
    "/api/alert-sources": [{"id": 9, "name": "Checkout", "escalationPolicy": {"id": 7, "name": "Payments"}}],
    "/api/schedules": [{"id": 5, "name": "Primary", "timezone": "Europe/Berlin"}],
    "/api/users": [user(1), user(2), user(3)],
    "/api/schedules/5/overrides": [],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    options: dict[str, Any] = {"page_size": 3} | more
    config = ilert.Config(api_key=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **options)
    return ilert.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        if path not in world:
            return NOT_FOUND
        start, most = int(query.get("start-index", "0")), int(query.get("max-results", "999"))
        return json(world[path][start : start + most])

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/api/on-calls": []}),
    holders=frozenset({("1", 1), ("3", 2)}),
    # SGONE is no number, and every schedule of ilert is: what is not there cannot be called that.
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("404",)),
    unknown="404",
)
