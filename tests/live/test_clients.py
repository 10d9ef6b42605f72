"""Clients of all kinds work through the gateway as they do without it."""

import asyncio
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from struct import pack

import asyncpg
import psycopg
import pytest

from tests.live.house import ALICE, BOB, LiveHouse
from watchkey.entrypoints.pg_gateway.gateway import Trace
from watchkey.rules.bound_values import Parameters
from watchkey.simulator.postgres_server import PostgresServer, find_binaries
from watchkey.wire import pg_messages as pg

Certificate = tuple[Path, Path]


@pytest.fixture
def open_to_alice(house: LiveHouse) -> LiveHouse:
    house.watch.allow(ALICE, "read", "write")
    return house


@pytest.fixture
def tls_house(open_house: Callable[..., LiveHouse], tls_server: PostgresServer, certificate: Certificate) -> LiveHouse:
    """TLS on both sides: the server's certificate is verified, and bound into the login."""
    house = open_house(
        server=tls_server, tls=certificate, host="localhost", tls_to_server=True, ca_file=str(certificate[0])
    )
    house.watch.allow(ALICE, "read", "write")
    return house


def psql(dsn: str, sql: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["psql", "-XqAt", dsn, "-c", sql],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_psql_and_the_person_is_known(open_to_alice: LiveHouse) -> None:
    done = psql(open_to_alice.dsn(ALICE), "SELECT session_user, current_user")
    assert done.returncode == 0
    assert [name.startswith("wk_alice_") for name in done.stdout.strip().split("|")] == [True, True]


def test_psql_narrows_its_privileges(open_to_alice: LiveHouse) -> None:
    dsn = open_to_alice.dsn(ALICE)
    insert = "INSERT INTO orders (what) VALUES ('narrowed') RETURNING what"
    assert "permission denied" in psql(dsn, insert, PGOPTIONS="-c watchkey.privileges=read").stderr
    assert psql(dsn, insert, PGOPTIONS="-c watchkey.privileges=write").stdout.strip() == "narrowed"


def test_only_what_is_allowed_is_granted(house: LiveHouse) -> None:
    house.watch.allow(ALICE, "read")
    assert "permission denied" in psql(house.dsn(ALICE), "INSERT INTO orders (what) VALUES ('x')").stderr
    refused = psql(house.dsn(ALICE), "SELECT 1", PGOPTIONS="-c watchkey.privileges=read,write").stderr
    assert "bob is primary now" in refused


def test_pgbench(open_to_alice: LiveHouse, server: PostgresServer) -> None:
    for mode in ("simple", "extended", "prepared"):
        done = subprocess.run(
            [find_binaries() / "pgbench", "-n", "-M", mode, "-c", "2", "-t", "20", "-f", "-", open_to_alice.dsn(ALICE)],
            input="SELECT count(*) FROM orders;", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "number of transactions actually processed: 40/40" in done.stdout, done.stderr


def test_psycopg_sync_with_pipeline_and_copy_both_ways(open_to_alice: LiveHouse) -> None:
    with psycopg.connect(open_to_alice.dsn(ALICE)) as db:
        with db.pipeline():
            cursors = [db.execute("SELECT %s::int", [number]) for number in range(50)]
        assert [cursor.fetchone() for cursor in cursors] == [(number,) for number in range(50)]
        with db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
            for number in range(1000):
                copy.write_row([f"row {number}" + "x" * 500])
        assert db.execute("SELECT count(*) FROM orders WHERE what LIKE 'row %'").fetchone() == (1000,)
        with db.cursor().copy("COPY (SELECT repeat('y', 1000) FROM generate_series(1, 20000)) TO STDOUT") as copy:
            assert sum(len(data) for data in copy) == 20000 * 1001
        db.rollback()
        with pytest.raises(psycopg.errors.UniqueViolation) as caught:
            db.execute("INSERT INTO orders (id, what) OVERRIDING SYSTEM VALUE VALUES (-1, 'a'), (-1, 'b')")
        assert caught.value.diag.constraint_name == "orders_pkey"
        db.rollback()


def test_psycopg_async_and_notices(open_to_alice: LiveHouse) -> None:
    async def work() -> list[str | None]:
        notices: list[str | None] = []
        async with await psycopg.AsyncConnection.connect(open_to_alice.dsn(ALICE)) as db:
            db.add_notice_handler(lambda notice: notices.append(notice.message_primary))
            await db.execute("DO $$ BEGIN RAISE NOTICE 'as it was'; END $$")
        return notices

    assert asyncio.run(work()) == ["as it was"]


def test_asyncpg_with_prepared_statements_and_cursors(open_to_alice: LiveHouse) -> None:
    async def work() -> list[int]:
        db = await asyncpg.connect(
            host=open_to_alice.host, port=open_to_alice.port, user="alice", database="orders", ssl=False,
            password=open_to_alice.token(ALICE), server_settings={"application_name": "mine"},
        )  # fmt: skip
        try:
            statement = await db.prepare("SELECT generate_series(1, $1::int)")
            assert len(await statement.fetch(5)) == 5
            async with db.transaction():
                return [row[0] async for row in db.cursor("SELECT generate_series(1, 100)", prefetch=10)]
        finally:
            await db.close()

    assert asyncio.run(work()) == list(range(1, 101))


def test_listen_and_notify(open_to_alice: LiveHouse) -> None:
    with (
        psycopg.connect(open_to_alice.dsn(ALICE), autocommit=True) as one,
        psycopg.connect(open_to_alice.dsn(ALICE), autocommit=True) as two,
    ):
        one.execute("LISTEN news")
        two.execute("NOTIFY news, 'hello'")
        assert next(one.notifies(timeout=5)).payload == "hello"


def test_a_large_result_comes_whole_to_a_slow_reader(open_to_alice: LiveHouse) -> None:
    with psycopg.connect(open_to_alice.dsn(ALICE)) as db:
        size = 0
        for number, (text,) in enumerate(db.cursor().stream("SELECT repeat('z', 10000) FROM generate_series(1, 3000)")):
            size += len(text)
            if number % 500 == 0:
                time.sleep(0.05)
        assert size == 30_000_000


def test_a_cancel_request_reaches_the_right_backend(open_to_alice: LiveHouse) -> None:
    with (
        psycopg.connect(open_to_alice.dsn(ALICE), autocommit=True) as db,
        psycopg.connect(open_to_alice.dsn(ALICE)) as other,
    ):
        timer = threading.Timer(0.4, db.cancel_safe)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            db.execute("SELECT pg_sleep(9)")
        timer.join()
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_guessing_cancel_keys_tells_and_does_nothing(open_to_alice: LiveHouse) -> None:
    with psycopg.connect(open_to_alice.dsn(ALICE), autocommit=True) as db:
        key = db.pgconn.backend_pid
        server_pid = db.execute("SELECT pg_backend_pid()").fetchone()
        assert server_pid is not None
        assert server_pid[0] != key
        worker = threading.Thread(target=lambda: db.execute("SELECT pg_sleep(1)"))
        worker.start()
        time.sleep(0.2)
        answers = set()
        for pid, guess in [(key, b"\0\0\0\0"), (key, b"\xff" * 4), (server_pid[0], b"\0\0\0\0"), (0, b"\0\0\0\0")]:
            with socket.create_connection((open_to_alice.host, open_to_alice.port), timeout=5) as sock:
                sock.sendall(pg.cancel_request(pid, guess))
                answers.add(sock.recv(100))
        worker.join(10)
        assert answers == {b""}
        assert db.execute("SELECT 1").fetchone() == (1,)


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_tls_on_both_sides(tls_house: LiveHouse, certificate: Certificate, mode: str) -> None:
    dsn = tls_house.dsn(ALICE).replace("sslmode=require", f"sslmode={mode} sslrootcert={certificate[0]}")
    with psycopg.connect(dsn) as db:
        assert db.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == (True,)
        assert db.pgconn.ssl_in_use
        assert sum(len(t) for (t,) in db.execute("SELECT repeat('x', 1000) FROM generate_series(1, 5000)")) == 5_000_000


def test_in_clear_nobody_is_asked_for_a_password(tls_house: LiveHouse) -> None:
    with pytest.raises(psycopg.OperationalError, match="this gateway talks TLS only"):
        psycopg.connect(tls_house.dsn(ALICE).replace("sslmode=require", "sslmode=disable"))


def test_tls_without_asking_first(tls_house: LiveHouse, certificate: Certificate) -> None:
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.set_alpn_protocols(["postgresql"])
    with (
        socket.create_connection((tls_house.host, tls_house.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        assert sock.selected_alpn_protocol() == "postgresql"
        sock.sendall(pg.startup_message({"user": "alice", "database": "orders"}))
        assert sock.recv(100) == pg.authentication_cleartext_password()
    nameless = ssl.create_default_context(cafile=str(certificate[0]))
    with (
        socket.create_connection((tls_house.host, tls_house.port), timeout=5) as raw,
        nameless.wrap_socket(raw, server_hostname="localhost") as sock,
    ):
        assert sock.recv(100) == b""


def test_what_stands_behind_the_tls_request_in_clear_is_not_taken_for_something_said_inside(
    tls_house: LiveHouse,
) -> None:
    with socket.create_connection((tls_house.host, tls_house.port), timeout=5) as sock:
        sock.sendall(pg.ssl_request() + pg.startup_message({"user": "alice", "database": "orders"}))
        assert sock.recv(1) == b"S"
        rest = b""
        while data := sock.recv(1000):
            rest += data
        assert b"R\0\0\0\x08" not in rest  # no password prompt


def test_the_servers_certificate_must_hold(
    open_house: Callable[..., LiveHouse], tls_server: PostgresServer, certificate: Certificate
) -> None:
    house = open_house(server=tls_server)
    house.watch.allow(ALICE, "read")
    object.__setattr__(house.target.endpoint, "is_tls", True)
    with pytest.raises(psycopg.OperationalError, match=r"certificate of 127\.0\.0\.1 does not hold"):
        psycopg.connect(house.dsn(ALICE))


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn_change", "words"),
    [
        (("user=alice", "user=bob"), "password authentication failed"),
        (("user=alice", "user=postgres"), "password authentication failed"),
        (("password=wkt_", "password=wkx_"), "password authentication failed"),
        (("dbname=orders", "dbname=postgres"), 'there is no database "postgres" behind this gateway'),
        (("dbname=orders", "dbname=orders replication=database"), "is not let through"),
        (("dbname=orders", "dbname=orders options='-c role=postgres'"), "is not let through"),
        (("dbname=orders", "dbname=orders options='-c session_authorization=postgres'"), "is not let through"),
    ],
)
def test_who_or_what_is_refused_is_told_so_and_the_server_never_hears_of_it(
    open_to_alice: LiveHouse, dsn_change: tuple[str, str], words: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match=words):
        psycopg.connect(open_to_alice.dsn(ALICE).replace(*dsn_change))
    assert not open_to_alice.noted("lease.granting")


def test_an_outsider_cannot_tell_a_wrong_token_from_an_unknown_person(open_to_alice: LiveHouse) -> None:
    """Nor whether the database exists: the words are the same, but for the name that was asked for."""
    way, token = f"host={open_to_alice.host} port={open_to_alice.port}", open_to_alice.token(ALICE)
    said = {
        psql(f"{way} user={user} dbname={database} password={password}", "SELECT 1").stderr.replace(user, "NAME")
        for user, password in [("alice", "wrong"), ("zoe", "wrong"), ("zoe", token), ("bob", token), ("alice", "wkt_x")]
        for database in ("orders", "nosuch")
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x08\0\0\0\0",
        pack(">ii", 8, 2 << 16),
        pg.startup_message({"user": "alice", "database": "orders"}) + pg.message(b"Q", b"DROP TABLE orders\0"),
        b"\xff" * 100,
        b"\0\0",
    ],
)
def test_whatever_else_is_sent_the_connection_is_closed(open_to_alice: LiveHouse, data: bytes) -> None:
    with socket.create_connection((open_to_alice.host, open_to_alice.port), timeout=5) as sock:
        sock.sendall(data)
        said = b""
        try:
            sock.shutdown(socket.SHUT_WR)
            while more := sock.recv(1000):
                said += more
        except OSError:
            pass
        assert b"Traceback" not in said
    assert psql(open_to_alice.dsn(ALICE), "SELECT 1").stdout.strip() == "1"


def test_the_password_prompt_takes_nothing_else_with_it(open_to_alice: LiveHouse) -> None:
    token = open_to_alice.token(ALICE).encode()
    with socket.create_connection((open_to_alice.host, open_to_alice.port), timeout=5) as sock:
        sock.sendall(pg.startup_message({"user": "alice", "database": "orders"}))
        sock.recv(100)
        sock.sendall(pg.message(b"p", token + b"\0") + pg.message(b"Q", b"DROP TABLE orders\0"))
        assert b"08P01" in sock.recv(1000)


def test_a_person_may_not_take_all_places(open_house: Callable[..., LiveHouse]) -> None:
    from watchkey.flows.guard_session import GuardRules

    house = open_house(rules=GuardRules(sessions_per_person_max=2, sessions_max=4, reserve=2))
    house.watch.allow(ALICE, "read")
    house.watch.allow(BOB, "read")
    with psycopg.connect(house.dsn(ALICE)), psycopg.connect(house.dsn(ALICE)):
        with pytest.raises(psycopg.OperationalError, match="you have 2 sessions open, which is the limit"):
            psycopg.connect(house.dsn(ALICE))
        with pytest.raises(psycopg.OperationalError, match="this gateway is full"):
            psycopg.connect(house.dsn(BOB))


def test_when_nothing_can_be_recorded_nobody_gets_in(house: LiveHouse, server: PostgresServer) -> None:
    house.watch.allow(ALICE, "read")
    dsn = house.dsn(ALICE)
    house.audit.fails = True
    with pytest.raises(psycopg.OperationalError, match="cannot be prepared"):
        psycopg.connect(dsn)
    house.audit.fails = False


def test_a_decision_that_raises_lets_nobody_in(house: LiveHouse) -> None:
    house.watch.allow(ALICE, "read")
    house.watch.fails = True
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(house.dsn(ALICE))


@pytest.mark.parametrize("trace", [Trace.OFF, Trace.CONNECTIONS, Trace.FULL])
def test_how_much_is_recorded_is_configured(open_house: Callable[..., LiveHouse], trace: Trace) -> None:
    house = open_house(trace=trace, parameters=Parameters.FULL)
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        db.execute("SELECT %s::int", [42])
    deadline = time.monotonic() + 5
    while trace is not Trace.OFF and not house.noted("session.ended") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert bool(house.noted("session.opened")) == (trace is not Trace.OFF)
    log = house.folder / "statements.jsonl"
    assert log.exists() == (trace is Trace.FULL)
    if trace is Trace.FULL:
        assert '"values":["\\u0000*"]' in log.read_text() or '"values":["42"]' in log.read_text()
