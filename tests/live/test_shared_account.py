"""`mode: shared_account`: what it still holds, and that what it does not hold is said."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.live.house import ALICE, BOB, LiveHouse
from tests.live.test_sessions_end import rows, until
from watchkey.model.errors import Refused
from watchkey.model.lease import LeaseId
from watchkey.model.secret import Secret
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.targets.postgres import Mode, SharedAccountTarget, SharedLogin, _end_processes

SHARED: dict[str, Any] = {"mode": Mode.SHARED_ACCOUNT, "groups": {}}


@pytest.fixture
def shared(open_house: Callable[..., LiveHouse], server: PostgresServer) -> Iterator[LiveHouse]:
    server.sql(
        "CREATE ROLE orders_app LOGIN PASSWORD 'app' IN ROLE orders_write;"
        "CREATE ROLE orders_look LOGIN PASSWORD 'look' IN ROLE orders_read; CREATE ROLE orders_boss SUPERUSER LOGIN;"
        "ALTER ROLE orders_boss PASSWORD 'boss'"
    )
    accounts = {
        "read": SharedLogin(name="orders_look", password=Secret("look")),
        "write": SharedLogin(name="orders_app", password=Secret("app")),
    }
    house = open_house(**SHARED, accounts=accounts)
    yield house
    house.call(house.guard.close())
    server.sql("DROP OWNED BY orders_app", "orders")
    server.sql("DROP ROLE orders_app; DROP ROLE orders_look; DROP ROLE orders_boss")


def direct(server: PostgresServer) -> str:
    return f"host={server.host} port={server.port} dbname=orders user=orders_app password=app"


@pytest.mark.in_workers
def test_sessions_are_the_accounts_and_everything_says_so(shared: LiveHouse) -> None:
    shared.watch.allow(ALICE, "read", "write")
    shared.watch.allow(BOB, "read")
    with psycopg.connect(shared.dsn(ALICE)) as alice, psycopg.connect(shared.dsn(BOB)) as bob:
        assert alice.execute("SELECT session_user").fetchone() == ("orders_app",)
        assert bob.execute("SELECT session_user").fetchone() == ("orders_look",)
        assert alice.execute("SHOW client_connection_check_interval").fetchone() == ("1s",)
        both = {(ALICE, "orders_app", True), (BOB, "orders_look", True)}
        assert until(
            lambda: {(view.subject, view.account, view.is_shared) for view in shared.gateway.sessions()} == both
        )
    for what in ("lease.opened", "session.opened"):
        assert {(note.fields["account"], note.fields["shared_account"]) for note in shared.noted(what)} == {
            ("orders_app", True), ("orders_look", True),
        }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        ("user=alice", "user=orders_look"), ("user=alice", "user=postgres"),
        ("dbname=orders", "dbname=orders options='-c role=orders_look'"),
        ("dbname=orders", "dbname=orders options='-c session_authorization=orders_boss'"),
        ("dbname=orders", "dbname=postgres"),
    ],
)  # fmt: skip
def test_no_startup_parameter_leads_to_another_identity(shared: LiveHouse, change: tuple[str, str]) -> None:
    shared.watch.allow(ALICE, "read", "write")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(shared.dsn(ALICE).replace(*change))
    assert not shared.noted("lease.granting")


@pytest.mark.in_workers
def test_going_back_leads_to_the_account_and_no_further(shared: LiveHouse) -> None:
    shared.watch.allow(ALICE, "read", "write")
    with psycopg.connect(shared.dsn(ALICE, "options='-c jit=off'"), autocommit=True) as db:
        for words in ("RESET ROLE", "RESET SESSION AUTHORIZATION", "DISCARD ALL", "RESET ALL"):
            db.execute(words)
            assert db.execute("SELECT session_user, current_user").fetchone() == ("orders_app", "orders_app")
        # what the gateway began the session with is what RESET goes back to
        assert db.execute("SHOW client_connection_check_interval").fetchone() == ("1s",)
        for identity in ("orders_look", "orders_boss", "watchkey_manager"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(f"SET SESSION AUTHORIZATION {identity}")  # type: ignore[arg-type]  names of ours


@pytest.mark.in_workers
def test_an_end_ends_the_leases_sessions_and_nobody_elses(shared: LiveHouse, server: PostgresServer) -> None:
    shared.watch.allow(ALICE, "read", "write")
    shared.watch.allow(BOB, "read", "write")
    before = rows(server)
    with (
        psycopg.connect(shared.dsn(ALICE), autocommit=True) as alice,
        psycopg.connect(shared.dsn(BOB), autocommit=True) as bob,
        psycopg.connect(direct(server), autocommit=True) as application,
    ):
        (pid,) = alice.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        attached(shared)
        alice.execute("SET client_connection_check_interval = 0")
        shared.watch.take(ALICE)
        threading.Timer(0.3, shared.sync_guard).start()
        with pytest.raises(psycopg.OperationalError):
            alice.execute("INSERT INTO orders (what) SELECT 'late' FROM pg_sleep(4)")
        assert until(lambda: bool(shared.noted("lease.ended")))
        assert server.sql("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid", pid=str(pid)) == "0"
        assert bob.execute("SELECT 1").fetchone() == (1,)
        assert application.execute("SELECT 1").fetchone() == (1,)
    assert rows(server) == before


def attached(house: LiveHouse) -> None:
    assert isinstance(house.target, SharedAccountTarget)
    leases = house.target._leases
    assert until(lambda: all(lease.sessions for lease in leases.values()))


def test_what_stays_behind_is_reported(shared: LiveHouse, server: PostgresServer) -> None:
    shared.watch.allow(ALICE, "read", "write")
    with psycopg.connect(shared.dsn(ALICE), autocommit=True) as db:
        attached(shared)
        db.execute("CREATE TABLE left_behind (x int)")
        db.execute("ALTER ROLE CURRENT_USER SET search_path = 'evil'")
        shared.watch.take(ALICE)
        shared.sync_guard()
    assert until(lambda: bool(shared.noted("lease.ended")))
    residue = " | ".join(shared.noted("lease.ended")[-1].fields["residue"])
    assert "role_setting" in residue
    assert "search_path=evil" in residue
    assert "left_behind" in residue
    server.sql("ALTER ROLE orders_app RESET ALL")


@pytest.mark.parametrize(
    ("account", "words"),
    [("orders_boss", "superuser"), ("watchkey_manager", "the management account"), ("nobody", "no role nobody")],
)
def test_an_account_that_leads_out_is_refused(
    shared: LiveHouse, open_house: Callable[..., LiveHouse], account: str, words: str
) -> None:
    del shared
    house = open_house(**SHARED, accounts={"write": SharedLogin(name=account, password=Secret("boss"))})
    house.watch.allow(ALICE, "write")
    with pytest.raises(psycopg.OperationalError, match="cannot be prepared"):
        psycopg.connect(house.dsn(ALICE))
    assert words in house.noted("lease.not_granted")[-1].fields["error"]


def test_a_changed_password_shuts_the_gateway_out(shared: LiveHouse, server: PostgresServer) -> None:
    server.sql("ALTER ROLE orders_app PASSWORD 'another'")
    shared.watch.allow(ALICE, "read", "write")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(shared.dsn(ALICE))


@pytest.mark.in_workers
def test_a_session_that_cannot_be_ended_later_is_ended_now(shared: LiveHouse) -> None:
    runs = threading.Event()

    async def entered(lease: LeaseId, process_id: int) -> None:
        while not runs.is_set():  # noqa: ASYNC110 -- the event is another thread's
            await asyncio.sleep(0.01)
        raise Refused(f"{lease} {process_id}")

    shared.target.entered = entered  # type: ignore[method-assign]  the failure under test
    shared.watch.allow(ALICE, "read", "write")
    with psycopg.connect(shared.dsn(ALICE), autocommit=True) as db:
        threading.Timer(0.5, runs.set).start()  # a client that is not waiting for an answer may miss the last words
        with pytest.raises(psycopg.OperationalError, match="cannot watch over this session"):
            db.execute("SELECT pg_sleep(9)")


def test_a_number_that_is_anothers_by_now_is_left_alone(shared: LiveHouse, server: PostgresServer) -> None:
    with psycopg.connect(direct(server), autocommit=True) as application:
        (pid,) = application.execute("SELECT pg_backend_pid()").fetchone() or (0,)

        async def end() -> int:
            async with shared.target._manager() as db:
                return await _end_processes(db, {(pid, shared.clock.now() - timedelta(seconds=9))})

        assert shared.call(end()) == 0
        assert application.execute("SELECT 1").fetchone() == (1,)


def test_a_login_after_the_end_is_ended_on_the_server_too(shared: LiveHouse, server: PostgresServer) -> None:
    with psycopg.connect(direct(server), autocommit=True) as late:
        (pid,) = late.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        with pytest.raises(Refused, match="the lease is over"):
            shared.call(shared.target.entered(LeaseId("00000000000000aa"), pid))
        with pytest.raises(psycopg.OperationalError):
            late.execute("SELECT 1")
