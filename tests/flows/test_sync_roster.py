"""Reading: whole or not at all, graded, guarded, swapped at once; hints only cause reads; failures pace themselves."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tests.builders import NOW, SOURCE, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.sync_roster import NotSynced, Synced, SyncRoster
from watchkey.model.audit import RosterHeld, RosterSwapped
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import Provenance, Roster
from watchkey.rules.roster import GuardLimits, RosterChange
from watchkey.stores.memory import MemoryRosters

POLL = timedelta(seconds=30)


@dataclass
class Desk:
    """The use case with its surroundings at hand."""

    source: ScriptedSource
    clock: DrivenClock = field(default_factory=lambda: DrivenClock(NOW))
    audit: MemoryAudit = field(default_factory=MemoryAudit)
    memory: DictMemory = field(default_factory=DictMemory)
    rosters: MemoryRosters = field(default_factory=MemoryRosters)

    def __post_init__(self) -> None:
        self.sync = SyncRoster(
            clock=self.clock,
            sources=[self.source],
            rosters=self.rosters,
            audit=self.audit,
            memory=KeepRoster(memory=self.memory, clock=self.clock),
            sightings={},
            limits=GuardLimits(),
            window=timedelta(hours=72),
            poll_every=POLL,
        )

    def once(self) -> Synced | NotSynced:
        return asyncio.run(self.sync.sync(SOURCE))

    def run_for(self, *spans: timedelta, hint_after: int | None = None) -> None:
        async def scenario() -> None:
            task = asyncio.create_task(self.sync.run())
            for i, span in enumerate(spans):
                await self.clock.run(span)
                if i == hint_after:
                    self.sync.hint(SOURCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(scenario())


def unknown(person: str = "PALICE", **changes: object) -> Roster:
    return roster(shift(person, provenance=Provenance.UNKNOWN, **changes))


def crowd(count: int) -> Roster:
    everybody = [shift(f"P{i}", schedule=f"s{i}") for i in range(count)]
    people = tuple(type(roster().people[0])(id=PersonId(f"P{i}"), name=f"p{i}") for i in range(20))
    return roster(*everybody, people=people)


def test_a_complete_read_is_swapped_in_and_recorded() -> None:
    desk = Desk(ScriptedSource(roster(shift())))
    outcome = desk.once()
    assert isinstance(outcome, Synced)
    assert desk.rosters.held()[SOURCE] is outcome.held
    assert desk.source.fetched == [(NOW, timedelta(hours=72))]
    (event,) = desk.audit.events
    assert isinstance(event, RosterSwapped)
    assert (event.revision, event.digest, event.shifts) == (1, outcome.held.index.digest, 1)


def test_the_same_again_only_renews_the_age() -> None:
    desk = Desk(ScriptedSource(roster(shift())))
    desk.once()
    desk.clock.advance(POLL)
    desk.once()
    held = desk.rosters.held()[SOURCE]
    assert (held.revision, held.read_at) == (1, desk.clock.monotonic())
    assert len(desk.audit.events) == 1


@pytest.mark.parametrize("error", [Unavailable("503"), Refused("401"), Malformed("HTML"), ZeroDivisionError()])
def test_a_failed_read_changes_nothing_and_is_recorded_once(error: Exception) -> None:
    desk = Desk(ScriptedSource(roster(shift()), error))
    desk.once()
    before = desk.rosters.held()
    for _ in range(3):
        assert isinstance(desk.once(), NotSynced)
    assert desk.rosters.held() is before
    assert [type(event) for event in desk.audit.events] == [RosterSwapped, RosterHeld]
    assert desk.sync.last_error(SOURCE)


def test_recovery_is_seen_and_the_next_failure_is_recorded_again() -> None:
    desk = Desk(ScriptedSource(roster(shift()), Unavailable("503"), roster(shift()), Unavailable("503")))
    for _ in range(4):
        desk.once()
    assert [type(event) for event in desk.audit.events] == [RosterSwapped, RosterHeld, RosterHeld]


def test_a_read_that_throws_out_too_many_waits_for_a_second_one() -> None:
    desk = Desk(ScriptedSource(crowd(20), crowd(2)))
    desk.once()
    outcome = desk.once()
    assert isinstance(outcome, NotSynced)
    assert "18" in outcome.why
    assert len(desk.rosters.held()[SOURCE].index.roster.shifts) == 20


def test_what_the_first_read_shows_is_the_baseline_and_what_comes_at_short_notice_is_not() -> None:
    first = unknown()
    second = roster(*first.shifts, *unknown("PBOB").shifts)
    desk = Desk(ScriptedSource(first, second))
    desk.once()
    desk.clock.advance(POLL)
    desk.once()
    grades = {s.person: s.provenance for s in desk.rosters.held()[SOURCE].index.roster.shifts}
    assert grades["PALICE"] is Provenance.ROTA
    assert grades["PBOB"] is Provenance.UNKNOWN


def test_listeners_hear_of_changes_only() -> None:
    heard: list[tuple[SourceName, RosterChange]] = []
    desk = Desk(ScriptedSource(roster(shift()), roster(shift()), roster(shift("PBOB"))))
    desk.sync.listeners.append(lambda name, change: heard.append((name, change)))
    for _ in range(3):
        desk.once()
        desk.clock.advance(POLL)
    assert len(heard) == 2
    assert {"PALICE", "PBOB"} <= set(heard[1][1].people)


def test_a_log_or_memory_that_fails_does_not_keep_a_newer_roster_out() -> None:
    desk = Desk(ScriptedSource(roster(shift()), roster(shift("PBOB"))))
    desk.once()
    desk.audit.fails = desk.memory.fails = True
    desk.clock.advance(POLL)
    assert isinstance(desk.once(), Synced)
    assert desk.rosters.held()[SOURCE].revision == 2


def test_it_polls() -> None:
    desk = Desk(ScriptedSource(roster(shift())))
    desk.run_for(POLL * 3 + timedelta(seconds=1))
    assert len(desk.source.fetched) == 4


def test_a_hint_causes_a_read_soon_and_many_hints_cause_one() -> None:
    desk = Desk(ScriptedSource(roster(shift())))

    async def scenario() -> None:
        task = asyncio.create_task(desk.sync.run())
        await desk.clock.run(timedelta(seconds=5))
        for _ in range(50):
            assert desk.sync.hint(SOURCE)
        await desk.clock.run(timedelta(seconds=2))
        assert len(desk.source.fetched) == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_an_unknown_source_cannot_be_hinted() -> None:
    assert Desk(ScriptedSource(roster())).sync.hint(SourceName("nobody")) is False


def test_failures_pace_themselves_and_a_source_that_asks_for_a_pause_gets_it() -> None:
    desk = Desk(ScriptedSource(Unavailable("503")))
    desk.run_for(timedelta(seconds=29))
    assert 3 <= len(desk.source.fetched) <= 5
    desk = Desk(ScriptedSource(Unavailable("429", retry_after=120.0)))
    desk.run_for(timedelta(seconds=119))
    assert len(desk.source.fetched) == 1
