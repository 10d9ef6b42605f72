"""One connection: failures inside close both sides, and a client that leaves early gives its place back."""

import socket
import time
from collections.abc import Callable

import psycopg
import pytest

from tests.live.conftest import open_house, server
from tests.live.house import ALICE, LiveHouse
from watchkey.entrypoints.pg_gateway.connection import _Pipes
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_events import IdentityRefused
from watchkey.wire.pg_session import State

__all__ = ["open_house", "server"]


def test_an_exception_inside_closes_both_sides(open_house: Callable[..., LiveHouse], server: PostgresServer) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        (connection,) = next(iter(house.gateway._by_lease.values()))

        async def impossible() -> None:
            connection.feed(IdentityRefused())  # an event that this state does not list

        house.call(impossible())
        with pytest.raises(psycopg.OperationalError):
            db.execute("SELECT 1")
    for _ in range(100):
        if server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'wk\\_%'") == "0":
            break
        time.sleep(0.05)
    assert server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'wk\\_%'") == "0"
    assert house.noted("session.ended")[-1].fields["why"] == "failed"


def test_a_client_that_leaves_during_the_decision_gives_its_place_back(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    token = house.token(ALICE).encode()
    for _ in range(5):
        with socket.create_connection((house.host, house.port), timeout=5) as sock:
            sock.sendall(pg.startup_message({"user": "alice", "database": "orders"}))
            sock.recv(100)
            sock.sendall(pg.message(b"p", token + b"\0"))
    for _ in range(100):
        if sum(held.sessions for held in house.guard.held) == 0 and not house.gateway._by_lease:
            break
        time.sleep(0.05)
    assert sum(held.sessions for held in house.guard.held) == 0
    assert house.gateway.sessions() == []


def test_nothing_reaches_the_server_once_the_session_does_not_run(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        (connection,) = next(iter(house.gateway._by_lease.values()))
        written: list[bytes] = []

        async def work() -> None:
            side = connection._server
            assert side is not None
            transport, pipes = side.transport, _Pipes(connection)
            side.transport = Wire(written)  # type: ignore[assignment]  only what is used
            pipes.to_server(b"runs")
            connection.session.state = State.DRAINING
            pipes.to_server(b"late")
            connection.session.state, side.transport = State.RELAYING, transport

        house.call(work())
        assert written == [b"runs"]
        assert db.execute("SELECT 1").fetchone() == (1,)


class Wire:
    """Keeps what is written."""

    def __init__(self, written: list[bytes]) -> None:
        self.write = written.append
