"""psycopg 3 through the gateway: sync."""

import select
import threading
from typing import Any

import psycopg

from tests.live.clients.probe import WHERE, Begun, run


def connect(more: str = "", **options: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(f"{WHERE.dsn} {more}", **options)


def who() -> str:
    with connect() as db:
        assert db.pgconn.ssl_in_use
        return str(db.execute("SELECT session_user").fetchone())


def prepared() -> list[Any]:
    with connect() as db:
        return [db.execute("SELECT %s::int + 1", [n], prepare=True).fetchone() for n in range(8)]


def pipeline() -> int:
    with connect() as db:
        with db.pipeline():
            cursors = [db.execute("SELECT %s::int", [n]) for n in range(300)]
        return sum(row[0] for cursor in cursors if (row := cursor.fetchone()))


def copy_both_ways() -> int:
    with connect() as db:
        with db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
            for n in range(500):
                copy.write_row([f"copied {n}" + "x" * 2000])
        with db.cursor().copy("COPY orders TO STDOUT") as copy:
            size = sum(len(data) for data in copy)
        db.rollback()
        return size


def large_result() -> int:
    with connect() as db:
        return sum(len(t) for (t,) in db.cursor().stream("SELECT repeat('z', 10000) FROM generate_series(1, 1000)"))


def notified() -> str:
    with connect(autocommit=True) as one, connect(autocommit=True) as two:
        one.execute("LISTEN news")
        two.execute("NOTIFY news, 'hello'")
        return next(one.notifies(timeout=5)).payload


def cancelled() -> None:
    with connect(autocommit=True) as db:
        timer = threading.Timer(0.3, db.cancel_safe)
        timer.start()
        try:
            db.execute("SELECT pg_sleep(9)")
        finally:
            timer.join()
            assert db.execute("SELECT 1").fetchone() == (1,)


def cancelled_in_clear() -> None:
    """Libpq's old call, which always asks outside of TLS."""
    with connect(autocommit=True) as db:
        timer = threading.Timer(0.3, db.cancel)
        timer.start()
        try:
            db.execute("SELECT pg_sleep(9)")
        finally:
            timer.join()


def direct_tls() -> str:
    with connect("sslnegotiation=direct") as db:
        return str(db.execute("SELECT session_user").fetchone())


def newest_protocol() -> str:
    with connect("min_protocol_version=3.0 max_protocol_version=latest") as db:
        return str(db.execute("SELECT session_user").fetchone())


def wait_and_say(db: psycopg.Connection[Any], begun: Begun) -> None:
    """As a client that has nothing to say until something is there to be read."""
    begun()
    select.select([db.pgconn.socket], [], [], 20)
    db.execute("SELECT 1")


def idle(begun: Begun) -> None:
    with connect(autocommit=True) as db:
        wait_and_say(db, begun)


def in_transaction(begun: Begun) -> None:
    with connect() as db:
        db.execute("INSERT INTO orders (what) VALUES ('never')")
        wait_and_say(db, begun)


def in_copy(begun: Begun) -> None:
    with connect() as db, db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
        copy.write_row(["never"])
        begun()
        while True:
            copy.write_row(["never" + "x" * 9000])
            select.select([db.pgconn.socket], [], [], 0.02)


def in_copy_out(begun: Begun) -> None:
    # in the select list the rows come one by one; in FROM the server would count to the end first
    endless = "COPY (SELECT repeat('x', 999), generate_series(1, 1000000000)) TO STDOUT"
    with connect() as db, db.cursor().copy(endless) as copy:
        begun()
        for _ in copy:
            pass


def in_long_query(begun: Begun) -> None:
    with connect(autocommit=True) as db:
        begun()
        db.execute("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)")


def pipelined(begun: Begun) -> None:
    with connect() as db, db.pipeline() as sent:
        for _ in range(3):
            db.execute("INSERT INTO orders (what) VALUES ('never')")
        db.execute("SELECT pg_sleep(6)")
        begun()
        sent.sync()


def listening(begun: Begun) -> None:
    with connect(autocommit=True) as db:
        db.execute("LISTEN news")
        begun()
        for _ in db.notifies():
            pass


if __name__ == "__main__":
    run(
        before={
            "connect": who, "prepared": prepared, "pipeline": pipeline, "copy": copy_both_ways, "large": large_result,
            "notify": notified, "cancel": cancelled, "cancel_in_clear": cancelled_in_clear, "direct_tls": direct_tls,
            "newest_protocol": newest_protocol,
        },
        expiring={
            "idle": idle, "in_transaction": in_transaction, "in_copy": in_copy, "in_copy_out": in_copy_out,
            "in_long_query": in_long_query, "pipelined": pipelined, "listening": listening,
        },
        denied=who,
    )  # fmt: skip
