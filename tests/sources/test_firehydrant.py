"""FireHydrant: steps by position, unfilled shifts, teams."""

from datetime import UTC, datetime
from typing import Any

from tests.contracts.vendors.firehydrant import WORLD, build, reply, shift, user
from tests.sources.reading import facts, read
from watchkey.model.oncall import Roster


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | {f"/{name}": value for name, value in world.items()}))
    return roster, source.notes


def test_steps_are_levels_in_the_order_of_their_positions() -> None:
    roster, notes = fetched()
    nine, six = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)
    assert ("u1", "e1", 1, "s1", nine, six) in facts(roster.shifts)
    assert ("u3", "e1", 2, None, None, None) in facts(roster.shifts)
    assert notes == ()


def test_a_step_that_pages_a_channel_keeps_its_level_and_is_noted() -> None:
    steps = [
        {"position": 3, "targets": [{"id": "c", "type": "SlackChannel"}]},
        {"position": 7, "targets": [{"id": "u3", "type": "User"}]},
    ]
    roster, notes = fetched(**{"teams/t1/escalation_policies": [{"id": "e1", "name": "High", "steps": steps}]})
    assert {(s.person, s.level) for s in roster.shifts if s.policy} == {("u3", 2)}
    assert "level 1" in notes[0]


def test_a_shift_that_nobody_fills_is_nobody() -> None:
    empty = {"shifts": [shift("2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z", None)]}
    assert {s.schedule for s in fetched(**{"teams/t1/on_call_schedules/s1": empty})[0].shifts} == {None}


def test_who_has_left_is_inactive() -> None:
    assert {p.id: p.active for p in fetched(users=[user("u2")])[0].people} == {"u1": False, "u2": True, "u3": False}


def test_other_teams_are_not_asked() -> None:
    teams = [*WORLD["/teams"], {"id": "t2", "name": "Other"}]
    _, _, server = read(build, reply(WORLD | {"/teams": teams}), teams=("t1",))
    assert not [target for target in server.targets if "/t2/" in target]
