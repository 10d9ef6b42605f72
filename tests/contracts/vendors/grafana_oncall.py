"""Grafana OnCall: lists with `next`, `final_shifts` by day, alert groups by state."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, page, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import grafana_oncall

LISTS: dict[str, list[dict[str, Any]]] = {
    "alert_groups": [],
    "routes": [
        {"id": "R1", "integration_id": "C1", "escalation_chain_id": "F1", "position": 0, "is_the_last_route": True}
    ],
    "integrations": [{"id": "C1", "name": "Alertmanager", "type": "alertmanager"}],
    "escalation_policies": [
        {
            "id": "E1",
            "escalation_chain_id": "F1",
            "position": 0,
            "type": "notify_on_call_from_schedule",
            "notify_on_call_from_schedule": "S1",
        },
        {"id": "E2", "escalation_chain_id": "F1", "position": 1, "type": "wait", "duration": 300},
        {
            "id": "E3",
            "escalation_chain_id": "F1",
            "position": 2,
            "type": "notify_persons",
            "persons_to_notify": ["U3"],
        },
    ],
    "escalation_chains": [{"id": "F1", "name": "Payments", "team_id": None}],
    "schedules": [{"id": "S1", "name": "Primary", "type": "web", "time_zone": "Europe/Paris", "on_call_now": ["U1"]}],
    "final_shifts": [
        {
            "user_pk": "U1",
            "user_email": "one@example.com",
            "user_username": "one",
            "shift_start": "2026-07-01T07:00:00Z",
            "shift_end": "2026-07-01T16:00:00Z",
        },
        {
            "user_pk": "U2",
            "user_email": "two@example.com",
            "user_username": "two",
            "shift_start": "2026-07-01T16:00:00Z",
            "shift_end": "2026-07-02T07:00:00Z",
        },
    ],
    "users": [{"id": f"U{n}", "username": f"u{n}", "email": f"u{n}@example.com", "role": "user"} for n in (1, 2, 3)],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = grafana_oncall.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return grafana_oncall.build(config, name=name, clock=clock)


def reply(lists: dict[str, list[dict[str, Any]]]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, query = split(target)
        name = path.rstrip("/").rpartition("/")[2]
        if name not in lists:
            return NOT_FOUND
        number = int(query.get("page", "1"))
        rows, more = page(lists[name], number)
        following = f"http://engine:8080/api/v1/{name}/?page={number + 1}" if more else None
        return json({"count": len(lists[name]), "next": following, "previous": None, "results": rows})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(LISTS),
    empty=reply({name: [] for name in LISTS}),
    holders=frozenset({("U1", 1), ("U3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
