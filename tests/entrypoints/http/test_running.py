"""What is said while the first reads are under way, and that signals end it in order."""

import asyncio
import dataclasses
import gc
import http.client
import os
import resource
import signal
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest

from tests.builders import SOURCE, index, shift
from tests.entrypoints.http.house import CALLERS, House
from tests.flows.test_publish_bundle import House as Publishing
from watchkey.entrypoints.http.fleets import Fleets
from watchkey.entrypoints.http.fleets import routes as fleet_routes
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.running import Beside, run, serve, tell_first_reads
from watchkey.entrypoints.http.server import Listener
from watchkey.flows.receive_opa_reports import ReceiveDecisions
from watchkey.model.errors import Refused


class Around:
    """Notes when it is entered and left."""

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    async def __aenter__(self) -> Self:
        self.steps.append("entered")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.steps.append("left")


@pytest.fixture(autouse=True)
def _collector() -> Iterator[None]:
    """Give the tests' process its garbage collector back as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_the_sources_stop_last(number: signal.Signals) -> None:
    steps: list[str] = []

    def say(line: str) -> None:
        steps.append(line.partition(" http")[0])
        if line == "ready":
            os.kill(os.getpid(), number)

    run(serve(House(), Around(steps), Listener(port=0), Limits(), say))
    assert steps == [
        "entered",
        "listening on",
        "source pager: reading",
        "source pager: complete, 3 people, 2 shifts, 0 incidents, revision 1, read 0 s ago",
        "ready",
        "stopping: the requests under way are answered",
        "left",
    ]
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}


def test_the_first_signal_drains_and_the_second_ends_it_in_order() -> None:
    steps: list[str] = []
    health: list[tuple[int, bytes]] = []
    where: list[str] = []

    def say(line: str) -> None:
        steps.append(line.partition(" http")[0])
        if line.startswith("listening"):
            where.append(line.removeprefix("listening on "))
        if line == "ready":
            os.kill(os.getpid(), signal.SIGTERM)

    async def drain() -> None:
        health.extend([await asyncio.to_thread(_get, f"{where[0]}/{path}") for path in ("health", "ready")])
        steps.append("draining")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()  # somebody stays for ever

    run(serve(House(), Around(steps), Listener(port=0), Limits(), say, Beside(drain=drain)))
    assert steps[-4:] == [
        "draining: no new sessions, the present ones may end; a second signal ends them now",
        "draining",
        "stopping: the requests under way are answered",
        "left",
    ]
    assert health == [(200, b'{"status":"draining"}'), (503, b'{"ready":false,"reasons":["going down"]}')]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("failure", [None, OSError("no")])
def test_the_end_of_draining_is_the_end_even_when_it_fails(failure: OSError | None) -> None:
    steps: list[str] = []

    def say(line: str) -> None:
        if line == "ready":
            os.kill(os.getpid(), signal.SIGTERM)

    async def drain() -> None:
        steps.append("drained")
        if failure is not None:
            raise failure

    run(serve(House(), Around(steps), Listener(port=0), Limits(), say, Beside(drain=drain)))
    assert steps == ["entered", "drained", "left"]


def _get(url: str) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("GET", parts.path)
    response = connection.getresponse()
    try:
        return response.status, response.read()
    finally:
        connection.close()


def test_an_unsafe_listener_is_refused_before_anything_starts() -> None:
    steps: list[str] = []
    with pytest.raises(Refused):
        run(serve(House(), Around(steps), Listener(host="10.0.0.1"), Limits(), steps.append))
    assert steps == []


def test_a_listener_that_cannot_be_had_leaves_in_order() -> None:
    steps: list[str] = []
    with pytest.raises(Refused, match="cannot listen"):
        run(serve(House(), Around(steps), Listener(unix_socket="/nonexistent/wk.sock"), Limits(), steps.append))
    assert steps == ["entered", "left"]


def test_a_source_that_fails_says_each_reason_once_and_then_that_it_is_there() -> None:
    async def scene() -> list[str]:
        house, said = House(has_roster=False), list[str]()
        telling = asyncio.create_task(tell_first_reads(house, said.append))
        await house.clock.run(timedelta(seconds=1))
        house.sync.errors[SOURCE] = "no route to the provider"
        await house.clock.run(timedelta(seconds=5))
        house.sync.errors[SOURCE] = "401 from the provider"
        await house.clock.run(timedelta(seconds=5))
        house.rosters.swap(index(shift()), read_at=house.clock.monotonic())
        await house.clock.run(timedelta(seconds=1))
        await telling
        return said

    assert asyncio.run(scene()) == [
        "source pager: reading",
        "source pager: not yet, no route to the provider",
        "source pager: not yet, 401 from the provider",
        "source pager: complete, 3 people, 1 shifts, 0 incidents, revision 1, read 0 s ago",
        "ready",
    ]


def test_without_sources_it_says_so() -> None:
    house, said = House(), list[str]()
    house.source_names = ()
    asyncio.run(tell_first_reads(house, said.append))
    assert said == ["no source is configured: only what needs no fact can be allowed", "ready"]


def test_there_may_be_as_many_connections_as_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if line == "ready":
                os.kill(os.getpid(), signal.SIGTERM)

        run(serve(House(), Around([]), Listener(port=0), Limits(connections_max=300), say))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 300 + 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_garbage_collector_leaves_the_first_rosters_alone() -> None:
    house = House()

    def say(line: str) -> None:
        if line == "ready":
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)

    assert any(each is house.rosters for each in gc.get_objects())
    run(serve(house, Around([]), Listener(port=0), Limits(), say))
    assert not any(each is house.rosters for each in gc.get_objects())
    assert gc.get_threshold()[0] > 700


def test_an_opa_that_waits_for_a_change_is_answered_when_the_service_stops() -> None:
    house, publishing = House(), Publishing(shift())
    answers: list[tuple[int, str | None]] = []
    where: list[str] = []

    def wait_for_a_change(etag: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", int(where[0].rpartition(":")[2]), timeout=30)
        headers = house.bearer("plain") | {"if-none-match": etag, "prefer": "modes=snapshot,delta;wait=20"}
        connection.request("GET", "/bundles/prod", headers=headers)
        response = connection.getresponse()
        response.read()
        answers.append((response.status, response.headers["etag"]))
        connection.close()

    async def scene() -> str:
        publishing.fleet = dataclasses.replace(publishing.fleet, callers=frozenset({CALLERS["plain"].id}))
        publisher = publishing.start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        decisions = ReceiveDecisions(clock=house.clock, audit=house.audit)
        fleets = Fleets(publishers={"prod": publisher}, statuses={}, decisions=decisions)

        def say(line: str) -> None:
            if line.startswith("listening"):
                where.append(line.removeprefix("listening on "))
            if line == "ready":
                waiting.append(asyncio.get_running_loop().create_task(stop_when_it_waits()))

        async def stop_when_it_waits() -> None:
            asking = asyncio.create_task(asyncio.to_thread(wait_for_a_change, etag))
            for _ in range(1000):
                await asyncio.sleep(0.01)
                if publisher.waiting:
                    break
            os.kill(os.getpid(), signal.SIGTERM)
            await asking

        waiting: list[asyncio.Task[None]] = []
        limits = Limits(drain_s=5)
        beside = Beside(routes=fleet_routes(fleets, limits), fleets=fleets)
        await serve(house, Around([]), Listener(port=0), limits, say, beside)
        await waiting[0]
        return etag

    etag = run(scene())
    assert answers == [(304, etag)]
