"""Rootly: JSON:API lists with `meta.next_page`, on-calls in one answer."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, page, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import rootly


def row(id_: str, kind: str, **attributes: Any) -> dict[str, Any]:
    return {"id": id_, "type": kind, "attributes": attributes}


def on_call(user: int, level: int, start: str | None, end: str | None, **changes: Any) -> dict[str, Any]:
    attributes = {
        "escalation_policy_id": "e1",
        "escalation_policy_name": "Payments",
        "user_id": user,
        "starts_at": start,
        "ends_at": end,
        "escalation_policy_path_id": "p1",
        "is_default_path": True,
        "escalation_level": level,
        "schedule_id": "s1" if start else None,
        "schedule_name": "Primary" if start else None,
    }
    return row(f"o{user}{level}", "on_call_resources", **(attributes | changes))


WORLD: dict[str, Any] = {
    "alerts": [],
    "oncalls": [
        on_call(1, 1, "2026-07-01T00:00:00-07:00", "2026-07-01T09:00:00-07:00"),
        on_call(2, 1, "2026-07-01T09:00:00-07:00", "2026-07-02T00:00:00-07:00"),
        on_call(3, 2, None, None),
    ],
    "shifts": [],
    "schedules": [row("s1", "schedules", name="Primary")],
    "escalation_policies": [row("e1", "escalation_policies", name="Payments", service_ids=["sv1"])],
    "services": [row("sv1", "services", name="Checkout")],
    "users": [row(str(n), "users", email=f"u{n}@example.com", full_name=f"Person {n}") for n in (1, 2, 3)],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = rootly.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return rootly.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        name = path.removeprefix("/v1/")
        if name not in world:
            return NOT_FOUND
        if name == "oncalls":
            return json({"data": world[name]})
        number = int(query["page[number]"])
        rows, more = page(world[name], number)
        return json({"data": rows, "meta": {"current_page": number, "next_page": number + 1 if more else None}})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"oncalls": []}),
    holders=frozenset({("1", 1), ("3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
