"""LinkedIn Oncall: roles instead of levels, who is away is not on call, borders, several teams of a service."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.vendors.linkedin_oncall import WORLD, build, event, reply, user
from tests.fakes.hasty_clock import HastyClock
from tests.sources.reading import NAME, facts, read
from watchkey.model.errors import Refused
from watchkey.model.oncall import Roster, Scope, ScopeKind
from watchkey.rules.roster import index_roster
from watchkey.sources import linkedin_oncall

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def fetched(options: dict[str, Any] | None = None, **world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(
        build, reply(WORLD | {f"/{name}": value for name, value in world.items()}), **(options or {})
    )
    return roster, source.notes


def test_a_role_is_a_level_and_a_team_a_policy() -> None:
    roster, _ = fetched()
    nine, six = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)
    assert ("one", "pay ments", 1, "pay ments/primary", nine, six) in facts(roster.shifts)
    index = index_roster(roster)
    scope = Scope(roster.source, ScopeKind.SERVICE, "checkout")
    assert [(s.person, s.level) for s in index.on_call(scope, NOON)] == [("one", 1), ("three", 2)]


@pytest.mark.parametrize("role", ["vacation", "unavailable", "shadow", "manager"])
def test_any_other_role_is_not_on_call(role: str) -> None:
    roster, notes = fetched(events=[event("one", role, "2026-07-01T07:00:00", "2026-07-01T16:00:00")])
    assert roster.shifts == ()
    assert bool(notes) == (role == "manager")


def test_one_person_with_two_roles_has_both() -> None:
    both = [event("one", role, "2026-07-01T07:00:00", "2026-07-01T16:00:00") for role in ("primary", "manager")]
    roster, _ = fetched({"roles": {"primary": 1, "manager": 3}}, events=both)
    assert {(s.person, s.level) for s in roster.shifts} == {("one", 1), ("one", 3)}


def test_in_the_second_of_a_handoff_the_new_one_is_on_call_alone() -> None:
    turns = [
        event("one", "primary", "2026-07-01T07:00:00", "2026-07-01T12:00:00"),
        event("two", "primary", "2026-07-01T12:00:00", "2026-07-01T16:00:00"),
    ]
    assert [s.person for s in fetched(events=turns)[0].shifts if s.covers(NOON)] == ["two"]


def test_whoever_is_away_cannot_be_given_a_level() -> None:
    config = linkedin_oncall.Config(base_url="http://localhost", roles={"vacation": 1})
    with pytest.raises(Refused, match="vacation is not on call"):
        linkedin_oncall.build(config, name=NAME, clock=HastyClock())


def test_a_deactivated_user_stays_in_events_and_is_inactive() -> None:
    roster, _ = fetched(users=[user("one", 0), user("two")])
    assert {p.id: p.active for p in roster.people} == {"one": False, "two": True, "three": False}


def test_a_service_of_two_teams_belongs_to_neither_and_is_noted() -> None:
    other = {"name": "ops", "services": ["checkout"]}
    roster, notes = fetched(teams=["pay ments", "ops"], **{"teams/ops": other})
    assert [s.policy for s in roster.services] == [None]
    assert "checkout belongs to 2 teams" in notes[0]


def test_events_of_other_teams_are_left_out_and_only_overlapping_ones_asked_for() -> None:
    stray = event("two", "primary", "2026-07-01T07:00:00", "2026-07-01T16:00:00", team="ops")
    options = {"teams": ("pay ments",)}
    roster, _, server = read(build, reply(WORLD | {"/events": [stray], "/teams": ["pay ments", "ops"]}), **options)
    assert roster.shifts == ()
    until, since = int(NOON.timestamp()) + 86400, int(NOON.timestamp())
    assert f"/api/v0/events?start__lt={until}&end__gt={since}" in server.targets
