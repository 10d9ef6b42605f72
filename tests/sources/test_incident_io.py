"""incident.io: levels before a branch only, overrides, entries page by page, escalations with their roles."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.answers import json, split
from tests.contracts.vendors.incident_io import DIRECT, ON_CALL, WORLD, build, entry, level, reply, user
from tests.sources.reading import HOUR, facts, read
from watchkey.model.oncall import Incident, Involvement, Provenance, Roster

NINE, SIX = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def test_shifts_carry_path_level_and_schedule() -> None:
    roster, notes = fetched()
    assert ("U1", "E1", 1, "S1", NINE, SIX) in facts(roster.shifts)
    assert ("U3", "E1", 2, None, None, None) in facts(roster.shifts)
    assert notes == ()


def branch(then: list[dict[str, Any]], otherwise: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "B", "type": "if_else", "if_else": {"conditions": [], "then_path": then, "else_path": otherwise}}


def levels(*nodes: dict[str, Any]) -> set[tuple[str, int | None]]:
    roster, _ = fetched(escalation_paths=[{"id": "E1", "name": "E", "path": list(nodes)}])
    return {(s.person, s.level) for s in roster.shifts if s.policy == "E1"}


def test_behind_a_branch_nobody_knows_the_level() -> None:
    other = DIRECT | {"id": "U4"}
    found = levels(level(DIRECT), branch([level(ON_CALL)], [level(other), branch([level(other)], [])]))
    assert found == {("U3", 1), ("U1", None), ("U2", None), ("U4", None)}


def test_what_follows_a_branch_has_no_level_either() -> None:
    assert levels(level(DIRECT), branch([], []), level(DIRECT | {"id": "U4"})) == {("U3", 1), ("U4", None)}


def test_waits_repeats_and_channels_are_no_levels() -> None:
    channel = {"id": "C", "type": "notify_channel", "notify_channel": {"targets": []}}
    pause = {"id": "D", "type": "delay", "delay": {"delay_seconds": 300}}
    assert levels(channel, pause, level(DIRECT), {"id": "R", "type": "repeat", "repeat": {}}) == {("U3", 1)}


@pytest.mark.parametrize("mode", ["all_users", "all_users_for_rota"])
def test_everybody_of_a_rota_is_not_on_call(mode: str) -> None:
    nodes = [level(ON_CALL | {"schedule_mode": mode}), level(DIRECT)]
    roster, notes = fetched(escalation_paths=[{"id": "E1", "name": "E", "path": nodes}])
    assert {(s.person, s.level) for s in roster.shifts if s.policy} == {("U3", 2)}
    assert mode in notes[0]


def test_an_entry_without_a_user_is_nobody() -> None:
    entries = {"final": [entry("2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z", None)], "overrides": []}
    assert {s.schedule for s in fetched(schedule_entries=entries)[0].shifts} == {None}


def test_an_override_is_cut_out_of_a_turn_and_counts_as_made_by_its_beneficiary() -> None:
    entries = WORLD["schedule_entries"] | {
        "overrides": [entry("2026-07-01T10:00:00Z", "2026-07-01T11:00:00Z", "U1")],
        "final": [entry("2026-07-01T09:00:00Z", "2026-07-01T16:00:00Z", "U1")],
    }
    entries["overrides"][0]["end_at"] = "2026-07-01T13:00:00Z"
    roster, _ = fetched(schedule_entries=entries)
    assert {(s.ends_at, s.provenance) for s in roster.shifts if s.schedule} == {
        (SIX - 3 * HOUR, Provenance.SELF_OVERRIDE),
        (SIX, Provenance.UNKNOWN),
    }


def test_entries_are_read_page_by_page_with_the_cursor_as_the_start() -> None:
    asked: list[str] = []

    def paged(target: str) -> bytes:
        path, query = split(target)
        if path != "/v2/schedule_entries":
            return reply(WORLD)(target)
        asked.append(query["entry_window_start"])
        assert (query["schedule_id"], query["entry_window_end"]) == ("S1", "2026-07-03T00:00:00Z")
        final = WORLD["schedule_entries"]["final"]
        first = query["entry_window_start"] == "2026-06-30T00:00:00Z"
        entries = {"final": final[:1] if first else final[1:], "overrides": []}
        meta = {"pagination_meta": {"after": "opaque==", "after_url": "https://elsewhere/"}} if first else {}
        return json({"schedule_entries": entries} | meta)

    roster, _, _ = read(build, paged)
    assert asked == ["2026-06-30T00:00:00Z", "opaque=="]
    assert {s.person for s in roster.shifts if s.schedule} == {"U1", "U2"}


def escalation(**changes: Any) -> dict[str, Any]:
    acked = {"id": "EV", "event": "acked", "occurred_at": "2026-07-01T11:05:00Z", "users": [user("U2")]}
    return {
        "id": "X1",
        "title": "Fire",
        "status": "acked",
        "created_at": "2026-07-01T11:00:00Z",
        "escalation_path_id": "E1",
        "creator": {"alert": {"id": "AL", "title": "t"}},
        "events": [
            {"id": "EV0", "event": "notified", "occurred_at": "2026-07-01T11:00:00Z", "users": [user("U1")]},
            acked,
        ],
        "related_incidents": [{"id": "INC1", "name": "Fire"}],
    } | changes


def assignment(role: str, kind: str, person: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {"role": {"id": "r", "name": role, "role_type": kind}}
    return row | ({"assignee": user(person)} if person else {})


ROLES = [
    assignment("Incident Lead", "lead", "U3"),
    assignment("Reporter", "reporter", "U1"),
    assignment("Comms", "custom", None),
]


def incident(**changes: Any) -> Incident:
    live = [{"id": "INC1", "name": "Fire", "incident_role_assignments": ROLES}]
    [found] = fetched(escalations=[escalation(**changes)], incidents=live)[0].incidents
    return found


def test_who_acknowledged_and_who_has_a_role_is_responding() -> None:
    found = incident()
    assert found.policy == "E1"
    assert {(r.person, r.involvement, r.role) for r in found.responders} == {
        ("U2", Involvement.ACKNOWLEDGED, None),
        ("U3", Involvement.ROLE, "incident_lead"),
    }
    assert found.opened_by is None


def test_an_acknowledgement_that_ran_out_is_none() -> None:
    assert {r.involvement for r in incident(status="triggered").responders} == {Involvement.ROLE}


@pytest.mark.parametrize(
    ("creator", "opener", "machine"),
    [
        ({"user": user("U1")}, "U1", False),
        ({"workflow": {"id": "w"}}, None, True),
        ({"alert": {"id": "a"}}, None, True),
        ({"user": user("U1"), "workflow": {"id": "w"}}, "U1", False),
        ({}, None, False),
        (None, None, False),
    ],
)
def test_the_opener_is_named_or_a_machine_or_unknown(creator: Any, opener: str | None, *, machine: bool) -> None:
    found = incident(creator=creator, related_incidents=None)
    assert (found.opened_by, found.is_opened_by_machine) == (opener, machine)


@pytest.mark.parametrize("status", ["resolved", "expired", "cancelled", "pending"])
def test_an_escalation_that_is_over_is_left_out(status: str) -> None:
    assert fetched(escalations=[escalation(status=status)])[0].incidents == ()
