"""The policy beside: what it would have said is told, and changes nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.builders import CALLER, NOW, SOURCE, index, links, question, request, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from watchkey.flows import shadow_policy
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.shadow_policy import ShadowPolicy
from watchkey.model.access import Allow, Outcome, Verdict
from watchkey.model.audit import DecisionMade, Noted
from watchkey.model.ids import ResourceId
from watchkey.ports import HeldRoster
from watchkey.rules.directory import Directory
from watchkey.rules.evidence import find_evidence
from watchkey.rules.policy_change import Change
from watchkey.stores import memory

RESOURCE = ResourceId("orders-db")
NO = Verdict(outcome=Outcome.NO, policy_hash="beside")


class Breaking:
    policy_hash = "breaks"

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        raise ZeroDivisionError(len(document), now)


class House:
    def __init__(self, beside: ScriptedEngine | Breaking | None = None) -> None:
        self.audit, self.first = MemoryAudit(), ScriptedEngine()
        self.engines = {"default": self.first, "next": beside or ScriptedEngine(NO)}
        self.shadow = ShadowPolicy(shadows={RESOURCE: "next"}, engines=self.engines, audit=self.audit, zone=UTC)
        self.clock = DrivenClock(NOW)
        held = HeldRoster(index=index(shift()), revision=1, read_at=self.clock.monotonic())
        self.access = RequestAccess(
            clock=self.clock,
            rosters=memory.build({SOURCE: held}),
            engines=self.engines,
            audit=self.audit,
            directory=Directory(resources={RESOURCE: resource(), ResourceId("other"): resource()}, links=links()),
            zone=UTC,
            observe=self.shadow.watch,
        )

    async def decide(self, subject: str = "alice", privilege: str = "write") -> object:
        return await self.access.decide(request(subject, privilege), CALLER)

    @property
    def notes(self) -> list[Noted]:
        return [event for event in self.audit.events if isinstance(event, Noted)]


def test_a_difference_is_told_and_the_decision_stands() -> None:
    async def scenario() -> House:
        house = House()
        assert isinstance(await house.decide(), Allow)
        await house.shadow.compare_next()
        return house

    house = asyncio.run(scenario())
    first, note = house.audit.events
    assert isinstance(first, DecisionMade)
    assert isinstance(first.decision, Allow)
    assert isinstance(note, Noted)
    assert note.what == "policy.shadow_differs"
    assert note.fields == {
        "policy": "next", "policy_hash": "beside", "change": "loses", "subject": "alice", "privilege": "write",
        "resource": "orders-db", "reason": "on_call", "would_be": "policy_denied",
    }  # fmt: skip
    assert (house.shadow.compared, house.shadow.changes[Change.LOSES]) == (1, 1)


def test_agreement_and_facts_that_deny_both_are_no_difference() -> None:
    async def scenario() -> House:
        house = House(ScriptedEngine())
        await house.decide()
        await house.shadow.compare_next()
        house.engines["next"] = ScriptedEngine(NO)
        await house.decide("bob")
        await house.shadow.compare_next()
        return house

    house = asyncio.run(scenario())
    assert (house.shadow.compared, house.notes) == (2, [])


def test_the_same_difference_is_counted_and_told_once_an_hour() -> None:
    async def scenario() -> House:
        house = House()
        for minutes in (0, 10, 59, 60):
            asked = question(shift(starts_at=NOW - timedelta(hours=1), ends_at=NOW + timedelta(hours=9)))
            asked = replace(asked, now=NOW + timedelta(minutes=minutes))
            told = await house.decide()
            assert isinstance(told, Allow)
            while not house.shadow._queue.empty():
                house.shadow._queue.get_nowait()
            house.shadow.watch(asked, find_evidence(asked), {}, told)
            await house.shadow.compare_next()
        return house

    house = asyncio.run(scenario())
    assert (house.shadow.changes[Change.LOSES], len(house.notes)) == (4, 2)


def test_a_policy_that_breaks_costs_nothing_but_a_count() -> None:
    async def scenario() -> House:
        house = House(Breaking())
        assert isinstance(await house.decide(), Allow)
        await house.shadow.compare_next()
        return house

    house = asyncio.run(scenario())
    assert (house.shadow.failed, house.notes) == (1, [])


def test_what_does_not_fit_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_policy, "QUEUE_MAX", 1)

    async def scenario() -> House:
        house = House()
        for privilege in ("write", "read", "write"):
            house.access._answered.clear()
            assert isinstance(await house.decide(privilege=privilege), Allow)
        return house

    assert asyncio.run(scenario()).shadow.dropped == 2


def test_a_full_disk_does_not_end_it() -> None:
    async def scenario() -> House:
        house = House()
        await house.decide()
        house.audit.fails = True
        await house.shadow.compare_next()
        return house

    house = asyncio.run(scenario())
    assert (house.shadow.compared, house.shadow.failed) == (1, 0)
    assert len(house.audit.events) == 1


def test_resources_without_a_shadow_are_passed_over() -> None:
    house = House()
    asked = question(shift(), about=resource(id=ResourceId("other")))
    house.shadow.watch(asked, find_evidence(asked), {}, None)  # type: ignore[arg-type]  # it is not looked at
    assert house.shadow._queue.empty()
