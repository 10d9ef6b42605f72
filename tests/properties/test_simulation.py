"""A year of nights in a second: the real flows in virtual time, with crashes at each step and facts that go stale.

A machine changes the rota, takes the provider down, lets time pass to the borders, breaks the log, kills the service
between any two writes, and asks. After each question an oracle, which shares no code with the product, says what the
answer may be. Mutants at the end show that it would notice.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.builders import CALLER, HOUR, NOW, SOURCE, links, request, resource, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from tests.properties.planting import Mutant
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import Synced, SyncRoster
from watchkey.model.access import Allow, Decision, Reason, StaleMode
from watchkey.model.audit import AuditEvent, DecisionMade
from watchkey.model.errors import Unavailable
from watchkey.model.ids import ResourceId
from watchkey.model.oncall import Provenance, Roster, Shift
from watchkey.ports import HeldRoster, PolicyEngine, RosterRevision
from watchkey.rules.directory import Directory
from watchkey.rules.roster import GuardLimits
from watchkey.stores.memory import MemoryRosters

TICK = timedelta(microseconds=1)
STEP = timedelta(minutes=10)
AGE_MAX = timedelta(minutes=10)
MODES = {
    "strict-db": StaleMode.STRICT,
    "incumbent-db": StaleMode.INCUMBENT,
    "forecast-db": StaleMode.FORECAST,
}
DIRECTORY = Directory(
    resources={
        ResourceId(name): resource(id=ResourceId(name), stale_mode=mode, age_max=AGE_MAX)
        for name, mode in MODES.items()
    },
    links=links(),
)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Faults are the point here; thousands of lines about them help nobody."""
    caplog.set_level(logging.CRITICAL, "watchkey")


class Crash(BaseException):
    """The process dies here."""


class CrashingAudit(MemoryAudit):
    """A log on a disk: it outlives the process, which may die before or after a write."""

    dies = ""

    async def append(self, event: AuditEvent) -> int:
        if self.dies == "before append":
            raise Crash
        seq = await super().append(event)
        if self.dies == "after append":
            raise Crash
        return seq


class CrashingMemory(DictMemory):
    """The same for what is remembered."""

    dies = ""

    async def remember(self, name: str, value: Any) -> None:
        if self.dies == "before remember":
            raise Crash
        await super().remember(name, value)
        if self.dies == "after remember" and name.startswith("roster/"):
            raise Crash

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        await super().keep_roster(revision, content)
        if self.dies == "after keep_roster":
            raise Crash


DEATHS = ["before append", "after append", "before remember", "after remember", "after keep_roster"]


TURNS = st.tuples(
    st.sampled_from(["PALICE", "PBOB"]),
    st.integers(-2, 3),
    st.integers(1, 4),
    st.sampled_from([1, 1, 2]),
    st.sampled_from([Provenance.ROTA, Provenance.ROTA, Provenance.SELF_OVERRIDE]),
)
"""Who, from which step on, for how many, at which level, made by whom."""


@dataclass(frozen=True)
class Read:
    """What the oracle knows of a read that was taken over."""

    shifts: tuple[Shift, ...]
    at: datetime


class Nights(RuleBasedStateMachine):
    """The machine. `reached` counts what happened over all runs."""

    reached: ClassVar[Counter[str]] = Counter()
    directory: ClassVar[Directory] = DIRECTORY
    asks: ClassVar[tuple[tuple[str, str], ...]] = tuple((where, "write") for where in MODES)
    """Which resource for which privilege."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = DrivenClock(NOW)
        self.audit, self.memory = CrashingAudit(), CrashingMemory()
        self.engine = self.make_engine()
        self.sources = {SOURCE: ScriptedSource(roster())}
        self.rota: list[Shift] = []
        self.names = count()
        self.is_up = True
        self.last: Read | None = None
        self.kept: Read | None = None
        self.given: dict[tuple[str, str, str], tuple[Allow, object]] = {}
        self.start()

    def make_engine(self) -> PolicyEngine:
        return ScriptedEngine()

    def teardown(self) -> None:
        self.loop.close()

    # --- the service, started anew after each crash

    def start(self) -> None:
        self.audit.dies = self.memory.dies = ""
        keeper = KeepRoster(memory=self.memory, clock=self.clock)
        held, sightings = {}, {}
        for name in self.sources:
            restored = keeper.restore(name)
            if restored is not None:
                read_at = self.clock.monotonic() - restored.age.total_seconds()
                held[name] = HeldRoster(index=restored.index, revision=restored.revision, read_at=read_at)
                if restored.sightings is not None:
                    sightings[name] = restored.sightings
        self.last = self.kept
        self.given.clear()
        rosters = MemoryRosters(held)
        self.sync = SyncRoster(
            clock=self.clock, sources=self.sources.values(), rosters=rosters, audit=self.audit, memory=keeper,
            sightings=sightings, limits=GuardLimits(shrink_max=100), window=timedelta(hours=72), poll_every=STEP,
        )  # fmt: skip
        self.access = RequestAccess(
            clock=self.clock, rosters=rosters, engines={"default": self.engine}, audit=self.audit,
            directory=self.directory, zone=UTC,
        )  # fmt: skip
        self.sync.listeners.append(lambda name, _change: self.access.roster_changed(name))

    def die(self, error: Crash) -> None:
        self.reached[str(error) or "crash"] += 1
        self.start()

    # --- what happens

    @initialize()
    def first_read(self) -> None:
        self.rota = [shift(starts_at=NOW - STEP, ends_at=NOW + STEP)]
        self.read()

    @rule(turns=st.lists(TURNS, min_size=1, max_size=3))
    def plan(self, turns: list[tuple[str, int, int, int, Provenance]]) -> None:
        base = NOW + STEP * ((self.clock.now() - NOW) // STEP)
        for who, start, length, level, grade in turns:
            begin, end, name = base + STEP * start, base + STEP * (start + length), f"s{next(self.names)}"
            turn = shift(who, starts_at=begin, ends_at=end, level=level, provenance=grade, schedule=name)
            self.rota = [*self.rota[-6:], turn]

    @precondition(lambda self: self.rota)
    @rule(which=st.integers(0, 8))
    def cancel(self, which: int) -> None:
        """One turn, or all of them."""
        kept = [turn for i, turn in enumerate(self.rota) if i != which % len(self.rota)]
        self.rota = [] if which == 8 else kept

    @rule()
    def provider_changes_its_mind(self) -> None:
        self.is_up = not self.is_up

    @rule(death=st.sampled_from([""] * 15 + DEATHS))
    def read(self, death: str = "") -> None:
        now = self.clock.now()
        self.sources[SOURCE].answers[0] = self.told(now) if self.is_up else Unavailable("down")
        self.audit.dies = self.memory.dies = death
        try:
            outcome = self.loop.run_until_complete(self.sync.sync(SOURCE))
        except Crash as crash:
            # Only a death after the last write leaves the new read behind; any earlier one leaves the old.
            if death == "after remember":
                self.kept = self.seen(now)
            self.die(crash)
            return
        self.audit.dies = self.memory.dies = ""
        is_emptied = self._is_emptied(now)
        self.reached["emptied" if self.is_up and is_emptied else "read" if self.is_up else "not read"] += 1
        assert isinstance(outcome, Synced) == (self.is_up and not is_emptied), outcome
        if isinstance(outcome, Synced):
            self.last = self.kept = self.seen(now)
            self.taken_over()

    def told(self, now: datetime) -> Roster:
        """What the provider answers."""
        return roster(*self.rota, taken_at=now, window_ends_at=now + timedelta(hours=72))

    def seen(self, now: datetime) -> Read:
        """The same, for the oracle."""
        return Read(tuple(self.rota), now)

    def taken_over(self) -> None:
        """A roster was taken over; for oracles that care when."""

    def _is_emptied(self, now: datetime) -> bool:
        return bool(
            self.last
            and not self.rota
            and any(turn.ends_at is not None and turn.ends_at > now for turn in self.last.shifts)
        )

    @rule(
        steps=st.integers(0, 3),
        off=st.sampled_from([-TICK, timedelta(0), timedelta(0), TICK]),
        restarts=st.sampled_from(range(5)),
    )
    def time_passes(self, steps: int, off: timedelta, restarts: int) -> None:
        """To just before, at, or just after a border, since that is where mistakes live; sometimes over a restart."""
        target = NOW + STEP * ((self.clock.now() - NOW) // STEP + steps) + off
        self.clock.advance(max(timedelta(0), target - self.clock.now()))
        if restarts == 4:
            self.start()

    @rule()
    def the_disk_changes_its_mind(self) -> None:
        self.audit.fails = not self.audit.fails

    @rule(who=st.sampled_from(["alice", "bob"]), where=st.sampled_from(sorted(MODES)), after=st.booleans())
    def dies_answering(self, who: str, where: str, after: bool) -> None:  # noqa: FBT001  # drawn
        self.audit.dies = "after append" if after else "before append"
        try:
            decision = self.asked(who, where)
        except Crash as crash:
            self.die(crash)
        else:
            self.audit.dies = ""  # a repeated or counted answer writes nothing
            self.judge(decision, who, where)

    def asked(self, who: str, where: str, privilege: str = "write") -> Decision:
        asked = replace(request(who, privilege), resource=ResourceId(where))
        return self.loop.run_until_complete(self.access.decide(asked, CALLER))

    # --- the oracle

    def basis(self) -> object:
        """The facts that an allow rests on: as long as they are the same, so may be the allow."""
        return None if self.last is None else frozenset(self.last.shifts)

    def foreseen(self, who: str, where: str, privilege: str) -> datetime | None:
        """Until when who may do it; None when not at all."""
        del privilege
        return self.foreseen_end(f"P{who.upper()}", MODES[where], self.clock.now())

    def judge(self, decision: Decision, who: str, where: str, privilege: str = "write") -> None:
        now = self.clock.now()
        before = self.given.get((who, where, privilege))
        is_repeat = before is not None and before[0] is decision
        end = self.foreseen(who, where, privilege)
        self.reached[f"{decision.reason}{' again' if is_repeat and isinstance(decision, Allow) else ''}"] += 1
        if isinstance(decision, Allow):
            assert now < decision.until <= decision.decided_at + HOUR
            assert DecisionMade(decision=decision) in self.audit.events, "an allow that is not in the log"
            assert self.last is not None
            if is_repeat and before is not None:
                # Its end was right when it was given; so it is as long as the facts are the same.
                assert before[1] == self.basis(), "an allow outlived the roster it rests on"
                return
            assert end is not None, f"{who} has no right to {privilege} {where}"
            assert decision.until == min(end, now + HOUR), f"{who} {privilege} {where}"
            self.given[who, where, privilege] = (decision, self.basis())
        elif not self.audit.fails:
            assert end is None, f"{who} should be let in to {privilege} {where}: {decision.reason}"
        else:
            assert end is None or decision.reason is Reason.AUDIT_UNAVAILABLE

    def foreseen_end(self, person: str, mode: StaleMode, now: datetime) -> datetime | None:
        """The end of the right, walking from border to border; None when there is none now."""
        if self.last is None:
            return None
        read_at = self.last.at
        is_fresh = now - read_at <= AGE_MAX

        def counts(turn: Shift, at: datetime) -> bool:
            assert turn.starts_at is not None
            assert turn.ends_at is not None
            if turn.person != person or turn.level != 1 or turn.provenance is not Provenance.ROTA:
                return False
            if not turn.starts_at <= at < turn.ends_at:
                return False
            held_then = turn.starts_at <= read_at < turn.ends_at
            return (
                is_fresh
                or (mode is not StaleMode.STRICT and held_then)
                or (mode is StaleMode.FORECAST and now - read_at <= timedelta(hours=24))
            )

        at, moved = now, True
        while moved:
            moved = False
            for turn in self.last.shifts:
                if counts(turn, at) and turn.ends_at is not None:
                    at, moved = turn.ends_at, True
        return at if at > now else None

    @invariant()
    def everybody_asks(self) -> None:
        for who in ("alice", "bob"):
            for where, privilege in self.asks:
                decision = self.asked(who, where, privilege)
                given = self.given.get((who, where, privilege))
                if given is not None and self.clock.now() >= given[0].until:
                    assert decision is not given[0], "an allow lived beyond its end"
                    del self.given[who, where, privilege]
                self.judge(decision, who, where, privilege)


def explore(
    *, examples: int, steps: int = 40, derandomize: bool = True, machine: type[RuleBasedStateMachine] = Nights
) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis does not annotate it
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def test_nobody_is_ever_let_in_wrongly_and_nobody_who_may_is_kept_out() -> None:
    Nights.reached.clear()
    explore(examples=250)
    for what in ("on_call", "on_call again", "not_on_call", "roster_stale", "audit_unavailable", "provenance_too_weak",
                 "level_too_high", "crash", "read", "not read", "emptied"):  # fmt: skip
        assert Nights.reached[what] > 0, f"never reached: {what} ({dict(Nights.reached)})"


MUTANTS = (
    Mutant(
        "effect before audit",
        "watchkey.flows.request_access:RequestAccess._record",
        "seq = await self._audit.append(DecisionMade(decision=decision))",
        "seq = 0",
    ),
    Mutant(
        "an allow without a record when the log fails",
        "watchkey.flows.request_access:RequestAccess._record",
        "if isinstance(decision, Deny):\n            return Answered",
        "if True:\n            return Answered",
    ),
    Mutant("stale fact accepted", "watchkey.rules.evidence:Question.is_stale", "view.age > ", "view.age < 0 * "),
    Mutant(
        "stale bound off by a tick",
        "watchkey.rules.evidence:Question.is_stale",
        "view.age > self.resource.age_max",
        "view.age >= self.resource.age_max",
    ),
    Mutant(
        "everybody is an incumbent",
        "watchkey.rules.evidence:_stale_shift_counts",
        "return shift.covers(read_at)\n        case StaleMode.FORECAST",
        "return True\n        case StaleMode.FORECAST",
    ),
    Mutant("shift end not capping", "watchkey.rules.decide:_end", "return evidence.until", "return cap"),
    Mutant(
        "the next shift extends whoever has it",
        "watchkey.rules.roster:RosterIndex.coverage",
        " or not accepts(shift)",
        "",
    ),
    Mutant(
        "closed start", "watchkey.model.oncall:Shift.covers", "self.starts_at <= instant", "self.starts_at < instant"
    ),
    Mutant(
        "a repeated allow lives beyond its end",
        "watchkey.flows.request_access:RequestAccess._still_holds",
        "decision.decided_at <= now < decision.until",
        "True",
    ),
    Mutant(
        "a repeated allow at its very end",
        "watchkey.flows.request_access:RequestAccess._still_holds",
        "now < decision.until",
        "now <= decision.until",
    ),
    Mutant(
        "a repeated allow survives a new roster",
        "watchkey.flows.request_access:RequestAccess._still_holds",
        "known.basis == self._basis(decision.request.resource)",
        "True",
    ),
    Mutant("a higher level counts", "watchkey.rules.evidence:_shift_objection", "shift.level > ", "shift.level < "),
    Mutant(
        "a restored roster is young",
        "watchkey.flows.keep_roster:KeepRoster.restore",
        "age = self._clock.now() - note.read_at",
        "age = timedelta(0)",
    ),
    Mutant(
        "empty is zero",
        "watchkey.rules.roster:_emptied",
        "ahead = any(",
        "ahead = False and any(",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_simulation_notices(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with pytest.raises(AssertionError):
        explore(examples=1500)


def test_a_closed_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes three bugs to get past the end of a shift: in the fact, in its coverage, and in the last step."""
    for mutant in (
        Mutant("", "watchkey.model.oncall:Shift.covers", "instant < self.ends_at", "instant <= self.ends_at"),
        Mutant(
            "",
            "watchkey.rules.decide:_end",
            "return evidence.until",
            "return evidence.until + timedelta(microseconds=1)",
        ),
    ):
        mutant.plant(monkeypatch)
    with pytest.raises(AssertionError):
        explore(examples=1500)
