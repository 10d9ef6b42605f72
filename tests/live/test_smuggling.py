"""Bytes that are meant to be read one way here and another way by the server: whatever ran is in the statement log."""

import contextlib
import hashlib
import json
import random
import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from struct import pack
from typing import Final

import pytest

from tests.live.house import ALICE, LiveHouse
from tests.live.raw_session import RawSession
from tests.live.test_sessions_end import accounts, until
from tests.live.test_unchanged import SYNC, bind, execute, parse, query
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.wire import pg_messages as pg

INSERT: Final = "INSERT INTO orders (what) VALUES ('{}')"


def headed(kind: bytes, length: int, body: bytes) -> bytes:
    """A message that lies about its length."""
    return kind + pack(">i", length) + body


def smuggled(text: str) -> dict[str, bytes]:
    """Each has `text` where it must not run unseen."""
    hidden = query(text)
    plain = b"SELECT 1\0"
    return {
        "a query behind the end of another's text": pg.message(b"Q", plain + hidden),
        "a query behind a text that is too short": headed(b"Q", 4 + 3, b"SEL" + hidden),
        "a query in a message of no length": headed(b"Q", 0, plain) + hidden,
        "a query behind a length of three": headed(b"Q", 3, b"") + hidden,
        "a query behind a negative length": headed(b"Q", -1, plain) + hidden,
        "a query in a message that never ends": headed(b"d", 0x7FFFFFFF, hidden),
        "a query in a message that ends late": headed(b"Q", 0x3FFFFFFF, plain + hidden),
        "a query after taking leave": pg.terminate() + hidden,
        "a query in data for nobody": pg.message(b"d", hidden) + pg.message(b"c") + query("SELECT 1"),
        "a query in a password": pg.message(b"p", hidden + b"\0") + hidden,
        "a query behind a startup packet": pg.startup_message({"user": "postgres", "database": "orders"}) + hidden,
        "a query behind a wish for TLS": pg.ssl_request() + hidden,
        "a query behind a cancel request": pg.cancel_request(1, b"\0\0\0\0") + hidden,
        "a query behind what only servers say": pg.message(b"Z", b"I") + hidden,
        "a query behind an unknown kind": pg.message(b"~", b"what") + hidden,
        "a query behind an answer to SASL": pg.sasl_response(b"n,,") + hidden,
        "a query while copying": query("COPY orders (what) FROM STDIN") + hidden + pg.message(b"c") + hidden,
        "a query in copied data": query("COPY orders (what) FROM STDIN")
        + pg.message(b"d", hidden) + pg.message(b"f", b"\0"),
        "a parse with more types than it says": pg.message(b"P", f"\0{text}\0".encode() + pack(">hi", 1, 23) + hidden)
        + bind("", "") + execute() + SYNC,
        "a parse with fewer types than it says": pg.message(b"P", f"\0{text}\0".encode() + pack(">h", 9))
        + bind("", "") + execute() + SYNC,
        "a name that is taken": parse("s", text) + SYNC + parse("s", "SELECT 1") + SYNC
        + bind("", "s") + execute() + SYNC,
        "a name that is given in SQL": query("PREPARE s AS " + text) + bind("", "s") + execute() + SYNC,
        "an error, and then a name": parse("", "bad") + parse("s", "SELECT 1") + SYNC
        + parse("s", text) + SYNC + bind("", "s") + execute() + SYNC,
        "a portal that is taken": query("BEGIN") + parse("", text) + bind("p", "") + SYNC + query("SAVEPOINT a")
        + parse("", "SELECT 1") + bind("p", "") + SYNC + query("ROLLBACK TO a") + execute("p") + SYNC + query("COMMIT"),
        "several in one": query(f"SELECT 1; {text}; SELECT 2"),
        "a block of code": query(f"DO $$ BEGIN {text}; END $$"),
    }  # fmt: skip


class Attack:
    """Logs in, says what it is given, and reads to the end. Each text that it uses is one of its own."""

    def __init__(self, house: LiveHouse, server: PostgresServer) -> None:
        self._house, self._server = house, server
        self._numbers = count()
        self._ended = 0

    def text(self) -> str:
        return INSERT.format(f"smuggled {next(self._numbers):06d}")

    def __call__(self, data: bytes) -> bytes:
        said = b""
        with RawSession.to(self._house.host, self._house.port) as session:
            session.log_in({"user": "alice", "database": "orders"}, password=self._house.token(ALICE))
            with contextlib.suppress(OSError):
                session.send(data)
                session.send(pg.terminate())
                session.hang_up()
            with contextlib.suppress(EOFError, OSError):
                while True:
                    kind, body = session.read()
                    said += kind + body
        self._ended += 1
        assert until(lambda: len(self._house.noted("session.ended")) >= self._ended)
        return said

    def unseen(self) -> set[str]:
        """What is in the table and not in the log."""
        log = self._house.statements()
        found = self._server.sql("SELECT what FROM orders WHERE what LIKE 'smuggled%'", "orders").splitlines()
        return {what for what in found if what not in log}


@pytest.fixture
def attack(house: LiveHouse, server: PostgresServer) -> Iterator[Attack]:
    house.watch.allow(ALICE, "read", "write")
    yield Attack(house, server)
    server.sql("DELETE FROM orders WHERE what LIKE 'smuggled%'", "orders")


@pytest.mark.every_server
def test_what_ran_is_in_the_log_however_it_was_hidden(attack: Attack, house: LiveHouse, server: PostgresServer) -> None:
    for name in smuggled(""):
        attack(smuggled(attack.text())[name])
        assert attack.unseen() == set(), name
    ran = server.sql("SELECT count(*) FROM orders WHERE what LIKE 'smuggled%'", "orders")
    assert int(ran) >= 5, "some of them are no tricks, and must have run"


def test_a_text_that_is_too_long_is_recorded_by_its_beginning_and_its_hash(attack: Attack, house: LiveHouse) -> None:
    text = "SELECT '" + "x" * 70_000 + "'; " + attack.text()
    attack(query(text))
    (line,) = map(json.loads, house.statements().splitlines())
    body = text.encode() + b"\0"
    assert (line["size"], line["sha256"]) == (len(text), hashlib.sha256(body).hexdigest())


def test_after_taking_leave_nothing_runs(attack: Attack, server: PostgresServer) -> None:
    for name in ("a query after taking leave", "a query in copied data", "a query in data for nobody"):
        attack(smuggled(attack.text())[name])
    assert server.sql("SELECT count(*) FROM orders WHERE what LIKE 'smuggled%'", "orders") == "0"


def test_no_damage_to_good_messages_makes_anything_run_unseen(attack: Attack, server: PostgresServer) -> None:
    dice = random.Random(20)
    for _ in range(60):
        data = bytearray(smuggled(attack.text())[dice.choice(list(smuggled("")))])
        if len(data) > 10_000:
            continue
        for _ in range(dice.randint(1, 3)):
            place = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    del data[place : place + dice.randint(1, 4)]
                case 2:
                    data[place:place] = dice.randbytes(dice.randint(1, 4))
                case _:
                    data[place] = dice.choice(b"QPBESXdc\0\x04\x05")
            if not data:
                break
        attack(bytes(data))
    assert attack.unseen() == set()


# --- before anybody is in ----------------------------------------------------------------------------------------


def startup(*pairs: tuple[str, str]) -> bytes:
    body = pack(">i", 3 << 16) + b"".join(f"{name}\0{value}\0".encode() for name, value in pairs) + b"\0"
    return pack(">i", len(body) + 4) + body


ALICES: Final = (("user", "alice"), ("database", "orders"))
BEFORE: Final = {
    "a wish for TLS three times": pg.ssl_request() * 3,
    "a startup packet of a gigabyte": pack(">ii", 0x3FFFFFFF, 3 << 16),
    "a startup packet a little too long": pack(">ii", 10_001, 3 << 16) + b"x" * 9_993,
    "a startup packet of negative length": pack(">ii", -8, 3 << 16),
    "a startup packet without its end": startup(*ALICES)[:-1] + b"x",
    "a cancel request that is too short": pack(">iii", 12, 80877102, 1),
    "a cancel request that is far too long": pack(">iii", 9_000, 80877102, 1) + b"x" * 8_988,
    "an old protocol": pack(">ii", 8, 2 << 16),
    "a protocol from the future": pack(">ii", 9, 4 << 16) + b"\0",
    "no user": startup(("database", "orders")),
    **{
        f"replication={value}": startup(*ALICES, ("replication", value))
        for value in ("true", "1", "on", "yes", "database", "TRUE", "tru", "t")
    },
    **{
        f"options={value}": startup(*ALICES, ("options", value))
        for value in (
            "-c role=postgres", "--role=postgres", "-crole=postgres", "-c  role=postgres", "-c ROLE=postgres",
            "-c session_authorization=postgres", "-c search_path=x -c role=postgres",
            "-c search_path=x\\ -crole=y -r z",
            "-c local_preload_libraries=x", "-c session_replication_role=replica", "-P", "-O", "-f s", "-D /", "-E",
            "-c client_connection_check_interval=0", "-c tcp_keepalives_idle=0", "-c log_statement=none",
        )
    },
    **{
        name: startup(*ALICES, (name, "x"))
        for name in ("role", "session_authorization", "search_path", "ROLE", "client_connection_check_interval", "a\nb")
    },
}  # fmt: skip


def test_what_a_startup_packet_must_not_ask_for_ends_the_connection(house: LiveHouse, server: PostgresServer) -> None:
    house.watch.allow(ALICE, "read", "write")
    for name, data in BEFORE.items():
        with socket.create_connection((house.host, house.port), timeout=10) as sock:
            sock.sendall(data)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(ConnectionResetError):
                while more := sock.recv(4096):
                    said += more
        # N for a wish that is not granted; then an error, or nothing; a password is never asked for
        assert b"R\0\0\0\x08" not in said, name
        assert said.lstrip(b"N")[:1] in {b"", b"E"}, (name, said)
    assert accounts(server) == ""
    assert not house.noted("lease.granting")


def test_a_later_user_in_one_packet_is_nobody_else(house: LiveHouse, server: PostgresServer) -> None:
    """Two names in one packet: whichever counts, it is the one that the token must fit."""
    house.watch.allow(ALICE, "read")
    for names in (("alice", "postgres"), ("postgres", "alice")):
        with RawSession.to(house.host, house.port) as session:
            session.send(startup(("user", names[0]), ("user", names[1]), ("database", "orders")))
            kind, body = session.read()
            if kind == b"R":
                session.send(pg.message(b"p", house.token(ALICE).encode() + b"\0"))
                kind, body = session.read()
            if kind == b"R":
                session.read_until(b"Z")
                session.send(query("SELECT session_user"))
                assert b"wk_alice_" in session.read_until(b"Z")[1][1]
            else:
                assert pg.read_fields(body)["C"] in {"28P01", "08P01"}


def test_gss_is_refused_and_tls_still_to_be_had(
    open_house: Callable[..., LiveHouse], certificate: tuple[Path, Path]
) -> None:
    house = open_house(tls=certificate)
    with socket.create_connection((house.host, house.port), timeout=10) as sock:
        sock.sendall(pack(">ii", 8, 80877104))
        assert sock.recv(10) == b"N"
        sock.sendall(pg.ssl_request())
        assert sock.recv(10) == b"S"


def test_a_wish_for_tls_inside_of_tls_is_refused(
    open_house: Callable[..., LiveHouse], certificate: tuple[Path, Path]
) -> None:
    house = open_house(tls=certificate)
    for wish in (pg.ssl_request(), pack(">ii", 8, 80877104)):
        with RawSession.inside_tls(house, certificate[0]) as session:
            session.send(wish)
            kind, body = session.read()
            assert (kind, pg.read_fields(body)["C"]) == (b"E", "08P01")
