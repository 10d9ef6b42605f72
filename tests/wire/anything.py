"""What must hold for any bytes that reach the wire code: hypothesis asks it in tests, atheris in `make fuzz-wire`."""

from collections.abc import Callable
from struct import pack
from typing import Any

from watchkey.model.ids import SubjectId
from watchkey.wire import pg_events as ev
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_session import Session, SessionRules, State
from watchkey.wire.pg_startup import read_wish
from watchkey.wire.pg_statements import StatementLedger
from watchkey.wire.scram import ScramClient, ScramError, ScramKeys

KEYS = ScramKeys.derive(salted_password=bytes(32), salt=bytes(16))


def hold(data: bytes) -> None:
    """Raise AssertionError where something does not hold, and let through whatever is raised and must not be."""
    if not data:
        return
    cut, rest = data[0], data[1:]
    walked_alike(lambda: pg.ClientWalker(wants_values=True).feed, rest, cut)
    walked_alike(lambda: pg.ServerWalker().feed, rest, cut)
    walked_alike(lambda: pg.MessageReader(1000).feed, rest, cut)
    paired(rest, cut)
    greeted(rest, cut)
    logged_in(rest)


def walked_alike(make: Callable[[], Callable[[bytes], list[Any]]], data: bytes, cut: int) -> None:
    """In one piece or in several: the same events, or a violation in both."""
    assert outcome(make(), [data]) == outcome(make(), pieces(data, cut))


def outcome(feed: Callable[[bytes], list[Any]], parts: list[bytes]) -> object:
    out: list[Any] = []
    try:
        for part in parts:
            out += feed(part)
    except pg.ProtocolViolation:
        return "violation"
    return out


def pieces(data: bytes, cut: int) -> list[bytes]:
    step = cut % 16 + 1
    return [data[start : start + step] for start in range(0, len(data), step)]


def paired(data: bytes, cut: int) -> None:
    """A client and a server that say anything in any order: the ledger takes it, and forgets no statement."""
    client, server, ledger = pg.ClientWalker(wants_values=True), pg.ServerWalker(), StatementLedger()
    asked = told = 0
    try:
        for number, part in enumerate(pieces(data, cut)):
            if number % 3:
                events = client.feed(part)
                asked += sum(isinstance(event, pg.Query | pg.Execute | pg.FunctionCall) for event in events)
                ledger.asked(events, 0.0)
            else:
                told += len(ledger.answered(server.feed(part), 0.0))
            assert ledger.running is None or ledger.is_busy
    except pg.ProtocolViolation:
        pass
    told += len(ledger.abandoned(0.0))
    assert told >= asked
    assert not ledger.is_busy


def greeted(data: bytes, cut: int) -> None:
    """The first packets of a client: a password is asked for, or it is over; nothing else comes of it."""
    session = Session(SessionRules(offers_tls=bool(cut & 1), needs_tls=bool(cut & 1)))
    left = data
    while left and session.state is State.GREETING:
        try:
            wanted = session.wanted
        except pg.ProtocolViolation:
            wanted = 1
        part, left = left[:wanted], left[wanted:]
        for command in session.receive(ev.ClientBytes(part)):
            assert isinstance(command, ev.SendToClient | ev.StartTls | ev.Close | ev.PassCancel)
    if session.state is State.AUTHENTICATING:
        commands = session.receive(ev.ClientBytes(left or b"p"))
        assert all(isinstance(one, ev.ProveIdentity | ev.SendToClient | ev.Close) for one in commands)
        if session.state is State.PROVING:
            session.receive(ev.IdentityProven(SubjectId("somebody")))
            assert session.lease is None


def logged_in(data: bytes) -> None:
    """What a server says while we log in, and what a startup packet asks for."""
    scram = ScramClient(keys=KEYS, nonce="n" * 24, offered=frozenset({"SCRAM-SHA-256"}), binding=None)
    scram.first()
    try:
        scram.final(data)
        scram.check(data)
        raise AssertionError("anything at all proved to be the server")
    except ScramError:
        pass
    if not 4 <= len(data) <= 9_996:
        return
    try:
        packet = pg.read_first_packet(pack(">i", len(data) + 4) + data)
        if isinstance(packet, pg.Startup):
            wish = read_wish(packet.parameters)
            assert {name.lower() for name in wish.passed_on} <= ALLOWED
    except pg.ProtocolViolation:
        pass


ALLOWED = {
    "client_encoding", "application_name", "datestyle", "timezone", "intervalstyle", "extra_float_digits", "options",
}  # fmt: skip
