"""The hot path between two transports: bytes unchanged, walked, held when one side does not take them."""

import asyncio
from typing import Any

from tests.wire.test_pg_session import relaying
from watchkey.entrypoints.pg_gateway.relay import BUFFER_HIGH, ClientSide, ServerSide
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_messages import ProtocolViolation
from watchkey.wire.pg_statements import StatementLedger, StatementRecord

QUERY = pg.message(b"Q", b"SELECT 1\0")
ANSWER = pg.message(b"C", b"SELECT 1\0") + pg.message(b"Z", b"I")


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_paused = False
        self.high = 0

    def write(self, data: Any) -> None:
        self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        del low
        self.high = high or 0


class Owner:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def client_sent(self, data: bytes) -> None:
        self.told.append(("client", data))

    def server_sent(self, data: bytes) -> None:
        self.told.append(("server", data))

    def client_lost(self) -> None:
        self.told.append("client lost")

    def server_lost(self) -> None:
        self.told.append("server lost")

    def violated(self, violation: ProtocolViolation) -> None:
        self.told.append(violation)

    def recorded(self, records: list[StatementRecord]) -> None:
        self.told += [(record.sql.kept, record.asked_at, record.ended_at) for record in records]


class Pair:
    def __init__(self, *, audited: bool = True) -> None:
        self.owner = Owner()
        self.client, self.server = ClientSide(self.owner), ServerSide(self.owner)
        self.to_client, self.to_server = Wire(), Wire()
        self.client.connection_made(self.to_client)
        self.server.connection_made(self.to_server)
        self.session = relaying()
        if audited:
            self.session.ledger = StatementLedger()
        self.ticks = 0.0
        self.client.relay_to(self.to_server, self.session, self.now)
        self.server.relay_to(self.to_client, self.session, self.now)

    def now(self) -> float:
        self.ticks += 1
        return self.ticks


def test_bytes_pass_unchanged_and_statements_are_told() -> None:
    pair = Pair()
    for data in (QUERY[:3], QUERY[3:]):
        pair.client.data_received(data)
    for data in (ANSWER[:7], ANSWER[7:]):
        pair.server.data_received(data)
    assert (pair.to_server.written, pair.to_client.written) == (QUERY, ANSWER)
    assert pair.owner.told == [(b"SELECT 1", 1.0, 2.0)]


def test_without_a_ledger_nothing_is_told() -> None:
    pair = Pair(audited=False)
    pair.client.data_received(QUERY)
    pair.server.data_received(ANSWER)
    assert pair.owner.told == []
    assert pair.to_server.written == QUERY


def test_a_violation_is_told_and_not_passed_on() -> None:
    pair = Pair()
    pair.client.data_received(pg.message(b"p", b"x\0"))
    assert isinstance(pair.owner.told[0], ProtocolViolation)
    assert pair.to_server.written == b""
    pair.server.data_received(b"D\0\0\0\0")
    assert isinstance(pair.owner.told[1], ProtocolViolation)


def test_outside_of_relaying_the_owner_hears_it_and_nothing_passes() -> None:
    pair = Pair()
    pair.client.is_relaying = pair.server.is_relaying = False
    pair.client.data_received(QUERY)
    pair.server.data_received(ANSWER)
    assert pair.owner.told == [("client", QUERY), ("server", ANSWER)]
    assert pair.to_server.written == pair.to_client.written == b""


def test_a_side_that_does_not_take_more_holds_the_other() -> None:
    pair = Pair()
    assert pair.to_client.high == BUFFER_HIGH
    pair.client.pause_writing()
    assert (pair.to_server.is_paused, pair.to_client.is_paused) == (True, False)
    pair.client.resume_writing()
    assert not pair.to_server.is_paused
    pair.server.pause_writing()
    assert pair.to_client.is_paused


def test_who_is_lost_is_told() -> None:
    pair = Pair()
    pair.client.connection_lost(None)
    pair.server.connection_lost(OSError("reset"))
    assert pair.owner.told == ["client lost", "server lost"]
