"""Splunk On-Call: overrides taken out of rolls, levels only where a label is in one step."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.contracts.source_case import CANARY
from tests.contracts.vendors.splunk_oncall import DIRECT, ENTRY, WORLD, build, name, reply, schedule
from tests.sources.reading import HOUR, facts, read
from watchkey.model.oncall import EndKind, Provenance, Roster

NINE, SIX = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)


def fetched(*entries: dict[str, Any], overrides: list[dict[str, Any]] | None = None, **world: Any) -> Roster:
    changed = {"/v2/team/team-1/oncall/schedule": schedule(*(entries or (ENTRY, DIRECT)), overrides=overrides)}
    return read(build, reply(WORLD | changed | world))[0]


def override(start: str, end: str, orig: str, new: str | None) -> dict[str, Any]:
    return {"start": start, "end": end, "origOnCallUser": name(orig), "overrideOnCallUser": name(new)}


def of(roster: Roster) -> set[tuple[Any, ...]]:
    return {(s.person, s.starts_at, s.ends_at, s.provenance) for s in roster.shifts if s.schedule}


def test_shifts_carry_policy_level_and_rotation() -> None:
    roster = fetched()
    assert ("one", "pol-1", 1, "pol-1/Primary", NINE, SIX) in facts(roster.shifts)
    assert {(s.level, s.end_kind) for s in roster.shifts if s.person == "three"} == {(2, EndKind.PERMANENT)}


def test_an_override_takes_its_time_from_whom_it_replaces() -> None:
    taken = override("2026-07-01T13:00:00Z", "2026-07-01T14:00:00Z", "one", "three")
    stray = override("2026-07-01T13:00:00Z", "2026-07-01T14:00:00Z", "two", "three")
    gap = override("2026-07-01T15:00:00Z", "2026-07-01T17:00:00Z", "one", None)
    assert of(fetched(ENTRY, overrides=[gap, taken, stray])) == {
        ("one", NINE, SIX - 3 * HOUR, Provenance.UNKNOWN),
        ("three", SIX - 3 * HOUR, SIX - 2 * HOUR, Provenance.SELF_OVERRIDE),
        ("one", SIX - 2 * HOUR, SIX - HOUR, Provenance.UNKNOWN),
        ("two", SIX, SIX + 15 * HOUR, Provenance.UNKNOWN),
    }


def test_of_two_overrides_that_overlap_nobody_has_time_twice() -> None:
    both = [
        override("2026-07-01T12:00:00Z", "2026-07-01T15:00:00Z", "one", "two"),
        override("2026-07-01T14:00:00Z", "2026-07-01T16:00:00Z", "one", "three"),
    ]
    spans = sorted((s, e) for _, s, e, _ in of(fetched(ENTRY, overrides=both)))
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


@pytest.mark.parametrize("labels", [["Primary", "Primary"], ["Other"], []])
def test_a_label_that_is_not_in_exactly_one_step_has_no_level(labels: list[str]) -> None:
    steps = [{"timeout": 0, "entries": [{"rotationGroup": {"label": label}}]} for label in labels]
    roster = fetched(ENTRY, **{"/v1/policies/pol-1": {"name": "High", "slug": "pol-1", "steps": steps}})
    assert {s.level for s in roster.shifts} == {None}


def test_who_has_left_is_inactive() -> None:
    users = {"users": [{"username": "one"}]}
    assert {p.id: p.active for p in fetched(ENTRY, **{"/v2/user": users}).people} == {"one": True, "two": False}


def test_both_halves_of_the_credential_are_sent() -> None:
    _, _, server = read(build, reply(WORLD))
    assert b"x-vo-api-id: id\r\n" in server.requests[0].lower()
    assert CANARY.encode() in server.requests[0]
