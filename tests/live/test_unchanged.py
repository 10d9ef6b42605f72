"""What the server says reaches the client byte by byte as it is said without a gateway, however the question is cut."""

from collections.abc import Iterator
from struct import pack
from typing import Final

import pytest

from tests.live.house import ALICE, LiveHouse
from tests.live.raw_session import RawSession
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.wire import pg_messages as pg
from watchkey.wire.scram import ScramKeys

KEYS: Final = ScramKeys.derive(salted_password=bytes(range(32)), salt=bytes(16))


def query(text: str) -> bytes:
    return pg.message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return pg.message(b"P", f"{name}\0{text}\0".encode() + b"\0\0")


def bind(portal: str, statement: str, *values: bytes, formats: tuple[int, ...] = ()) -> bytes:
    body = f"{portal}\0{statement}\0".encode() + pack(">hh", 0, len(values))
    body += b"".join(pack(">i", len(value)) + value for value in values)
    return pg.message(b"B", body + pack(f">h{len(formats)}h", len(formats), *formats))


def execute(portal: str = "", rows: int = 0) -> bytes:
    return pg.message(b"E", portal.encode() + b"\0" + pack(">i", rows))


def describe(kind: str, name: str = "") -> bytes:
    return pg.message(b"D", f"{kind}{name}\0".encode())


SYNC: Final = pg.message(b"S", b"")
LOUD: Final = """DO $$ BEGIN
  RAISE NOTICE 'as it was' USING DETAIL = 'in detail', HINT = 'a hint', ERRCODE = '01ABC', COLUMN = 'c';
  RAISE WARNING 'ünïcödé %', repeat('x', 5000);
  RAISE EXCEPTION 'and an error' USING DETAIL = 'why', TABLE = 't', SCHEMA = 's', CONSTRAINT = 'k', DATATYPE = 'd';
END $$"""
TWICE: Final = "INSERT INTO orders (id, what) OVERRIDING SYSTEM VALUE VALUES (-7, 'a'), (-7, 'b')"

CONVERSATIONS: Final = {
    "a result of many types": query("SELECT 1, 2.5::float8, 'text', NULL, '{1,2}'::int[], '\\x00ff'::bytea"),
    "an error with a position": query("SELECT wrong FROM orders"),
    "a syntax error": query("SELEKT 1"),
    "an error with a constraint": query(TWICE),
    "what is not allowed": query("TABLE secrets"),
    "notices and an error of one's own": query(LOUD),
    "several statements, the second fails": query("SELECT 1; SELECT 1/0; SELECT 2"),
    "no statement": query(""),
    "a large result": query("SELECT repeat(chr(65 + n % 26), 4000) FROM generate_series(1, 700) n"),
    "a failed transaction": query("BEGIN") + query("SELECT 1/0") + query("SELECT 1") + query("ROLLBACK"),
    "a parameter that is reported": query("SET TimeZone = 'Asia/Tokyo'") + query("RESET TimeZone"),
    "the extended protocol": parse("", "SELECT $1::int + 1, $2::text")
    + describe("S") + bind("", "", b"41", b"text", formats=(1, 0)) + describe("P") + execute() + SYNC,
    "a portal in parts": parse("s", "SELECT generate_series(1, 10)") + query("BEGIN")
    + bind("p", "s") + execute("p", 3) + execute("p", 3) + execute("p") + SYNC
    + pg.message(b"C", b"Ss\0") + SYNC + query("COMMIT"),
    "a series that fails": parse("", "SELECT 1/$1::int") + bind("", "", b"0") + execute() + bind("", "", b"1")
    + execute() + SYNC + query("SELECT 'and on'"),
    "a name that is not there": bind("", "nothing") + execute() + SYNC,
    "copy out": query("COPY (SELECT n, repeat('y', 90) FROM generate_series(1, 3000) n) TO STDOUT"),
    "copy in": query("BEGIN") + query("COPY orders (what) FROM STDIN")
    + pg.message(b"d", b"one\ntw") + pg.message(b"d", b"o\n") + pg.message(b"c", b"") + query("ROLLBACK"),
    "copy in that the client gives up": query("COPY orders (what) FROM STDIN")
    + pg.message(b"d", b"one\n") + pg.message(b"f", b"changed my mind\0"),
    "copy in that the server refuses": query("COPY orders (what) FROM STDIN")
    + pg.message(b"d", b"a\tb\tc\n") + pg.message(b"c", b""),
    "statements that look like others": query("COPY orders (what) FROM STDIN")
    + pg.message(b"d", query("DROP TABLE orders") + b"\\.\n") + pg.message(b"f", b"no\0"),
    # pi(), by its number: no arguments, and a result in text
    "a function call": query("BEGIN") + pg.message(b"F", pack(">ihhh", 1610, 0, 0, 0)) + query("ROLLBACK"),
}  # fmt: skip


@pytest.fixture
def direct(server: PostgresServer) -> Iterator[RawSession]:
    server.sql(
        "CREATE ROLE direct LOGIN IN ROLE orders_read, orders_write PASSWORD :'verifier'", verifier=KEYS.verifier
    )
    try:
        with RawSession.to(server.host, server.port) as session:
            session.log_in({"user": "direct", "database": "orders"}, keys=KEYS)
            yield session
    finally:
        server.sql("DROP ROLE direct")


def asked(session: RawSession, data: bytes, *, step: int) -> list[tuple[bytes, bytes]]:
    for start in range(0, len(data), step):
        session.send(data[start : start + step])
    # a message of its own behind it: what comes before its answer belongs to the conversation
    session.send(query("SELECT 'the end of it'"))
    out: list[tuple[bytes, bytes]] = []
    while not (out and out[-1][0] == b"D" and b"the end of it" in out[-1][1]):
        out.append(session.read())
    out += session.read_until(b"Z")
    return out


@pytest.mark.every_server
@pytest.mark.parametrize("step", [1 << 20, 7, 1])
def test_every_answer_is_the_servers_own(
    house: LiveHouse, server: PostgresServer, direct: RawSession, step: int
) -> None:
    house.watch.allow(ALICE, "read", "write")
    with RawSession.to(house.host, house.port) as through:
        through.log_in({"user": "alice", "database": "orders"}, password=house.token(ALICE))
        for name, data in CONVERSATIONS.items():
            assert asked(through, data, step=step) == asked(direct, data, step=1 << 20), name


def test_what_the_server_says_of_itself_at_the_beginning_is_passed_on(house: LiveHouse, direct: RawSession) -> None:
    house.watch.allow(ALICE, "read", "write")
    own = {b"session_authorization", b"application_name"}
    with RawSession.to(house.host, house.port) as through:
        through.log_in({"user": "alice", "database": "orders"}, password=house.token(ALICE))
        told = [
            {body.split(b"\0")[0]: body for kind, body in session.greeting if kind == b"S"}
            for session in (through, direct)
        ]
    assert told[0].keys() == told[1].keys()
    assert {name for name in told[0] if told[0][name] != told[1][name]} <= own
