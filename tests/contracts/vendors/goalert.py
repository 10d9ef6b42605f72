"""GoAlert: one GraphQL document with a cursor for each list."""

from collections.abc import Callable
from typing import Any

import msgspec

from tests.contracts.answers import NOT_FOUND, json
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import goalert

DAY = ("2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z")
NIGHT = ("2026-07-01T16:00:00Z", "2026-07-02T07:00:00Z")

WORLD: dict[str, Any] = {
    "services": [{"id": "sv1", "name": "Checkout", "escalationPolicyID": "e1"}],
    "policies": [
        {
            "id": "e1",
            "name": "Payments",
            "steps": [
                {"stepNumber": 0, "targets": [{"id": "s1", "type": "schedule"}]},
                {"stepNumber": 1, "targets": [{"id": "u3", "type": "user"}]},
            ],
        }
    ],
    "schedules": [
        {
            "id": "s1",
            "name": "Primary",
            "timeZone": "Europe/Paris",
            "shifts": [
                {"userID": "u1", "start": DAY[0], "end": DAY[1], "truncated": False},
                {"userID": "u2", "start": NIGHT[0], "end": NIGHT[1], "truncated": False},
            ],
        }
    ],
    "users": [{"id": f"u{n}", "name": f"Person {n}", "email": f"u{n}@example.com"} for n in (1, 2, 3)],
}


def build(url: str, clock: Clock, name: SourceName, **more: Any) -> Source:
    config = goalert.Config(token=Secret(CANARY), base_url=url, request_timeout=REQUEST_TIMEOUT, **more)
    return goalert.build(config, name=name, clock=clock)


def connection(rows: list[Any], cursor: str | None) -> dict[str, Any]:
    """Two rows a page; the cursor is how many came before."""
    start = int(cursor or 0)
    end = min(start + 2, len(rows))
    info = {"hasNextPage": end < len(rows), "endCursor": str(end) if rows else None}
    return {"nodes": rows[start:end], "pageInfo": info}


def reply(world: dict[str, Any]) -> Callable[[str], bytes]:
    def answer(target: str) -> bytes:
        path, _, body = target.partition(" ")
        if path != "/api/graphql":
            return NOT_FOUND
        variables = msgspec.json.decode(body)["variables"]
        return json({"data": {name: connection(rows, variables[name]) for name, rows in world.items()}})

    return answer


CASE = SourceCase(
    build=build,
    reply=reply(WORLD),
    empty=reply(WORLD | {"policies": [], "services": [], "schedules": []}),
    holders=frozenset({("u1", 1), ("u3", 2)}),
    build_unknown=lambda url, clock, name: build(url, clock, name, schedules=("SGONE",)),
)
