"""incident.io: cursors in `pagination_meta`, final entries and overrides, paths as trees."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, page, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import incident_io


def user(id_: str) -> dict[str, Any]:
    return {"id": id_, "name": f"Person {id_}", "email": f"{id_.lower()}@example.com", "role": "responder"}


def entry(start: str, end: str, id_: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"start_at": start, "end_at": end, "rotation_id": "ROT", "layer_id": "L"}
    return row | ({"user": user(id_)} if id_ else {})


def level(*targets: dict[str, Any]) -> dict[str, Any]:
    return {"id": "N", "type": "level", "level": {"targets": list(targets), "time_to_ack_seconds": 300}}


ON_CALL = {"type": "schedule", "id": "S1", "schedule_mode": "currently_on_call", "urgency": "high"}
DIRECT = {"type": "user", "id": "U3", "schedule_mode": "", "urgency": "high"}

WORLD: dict[str, Any] = {
    "escalations": [],
    "incidents": [],
    "escalation_paths": [{"id": "E1", "name": "Payments", "path": [level(ON_CALL), level(DIRECT)]}],
    "schedules": [{"id": "S1", "name": "Primary", "timezone": "Europe/Paris", "current_shifts": []}],
    "schedule_entries": {
        "final": [
            entry("2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z", "U1"),
            entry("2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z", "U2"),
        ],
        "overrides": [],
        "scheduled": [],
    },
    "users": [user(id_) for id_ in ("U1", "U2", "U3")],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = incident_io.Config(api_key=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return incident_io.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        name = path.removeprefix("/v2/")
        if name not in world:
            return NOT_FOUND
        if isinstance(world[name], dict):
            return json({name: world[name]})
        number = int(query.get("after", "1"))
        rows, more = page(world[name], number)
        meta = {"after": str(number + 1), "page_size": 1} if more else {"page_size": 1}
        return json({name: rows, "pagination_meta": meta})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"escalation_paths": [], "schedule_entries": {"final": [], "overrides": [], "scheduled": []}}),
    holders=frozenset({("U1", 1), ("U3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
