"""At the end of a lease every session of it is gone, whatever it was doing, and nothing of it commits afterwards."""

import asyncio
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.live.gateway_process import GatewayProcess
from tests.live.house import ALICE, BOB, LiveHouse
from tests.live.raw_session import RawSession
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.wire import pg_messages as pg

Situation = Callable[[psycopg.Connection[Any]], object]


def rows(server: PostgresServer) -> list[str]:
    return server.sql("SELECT what FROM orders ORDER BY id", "orders").splitlines()


def sessions_of_leases(server: PostgresServer) -> int:
    return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'wk\\_%'"))


def accounts(server: PostgresServer) -> str:
    return server.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'wk\\_%'")


def may_set_role(server: PostgresServer) -> bool:
    """Whether a lease may act as its group roles; from PostgreSQL 16 on it is granted without that."""
    return int(server.sql("SHOW server_version_num")) < 160000


def until(fact: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether it becomes true; the bound only keeps a broken build from hanging."""
    for _ in range(int(seconds / 0.05)):
        if fact():
            return True
        time.sleep(0.05)
    return fact()


def idle(db: psycopg.Connection[Any]) -> None:
    db.commit()
    end_seen(db)


def in_transaction(db: psycopg.Connection[Any]) -> None:
    db.execute("INSERT INTO orders (what) VALUES ('in transaction')")
    end_seen(db)


def in_a_failed_transaction(db: psycopg.Connection[Any]) -> None:
    db.execute("INSERT INTO orders (what) VALUES ('failed transaction')")
    with pytest.raises(psycopg.errors.DivisionByZero):
        db.execute("SELECT 1/0")
    end_seen(db)


def long_statement(db: psycopg.Connection[Any]) -> None:
    db.autocommit = True
    db.execute("INSERT INTO orders (what) SELECT 'long statement' FROM pg_sleep(6)")


def copy_in(db: psycopg.Connection[Any]) -> None:
    with db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
        while True:
            copy.write_row(["copied in " + "x" * 40_000])
            time.sleep(0.01)


def copy_out(db: psycopg.Connection[Any]) -> None:
    # in the select list the rows come one by one; in FROM the server would count to the end first
    with db.cursor().copy("COPY (SELECT repeat('x', 1000), generate_series(1, 1000000000)) TO STDOUT") as copy:
        for _ in copy:
            pass


def large_result(db: psycopg.Connection[Any]) -> None:
    for _ in db.cursor().stream("SELECT repeat('x', 5000), generate_series(1, 1000000000)"):
        pass


def pipelined(db: psycopg.Connection[Any]) -> None:
    with db.pipeline() as pipeline:
        for _ in range(3):
            db.execute("INSERT INTO orders (what) VALUES ('pipelined')")
        db.execute("SELECT pg_sleep(6)")
        pipeline.sync()


def prepared(db: psycopg.Connection[Any]) -> None:
    for _ in range(3):
        db.execute("SELECT %s::int", [1], prepare=True)
    db.execute("INSERT INTO orders (what) SELECT %s FROM pg_sleep(6)", ["prepared"], prepare=True)


def listening(db: psycopg.Connection[Any]) -> None:
    db.autocommit = True
    db.execute("LISTEN news")
    for _ in db.notifies():
        pass


def set_role(db: psycopg.Connection[Any]) -> None:
    db.execute("SET ROLE orders_write")
    db.execute("INSERT INTO orders (what) VALUES ('set role')")
    db.execute("SELECT pg_sleep(6)")


def holding_a_lock_on_its_own_role(db: psycopg.Connection[Any]) -> None:
    db.execute("ALTER ROLE CURRENT_USER SET work_mem = '5MB'")
    end_seen(db)


def end_seen(db: psycopg.Connection[Any]) -> None:
    """Wait for the end as a client does that has nothing to say."""
    assert until(lambda: db.pgconn.socket >= 0 and _readable(db))
    db.execute("SELECT 1")


def _readable(db: psycopg.Connection[Any]) -> bool:
    return bool(select.select([db.pgconn.socket], [], [], 0)[0])


SITUATIONS: list[Situation] = [
    idle, in_transaction, in_a_failed_transaction, long_statement, copy_in, copy_out, large_result, pipelined, prepared,
    listening, set_role, holding_a_lock_on_its_own_role,
]  # fmt: skip


@pytest.mark.in_workers
@pytest.mark.every_server
def test_every_situation_ends(house: LiveHouse, server: PostgresServer) -> None:
    """All at once, as a handoff finds them; each in a thread of its own, on the same lease."""
    before = rows(server)
    situations = [one for one in SITUATIONS if one is not set_role or may_set_role(server)]
    errors: dict[str, BaseException] = {}
    house.watch.allow(ALICE, "read", "write")
    connections = {situation.__name__: psycopg.connect(house.dsn(ALICE)) for situation in situations}

    def run(situation: Situation) -> None:
        try:
            situation(connections[situation.__name__])
        except BaseException as error:  # noqa: BLE001  whatever it is, it is what we look at
            errors[situation.__name__] = error

    threads = [threading.Thread(target=run, args=(situation,)) for situation in situations]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    house.watch.take(ALICE)
    house.sync_guard()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for situation in situations:
        error = errors[situation.__name__]
        assert isinstance(error, psycopg.OperationalError), (situation.__name__, error)
        connections[situation.__name__].close()
    # a client that was busy sending, or that reads without waiting for an answer, may see the closing first
    told = [name for name, error in errors.items() if "bob is primary now" in str(error)]
    assert set(told) >= {"idle", "in_transaction", "long_statement", "prepared"}
    assert until(lambda: sessions_of_leases(server) == 0)
    assert until(lambda: accounts(server) == "")
    time.sleep(0.2)
    assert rows(server) == before
    assert house.noted("lease.ended")


def test_a_client_that_sends_and_never_reads_is_cut_off_inside_tls_too(
    open_house: Callable[..., LiveHouse], certificate: tuple[Path, Path]
) -> None:
    """It does not answer the end of TLS; the connection must not stay for that."""
    house = open_house(tls=certificate)
    house.watch.allow(ALICE, "write")
    with RawSession.over_tls(house, certificate[0], user="alice", password=house.token(ALICE)) as raw:
        raw.send(pg.message(b"Q", b"COPY orders (what) FROM STDIN\0"))
        raw.read_until(b"G")
        house.watch.take(ALICE)
        house.sync_guard()

        def is_cut() -> bool:
            try:
                raw.send(pg.message(b"d", b"never" + b"x" * 5000 + b"\n"))
            except OSError:
                return True
            return False

        assert until(is_cut)


def test_psql_is_told_in_words(house: LiveHouse) -> None:
    house.watch.allow(ALICE, "read", "write", until=house.clock.now() + timedelta(seconds=1.5))
    done = subprocess.run(
        ["psql", "-X", house.dsn(ALICE), "-c", "SELECT pg_sleep(9)"], capture_output=True, text=True, check=False
    )
    assert "FATAL:  your access to orders-db ended at" in done.stderr
    assert "bob is primary now" in done.stderr
    again = subprocess.run(
        ["psql", "-X", house.dsn(ALICE), "-c", "SELECT 1"], capture_output=True, text=True, check=False
    )
    assert again.returncode == 2
    assert "FATAL:  you are not on call for orders; bob is primary now" in again.stderr
    assert "HINT:  Ask whoever is on call" in again.stderr


def test_a_denied_person_leaves_no_account_behind(house: LiveHouse, server: PostgresServer) -> None:
    with pytest.raises(psycopg.OperationalError, match="bob is primary now"):
        psycopg.connect(house.dsn(BOB))
    assert accounts(server) == ""
    assert not house.noted("lease.granting")


def test_asyncpg_is_told_as_postgresql_would_tell_it(house: LiveHouse) -> None:
    house.watch.allow(ALICE, "read", until=house.clock.now() + timedelta(seconds=1.5))

    async def work() -> None:
        db = await asyncpg.connect(
            host=house.host, port=house.port, user="alice", password=house.token(ALICE), database="orders", ssl=False
        )
        try:
            await db.execute("SELECT pg_sleep(9)")
        finally:
            db.terminate()

    with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="your access to orders-db ended at"):
        asyncio.run(work())


def test_an_extension_of_the_facts_renews_without_a_word(house: LiveHouse, server: PostgresServer) -> None:
    house.watch.ttl = timedelta(seconds=2)
    house.watch.allow(ALICE, "read", "write")
    with psycopg.connect(house.dsn(ALICE)) as db:
        notices: list[str] = []
        db.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        assert until(lambda: bool(db.execute("SELECT 1")) and len(house.noted("lease.renewed")) >= 2)
        assert db.execute("SELECT 1").fetchone() == (1,)
        assert notices == []
        mark = server.sql(
            "SELECT shobj_description(oid, 'pg_authid')::json->>'until' FROM pg_roles WHERE rolname LIKE 'wk%'"
        )
        assert mark == house.noted("lease.renewed")[-1].fields["until"]


def test_before_the_end_there_is_a_notice(open_house: Callable[..., LiveHouse]) -> None:
    from watchkey.flows.guard_session import GuardRules

    house = open_house(rules=GuardRules(notices=(timedelta(seconds=1),), linger=timedelta(seconds=1)))
    house.watch.allow(ALICE, "read", until=house.clock.now() + timedelta(seconds=2))
    done = subprocess.run(
        ["psql", "-X", house.dsn(ALICE), "-c", "SELECT pg_sleep(9)"], capture_output=True, text=True, check=False
    )
    assert "WARNING:  your access to orders-db ends at" in done.stderr
    assert "is cancelled and rolled back" in done.stderr


def test_the_next_person_gets_in_when_the_first_is_out(house: LiveHouse) -> None:
    handoff = house.clock.now() + timedelta(seconds=1.5)
    house.watch.allow(ALICE, "read", "write", until=handoff)
    first = psycopg.connect(house.dsn(ALICE))
    with pytest.raises(psycopg.OperationalError):
        first.execute("SELECT pg_sleep(9)")
    first.close()
    house.watch.allow(BOB, "read", "write")
    with psycopg.connect(house.dsn(BOB)) as db:
        (name,) = db.execute("SELECT session_user").fetchone() or ("",)
        assert name.startswith("wk_bob_")


@pytest.mark.in_workers
def test_a_person_ends_a_session_by_name(house: LiveHouse) -> None:
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        db.execute("SELECT 1")
        assert until(lambda: len(house.gateway.sessions()) == 1)
        (view,) = house.gateway.sessions()
        assert (view.subject, view.resource, view.transaction) == (ALICE, "orders-db", "I")

        async def end() -> bool:
            return house.gateway.end_session(view.id, by="carol", why="suspicious")

        assert house.call(end())
        with pytest.raises(psycopg.OperationalError, match="ended by carol: suspicious"):
            db.execute("SELECT 1")
    assert until(lambda: house.gateway.sessions() == [])


# --- dead is closed ----------------------------------------------------------------------------------------------


KILLS = int(os.environ.get("WATCHKEY_KILLS", "4"))
OUTLIVES: dict[str, Situation] = {
    "a statement": lambda db: db.execute("INSERT INTO orders (what) SELECT 'after death' FROM pg_sleep(3)"),
    "several in one text": lambda db: db.execute(
        "BEGIN; INSERT INTO orders (what) VALUES ('after death'); SELECT pg_sleep(3); COMMIT"
    ),
    "prepared": lambda db: db.execute(
        "INSERT INTO orders (what) SELECT %s FROM pg_sleep(3)", ["after death"], prepare=True
    ),
    "pipelined": pipelined,
    "copied in": copy_in,
    "in a block of code": lambda db: db.execute(
        "DO $$ BEGIN INSERT INTO orders (what) VALUES ('after death'); PERFORM pg_sleep(3); END $$"
    ),
}


def test_a_killed_gateway_commits_nothing_and_reaping_closes_what_it_left(
    server: PostgresServer, house: LiveHouse
) -> None:
    """Kill -9, WATCHKEY_KILLS times, while statements run that would outlive it: no commit; then `reap` closes all.

    `reap` needs only the database, and each dead gateway has left a role of its own.
    """
    before = rows(server)
    gateways = [GatewayProcess(server, ttl=6) for _ in range(KILLS)]
    errors: list[BaseException] = []

    def work(gateway: GatewayProcess, situation: Situation) -> None:
        dsn = f"host=127.0.0.1 port={gateway.port} dbname=orders user=alice password={gateway.token} sslmode=disable"
        try:
            with psycopg.connect(dsn, autocommit=True) as db:
                begun.release()
                situation(db)
        except psycopg.OperationalError as error:
            errors.append(error)

    begun = threading.Semaphore(0)
    workers = [
        threading.Thread(target=work, args=(gateway, situation))
        for gateway in gateways
        for situation in OUTLIVES.values()
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert begun.acquire(timeout=30)
    time.sleep(0.3)
    for gateway in gateways:
        gateway.kill()
        time.sleep(0.1)
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
    assert len(errors) == len(workers)
    assert until(lambda: sessions_of_leases(server) == 0)
    time.sleep(3)  # by now each of them would have committed
    assert rows(server) == before
    assert len(accounts(server).split()) == KILLS
    assert until(lambda: house.call(house.target.reap()) == () and accounts(server) == "")


@pytest.mark.every_server
def test_reaping_ends_sessions_and_leaves_other_roles_alone(server: PostgresServer, house: LiveHouse) -> None:
    server.sql(
        "SET ROLE watchkey_manager;"
        "CREATE ROLE wk_old_00000000000000aa LOGIN PASSWORD 'x' IN ROLE orders_read;"
        "COMMENT ON ROLE wk_old_00000000000000aa IS "
        """'{"watchkey": 1, "lease": "00000000000000aa", "until": "2020-01-01T00:00:00+00:00"}';"""
        "CREATE ROLE wk_new_00000000000000bb LOGIN PASSWORD 'x';"
        "COMMENT ON ROLE wk_new_00000000000000bb IS "
        """'{"watchkey": 1, "lease": "00000000000000bb", "until": "2099-01-01T00:00:00+00:00"}';"""
        "CREATE ROLE wk_broken_00000000000000cc LOGIN;"
        "COMMENT ON ROLE wk_broken_00000000000000cc IS "
        """'{"watchkey": 1, "lease": "00000000000000cc", "until": "when hell freezes over"}';"""
        "CREATE ROLE wk_foreign LOGIN; COMMENT ON ROLE wk_foreign IS 'somebody else''s';"
        "CREATE ROLE wk_unmarked_00000000000000dd LOGIN;"
    )
    try:
        with psycopg.connect(
            f"host=127.0.0.1 port={server.port} dbname=orders user=wk_old_00000000000000aa password=x"
        ) as db:
            db.execute("SELECT 1")
            endings = house.call(house.target.reap())
            assert sorted(ending.account for ending in endings) == [
                "wk_broken_00000000000000cc", "wk_old_00000000000000aa",
            ]  # fmt: skip
            assert all(ending.is_gone for ending in endings)
            with pytest.raises(psycopg.OperationalError):
                db.execute("SELECT 1")
        assert set(accounts(server).split()) == {
            "wk_new_00000000000000bb",
            "wk_foreign",
            "wk_unmarked_00000000000000dd",
        }
    finally:
        server.sql(
            "DROP ROLE IF EXISTS wk_new_00000000000000bb, wk_foreign, wk_unmarked_00000000000000dd,"
            " wk_old_00000000000000aa, wk_broken_00000000000000cc"
        )


@pytest.mark.every_server
def test_an_account_that_cannot_be_ended_keeps_no_other_one_alive(server: PostgresServer, house: LiveHouse) -> None:
    """Somebody else's role with our mark: from PostgreSQL 16 on the management account may not alter it."""
    mark = '{{"watchkey": 1, "lease": "{}", "until": "2020-01-01T00:00:00+00:00"}}'
    first, second = "wk_a_00000000000000a1", "wk_b_00000000000000b2"
    server.sql(
        f"CREATE ROLE {first} LOGIN; COMMENT ON ROLE {first} IS '{mark.format(first[-16:])}';"
        f"SET ROLE watchkey_manager; CREATE ROLE {second} LOGIN IN ROLE orders_read;"
        f"COMMENT ON ROLE {second} IS '{mark.format(second[-16:])}'"
    )
    try:
        endings = {ending.account: ending for ending in house.call(house.target.reap())}
        assert endings[second].is_gone
        if may_set_role(server):
            assert endings[first].is_gone
        else:
            assert "permission denied" in endings[first].blocked_by
            assert (endings[first].is_gone, accounts(server)) == (False, first)
    finally:
        server.sql(f"DROP ROLE IF EXISTS {first}, {second}")


@pytest.mark.in_workers
def test_statements_are_in_the_log_with_names_before_their_session_ends(house: LiveHouse, tmp_path: Path) -> None:
    import hashlib

    import msgspec

    house.watch.allow(ALICE, "read", "write")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        db.execute("INSERT INTO orders (what) VALUES (%s)", ["logged"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute("SELECT * FROM secrets")
        db.execute("ALTER ROLE CURRENT_USER PASSWORD 'canary-7f3a'")
    assert until(lambda: bool(house.noted("session.ended")))
    (file,) = house.statement_files
    data = file.read_bytes()
    lines = [msgspec.json.decode(line) for line in data.splitlines()]
    assert {line["subject"] for line in lines} == {ALICE}
    insert = next(line for line in lines if line["text"].startswith("INSERT"))
    assert (insert["kind"], insert["rows"], insert["outcome"]) == ("write", 1, "done")
    refused = next(line for line in lines if "secrets" in line["text"])
    assert (refused["outcome"], refused["sqlstate"]) == ("failed", "42501")
    assert b"canary-7f3a" not in data
    what = [event.what for event in house.audit.events if hasattr(event, "what")]
    assert what.index("session.ended") > max(i for i, name in enumerate(what) if name == "statements.batch")
    for batch in house.noted("statements.batch"):
        part = data[batch.fields["offset"] : batch.fields["offset"] + batch.fields["length"]]
        assert hashlib.sha256(part).hexdigest() == batch.fields["sha256"]
