"""Sessions that switch off the settings which end what is left running: what still ends it, and where that ends."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from tests.live.gateway_process import GatewayProcess
from tests.live.house import ALICE, LiveHouse
from tests.live.test_sessions_end import accounts, rows, sessions_of_leases, until
from watchkey.simulator.postgres_server import PostgresServer

GUARDS = ("client_connection_check_interval", "statement_timeout", "idle_session_timeout", "tcp_user_timeout")


def switch_off(db: psycopg.Connection[object]) -> None:
    for guard in GUARDS:
        db.execute(f"SET {guard} = 0")  # type: ignore[arg-type]  names of ours
    db.execute("SELECT set_config('idle_in_transaction_session_timeout', '0', false)")


def test_the_end_of_the_lease_ends_it_whatever_the_session_has_set(house: LiveHouse, server: PostgresServer) -> None:
    house.watch.allow(ALICE, "read", "write")
    before = rows(server)
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        switch_off(db)
        house.watch.take(ALICE)
        threading.Timer(0.3, house.sync_guard).start()
        with pytest.raises(psycopg.OperationalError):
            db.execute("INSERT INTO orders (what) SELECT 'late' FROM pg_sleep(4)")
    assert until(lambda: sessions_of_leases(server) == 0)
    assert until(lambda: accounts(server) == "")
    assert rows(server) == before


def left_running(server: PostgresServer, ttl: float, seconds: float) -> None:
    """A statement of so many seconds whose gateway was killed, in a session that has switched everything off."""
    gateway = GatewayProcess(server, ttl=ttl)
    dsn = f"host=127.0.0.1 port={gateway.port} dbname=orders user=alice password={gateway.token} sslmode=disable"
    begun = threading.Event()

    def work() -> None:
        try:
            with psycopg.connect(dsn, autocommit=True) as db:
                switch_off(db)
                begun.set()
                db.execute("INSERT INTO orders (what) SELECT 'outlives' FROM pg_sleep(%s)", [seconds])
        except psycopg.OperationalError:
            pass

    worker = threading.Thread(target=work)
    worker.start()
    assert begun.wait(20)
    running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT%outlives%'"
    assert until(lambda: server.sql(running) == "1")
    gateway.kill()
    worker.join(20)
    assert server.sql(running) == "1"  # nothing has told the server that nobody is there


def test_with_its_gateway_dead_too_reaping_ends_it_after_the_leases_end(
    house: LiveHouse, server: PostgresServer
) -> None:
    before = rows(server)
    left_running(server, ttl=4, seconds=60)
    assert until(lambda: bool(house.call(house.target.reap())))
    assert until(lambda: sessions_of_leases(server) == 0)
    assert (rows(server), accounts(server)) == (before, "")


def test_the_limit_is_that_a_statement_may_commit_before_the_leases_end(
    house: LiveHouse, server: PostgresServer
) -> None:
    """Not a promise but its edge, as the how-to says: gateway killed, guards off, and the lease has not ended."""
    before = rows(server)
    left_running(server, ttl=9, seconds=2.5)
    assert until(lambda: rows(server) != before)
    assert until(lambda: bool(house.call(house.target.reap())), seconds=20)
    assert until(lambda: accounts(server) == "")


def test_the_log_says_who_touched_the_guards(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house()
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        switch_off(db)
    assert until(lambda: bool(house.noted("session.ended")))
    text = house.statements()
    for guard in (*GUARDS, "idle_in_transaction_session_timeout"):
        assert f'"guards":["{guard}"]' in text
