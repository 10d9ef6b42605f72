"""Statements that the policy refuses, on a real PostgreSQL: they fail as PostgreSQL fails, and the session goes on."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.live.house import ALICE, ORDERS, LiveHouse
from tests.live.test_sessions_end import rows, until
from watchkey.entrypoints.pg_gateway.gateway import Database, StatementPolicy
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.wire import pg_messages as pg

REFUSED = "is refused: the policy says no"


@pytest.fixture
def judged(open_house: Callable[..., LiveHouse]) -> LiveHouse:
    return make(open_house)


def make(open_house: Callable[..., LiveHouse], policy: StatementPolicy = StatementPolicy.DENY_UNREAD) -> LiveHouse:
    house = open_house(gateway={"databases": {"orders": Database(resource=ORDERS, judging=policy)}})
    house.watch.allow(ALICE, "read", "write")
    house.watch.refused = {"delete", "copy_from", "secrets", "lo_creat", "oid 957"}
    return house


@pytest.fixture
def db(judged: LiveHouse) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(judged.dsn(ALICE), autocommit=True) as connection:
        yield connection


def status(db: psycopg.Connection[Any]) -> str:
    return db.info.transaction_status.name


@pytest.mark.in_workers
def test_outside_of_a_transaction_it_fails_and_the_session_goes_on(
    db: psycopg.Connection[Any], judged: LiveHouse, server: PostgresServer
) -> None:
    before = rows(server)
    for attempt in (
        lambda: db.execute("DELETE FROM orders"),
        lambda: db.pgconn and db.execute("DELETE FROM orders WHERE id = %s", [1]),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"delete on orders {REFUSED}"):
            attempt()
        assert status(db) == "IDLE"
        assert db.execute("SELECT 1").fetchone() == (1,)
    assert rows(server) == before
    note = judged.noted("statement.denied")[0]
    assert (note.fields["verbs"], note.fields["tables"]) == (["delete"], ["orders"])


@pytest.mark.in_workers
def test_in_a_transaction_the_server_itself_is_in_the_failed_state(
    db: psycopg.Connection[Any], server: PostgresServer
) -> None:
    before = rows(server)
    db.autocommit = False
    db.execute("INSERT INTO orders (what) VALUES ('rolled back')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("DELETE FROM orders")
    assert status(db) == "INERROR"
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        db.execute("SELECT 1")
    assert (
        server.sql("SELECT state FROM pg_stat_activity WHERE usename LIKE 'wk\\_%'") == "idle in transaction (aborted)"
    )
    db.commit()  # PostgreSQL makes a rollback of it
    assert rows(server) == before


def test_a_savepoint_brings_it_back(db: psycopg.Connection[Any]) -> None:
    with db.transaction():
        db.execute("CREATE TEMP TABLE kept AS SELECT 1 AS x")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
            db.execute("DELETE FROM orders")
        assert db.execute("SELECT x FROM kept").fetchone() == (1,)


def test_one_text_with_several_statements_fails_as_a_whole(db: psycopg.Connection[Any], server: PostgresServer) -> None:
    before = rows(server)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("INSERT INTO orders (what) VALUES ('x'); DELETE FROM orders; SELECT 1")
    assert rows(server) == before
    assert status(db) == "IDLE"


@pytest.mark.in_workers
def test_a_pipeline_skips_to_its_sync_and_goes_on(db: psycopg.Connection[Any]) -> None:
    with db.pipeline() as pipeline:
        first = db.execute("SELECT 1")
        db.execute("DELETE FROM orders")
        skipped = db.execute("SELECT 2")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            pipeline.sync()
        later = db.execute("SELECT 3")
    assert first.fetchone() == (1,)
    assert later.fetchone() == (3,)
    with pytest.raises(psycopg.Error):
        skipped.fetchone()
    assert db.execute("SELECT 4").fetchone() == (4,)


@pytest.mark.in_workers
def test_a_prepared_statement_is_asked_about_again_when_it_is_bound(
    db: psycopg.Connection[Any], judged: LiveHouse
) -> None:
    assert db.execute("SELECT count(*) >= 0 FROM orders WHERE id > %s", [0], prepare=True).fetchone() == (True,)
    judged.watch.refused.add("orders")
    judged.sync_guard()  # a roster came: what was answered counts no more
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="select on orders"):
        db.execute("SELECT count(*) >= 0 FROM orders WHERE id > %s", [0], prepare=True)
    judged.watch.refused.discard("orders")
    judged.sync_guard()
    assert db.execute("SELECT count(*) >= 0 FROM orders WHERE id > %s", [0], prepare=True).fetchone() == (True,)


def test_copy_in_is_refused_and_copy_out_is_not(db: psycopg.Connection[Any], server: PostgresServer) -> None:
    before = rows(server)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
        copy.write_row(["x"])
    assert rows(server) == before
    with db.cursor().copy("COPY (SELECT 7) TO STDOUT") as copy:
        assert b"".join(map(bytes, copy)) == b"7\n"


def test_asyncpg_cursors_and_prepared_statements(judged: LiveHouse) -> None:
    async def work() -> None:
        db = await asyncpg.connect(
            host=judged.host, port=judged.port, user="alice", password=judged.token(ALICE), database="orders", ssl=False
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=REFUSED):
            await db.fetch("DELETE FROM orders WHERE id = $1", 1)
        async with db.transaction():
            assert [r[0] async for r in db.cursor("SELECT * FROM generate_series(1, 100)", prefetch=9)] == [
                *range(1, 101)
            ]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.copy_to_table("orders", source=b"x", columns=["what"]) if False else await db.execute(
                "DELETE FROM orders"
            )
        assert await db.fetchval("SELECT $1::text || 'ä\\'", "ö") == "öä\\"
        await db.close()

    asyncio.run(work())


def test_a_function_call_by_number_is_refused_too(judged: LiveHouse) -> None:
    """The fast path, over which no text is sent (957: lo_creat)."""
    with socket.create_connection((judged.host, judged.port), timeout=10) as sock:
        stream = sock.makefile("rb")

        def ready() -> tuple[bytes, bytes]:
            error = b""
            while True:
                kind, length = stream.read(1), int.from_bytes(stream.read(4))
                body = stream.read(length - 4)
                error = body if kind == b"E" else error
                if kind == b"Z":
                    return error, body

        sock.sendall(pg.startup_message({"user": "alice", "database": "orders"}))
        stream.read(9)
        sock.sendall(pg.message(b"p", judged.token(ALICE).encode() + b"\0"))
        ready()
        sock.sendall(
            pg.message(b"F", (957).to_bytes(4) + bytes(2) + (1).to_bytes(2) + (4).to_bytes(4) + bytes(4) + bytes(2))
        )
        error, state = ready()
        assert b"42501" in error
        assert state == b"I"
        sock.sendall(pg.message(b"Q", b"SELECT 1\0"))
        assert ready() == (b"", b"I")


@pytest.mark.in_workers
@pytest.mark.parametrize("policy", [StatementPolicy.DENY_UNREAD, StatementPolicy.ALLOW_UNREAD])
def test_what_cannot_be_read_is_as_configured(open_house: Callable[..., LiveHouse], policy: StatementPolicy) -> None:
    house = make(open_house, policy)
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        long = "SELECT '" + "x" * 80_000 + "'"
        if policy is StatementPolicy.DENY_UNREAD:
            for text in (long, "SELEC 1"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot be read"):
                    db.execute(text)  # type: ignore[arg-type]  texts of ours
        else:
            assert db.execute(long).fetchone() == ("x" * 80_000,)  # type: ignore[arg-type]  same
            with pytest.raises(psycopg.errors.SyntaxError):
                db.execute("SELEC 1")
        assert db.execute("SELECT 1").fetchone() == (1,)


SMUGGLED = "SELECT '\\', '; DELETE FROM orders; --'"
"""One SELECT where backslashes are characters like others; a DELETE where they are not."""


def test_a_session_cannot_have_its_text_read_otherwise_than_it_was_judged(
    db: psycopg.Connection[Any], server: PostgresServer
) -> None:
    server.sql("INSERT INTO orders (what) VALUES ('stays')", "orders")
    before = rows(server)
    db.execute("SELECT set_config('standard_conforming_strings', 'off', false)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="cannot be read"):
        db.execute(SMUGGLED)
    db.execute("SELECT set_config('standard_conforming_strings', 'on', false)")
    assert db.execute(SMUGGLED).fetchone() == ("\\", "; DELETE FROM orders; --")
    # in one pipeline, where the change is not answered yet
    with pytest.raises(psycopg.errors.InsufficientPrivilege), db.pipeline():  # noqa: PT012  it comes at the end
        db.execute("SELECT set_config('standard_conforming_strings', 'off', false)")
        db.execute(SMUGGLED)
    assert rows(server) == before


@pytest.mark.in_workers
def test_a_policy_that_fails_refuses(db: psycopg.Connection[Any], judged: LiveHouse) -> None:
    async def judge(lease: object, statement: object) -> str | None:
        raise RuntimeError(f"{lease} {statement}")

    judged.guard.judge = judge  # type: ignore[method-assign,assignment]  the failure under test
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=r"could not be (asked|judged)"):
        db.execute("SELECT 1")


@pytest.mark.in_workers
def test_when_the_lease_ends_while_the_policy_is_asked_nothing_reaches_the_server(
    db: psycopg.Connection[Any], judged: LiveHouse, server: PostgresServer
) -> None:
    before = rows(server)

    async def judge(lease: object, statement: object) -> str | None:
        del lease, statement
        judged.watch.take(ALICE)
        judged.guard.roster_changed()
        await asyncio.sleep(0.5)
        return None

    judged.guard.judge = judge  # type: ignore[method-assign,assignment]  slow on purpose
    with pytest.raises(psycopg.OperationalError):
        db.execute("INSERT INTO orders (what) VALUES ('late')")
    assert until(lambda: bool(judged.noted("session.ended")))
    assert rows(server) == before


@pytest.mark.in_workers
def test_the_log_has_what_was_refused(db: psycopg.Connection[Any], judged: LiveHouse) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        db.execute("DELETE FROM orders")
    db.close()
    assert until(lambda: bool(judged.noted("session.ended")))
    text = judged.statements()
    assert '"text":"DELETE FROM orders","outcome":"failed"' in text
    assert '"sqlstate":"42501"' in text
    assert "wk_denied" not in text
