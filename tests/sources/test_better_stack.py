"""Better Stack: people by e-mail in lower case, accounts known of those on call now, no level."""

from typing import Any

from tests.contracts.vendors.better_stack import WORLD, build, event, reply
from tests.sources.reading import read
from watchkey.model.oncall import Roster


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def test_a_person_is_the_same_before_and_during_the_turn() -> None:
    roster, notes = fetched()
    assert {p.id: (p.emails, p.active) for p in roster.people} == {
        "one@example.com": (("One@example.com",), True),
        "two@example.com": (("two@example.com",), None),
    }
    assert "no level" in notes[0]


def test_levels_are_unknown_and_calendars_are_schedules() -> None:
    roster, _ = fetched()
    assert {(s.level, s.policy, s.schedule) for s in roster.shifts} == {(None, None, "1")}
    assert {s.name for s in roster.schedules} == {"Tier 1", "Tier 2"}


def test_only_configured_calendars_are_read() -> None:
    _, _, server = read(build, reply(WORLD), schedules=("2",))
    assert [target for target in server.targets if "events" in target] == ["/api/v2/on-calls/2/events"]


def test_several_in_one_event_are_all_on_call() -> None:
    both = event("x", "2026-07-01T07:00:00Z", "2026-07-01T16:00:00Z") | {"users": ["a@example.com", "b@example.com"]}
    assert {s.person for s in fetched(**{"1": [both]})[0].shifts} == {"a@example.com", "b@example.com"}
