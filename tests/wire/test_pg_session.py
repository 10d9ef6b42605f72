"""The session's table as conversations: what happened on the left, what is to be done on the right."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from struct import pack

import pytest

from watchkey.model.access import AccessRequest, Allow, Reason, Subject
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_events import (
    Ask,
    ClientBytes,
    ClientGone,
    Close,
    Command,
    Commands,
    Denied,
    DirectTls,
    EndIsNear,
    Enter,
    Event,
    Granted,
    IdentityProven,
    IdentityRefused,
    LeaseEnded,
    OpenUpstream,
    PassCancel,
    ProveIdentity,
    SendToClient,
    SendToServer,
    ServerBytes,
    ServerGone,
    StartTls,
    TimedOut,
    TlsUp,
    UpstreamOpen,
)  # fmt: skip
from watchkey.wire.pg_session import ImpossibleEvent, Session, SessionRules, State
from watchkey.wire.pg_statements import StatementLedger
from watchkey.wire.scram import ScramKeys

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
ALICE = SubjectId("alice@example.com")
KEYS = ScramKeys.derive(salted_password=bytes(32), salt=b"saltsaltsaltsalt")
STARTUP = pg.startup_message({"user": "alice", "database": "orders", "application_name": "psql"})
PASSWORD = pg.message(b"p", b"wkt_token\0")
READY = pg.message(b"Z", b"I")
OPEN = UpstreamOpen(
    account="wk_alice_1",
    database="orders_production",
    keys=KEYS,
    nonce="n",
    binding=None,
    process_id=42,
    cancel_key=b"ours",
)
SASL = pg.message(b"R", pack(">i", 10) + b"SCRAM-SHA-256\0\0")


def lease() -> Lease:
    request = AccessRequest(
        subject=Subject(id=ALICE),
        privilege=PrivilegeName("read"),
        resource=ResourceId("orders-db"),
        caller=CallerId("gw"),
    )
    allow = Allow(
        request=request,
        decided_at=NOW,
        until=NOW + timedelta(hours=1),
        reason=Reason.ON_CALL,
        sentence="on call",
        evidence=(),
    )
    return Lease(
        id=LeaseId("0123456789abcdef"), subject=ALICE, resource=ResourceId("orders-db"),
        privileges=(PrivilegeName("read"),),
        starts_at=NOW, ends_at=allow.until, grounds=(allow,),
    )  # fmt: skip


def fatal(commands: Commands) -> dict[str, str]:
    """The fields of the one error that is sent, which must be followed by Close and nothing else."""
    assert [type(command) for command in commands] == [SendToClient, Close]
    data = commands[0].data  # type: ignore[union-attr]  as just asserted
    assert data[:1] == b"E"
    return pg.read_fields(data[5:])


def after(*events: Event, rules: SessionRules | None = None) -> Session:
    session = Session(rules or SessionRules())
    for event in events:
        session.receive(event)
    return session


TLS_UP = (ClientBytes(pg.ssl_request()), TlsUp("postgresql"))
LOGGED_IN = (*TLS_UP, ClientBytes(STARTUP), ClientBytes(PASSWORD))
DECIDED = (*LOGGED_IN, IdentityProven(ALICE), Granted(lease()))


def relaying() -> Session:
    session = after(*DECIDED)
    server_login(session)
    assert session.state is State.RELAYING
    return session


def server_login(session: Session, *, extra: bytes = b"") -> Commands:
    """Play PostgreSQL's side of SCRAM, and get ready."""
    session.receive(OPEN)
    (first,) = session.receive(ServerBytes(SASL))
    nonce = "nSERVER"
    bare = first.data.partition(b"n,,")[2].decode()  # type: ignore[union-attr]  a SendToServer
    said = f"r={nonce},s={base64.b64encode(KEYS.salt).decode()},i=4096"
    (final,) = session.receive(ServerBytes(pg.message(b"R", pack(">i", 11) + said.encode())))
    without = final.data[5:].decode().rpartition(",p=")[0]  # type: ignore[union-attr]  a SendToServer
    proof = hmac.digest(KEYS.server_key, f"{bare},{said},{without}".encode(), "sha256")
    assert session.receive(ServerBytes(pg.message(b"R", pack(">i", 12) + b"v=" + base64.b64encode(proof)))) == ()
    assert hashlib.sha256(KEYS.client_key).digest()
    return session.receive(
        ServerBytes(
            pg.authentication_ok() + pg.parameter_status("server_version", "15.18") + extra
            + pg.message(b"K", pack(">i", 777) + b"real") + READY
        )
    )  # fmt: skip


# --- greeting ----------------------------------------------------------------------------------------------------


def test_a_whole_login_from_the_first_byte_to_the_first_query() -> None:
    session = Session(SessionRules())
    conversation: list[tuple[Event, Commands]] = [
        (ClientBytes(pack(">ii", 8, pg.GSSENC_REQUEST)), (SendToClient(b"N"),)),
        (ClientBytes(pg.ssl_request()), (SendToClient(b"S"), StartTls())),
        (TlsUp("postgresql"), ()),
        (ClientBytes(STARTUP), (SendToClient(pg.authentication_cleartext_password()),)),
        (ClientBytes(PASSWORD), (ProveIdentity("alice", Secret("wkt_token")),)),
        (IdentityProven(ALICE), (Ask(subject=ALICE, database="orders", privileges=None, application="psql"),)),
        (Granted(lease()), (OpenUpstream(lease=lease()),)),
    ]
    for event, commands in conversation:
        assert session.receive(event) == commands
    assert session.receive(OPEN) == (
        SendToServer(
            pg.startup_message({"user": "wk_alice_1", "database": "orders_production", "application_name": "psql"})
        ),
    )
    session = after(*DECIDED)
    assert server_login(session) == (
        Enter(lease=lease(), server_process_id=777, server_key=b"real"),
        SendToClient(
            pg.authentication_ok()
            + pg.parameter_status("server_version", "15.18")
            + pg.backend_key_data(42, b"ours")
            + READY
        ),
    )
    asks = pg.message(b"Q", b"select 1\0")
    assert session.receive(ClientBytes(asks)) == (SendToServer(asks),)
    assert session.receive(ServerBytes(READY)) == (SendToClient(READY),)


def test_bytes_are_asked_for_one_packet_at_a_time() -> None:
    session = Session(SessionRules())
    assert session.wanted == 8
    session.receive(ClientBytes(STARTUP[:8]))
    assert session.wanted == len(STARTUP) - 8


def test_something_behind_the_tls_request_is_never_kept() -> None:
    said = fatal(after().receive(ClientBytes(pg.ssl_request() + b"Q")))
    assert said["C"] == "08P01"


def test_tls_without_asking_needs_the_protocols_own_name() -> None:
    assert after().receive(DirectTls()) == (StartTls(),)
    assert after(DirectTls()).receive(TlsUp(None)) == (Close("alpn_missing"),)
    assert after(DirectTls(), TlsUp("postgresql")).state is State.STARTING


def test_tls_after_asking_needs_no_alpn() -> None:
    assert after(ClientBytes(pg.ssl_request())).receive(TlsUp(None)) == ()


def test_tls_twice_is_a_violation() -> None:
    assert fatal(after(*TLS_UP).receive(ClientBytes(pg.ssl_request())))["C"] == "08P01"


def test_in_clear_there_is_no_password_prompt() -> None:
    assert fatal(after().receive(ClientBytes(STARTUP)))["M"] == "this gateway talks TLS only"


def test_without_a_certificate_tls_is_declined() -> None:
    rules = SessionRules(offers_tls=False, needs_tls=False)
    assert after(rules=rules).receive(ClientBytes(pg.ssl_request())) == (SendToClient(b"N"),)
    assert after(rules=rules).receive(DirectTls()) == (Close("no_tls_here"),)
    asked = after(ClientBytes(pg.ssl_request()), rules=rules).receive(ClientBytes(STARTUP))
    assert asked == (SendToClient(pg.authentication_cleartext_password()),)


def test_asking_for_encryption_for_ever_ends() -> None:
    session = after(rules=SessionRules(offers_tls=False, needs_tls=False))
    for _ in range(2):
        session.receive(ClientBytes(pg.ssl_request()))
    assert fatal(session.receive(ClientBytes(pg.ssl_request())))["C"] == "08P01"


def test_a_cancel_request_is_passed_on_and_answered_by_nothing() -> None:
    assert after().receive(ClientBytes(pg.cancel_request(42, b"ours"))) == (
        PassCancel(42, b"ours"),
        Close("cancel_request"),
    )
    assert after(*TLS_UP).receive(ClientBytes(pg.cancel_request(42, b"ours")))[0] == PassCancel(42, b"ours")


def test_a_newer_protocol_and_its_options_are_negotiated_down() -> None:
    body = b"user\0alice\0_pq_.new\0x\0\0"
    packet = pack(">ii", len(body) + 8, pg.PROTOCOL_3 + 2) + body
    (answer,) = after(*TLS_UP).receive(ClientBytes(packet))
    assert answer == SendToClient(pg.negotiate_protocol_version(["_pq_.new"]) + pg.authentication_cleartext_password())


# --- who, and whether --------------------------------------------------------------------------------------------


def test_a_wrong_token_is_told_what_postgresql_would_tell_and_where_to_get_one() -> None:
    said = fatal(after(*LOGGED_IN).receive(IdentityRefused()))
    assert (said["C"], said["M"]) == ("28P01", 'password authentication failed for user "alice"')
    assert "watchkey login" in said["H"]


def test_a_denial_is_the_decisions_sentence() -> None:
    denied = Denied(sentence="not on call for orders since 18:00; bob is primary now", detail="reason", hint="ask bob")
    said = fatal(after(*LOGGED_IN, IdentityProven(ALICE)).receive(denied))
    assert (said["S"], said["C"], said["M"], said["D"], said["H"]) == (
        "FATAL",
        "28000",
        denied.sentence,
        "reason",
        "ask bob",
    )


@pytest.mark.parametrize(
    "events", [LOGGED_IN, (*LOGGED_IN, IdentityProven(ALICE)), DECIDED], ids=["proving", "deciding", "connecting"]
)
def test_nothing_is_smuggled_in_before_the_server_is_ready(events: tuple[Event, ...]) -> None:
    session = after(*events)
    assert fatal(session.receive(ClientBytes(pg.message(b"Q", b"drop table orders\0"))))["C"] == "08P01"
    assert session.state is State.CLOSED


@pytest.mark.parametrize(
    "data",
    [
        PASSWORD + PASSWORD,
        PASSWORD + b"Q",
        pg.message(b"Q", b"x\0"),
        pg.message(b"p", b"open"),
        pg.message(b"p", b"x" * 5000),
    ],
)
def test_only_one_password_and_nothing_else_is_taken(data: bytes) -> None:
    assert fatal(after(*TLS_UP, ClientBytes(STARTUP)).receive(ClientBytes(data)))["C"] == "08P01"


def test_a_client_that_leaves_at_the_prompt_just_leaves() -> None:
    assert after(*TLS_UP, ClientBytes(STARTUP)).receive(ClientBytes(pg.terminate())) == (Close("client_left"),)


def test_no_lease_no_upstream() -> None:
    """The only way to a server is a Granted event with a Lease in it."""
    session = after(*LOGGED_IN, IdentityProven(ALICE))
    for event in (OPEN, ServerBytes(READY), IdentityProven(ALICE)):
        with pytest.raises(ImpossibleEvent):
            session.receive(event)
    assert session.lease is None


# --- logging in to the server ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (pg.authentication_ok(), "without asking for a proof"),
        (pg.message(b"R", pack(">i", 3)), "authentication method 3"),
        (pg.message(b"R", pack(">i", 5) + b"salt"), "authentication method 5"),
        (pg.message(b"R", pack(">i", 10) + b"PLAIN\0\0"), "not SCRAM-SHA-256"),
        (pg.message(b"R", pack(">i", 12) + b"v="), "authentication method 12"),
    ],
)
def test_a_server_that_does_not_do_scram_is_not_entered(data: bytes, why: str) -> None:
    session = after(*DECIDED, OPEN)
    assert why in fatal(session.receive(ServerBytes(data)))["D"]


@pytest.mark.parametrize("data", [READY, pg.message(b"D", b""), pg.message(b"K", bytes(8)) + READY])
def test_a_server_that_skips_the_login_is_not_entered(data: bytes) -> None:
    session = after(*DECIDED, OPEN)
    assert session.receive(ServerBytes(data))[-1] == Close("protocol_violation")
    assert session.state is State.CLOSED


def test_an_account_that_is_a_superuser_is_not_entered() -> None:
    session = after(*DECIDED)
    said = fatal(server_login(session, extra=pg.parameter_status("is_superuser", "on")))
    assert "superuser" in said["M"]
    assert session.state is State.CLOSED


def test_what_the_server_says_against_it_is_passed_on_in_words() -> None:
    session = after(*DECIDED, OPEN)
    refused = pg.report(severity="FATAL", code="53300", text="too many connections for role")
    said = fatal(session.receive(ServerBytes(refused)))
    assert (said["C"], said["M"]) == ("53300", "the database refused: too many connections for role")


# --- in session, and out -----------------------------------------------------------------------------------------


def test_at_the_end_the_client_is_told_and_both_sides_are_closed() -> None:
    session = relaying()
    said = fatal(session.receive(LeaseEnded(sentence="your shift ended at 18:00", detail="d", hint="h")))
    assert (said["S"], said["C"], said["M"]) == ("FATAL", "57P01", "your shift ended at 18:00")
    assert session.receive(ClientBytes(pg.message(b"Q", b"commit\0"))) == ()
    assert session.receive(ServerBytes(READY)) == ()


def test_in_the_middle_of_a_message_only_its_rest_goes_out_before_the_farewell() -> None:
    session = relaying()
    row = pg.message(b"D", b"x" * 20)
    session.receive(ServerBytes(row[:10]))
    assert session.receive(LeaseEnded(sentence="over")) == ()
    assert session.state is State.DRAINING
    assert session.receive(ClientBytes(b"anything")) == ()
    assert session.receive(ServerBytes(row[10:15])) == (SendToClient(row[10:15]),)
    rest, farewell, close = session.receive(ServerBytes(row[15:] + pg.message(b"D", b"never seen")))
    assert rest == SendToClient(row[15:])
    assert b"never seen" not in farewell.data  # type: ignore[union-attr]  a SendToClient
    assert pg.read_fields(farewell.data[5:])["M"] == "over"  # type: ignore[union-attr]  same
    assert close == Close("lease_ended")


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_in_the_middle_of_a_header_too(cut: int) -> None:
    session = relaying()
    row = pg.message(b"D", b"x" * 5)
    session.receive(ServerBytes(row[:cut]))
    assert session.receive(LeaseEnded(sentence="over")) == ()
    sent = session.receive(ServerBytes(row[cut:] + row))
    assert sent[0] == SendToClient(row[cut:])
    assert sent[-1] == Close("lease_ended")


def test_a_message_that_never_becomes_whole_is_cut() -> None:
    session = relaying()
    session.receive(ServerBytes(pg.message(b"D", b"xx")[:6]))
    session.receive(LeaseEnded(sentence="over"))
    assert session.receive(TimedOut()) == (Close("client_gone"),)


def test_the_end_comes_in_every_state() -> None:
    for events in (
        (),
        TLS_UP,
        (*TLS_UP, ClientBytes(STARTUP)),
        LOGGED_IN,
        (*LOGGED_IN, IdentityProven(ALICE)),
        DECIDED,
    ):
        session = after(*events)
        commands = session.receive(LeaseEnded(sentence="over"))
        assert isinstance(commands[-1], Close)
        assert session.state is State.CLOSED
    session = after(ClientBytes(pg.ssl_request()))
    assert session.receive(LeaseEnded(sentence="over")) == (Close("lease_ended"),)


def test_a_notice_goes_between_messages_only() -> None:
    session = relaying()
    (notice,) = session.receive(EndIsNear("your access ends at 18:00 UTC, in 2 minutes"))
    assert notice.data[:1] == b"N"  # type: ignore[union-attr]  a SendToClient
    assert pg.read_fields(notice.data[5:])["M"].startswith("your access ends")  # type: ignore[union-attr]  same
    session.receive(ServerBytes(pg.message(b"D", b"xx")[:3]))
    assert session.receive(EndIsNear("again")) == ()
    assert after(*LOGGED_IN).receive(EndIsNear("early")) == ()


def test_a_violation_in_session_closes() -> None:
    session = relaying()
    assert fatal(session.receive(ClientBytes(pg.message(b"p", b"x\0"))))["C"] == "08P01"
    assert session.state is State.CLOSED


def test_a_violation_in_the_middle_of_an_answer_is_not_written_into_it() -> None:
    session = relaying()
    session.receive(ServerBytes(pg.message(b"D", b"xx")[:6]))
    assert session.receive(ClientBytes(b"?\0\0\0\4")) == (Close("protocol_violation"),)


@pytest.mark.parametrize(("event", "why"), [(ClientGone(), "client_gone"), (ServerGone(), "server_gone")])
def test_when_one_side_goes_the_other_is_closed(event: Event, why: str) -> None:
    assert relaying().receive(event) == (Close(why),)


@pytest.mark.parametrize("events", [(), (ClientBytes(pg.ssl_request()),)])
def test_a_client_that_never_speaks_is_dropped_without_a_word(events: tuple[Event, ...]) -> None:
    assert after(*events).receive(TimedOut()) == (Close("timed_out"),)


def test_a_login_that_takes_too_long_is_told_so() -> None:
    assert fatal(after(*LOGGED_IN).receive(TimedOut()))["M"] == "this took too long"


def test_statements_are_recorded_when_there_is_a_ledger() -> None:
    session = relaying()
    session.ledger = StatementLedger()
    session.receive(ClientBytes(pg.message(b"Q", b"select 1\0")))
    session.receive(ServerBytes(pg.message(b"C", b"SELECT 1\0") + READY))
    assert [record.sql.kept for record in session.records] == [b"select 1"]


def test_every_state_refuses_the_events_that_make_no_sense_there() -> None:
    """The table is complete: each state takes each event, or says that it is impossible; none is lost by accident."""
    some: dict[type, Event] = {
        type(event): event
        for event in (
            ClientBytes(b""), ServerBytes(b""), DirectTls(), TlsUp(None), IdentityProven(ALICE), IdentityRefused(),
            Granted(lease()), Denied(sentence="no"), OPEN, EndIsNear("x"), LeaseEnded(sentence="x"), ClientGone(),
            ServerGone(), TimedOut(),
        )
    }  # fmt: skip
    possible = {
        state: {kind for kind in some if kind in Session._TABLE[state] or kind in Session._ALWAYS} for state in State
    }
    always = {LeaseEnded, ClientGone, ServerGone, TimedOut, EndIsNear}
    assert possible[State.GREETING] == always | {ClientBytes, DirectTls}
    assert possible[State.TLS] == always | {TlsUp}
    assert possible[State.DECIDING] == always | {Granted, Denied, ClientBytes}
    assert possible[State.RELAYING] == always | {ClientBytes, ServerBytes}
    for state in State:
        if state is State.CLOSED:
            continue
        for kind in set(some) - possible[state]:
            session = after()
            session.state = state
            with pytest.raises(ImpossibleEvent):
                session.receive(some[kind])


def test_commands_are_values() -> None:
    commands: list[Command] = [SendToClient(b"x"), Close("why")]
    assert commands == [SendToClient(b"x"), Close("why")]
