"""Datadog On-Call: JSON:API documents with what was asked to come along."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import datadog_oncall


def ref(kind: str, id_: str) -> dict[str, Any]:
    return {"id": id_, "type": kind}


def user(id_: str, status: str = "active") -> dict[str, Any]:
    return ref("users", id_) | {"attributes": {"email": f"{id_}@example.com", "name": id_, "status": status}}


def shift(id_: str, person: str | None, start: str, end: str) -> dict[str, Any]:
    data = ref("users", person) if person else None
    return ref("shifts", id_) | {
        "attributes": {"start": start, "end": end},
        "relationships": {"user": {"data": data}},
    }


def position(name: str, *shifts: str) -> dict[str, Any]:
    return ref("schedule_oncall_responder", f"s1-{name}") | {
        "attributes": {"position": name},
        "relationships": {"shifts": {"data": [ref("shifts", each) for each in shifts]}},
    }


def responders(*included: dict[str, Any]) -> dict[str, Any]:
    positions = [each for each in included if each["type"] == "schedule_oncall_responder"]
    related = {"responders": {"data": [ref(each["type"], each["id"]) for each in positions]}}
    return {"data": ref("schedule_oncall_responders", "s1-1") | {"relationships": related}, "included": list(included)}


def step(id_: str, *targets: dict[str, Any]) -> dict[str, Any]:
    return ref("steps", id_) | {
        "attributes": {"assignment": "default"},
        "relationships": {"targets": {"data": list(targets)}},
    }


def policy(*steps: dict[str, Any]) -> dict[str, Any]:
    related = {"steps": {"data": [ref("steps", each["id"]) for each in steps]}}
    data = ref("policies", "e1") | {"attributes": {"name": "Payments"}, "relationships": related}
    return {"data": data, "included": [*steps, user("u3")]}


WORLD: dict[str, Any] = {
    "/schedules/s1": {
        "data": ref("schedules", "s1") | {"attributes": {"name": "Primary", "time_zone": "Europe/Paris"}}
    },
    "/schedules/s1/responders": responders(
        position("current", "h1"),
        position("next", "h2"),
        shift("h1", "u1", "2026-07-01T14:00:00.138754+02:00", "2026-07-01T18:00:00+02:00"),
        shift("h2", "u2", "2026-07-01T18:00:00+02:00", "2026-07-02T09:00:00+02:00"),
        user("u1"),
        user("u2"),
    ),
    "/escalation-policies/e1": policy(step("p1", ref("schedules", "s1")), step("p2", ref("users", "u3"))),
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    options: dict[str, Any] = {"schedules": ("s1",), "escalation_policies": ("e1",)} | more
    config = datadog_oncall.Config(
        api_key=Secret(CANARY),
        application_key=Secret(CANARY),
        base_url=url,
        request_timeout=REQUEST_TIMEOUT,
        **options,
    )
    return datadog_oncall.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path = split(target)[0].removeprefix("/api/v2/on-call")
        return json(world[path]) if path in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(
        WORLD | {"/schedules/s1/responders": responders(position("current")), "/escalation-policies/e1": policy()}
    ),
    holders=frozenset({("u1", 1), ("u3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
    is_paged=False,
)
