"""ilert: numbers as ids, direct targets, named schedules, alerts that are accepted by whom they are assigned to."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.vendors.ilert import WORLD, build, on_call, reply, user
from tests.sources.reading import HOUR, facts, read
from watchkey.model.errors import Malformed
from watchkey.model.oncall import EndKind, IncidentStatus, Involvement, Provenance, Roster

NINE, SIX = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)


def fetched(options: dict[str, Any] | None = None, **world: Any) -> Roster:
    return read(build, reply(WORLD | {f"/api/{name}": rows for name, rows in world.items()}), **(options or {}))[0]


def test_shifts_carry_policy_level_and_schedule() -> None:
    roster = fetched()
    assert ("1", "7", 1, "5", NINE, SIX) in facts(roster.shifts)
    assert {(s.id, s.policy) for s in roster.services} == {("9", "7")}


def test_a_direct_target_is_permanent_whatever_its_span() -> None:
    spanned = on_call(3, 2, None, None) | {"start": "2026-07-01T12:00:00Z", "end": "2026-07-02T12:00:00Z"}
    roster = fetched(**{"on-calls": [on_call(2, 1, None, None), spanned]})
    assert {(s.person, s.end_kind, s.provenance) for s in roster.shifts} == {
        ("2", EndKind.PERMANENT, Provenance.PERMANENT),
        ("3", EndKind.TRUNCATED, Provenance.PERMANENT),
    }


def test_a_turn_of_a_schedule_without_an_end_has_an_unknown_one() -> None:
    row = on_call(1, 1, "2026-07-01T07:00:00Z", None)
    assert [s.end_kind for s in fetched(**{"on-calls": [row]}).shifts] == [EndKind.UNKNOWN]


@pytest.mark.parametrize("level", [0, 1.5, None])
def test_a_level_that_is_none_is_malformed(level: Any) -> None:
    with pytest.raises(Malformed, match="escalationLevel"):
        fetched(**{"on-calls": [on_call(1, level, "2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z")]})


def test_a_named_schedule_tells_its_overrides() -> None:
    override = {"user": user(1), "start": "2026-07-01T13:00:00Z", "end": "2026-07-01T16:00:00Z"}
    roster = fetched({"schedules": ("5",)}, **{"schedules/5/overrides": [override]})
    grades = {(s.starts_at, s.ends_at): s.provenance for s in roster.shifts if s.person == "1"}
    assert grades == {
        (NINE, SIX - 3 * HOUR): Provenance.UNKNOWN,
        (SIX - 3 * HOUR, SIX): Provenance.SELF_OVERRIDE,
    }


def test_a_named_schedule_that_no_policy_uses_is_read_itself() -> None:
    turn = {"user": user(2), "start": "2026-07-01T10:00:00Z", "end": "2026-07-01T16:00:00Z"}
    schedules = [*WORLD["/api/schedules"], {"id": 6, "name": "Other"}]
    more = {"schedules": schedules, "schedules/6/overrides": [], "schedules/6/shifts": [turn]}
    roster = fetched({"schedules": ("6",)}, **more)
    assert {(s.person, s.policy, s.level) for s in roster.shifts if s.schedule == "6"} == {("2", None, None)}


def alert(**changes: Any) -> dict[str, Any]:
    base = {"id": 1, "summary": "Fire", "status": "ACCEPTED", "reportTime": "2026-07-01T11:00:00Z"}
    return base | {"alertSource": {"id": 9, "name": "Checkout"}, "assignedTo": user(2)} | changes


@pytest.mark.parametrize(
    ("status", "seen", "involvement"),
    [
        ("ACCEPTED", IncidentStatus.ACKNOWLEDGED, Involvement.ACKNOWLEDGED),
        ("PENDING", IncidentStatus.TRIGGERED, Involvement.ASSIGNED),
    ],
)
def test_who_accepted_an_alert_is_at_it(status: str, seen: IncidentStatus, involvement: Involvement) -> None:
    [incident] = fetched(alerts=[alert(status=status)]).incidents
    assert (incident.service, incident.status, incident.is_opened_by_machine) == ("9", seen, False)
    assert [(r.person, r.involvement) for r in incident.responders] == [("2", involvement)]


def test_a_resolved_alert_is_over_and_one_of_nobody_has_nobody() -> None:
    [incident] = fetched(alerts=[alert(assignedTo=None), alert(id=2, status="RESOLVED")]).incidents
    assert (incident.responders, incident.opened_by) == ((), None)


def test_a_full_last_page_is_followed_by_an_empty_one() -> None:
    _, _, server = read(build, reply(WORLD), page_size=3, incidents=False)
    asked = [target for target in server.targets if target.startswith("/api/users")]
    assert asked == ["/api/users?max-results=3&start-index=0", "/api/users?max-results=3&start-index=3"]
    assert not [target for target in server.targets if "alerts" in target]
