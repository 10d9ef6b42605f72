"""Worker processes: one gateway to the outside, one decision inside; who dies or stands still takes nothing along."""

import asyncio
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from tests.live.conftest import open_house, server
from tests.live.gateway_process import GatewayProcess
from tests.live.house import ALICE, BOB, LiveHouse
from watchkey.entrypoints.pg_gateway import worker_messages as say
from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection
from watchkey.entrypoints.pg_gateway.workers import Hand, Workers
from watchkey.flows.login_tokens import Proof
from watchkey.model.access import Caller, Statement, StatementKind, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused
from watchkey.model.ids import CallerId, SubjectId
from watchkey.model.lease import LeaseId
from watchkey.simulator.postgres_server import PostgresServer

__all__ = ["open_house", "server"]


@pytest.fixture
def house(open_house: Callable[..., LiveHouse]) -> LiveHouse:
    made = open_house(workers=2)
    made.watch.allow(ALICE, "read", "write")
    made.watch.allow(BOB, "read")
    return made


@pytest.fixture
def many(house: LiveHouse) -> Iterator[list[psycopg.Connection[Any]]]:
    """Connections of alice's, some in each worker."""
    with ExitStack() as stack:
        opened = []
        for _ in range(18):
            opened.append(stack.enter_context(psycopg.connect(house.dsn(ALICE), autocommit=True)))
            if len(opened) > 2 and len(spread(house)) == 2:
                break
        assert len(spread(house)) == 2, "all connections came to one worker"
        yield opened


def until(fact: Callable[[], object], seconds: float = 10) -> bool:
    """Whether it becomes true; the bound only keeps a broken build from hanging."""
    for _ in range(int(seconds / 0.05)):
        if fact():
            return True
        time.sleep(0.05)
    return bool(fact())


def sessions_of_leases(server: PostgresServer) -> int:
    return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'wk\\_%'"))


def spread(house: LiveHouse) -> set[int]:
    """The workers that have a session, by what they recorded."""
    return {event.fields["worker"] for event in house.noted("session.opened")}


def processes(house: LiveHouse) -> list[int]:
    return [hand.process.pid for hand in house.gateway._hands.values()]


def is_cut(db: psycopg.Connection[Any]) -> bool:
    try:
        db.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def test_all_sessions_are_listed_and_one_is_ended_wherever_it_is(
    house: LiveHouse, many: list[psycopg.Connection[Any]]
) -> None:
    assert until(lambda: len(house.gateway.sessions()) == len(many))
    first, second = (
        next(event.fields["session"] for event in house.noted("session.opened") if event.fields["worker"] == number)
        for number in (1, 2)
    )
    for session in (first, second):
        assert house.gateway.end_session(session, by="carol", why="looks odd")
    assert not house.gateway.end_session("nobody's", by="carol", why="looks odd")
    assert sum(is_cut(db) for db in many) == 2
    assert until(lambda: len(house.gateway.sessions()) == len(many) - 2)
    with pytest.raises(psycopg.OperationalError, match="closed"):
        next(db for db in many if db.closed).execute("SELECT 1")


def test_what_runs_and_the_transaction_are_seen(house: LiveHouse) -> None:
    with psycopg.connect(house.dsn(ALICE)) as db:
        db.execute("SELECT 1")
        assert until(lambda: [view.transaction for view in house.gateway.sessions()] == ["T"])


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(30)'"


def test_a_cancel_finds_its_session_from_any_worker(
    house: LiveHouse, many: list[psycopg.Connection[Any]], server: PostgresServer
) -> None:
    assert spread(house) == {1, 2}
    for turn in range(12):  # which worker takes the request is the kernel's choice each time
        db = many[turn % len(many)]
        db.pgconn.send_query(b"SELECT pg_sleep(30)")
        assert until(lambda: server.sql(SLEEPING) == "1")  # before it runs there is nothing to cancel
        begun = time.monotonic()
        db.cancel_safe()
        while (
            db.pgconn.is_busy()
        ):  # waiting in `get_result` would keep the service, which is in this process, from running
            select.select([db.pgconn.socket], [], [], 40)
            db.pgconn.consume_input()
        while (result := db.pgconn.get_result()) is not None:
            assert result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) == b"57014"
        assert time.monotonic() - begun < 25  # it did not sleep to its end


def test_a_lease_that_ends_is_ended_in_every_worker(
    house: LiveHouse, many: list[psycopg.Connection[Any]], server: PostgresServer
) -> None:
    house.watch.take(ALICE)
    house.sync_guard()
    for db in many:
        with pytest.raises(psycopg.errors.AdminShutdown, match="bob is primary now"):
            until(lambda db=db: db.execute("SELECT 1") is None, 10)  # type: ignore[misc]  bound for the loop
    assert until(lambda: sessions_of_leases(server) == 0)
    assert until(lambda: len(house.noted("session.ended")) == len(many))


def test_a_worker_that_dies_is_recorded_its_lease_ends_and_another_takes_its_place(
    house: LiveHouse, server: PostgresServer
) -> None:
    with closing(psycopg.connect(house.dsn(ALICE), autocommit=True)) as db:
        (number,) = spread(house)
        db.pgconn.send_query(b"INSERT INTO orders (what) SELECT 'outlived its worker' FROM pg_sleep(3)")
        time.sleep(0.3)
        os.kill(house.gateway._hands[number].process.pid, signal.SIGKILL)
        assert until(lambda: sessions_of_leases(server) == 0)
    assert until(lambda: bool(house.noted("lease.ended")))
    assert "the process that had your connection died" in house.noted("lease.ending")[0].fields["sentence"]
    (died,) = house.noted("worker.died")
    assert (died.fields["worker"], died.fields["sessions"], died.fields["code"]) == (number, 1, -signal.SIGKILL)
    assert until(lambda: len([hand for hand in house.gateway._hands.values() if hand.listening.done()]) == 2)
    assert sum(held.sessions for held in house.guard.held) == 0
    for _ in range(6):
        with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
            assert db.execute("SELECT count(*) FROM orders WHERE what = 'outlived its worker'").fetchone() == (0,)


def test_a_worker_that_does_not_end_what_it_must_is_killed(
    house: LiveHouse, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchkey.entrypoints.pg_gateway.workers.END_MAX", 0.5)
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        (number,) = spread(house)
        pid = house.gateway._hands[number].process.pid
        os.kill(pid, signal.SIGSTOP)  # it hears nothing any more
        house.watch.take(ALICE)
        house.sync_guard()
        assert until(lambda: bool(house.noted("worker.died")))
        assert until(lambda: is_cut(db))
    assert until(lambda: sessions_of_leases(server) == 0)


def test_workers_end_leases_by_their_own_clock_when_the_service_stands_still(server: PostgresServer) -> None:
    process = GatewayProcess(server, workers=2)
    try:
        with psycopg.connect(dsn_of(process), autocommit=True) as db:
            end = float(process.ask("end 2"))
            time.sleep(1)
            os.kill(process.process.pid, signal.SIGSTOP)
            try:
                with pytest.raises(psycopg.errors.AdminShutdown, match="ended at"):
                    db.execute("SELECT pg_sleep(20)")
                assert time.time() >= end  # noqa: TID251  compared with the other process's wall clock
            finally:
                os.kill(process.process.pid, signal.SIGCONT)
    finally:
        process.stop()


def test_without_the_service_the_workers_close_everything_and_die(server: PostgresServer) -> None:
    process = GatewayProcess(server, workers=2)
    workers = [int(word) for word in process.ask("workers").split()]
    db = psycopg.connect(dsn_of(process), autocommit=True)
    db.pgconn.send_query(b"INSERT INTO orders (what) SELECT 'outlived the service' FROM pg_sleep(3)")
    time.sleep(0.3)
    process.kill()
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    with pytest.raises(psycopg.OperationalError):
        db.execute("SELECT 1")
    db.close()
    assert until(lambda: sessions_of_leases(server) == 0)
    assert server.sql("SELECT count(*) FROM orders WHERE what = 'outlived the service'", "orders") == "0"


def dsn_of(process: GatewayProcess) -> str:
    return (
        f"host=127.0.0.1 port={process.port} dbname=orders user=alice password={process.token} "
        "sslmode=disable gssencmode=disable"
    )


def test_statements_are_in_the_log_of_their_worker_before_their_session_ends(house: LiveHouse) -> None:
    with psycopg.connect(house.dsn(BOB), autocommit=True) as db:
        db.execute("SELECT 'mine'")
    assert until(lambda: bool(house.noted("session.ended")))
    names = [event.what for event in house.audit.events if isinstance(event, Noted)]
    assert names.index("statements.batch") < names.index("session.ended")
    batch = house.noted("statements.batch")[0]
    (number,) = spread(house)
    assert batch.fields["file"] == f"statements.w{number}.jsonl"
    lines = [msgspec.json.decode(line) for line in (house.folder / batch.fields["file"]).read_bytes().splitlines()]
    assert ("SELECT 'mine'", BOB) in [(line["text"], line["subject"]) for line in lines]


def test_draining_refuses_in_every_worker_and_lets_the_old_ones_finish(
    house: LiveHouse, many: list[psycopg.Connection[Any]]
) -> None:
    draining = asyncio.run_coroutine_threadsafe(house.gateway.drain(), house._loop)
    time.sleep(0.3)
    for _ in range(4):
        with pytest.raises(psycopg.OperationalError, match="going down"):
            psycopg.connect(house.dsn(BOB))
    assert many[0].execute("SELECT 1").fetchone() == (1,)
    for db in many:
        db.close()
    draining.result(10)


def test_a_worker_gets_none_of_the_services_secrets_and_no_modules_of_the_folder(
    open_house: Callable[..., LiveHouse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ssl.py").write_text("raise SystemExit('taken from the folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_MANAGER_PASSWORD", "canary")
    house = open_house(workers=1)
    (pid,) = processes(house)
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"canary" not in environment


def test_the_pair_of_sockets_is_the_workers_and_nobody_elses(house: LiveHouse) -> None:
    one, other = (
        {end for link in Path(f"/proc/{pid}/fd").iterdir() if (end := link.readlink().name).startswith("socket:")}
        for pid in processes(house)
    )
    assert one
    assert not one & other


def test_a_worker_that_lists_anothers_session_keeps_no_end_from_it(
    house: LiveHouse, many: list[psycopg.Connection[Any]]
) -> None:
    assert until(lambda: len(house.gateway.sessions()) == len(many))
    event = house.noted("session.opened")[0]
    session, number = event.fields["session"], event.fields["worker"]
    view = house.gateway._hands[number].views[session]
    liar = house.gateway._hands[3 - number]
    liar.views = {session: view, **liar.views}
    assert house.gateway.end_session(session, by="carol", why="looks odd")
    assert until(lambda: sum(is_cut(db) for db in many if not db.closed) + sum(bool(db.closed) for db in many) == 1)


def test_a_worker_that_cannot_be_started_for_now_is_started_later(
    house: LiveHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = house.gateway._spawn, [OSError("no room"), OSError("no room")]

    async def spawn(number: int) -> Any:
        if failures:
            raise failures.pop()
        return await real(number)

    monkeypatch.setattr(house.gateway, "_spawn", spawn)
    os.kill(processes(house)[0], signal.SIGKILL)
    assert until(lambda: not failures and len(house.gateway._hands) == 2)
    assert until(lambda: all(hand.listening.done() for hand in house.gateway._hands.values()))


def test_a_port_that_is_taken_is_an_error_at_the_start(open_house: Callable[..., LiveHouse]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        open_house(workers=1, port=taken.getsockname()[1])


def test_a_port_of_other_workers_is_not_shared(house: LiveHouse, open_house: Callable[..., LiveHouse]) -> None:
    with pytest.raises(OSError, match="in use"):
        open_house(workers=1, port=house.port)


def test_a_section_without_tls_listens_on_loopback_only() -> None:
    nothing: Any = None
    section = GatewaySection(databases={"x": DatabaseSection(resource="x")}, host="0.0.0.0", workers=1)  # noqa: S104  the point of the test
    with pytest.raises(Refused, match="loopback"):
        Workers(section, guard=nothing, tokens=nothing, audit=nothing, clock=nothing, caller=CallerId("gw"))


NOT_ITS_OWN = (
    say.Admit(1, BOB, "gateway", "orders-db", None, "1.2.3.4:5"),  # nobody showed bob's token to this worker
    say.Admit(1, ALICE, "wide", "orders-db", None, "1.2.3.4:5"),  # alice's is there, by another caller's word
    say.Entered(1, "another's", 4711),
    say.Judge(1, "another's", Statement(verbs=("select",), kind=StatementKind.READ, tables=(), functions=())),
    say.Record(1, "lease.opened", {}),
    say.Record(1, "session.ended", {"lease": "another's", "subject": ALICE, "resource": "orders-db"}),
    say.Record(1, "session.opened", {"lease": "its-own", "subject": BOB, "resource": "orders-db"}),
    say.Record(1, "statements.batch", {"file": "statements.w2.jsonl"}),
    say.Record(1, "statements.batch", {"file": "../statements.w1.jsonl"}),
)


def test_a_worker_gets_and_records_nothing_that_is_not_its_own(house: LiveHouse) -> None:
    async def work(message: Any) -> Any:
        hand: Hand = house.gateway._hands[1]
        hand.had[LeaseId("its-own")] = (SubjectId(ALICE), "orders-db")
        narrow = Proof(subject=Subject(id=SubjectId(ALICE)), issuer=Caller(id=CallerId("narrow")))
        house.gateway._remember(hand, narrow)
        return await house.gateway._found(hand, message)

    for message in NOT_ITS_OWN:
        with pytest.raises(Refused):
            house.call(work(message))
    assert house.audit.events == []
