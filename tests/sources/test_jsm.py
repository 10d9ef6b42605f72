"""Jira Service Management operations: accounts from Jira, timelines in whole days, alerts of an escalation."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from tests.contracts.source_case import CANARY
from tests.contracts.vendors.jsm import WORLD, build, period, reply, timeline
from tests.sources.reading import facts, read
from watchkey.model.oncall import Involvement, Provenance, Roster


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def test_a_turn_that_was_cut_at_now_is_whole_again() -> None:
    roster, notes = fetched()
    nine, six = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)
    assert ("A1", "E1", 1, "S1", nine, six) in facts(roster.shifts)
    assert notes == ()


def test_an_override_counts_as_made_by_its_beneficiary() -> None:
    taken = period("2026-07-01T16:00:00Z", "2026-07-01T18:00:00Z", "A2", "override")
    roster, _ = fetched(**{"/schedules/S1/timeline": timeline(taken)})
    assert [s.provenance for s in roster.shifts if s.schedule] == [Provenance.SELF_OVERRIDE]


def test_an_account_that_jira_does_not_give_or_calls_inactive_is_inactive_and_a_hidden_address_is_none() -> None:
    people = [
        {"accountId": "A2", "displayName": "Two", "active": False},
        {"accountId": "A3", "displayName": "Three", "active": True},
    ]
    roster, _ = fetched(people=people)
    assert {p.id: (p.emails, p.active) for p in roster.people} == {
        "A1": ((), False),
        "A2": ((), False),
        "A3": ((), True),
    }


def test_a_schedule_that_is_switched_off_has_nobody_and_is_noted() -> None:
    off = [{**row, "enabled": False} for row in WORLD["/schedules"]]
    roster, notes = fetched(**{"/schedules": off})
    assert {s.schedule for s in roster.shifts} == {None}
    assert "Primary is switched off" in notes[0]


def test_alerts_belong_to_their_escalation_and_closed_ones_are_left_out() -> None:
    row = {
        "id": "AL1",
        "message": "Fire",
        "status": "open",
        "acknowledged": True,
        "owner": "A2",
        "createdAt": "2026-07-01T11:00:00Z",
        "responders": [{"type": "escalation", "id": "E1"}],
    }
    roster, _ = fetched(**{"/alerts": [row, {**row, "id": "AL2", "status": "closed"}]})
    [incident] = roster.incidents
    assert (incident.policy, incident.is_opened_by_machine) == ("E1", False)
    assert [(r.person, r.involvement) for r in incident.responders] == [("A2", Involvement.ASSIGNED)]


def test_only_configured_schedules_are_read_and_whole_days_asked_for() -> None:
    _, _, server = read(build, reply(WORLD), schedules=("S1",), incidents=False)
    asked = [target for target in server.targets if "timeline" in target]
    assert asked == [
        "/jsm/ops/api/CLOUD/v1/schedules/S1/timeline?date=2026-06-30T00%3A00%3A00Z&interval=3&intervalUnit=days"
    ]
    assert not [target for target in server.targets if "alerts" in target]


def test_the_credential_is_basic() -> None:
    _, _, server = read(build, reply(WORLD))
    pair = b64encode(f"bot@example.com:{CANARY}".encode())
    assert b"Basic " + pair in server.requests[0]
