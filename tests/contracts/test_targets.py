"""What every target promises, run on each of them and on the fake."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.target import MemoryTarget
from tests.live.conftest import server
from tests.live.house import ORDERS, RealClock, target_config
from tests.model.test_lease import lease
from watchkey.model.lease import LeaseId
from watchkey.ports import Target
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.targets.postgres import PostgresTarget

__all__ = ["server"]
CLOCK = RealClock()
Open = Callable[[], Any]


@pytest.fixture(params=["memory", "postgres"])
def open_target(request: pytest.FixtureRequest) -> Open:
    running: PostgresServer | None = request.getfixturevalue("server") if request.param == "postgres" else None

    @asynccontextmanager
    async def make() -> AsyncIterator[Target]:
        target: Target = (
            MemoryTarget(CLOCK)
            if running is None
            else PostgresTarget(target_config(running), resource=ORDERS, clock=CLOCK)
        )
        try:
            yield target
        finally:
            for holding in await target.observe():
                await target.revoke(holding.lease)
            await target.close()
            await target.close()

    return make


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_granting_twice_is_granting_once(open_target: Open) -> None:
    async def work() -> None:
        async with open_target() as target:
            granted = lease(CLOCK.now())
            first, second = await target.grant(granted), await target.grant(granted)
            assert first.name == second.name
            (holding,) = await target.observe()
            assert (holding.lease, holding.subject, holding.resource) == (granted.id, granted.subject, granted.resource)
            assert (holding.ends_at, holding.can_log_in) == (granted.ends_at, True)

    run(work())


def test_revoking_what_is_not_there_is_fine(open_target: Open) -> None:
    async def work() -> None:
        async with open_target() as target:
            for _ in range(2):
                assert (await target.revoke(LeaseId("ffffffffffffffff"))).is_gone
            assert await target.shut([LeaseId("ffffffffffffffff"), LeaseId("'; DROP ROLE x")]) == 0

    run(work())


def test_what_is_shut_cannot_log_in_and_what_is_revoked_is_gone(open_target: Open) -> None:
    async def work() -> None:
        async with open_target() as target:
            one, two = lease(CLOCK.now(), id="00000000000000a1"), lease(CLOCK.now(), id="00000000000000a2")
            await target.grant(one)
            await target.grant(two)
            await target.shut([one.id])
            assert {h.lease: h.can_log_in for h in await target.observe()} == {one.id: False, two.id: True}
            assert (await target.revoke(one.id)).is_gone
            assert [h.lease for h in await target.observe()] == [two.id]

    run(work())


def test_the_target_carries_the_end_and_reaps_by_it(open_target: Open) -> None:
    async def work() -> None:
        async with open_target() as target:
            now = CLOCK.now()
            over = lease(now - timedelta(hours=2), id="00000000000000a3")
            runs = lease(now, id="00000000000000a4")
            await target.grant(over)
            await target.grant(runs)
            assert [ending.is_gone for ending in await target.reap()] == [True]
            assert [h.lease for h in await target.observe()] == [runs.id]
            longer = lease(now, id="00000000000000a4", length=timedelta(hours=3))
            await target.extend(longer)
            assert [h.ends_at for h in await target.observe()] == [longer.ends_at]

    run(work())
