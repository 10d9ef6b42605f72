import asyncio
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.simulator.asking import ask
from watchkey.simulator import READ_TOKEN, Body, Simulator, in_thread
from watchkey.simulator.sample import fill

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def on_call_now(url: str) -> list[str]:
    headers = {"Accept": "application/vnd.pagerduty+json;version=2", "Authorization": f"Token token={READ_TOKEN}"}
    found = httpx.get(f"{url}/oncalls", headers=headers, trust_env=False).json()["oncalls"]
    return [row["user"]["id"] for row in found]


def test_it_runs_in_a_thread_and_is_changed_there() -> None:
    simulator = Simulator(start=NOW)
    with in_thread(simulator) as do:
        do(lambda: fill(simulator.world))
        assert "PALICE" in on_call_now(simulator.base_url)
        do(lambda: simulator.world.delete_user("PCAROL"))
        url = simulator.base_url
    with pytest.raises(httpx.ConnectError):
        on_call_now(url)


def test_a_port_in_use_is_an_error_and_not_a_hang() -> None:
    taken = Simulator(start=NOW)
    with in_thread(taken):
        second = in_thread(Simulator(start=NOW, port=taken._port))
        with pytest.raises(OSError, match="in use"):
            second.__enter__()


def test_hanging_requests_end_with_the_server() -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            sim.faults.hang = True
            hanging = asyncio.create_task(ask(sim, "/users"))
            await sim.faults.taken.wait()
        await asyncio.gather(hanging, return_exceptions=True)
        assert hanging.done()

    asyncio.run(go())


@pytest.mark.parametrize("body", [Body.TRUNCATED, Body.HTML, Body.EMPTY, Body.UNKNOWN])
def test_bad_bodies_come_with_status_200(body: Body) -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            sim.faults.body = body
            reply = await ask(sim, "/users")
            assert reply.status_code == 200
            try:
                assert "users" not in reply.json()
            except ValueError:
                assert body is not Body.UNKNOWN

    asyncio.run(go())


class Driver:
    """Drives a simulator over `/_control`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, verb: str, **arguments: Any) -> Any:
        reply = httpx.post(f"{self.url}/_control/{verb}", json=arguments, trust_env=False)
        assert reply.status_code == 200, reply.text
        return reply.json()["result"]


def test_the_program_serves_a_sample_account_and_is_driven_over_http() -> None:
    command = [
        sys.executable,
        "-m",
        "watchkey.simulator",
        "--port",
        "0",
        "--start",
        "2026-07-01T12:00:00Z",
        "--turn",
        "12",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        hello = json.loads(program.stdout.readline())
        url, do = hello["base_url"], Driver(hello["base_url"])
        assert on_call_now(url) == ["PBOB", "PALICE", "PMANAGER"]
        do("advance", seconds=12 * 3600)
        assert on_call_now(url) == ["PALICE", "PBOB", "PMANAGER"]
        override = do(
            "override",
            schedule="SPRIMARY",
            user="PCAROL",
            start="2026-07-02T00:00:00Z",
            end="2026-07-02T01:00:00Z",
            by="PCAROL",
        )
        assert on_call_now(url) == ["PCAROL", "PBOB", "PMANAGER"]
        do("remove_override", schedule="SPRIMARY", override=override)
        incident = do("trigger", service="SVORDERS")
        do("acknowledge", incident=incident, user="PALICE")
        do("request_responder", incident=incident, user="PCAROL", by="PALICE")
        do("answer_request", incident=incident, user="PCAROL", state="joined")
        do("resolve", incident=incident, by="PALICE")
        do("outage")
        assert httpx.get(f"{url}/users", headers={"Authorization": f"Token token={READ_TOKEN}"}).status_code == 503
        do("heal")
        do("set_clock", at="2026-07-03T00:00:00Z")
        state = httpx.get(f"{url}/_control", trust_env=False).json()
        assert (state["now"], state["incidents"]) == ("2026-07-03T00:00:00Z", [incident])
        for verb, arguments in (("trigger", {"service": "SVNONE"}), ("advance", {"seconds": "x"}), ("heal", {"x": 1})):
            assert httpx.post(f"{url}/_control/{verb}", json=arguments).status_code == 400
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0


def test_control_is_off_unless_it_is_asked_for() -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            assert (await ask(sim, "/_control")).status_code == 404

    asyncio.run(go())
