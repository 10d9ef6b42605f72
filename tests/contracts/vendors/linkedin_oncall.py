"""LinkedIn Oncall: bare arrays without pages, instants as Unix seconds."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.ports import Clock, Source
from watchkey.sources import linkedin_oncall


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def event(user: str, role: str, start: str, end: str, team: str = "pay ments") -> dict[str, Any]:
    return {"id": 1, "start": at(start), "end": at(end), "team": team, "role": role, "user": user, "full_name": user}


def user(name: str, active: int = 1) -> dict[str, Any]:
    return {
        "id": 1,
        "name": name,
        "full_name": name.title(),
        "active": active,
        "contacts": {"email": f"{name}@example.com"},
    }


WORLD: dict[str, Any] = {
    "/events": [
        event("one", "primary", "2026-07-01T07:00:00", "2026-07-01T16:00:00"),
        event("two", "primary", "2026-07-01T16:00:00", "2026-07-02T07:00:00"),
        event("three", "secondary", "2026-07-01T07:00:00", "2026-07-08T07:00:00"),
        event("four", "vacation", "2026-07-01T07:00:00", "2026-07-08T07:00:00"),
    ],
    "/teams": ["pay ments"],
    "/teams/pay%20ments": {"name": "pay ments", "services": ["checkout"], "scheduling_timezone": "Europe/Paris"},
    "/services": ["checkout"],
    "/users": [user("one"), user("two"), user("three"), user("four", 0)],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = linkedin_oncall.Config(base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return linkedin_oncall.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path = split(target)[0].removeprefix("/api/v0")
        return json(world[path]) if path in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/events": []}),
    holders=frozenset({("one", 1), ("three", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, teams=("SGONE",)),
    is_paged=False,
)
