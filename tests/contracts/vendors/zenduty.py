"""Zenduty: who is on call now, in bare arrays."""

from collections.abc import Callable
from typing import Any

from tests.contracts.answers import NOT_FOUND, json, split
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import zenduty


def user(name: str) -> dict[str, Any]:
    return {"username": name, "first_name": name.title(), "last_name": "X", "email": f"{name}@example.com"}


def on_call(*names: str) -> dict[str, Any]:
    return {
        "escalation_policy": {"unique_id": "e1", "name": "High", "summary": "", "repeat_policy": 0},
        "team": {"unique_id": "t1", "name": "Payments"},
        "users": [user(name) for name in names],
    }


WORLD: dict[str, Any] = {
    "/teams/": [{"unique_id": "t1", "name": "Payments"}],
    "/teams/t1/oncall/": [on_call("one", "two")],
    "/teams/t1/escalation_policies/": [{"unique_id": "e1", "name": "High"}, {"unique_id": "e2", "name": "Low"}],
    "/teams/t1/services/": [{"unique_id": "sv1", "name": "Checkout", "escalation_policy": "e1"}],
    "/members/": [{"unique_id": name, "user": user(name), "role": 3} for name in ("one", "two", "three")],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = zenduty.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return zenduty.build(config, name=name, clock=clock)


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path = split(target)[0].removeprefix("/api/account")
        return json(world[path]) if path in world else NOT_FOUND

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"/teams/t1/oncall/": [on_call()]}),
    holders=frozenset({("one", None), ("two", None)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, teams=("SGONE",)),
    is_paged=False,
    has_handoffs=False,
)
