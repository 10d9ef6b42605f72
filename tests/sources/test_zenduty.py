"""Zenduty: the present only, without levels and ends."""

from datetime import UTC, datetime
from typing import Any

from tests.contracts.vendors.zenduty import WORLD, build, on_call, reply
from tests.sources.reading import read
from watchkey.model.oncall import EndKind, Provenance, Roster, Scope, ScopeKind
from watchkey.rules.roster import index_roster

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | {f"/{name}/": value for name, value in world.items()}))
    return roster, source.notes


def test_nothing_is_claimed_that_zenduty_does_not_tell() -> None:
    roster, notes = fetched()
    facts = {(s.person, s.policy, s.level, s.schedule, s.ends_at, s.end_kind, s.provenance) for s in roster.shifts}
    assert facts == {(user, "e1", None, None, None, EndKind.UNKNOWN, Provenance.UNKNOWN) for user in ("one", "two")}
    assert "neither levels nor ends" in notes[0]


def test_a_service_is_paged_by_its_policy() -> None:
    index = index_roster(fetched()[0])
    scope = Scope(index.source, ScopeKind.SERVICE, "sv1")
    assert {s.person for s in index.on_call(scope, NOON)} == {"one", "two"}


def test_a_policy_with_nobody_on_call_is_known_and_empty() -> None:
    index = index_roster(fetched(**{"teams/t1/oncall": [on_call()]})[0])
    for policy in ("e1", "e2"):
        scope = Scope(index.source, ScopeKind.ESCALATION_POLICY, policy)
        assert index.knows(scope)
        assert index.on_call(scope, NOON) == ()


def test_a_policy_counts_as_a_schedule_where_an_operator_says_so() -> None:
    roster, _, _ = read(build, reply(WORLD), policies_as_schedules=True)
    index = index_roster(roster)
    scope = Scope(index.source, ScopeKind.SCHEDULE, "e1")
    assert {(s.person, s.level, s.end_kind) for s in index.on_call(scope, NOON)} == {
        ("one", None, EndKind.UNKNOWN),
        ("two", None, EndKind.UNKNOWN),
    }
    assert index.knows(Scope(index.source, ScopeKind.SCHEDULE, "e2"))
    assert not index_roster(fetched()[0]).knows(scope)


def test_who_is_no_member_is_inactive() -> None:
    assert {p.id: p.active for p in fetched(members=WORLD["/members/"][1:])[0].people} == {
        "one": False,
        "two": True,
        "three": True,
    }


def test_other_teams_are_not_asked() -> None:
    teams = [*WORLD["/teams/"], {"unique_id": "t2", "name": "Other"}]
    _, _, server = read(build, reply(WORLD | {"/teams/": teams}), teams=("t1",))
    assert not [target for target in server.targets if "/t2/" in target]
