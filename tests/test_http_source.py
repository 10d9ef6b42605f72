"""The frame of every source over HTTP: its window, what it counts, what it keeps from a read that failed."""

import asyncio
from datetime import timedelta

import pytest

from tests.contracts.source_case import NOW
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import answer, replying
from watchkey.http_client import HttpSource, HttpSourceConfig, Operation, Provider
from watchkey.model.errors import Refused
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster
from watchkey.rules.gathering import Gathered

DAY = timedelta(days=1)


async def read(operation: Operation, gathered: Gathered) -> None:
    gathered.notes.append("a note")
    for path in ("/one", "/two"):
        gathered.turn(gathered.mention((await operation.get(path)).json()), "S", NOW, NOW + DAY / 2)


def fetched(windows: list[timedelta], broken: frozenset[int] = frozenset()) -> tuple[list[Roster | str], HttpSource]:
    async def go() -> tuple[list[Roster | str], HttpSource]:
        count = 0

        def reply(target: str) -> bytes:
            nonlocal count
            count += 1
            return answer(404) if count in broken else answer(200, f'"{target[1:]}"'.encode(), "Date: X\r\n")

        async with replying(reply) as server:
            config = HttpSourceConfig(base_url=server.url)
            provider = Provider(base_url="https://never.example", window_max=9 * DAY, unlisted=None)
            source = HttpSource(config, provider, read, name=SourceName("s"), clock=HastyClock(NOW))
            found: list[Roster | str] = []
            for window in windows:
                try:
                    found.append(await source.fetch(now=NOW, window=window))
                except Refused as error:
                    found.append(str(error))
            await source.close()
            await source.close()
            return found, source

    return asyncio.run(go())


def test_a_read_is_one_roster_with_its_cost_and_its_notes() -> None:
    [roster], source = fetched([DAY])
    assert isinstance(roster, Roster)
    assert {(p.id, p.active) for p in roster.people} == {("one", None), ("two", None)}
    assert (roster.taken_at, roster.window_ends_at) == (NOW, NOW + DAY)
    assert (source.name, source.requests, source.notes) == ("s", 2, ("a note",))


@pytest.mark.parametrize("window", [timedelta(0), -DAY, 9 * DAY + timedelta(seconds=1)])
def test_a_window_that_the_provider_does_not_know_is_refused(window: timedelta) -> None:
    [outcome], source = fetched([window])
    assert "window" in str(outcome)
    assert source.requests == 0


def test_a_read_that_fails_leaves_what_is_known_of_the_last_one() -> None:
    first, second, third = fetched([DAY, DAY, DAY], broken=frozenset({4}))[0]
    assert isinstance(first, Roster)
    assert "404" in str(second)
    assert first == third
