"""What was vouched for outlives a restart; what was taken back does not come back."""

import asyncio

import pytest

from tests.builders import HOUR, NOW, SOURCE, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from watchkey.flows.keep_confirmations import NAME, KeepConfirmations, told
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.ids import SourceName, SubjectId
from watchkey.model.oncall import Provenance
from watchkey.rules.confirmation import Confirmation, confirmation_of

WORD = confirmation_of(shift(provenance=Provenance.UNKNOWN), SOURCE, SubjectId("bob"), NOW)
OTHER = confirmation_of(shift("PBOB", provenance=Provenance.UNKNOWN), SOURCE, SubjectId("alice"), NOW)


class Desk:
    def __init__(self, memory: DictMemory | None = None) -> None:
        self.clock, self.audit, self.memory = DrivenClock(NOW), MemoryAudit(), memory or DictMemory()
        self.words = KeepConfirmations(memory=self.memory, audit=self.audit, clock=self.clock).recall()

    def state(self) -> tuple[list[Confirmation], list[Confirmation]]:
        return list(self.words.standing(SOURCE)), list(self.words.taken_back(SOURCE))

    def again(self) -> "Desk":
        return Desk(self.memory)


def test_words_outlive_a_restart_and_so_does_taking_one_back() -> None:
    desk = Desk()
    asyncio.run(desk.words.add(WORD))
    asyncio.run(desk.words.add(OTHER))
    assert desk.state() == desk.again().state() == ([WORD, OTHER], [])
    asyncio.run(desk.words.remove([WORD]))
    assert desk.state() == desk.again().state() == ([OTHER], [WORD])
    assert desk.words.standing(SourceName("other")) == []


def test_a_word_that_cannot_be_kept_does_not_count_and_one_taken_back_never_does() -> None:
    desk = Desk()
    asyncio.run(desk.words.add(WORD))
    desk.memory.fails = True
    with pytest.raises(Unavailable):
        asyncio.run(desk.words.add(OTHER))
    with pytest.raises(Unavailable):
        asyncio.run(desk.words.remove([WORD]))
    assert desk.state() == ([], [WORD])


def test_time_ends_a_word_and_frees_its_place() -> None:
    desk = Desk()
    asyncio.run(desk.words.add(WORD))
    desk.clock.advance(HOUR)
    assert desk.state() == ([], [])
    asyncio.run(desk.words.remove([]))
    assert desk.memory.recall(NAME) == {"standing": [], "taken_back": []}


def test_lapsing_is_recorded_and_never_fails() -> None:
    desk = Desk()
    asyncio.run(desk.words.add(WORD))
    asyncio.run(desk.words.lapse([WORD]))
    (event,) = desk.audit.events
    assert isinstance(event, Noted)
    assert (event.what, event.fields) == ("shift.confirmation_lapsed", told(WORD))
    asyncio.run(desk.words.add(OTHER))
    desk.memory.fails = desk.audit.fails = True
    asyncio.run(desk.words.lapse([OTHER]))
    assert desk.state() == ([], [WORD, OTHER])


@pytest.mark.parametrize("value", [[], {"standing": [{"source": "pager"}]}, {"standing": 1}, "x"])
def test_what_was_never_kept_is_malformed(value: object) -> None:
    memory = DictMemory()
    asyncio.run(memory.remember(NAME, value))
    with pytest.raises(Malformed, match="confirmations"):
        Desk(memory)
