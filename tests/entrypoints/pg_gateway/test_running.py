"""The gateways of a process, put together on a service: what cannot be served, and the desk."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.builders import CALLER, SOURCE, index, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.engine import ScriptedEngine
from tests.fakes.target import MemoryTarget
from tests.live.conftest import server
from tests.live.house import ORDERS, RealClock, target_config
from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection
from watchkey.entrypoints.pg_gateway.running import Gateways
from watchkey.flows.login_tokens import LoginTokens
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import Subject
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId, SourceName, SubjectId
from watchkey.ports import HeldRoster, Target
from watchkey.rules.directory import Directory
from watchkey.rules.roster import RosterChange
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.stores.memory import MemoryRosters
from watchkey.targets.postgres import PostgresTarget

__all__ = ["server"]
CLOCK = RealClock()


class Sync:
    """Tells nobody by itself."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[SourceName, RosterChange], None]] = []


class Service:
    """What the gateways need, with a roster in which alice is on call for three seconds more."""

    def __init__(self) -> None:
        now = CLOCK.now()
        self.clock, self.audit, self.resources = CLOCK, MemoryAudit(), {ORDERS: resource()}
        self.tokens = LoginTokens(audit=self.audit, clock=CLOCK, new_secret=partial(secrets.token_urlsafe, 32))
        roster = index(shift(starts_at=now - timedelta(hours=1), ends_at=now + timedelta(seconds=3)), taken_at=now)
        self.rosters = MemoryRosters({SOURCE: HeldRoster(index=roster, revision=1, read_at=CLOCK.monotonic())})
        self.sync = Sync()
        self.request_access = RequestAccess(
            clock=CLOCK, rosters=self.rosters, engines={"default": ScriptedEngine()}, audit=self.audit,
            directory=Directory(resources=self.resources, links=links()), zone=now.tzinfo,  # type: ignore[arg-type]  aware
        )  # fmt: skip


def section(tmp_path: Path, **changes: Any) -> GatewaySection:
    fields: dict[str, Any] = {
        "databases": {"orders": DatabaseSection(resource=ORDERS)}, "port": 0,
        "statements": tmp_path / "statements.jsonl",
    }  # fmt: skip
    return GatewaySection(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"databases": {"x": DatabaseSection(resource="nowhere")}}, "'nowhere', which is not there"),
        ({"host": "0.0.0.0"}, "loopback"),  # noqa: S104  the point of the test
        ({"certificate": Path("/x")}, "a certificate and its key"),
        ({"hosts": {"orders.example": "orders"}}, "only with a certificate"),
        ({"hosts": {"orders.example": "x"}, "certificate": Path("/x"), "key": Path("/y")}, "not among its databases"),
        ({"proxy_protocol_from": ("10.0.0.1/8",)}, "proxy_protocol_from"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    targets: dict[ResourceId, Target] = {ORDERS: MemoryTarget(CLOCK)}
    with pytest.raises(Refused, match=words):
        Gateways(Service(), [section(tmp_path, **changes)], targets)


class Running:
    """Gateways in a thread of their own."""

    def __init__(self, server: PostgresServer, tmp_path: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.service = Service()
        self.target = PostgresTarget(target_config(server), resource=ORDERS, clock=CLOCK)
        self.gateways = Gateways(self.service, [section(tmp_path)], {ORDERS: self.target})
        self.call(self.gateways.__aenter__())

    def call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def dsn(self, subject: str) -> str:
        issued = self.call(self.service.tokens.issue(Subject(id=SubjectId(subject)), caller=CALLER))
        (address,) = self.gateways.addresses
        host, port = address.removeprefix("postgresql://").split(":")
        return f"host={host} port={port} dbname=orders user={subject} password={issued.token.reveal()}"

    def close(self) -> None:
        self.call(self.gateways.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


@pytest.fixture
def running(server: PostgresServer, tmp_path: Path) -> Iterator[Running]:
    made = Running(server, tmp_path)
    yield made
    made.close()


def test_the_rota_ends_the_session_at_its_instant_and_says_so(running: Running) -> None:
    with psycopg.connect(running.dsn("alice"), autocommit=True) as db:
        (one,) = running.gateways.sessions()
        assert (one["subject"], one["resource"]) == ("alice", "orders-db")
        with pytest.raises(psycopg.OperationalError, match="your access to orders-db ended at"):
            db.execute("SELECT pg_sleep(9)")
    with pytest.raises(psycopg.OperationalError) as denied:
        psycopg.connect(running.dsn("alice"))
    assert "on call" in str(denied.value)


def test_a_new_roster_ends_what_lost_its_ground_and_keeps_the_rest(running: Running) -> None:
    now = CLOCK.now()
    everybody = [
        shift(f"P{name}", starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1))
        for name in ("ALICE", "BOB")
    ]

    async def swap(*shifts: Any) -> None:
        running.service.rosters.swap(index(*shifts, taken_at=now), read_at=CLOCK.monotonic())

    running.call(swap(*everybody))
    with (
        psycopg.connect(running.dsn("alice"), autocommit=True) as alice,
        psycopg.connect(running.dsn("bob"), autocommit=True) as bob,
    ):
        running.call(swap(everybody[1]))
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT pg_sleep(9)")
        assert bob.execute("SELECT 1").fetchone() == (1,)
        assert [one["subject"] for one in running.gateways.sessions()] == ["bob"]

        async def end() -> bool:
            return running.gateways.end(running.gateways.sessions()[0]["id"], by="carol", why="done")

        assert running.call(end())
        with pytest.raises(psycopg.OperationalError, match="ended by carol"):
            bob.execute("SELECT 1")


def test_the_swap_itself_ends_what_it_took_and_not_the_next_look(running: Running) -> None:
    now = CLOCK.now()
    hour = timedelta(hours=1)

    async def hold(**times: Any) -> None:
        roster = index(shift("PALICE", starts_at=now - hour, **times), taken_at=now)
        running.service.rosters.swap(roster, read_at=CLOCK.monotonic())

    async def swap_and_tell() -> None:
        watching = running.gateways.gateways[0]._guarding
        assert watching is not None
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await hold(ends_at=now)
        for listener in running.service.sync.listeners:
            listener(SOURCE, RosterChange())

    running.call(hold(ends_at=now + hour))
    with psycopg.connect(running.dsn("alice"), autocommit=True) as alice:
        running.call(swap_and_tell())
        with pytest.raises(psycopg.OperationalError):
            alice.execute("SELECT pg_sleep(5)")


def test_all_gateways_drain_and_forget_the_roster_at_the_end(server: PostgresServer, tmp_path: Path) -> None:
    made = Running(server, tmp_path)
    try:
        with psycopg.connect(made.dsn("alice"), autocommit=True):
            draining = asyncio.run_coroutine_threadsafe(made.gateways.drain(), made.loop)
            with pytest.raises(psycopg.OperationalError, match="going down"):
                psycopg.connect(made.dsn("alice"))
            assert not draining.done()
        draining.result(10)
        assert len(made.service.sync.listeners) == 1
    finally:
        made.close()
    assert made.service.sync.listeners == []


def test_what_an_earlier_life_left_is_closed_at_the_start(server: PostgresServer, tmp_path: Path) -> None:
    server.sql(
        "CREATE ROLE wk_old_00000000000000ee LOGIN; COMMENT ON ROLE wk_old_00000000000000ee IS "
        """'{"watchkey": 1, "lease": "00000000000000ee", "until": "2020-01-01T00:00:00+00:00"}'"""
    )
    made = Running(server, tmp_path)
    try:
        for _ in range(100):
            if server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'wk_old_00000000000000ee'") == "0":
                break
            made.call(asyncio.sleep(0.05))
        assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname = 'wk_old_00000000000000ee'") == "0"
    finally:
        made.close()
