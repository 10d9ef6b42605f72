from datetime import UTC, datetime, timedelta

import pytest

from watchkey.simulator import SimulatorClock

START = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def test_a_given_start_stands_still_until_it_is_moved() -> None:
    clock = SimulatorClock(START)
    assert clock.now() == clock.now() == START
    clock.advance(timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=1)
    clock.advance(timedelta(hours=-2))
    clock.set(START)
    assert clock.now() == START


def test_a_running_clock_goes_on_from_where_it_stands() -> None:
    clock = SimulatorClock(START)
    clock.run()
    first = clock.now()
    assert START <= first <= clock.now()
    clock.freeze()
    assert clock.now() == clock.now() >= first


def test_without_a_start_it_follows_the_machine() -> None:
    clock = SimulatorClock()
    far = clock.now() + timedelta(days=3650)
    clock.set(far)
    assert clock.now() >= far
    clock.real()
    assert clock.now() < far


def test_an_instant_without_a_zone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        SimulatorClock(START).set(START.replace(tzinfo=None))
