"""Replays: what is read of a log, and who gains and loses."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import msgspec
import pytest

from tests.builders import NOW, request
from watchkey.flows.replay_decisions import Comparison, LoggedDecision, logged_decisions, replay
from watchkey.model.access import Allow, Decision, Deny, Ground, Reason
from watchkey.model.audit import AuditEvent, DecisionMade, DecisionsRepeated, ServiceStarted
from watchkey.model.errors import Refused
from watchkey.model.ids import SourceName
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.policy_change import Change

GROUND = Ground(source=SourceName("pager"), revision=7, age=timedelta(seconds=1.5))


def allow(subject: str = "alice", hours: float = 1) -> Allow:
    return Allow(
        request=request(subject),
        decided_at=NOW,
        until=NOW + timedelta(hours=hours),
        reason=Reason.ON_CALL,
        sentence="",
        evidence=(),
        grounds=(GROUND,),
    )


def deny(subject: str = "alice", reason: Reason = Reason.POLICY_DENIED) -> Deny:
    return Deny(request=request(subject), decided_at=NOW, reason=reason, sentence="", grounds=(GROUND,))


def log(*events: AuditEvent) -> list[tuple[int, bytes]]:
    return [(seq, make_entry(event, seq=seq, high_water=None).body) for seq, event in enumerate(events)]


def read(*events: AuditEvent) -> list[LoggedDecision]:
    decisions, unreadable = logged_decisions(log(*events))
    assert unreadable == 0
    return decisions


def compared(decisions: list[LoggedDecision], old: Mapping[str, Decision], new: Mapping[str, Decision]) -> Comparison:
    async def before(logged: LoggedDecision) -> Decision:
        return old[logged.request.subject.id]

    async def after(logged: LoggedDecision) -> Decision:
        if logged.request.subject.id not in new:
            raise Refused("its roster is gone")
        return new[logged.request.subject.id]

    return asyncio.run(replay(decisions, before, after))


def test_what_is_read_of_a_log() -> None:
    (one,) = read(ServiceStarted(at=NOW, version="1"), DecisionMade(decision=allow()))
    assert (one.seq, one.at, one.reason, one.times) == (1, NOW, "on_call", 1)
    assert one.grounds == (("pager", 7, timedelta(seconds=1.5)),)
    assert (one.request.subject, one.request.resource) == (request().subject, request().resource)
    assert (one.request.privilege, one.request.caller) == (request().privilege, request().caller)


def test_repetitions_are_counted() -> None:
    repeated = DecisionsRepeated(at=NOW, seq=0, count=4)
    elsewhere = DecisionsRepeated(at=NOW, seq=99, count=4)
    (one,) = read(DecisionMade(decision=allow()), repeated, repeated, elsewhere)
    assert one.times == 9


@pytest.mark.parametrize("reason", [Reason.CALLER_NOT_ALLOWED, Reason.UNKNOWN_RESOURCE, Reason.AUDIT_UNAVAILABLE])
def test_denials_without_a_policy_are_passed_over(reason: Reason) -> None:
    assert read(DecisionMade(decision=deny(reason=reason))) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"kind": 1}', b'{"kind": "decision", "at": "x"}', b"\xff"])
def test_what_cannot_be_read_is_counted(raw: bytes) -> None:
    decisions, unreadable = logged_decisions([(0, raw), *log(DecisionMade(decision=allow()))])
    assert (len(decisions), unreadable) == (1, 1)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (allow(), allow(), None),
        (deny(), deny(), None),
        (deny(), allow(), Change.GAINS),
        (allow(), deny(), Change.LOSES),
        (allow(), allow(hours=0.5), Change.SHORTER),
        (allow(), allow(hours=2), Change.LONGER),
        (deny(), deny(reason=Reason.POLICY_FAILED), Change.REASON),
    ],
)
def test_each_kind_of_difference(old: Decision, new: Decision, kind: Change | None) -> None:
    found = compared(read(DecisionMade(decision=allow())), {"alice": old}, {"alice": new})
    assert [one.kind for one in found.differences] == ([kind] if kind else [])
    assert found.compared == 1


def test_differences_are_told_by_name_and_count() -> None:
    decisions = read(
        DecisionMade(decision=allow("bob")),
        DecisionMade(decision=allow("alice")),
        DecisionsRepeated(at=NOW, seq=1, count=5),
        DecisionMade(decision=deny("carol")),
        DecisionMade(decision=allow("alice")),
        DecisionMade(decision=allow("dan")),
    )
    old = {"alice": allow(), "bob": allow(), "carol": deny(), "dan": allow()}
    new = {"alice": deny(), "bob": allow(), "carol": allow()}
    found = compared(decisions, old, new)
    gains, loses = found.differences
    assert (gains.kind, gains.subject, gains.old, gains.new, gains.times) == (
        Change.GAINS, "carol", "policy_denied", "on_call", 1,
    )  # fmt: skip
    assert (loses.kind, loses.subject, loses.times, loses.first_seq) == (Change.LOSES, "alice", 7, 1)
    assert (found.compared, found.lost) == (9, {"its roster is gone": 1})


def test_the_entries_are_the_ones_that_the_log_writes() -> None:
    ((_, body),) = log(DecisionMade(decision=allow()))
    assert msgspec.json.decode(body)["grounds"] == [{"source": "pager", "revision": 7, "age_s": 1.5}]
