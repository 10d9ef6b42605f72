"""Rootly: levels of the default path, overrides and shadows among shifts, services of policies, alerts."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.answers import json, split
from tests.contracts.vendors.rootly import WORLD, build, on_call, reply, row
from tests.sources.reading import HOUR, facts, read
from watchkey.model.errors import Malformed
from watchkey.model.oncall import EndKind, Involvement, Provenance, Roster

NINE, SIX = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def shift(user: int | None, start: str, end: str, **changes: Any) -> dict[str, Any]:
    attributes = {"schedule_id": "s1", "rotation_id": "r", "starts_at": start, "ends_at": end, "is_override": False}
    return row(f"h{start}{user}", "shifts", **(attributes | {"user_id": user} | changes))


def test_shifts_carry_policy_level_and_schedule_in_utc() -> None:
    roster, notes = fetched()
    assert ("1", "e1", 1, "s1", NINE, SIX) in facts(roster.shifts)
    assert {(s.level, s.end_kind) for s in roster.shifts if s.person == "3"} == {(2, EndKind.PERMANENT)}
    assert notes == ()


def test_a_level_counts_on_the_default_path_only() -> None:
    other = on_call(1, 1, "2026-07-01T00:00:00-07:00", "2026-07-01T09:00:00-07:00", is_default_path=False)
    assert {s.level for s in fetched(oncalls=[other])[0].shifts} == {None}


@pytest.mark.parametrize("more", [{"meta": {"next_page": 2}}, {"links": {"next": "/v1/oncalls?page[number]=2"}}])
def test_on_calls_that_go_on_are_not_all_of_them(more: dict[str, Any]) -> None:
    def paged(target: str) -> bytes:
        return json({"data": WORLD["oncalls"]} | more) if split(target)[0] == "/v1/oncalls" else reply(WORLD)(target)

    with pytest.raises(Malformed, match="first page"):
        read(build, paged)


@pytest.mark.parametrize("level", [0, None, "1"])
def test_a_level_that_is_none_is_malformed(level: Any) -> None:
    with pytest.raises(Malformed, match="escalation_level"):
        fetched(oncalls=[on_call(1, level, "2026-07-01T00:00:00-07:00", "2026-07-01T09:00:00-07:00")])


def test_the_time_of_an_override_counts_as_made_by_its_beneficiary() -> None:
    override = shift(1, "2026-07-01T13:00:00Z", "2026-07-01T14:00:00Z", is_override=True)
    roster, _ = fetched(shifts=[override])
    grades = {(s.starts_at, s.ends_at): s.provenance for s in roster.shifts if s.person == "1"}
    assert grades == {
        (NINE, SIX - 3 * HOUR): Provenance.UNKNOWN,
        (SIX - 3 * HOUR, SIX - 2 * HOUR): Provenance.SELF_OVERRIDE,
        (SIX - 2 * HOUR, SIX): Provenance.UNKNOWN,
    }


def test_a_schedule_that_no_policy_uses_is_read_from_its_shifts_and_a_shadow_is_nobody() -> None:
    shifts = [
        shift(2, "2026-07-01T10:00:00Z", "2026-07-01T20:00:00Z", schedule_id="s2"),
        shift(1, "2026-07-01T10:00:00Z", "2026-07-01T20:00:00Z", schedule_id="s2", is_shadow=True),
        shift(None, "2026-07-01T20:00:00Z", "2026-07-01T21:00:00Z", schedule_id="s2"),
        shift(1, "2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z"),
    ]
    roster, _ = fetched(shifts=shifts)
    assert {(s.person, s.policy, s.level) for s in roster.shifts if s.schedule == "s2"} == {("2", None, None)}
    assert [s.policy for s in roster.shifts if s.person == "1"] == ["e1"]


def test_a_service_of_two_policies_belongs_to_neither_and_is_noted() -> None:
    policies = [row(f"e{n}", "escalation_policies", name=f"E{n}", service_ids=["sv1"]) for n in (1, 2)]
    roster, notes = fetched(escalation_policies=policies)
    assert [s.policy for s in roster.services] == [None]
    assert "Checkout is paged by 2 policies" in notes[0]
    policies = [row("e1", "escalation_policies", name="E1", service_ids=None)]
    assert [s.policy for s in fetched(escalation_policies=policies)[0].services] == [None]


def test_responders_of_an_alert_are_assigned_and_no_more() -> None:
    alert = {
        "status": "acknowledged",
        "summary": "Fire",
        "created_at": "2026-07-01T04:00:00-07:00",
        "service_ids": ["sv1"],
        "responders": [{"id": 2, "email": "u2@example.com"}],
    }
    alerts = [
        row("a1", "alerts", **alert),
        row("a2", "alerts", **(alert | {"status": "resolved"})),
        row("a3", "alerts", **(alert | {"service_ids": ["sv1", "sv2"], "responders": []})),
    ]
    first, second = fetched(alerts=alerts)[0].incidents
    assert [(r.person, r.involvement) for r in first.responders] == [("2", Involvement.ASSIGNED)]
    assert (first.service, second.service) == ("sv1", None)


def test_a_list_may_go_on_by_links_and_one_that_says_nothing_is_malformed() -> None:
    def linked(target: str) -> bytes:
        path, query = split(target)
        if path != "/v1/users":
            return reply(WORLD)(target)
        if query["page[number]"] == "1":
            link = "https://api.rootly.com/v1/users?page%5Bnumber%5D=2"
            return json({"data": WORLD["users"][:2], "links": {"next": link}})
        return json({"data": WORLD["users"][2:], "links": {"next": None}})

    assert len(read(build, linked)[0].people) == 3

    def silent(target: str) -> bytes:
        return json({"data": []}) if split(target)[0] == "/v1/users" else reply(WORLD)(target)

    with pytest.raises(Malformed, match="whether it goes on"):
        read(build, silent)
