import asyncio
from datetime import UTC, datetime, timedelta

from tests.fakes.hasty_clock import HastyClock
from watchkey import simulator
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.model.secret import Secret
from watchkey.rules.roster import index_roster
from watchkey.simulator import READ_TOKEN, Simulator
from watchkey.simulator.sample import fill
from watchkey.sources.pagerduty import Config, PagerDuty

START = datetime(2026, 7, 1, 0, 0, tzinfo=UTC)


def test_everything_that_is_named_for_use_is_there() -> None:
    assert all(hasattr(simulator, name) for name in simulator.__all__)


def test_a_week_of_handoffs_read_ahead_agrees_with_asking_at_each_instant() -> None:
    """The roster of one read, against a simulator that is asked again at each hour."""

    async def go() -> None:
        async with Simulator(start=START) as sim:
            fill(sim.world, turn=timedelta(hours=9))
            sim.world.override("SPRIMARY", "PCAROL", START + timedelta(hours=20), START + timedelta(hours=31))
            config = Config(token=Secret(READ_TOKEN), base_url=sim.base_url)
            source = PagerDuty(config, name=SourceName("pd"), clock=HastyClock(START))
            ahead: Roster = await source.fetch(now=START, window=timedelta(days=7))
            index_roster(ahead)
            policy = sim.world.policies["EPAY"]
            for hour in range(7 * 24):
                at = START + timedelta(hours=hour)
                expected = sorted((user, level) for level, _, _, user in sim.world.on_call(policy, at, at))
                found = sorted((str(s.person), s.level or 0) for s in ahead.shifts if s.covers(at))
                assert found == expected, at
            await source.close()

    asyncio.run(go())
