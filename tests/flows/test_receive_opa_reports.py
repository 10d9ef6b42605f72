"""What OPAs report enters the log once, durably before it is answered, and never half."""

import asyncio
from typing import Any

import pytest

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from watchkey.flows import receive_opa_reports
from watchkey.flows.receive_opa_reports import OPAS_MAX, ReceiveDecisions, ReceiveStatus, Taken
from watchkey.model.audit import AuditEvent, Noted, OpaDecision
from watchkey.model.errors import Unavailable
from watchkey.model.ids import CallerId
from watchkey.rules.opa_reports import EVENT_BYTES_MAX, DecisionReport, StatusReport

OPA = CallerId("opa-prod")


def report(decision_id: str = "d1", **changes: Any) -> DecisionReport:
    fields: dict[str, Any] = {
        "decision_id": decision_id, "opa": "o1", "decided_at": "2026-07-01T12:00:00.1Z",
        "path": "watchkey/access/allow", "revisions": {"prod": "7"}, "outcome": "allow",
        "text": f'{{"decision_id":"{decision_id}"}}',
    }  # fmt: skip
    return DecisionReport(**(fields | changes))


class SlowAudit(MemoryAudit):
    """Writes when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def append(self, event: AuditEvent) -> int:
        await self.go.wait()
        return await super().append(event)


def ids(audit: MemoryAudit) -> list[str]:
    return [event.decision_id for event in audit.events if isinstance(event, OpaDecision)]


def test_a_decision_is_logged_as_it_came() -> None:
    audit = MemoryAudit()
    receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit)
    assert asyncio.run(receiver.take("prod", OPA, [report()])) == Taken(new=1, known=0)
    (event,) = audit.events
    assert isinstance(event, OpaDecision)
    assert (event.fleet, event.caller, event.opa, event.revision, event.outcome) == ("prod", OPA, "o1", "7", "allow")
    assert event.event == '{"decision_id":"d1"}'
    assert len(event.digest) == 64


def test_what_is_reported_again_is_not_logged_again() -> None:
    audit = MemoryAudit()
    receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit)
    asyncio.run(receiver.take("prod", OPA, [report("d1"), report("d2"), report("d1")]))
    assert asyncio.run(receiver.take("prod", OPA, [report("d2"), report("d3")])) == Taken(new=1, known=1)
    assert ids(audit) == ["d1", "d2", "d3"]
    assert (receiver.new, receiver.known) == (3, 2)


def test_what_the_log_has_already_is_known_after_a_restart() -> None:
    audit = MemoryAudit()
    receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit, seen=[("prod", "d1")])
    asyncio.run(receiver.take("prod", OPA, [report("d1")]))
    assert ids(audit) == []
    asyncio.run(receiver.take("test", OPA, [report("d1")]))
    assert ids(audit) == ["d1"], "ids of another fleet are another fleet's"


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_opa_reports, "REMEMBERED_MAX", 3)
    receiver = ReceiveDecisions(clock=DrivenClock(), audit=MemoryAudit(), seen=[("prod", f"s{i}") for i in range(10)])
    asyncio.run(receiver.take("prod", OPA, [report(f"d{i}") for i in range(5)]))
    assert len(receiver._seen) == 3


def test_a_report_that_could_not_be_logged_is_an_error_and_new_the_next_time() -> None:
    audit = MemoryAudit()
    receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit)
    audit.fails = True
    with pytest.raises(Unavailable, match="2 of 2"):
        asyncio.run(receiver.take("prod", OPA, [report("d1"), report("d2")]))
    audit.fails = False
    assert asyncio.run(receiver.take("prod", OPA, [report("d1"), report("d2")])) == Taken(new=2, known=0)


def test_the_answer_waits_for_the_disk_also_when_another_report_writes_it() -> None:
    async def scenario() -> None:
        audit = SlowAudit()
        receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit)
        first = asyncio.create_task(receiver.take("prod", OPA, [report("d1")]))
        await asyncio.sleep(0)
        second = asyncio.create_task(receiver.take("prod", OPA, [report("d1")]))
        await asyncio.sleep(0.01)
        assert not first.done()
        assert not second.done(), "it must not say that it has what may yet be lost"
        audit.go.set()
        assert await first == Taken(new=1, known=0)
        assert await second == Taken(new=0, known=1)
        assert ids(audit) == ["d1"]

    asyncio.run(scenario())


def test_a_client_that_hangs_up_leaves_nothing_half_known() -> None:
    async def scenario() -> None:
        audit = SlowAudit()
        receiver = ReceiveDecisions(clock=DrivenClock(), audit=audit)
        first = asyncio.create_task(receiver.take("prod", OPA, [report("d1")]))
        await asyncio.sleep(0.01)
        first.cancel()
        again = asyncio.create_task(receiver.take("prod", OPA, [report("d1")]))
        await asyncio.sleep(0.01)
        audit.go.set()
        assert await again == Taken(new=0, known=1)
        assert ids(audit) == ["d1"]

    asyncio.run(scenario())


def test_an_event_that_is_too_long_is_logged_by_its_digest() -> None:
    audit = MemoryAudit()
    text = '"' + "x" * EVENT_BYTES_MAX + '"'
    asyncio.run(ReceiveDecisions(clock=DrivenClock(), audit=audit).take("prod", OPA, [report(text=text)]))
    (event,) = audit.events
    assert isinstance(event, OpaDecision)
    assert event.event is None
    assert event.decision_id == "d1"


# -- status


def status(**changes: Any) -> StatusReport:
    fields: dict[str, Any] = {
        "opa": "o1", "version": "1.22.2", "revision": "7", "code": "", "message": "", "plugins": {},
    }  # fmt: skip
    return StatusReport(**(fields | changes))


def receiver_of(audit: MemoryAudit) -> ReceiveStatus:
    # Revisions of one ten share their content.
    return ReceiveStatus(
        fleet="prod", clock=DrivenClock(), audit=audit, content_of=lambda text: int(text) // 10 if text else 0
    )


@pytest.mark.parametrize(
    ("change", "is_new"),
    [
        ({}, False),
        ({"revision": "8"}, False),
        ({"revision": "11"}, True),
        ({"revision": ""}, False),
        ({"code": "bundle_error"}, True),
        ({"message": "else"}, True),
        ({"version": "1.23.0"}, True),
        ({"plugins": {"bundle": "ERROR"}}, True),
        ({"opa": "o2"}, True),
    ],
)
def test_a_status_is_logged_when_it_says_something_new(change: dict[str, Any], is_new: bool) -> None:  # noqa: FBT001 -- a parameter of the table
    audit = MemoryAudit()
    receiver = receiver_of(audit)
    assert asyncio.run(receiver.take(OPA, status()))
    assert asyncio.run(receiver.take(OPA, status(**change))) is is_new
    assert len(audit.events) == 1 + is_new
    assert receiver.received == 2


def test_what_a_status_says_is_in_the_log() -> None:
    audit = MemoryAudit()
    asyncio.run(receiver_of(audit).take(OPA, status(code="bundle_error", message="Unavailable")))
    (event,) = audit.events
    assert isinstance(event, Noted)
    assert (event.what, event.caller) == ("opa.status", OPA)
    assert event.fields == {
        "fleet": "prod", "opa": "o1", "version": "1.22.2", "revision": "7", "code": "bundle_error",
        "message": "Unavailable", "plugins": {},
    }  # fmt: skip


def test_a_status_that_could_not_be_logged_is_new_the_next_time() -> None:
    audit = MemoryAudit()
    receiver = receiver_of(audit)
    audit.fails = True
    with pytest.raises(Unavailable):
        asyncio.run(receiver.take(OPA, status()))
    audit.fails = False
    assert asyncio.run(receiver.take(OPA, status()))


def test_the_opas_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_opa_reports, "OPAS_MAX", 3)
    receiver = receiver_of(MemoryAudit())

    async def scenario() -> None:
        for i in range(5):
            await receiver.take(OPA, status(opa=f"o{i}"))

    asyncio.run(scenario())
    assert list(receiver.opas) == ["o2", "o3", "o4"]
    assert OPAS_MAX >= 3
