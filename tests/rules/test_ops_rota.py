"""Timelines, delays and alerts of Opsgenie and Jira Service Management."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import Involvement, Provenance, Roster
from watchkey.rules.gathering import Gathered, Window
from watchkey.rules.ops_rota import Alert, Delay, Escalation, Rule, Timeline, incident, take_escalation, take_timeline

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def period(**changes: Any) -> dict[str, Any]:
    base = {"startDate": "2026-07-01T10:00:00Z", "endDate": "2026-07-01T16:00:00Z", "type": "base"}
    return base | {"responder": {"type": "user", "id": "A1"}} | changes


def taken(*periods: dict[str, Any], rules: list[dict[str, Any]] | None = None) -> tuple[Roster, list[str]]:
    found = Gathered(window=Window.of(NOW, timedelta(days=1)))
    raw = {"finalTimeline": {"rotations": [{"id": "R", "name": "R", "periods": list(periods)}, {"name": "empty"}]}}
    take_timeline(found, "S", "Primary", msgspec.convert(raw, Timeline, strict=False))
    if rules is not None:
        take_escalation(found, msgspec.convert({"id": "E", "name": "Esc", "rules": rules}, Escalation))
    return found.roster(SourceName("s"), NOW, timedelta(0)), found.notes


@pytest.mark.parametrize(
    ("kind", "grade"),
    [
        ("base", Provenance.UNKNOWN),
        ("historical", Provenance.UNKNOWN),
        ("default", Provenance.UNKNOWN),
        ("override", Provenance.SELF_OVERRIDE),
        ("forwarding", Provenance.SELF_OVERRIDE),
    ],
)
def test_what_somebody_put_in_counts_as_put_in_by_its_beneficiary(kind: str, grade: Provenance) -> None:
    assert [s.provenance for s in taken(period(type=kind))[0].shifts] == [grade]


def test_a_turn_that_nobody_fills_is_nobody() -> None:
    roster, notes = taken(period(responder={"type": "noone"}), period(responder=None))
    assert (roster.shifts, notes) == ((), [])


def test_a_team_is_its_people_where_they_are_named() -> None:
    flat = [{"type": "user", "id": "A1"}, {"type": "user", "id": "A2"}]
    roster, notes = taken(period(responder={"type": "team", "id": "T"}, flattenedResponders=flat))
    assert ({s.person for s in roster.shifts}, notes) == ({"A1", "A2"}, [])


def test_a_team_whose_people_are_not_named_opens_nothing_and_is_noted() -> None:
    roster, notes = taken(period(responder={"type": "team", "id": "T"}))
    assert roster.shifts == ()
    assert "Primary: a team is on call" in notes[0]


def rule(delay: Any, kind: str = "user", id_: str = "A1", notify: str = "default") -> dict[str, Any]:
    return {"delay": delay, "recipient": {"type": kind, "id": id_}, "notifyType": notify}


def test_everybody_paged_after_the_same_time_is_on_one_level() -> None:
    rules = [rule(10, id_="A3"), rule(0, "schedule", "S"), rule(0, id_="A2"), rule(30, id_="A4")]
    roster, notes = taken(period(), rules=rules)
    levels = {(s.person, s.level) for s in roster.shifts}
    assert levels == {("A1", 1), ("A2", 1), ("A3", 2), ("A4", 3)}
    assert notes == []


@pytest.mark.parametrize(
    "strange",
    [rule(0, "team", "T"), rule(0, "schedule", "S", "next"), rule(0, "user", "A9", "previous")],
)
def test_a_rule_that_names_nobody_keeps_its_level_and_is_noted(strange: dict[str, Any]) -> None:
    roster, notes = taken(period(), rules=[strange, rule(5, id_="A3")])
    assert {(s.person, s.level) for s in roster.shifts if s.policy} == {("A3", 2)}
    assert "level 1" in notes[0]


@pytest.mark.parametrize(
    ("delay", "minutes"), [(7, 7), (Delay(time_amount=7), 7), (Delay(time_amount=2, time_unit="hours"), 120)]
)
def test_delays_are_compared_in_minutes(delay: Any, minutes: int) -> None:
    found = Rule(delay=delay, recipient=msgspec.convert({"type": "user"}, type(rule_party())))
    assert found.minutes() == minutes


def rule_party() -> Any:
    return msgspec.convert(rule(0), Rule).recipient


def alert(**changes: Any) -> Alert:
    raw = {"id": "AL", "status": "open", "acknowledged": True, "createdAt": NOW - HOUR, "message": "Fire"}
    return msgspec.convert(raw | changes, Alert)


def test_the_owner_is_assigned_and_only_the_named_one_acknowledged() -> None:
    anna, bert = PersonId("anna"), PersonId("bert")
    found = incident(alert(responders=[{"type": "escalation", "id": "E"}, {"type": "user", "id": "x"}]), anna, bert)
    assert {(r.person, r.involvement) for r in found.responders} == {
        ("anna", Involvement.ASSIGNED),
        ("bert", Involvement.ACKNOWLEDGED),
    }
    assert (found.policy, found.opened_by, found.is_opened_by_machine) == ("E", None, False)
    assert found.opened_at == NOW - HOUR


def test_nobody_acknowledged_an_alert_that_is_not_acknowledged() -> None:
    assert incident(alert(acknowledged=False), None, PersonId("bert")).responders == ()


def test_an_alert_of_two_escalations_belongs_to_neither() -> None:
    both = [{"type": "escalation", "id": "E"}, {"type": "escalation", "id": "F"}]
    assert incident(alert(responders=both), None, None).policy is None
