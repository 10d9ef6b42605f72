"""Grafana OnCall as it answers: levels by wait steps, days without a zone, links from behind a proxy."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.source_case import CANARY
from tests.contracts.vendors.grafana_oncall import LISTS, build, reply
from tests.sources.reading import facts, read
from watchkey.model.oncall import EndKind, Incident, IncidentStatus, Involvement, Roster, Scope, ScopeKind
from watchkey.rules.roster import index_roster


def step(position: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": f"E{position}", "escalation_chain_id": "F1", "position": position, "type": kind} | more


def fetched(**lists: list[dict[str, Any]]) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(LISTS | lists))
    return roster, source.notes


def test_shifts_carry_chain_level_and_schedule() -> None:
    roster, notes = fetched()
    nine, six = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)
    assert ("U1", "F1", 1, "S1", nine, six) in facts(roster.shifts)
    assert ("U3", "F1", 2, None, None, None) in facts(roster.shifts)
    assert notes == ()


def test_only_a_wait_behind_a_notification_begins_the_next_level() -> None:
    on_call = {"notify_on_call_from_schedule": "S1"}
    steps = [
        step(5, "notify_persons", persons_to_notify=["U3"]),
        step(0, "wait"),
        step(1, "notify_on_call_from_schedule", **on_call),
        step(2, "notify_person_next_each_time", persons_to_notify_next_each_time=["U2"]),
        step(3, "wait"),
        step(4, "wait"),
        step(6, "resolve"),
    ]
    roster, _ = fetched(escalation_policies=steps)
    assert {(s.person, s.level) for s in roster.shifts if s.end_kind is EndKind.PERMANENT} == {("U2", 1), ("U3", 2)}
    assert {s.level for s in roster.shifts if s.schedule == "S1"} == {1}


def test_a_step_that_notifies_nobody_by_name_keeps_its_level_and_is_noted() -> None:
    steps = [step(0, "notify_user_group"), step(1, "wait"), step(2, "notify_persons", persons_to_notify=["U3"])]
    roster, notes = fetched(escalation_policies=steps)
    assert {(s.person, s.level) for s in roster.shifts if s.policy} == {("U3", 2)}
    assert "level 1: notify_user_group" in notes[0]


@pytest.mark.parametrize("condition", ["notify_if_time_from_to", "notify_if_num_alerts_in_window"])
def test_a_condition_notifies_nobody_and_takes_no_level(condition: str) -> None:
    steps = [step(0, condition), step(1, "wait"), step(2, "notify_persons", persons_to_notify=["U3"])]
    roster, notes = fetched(escalation_policies=steps)
    assert {(s.person, s.level) for s in roster.shifts if s.policy} == {("U3", 1)}
    assert notes == ()


def test_a_schedule_in_no_chain_is_seen_by_its_own_name() -> None:
    roster, _ = fetched(escalation_policies=[])
    index = index_roster(roster)
    scope = Scope(roster.source, ScopeKind.SCHEDULE, "S1")
    assert [s.person for s in index.on_call(scope, datetime(2026, 7, 1, 15, tzinfo=UTC))] == ["U1"]


def test_an_integration_is_paged_by_its_last_route_and_other_routes_are_services_of_their_own() -> None:
    routes = [
        {"id": "R1", "integration_id": "C1", "escalation_chain_id": "F1", "position": 1, "is_the_last_route": True},
        {"id": "R2", "integration_id": "C1", "escalation_chain_id": "F2", "position": 0, "is_the_last_route": False},
        {"id": "R3", "integration_id": "C1", "escalation_chain_id": None, "position": 2, "is_the_last_route": False},
    ]
    chains = [{"id": "F1", "name": "One"}, {"id": "F2", "name": "Two"}]
    roster, _ = fetched(routes=routes, escalation_chains=chains)
    assert {(s.id, s.policy) for s in roster.services} == {("C1", "F1"), ("R2", "F2")}


def test_several_at_once_are_all_on_call() -> None:
    both = [{**LISTS["final_shifts"][0], "user_pk": user} for user in ("U1", "U2")]
    roster, _ = fetched(final_shifts=both)
    assert {s.person for s in roster.shifts if s.schedule == "S1"} == {"U1", "U2"}


def test_who_left_stays_in_shifts_and_is_not_active() -> None:
    roster, _ = fetched(users=LISTS["users"][1:])
    assert {p.id: p.active for p in roster.people} == {"U1": False, "U2": True, "U3": True}


def group(**changes: Any) -> dict[str, Any]:
    return {
        "id": "I1",
        "integration_id": "C1",
        "route_id": "R1",
        "state": "acknowledged",
        "created_at": "2026-07-01T11:00:00.430444Z",
        "acknowledged_at": "2026-07-01T11:05:00Z",
        "acknowledged_by": "U2",
        "title": "Memory",
    } | changes


def incident(**changes: Any) -> Incident:
    [found] = fetched(alert_groups=[group(**changes)])[0].incidents
    return found


def test_who_acknowledged_is_responding_and_nobody_knows_who_opened_it() -> None:
    found = incident()
    assert (found.service, found.policy, found.status) == ("C1", "F1", IncidentStatus.ACKNOWLEDGED)
    [responder] = found.responders
    assert (responder.person, responder.involvement) == ("U2", Involvement.ACKNOWLEDGED)
    assert (found.opened_by, found.is_opened_by_machine) == (None, False)


def test_an_acknowledgement_that_was_taken_back_is_none() -> None:
    found = incident(state="firing")
    assert (found.status, found.responders) == (IncidentStatus.TRIGGERED, ())


@pytest.mark.parametrize("state", ["resolved", "silenced"])
def test_a_group_that_left_the_state_that_was_asked_for_is_left_out(state: str) -> None:
    assert fetched(alert_groups=[group(state=state)])[0].incidents == ()


def test_whole_days_are_asked_for_and_only_of_configured_schedules() -> None:
    lists = LISTS | {"schedules": [*LISTS["schedules"], {"id": "S2", "name": "Other"}]}
    _, source, server = read(build, reply(lists), schedules=("S1",), incidents=False)
    [asked] = [target for target in server.targets if "final_shifts" in target]
    assert asked == "/api/v1/schedules/S1/final_shifts?start_date=2026-06-30&end_date=2026-07-03"
    assert not [target for target in server.targets if "alert_groups" in target]
    assert source.requests == len(server.targets)


def test_an_api_key_goes_raw_and_a_service_account_as_bearer() -> None:
    _, _, server = read(build, reply(LISTS))
    assert f"authorization: {CANARY}".encode() in server.requests[0].lower().replace(b"\r", b"")
    _, _, server = read(build, reply(LISTS), grafana_url="https://org.grafana.net/")
    head = server.requests[0].lower()
    assert f"authorization: bearer {CANARY}".encode() in head
    assert b"x-grafana-url: https://org.grafana.net\r\n" in head
