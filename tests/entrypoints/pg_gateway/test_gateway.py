"""The gateway as a whole: where it may listen, who is in, draining, pressure. What clients see is in tests/live."""

import asyncio
import select
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.live.conftest import open_house, server
from tests.live.house import ALICE, BOB, LiveHouse
from watchkey.entrypoints.pg_gateway.gateway import Gateway, GatewayRules
from watchkey.model.errors import Refused
from watchkey.model.ids import CallerId

__all__ = ["open_house", "server"]


def test_without_tls_it_listens_on_loopback_only() -> None:
    nothing: Any = None
    with pytest.raises(Refused, match="loopback"):
        Gateway(
            GatewayRules(host="0.0.0.0", databases={}, tls=None),  # noqa: S104  the point of the test
            guard=nothing, tokens=nothing, audit=nothing, clock=nothing, caller=CallerId("gateway"),
        )  # fmt: skip


def test_who_is_in_is_listed_with_fact_and_end(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    house.watch.allow(BOB, "read")
    with psycopg.connect(house.dsn(ALICE, "application_name=mine")) as one, psycopg.connect(house.dsn(BOB)):
        one.execute("SELECT 1")
        views = {view.subject: view for view in house.gateway.sessions()}
        assert set(views) == {ALICE, BOB}
        mine = views[ALICE]
        assert (mine.application, mine.transaction, mine.running) == ("mine", "T", "")
        assert mine.fact == f"{ALICE} is primary on call for orders"
        assert mine.started_at < mine.ends_at


def test_draining_refuses_new_ones_and_waits_for_the_old(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    dsn = house.dsn(ALICE)
    with psycopg.connect(dsn, autocommit=True) as db:
        draining = asyncio.run_coroutine_threadsafe(house.gateway.drain(), house._loop)
        house.call(asyncio.sleep(0.3))
        with pytest.raises(asyncpg.CannotConnectNowError, match="this gateway is going down"):
            asyncio.run(
                asyncpg.connect(
                    user="alice",
                    database="orders",
                    password=house.token(ALICE),
                    host=house.host,
                    port=house.port,
                    ssl=False,
                )
            )
        with pytest.raises(psycopg.OperationalError, match="this gateway is going down and takes no new sessions"):
            psycopg.connect(dsn)
        assert [view.subject for view in house.gateway.sessions()] == [ALICE]
        timer = threading.Timer(0.4, db.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT pg_sleep(9)")
        timer.join()
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert not draining.done()
    draining.result(10)


def test_draining_has_an_end_and_says_when(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house(gateway={"drain_max": timedelta(seconds=0.5)})
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        told: list[str] = []
        db.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        house.call(house.gateway.drain())
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert "this gateway is going down; your session ends at" in told[0]


def test_under_pressure_clients_are_held_and_let_go(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:

        async def hold(is_held: bool) -> None:  # noqa: FBT001  the switch under test
            house.gateway._hold_all(is_held)

        house.call(hold(True))
        db.pgconn.send_query(b"SELECT 7")
        db.pgconn.flush()
        house.call(asyncio.sleep(0.3))
        db.pgconn.consume_input()
        assert db.pgconn.is_busy()
        house.call(hold(False))
        assert select.select([db.pgconn.socket], [], [], 10)[0]
        db.pgconn.consume_input()
        result = db.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == b"7"
        while db.pgconn.get_result() is not None:
            pass


def test_the_orderly_end_tells_everybody_and_leaves_no_account(
    open_house: Callable[..., LiveHouse], server: Any
) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        house.call(house.gateway.close())
        with pytest.raises(psycopg.OperationalError, match="the gateway is going down"):
            db.execute("SELECT 1")
    assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'wk\\_%'") == "0"
    assert [event.what for event in house.audit.events][-1] in {"lease.ended", "session.ended"}  # type: ignore[union-attr]  all are Noted
