"""Two sources and people's words in virtual time: an oracle says who may be let in, mutants show that it would notice.

Alice's turns come and go in a pager and in a feed; each is read, or not, as the machine likes; a second person vouches
for a turn of hers that she made herself, or takes it back; the service starts anew. After each step she asks.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.builders import CALLER, HOUR, NOW, SOURCE, request, resource, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from tests.properties.planting import Mutant
from watchkey.flows.confirm_shift import ConfirmationRules, ConfirmShift, Voucher
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import SyncRoster
from watchkey.model.access import Agreement, Allow, Link, StaleMode, Subject
from watchkey.model.ids import PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Provenance, Scope, ScopeKind, Shift
from watchkey.ports import HeldRoster
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.rules.roster import GuardLimits
from watchkey.stores.memory import MemoryRosters

STEP = timedelta(minutes=10)
TICK = timedelta(microseconds=1)
LASTS = 3 * STEP
FEED = SourceName("feed")
SECOND = (Scope(FEED, ScopeKind.ESCALATION_POLICY, "orders-policy"),)
RESOURCES = {
    ResourceId(name): resource(id=ResourceId(name), age_max=STEP, **about)
    for name, about in {
        "alone": {"stale_mode": StaleMode.INCUMBENT},
        "when-stale": {"stale_mode": StaleMode.SECOND_SOURCE, "second_scopes": SECOND},
        "always": {"stale_mode": StaleMode.STRICT, "second_scopes": SECOND, "agreement": Agreement.ALWAYS},
    }.items()
}
LINKS = Links(
    Link(subject=SubjectId(who), source=source, person=PersonId(f"P{who.upper()}"))
    for who in ("alice", "bob")
    for source in (SOURCE, FEED)
)
BOB = shift("PBOB", schedule="bob", starts_at=NOW - HOUR, ends_at=NOW + 60 * HOUR, level=2)
"""So that no read is ever empty."""


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "watchkey")


@dataclass
class Told:
    """What the oracle knows of a source: what it says now, and what it said at the last read."""

    turns: list[Shift] = field(default_factory=list)
    seen: tuple[Shift, ...] = ()
    before: tuple[Shift, ...] = ()
    at: datetime | None = None

    def is_fresh(self, now: datetime) -> bool:
        return self.at is not None and now - self.at <= STEP


class Doubts(RuleBasedStateMachine):
    """The machine. `reached` counts what came out over all runs."""

    reached: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.audit, self.memory = DrivenClock(NOW), MemoryAudit(), DictMemory()
        self.sources = {name: ScriptedSource(roster(BOB), name=name) for name in (SOURCE, FEED)}
        self.told = {SOURCE: Told(), FEED: Told()}
        self.words: dict[Shift, datetime] = {}
        self.names = count()
        self.start()
        for where in self.sources:
            self.plan(where, -1, 3, Provenance.ROTA)
            self.plan(where, 1, 15 if where == SOURCE else 5, Provenance.SELF_OVERRIDE)
            self.read(where)

    def teardown(self) -> None:
        self.loop.close()

    @rule()
    def start(self) -> None:
        """Start anew with what was kept."""
        keeper = KeepRoster(memory=self.memory, clock=self.clock)
        restored = {name: found for name in self.sources if (found := keeper.restore(name)) is not None}
        held = {
            name: HeldRoster(
                index=one.index,
                revision=one.revision,
                read_at=self.clock.monotonic() - one.age.total_seconds(),
            )
            for name, one in restored.items()
        }
        words = KeepConfirmations(memory=self.memory, audit=self.audit, clock=self.clock).recall()
        rosters = MemoryRosters(held)
        self.sync = SyncRoster(
            clock=self.clock, sources=self.sources.values(), rosters=rosters, audit=self.audit, memory=keeper,
            sightings={name: one.sightings for name, one in restored.items() if one.sightings is not None},
            limits=GuardLimits(shrink_max=100), window=timedelta(hours=72), poll_every=STEP, words=words,
        )  # fmt: skip
        directory = Directory(resources=RESOURCES, links=LINKS)
        self.access = RequestAccess(
            clock=self.clock, rosters=rosters, engines={"default": ScriptedEngine()}, audit=self.audit,
            directory=directory, zone=UTC,
        )  # fmt: skip
        self.confirm = ConfirmShift(
            clock=self.clock, reads=self.sync, known=lambda: directory, audit=self.audit, words=words,
            sources=tuple(self.sources), rules=ConfirmationRules(lasts_max=LASTS),
        )  # fmt: skip

    # --- what happens

    @rule(
        where=st.sampled_from([SOURCE, FEED]),
        first=st.integers(-2, 1),
        length=st.integers(2, 15),
        grade=st.sampled_from([Provenance.ROTA, Provenance.SELF_OVERRIDE, Provenance.SELF_OVERRIDE]),
    )
    def plan(self, where: SourceName, first: int, length: int, grade: Provenance) -> None:
        base = NOW + STEP * ((self.clock.now() - NOW) // STEP)
        begins = base + STEP * first
        turn = shift(
            schedule=f"s{next(self.names)}", starts_at=begins, ends_at=begins + STEP * length, provenance=grade
        )
        self.told[where].turns = [*self.told[where].turns[-2:], turn]

    @rule(
        where=st.sampled_from([SOURCE, SOURCE, FEED]),
        change=st.sampled_from(["cancel", "prolong", "prolong", "give back"]),
        is_read=st.booleans(),
    )
    def change(self, where: SourceName, change: str, *, is_read: bool) -> None:
        told = self.told[where]
        if change == "give back":  # as it was before the last read
            told.turns = list(told.before)
        elif told.turns:
            *others, last = told.turns
            longer = replace(last, ends_at=(last.ends_at or NOW) + STEP)
            told.turns = others if change == "cancel" else [*others, longer]
        if is_read:
            self.read(where)

    @rule(is_given_back=st.booleans())
    def prolong_what_was_vouched_for(self, *, is_given_back: bool) -> None:
        turns = self.told[SOURCE].turns
        longer = [replace(turn, ends_at=(turn.ends_at or NOW) + STEP) if turn in self.words else turn for turn in turns]
        if longer != turns:
            self.told[SOURCE].turns = longer
            self.read(SOURCE)
            if is_given_back:
                self.told[SOURCE].turns = turns
                self.read(SOURCE)

    @rule(where=st.sampled_from([SOURCE, FEED]), has_her=st.booleans())
    def only_one_answers_for_a_while(self, where: SourceName, *, has_her: bool) -> None:
        if has_her and where == SOURCE:
            self.plan(SOURCE, 0, 6, Provenance.ROTA)
        self.clock.advance(2 * STEP)
        if not has_her:
            self.told[where].turns = []
        self.read(where)

    @rule(where=st.sampled_from([SOURCE, FEED]))
    def read(self, where: SourceName) -> None:
        told, now = self.told[where], self.clock.now()
        self.sources[where].answers[0] = roster(
            BOB, *told.turns, source=where, taken_at=now, window_ends_at=now + timedelta(hours=72)
        )
        self.loop.run_until_complete(self.sync.sync(where))
        if told.seen != tuple(told.turns):
            told.before = told.seen
        told.seen, told.at = tuple(told.turns), now
        if where == SOURCE:
            self.words = {turn: until for turn, until in self.words.items() if turn in told.seen}

    @rule(steps=st.integers(0, 3), off=st.sampled_from([-TICK, timedelta(0), TICK]))
    def time_passes(self, steps: int, off: timedelta) -> None:
        target = NOW + STEP * ((self.clock.now() - NOW) // STEP + steps) + off
        self.clock.advance(max(timedelta(0), target - self.clock.now()))

    @rule(who=st.sampled_from(["bob", "bob", "alice"]), is_taken_back=st.sampled_from([False, False, True]))
    def vouch(self, who: str, *, is_taken_back: bool) -> None:
        """For each turn of hers that needs it, in the pager; or take it back."""
        voucher, now = Voucher(subject=Subject(id=SubjectId(who)), issuer=CALLER), self.clock.now()
        for one in self.confirm.doubtful(voucher):
            turn = next((turn for turn in self.told[SOURCE].seen if turn.schedule == one.shift.schedule), None)
            # After a restart, before the first read, a turn may still show the cut where an earlier word ended.
            is_whole = turn is not None and (turn.starts_at, turn.ends_at) == (one.shift.starts_at, one.shift.ends_at)
            if one.source != SOURCE or turn is None or not is_whole:
                continue
            if is_taken_back and one.confirmed is not None:
                self.loop.run_until_complete(self.confirm.withdraw(one.id, voucher))
                self.words.pop(turn, None)
            elif not is_taken_back and not one.why_not:
                self.loop.run_until_complete(self.confirm.confirm(one.id, voucher))
                until = min(turn.ends_at or now, max(now, turn.starts_at or now) + LASTS)
                if who != "alice":
                    self.words[turn] = max(until, self.words.get(turn, until))

    # --- the oracle

    @invariant()
    def she_asks(self) -> None:
        now = self.clock.now()
        for name in RESOURCES:
            asked = replace(request("alice"), resource=name)
            decision = self.loop.run_until_complete(self.access.decide(asked, CALLER))
            self.reached[f"{name} {decision.reason}"] += 1
            if not isinstance(decision, Allow):
                assert not self.may(name, now), f"alice should be let in to {name}: {decision.reason}"
                continue
            assert self.may(name, now) or decision.decided_at < now, f"alice has no right to {name}"
            # An allow that was given before a source grew old runs to its end; what it rests on must hold till then.
            edges = [edge for turn in self.told[SOURCE].seen for edge in (turn.starts_at, turn.ends_at) if edge]
            edges += [edge for turn in self.told[FEED].seen for edge in (turn.starts_at, turn.ends_at) if edge]
            for at in [now, decision.until - TICK, *(edge for edge in edges if now < edge < decision.until)]:
                assert self.is_on(SOURCE, at), f"{name}: alice is not on call at {at}"
                assert name != "always" or self.is_on(FEED, at), f"{name}: the feed does not have alice at {at}"

    def is_on(self, where: SourceName, at: datetime) -> bool:
        return any(turn.covers(at) and self.counts(where, turn, at) for turn in self.told[where].seen)

    def counts(self, where: SourceName, turn: Shift, at: datetime) -> bool:
        """The feed only agrees, so its grades count for nothing."""
        return where == FEED or turn.provenance is Provenance.ROTA or at < self.words.get(turn, at)

    def may(self, name: ResourceId, now: datetime) -> bool:
        pager, feed = self.told[SOURCE], self.told[FEED]
        is_on, agrees = self.is_on(SOURCE, now), feed.is_fresh(now) and self.is_on(FEED, now)
        if name == "always":
            return is_on and pager.is_fresh(now) and agrees
        if pager.is_fresh(now):
            return is_on
        if name == "when-stale":
            return is_on and agrees
        return pager.at is not None and any(
            turn.covers(now) and turn.covers(pager.at) and self.counts(SOURCE, turn, now) for turn in pager.seen
        )


def explore(*, examples: int, derandomize: bool = True) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # Hypothesis does not annotate it
        Doubts,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, database=None, derandomize=derandomize,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        ),
    )  # fmt: skip


def test_two_sources_and_a_second_person_let_in_whom_they_should() -> None:
    Doubts.reached.clear()
    explore(examples=150)
    for what in (
        "alone on_call", "alone provenance_too_weak", "alone roster_stale", "when-stale on_call",
        "when-stale sources_disagree", "when-stale second_source_silent", "always on_call", "always sources_disagree",
        "always second_source_silent",
    ):  # fmt: skip
        assert Doubts.reached[what] > 0, f"{what} never came up: {Doubts.reached}"


MUTANTS = (
    Mutant(
        "silence is agreement",
        "watchkey.rules.evidence:_on_call_facts",
        "elif opinion is not None:",
        "elif opinion is Reason.SOURCES_DISAGREE:",
    ),
    Mutant(
        "the second is not asked while the first is fresh",
        "watchkey.rules.evidence:_second_opinion",
        "resource.agreement is not Agreement.ALWAYS and not question",
        "not question",
    ),
    Mutant("a stale second agrees", "watchkey.rules.evidence:_opinion", "question.is_stale(view) or now", "now"),
    Mutant(
        "the second's end is forgotten",
        "watchkey.rules.evidence:_on_call_facts",
        "until = _earlier(until, opinion.until)",
        "pass",
    ),
    Mutant("a word never lapses", "watchkey.flows.sync_roster:SyncRoster._swap", "if gone:", "if False:"),
    Mutant("a word has no end", "watchkey.rules.confirmation:confirmation_of", "+ lasts_max", "+ 99 * lasts_max"),
    Mutant(
        "one vouches for oneself",
        "watchkey.flows.confirm_shift:ConfirmShift._why_not",
        "known.links.person_of(who.id, source) == holder",
        "False",
    ),
    Mutant(
        "a longer shift stays vouched for",
        "watchkey.rules.confirmation:Confirmation.is_about",
        "*_time(shift)",
        "self.starts_at, self.ends_at",
    ),
    Mutant(
        "taking back waits for the next read",
        "watchkey.flows.confirm_shift:ConfirmShift.withdraw",
        "await self._reads.regrade(found.source)",
        "pass",
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_oracle_sees_the_bug(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.plant(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        explore(examples=600)
