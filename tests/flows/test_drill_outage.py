"""An outage in virtual time: who stays, who comes, and the instant from which nobody is let in."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from tests.builders import HOUR, NOW, SOURCE, incident, links, resource, responder, roster, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from tests.fakes.source import ScriptedSource
from watchkey.flows.drill_outage import DrillOutage, Outage
from watchkey.flows.keep_roster import KeepRoster
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import SyncRoster
from watchkey.model.access import Reason, Resource, StaleMode
from watchkey.model.errors import Unavailable
from watchkey.model.oncall import Shift
from watchkey.rules.directory import Directory
from watchkey.rules.roster import GuardLimits
from watchkey.stores.memory import MemoryRosters

HANDOFF = NOW + 8 * HOUR
ALICE = shift(starts_at=NOW - HOUR, ends_at=HANDOFF)
BOB = shift("PBOB", starts_at=HANDOFF, ends_at=NOW + 60 * HOUR)


class MovedClock(DrivenClock):
    def move_to(self, instant: datetime) -> None:
        self.advance(instant - self.now())


def play(
    *shifts: Shift,
    about: Resource | None = None,
    is_up: bool = False,
    is_unread: bool = False,
    hours: int = 24,
    **facts: object,
) -> Outage:
    guarded, clock, rosters = about or resource(), MovedClock(NOW), MemoryRosters()
    read = roster(*shifts, **facts)
    later = read if is_up else Unavailable("down")
    sync = SyncRoster(
        clock=clock,
        sources=[ScriptedSource(*([] if is_unread else [read]), later)],
        rosters=rosters,
        audit=MemoryAudit(),
        memory=KeepRoster(memory=DictMemory(), clock=clock),
        sightings={},
        limits=GuardLimits(),
        window=72 * HOUR,
        poll_every=timedelta(seconds=30),
    )
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines={"default": ScriptedEngine()},
        audit=MemoryAudit(),
        directory=Directory(resources={guarded.id: guarded}, links=links()),
        zone=UTC,
    )
    flow = DrillOutage(clock=clock, sync=sync, explains=access, rosters=rosters, links=links(), sources=[SOURCE])

    async def scenario() -> Outage:
        await sync.sync(SOURCE)
        return await flow.play([guarded], hours * HOUR)

    return asyncio.run(scenario())


def names(played: Outage, hour: int) -> list[str]:
    (moment,) = [one for one in played.moments if one.at == NOW + hour * HOUR]
    return [holder.name for holder in moment.holders]


@pytest.mark.parametrize(
    ("mode", "nobody_from", "why"),
    [
        (StaleMode.STRICT, timedelta(minutes=10, milliseconds=1), Reason.ROSTER_STALE),
        (StaleMode.INCUMBENT, 8 * HOUR, Reason.ROSTER_STALE),
        (StaleMode.FORECAST, 12 * HOUR + timedelta(milliseconds=1), Reason.ROSTER_STALE),
    ],
)
def test_each_stale_mode_ends_where_it_says(mode: StaleMode, nobody_from: timedelta, why: Reason) -> None:
    played = play(ALICE, BOB, about=resource(stale_mode=mode, forecast_max=12 * HOUR))
    lost = played.first_without(resource().id)
    assert lost is not None
    assert (lost.at - NOW, lost.why) == (nobody_from, why)


def test_the_incumbent_stays_hour_by_hour_and_nobody_new_comes() -> None:
    played = play(ALICE, BOB)
    assert [names(played, hour) for hour in (0, 7, 8, 23)] == [["alice"], ["alice"], [], []]
    assert len(list(played.hours())) == 24


def test_the_forecast_lets_the_next_one_in() -> None:
    played = play(ALICE, BOB, about=resource(stale_mode=StaleMode.FORECAST, forecast_max=24 * HOUR))
    assert [names(played, hour) for hour in (7, 8, 23)] == [["alice"], ["bob"], ["bob"]]
    assert played.first_without(resource().id) is None


def test_a_source_that_stays_up_is_read_again_and_never_stale() -> None:
    played = play(ALICE, BOB, about=resource(stale_mode=StaleMode.STRICT), is_up=True)
    assert [names(played, hour) for hour in (7, 8, 23)] == [["alice"], ["bob"], ["bob"]]


def test_a_gap_in_the_rota_is_no_matter_of_the_outage_and_shows_all_the_same() -> None:
    late = shift("PBOB", starts_at=HANDOFF + HOUR / 2, ends_at=NOW + 60 * HOUR)
    played = play(ALICE, late, is_up=True)
    lost = played.first_without(resource().id)
    assert lost is not None
    assert (lost.at, lost.why) == (HANDOFF, Reason.NOT_ON_CALL)


def test_a_source_that_was_never_read_is_not_one_that_has_nobody() -> None:
    lost = play(ALICE, is_unread=True, hours=2).first_without(resource().id)
    assert lost is not None
    assert (lost.at, lost.why) == (NOW, Reason.NO_ROSTER)


def test_a_responder_stays_as_long_as_a_lease_of_the_last_read() -> None:
    played = play(incidents=(incident(responder("PCAROL")),), hours=3)
    lost = played.first_without(resource().id)
    assert lost is not None
    assert lost.at == NOW + HOUR
    assert names(played, 0) == ["carol"]


def test_what_a_holder_gets_is_said_by_privilege() -> None:
    (holder,) = play(ALICE, hours=1).moments[0].holders
    assert (holder.subject, holder.privileges) == ("alice", ("read", "write"))
