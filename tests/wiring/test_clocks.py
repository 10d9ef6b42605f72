"""The clocks."""

import asyncio
from datetime import timedelta

from tests.builders import NOW
from watchkey import wiring


def test_the_real_clock_goes_on() -> None:
    clock = wiring.SystemClock()
    before = (clock.now(), clock.monotonic())
    asyncio.run(clock.sleep(0.001))
    assert clock.now() >= before[0]
    assert clock.monotonic() > before[1]
    assert clock.now().tzinfo is not None


def test_a_virtual_clock_goes_only_where_it_is_moved_and_never_back() -> None:
    clock = wiring.VirtualClock(NOW)
    assert (clock.now(), clock.monotonic()) == (NOW, 0.0)
    asyncio.run(clock.sleep(90))
    clock.move_to(NOW)
    assert (clock.now(), clock.monotonic()) == (NOW + timedelta(seconds=90), 90.0)


def test_a_stopped_clock_stands_and_lets_nobody_wait() -> None:
    clock = wiring.StoppedClock(at=NOW)
    asyncio.run(clock.sleep(3600))
    assert (clock.now(), clock.monotonic()) == (NOW, 0.0)
