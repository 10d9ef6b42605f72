"""What changes about linked people is told once, when it appears, and nothing is lost when it cannot be recorded."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, SOURCE, index, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from watchkey.flows.watch_links import NAME, PAUSE, WatchLinks
from watchkey.model.access import Link
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId, SubjectId
from watchkey.model.oncall import Person
from watchkey.rules.link_check import LinkTrouble
from watchkey.rules.roster import RosterChange
from watchkey.stores.memory import MemoryRosters

ALICE = Link(subject=SubjectId("alice"), source=SOURCE, person=PersonId("PALICE"))
PEOPLE = {
    name: Person(id=PersonId(f"P{name.upper()}"), name=name, emails=(f"{name}@x.com",)) for name in ("alice", "bob")
}


class Desk:
    def __init__(self, *links: Link, memory: DictMemory | None = None, others: tuple[str, ...] = ()) -> None:
        self.clock, self.audit, self.memory = DrivenClock(NOW), MemoryAudit(), memory or DictMemory()
        self.rosters = MemoryRosters()
        self.watch = WatchLinks(
            links=links or (ALICE,),
            others=tuple(SubjectId(one) for one in others),
            rosters=self.rosters,
            memory=self.memory,
            audit=self.audit,
            clock=self.clock,
        )

    def read(self, **changes: Any) -> "Desk":
        people = (replace(PEOPLE["alice"], **changes), PEOPLE["bob"])
        self.rosters.swap(index(shift(), people=people), read_at=0.0)
        return self

    def look(self) -> list[LinkTrouble]:
        return [one.trouble for one in asyncio.run(self.watch.look())]

    def told(self) -> list[str]:
        return [event.fields["trouble"] for event in self.audit.events if isinstance(event, Noted)]


def test_a_changed_address_is_told_once_with_what_it_was() -> None:
    desk = Desk().read()
    assert desk.look() == []
    assert desk.read(emails=("mallory@x.com",)).look() == [LinkTrouble.EMAIL_CHANGED]
    assert desk.look() == []
    (event,) = desk.audit.events
    assert isinstance(event, Noted)
    assert event.what == "link.alert"
    assert event.fields == {
        "trouble": "email_changed",
        "subjects": ["alice"],
        "source": SOURCE,
        "person": "PALICE",
        "what": "the addresses were alice@x.com and are mallory@x.com",
    }
    assert desk.watch.alerts == {LinkTrouble.EMAIL_CHANGED: 1}


def test_a_change_while_the_service_was_down_is_told_and_an_old_one_not_again() -> None:
    desk = Desk().read()
    desk.look()
    again = Desk(memory=desk.memory).read(emails=("new@x.com",))
    assert again.look() == [LinkTrouble.EMAIL_CHANGED]
    assert Desk(memory=desk.memory).read(emails=("new@x.com",)).look() == []


def test_a_leaver_is_told_and_stands_until_the_link_goes() -> None:
    desk = Desk().read(active=False)
    assert desk.look() == [LinkTrouble.INACTIVE]
    assert (desk.look(), desk.watch.standing) == ([], {LinkTrouble.INACTIVE: 1})
    assert Desk(memory=desk.memory).read(active=False).look() == []
    assert desk.read().look() == []
    assert desk.watch.standing == {}
    assert desk.read(active=False).look() == [LinkTrouble.INACTIVE]


def test_the_name_of_a_leaver_that_passes_to_somebody_else_is_told() -> None:
    desk = Desk().read()
    desk.look()
    bob = replace(ALICE, subject=SubjectId("bob"), person=PersonId("PBOB"))
    without = Desk(bob, memory=desk.memory).read()
    assert without.look() == []
    newcomer = Desk(replace(ALICE, person=PersonId("PBOB")), memory=desk.memory).read()
    assert LinkTrouble.PASSED_ON in newcomer.look()


def test_look_alikes_are_told_before_any_roster_is_read() -> None:
    desk = Desk(ALICE, others=("\u0430lice", "Alice"))
    assert LinkTrouble.LOOK_ALIKE in desk.look()
    assert desk.look() == []
    assert "look_alike" in desk.told()


def test_what_was_told_of_a_source_stays_told_while_it_is_unread() -> None:
    desk = Desk().read(active=False)
    desk.look()
    unread = Desk(memory=desk.memory)
    assert unread.look() == []
    assert Desk(memory=desk.memory).read(active=False).look() == []


@pytest.mark.parametrize("where", ["audit", "memory"])
def test_what_cannot_be_recorded_is_told_again(where: str) -> None:
    desk = Desk().read()
    desk.look()
    getattr(desk, where).fails = True
    desk.read(emails=("new@x.com",))
    assert desk.look() == desk.look() == [LinkTrouble.EMAIL_CHANGED]
    getattr(desk, where).fails = False
    assert desk.look() == [LinkTrouble.EMAIL_CHANGED]
    assert desk.look() == []


def test_it_looks_at_each_change_and_pauses_in_between() -> None:
    desk = Desk().read()

    async def scenario() -> None:
        task = asyncio.create_task(desk.watch.run())
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if desk.memory.writes:
                break
        desk.read(emails=("new@x.com",))
        desk.watch.roster_changed(SOURCE, RosterChange())
        for _ in range(1000):
            await desk.clock.run(timedelta(seconds=PAUSE))
            await asyncio.sleep(0.01)
            if desk.told():
                break
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert desk.told() == ["email_changed"]


@pytest.mark.parametrize("value", [[], {"seen": [1]}, "x"])
def test_what_was_never_kept_is_malformed(value: object) -> None:
    memory = DictMemory()
    asyncio.run(memory.remember(NAME, value))
    with pytest.raises(Malformed, match="links"):
        Desk(memory=memory)
