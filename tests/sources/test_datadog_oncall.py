"""Datadog On-Call: shifts count and positions do not, the running shift has no start, accounts have a status."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.contracts.vendors.datadog_oncall import (
    WORLD,
    build,
    policy,
    position,
    ref,
    reply,
    responders,
    shift,
    step,
    user,
)
from tests.fakes.hasty_clock import HastyClock
from tests.sources.reading import NAME, facts, read
from watchkey.model.errors import Malformed
from watchkey.model.oncall import Roster
from watchkey.model.secret import Secret
from watchkey.sources import datadog_oncall

SIX = datetime(2026, 7, 1, 16, tzinfo=UTC)


def fetched(*included: dict[str, Any], **world: Any) -> tuple[Roster, tuple[str, ...]]:
    changed = {"/schedules/s1/responders": responders(*included)} if included else {}
    roster, source, _ = read(build, reply(WORLD | changed | world))
    return roster, source.notes


def test_the_running_shift_has_its_end_and_no_start() -> None:
    roster, notes = fetched()
    assert ("u1", "e1", 1, "s1", None, SIX) in facts(roster.shifts)
    assert ("u2", "e1", 1, "s1", SIX, datetime(2026, 7, 2, 7, tzinfo=UTC)) in facts(roster.shifts)
    assert "none behind it" in notes[-1]


def test_a_position_without_a_shift_and_a_shift_without_a_user_are_nobody() -> None:
    empty = shift("h1", None, "2026-07-01T12:00:00Z", "2026-07-01T16:00:00Z")
    roster, _ = fetched(position("current", "h1"), position("next"), empty)
    assert {s.schedule for s in roster.shifts} == {None}


def test_several_at_once_are_all_on_call() -> None:
    both = [shift(f"h{n}", f"u{n}", "2026-07-01T12:00:00Z", "2026-07-01T16:00:00Z") for n in (1, 2)]
    roster, _ = fetched(position("current", "h1", "h2"), *both, user("u1"), user("u2"))
    assert {s.person for s in roster.shifts if s.schedule} == {"u1", "u2"}


@pytest.mark.parametrize(
    ("status", "active"), [("active", True), ("Active", True), ("pending", False), ("disabled", False)]
)
def test_only_an_active_account_is_active(status: str, active: bool) -> None:  # noqa: FBT001 -- what is expected
    turn = shift("h1", "u1", "2026-07-01T12:00:00Z", "2026-07-01T16:00:00Z")
    roster, _ = fetched(position("current", "h1"), turn, user("u1", status))
    assert {p.active for p in roster.people if p.id == "u1"} == {active}


def test_what_was_asked_for_and_did_not_come_is_malformed() -> None:
    with pytest.raises(Malformed, match="did not come along"):
        fetched(position("current", "h1"))
    bare = ref("shifts", "h1") | {"attributes": {"start": None, "end": None}}
    with pytest.raises(Malformed, match="without its times"):
        fetched(position("current", "h1"), bare)


def test_a_team_that_is_paged_opens_nothing_and_keeps_its_level() -> None:
    world = {"/escalation-policies/e1": policy(step("p1", ref("teams", "t")), step("p2", ref("schedules", "s1")))}
    roster, notes = fetched(**world)
    assert {s.level for s in roster.shifts} == {2}
    assert "level 1: a team" in notes[0]


def test_the_site_is_the_host() -> None:
    config = datadog_oncall.Config(
        api_key=Secret("a"), application_key=Secret("b"), site="datadoghq.eu", schedules=("s1",)
    )
    source: Any = datadog_oncall.build(config, name=NAME, clock=HastyClock())
    assert source._client._base.host == "api.datadoghq.eu"
    asyncio.run(source.close())
