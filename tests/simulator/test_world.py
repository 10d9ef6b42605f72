from datetime import UTC, datetime, timedelta

import pytest

from watchkey.simulator import Rule, UnknownThing, World
from watchkey.simulator.sample import fill

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def account() -> World:
    world = World(now=lambda: NOW)
    fill(world, turn=12 * HOUR)
    return world


def test_an_incident_pages_the_first_level_that_has_somebody() -> None:
    world = account()
    incident = world.trigger("SVORDERS")
    assert incident
    assert [user for user, _ in world.incidents[incident].assigned] == ["PBOB"]
    world.add_policy("E", "Only later", [Rule(), Rule(users=["PCAROL"])])
    world.add_service("SV", "Later", "E")
    second = world.trigger("SV")
    assert second
    assert (world.incidents[second].level, world.incidents[second].assigned[0][0]) == (2, "PCAROL")
    world.add_policy("E0", "Nobody", [Rule()])
    world.add_service("SV0", "Nobody", "E0")
    assert world.trigger("SV0") is None


def test_the_life_of_an_incident() -> None:
    world = account()
    events: list[str] = []
    world.tell = lambda event: events.append(event.kind)
    id_ = world.trigger("SVORDERS", by="PCAROL")
    assert id_
    incident = world.incidents[id_]
    world.acknowledge(id_, "PBOB")
    world.acknowledge(id_, "PBOB")
    assert (incident.status, len(incident.acknowledged)) == ("acknowledged", 1)
    world.unacknowledge(id_)
    assert (incident.status, incident.acknowledged) == ("triggered", [])
    assert (world.escalate(id_), incident.assigned[0][0]) == (2, "PALICE")
    assert world.escalate(id_) == 3
    assert world.escalate(id_) == 3
    world.reassign(id_, ["PCAROL"], "PBOB")
    assert (incident.assigned_via, incident.assigned[0][0]) == ("direct_assignment", "PCAROL")
    world.request_responder(id_, "PALICE", "PCAROL")
    world.answer_request(id_, "PALICE", "joined")
    world.resolve(id_, "PCAROL")
    assert (incident.status, incident.assigned, incident.acknowledged) == ("resolved", [], [])
    assert incident.log[0].kind == "trigger"
    assert events[0] == "incident.triggered"
    assert events[-3:] == ["incident.responder.added", "incident.responder.replied", "incident.resolved"]
    with pytest.raises(UnknownThing, match="resolved"):
        world.acknowledge(id_, "PBOB")


def test_an_override_changes_who_is_on_call_and_its_removal_changes_it_back() -> None:
    world = account()
    policy = world.policies["EPAY"]

    def primary() -> list[str]:
        return [user for level, _, _, user in world.on_call(policy, NOW, NOW) if level == 1]

    override = world.override("SPRIMARY", "PCAROL", NOW, NOW + HOUR, by="PCAROL")
    assert primary() == ["PCAROL"]
    world.remove_override("SPRIMARY", override, by="PBOB")
    assert primary() == ["PBOB"]
    assert [(record.actor, record.action) for record in world.audit] == [("PCAROL", "create"), ("PBOB", "delete")]


def test_what_does_not_exist_is_said_so_and_changes_nothing() -> None:
    world = account()
    version = world.version
    for attempt in (
        lambda: world.trigger("SVNONE"),
        lambda: world.override("SNONE", "PBOB", NOW, NOW + HOUR),
        lambda: world.override("SPRIMARY", "PNOBODY", NOW, NOW + HOUR),
        lambda: world.remove_override("SPRIMARY", "QNONE"),
        lambda: world.acknowledge("QNONE", "PBOB"),
        lambda: world.delete_user("PNOBODY"),
        lambda: world.add_service("SV", "SV", "ENONE"),
    ):
        with pytest.raises(UnknownThing):
            attempt()
    assert world.version == version
