"""FireHydrant: lists with a number of the next page, shifts in a schedule's detail."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, page, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import firehydrant


def user(id_: str) -> dict[str, Any]:
    return {"id": id_, "name": f"Person {id_}", "email": f"{id_}@example.com"}


def shift(start: str, end: str, id_: str | None) -> dict[str, Any]:
    return {"id": "h", "start_time": start, "end_time": end, "user": user(id_) if id_ else None}


WORLD: dict[str, Any] = {
    "/teams": [{"id": "t1", "name": "Payments"}],
    "/teams/t1/escalation_policies": [
        {
            "id": "e1",
            "name": "High",
            "steps": [
                {"id": "p2", "position": 1, "targets": [{"id": "u3", "type": "User", "name": "Three"}]},
                {"id": "p1", "position": 0, "targets": [{"id": "s1", "type": "OnCallSchedule", "name": "Primary"}]},
            ],
        }
    ],
    "/teams/t1/on_call_schedules": [{"id": "s1", "name": "Primary", "time_zone": "Europe/Paris"}],
    "/teams/t1/on_call_schedules/s1": {
        "id": "s1",
        "name": "Primary",
        "shifts": [
            shift("2026-07-01T07:00:00.000Z", "2026-07-01T16:00:00.000Z", "u1"),
            shift("2026-07-01T16:00:00.000Z", "2026-07-02T07:00:00.000Z", "u2"),
        ],
    },
    "/users": [user("u1"), user("u2"), user("u3")],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = firehydrant.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return firehydrant.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        found = world.get(path.removeprefix("/v1"))
        if found is None:
            return NOT_FOUND
        if isinstance(found, dict):
            return json(found)
        number = int(query["page"])
        rows, more = page(found, number)
        return json(
            {"data": rows, "pagination": {"count": len(found), "page": number, "next": number + 1 if more else None}}
        )

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/teams/t1/escalation_policies": [], "/teams/t1/on_call_schedules": []}),
    holders=frozenset({("u1", 1), ("u3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, teams=("SGONE",)),
)
