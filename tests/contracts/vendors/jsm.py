"""Jira Service Management operations: `values` with `links.next`, timelines, people from Jira."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import jsm

OPS = "/jsm/ops/api/CLOUD/v1"


def period(start: str, end: str, user: str | None, kind: str = "base", **more: Any) -> dict[str, Any]:
    responder = {"type": "user", "id": user} if user else {"type": "noone"}
    return {"startDate": start, "endDate": end, "type": kind, "responder": responder} | more


def timeline(*periods: dict[str, Any]) -> dict[str, Any]:
    rotation = {"id": "ROT1", "name": "Primary", "order": 1, "periods": list(periods)}
    return {
        "startDate": "2026-06-30T00:00:00Z",
        "endDate": "2026-07-03T00:00:00Z",
        "finalTimeline": {"rotations": [rotation]},
    }


WORLD: dict[str, Any] = {
    "/alerts": [],
    "/schedules": [
        {"id": "S1", "name": "Primary", "timezone": "Europe/Paris", "enabled": True, "teamId": "T1"},
        {"id": "S2", "name": "Second", "timezone": "Europe/Paris", "enabled": True, "teamId": "T1"},
    ],
    "/teams/T1/escalations": [
        {
            "id": "E1",
            "name": "Payments",
            "enabled": True,
            "rules": [
                {
                    "condition": "if-not-acked",
                    "notifyType": "default",
                    "delay": 0,
                    "recipient": {"type": "schedule", "id": "S1"},
                },
                {
                    "condition": "if-not-acked",
                    "notifyType": "default",
                    "delay": 10,
                    "recipient": {"type": "user", "id": "A3"},
                },
            ],
        }
    ],
    "/schedules/S1/timeline": timeline(
        period("2026-07-01T07:00:00Z", "2026-07-01T12:00:00Z", "A1", "historical"),
        period("2026-07-01T12:00:00Z", "2026-07-01T16:00:00Z", "A1"),
        period("2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z", "A2"),
    ),
    "/schedules/S2/timeline": timeline(),
    "people": [
        {"accountId": f"A{n}", "displayName": f"Person {n}", "emailAddress": f"a{n}@example.com", "active": True}
        for n in (1, 2, 3)
    ],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = jsm.Config(
        cloud_id="CLOUD",
        email="bot@example.com",
        token=Secret(CANARY),
        base_url=url,
        page_size=1,
        request_timeout=REQUEST_TIMEOUT,
        **more,
    )
    return jsm.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        if path == "/ex/jira/CLOUD/rest/api/3/user/bulk":
            wanted = parse_qs(urlsplit(target).query)["accountId"]
            people = [person for person in world["people"] if person["accountId"] in wanted]
            return json({"values": people, "isLast": True, "startAt": 0, "maxResults": 90, "total": len(people)})
        found = world.get(path.removeprefix(OPS))
        if not path.startswith(OPS) or found is None:
            return NOT_FOUND
        if isinstance(found, dict):
            return json(found)
        offset, size = int(query["offset"]), int(query["size"])
        more = offset + size < len(found)
        links = {"next": f"https://api.atlassian.com{path}?offset={offset + size}&size={size}"} if more else {}
        return json({"values": found[offset : offset + size], "links": links})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/teams/T1/escalations": [], "/schedules/S1/timeline": timeline()}),
    holders=frozenset({("A1", 1), ("A3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
