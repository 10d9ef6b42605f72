"""What happens at a provider and what comes of it: a simulated PagerDuty over HTTP, the real flows, the decision.

The cases that need more than one part of the product to be right. The list of all is docs/reference/semantics.md.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any

import pytest

from tests.builders import ALL_GRADES, CALLER, HOUR, NOW, SOURCE, links, request, resource
from tests.fakes.audit import MemoryAudit
from tests.fakes.engine import ScriptedEngine
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.memory import DictMemory
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import NotSynced, Synced, SyncRoster
from watchkey.model.access import Allow, Needs, Reason
from watchkey.model.ids import PrivilegeName
from watchkey.model.oncall import Provenance, Scope, ScopeKind
from watchkey.model.secret import Secret
from watchkey.rules.directory import Directory
from watchkey.rules.roster import GuardLimits
from watchkey.simulator import READ_TOKEN, FlexibleSchedule, Rotation, Rule, Simulator
from watchkey.simulator.sample import fill
from watchkey.sources.pagerduty import Config, PagerDuty
from watchkey.stores.memory import MemoryRosters

DAY = 24 * HOUR
TICK = timedelta(microseconds=1)
BOTH = frozenset({PrivilegeName("read"), PrivilegeName("write")})


class House:
    """An account in which bob is primary from noon to midnight and alice secondary, and a service that reads it."""

    def __init__(self, sim: Simulator, **about: Any) -> None:
        self.sim, self.world, self.clock = sim, sim.world, HastyClock(NOW)
        fill(sim.world, turn=12 * HOUR)
        scope = Scope(SOURCE, ScopeKind.SERVICE, about.pop("service", "SVORDERS"))
        opens = ALL_GRADES | {Provenance.SELF_OVERRIDE: BOTH, Provenance.UNKNOWN: BOTH}
        guarded = resource(scopes=(scope,), opens=opens, **about)
        config = Config(token=Secret(READ_TOKEN), base_url=sim.base_url)
        self.source = PagerDuty(config, name=SOURCE, clock=self.clock)
        self.audit, rosters = MemoryAudit(), MemoryRosters()
        self.sync = SyncRoster(
            clock=self.clock, sources=[self.source], rosters=rosters, audit=self.audit,
            memory=KeepRoster(memory=DictMemory(), clock=self.clock), sightings={}, limits=GuardLimits(),
            window=2 * DAY, poll_every=timedelta(seconds=30),
        )  # fmt: skip
        self.access = RequestAccess(
            clock=self.clock, rosters=rosters, engines={"default": ScriptedEngine()}, audit=self.audit,
            directory=Directory(resources={guarded.id: guarded}, links=links()), zone=UTC,
        )  # fmt: skip
        self.sync.listeners.append(lambda name, _change: self.access.roster_changed(name))

    async def read(self) -> Synced | NotSynced:
        """A poll."""
        return await self.sync.sync(SOURCE)

    async def pass_to(self, hours: float, off: timedelta = timedelta(0)) -> None:
        """Let time pass here and at the provider."""
        at = NOW + hours * HOUR + off
        self.clock.advance(at - self.clock.now())
        self.sim.clock.set(at)

    async def who(self) -> set[str]:
        """Who is let in now."""
        return {who for who in ("alice", "bob", "carol") if isinstance(await self.decide(who), Allow)}

    async def decide(self, who: str, privilege: str = "write") -> Any:
        """The decision."""
        return await self.access.decide(request(who, privilege), CALLER)


def play(test: Callable[[House], Awaitable[None]], **about: Any) -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            house = House(sim, **about)
            try:
                await test(house)
            finally:
                await house.source.close()

    asyncio.run(go())


def test_a_planned_handoff_needs_no_read() -> None:
    async def test(house: House) -> None:
        await house.read()
        await house.pass_to(12, -TICK)
        await house.read()
        assert await house.who() == {"bob"}
        await house.pass_to(12)
        assert await house.who() == {"alice"}

    play(test)


def test_an_override_counts_from_the_next_read_on_and_so_does_its_removal() -> None:
    async def test(house: House) -> None:
        await house.read()
        override = house.world.override("SPRIMARY", "PCAROL", NOW + HOUR, NOW + 3 * HOUR, by="PMANAGER")
        await house.read()
        await house.pass_to(1, -TICK)
        assert await house.who() == {"bob"}
        await house.pass_to(1)
        await house.read()
        assert await house.who() == {"carol"}
        house.world.remove_override("SPRIMARY", override, by="PMANAGER")
        await house.read()
        assert await house.who() == {"bob"}

    play(test)


def test_a_shift_based_override_leaves_the_other_rotation_alone() -> None:
    async def test(house: House) -> None:
        rotations = [
            Rotation(id="R1", members=["PALICE"], start=NOW - DAY, length=DAY, every_days=1),
            Rotation(id="R2", members=["PBOB", None], start=NOW - DAY, length=DAY, every_days=1),
        ]
        house.world.add_schedule(FlexibleSchedule(id="SFLEX", name="Flexible", rotations=rotations))
        house.world.add_policy("EFLEX", "Flexible", [Rule(schedules=["SFLEX"])])
        house.world.add_service("SVFLEX", "Flexible", "EFLEX")
        await house.read()
        assert await house.who() == {"alice"}  # the other rotation's turn is nobody's
        house.world.override("SFLEX", "PCAROL", NOW, NOW + HOUR, part="R1")
        await house.read()
        assert await house.who() == {"carol"}
        await house.pass_to(24)
        await house.read()
        assert await house.who() == {"alice", "bob"}

    play(test, service="SVFLEX")


def test_only_people_at_the_incident_are_responding_and_as_long_as_they_are() -> None:
    async def test(house: House) -> None:
        world = house.world
        incident = world.trigger("SVORDERS") or ""
        seen = []
        for step in (
            lambda: None,
            lambda: world.acknowledge(incident, "SVCHECKOUT", kind="service"),
            lambda: world.acknowledge(incident, "PCAROL"),
            lambda: world.unacknowledge(incident),
            lambda: world.request_responder(incident, "PALICE", "PBOB"),
            lambda: world.answer_request(incident, "PALICE", "joined"),
            lambda: world.answer_request(incident, "PALICE", "declined"),
            lambda: world.acknowledge(incident, "PCAROL"),
            lambda: world.reassign(incident, ["PALICE"], "PMANAGER"),
            lambda: world.acknowledge(incident, "PALICE"),
            lambda: world.resolve(incident, "PALICE"),
        ):
            step()
            assert isinstance(await house.read(), Synced)
            seen.append("".join(sorted(await house.who())))
        assert seen == ["", "", "carol", "", "", "alice", "", "carol", "", "alice", ""]

    play(test, needs=Needs.RESPONDING, incident_roles=frozenset({"acknowledged", "joined"}))


def test_who_is_assigned_responds_where_the_resource_says_so() -> None:
    async def test(house: House) -> None:
        incident = house.world.trigger("SVORDERS") or ""
        await house.read()
        assert await house.who() == {"bob"}
        house.world.reassign(incident, ["PCAROL"], "PMANAGER")
        await house.read()
        assert await house.who() == {"carol"}

    play(test, needs=Needs.RESPONDING, incident_roles=frozenset({"assigned"}))


def test_level_two_opens_with_the_escalation_and_closes_with_the_incident() -> None:
    async def test(house: House) -> None:
        world = house.world
        assert await house.read()
        assert (await house.decide("alice")).reason is Reason.NOT_ESCALATED
        incident = world.trigger("SVORDERS") or ""
        await house.read()
        assert (await house.decide("alice")).reason is Reason.NOT_ESCALATED
        world.escalate(incident)
        await house.read()
        assert await house.who() == {"alice", "bob"}
        world.reassign(incident, ["PCAROL"], "PMANAGER")
        await house.read()
        assert await house.who() == {"alice", "bob"}
        world.resolve(incident, "PALICE")
        await house.read()
        assert await house.who() == {"bob"}

    play(test, max_level=2, level_follows_escalation=True)


def test_an_incident_of_ones_own_opens_what_is_unvetted() -> None:
    async def test(house: House) -> None:
        incident = house.world.trigger("SVORDERS", by="PCAROL") or ""
        house.world.acknowledge(incident, "PCAROL")
        await house.read()
        assert (await house.decide("carol")).reason is Reason.INCIDENT_UNVETTED
        assert isinstance(await house.decide("carol", "read"), Allow)
        house.world.acknowledge(incident, "PBOB")
        await house.read()
        assert isinstance(await house.decide("carol"), Allow)

    play(test, needs=Needs.RESPONDING)


def test_grace_follows_the_incident_and_not_the_outage() -> None:
    async def test(house: House) -> None:
        incident = house.world.trigger("SVORDERS") or ""
        house.world.acknowledge(incident, "PCAROL")
        await house.read()
        assert await house.who() == {"carol"}
        house.world.resolve(incident, "PCAROL")
        await house.pass_to(0.5)
        await house.read()
        granted = await house.decide("carol")
        assert (granted.reason, granted.until) == (Reason.GRACE, NOW + HOUR / 2 + timedelta(minutes=10))
        await house.pass_to(0.6)
        await house.read()
        assert await house.who() == {"carol"}
        await house.pass_to(0.5, timedelta(minutes=10))
        assert await house.who() == set()

    play(test, needs=Needs.RESPONDING, incident_grace=timedelta(minutes=10))


@pytest.mark.parametrize("change", ["name", "address"])
def test_a_person_is_an_id_and_not_a_name_or_an_address(change: str) -> None:
    async def test(house: House) -> None:
        await house.read()
        if change == "name":
            house.world.users["PBOB"].name, house.world.users["PALICE"].name = "Alice Ahlgren", "Bob Bianchi"
        else:
            house.world.users["PALICE"].email, house.world.users["PCAROL"].email = "bob@example.com", "BOB@example.com"
        await house.read()
        assert await house.who() == {"bob"}

    play(test)


def test_a_deleted_person_is_out_however_long_the_shift_lasts() -> None:
    async def test(house: House) -> None:
        await house.read()
        house.world.delete_user("PBOB")
        await house.read()
        assert (await house.decide("bob")).reason is Reason.PERSON_INACTIVE

    play(test)


def test_after_an_outage_old_answers_bring_nobody_back() -> None:
    """Six hours without answers, over a handoff; then the provider tells what was true before it, as of then."""

    async def test(house: House) -> None:
        await house.read()
        house.sim.faults.status = 503
        await house.pass_to(9)
        assert isinstance(await house.read(), NotSynced)
        assert await house.who() == {"bob"}  # the incumbent, to the published end
        await house.pass_to(15)
        assert isinstance(await house.read(), NotSynced)
        assert await house.who() == set()
        house.sim.faults.clear()
        house.sim.clock.set(NOW)
        assert isinstance(await house.read(), NotSynced)
        assert await house.who() == set()
        await house.pass_to(16)
        assert isinstance(await house.read(), Synced)
        assert await house.who() == {"alice"}

    play(test)
