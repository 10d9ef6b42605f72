"""Asking: recorded before answered, counted when repeated, denied when anything breaks."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import CALLER, HOUR, NOW, SOURCE, incident, index, links, request, resource, responder, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import Agreement, Allow, Caller, Deny, FactKind, Link, Outcome, Reason, Subject, Verdict
from watchkey.model.audit import AuditEvent, DecisionMade, DecisionsRepeated
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Incident, Involvement, Scope, ScopeKind
from watchkey.ports import RosterStore
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.rules.roster import RosterIndex
from watchkey.stores.memory import MemoryRosters


@dataclass
class Desk:
    """The use case with its surroundings at hand."""

    clock: DrivenClock = field(default_factory=lambda: DrivenClock(NOW))
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)
    rosters: RosterStore = field(default_factory=MemoryRosters)
    directory: Directory = field(
        default_factory=lambda: Directory(resources={ResourceId("orders-db"): resource()}, links=links())
    )

    def __post_init__(self) -> None:
        self.access = RequestAccess(
            clock=self.clock,
            rosters=self.rosters,
            engines={"default": self.engine},
            audit=self.audit,
            directory=self.directory,
            zone=UTC,
        )

    def read(self, roster: RosterIndex) -> None:
        self.rosters.swap(roster, read_at=self.clock.monotonic())

    def ask(self, subject: str = "alice", caller: Caller = CALLER, **changes: Any) -> Allow | Deny:
        return asyncio.run(self.access.decide(request(subject, **changes), caller))

    def decisions(self) -> list[DecisionMade]:
        return [event for event in self.audit.events if isinstance(event, DecisionMade)]


def test_an_allow_is_in_the_log_before_it_is_answered() -> None:
    desk = Desk()
    desk.read(index(shift()))
    answer = desk.ask()
    assert isinstance(answer, Allow)
    assert desk.decisions() == [DecisionMade(decision=answer)]
    assert answer.grounds[0].revision == 1


def test_without_a_log_there_is_no_allow() -> None:
    desk = Desk()
    desk.read(index(shift()))
    desk.audit.fails = True
    answer = desk.ask()
    assert isinstance(answer, Deny)
    assert answer.reason is Reason.AUDIT_UNAVAILABLE
    desk.audit.fails = False
    assert isinstance(desk.ask(), Allow)


def test_nobody_learns_an_allow_while_the_log_is_still_writing() -> None:
    class SlowAudit(MemoryAudit):
        def __init__(self) -> None:
            super().__init__()
            self.written = asyncio.Event()

        async def append(self, event: AuditEvent) -> int:
            await self.written.wait()
            return await super().append(event)

    async def scenario() -> None:
        audit = SlowAudit()
        desk = Desk(audit=audit)
        desk.read(index(shift()))
        asked = asyncio.create_task(desk.access.decide(request(), CALLER))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asked.done()
        audit.written.set()
        assert isinstance(await asked, Allow)

    asyncio.run(scenario())


def test_a_repeated_allow_is_counted_and_not_written_again() -> None:
    desk = Desk()
    desk.read(index(shift()))
    first = desk.ask()
    assert [desk.ask() for _ in range(5)] == [first] * 5
    assert len(desk.audit.events) == 1
    asyncio.run(desk.access.write_repeats())
    assert desk.audit.events[1:] == [DecisionsRepeated(at=NOW, seq=0, count=5)]
    asyncio.run(desk.access.write_repeats())
    assert len(desk.audit.events) == 2


def test_the_oldest_answer_is_forgotten_first_and_only_costs_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkey.flows.request_access.REMEMBERED_MAX", 2)
    desk = Desk()
    desk.read(index(shift()))
    for privilege in ("write", "read", "admin", "read", "write"):
        desk.ask(privilege=privilege)
    assert [each.decision.request.privilege for each in desk.decisions()] == ["write", "read", "admin", "write"]


def test_a_repeated_allow_ends_with_the_shift() -> None:
    desk = Desk()
    desk.read(index(shift()))
    assert isinstance(desk.ask(), Allow)
    desk.clock.advance(HOUR / 2 - timedelta(microseconds=1))
    assert isinstance(desk.ask(), Allow)
    desk.clock.advance(timedelta(microseconds=1))
    desk.read(index(shift()))
    assert desk.ask().reason is Reason.NOT_ON_CALL


def test_a_new_roster_ends_a_repeated_allow_at_once() -> None:
    desk = Desk()
    desk.read(index(shift()))
    assert isinstance(desk.ask(), Allow)
    desk.read(index(shift("PBOB")))
    assert desk.ask().reason is Reason.NOT_ON_CALL


def test_a_new_policy_and_a_new_directory_end_it_too() -> None:
    desk = Desk()
    desk.read(index(shift()))
    assert isinstance(desk.ask(), Allow)
    desk.engine.verdict = Verdict(outcome=Outcome.NO, policy_hash="another")
    assert desk.ask().reason is Reason.POLICY_DENIED
    desk = Desk()
    desk.read(index(shift()))
    assert isinstance(desk.ask(), Allow)
    desk.access.directory = replace(desk.directory, links=links(("bob", "PBOB")))
    assert desk.ask().reason is Reason.NOT_LINKED


def test_another_context_is_another_question() -> None:
    desk = Desk()
    desk.read(index(shift()))
    desk.ask(context={"ip": "a"})
    desk.ask(context={"ip": "b"})
    assert [document["context"] for document in desk.engine.documents] == [{"ip": "a"}, {"ip": "b"}]
    assert len(desk.decisions()) == 2


def test_a_clock_that_goes_back_does_not_revive_an_allow() -> None:
    desk = Desk()
    desk.read(index(shift(), shift("PBOB", starts_at=NOW + HOUR / 2, ends_at=NOW + HOUR)))
    assert isinstance(desk.ask(), Allow)
    desk.clock.set_wall(NOW - HOUR / 2)
    desk.ask()
    assert len(desk.decisions()) == 2


def test_an_equal_denial_is_decided_anew_and_counted_for_a_minute() -> None:
    desk = Desk()
    desk.read(index(shift("PBOB")))
    for _ in range(3):
        assert desk.ask().reason is Reason.NOT_ON_CALL
    assert len(desk.engine.documents) == 3
    assert len(desk.decisions()) == 1
    desk.clock.advance(timedelta(seconds=60))
    desk.ask()
    assert [type(event) for event in desk.audit.events] == [DecisionMade, DecisionsRepeated, DecisionMade]


def test_a_denial_turns_into_an_allow_at_the_very_instant() -> None:
    desk = Desk()
    desk.read(index(shift(starts_at=NOW + timedelta(seconds=1), ends_at=NOW + HOUR)))
    denied = desk.ask()
    assert isinstance(denied, Deny)
    assert denied.next_shift_at == NOW + timedelta(seconds=1)
    desk.clock.advance(timedelta(seconds=1))
    assert isinstance(desk.ask(), Allow)


def test_a_caller_asks_only_about_its_own_resources() -> None:
    desk = Desk()
    desk.read(index(shift()))
    stranger = Caller(id=CallerId("proxy"), resources=frozenset({ResourceId("wiki")}))
    assert desk.ask(caller=stranger).reason is Reason.CALLER_NOT_ALLOWED
    assert len(desk.decisions()) == 1


def test_the_caller_is_who_was_verified_not_who_the_question_says() -> None:
    desk = Desk()
    desk.read(index(shift()))
    answer = desk.ask(caller=replace(CALLER, id=CallerId("proxy")))
    assert answer.request.caller == "proxy"


def test_groups_count_by_review_and_from_trusted_callers_only() -> None:
    guarded = resource(eligible_groups=frozenset({"dba"}))
    directory = Directory(resources={guarded.id: guarded}, links=links())
    claims = Subject(id=SubjectId("alice"), groups=frozenset({"dba"}))
    desk = Desk(directory=directory)
    desk.read(index(shift()))
    assert desk.ask().reason is Reason.NOT_ELIGIBLE
    untrusted = Caller(id=CallerId("proxy"), resources=None)
    asked = replace(request(), subject=claims)
    assert isinstance(asyncio.run(desk.access.decide(asked, untrusted)), Deny)
    assert isinstance(asyncio.run(desk.access.decide(asked, CALLER)), Allow)
    reviewed = replace(directory, groups={SubjectId("alice"): frozenset({"dba"})})
    desk = Desk(directory=reviewed)
    desk.read(index(shift()))
    assert isinstance(desk.ask(), Allow)


def test_unknown_resources_and_unread_rosters_are_denied() -> None:
    desk = Desk()
    assert desk.ask(resource=ResourceId("nothing")).reason is Reason.UNKNOWN_RESOURCE
    assert desk.ask().reason is Reason.NO_ROSTER


def test_whatever_breaks_inside_is_a_denial() -> None:
    class BrokenEngine(ScriptedEngine):
        async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
            del document, now
            raise ZeroDivisionError

    desk = Desk(engine=BrokenEngine())
    desk.read(index(shift()))
    assert desk.ask().reason is Reason.INTERNAL_ERROR


def test_ages_are_measured_by_the_monotonic_clock() -> None:
    desk = Desk()
    desk.read(index(shift("PBOB"), taken_at=NOW))
    desk.clock.set_wall(NOW + timedelta(seconds=30))
    assert desk.ask().reason is Reason.NOT_ON_CALL
    desk.clock.advance(timedelta(minutes=11))
    assert desk.ask().reason is Reason.ROSTER_STALE


def test_explaining_decides_alike_and_records_nothing() -> None:
    desk = Desk()
    desk.read(index(shift(), shift("PBOB", starts_at=NOW + HOUR / 2, ends_at=NOW + 2 * HOUR)))
    told = asyncio.run(desk.access.explain(request()))
    assert desk.audit.events == []
    real = desk.ask()
    assert told.decision.reason is real.reason
    assert told.document["subject"] == {"id": "alice", "groups": []}
    later = asyncio.run(desk.access.explain(request("bob"), at=NOW + HOUR))
    assert isinstance(later.decision, Allow)
    assert later.decision.until == NOW + 2 * HOUR
    nothing = asyncio.run(desk.access.explain(request(resource=ResourceId("nothing"))))
    assert nothing.decision.reason is Reason.UNKNOWN_RESOURCE


# --- the end of an incident -----------------------------------------------------------------------------------------

GRACE = timedelta(minutes=15)


@dataclass
class Fire(Desk):
    """An incident at which alice is, on a resource with a time of grace."""

    directory: Directory = field(
        default_factory=lambda: Directory(
            resources={ResourceId("orders-db"): resource(incident_grace=GRACE)}, links=links()
        )
    )

    def shows(self, *incidents: Incident) -> None:
        """A read that is taken over, and told of as the service does."""
        self.read(index(incidents=incidents))
        self.access.roster_changed(SOURCE)


BURNING = incident(responder())


def test_who_held_it_at_the_end_of_the_incident_keeps_it_for_the_time_of_grace() -> None:
    desk = Fire()
    desk.shows(BURNING)
    assert desk.ask().reason is Reason.RESPONDING
    desk.clock.advance(timedelta(minutes=20))
    desk.shows()
    answer = desk.ask()
    assert isinstance(answer, Allow)
    assert (answer.reason, answer.until) == (Reason.GRACE, NOW + timedelta(minutes=35))
    assert [fact.kind for fact in desk.decisions()[-1].decision.evidence] == [FactKind.GRACE]
    desk.clock.advance(timedelta(minutes=15))
    desk.shows()
    assert desk.ask().reason is Reason.NOT_ON_CALL


def test_later_reads_do_not_prolong_the_grace() -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.shows()
    ends = {desk.ask().until}  # type: ignore[union-attr]  # an allow
    for i in range(1, 3):
        desk.clock.advance(timedelta(minutes=5))
        desk.shows(incident(id=f"Q{i + 5}"))
        ends.add(desk.ask().until)  # type: ignore[union-attr]  # an allow
    assert ends == {NOW + GRACE}
    desk.clock.advance(timedelta(minutes=5))
    assert isinstance(desk.ask(), Deny)


def test_a_grace_that_nobody_asks_for_runs_all_the_same() -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.shows()
    desk.clock.advance(timedelta(minutes=10))
    desk.shows(incident(id="Q9"))
    assert desk.ask().until == NOW + GRACE  # type: ignore[union-attr]  # an allow


@pytest.mark.parametrize("then", [(), (incident(),), (incident(responder("PBOB")),)])
def test_resolving_unassigning_and_taking_back_have_a_grace_and_declining_has_none(then: tuple[Incident, ...]) -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.shows(*then)
    assert desk.ask().reason is Reason.GRACE
    desk.shows(incident(responder(involvement=Involvement.DECLINED)))
    assert isinstance(desk.ask(), Deny)


def test_who_declines_has_no_grace() -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.shows(incident(responder(involvement=Involvement.DECLINED)))
    assert isinstance(desk.ask(), Deny)
    desk.shows()
    assert isinstance(desk.ask(), Deny)


def test_who_held_nothing_or_another_privilege_gets_no_grace() -> None:
    desk = Fire()
    desk.shows(incident(responder(), responder("PBOB")))
    desk.ask("alice", privilege="read")
    desk.shows()
    assert desk.ask("alice", privilege="read").reason is Reason.GRACE
    assert isinstance(desk.ask("alice"), Deny)
    assert isinstance(desk.ask("bob", privilege="read"), Deny)


def test_an_allow_that_had_run_out_before_the_end_gives_no_grace() -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.clock.advance(HOUR)
    desk.shows()
    assert isinstance(desk.ask(), Deny)


def test_who_was_denied_meanwhile_held_nothing() -> None:
    desk = Fire()
    desk.shows(BURNING)
    desk.ask()
    desk.shows(BURNING, incident(id="Q9"))
    desk.engine.verdict = Verdict(outcome=Outcome.NO)
    assert isinstance(desk.ask(), Deny)
    desk.engine.verdict = Verdict(outcome=Outcome.YES)
    desk.shows()
    assert isinstance(desk.ask(), Deny)


def test_without_the_setting_the_incident_ends_at_once() -> None:
    desk = Fire(directory=Directory(resources={ResourceId("orders-db"): resource()}, links=links()))
    desk.shows(BURNING)
    desk.ask()
    desk.shows()
    assert isinstance(desk.ask(), Deny)


def test_a_roster_that_changes_while_the_allow_is_written_leaves_no_grace() -> None:
    desk = Fire()
    desk.shows(BURNING)
    append = desk.audit.append

    async def while_the_incident_ends(event: AuditEvent) -> int:
        desk.shows()
        return await append(event)

    desk.audit.append = while_the_incident_ends  # type: ignore[method-assign]  # the one moment
    desk.ask()
    desk.audit.append = append  # type: ignore[method-assign]  # the one moment
    desk.clock.advance(timedelta(minutes=5))
    desk.shows(incident(id="Q9"))
    assert isinstance(desk.ask(), Deny)


def test_dependencies_of_the_configuration_carry_a_responder_across() -> None:
    guarded = resource(blast_opens=frozenset({PrivilegeName("read")}))
    desk = Fire(
        directory=Directory(
            resources={guarded.id: guarded}, links=links(), dependents={SOURCE: {"orders": ("checkout",)}}
        )
    )
    desk.shows(incident(responder(), service="checkout"))
    answer = desk.ask(privilege="read")
    assert (answer.reason, answer.evidence[0].path) == (Reason.RESPONDING, ("checkout", "orders"))
    assert desk.ask().reason is Reason.OUTSIDE_BLAST_RADIUS


SECOND = Scope(SourceName("calendar"), ScopeKind.SCHEDULE, "orders-primary")


def test_a_second_source_that_changes_its_mind_ends_a_repeated_allow_at_once() -> None:
    pairs = [
        Link(subject=SubjectId("alice"), source=name, person=PersonId("PALICE")) for name in (SOURCE, SECOND.source)
    ]
    both = resource(second_scopes=(SECOND,), agreement=Agreement.ALWAYS)
    desk = Desk(directory=Directory(resources={both.id: both}, links=Links(pairs)))
    desk.read(index(shift()))
    desk.read(index(shift(), source=SECOND.source))
    allowed = desk.ask()
    assert isinstance(allowed, Allow)
    assert [ground.source for ground in allowed.grounds] == [SOURCE, SECOND.source]
    desk.read(index(shift("PBOB"), source=SECOND.source))
    assert desk.ask().reason is Reason.SOURCES_DISAGREE


def test_who_is_nobody_and_is_written_like_somebody_is_told_to_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.read(index(shift()))
    for name, told in (("mallory", 0), ("\u0430lice", 1), ("Alice", 1), ("alice", 0)):
        caplog.clear()
        desk.ask(name)
        assert [record.message for record in caplog.records].count("identity.look_alike") == told
