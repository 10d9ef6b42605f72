"""Who put this person on call, from the provider to the decision: a simulated PagerDuty over HTTP, the real flows.

With audit records each grade is told apart; without them every override counts as made by its own beneficiary. A second
person's word raises what is weak, for that shift and no other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta
from typing import Any, Final

import pytest

from tests.builders import ALL_GRADES, CALLER, HOUR, NOW, SOURCE, links, request, resource
from tests.fakes.audit import MemoryAudit
from tests.fakes.engine import ScriptedEngine
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.memory import DictMemory
from watchkey.flows.confirm_shift import ConfirmationRules, ConfirmShift, Voucher
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import Synced, SyncRoster
from watchkey.model.access import Allow, Caller, Reason, Subject
from watchkey.model.errors import Refused
from watchkey.model.ids import CallerId, PrivilegeName, SubjectId
from watchkey.model.oncall import Provenance, Scope, ScopeKind
from watchkey.model.secret import Secret
from watchkey.rules.directory import Directory
from watchkey.rules.roster import GuardLimits
from watchkey.simulator import READ_TOKEN, Rule, Simulator
from watchkey.simulator.rota import LayeredSchedule
from watchkey.simulator.sample import fill
from watchkey.sources.pagerduty import Config, PagerDuty
from watchkey.stores.memory import MemoryRosters

END: Final = NOW + 4 * HOUR


class House:
    """An account in which bob has the primary pager from noon to midnight, and a service that reads it."""

    def __init__(self, sim: Simulator, *, audit: bool, **about: Any) -> None:
        self.world, self.clock, self.sim = sim.world, HastyClock(NOW), sim
        fill(sim.world, turn=12 * HOUR)
        guarded = resource(scopes=(Scope(SOURCE, ScopeKind.SERVICE, "SVORDERS"),), opens=ALL_GRADES, **about)
        config = Config(token=Secret(READ_TOKEN), base_url=sim.base_url, audit=audit)
        self.source = PagerDuty(config, name=SOURCE, clock=self.clock)
        self.log, self.rosters, memory = MemoryAudit(), MemoryRosters(), DictMemory()
        words = KeepConfirmations(memory=memory, audit=self.log, clock=self.clock)
        self.sync = SyncRoster(
            clock=self.clock, sources=[self.source], rosters=self.rosters, audit=self.log,
            memory=KeepRoster(memory=memory, clock=self.clock), sightings={}, limits=GuardLimits(),
            window=72 * HOUR, poll_every=timedelta(seconds=30), words=words,
        )  # fmt: skip
        directory = Directory(resources={guarded.id: guarded}, links=links())
        self.access = RequestAccess(
            clock=self.clock, rosters=self.rosters, engines={"default": ScriptedEngine()}, audit=self.log,
            directory=directory, zone=UTC,
        )  # fmt: skip
        self.confirm = ConfirmShift(
            clock=self.clock, reads=self.sync, known=lambda: directory, audit=self.log, words=words, sources=[SOURCE],
            rules=ConfirmationRules(),
        )  # fmt: skip

    async def read(self) -> None:
        assert isinstance(await self.sync.sync(SOURCE), Synced)

    async def opens(self, who: str) -> str:
        """The privileges that somebody gets now."""
        asked = [(one, await self.access.decide(request(who, one), CALLER)) for one in ("read", "write")]
        return " ".join(one for one, decision in asked if isinstance(decision, Allow))

    async def why(self, who: str) -> Reason:
        """Why somebody may write, or may not."""
        return (await self.access.decide(request(who), CALLER)).reason

    def grade(self, person: str) -> set[Provenance]:
        """How the person's shifts of now are graded."""
        shifts = self.rosters.held()[SOURCE].index.roster.shifts
        return {one.provenance for one in shifts if one.person == person and one.covers(self.clock.now())}

    async def vouch(self, who: str) -> None:
        """Vouch for the first shift that needs it."""
        voucher = Voucher(subject=Subject(id=SubjectId(who)), issuer=Caller(id=CallerId("sso"), resources=None))
        await self.confirm.confirm(self.confirm.doubtful(voucher)[0].id, voucher)


def play(test: Callable[[House], Awaitable[None]], *, audit: bool = True, **about: Any) -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            house = House(sim, audit=audit, **about)
            try:
                await house.read()
                await test(house)
            finally:
                await house.source.close()

    asyncio.run(go())


@pytest.mark.parametrize(
    ("who", "by", "audit", "grade", "opens"),
    [
        ("alice", "PBOB", True, Provenance.SWAP, "read write"),
        ("carol", "PMANAGER", True, Provenance.OTHER_OVERRIDE, "read write"),
        ("carol", "PCAROL", True, Provenance.SELF_OVERRIDE, "read"),
        ("carol", None, True, Provenance.SELF_OVERRIDE, "read"),
        ("carol", "PALICE", True, Provenance.UNKNOWN, "read"),
        ("alice", "PBOB", False, Provenance.SELF_OVERRIDE, "read"),
        ("carol", "PMANAGER", False, Provenance.SELF_OVERRIDE, "read"),
    ],
)
def test_an_override_opens_what_its_maker_lets_it_open(
    who: str, by: str | None, *, audit: bool, grade: Provenance, opens: str
) -> None:
    async def test(house: House) -> None:
        assert (house.grade("PBOB"), await house.opens("bob")) == ({Provenance.ROTA}, "read write")
        house.world.override("SPRIMARY", f"P{who.upper()}", NOW, END, by=by)
        await house.read()
        assert (house.grade(f"P{who.upper()}") - {Provenance.ROTA}, await house.opens(who)) == ({grade}, opens)
        assert await house.opens("bob") == ""

    play(test, audit=audit)


def test_the_rota_itself_changed_at_short_notice_is_an_unknown_hands() -> None:
    async def test(house: House) -> None:
        schedule = house.world.schedules["SPRIMARY"]
        assert isinstance(schedule, LayeredSchedule)
        schedule.layers[0].users = ["PALICE", "PCAROL"]
        house.world.version += 1
        await house.read()
        assert house.grade("PCAROL") == {Provenance.UNKNOWN}
        assert (await house.opens("carol"), await house.why("carol")) == ("read", Reason.PROVENANCE_TOO_WEAK)
        # What was changed more than a day ahead was there to be seen.
        house.clock.advance(48 * HOUR)
        house.sim.clock.set(NOW + 48 * HOUR)
        await house.read()
        assert (house.grade("PCAROL"), await house.opens("carol")) == ({Provenance.ROTA}, "read write")

    play(test)


@pytest.mark.parametrize(("opens", "expected"), [({}, ""), ({Provenance.PERMANENT: {"read"}}, "read")])
def test_a_permanent_target_opens_what_is_named_for_it(opens: dict[Provenance, set[str]], expected: str) -> None:
    async def test(house: House) -> None:
        house.world.add_policy("EPAY", "Payments", [Rule(schedules=["SPRIMARY"], users=["PCAROL"])])
        await house.read()
        assert house.grade("PCAROL") == {Provenance.PERMANENT}
        assert await house.opens("carol") == expected
        assert await house.why("carol") is Reason.ONLY_PERMANENT
        with pytest.raises(IndexError):
            await house.vouch("bob")

    named = {grade: frozenset(PrivilegeName(one) for one in names) for grade, names in opens.items()}
    play_with(test, ALL_GRADES | named)


def play_with(test: Callable[[House], Awaitable[None]], opens: dict[Provenance, frozenset[PrivilegeName]]) -> None:
    async def with_opens(house: House) -> None:
        (guarded,) = house.access.directory.resources.values()
        changed = resource(scopes=guarded.scopes, opens=opens)
        house.access.directory = Directory(resources={changed.id: changed}, links=links())
        await test(house)

    play(with_opens)


def test_a_second_person_raises_one_shift_and_what_changes_falls_back() -> None:
    async def test(house: House) -> None:
        mine = house.world.override("SPRIMARY", "PCAROL", NOW, END, by="PCAROL")
        await house.read()
        with pytest.raises(Refused, match="second person"):
            await house.vouch("carol")
        await house.vouch("bob")
        assert await house.opens("carol") == "read write"
        await house.read()
        assert await house.opens("carol") == "read write"
        house.world.remove_override("SPRIMARY", mine, by="PCAROL")
        house.world.override("SPRIMARY", "PCAROL", NOW, END + HOUR, by="PCAROL")
        await house.read()
        assert await house.opens("carol") == "read"

    play(test)


def test_an_override_made_used_and_deleted_between_two_reads_opens_nothing() -> None:
    async def test(house: House) -> None:
        override = house.world.override("SPRIMARY", "PCAROL", NOW, END, by="PCAROL")
        assert await house.opens("carol") == ""
        house.world.remove_override("SPRIMARY", override, by="PCAROL")
        await house.read()
        assert (await house.opens("carol"), await house.opens("bob")) == ("", "read write")

    play(test)
