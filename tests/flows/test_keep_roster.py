"""What a restart brings back: the same roster, as old as its last read, or nothing."""

import asyncio
from datetime import timedelta

import pytest

from tests.builders import NOW, SOURCE, incident, index, responder, shift
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from watchkey.flows.keep_roster import SIGHTINGS_EVERY, KeepRoster
from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.oncall import EndKind
from watchkey.ports import HeldRoster
from watchkey.rules.provenance import Sightings, grade_by_sight
from watchkey.rules.roster import RosterIndex

ROSTER = index(
    shift(), shift("PBOB", end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None), incidents=(incident(responder()),)
)


def held(roster: RosterIndex = ROSTER, revision: int = 7) -> HeldRoster:
    return HeldRoster(index=roster, revision=revision, read_at=1.0)


def keep(memory: DictMemory, clock: DrivenClock, sightings: Sightings | None = None) -> None:
    asyncio.run(KeepRoster(memory=memory, clock=clock).keep(held(), sightings or Sightings()))


def test_the_same_roster_comes_back_as_old_as_it_is() -> None:
    memory, clock = DictMemory(), DrivenClock(NOW)
    _, sightings = grade_by_sight(ROSTER.roster, None, NOW)
    keep(memory, clock, sightings)
    clock.advance(timedelta(minutes=3))
    restored = KeepRoster(memory=memory, clock=clock).restore(SOURCE)
    assert restored is not None
    assert restored.index.digest == ROSTER.digest
    assert restored.index.roster == ROSTER.roster
    assert (restored.revision, restored.age, restored.sightings) == (7, timedelta(minutes=3), sightings)


def test_nothing_comes_back_from_nothing_or_from_the_future() -> None:
    memory, clock = DictMemory(), DrivenClock(NOW)
    assert KeepRoster(memory=memory, clock=clock).restore(SOURCE) is None
    keep(memory, clock)
    clock.set_wall(NOW - timedelta(seconds=1))
    assert KeepRoster(memory=memory, clock=clock).restore(SOURCE) is None


@pytest.mark.parametrize("name", [f"roster/{SOURCE}", f"sightings/{SOURCE}"])
def test_what_is_not_ours_is_said_to_be_so(name: str) -> None:
    memory, clock = DictMemory(), DrivenClock(NOW)
    keep(memory, clock)
    memory.values[name] = b'["something else"]'
    with pytest.raises(Malformed):
        KeepRoster(memory=memory, clock=clock).restore(SOURCE)


def test_an_unchanged_roster_costs_one_small_write() -> None:
    memory, clock = DictMemory(), DrivenClock(NOW)
    keeper = KeepRoster(memory=memory, clock=clock)
    asyncio.run(keeper.keep(held(), Sightings()))
    first = memory.writes
    clock.advance(timedelta(seconds=30))
    asyncio.run(keeper.keep(held(), Sightings()))
    assert memory.writes == first + 1
    clock.advance(SIGHTINGS_EVERY)
    asyncio.run(keeper.keep(held(), Sightings()))
    assert memory.writes == first + 3


def test_a_disk_that_fails_is_said_so() -> None:
    memory = DictMemory()
    memory.fails = True
    with pytest.raises(Unavailable):
        keep(memory, DrivenClock(NOW))
