import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from watchkey.simulator import Body, Simulator
from watchkey.simulator.sample import fill

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def drive(*steps: tuple[str, dict[str, Any]]) -> tuple[Simulator, list[httpx.Response]]:
    """Do these verbs one after the other on a sample account."""
    sim = Simulator(start=NOW, control=True)
    fill(sim.world)

    async def go() -> list[httpx.Response]:
        async with sim, httpx.AsyncClient(base_url=sim.base_url, trust_env=False) as client:
            return [await client.post(f"/_control/{verb}", json=arguments) for verb, arguments in steps]

    return sim, asyncio.run(go())


def test_verbs_change_the_account_the_clock_and_the_faults() -> None:
    sim, replies = drive(
        ("add_user", {"id": "PDAN", "name": "Dan", "email": "dan@example.com"}),
        ("trigger", {"service": "SVORDERS", "by": "PDAN"}),
        ("set_clock", {"at": "2027-01-01T00:00:00+01:00"}),
        ("advance", {"seconds": 90}),
        ("fault", {"body": "html", "only": "/users", "times": 3, "rate_limit": 5}),
    )
    assert [reply.status_code for reply in replies] == [200] * 5
    assert replies[1].json()["result"] in sim.world.incidents
    assert sim.clock.now() == datetime(2026, 12, 31, 23, 1, 30, tzinfo=UTC)
    assert replies[4].json()["now"] == "2026-12-31T23:01:30Z"
    assert (sim.faults.body, sim.faults.only, sim.faults.times, sim.faults.rate_limit) == (Body.HTML, "/users", 3, 5)


@pytest.mark.parametrize(
    ("verb", "arguments", "words"),
    [
        ("trigger", {"service": "SVNONE"}, "SVNONE"),
        ("trigger", {}, "service"),
        ("trigger", {"service": 7}, "str"),
        ("trigger", {"service": "SVORDERS", "colour": "red"}, "colour"),
        ("set_clock", {"at": "yesterday"}, "datetime"),
        ("set_clock", {"at": "2026-07-01T12:00:00"}, "no time zone"),
        ("fault", {"body": "green"}, "green"),
    ],
)
def test_what_makes_no_sense_is_answered_with_400_and_changes_nothing(
    verb: str, arguments: dict[str, Any], words: str
) -> None:
    sim, [reply] = drive((verb, arguments))
    assert reply.status_code == 400
    assert words in reply.json()["error"]
    assert (sim.world.incidents, sim.clock.now()) == ({}, NOW)


def test_only_verbs_on_the_list_can_be_called() -> None:
    for verb in ("_put", "tell", "now", "__init__"):
        _, [reply] = drive((verb, {}))
        assert reply.status_code == 404
