"""Splunk On-Call: schedules by team, policies by slug, no pages."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import splunk_oncall


def name(user: str | None) -> dict[str, Any]:
    return {"username": user} if user else {}


def roll(user: str, start: str, end: str) -> dict[str, Any]:
    return {"start": start, "end": end, "onCallUser": name(user), "isRoll": True}


ENTRY = {
    "onCallUser": name("one"),
    "onCallType": "rotation_group",
    "rotationName": "Primary",
    "shiftName": "day",
    "rolls": [
        roll("one", "2026-07-01T01:00:00-06:00", "2026-07-01T10:00:00-06:00"),
        roll("two", "2026-07-01T10:00:00-06:00", "2026-07-02T01:00:00-06:00"),
    ],
}
DIRECT = {"onCallUser": name("three"), "onCallType": "user", "rolls": []}


def schedule(*entries: dict[str, Any], overrides: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    policy = {"name": "High", "slug": "pol-1"}
    rows = [{"policy": policy, "schedule": list(entries), "overrides": overrides or []}]
    return {"team": {"name": "Payments", "slug": "team-1"}, "schedules": rows}


WORLD: dict[str, Any] = {
    "/v1/team": [{"name": "Payments", "slug": "team-1"}],
    "/v2/team/team-1/oncall/schedule": schedule(ENTRY, DIRECT),
    "/v1/policies/pol-1": {
        "name": "High",
        "slug": "pol-1",
        "steps": [
            {
                "timeout": 0,
                "entries": [{"executionType": "rotation_group", "rotationGroup": {"slug": "r", "label": "Primary"}}],
            },
            {"timeout": 5, "entries": [{"executionType": "user", "user": name("three")}]},
        ],
    },
    "/v2/user": {
        "users": [
            {"username": user, "firstName": user.title(), "lastName": "X", "email": f"{user}@example.com"}
            for user in ("one", "two", "three")
        ]
    },
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = splunk_oncall.Config(
        api_id="id", api_key=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more
    )
    return splunk_oncall.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path = split(target)[0].removeprefix("/api-public")
        return json(world[path]) if path in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/v2/team/team-1/oncall/schedule": schedule()}),
    holders=frozenset({("one", 1), ("three", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, teams=("SGONE",)),
    is_paged=False,
)
