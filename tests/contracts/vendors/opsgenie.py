"""Opsgenie: `data` with `paging.next`, timelines with recipients."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import opsgenie


def period(start: str, end: str, user: str, kind: str = "default") -> dict[str, Any]:
    recipient = {"id": user, "type": "user", "name": f"{user.lower()}@example.com"}
    return {"startDate": start, "endDate": end, "type": kind, "recipient": recipient}


def timeline(*periods: dict[str, Any]) -> dict[str, Any]:
    rotation = {"id": "ROT1", "name": "Primary", "order": 1.0, "periods": list(periods)}
    return {"_parent": {"id": "S1", "enabled": True}, "finalTimeline": {"rotations": [rotation]}}


def rule(minutes: int, kind: str, id_: str) -> dict[str, Any]:
    return {
        "condition": "if-not-acked",
        "notifyType": "default",
        "delay": {"timeAmount": minutes, "timeUnit": "minutes"},
        "recipient": {"type": kind, "id": id_},
    }


WORLD: dict[str, Any] = {
    "/v2/alerts": [],
    "/v2/escalations": [
        {"id": "E1", "name": "Payments", "rules": [rule(0, "schedule", "S1"), rule(5, "user", "U3")], "repeat": None}
    ],
    "/v2/schedules": [{"id": "S1", "name": "Primary", "timezone": "Europe/Paris", "enabled": True}],
    "/v2/schedules/S1/timeline": timeline(
        period("2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z", "U1"),
        period("2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z", "U2"),
    ),
    "/v2/users": [
        {"id": f"U{n}", "username": f"u{n}@example.com", "fullName": f"Person {n}", "blocked": False} for n in (1, 2, 3)
    ],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = opsgenie.Config(api_key=Secret(CANARY), base_url=url, page_size=1, request_timeout=REQUEST_TIMEOUT, **more)
    return opsgenie.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        if path not in world:
            return NOT_FOUND
        found = world[path]
        if "offset" not in query:
            return json({"data": found, "took": 0.1, "requestId": "r"})
        offset, limit = int(query["offset"]), int(query["limit"])
        more = offset + limit < len(found)
        following = {"next": f"https://api.opsgenie.com{path}?offset={offset + limit}&limit={limit}"} if more else {}
        return json({"data": found[offset : offset + limit], "paging": following, "totalCount": len(found)})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/v2/escalations": [], "/v2/schedules/S1/timeline": timeline()}),
    holders=frozenset({("U1", 1), ("U3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
