"""Reading: whole or not at all, graded, guarded, swapped at once; hints only cause reads; failures pace themselves."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from tests.builders import NOW, SOURCE, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.sync_roster import LARGE, NotSynced, Synced, SyncRoster, Waiting
from watchkey.model.audit import Noted, RosterHeld, RosterSwapped
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import CallerId, PersonId, SourceName, SubjectId
from watchkey.model.oncall import Provenance, Roster, Shift
from watchkey.ports import HeldRoster
from watchkey.rules.confirmation import Confirmation, confirmation_of
from watchkey.rules.provenance import Sightings
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
    words: KeepConfirmations = field(init=False)

    def __post_init__(self) -> None:
        self.words = KeepConfirmations(memory=self.memory, audit=self.audit, clock=self.clock).recall()
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
            words=self.words,
        )

    def once(self) -> Synced | NotSynced:
        return asyncio.run(self.sync.sync(SOURCE))

    def waiting(self) -> Waiting | None:
        return asyncio.run(self.sync.waiting(SOURCE))

    def seen(self) -> str:
        waiting = self.waiting()
        return "" if waiting is None else waiting.digest

    def accept(self, digest: str) -> Synced:
        return asyncio.run(self.sync.accept(SOURCE, caller=CallerId("operator"), digest=digest))

    def vouch(self, weak: Shift, by: str = "bob") -> Confirmation:
        word = confirmation_of(weak, SOURCE, SubjectId(by), self.clock.now())
        asyncio.run(self.words.add(word))
        return word

    def grades(self) -> list[Provenance]:
        return [one.provenance for one in self.rosters.held()[SOURCE].index.roster.shifts]

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


def test_what_a_read_could_not_learn_is_told_once_as_long_as_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    class Noting(ScriptedSource):
        notes: tuple[str, ...] = ()

    source = Noting(roster(shift()))
    desk = Desk(source)
    told = []
    for source.notes in [(), ("a", "b"), ("b",), (), ("a",)]:
        caplog.clear()
        desk.once()
        told.append([getattr(record, "why", "") for record in caplog.records if record.message == "source.note"])
    assert told == [[], ["a", "b"], [], [], ["a"]]


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


@pytest.mark.parametrize("shrunk", [crowd(2), roster(people=crowd(2).people)], ids=["too few", "none at all"])
def test_an_operator_lets_a_held_read_in_and_the_word_is_recorded_first(shrunk: Roster) -> None:
    desk = Desk(ScriptedSource(crowd(20), shrunk))
    desk.once()
    assert desk.waiting() is None
    desk.once()
    waiting = desk.waiting()
    assert waiting is not None
    assert waiting.why == desk.sync.last_error(SOURCE)
    assert len(waiting.change.lost_now) == 20 - len(shrunk.shifts)
    read_at = desk.clock.monotonic()
    desk.clock.advance(POLL)
    accepted = desk.accept(waiting.digest)
    assert desk.rosters.held()[SOURCE] is accepted.held
    assert (accepted.held.index.digest, accepted.held.read_at) == (waiting.digest, read_at)
    *_, noted, swapped = desk.audit.events
    assert isinstance(noted, Noted)
    assert (noted.what, noted.caller, noted.fields["digest"]) == ("roster.accepted", "operator", waiting.digest)
    assert isinstance(swapped, RosterSwapped)
    assert (desk.waiting(), desk.sync.last_error(SOURCE)) == (None, None)
    assert isinstance(desk.once(), Synced)


def test_a_word_that_cannot_be_recorded_does_not_count() -> None:
    desk = Desk(ScriptedSource(crowd(20), crowd(2)))
    desk.once()
    desk.once()
    desk.audit.fails = True
    with pytest.raises(Unavailable):
        desk.accept(desk.seen())
    assert len(desk.rosters.held()[SOURCE].index.roster.shifts) == 20
    desk.audit.fails = False
    assert len(desk.accept(desk.seen()).held.index.roster.shifts) == 2


def test_only_the_read_that_the_operator_saw_is_let_in() -> None:
    desk = Desk(ScriptedSource(crowd(20), crowd(2), crowd(1)))
    desk.once()
    with pytest.raises(Refused, match="no read of pager is held back"):
        desk.accept("")
    desk.once()
    seen = desk.seen()
    desk.once()
    for wrong in (seen, ""):
        with pytest.raises(Refused, match="another one by now"):
            desk.accept(wrong)
    assert len(desk.rosters.held()[SOURCE].index.roster.shifts) == 20
    with pytest.raises(Refused, match="there is pager"):
        asyncio.run(desk.sync.accept(SourceName("nobody"), caller=CallerId("operator"), digest=seen))
    assert asyncio.run(desk.sync.waiting(SourceName("nobody"))) is None


def test_no_word_lets_in_a_read_whose_clock_is_wrong_or_one_that_recovery_has_overtaken() -> None:
    skewed = roster(*crowd(2).shifts, people=crowd(2).people, clock_skew=timedelta(minutes=2))
    desk = Desk(ScriptedSource(crowd(20), skewed))
    desk.once()
    assert isinstance(desk.once(), NotSynced)
    assert desk.waiting() is None
    desk = Desk(ScriptedSource(crowd(20), crowd(2), crowd(20)))
    for _ in range(3):
        desk.once()
    assert desk.waiting() is None


def test_a_confirmation_counts_at_once_and_makes_nothing_younger() -> None:
    weak = shift(provenance=Provenance.SELF_OVERRIDE)
    desk = Desk(ScriptedSource(roster(weak)))
    heard: list[SourceName] = []
    desk.sync.listeners.append(lambda name, _: heard.append(name))
    desk.once()
    assert asyncio.run(desk.sync.regrade(SOURCE)) is False
    read_at = desk.clock.monotonic()
    desk.clock.advance(POLL)
    desk.vouch(weak)
    assert asyncio.run(desk.sync.regrade(SOURCE)) is True
    held = desk.rosters.held()[SOURCE]
    assert desk.grades() == [Provenance.OTHER_OVERRIDE]
    assert (held.revision, held.read_at, heard) == (2, read_at, [SOURCE, SOURCE])
    assert desk.sync.as_read(SOURCE) is not held.index
    restored = KeepRoster(memory=desk.memory, clock=desk.clock).restore(SOURCE)
    assert restored is not None
    assert (restored.revision, restored.age) == (2, POLL)
    desk.once()
    assert desk.rosters.held()[SOURCE].revision == 2


def test_a_shift_that_changed_is_not_vouched_for_and_coming_back_does_not_help() -> None:
    weak = shift(provenance=Provenance.SELF_OVERRIDE)
    longer = shift(provenance=Provenance.SELF_OVERRIDE, ends_at=NOW + timedelta(hours=9))
    desk = Desk(ScriptedSource(roster(weak), roster(longer), roster(weak)))
    desk.once()
    word = desk.vouch(weak)
    desk.once()
    assert desk.grades() == [Provenance.SELF_OVERRIDE]
    assert (desk.words.standing(SOURCE), desk.words.taken_back(SOURCE)) == ([], [word])
    desk.once()
    assert desk.grades() == [Provenance.SELF_OVERRIDE]
    assert [one.what for one in desk.audit.events if isinstance(one, Noted)] == ["shift.confirmation_lapsed"]


def test_a_word_taken_back_counts_no_more_with_or_without_a_read_since() -> None:
    weak = shift(provenance=Provenance.SELF_OVERRIDE)
    desk = Desk(ScriptedSource(roster(weak)))
    desk.once()
    word = desk.vouch(weak)
    asyncio.run(desk.sync.regrade(SOURCE))
    kept = desk.rosters.held()[SOURCE]
    asyncio.run(desk.words.remove([word]))
    assert asyncio.run(desk.sync.regrade(SOURCE)) is True
    assert desk.grades() == [Provenance.SELF_OVERRIDE]
    again = Desk(desk.source, memory=desk.memory, rosters=MemoryRosters({SOURCE: kept}))
    assert asyncio.run(again.sync.regrade(SOURCE)) is True
    assert again.grades() == [Provenance.UNKNOWN]


def test_what_somebody_else_put_in_the_rota_afterwards_is_believed_although_a_word_lapsed() -> None:
    weak, made = shift(provenance=Provenance.SELF_OVERRIDE), shift(provenance=Provenance.OTHER_OVERRIDE)
    desk = Desk(ScriptedSource(roster(weak), roster(made)))
    desk.once()
    desk.vouch(weak)
    desk.once()
    desk.once()
    assert desk.grades() == [Provenance.OTHER_OVERRIDE]


def test_a_read_that_waits_has_no_word_that_was_taken_back_meanwhile() -> None:
    weak = shift(provenance=Provenance.SELF_OVERRIDE)
    full, few = crowd(20), crowd(2)
    desk = Desk(ScriptedSource(replace(full, shifts=(*full.shifts, weak)), replace(few, shifts=(*few.shifts, weak))))
    desk.once()
    word = desk.vouch(weak)
    desk.once()
    asyncio.run(desk.words.remove([word]))
    desk.accept(desk.seen())
    assert Provenance.OTHER_OVERRIDE not in desk.grades()


class KeepsNothing:
    async def keep(self, held: HeldRoster, sightings: Sightings, *, age: timedelta = timedelta(0)) -> None:
        pass


def test_the_loop_goes_on_while_a_large_roster_is_indexed() -> None:
    async def turns_during(read: Roster) -> int:
        desk = Desk(ScriptedSource(read))
        desk.sync._memory = KeepsNothing()  # which has a thread of its own for large rosters
        syncing, turns = asyncio.create_task(desk.sync.sync(SOURCE)), 0
        while not syncing.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(turns_during(crowd(20))) < 10 < asyncio.run(turns_during(crowd(LARGE)))
