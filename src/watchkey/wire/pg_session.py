"""One client session of the gateway as a table: events in, commands out; no sockets, no clock, no dice.

    GREETING → TLS → STARTING → AUTHENTICATING → PROVING → DECIDING → CONNECTING → RELAYING → DRAINING → CLOSED

An event that a state does not list raises `ImpossibleEvent`, and the shell turns any exception into *closed on both
sides*. `OpenUpstream` carries the Lease: without one there is no value from which an upstream could be opened.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from watchkey.model.lease import Lease
from watchkey.model.secret import Secret
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_events import (
    Ask,
    ClientBytes,
    ClientGone,
    Close,
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
)
from watchkey.wire.pg_messages import ProtocolViolation
from watchkey.wire.pg_startup import Wish, read_wish, write_options
from watchkey.wire.pg_statements import StatementLedger, StatementRecord
from watchkey.wire.scram import ScramClient, ScramError

_PASSWORD_MAX: Final = 4096


_Step = Callable[[Any, Any], Commands]  # a session, and the event under whose type the step stands


class ImpossibleEvent(Exception):
    """The shell and the table disagree; the connection must end."""


class State(StrEnum):
    """Where a session is."""

    GREETING = "greeting"
    TLS = "tls"
    STARTING = "starting"
    AUTHENTICATING = "authenticating"
    PROVING = "proving"
    DECIDING = "deciding"
    CONNECTING = "connecting"
    RELAYING = "relaying"
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """What holds for all sessions of one listener."""

    offers_tls: bool = True
    needs_tls: bool = True
    login_hint: str = "Get a short-lived token with `watchkey login` and use it as the password."
    deny_hint: str = ""
    end_hint: str = "Connect again: if you have a right to be here, you are let in; if not, you are told why."


class Session:
    """The table. In RELAYING the shell may call `client_said` and `server_said` straight, without the events."""

    __slots__ = (
        "_buffer",
        "_host",
        "_is_direct",
        "_reader",
        "_rules",
        "_scram",
        "_scram_done",
        "_server_key",
        "_server_process_id",
        "_told",
        "_unencrypted_asks",
        "_upstream",
        "_wish",
        "client_walker",
        "is_tls",
        "lease",
        "ledger",
        "records",
        "reported",
        "server_walker",
        "state",
    )

    def __init__(self, rules: SessionRules) -> None:
        self._rules = rules
        self.state = State.GREETING
        self.is_tls = False
        self.lease: Lease | None = None
        self.ledger: StatementLedger | None = None
        self.records: list[StatementRecord] = []
        self.reported: dict[str, str] = {}
        """What the server said of its settings during the login."""
        self._buffer = b""
        self._unencrypted_asks = 0
        self._is_direct = False
        self._host = ""
        self._reader: pg.MessageReader | None = None
        self._wish: Wish | None = None
        self._upstream: UpstreamOpen | None = None
        self._scram: ScramClient | None = None
        self._scram_done = False
        self._told = bytearray()
        self._server_process_id = 0
        self._server_key = b""
        self.client_walker = pg.ClientWalker()
        self.server_walker = pg.ServerWalker()

    def receive(self, event: Event) -> Commands:
        """Take one event, move, and say what is to be done.

        Raises ImpossibleEvent for an event that the state does not list; what the peer does wrong is a command to
        close, never an exception.
        """
        if self.state is State.CLOSED:
            return ()  # whatever was still under way
        step = self._TABLE[self.state].get(type(event)) or self._ALWAYS.get(type(event))
        if step is None:
            raise ImpossibleEvent(f"{type(event).__name__} in {self.state}")
        try:
            return step(self, event)
        except ProtocolViolation as violation:
            return self._refuse("08P01", f"protocol violation: {violation}", why="protocol_violation")
        except ScramError as error:
            return self._refuse(
                "08006", "the gateway could not log in to the database", detail=str(error), why="upstream_login"
            )

    @property
    def wanted(self) -> int:
        """How many bytes to read next while in GREETING: never one more, so that nothing sent before TLS is kept."""
        if len(self._buffer) < 8:
            return 8 - len(self._buffer)
        return pg.first_packet_length(self._buffer) - len(self._buffer)

    def violate(self, violation: ProtocolViolation) -> Commands:
        """The shell saw a violation while it relayed past the table."""
        return self._refuse("08P01", f"protocol violation: {violation}", why="protocol_violation")

    def be_quiet(self) -> None:
        """No statement is recorded: check and frame only."""
        self.client_walker.is_quiet = True
        self.server_walker.be_quiet()

    # --- relaying, also called straight from the shell -------------------------------------------------------------

    def client_said(self, data: bytes, now: float) -> None:
        """Walk what the client sent in RELAYING, before it is passed on; raises ProtocolViolation."""
        events = self.client_walker.feed(data)
        if events and self.ledger is not None:
            self.ledger.asked(events, now)

    def server_said(self, data: bytes, now: float) -> list[StatementRecord]:
        """Walk what the server sent in RELAYING; return the statements that ended."""
        events = self.server_walker.feed(data)
        if events and self.ledger is not None:
            return self.ledger.answered(events, now)
        return []

    # --- the first packets -------------------------------------------------------------------------------------------

    def _on_first_bytes(self, event: ClientBytes) -> Commands:
        self._buffer += event.data
        if len(self._buffer) < 8 or len(self._buffer) < (length := pg.first_packet_length(self._buffer)):
            return ()
        packet, rest = self._buffer[:length], self._buffer[length:]
        self._buffer = b""
        if rest:
            raise ProtocolViolation("more than one packet before an answer")
        match pg.read_first_packet(packet):
            case pg.SslRequest() | pg.GssEncRequest() as ask:
                return self._on_encryption_request(ask)
            case pg.CancelRequest(process_id, key):
                self.state = State.CLOSED
                return (PassCancel(process_id, key), Close("cancel_request"))
            case pg.Startup() as startup:
                return self._on_startup(startup)

    def _on_encryption_request(self, ask: pg.SslRequest | pg.GssEncRequest) -> Commands:
        self._unencrypted_asks += 1
        if self.is_tls or self._unencrypted_asks > 2:
            raise ProtocolViolation("an encryption request at the wrong time")
        if isinstance(ask, pg.SslRequest) and self._rules.offers_tls:
            self.state = State.TLS
            return (SendToClient(b"S"), StartTls())
        return (SendToClient(b"N"),)

    def _on_direct_tls(self, _: DirectTls) -> Commands:
        if not self._rules.offers_tls or self._unencrypted_asks:
            return self._close("no_tls_here")
        self.state = State.TLS
        self._is_direct = True
        return (StartTls(),)

    def _on_tls_up(self, event: TlsUp) -> Commands:
        if self._is_direct and event.alpn != "postgresql":
            # PostgreSQL 17 demands this too: it keeps a TLS client of another protocol from being led here
            return self._close("alpn_missing")
        self.is_tls = True
        self._host = event.host
        self.state = State.STARTING
        return ()

    def _on_startup(self, startup: pg.Startup) -> Commands:
        if self._rules.needs_tls and not self.is_tls:
            return self._refuse(
                "28000",
                "this gateway talks TLS only",
                hint="Connect with sslmode=require or stronger.",
                why="tls_needed",
            )
        options = [name for name in startup.parameters if name.startswith("_pq_.")]
        self._wish = read_wish(startup.parameters)
        self.state = State.AUTHENTICATING
        self._reader = pg.MessageReader(_PASSWORD_MAX)
        ask = pg.authentication_cleartext_password()
        if startup.minor_version or options:
            ask = pg.negotiate_protocol_version(options) + ask
        return (SendToClient(ask),)

    # --- who, and whether --------------------------------------------------------------------------------------------

    def _on_password(self, event: ClientBytes) -> Commands:
        reader, wish = self._reader, self._wish
        if reader is None or wish is None:
            raise ImpossibleEvent("a password before a startup packet")
        messages = reader.feed(event.data)
        if not messages:
            return ()
        (kind, body), more = messages[0], messages[1:]
        if kind == ord("X"):
            return self._close("client_left")
        if kind != ord("p") or more or reader.rest or not body.endswith(b"\0"):
            raise ProtocolViolation("something else than a password")
        self._reader = None
        self.state = State.PROVING
        return (ProveIdentity(wish.user, Secret(body[:-1].decode("utf-8", "replace"))),)

    def _on_proven(self, event: IdentityProven) -> Commands:
        wish = self._the_wish
        self.state = State.DECIDING
        return (
            Ask(
                subject=event.subject,
                database=wish.database,
                host=self._host,
                privileges=wish.privileges,
                application=wish.passed_on.get("application_name", ""),
            ),
        )

    def _on_refused(self, _: IdentityRefused) -> Commands:
        return self._refuse(
            "28P01",
            f'password authentication failed for user "{self._the_wish.user}"',
            hint=self._rules.login_hint,
            why="identity_refused",
        )

    def _on_granted(self, event: Granted) -> Commands:
        self.lease = event.lease
        self.state = State.CONNECTING
        return (OpenUpstream(lease=event.lease),)

    def _on_denied(self, event: Denied) -> Commands:
        return self._refuse(event.code, event.sentence, detail=event.detail, hint=event.hint, why="denied")

    # --- logging in to the server ------------------------------------------------------------------------------------

    def _on_upstream_open(self, event: UpstreamOpen) -> Commands:
        wish = self._the_wish
        self._upstream = event
        self._reader = pg.MessageReader()
        parameters = {"user": event.account, "database": event.database, **wish.passed_on}
        options = " ".join((*write_options(event.settings), *filter(None, [wish.passed_on.get("options")])))
        if options:
            parameters["options"] = options
        return (SendToServer(pg.startup_message(parameters)),)

    def _on_server_greets(self, event: ServerBytes) -> Commands:
        reader = self._reader
        if reader is None:
            raise ProtocolViolation("the server spoke first")
        out: Commands = ()
        messages = reader.feed(event.data)
        for index, (kind, body) in enumerate(messages):
            out += self._on_server_message(chr(kind), body)
            if self.state is State.CLOSED:
                break
            if self.state is State.RELAYING and (index + 1 < len(messages) or reader.rest):
                raise ProtocolViolation("the server went on after it was ready")
        return out

    def _on_server_message(self, kind: str, body: bytes) -> Commands:  # noqa: PLR0911  one return for each kind
        match kind:
            case "R":
                return self._on_authentication(int.from_bytes(body[:4]), body[4:])
            case "S":
                if body == b"is_superuser\0on\0":
                    return self._refuse(
                        "28000", "the account of this lease is a superuser, which must never be", why="superuser"
                    )
                name, value = body.split(b"\0")[:2]
                self.reported[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
                self._told += pg.message(b"S", body)
                return ()
            case "N":
                self._told += pg.message(b"N", body)
                return ()
            case "K":
                self._server_process_id, self._server_key = int.from_bytes(body[:4], signed=True), body[4:]
                return ()
            case "Z":
                return self._enter(body)
            case "E":
                said = pg.read_fields(body)
                return self._refuse(
                    said.get("C", "08006"), f"the database refused: {said.get('M', '')}", why="upstream_refused"
                )
            case _:
                raise ProtocolViolation(f"a message {kind!r} from the server during login")

    def _on_authentication(self, code: int, body: bytes) -> Commands:
        """The server's side of the login; whatever is not SCRAM to its end raises ScramError."""
        upstream = self._upstream
        match code:
            case 10 if upstream is not None and self._scram is None:
                offered = frozenset(word.decode("ascii", "replace") for word in body.split(b"\0") if word)
                self._scram = ScramClient(
                    keys=upstream.keys, nonce=upstream.nonce, offered=offered, binding=upstream.binding
                )
                return (SendToServer(pg.sasl_initial_response(self._scram.mechanism, self._scram.first())),)
            case 11 if self._scram is not None:
                return (SendToServer(pg.sasl_response(self._scram.final(body))),)
            case 12 if self._scram is not None:
                self._scram.check(body)
                self._scram_done = True
                return ()
            case 0 if self._scram_done:
                return ()
            case 0:
                # `trust` in pg_hba.conf: then anybody who reaches the server is anybody
                raise ScramError("the server let the account in without asking for a proof: see its pg_hba.conf")
            case _:
                raise ScramError(f"the server wants authentication method {code}, not SCRAM: see its pg_hba.conf")

    def _enter(self, ready: bytes) -> Commands:
        upstream, lease = self._upstream, self.lease
        if not self._scram_done or upstream is None or lease is None:
            raise ProtocolViolation("the server was ready before the login was complete")
        hello = (
            pg.authentication_ok()
            + bytes(self._told)
            + pg.backend_key_data(upstream.process_id, upstream.cancel_key)
            + pg.message(b"Z", ready)
        )
        self._told, self._scram, self._reader, self._upstream = bytearray(), None, None, None
        self.state = State.RELAYING
        return (
            Enter(lease=lease, server_process_id=self._server_process_id, server_key=self._server_key),
            SendToClient(hello),
        )

    # --- in session --------------------------------------------------------------------------------------------------

    def _on_client_bytes(self, event: ClientBytes) -> Commands:
        self.client_said(event.data, 0.0)
        return (SendToServer(event.data),)

    def _on_server_bytes(self, event: ServerBytes) -> Commands:
        self.records += self.server_said(event.data, 0.0)
        return (SendToClient(event.data),)

    def _on_end_is_near(self, event: EndIsNear) -> Commands:
        if not self.server_walker.is_at_boundary:
            return ()  # the shell tries again; a notice is a courtesy and never worth a broken stream
        return (SendToClient(pg.report(severity="WARNING", code="01000", text=event.sentence, is_notice=True)),)

    def _on_lease_ended(self, event: LeaseEnded) -> Commands:
        farewell = pg.report(severity="FATAL", code="57P01", text=event.sentence, detail=event.detail, hint=event.hint)
        if self.server_walker.is_at_boundary:
            self.state = State.CLOSED
            return (SendToClient(farewell), Close("lease_ended"))
        self._told = bytearray(farewell)
        self.state = State.DRAINING
        return ()

    def _on_rest_of_message(self, event: ServerBytes) -> Commands:
        """Let the message that was under way become whole, and nothing behind it, so that the farewell can be read."""
        rest = event.data[: self.server_walker.stop_of_current(event.data)]
        self.server_walker.feed(rest)
        if not self.server_walker.is_at_boundary:
            return (SendToClient(rest),)
        farewell = bytes(self._told)
        self.state = State.CLOSED
        return (SendToClient(rest), SendToClient(farewell), Close("lease_ended"))

    def _on_ignored(self, _: Event) -> Commands:
        return ()

    # --- everywhere --------------------------------------------------------------------------------------------------

    def _on_ended_early(self, event: LeaseEnded) -> Commands:
        return self._refuse("57P01", event.sentence, detail=event.detail, hint=event.hint, why="lease_ended")

    def _on_client_gone(self, _: ClientGone) -> Commands:
        return self._close("client_gone")

    def _on_server_gone(self, _: ServerGone) -> Commands:
        return self._close("server_gone")

    def _on_timed_out(self, _: TimedOut) -> Commands:
        if self.state in {State.GREETING, State.TLS}:
            return self._close("timed_out")
        return self._refuse("08006", "this took too long", why="timed_out")

    def _on_smuggled(self, event: ClientBytes) -> Commands:
        if event.data == pg.terminate():
            return self._close("client_left")
        raise ProtocolViolation("something was sent before the server was ready")

    def _refuse(self, code: str, text: str, *, why: str, detail: str = "", hint: str = "") -> Commands:
        """Say why in the protocol's own way where the client can read it, and close."""
        can_read = self.state is not State.TLS and (
            self.state is not State.RELAYING or self.server_walker.is_at_boundary
        )
        self.state = State.CLOSED
        if not can_read:
            return (Close(why),)
        return (
            SendToClient(pg.report(severity="FATAL", code=code, text=text, detail=detail, hint=hint)),
            Close(why),
        )

    def _close(self, why: str) -> Commands:
        self.state = State.CLOSED
        return (Close(why),)

    @property
    def _the_wish(self) -> Wish:
        if self._wish is None:
            raise ImpossibleEvent("no startup packet was read")
        return self._wish

    # --- the table ---

    _ALWAYS: ClassVar[Mapping[type, _Step]] = {
        LeaseEnded: _on_ended_early,
        ClientGone: _on_client_gone,
        ServerGone: _on_server_gone,
        TimedOut: _on_timed_out,
        EndIsNear: _on_ignored,
    }
    """What can happen in any state, unless the state says otherwise."""

    _TABLE: ClassVar[Mapping[State, Mapping[type, _Step]]] = {
        State.GREETING: {ClientBytes: _on_first_bytes, DirectTls: _on_direct_tls},
        State.TLS: {TlsUp: _on_tls_up},
        State.STARTING: {ClientBytes: _on_first_bytes},
        State.AUTHENTICATING: {ClientBytes: _on_password},
        State.PROVING: {
            IdentityProven: _on_proven,
            IdentityRefused: _on_refused,
            ClientBytes: _on_smuggled,
        },
        State.DECIDING: {Granted: _on_granted, Denied: _on_denied, ClientBytes: _on_smuggled},
        State.CONNECTING: {
            UpstreamOpen: _on_upstream_open,
            Denied: _on_denied,
            ServerBytes: _on_server_greets,
            ClientBytes: _on_smuggled,
        },
        State.RELAYING: {
            ClientBytes: _on_client_bytes,
            ServerBytes: _on_server_bytes,
            EndIsNear: _on_end_is_near,
            LeaseEnded: _on_lease_ended,
        },
        State.DRAINING: {
            ServerBytes: _on_rest_of_message,
            ClientBytes: _on_ignored,
            LeaseEnded: _on_ignored,
            TimedOut: _on_client_gone,
        },
        State.CLOSED: {},
    }
