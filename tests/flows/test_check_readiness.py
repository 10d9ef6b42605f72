"""Readiness asks the same decision as the service does, for the instants at which shifts begin."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, timedelta
from typing import Any

from tests.builders import HOUR, NOW, SERVICE, SOURCE, index, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from watchkey.flows.check_readiness import CheckReadiness
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import Needs, Outcome, Reason, Resource, Verdict
from watchkey.model.ids import PrivilegeName, SubjectId
from watchkey.model.oncall import Person, Provenance, Scope, ScopeKind, Shift
from watchkey.rules.directory import Directory
from watchkey.rules.readiness import Readiness
from watchkey.stores.memory import MemoryRosters

END = NOW + 24 * HOUR
ALICE = shift(starts_at=NOW - HOUR, ends_at=NOW + 8 * HOUR)
BOB = shift("PBOB", starts_at=NOW + 8 * HOUR, ends_at=END)


def check(
    *shifts: Shift,
    about: Resource | None = None,
    engine: ScriptedEngine | None = None,
    privileges: Sequence[str] = (),
    groups: dict[SubjectId, frozenset[str]] | None = None,
    pairs: Sequence[tuple[str, str]] = (),
    has_roster: bool = True,
    **facts: Any,
) -> Readiness:
    guarded, clock, rosters, linked = about or resource(), DrivenClock(NOW), MemoryRosters(), links(*pairs)
    if has_roster:
        rosters.swap(index(*shifts, **facts), read_at=clock.monotonic())
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines={"default": engine or ScriptedEngine()},
        audit=MemoryAudit(),
        directory=Directory(resources={guarded.id: guarded}, links=linked, groups=groups or {}),
        zone=UTC,
    )
    indexes = {name: held.index for name, held in rosters.held().items()}
    flow = CheckReadiness(explains=access, rosters=indexes, links=linked)
    return asyncio.run(flow.check(guarded, NOW, END, [PrivilegeName(one) for one in privileges]))


def problems(found: Readiness) -> list[Reason | None]:
    return [one.problem for one in found.turns]


def test_two_who_hand_over_leave_no_hole() -> None:
    found = check(ALICE, BOB)
    assert problems(found) == [None, None]
    assert found.gaps == ()
    assert not found.has_hole


def test_each_way_to_be_turned_away_is_found_before_the_shift() -> None:
    gone = (Person(id="PALICE", name="alice"), Person(id="PBOB", name="bob", active=False))  # type: ignore[arg-type]  # short
    only_alice = (Person(id="PALICE", name="alice"),)  # type: ignore[arg-type]  # short
    weak = shift("PBOB", starts_at=BOB.starts_at, ends_at=BOB.ends_at, provenance=Provenance.SELF_OVERRIDE)
    guarded = resource(eligible_groups=frozenset({"dba"}))
    alice_only = {SubjectId("alice"): frozenset({"dba"})}
    assert problems(check(ALICE, BOB, pairs=[("alice", "PALICE")])) == [None, Reason.NOT_LINKED]
    twice = [("alice", "PALICE"), ("bob", "PBOB"), ("mallory", "PBOB")]
    assert problems(check(ALICE, BOB, pairs=twice)) == [None, Reason.IDENTITY_AMBIGUOUS]
    assert problems(check(ALICE, BOB, people=gone)) == [None, Reason.PERSON_INACTIVE]
    assert problems(check(ALICE, BOB, people=only_alice)) == [None, Reason.PERSON_UNKNOWN]
    assert problems(check(ALICE, BOB, about=guarded, groups=alice_only)) == [None, Reason.NOT_ELIGIBLE]
    assert problems(check(ALICE, weak, privileges=["write"])) == [None, Reason.PROVENANCE_TOO_WEAK]


def test_the_policy_is_asked_for_the_instant_at_which_the_shift_begins() -> None:
    engine = ScriptedEngine()
    check(ALICE, BOB, engine=engine, privileges=["write"])
    assert [document["now"] for document in engine.documents] == ["2026-07-01T12:00:00Z", "2026-07-01T20:00:00Z"]
    no = check(ALICE, BOB, engine=ScriptedEngine(Verdict(outcome=Outcome.NO)))
    assert problems(no) == [Reason.POLICY_DENIED, Reason.POLICY_DENIED]
    assert "policy" in no.turns[0].sentence
    assert [(gap.starts_at, gap.ends_at) for gap in no.gaps] == [(NOW, END)]


def test_a_gap_in_the_rota_is_found_to_the_second() -> None:
    late = shift("PBOB", starts_at=NOW + 8 * HOUR + timedelta(seconds=1), ends_at=END)
    (gap,) = check(ALICE, late).gaps
    assert (gap.starts_at, gap.ends_at) == (NOW + 8 * HOUR, NOW + 8 * HOUR + timedelta(seconds=1))


def test_some_privileges_are_enough_for_a_turn_and_a_gap_says_which_are_not() -> None:
    found = check(ALICE, shift("PBOB", starts_at=BOB.starts_at, ends_at=END, provenance=Provenance.SELF_OVERRIDE))
    assert problems(found) == [None, None]
    assert [(gap.starts_at, gap.privileges) for gap in found.gaps] == [(NOW + 8 * HOUR, ("write",))]


def test_what_was_not_read_is_not_judged() -> None:
    unread = check(has_roster=False)
    assert unread.unread == (SOURCE,)
    assert not unread.has_hole
    short = check(ALICE, BOB, window_ends_at=NOW + 10 * HOUR)
    assert short.ends_at == NOW + 10 * HOUR
    assert not short.has_hole


def test_a_pager_that_the_source_does_not_know_is_a_hole() -> None:
    elsewhere = Scope(SOURCE, ScopeKind.SERVICE, "typo")
    found = check(ALICE, BOB, about=resource(scopes=(SERVICE, elsewhere)))
    assert found.unknown == (elsewhere,)
    assert found.has_hole


def test_a_resource_for_responders_has_no_turns() -> None:
    found = check(about=resource(needs=Needs.RESPONDING))
    assert found.remark
    assert not found.has_hole


def test_a_level_that_waits_for_an_escalation_is_checked_and_covers_no_gap() -> None:
    second = shift("PBOB", level=2, starts_at=NOW - HOUR, ends_at=END)
    guarded = resource(max_level=2, level_follows_escalation=True)
    found = check(ALICE, second, about=guarded)
    assert [(one.problem, one.is_standby) for one in found.turns] == [(None, False), (None, True)]
    [gap] = found.gaps
    assert (gap.starts_at, gap.ends_at) == (ALICE.ends_at, END)
    unlinked = check(ALICE, second, about=guarded, pairs=[("alice", "PALICE")])
    assert problems(unlinked) == [None, Reason.NOT_LINKED]
    assert problems(check(ALICE, second, about=guarded, groups={})) == [None, None]
    only_dba = resource(max_level=2, level_follows_escalation=True, eligible_groups=frozenset({"dba"}))
    assert problems(check(second, about=only_dba)) == [Reason.NOT_ELIGIBLE]
