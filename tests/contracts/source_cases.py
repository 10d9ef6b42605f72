"""What each source over HTTP brings to the contract suite: answers written by hand after the vendor's shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.fakes.scripted_http import answer
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import pagerduty

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
WINDOW = timedelta(hours=24)
CANARY = "canary-5e11ab"
"""The credential of every case; it must never show."""
REQUEST_TIMEOUT = timedelta(seconds=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCase:
    """One vendor. `reply` is the vendor: target of the request -> raw answer; it must have a list of two pages."""

    build: Callable[[str, Clock, SourceName], Source]
    """Base URL, clock, name; with CANARY as credential and REQUEST_TIMEOUT for one request."""
    reply: Callable[[str], bytes]
    holders: frozenset[tuple[str, int | None]]
    """Person and level of everybody on call at NOW in `reply`."""
    empty: Callable[[str], bytes]
    """The vendor when nobody is on call."""


def _build_pagerduty(url: str, clock: Clock, name: SourceName) -> Source:
    config = pagerduty.Config(
        token=Secret(CANARY), base_url=url, page_size=1, request_timeout=REQUEST_TIMEOUT, allow_writable_token=True
    )
    return pagerduty.build(config, name=name, clock=clock)


def _ref(kind: str, id_: str) -> dict[str, Any]:
    return {"id": id_, "type": f"{kind}_reference", "summary": id_}


def _turn(person: str, level: int, start: str | None, end: str | None) -> dict[str, Any]:
    return {
        "user": _ref("user", person),
        "schedule": _ref("schedule", "S1") if start else None,
        "escalation_policy": _ref("escalation_policy", "E1"),
        "escalation_level": level,
        "start": start,
        "end": end,
    }


_LISTS: Mapping[str, list[dict[str, Any]]] = {
    "oncalls": [
        _turn("P1", 1, "2026-07-01T09:00:00+02:00", "2026-07-01T18:00:00+02:00"),
        _turn("P2", 1, "2026-07-01T18:00:00+02:00", "2026-07-02T09:00:00+02:00"),
        _turn("P3", 2, None, None),
    ],
    "users": [{"id": p, "type": "user", "name": p, "email": f"{p}@example.com"} for p in ("P1", "P2", "P3")],
    "services": [{"id": "SV1", "type": "service", "name": "One", "escalation_policy": _ref("escalation_policy", "E1")}],
    "escalation_policies": [
        {
            "id": "E1",
            "type": "escalation_policy",
            "name": "One",
            "escalation_rules": [{"targets": [_ref("schedule", "S1")]}, {"targets": [_ref("user", "P3")]}],
        }
    ],
    "schedules": [
        {
            "id": "S1",
            "type": "schedule",
            "name": "One",
            "time_zone": "Europe/Paris",
            "overrides_subschedule": {"name": "Overrides", "rendered_schedule_entries": []},
        }
    ],
    "incidents": [],
}


def _reply_pagerduty(lists: Mapping[str, list[dict[str, Any]]]) -> Callable[[str], bytes]:
    def reply(target: str) -> bytes:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        name = parts.path.rpartition("/")[2]
        rows = [] if parts.path.startswith("/v3/") else lists[name]
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        page = {name: rows[offset : offset + limit], "limit": limit, "offset": offset}
        page |= {"more": offset + limit < len(rows), "total": len(rows)}
        return answer(body=msgspec.json.encode(page))

    return reply


CASES: Mapping[str, SourceCase] = {
    "pagerduty": SourceCase(
        build=_build_pagerduty,
        reply=_reply_pagerduty(_LISTS),
        empty=_reply_pagerduty({name: [] for name in _LISTS}),
        holders=frozenset({("P1", 1), ("P3", 2)}),
    ),
}
