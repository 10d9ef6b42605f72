"""What each source over HTTP brings to the contract suite: answers written by hand after the vendor's shapes."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tests.contracts import vendors
from tests.contracts.source_case import CANARY, REQUEST_TIMEOUT, SourceCase
from tests.fakes.scripted_http import answer
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, Source
from watchkey.sources import pagerduty


def _build_pagerduty(url: str, clock: Clock, name: SourceName, schedules: tuple[str, ...] = ()) -> Source:
    config = pagerduty.Config(
        token=Secret(CANARY),
        base_url=url,
        page_size=1,
        request_timeout=REQUEST_TIMEOUT,
        allow_writable_token=True,
        schedules=schedules,
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


_PAGERDUTY = SourceCase(
    build=_build_pagerduty,
    reply=_reply_pagerduty(_LISTS),
    empty=_reply_pagerduty({name: [] for name in _LISTS}),
    holders=frozenset({("P1", 1), ("P3", 2)}),
    build_unknown=lambda url, clock, name: _build_pagerduty(url, clock, name, ("SGONE",)),
)


def _vendor(kind: str) -> SourceCase:
    case = importlib.import_module(f"{vendors.__name__}.{kind}").CASE
    assert isinstance(case, SourceCase)
    return case


CASES: Mapping[str, SourceCase] = {
    "pagerduty": _PAGERDUTY,
    **{module.name: _vendor(module.name) for module in pkgutil.iter_modules(vendors.__path__)},
}
"""By kind of source; a new one is a file in `vendors` with a `CASE`."""
