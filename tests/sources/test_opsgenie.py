"""Opsgenie: users by name in alerts and by id in timelines, regions, switched-off schedules."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.source_case import CANARY
from tests.contracts.vendors.opsgenie import WORLD, build, reply
from tests.fakes.hasty_clock import HastyClock
from tests.sources.reading import NAME, facts, read
from watchkey.model.oncall import Involvement, Roster
from watchkey.model.secret import Secret
from watchkey.sources import opsgenie


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def test_shifts_carry_escalation_level_and_schedule() -> None:
    roster, _ = fetched()
    assert ("U1", "E1", 1, "S1", datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)) in facts(
        roster.shifts
    )


def test_a_blocked_user_is_inactive_and_so_is_one_who_is_gone() -> None:
    users = [{"id": "U1", "username": "u1@example.com", "blocked": True}]
    roster, _ = fetched(**{"/v2/users": users})
    assert {p.id: p.active for p in roster.people} == {"U1": False, "U2": False, "U3": False}


def test_owner_and_acknowledger_are_found_by_their_user_names() -> None:
    row = {
        "id": "AL1",
        "message": "Fire",
        "status": "open",
        "acknowledged": True,
        "owner": "u1@example.com",
        "createdAt": "2026-07-01T11:00:00Z",
        "responders": [{"type": "escalation", "id": "E1"}],
        "report": {"acknowledgedBy": "u2@example.com"},
    }
    strangers = {"owner": "System", "report": {"acknowledgedBy": "somebody"}}
    roster, _ = fetched(**{"/v2/alerts": [row, {**row, "id": "AL2", **strangers}]})
    known, unknown = roster.incidents
    assert {(r.person, r.involvement) for r in known.responders} == {
        ("U1", Involvement.ASSIGNED),
        ("U2", Involvement.ACKNOWLEDGED),
    }
    assert unknown.responders == ()


def test_a_schedule_that_is_switched_off_has_nobody_and_is_noted() -> None:
    roster, notes = fetched(**{"/v2/schedules": [{**WORLD["/v2/schedules"][0], "enabled": False}]})
    assert {s.schedule for s in roster.shifts} == {None}
    assert "switched off" in notes[0]


def test_the_credential_is_a_genie_key() -> None:
    _, _, server = read(build, reply(WORLD), incidents=False)
    assert f"GenieKey {CANARY}".encode() in server.requests[0]
    assert not [target for target in server.targets if "alerts" in target]


@pytest.mark.parametrize(("region", "host"), [("us", "api.opsgenie.com"), ("eu", "api.eu.opsgenie.com")])
def test_the_regions_have_their_own_hosts(region: Any, host: str) -> None:
    source: Any = opsgenie.build(opsgenie.Config(api_key=Secret("k"), region=region), name=NAME, clock=HastyClock())
    assert source._client._base.host == host
    asyncio.run(source.close())
