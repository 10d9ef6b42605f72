"""One client and its server: carries out what the session's table says. Any failure inside closes both sides."""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from watchkey.entrypoints.pg_gateway.judging import Judging
from watchkey.entrypoints.pg_gateway.relay import ClientSide, ServerSide
from watchkey.entrypoints.pg_gateway.statement_log import Who
from watchkey.entrypoints.pg_gateway.upstream import open_server
from watchkey.flows.guard_session import Admitted, TurnedAway
from watchkey.flows.login_tokens import Proof
from watchkey.model.access import Statement
from watchkey.model.errors import PortError
from watchkey.model.lease import LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import Account
from watchkey.rules.bound_values import Parameters
from watchkey.wire import pg_events as ev
from watchkey.wire.pg_messages import ProtocolViolation
from watchkey.wire.pg_session import Session, SessionRules, State
from watchkey.wire.pg_statements import StatementLedger, StatementRecord
from watchkey.wire.proxy_protocol import HEAD, SIGNATURE, NoProxyHeader, client_of, rest_length

log = logging.getLogger("watchkey.pg_gateway")

LOGIN_MAX: Final = 30.0
"""Seconds from the first byte to a running session; a person does not type inside it."""
FAREWELL_MAX: Final = 0.25
"""Seconds that a message under way at the end of a lease may take to become whole, so that the farewell can be read."""
FLUSH_MAX: Final = 1.0
"""Seconds that a client may take to read its last bytes before it is cut off."""


_CODES: Final = {"going_down": "57P03"}
"""SQLSTATEs of single reasons. `cannot_connect_now` has libpq try the next host of its list."""


class House(Protocol):
    """What a connection asks of its gateway."""

    session_rules: SessionRules
    tls: ssl.SSLContext | None

    def name_asked_for(self, tls: ssl.SSLObject) -> str:
        """The host name that the client gave in its TLS greeting; empty for none."""

    async def recognise(self, user: str, password: Secret) -> Proof:
        """Whose token this is; raises Refused."""

    async def admit(self, connection: "Connection", ask: ev.Ask, proof: Proof) -> Admitted | TurnedAway:
        """Decide, lease, record."""

    def entered(self, connection: "Connection") -> None:
        """The session runs."""

    def new_cancel_key(self, connection: "Connection") -> tuple[int, bytes]:
        """A number and a key of our own, both random."""

    def pass_cancel(self, process_id: int, key: bytes) -> None:
        """Cancel, if number and key fit."""

    def recorded(self, who: Who, records: list[StatementRecord]) -> None:
        """Statements ended."""

    def cut(self, server: asyncio.Transport) -> None:
        """Drop the connection to the server, as soon as all clients that are told at this moment have been told."""

    def closed(self, connection: "Connection", why: str) -> None:
        """The connection is over."""

    def passes_unread(self, resource: str) -> bool | None:
        """Whether statements that cannot be read pass; None where none is asked about."""

    async def judge(self, lease: LeaseId, statement: Statement) -> str | None:
        """Why a statement is refused, or None."""

    def audits_statements(self, resource: str) -> bool:
        """Whether statements of that resource are recorded."""


@dataclass(slots=True)
class Running:
    """What is known of a session that runs."""

    who: Who
    lease: LeaseId
    account: Account
    started_at: datetime
    server_process_id: int = 0
    server_key: bytes = b""


class Connection:
    """Owns a session's table and its two transports."""

    __slots__ = (
        "_account",
        "_client",
        "_drain",
        "_house",
        "_is_proxied",
        "_judging",
        "_login",
        "_now",
        "_proof",
        "_server",
        "_tasks",
        "application",
        "cancel_id",
        "cancel_key",
        "id",
        "is_over",
        "peer",
        "proxy",
        "running",
        "session",
    )  # fmt: skip

    def __init__(self, house: House, peer: str, *, is_proxied: bool = False) -> None:
        """`is_proxied`: the peer is a balancer, which must say first who its client is."""
        self._house = house
        self.peer = peer
        self._is_proxied = is_proxied
        self.proxy = ""
        self.id = secrets.token_hex(8)
        self.session = Session(house.session_rules)
        self.running: Running | None = None
        self.application = ""
        self.cancel_id = 0
        self.cancel_key = b""
        self._client: ClientSide | None = None
        self._server: ServerSide | None = None
        self._account: Account | None = None
        self._judging: Judging | None = None
        self._proof: Proof | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._login: asyncio.TimerHandle | None = None
        self._drain: asyncio.TimerHandle | None = None
        self.is_over = False
        self._now = time.monotonic

    # --- the way in ------------------------------------------------------------------------------------------------

    async def greet(self, sock: socket.socket) -> None:
        """Read the first packets straight from the socket, never a byte too many, then hand it to a transport."""
        try:
            async with asyncio.timeout(LOGIN_MAX):
                await self._greet(sock)
        except (OSError, TimeoutError, ProtocolViolation, NoProxyHeader, ssl.SSLError) as error:
            log.info("client.lost_in_greeting", extra={"peer": self.peer, "error": str(error)})
            self._over("lost_in_greeting")
        except Exception:
            log.exception("client.greeting_failed")
            self._over("failed")
        finally:
            if self._client is None or self._client.transport is None:
                sock.close()

    async def _greet(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._is_proxied:
            self.proxy, self.peer = self.peer, await _proxied_client(sock) or self.peer
        first = await _peek(sock)
        commands = self.session.receive(ev.DirectTls()) if first == b"\x16" else ()
        while True:
            if self.session.state is State.GREETING and not commands:
                data = await loop.sock_recv(sock, self.session.wanted)
                if not data:
                    self._over("client_gone")
                    return
                commands = self.session.receive(ev.ClientBytes(data))
            for command in commands:
                match command:
                    case ev.SendToClient(data):
                        await loop.sock_sendall(sock, data)
                    case ev.PassCancel(process_id, key):
                        self._house.pass_cancel(process_id, key)
                    case ev.Close(why):
                        self._over(why)
                        return
                    case ev.StartTls():
                        await self._take_over(sock, self._house.tls)
                        return
                    case _:
                        raise RuntimeError(f"{command} in a greeting")
            commands = ()
            if self.session.state is not State.GREETING:
                await self._take_over(sock, None)
                return

    async def _take_over(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        # known before the transport is: it may read, and be refused, before the next line runs
        side = self._client = ClientSide(self)
        self._login = loop.call_later(LOGIN_MAX, self.feed, ev.TimedOut())
        # a client that is busy sending never answers the end of TLS: it must not stay connected for that
        patience = FLUSH_MAX if tls is not None else None
        transport, _ = await loop.connect_accepted_socket(lambda: side, sock, ssl=tls, ssl_shutdown_timeout=patience)
        if self.is_over and not transport.is_closing():
            transport.close()
        if tls is not None:
            peer = transport.get_extra_info("ssl_object")
            self.feed(ev.TlsUp(peer.selected_alpn_protocol(), self._house.name_asked_for(peer)))

    # --- what the sides say ----------------------------------------------------------------------------------------

    def client_sent(self, data: bytes) -> None:
        """See `relay.Owner`."""
        if self.session.state is State.TLS:
            # the handshake is done and its first data came before connect_accepted_socket returned
            asyncio.get_running_loop().call_soon(self.client_sent, data)
            return
        if self._judging is not None and self.session.state is State.RELAYING:
            self._judge(self._judging.client_sent, data)
            return
        self.feed(ev.ClientBytes(data))

    def server_sent(self, data: bytes) -> None:
        """See `relay.Owner`."""
        if self._judging is not None and self.session.state is State.RELAYING:
            self._judge(self._judging.server_sent, data)
            return
        self.feed(ev.ServerBytes(data))

    def _judge(self, step: Callable[[bytes], None], data: bytes) -> None:
        try:
            step(data)
        except ProtocolViolation as violation:
            self.violated(violation)
        except Exception:
            log.exception("session.failed", extra={"session": self.id})
            self._over("failed")

    def client_lost(self) -> None:
        """See `relay.Owner`."""
        self.feed(ev.ClientGone())

    def server_lost(self) -> None:
        """See `relay.Owner`."""
        self.feed(ev.ServerGone())

    def violated(self, violation: ProtocolViolation) -> None:
        """See `relay.Owner`."""
        log.warning("client.violation", extra={"session": self.id, "violation": str(violation)})
        self._stop_relaying()
        self._perform(self.session.violate(violation))

    def recorded(self, records: list[StatementRecord]) -> None:
        """See `relay.Owner`."""
        if self.running is not None:
            self._house.recorded(self.running.who, records)

    # --- what the gateway says -------------------------------------------------------------------------------------

    def end(self, sentence: str) -> None:
        """The lease is over."""
        self._stop_relaying()
        self.feed(ev.LeaseEnded(sentence=sentence, hint=self._house.session_rules.end_hint))
        if self.session.state is State.DRAINING:
            self._drain = asyncio.get_running_loop().call_later(FAREWELL_MAX, self.feed, ev.TimedOut())

    def warn(self, sentence: str) -> None:
        """The lease ends soon."""
        self.feed(ev.EndIsNear(sentence))

    def hold(self, is_held: bool) -> None:  # noqa: FBT001  a switch, and nothing else
        """Stop reading from the client, or go on."""
        side = self._client
        if side is None or side.transport is None or side.transport.is_closing():
            return
        if is_held:
            side.transport.pause_reading()
        else:
            side.transport.resume_reading()

    # --- the table -------------------------------------------------------------------------------------------------

    def feed(self, event: ev.Event) -> None:
        """Give the table an event and carry out what it says."""
        if self.is_over:
            return
        try:
            self._perform(self.session.receive(event))
        except Exception:
            log.exception("session.failed", extra={"session": self.id})
            self._over("failed")

    def _perform(self, commands: ev.Commands) -> None:
        for command in commands:
            match command:
                case ev.SendToClient(data):
                    self._write_client(data)
                case ev.SendToServer(data):
                    self._write_server(data)
                case ev.Close(why):
                    self._over(why)
                case ev.PassCancel(process_id, key):  # from drivers that cancel inside of TLS
                    self._house.pass_cancel(process_id, key)
                case ev.ProveIdentity(user, password):
                    self._spawn(self._prove(user, password))
                case ev.Ask():
                    self._spawn(self._ask(command))
                case ev.OpenUpstream():
                    self._spawn(self._open_upstream())
                case ev.Enter():
                    self._enter(command)
                case _:
                    raise RuntimeError(f"{command} outside of a greeting")

    async def _prove(self, user: str, password: Secret) -> None:
        try:
            self._proof = await self._house.recognise(user, password)
        except PortError:
            self.feed(ev.IdentityRefused())
            return
        self.feed(ev.IdentityProven(self._proof.subject.id))

    async def _ask(self, ask: ev.Ask) -> None:
        if self._proof is None:
            raise RuntimeError("a question without a proof")
        self.application = ask.application
        match await self._house.admit(self, ask, self._proof):
            case Admitted(lease=lease, account=account):
                self._account = account
                self.feed(ev.Granted(lease))
            case TurnedAway(sentence=sentence, reason=reason, is_fault=is_fault):
                self.feed(
                    ev.Denied(
                        sentence=sentence,
                        code=_CODES.get(reason, "53300" if is_fault else "28000"),
                        detail=f"reason: {reason}",
                        hint=self._house.session_rules.deny_hint,
                    )
                )

    async def _open_upstream(self) -> None:
        account = self._account
        if account is None:
            raise RuntimeError("no account to log in with")
        side = ServerSide(self)
        self._server = side
        try:
            _, _, binding = await open_server(account.endpoint, lambda: side)
        except PortError as error:
            self.feed(ev.Denied(sentence=str(error), code="08006"))
            return
        self.cancel_id, self.cancel_key = self._house.new_cancel_key(self)
        self.feed(
            ev.UpstreamOpen(
                account=account.name,
                database=account.endpoint.database,
                keys=account.keys,
                nonce=secrets.token_urlsafe(24),
                binding=binding,
                process_id=self.cancel_id,
                cancel_key=self.cancel_key,
                settings=account.settings,
            )
        )

    def _enter(self, enter: ev.Enter) -> None:
        client, server, running = self._client, self._server, self.running
        if client is None or server is None or running is None or client.transport is None or server.transport is None:
            raise RuntimeError("a session without its two sides")
        running.server_process_id, running.server_key = enter.server_process_id, enter.server_key
        if self._login is not None:
            self._login.cancel()
        if self._house.audits_statements(enter.lease.resource):
            self.session.ledger = StatementLedger()
            # by the resource and not by the listener: what one resource records is not recorded of its neighbour
            self.session.client_walker.wants_values = running.who.parameters is not Parameters.OFF
        else:
            self.session.be_quiet()
        client.relay_to(server.transport, self.session, self._now)
        server.relay_to(client.transport, self.session, self._now)
        passes_unread = self._house.passes_unread(enter.lease.resource)
        if passes_unread is not None:
            self._begin_judging(running, passes_unread=passes_unread)
        self._house.entered(self)

    def _begin_judging(self, running: Running, *, passes_unread: bool) -> None:
        """From here on every byte goes by way of the judging, and none by the sides' short cut."""
        self._stop_relaying()
        lease = running.lease
        self._judging = Judging(
            _Pipes(self),
            lambda statement: self._house.judge(lease, statement),
            passes_unread=passes_unread,
            reported=self.session.reported,
            hint=self._house.session_rules.deny_hint,
        )

    # --- the end ---------------------------------------------------------------------------------------------------

    def _stop_relaying(self) -> None:
        for side in (self._client, self._server):
            if side is not None:
                side.is_relaying = False

    def _over(self, why: str) -> None:
        """Close both sides. The client may still read what was written, for a moment; the server is cut at once."""
        if self.is_over:
            return
        self.is_over = True
        self._stop_relaying()
        for timer in (self._login, self._drain):
            if timer is not None:
                timer.cancel()
        server = self._server.transport if self._server is not None else None
        if server is not None:
            self._house.cut(server)
        client = self._client.transport if self._client is not None else None
        if client is not None and not client.is_closing():
            client.close()
            if client.get_write_buffer_size():
                asyncio.get_running_loop().call_later(FLUSH_MAX, client.abort)
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._house.closed(self, why)

    def abandoned(self) -> list[StatementRecord]:
        """Statements that the server never answered; asked for once, after the end."""
        return self.session.ledger.abandoned(self._now()) if self.session.ledger is not None else []

    # --- small -----------------------------------------------------------------------------------------------------

    def _write_client(self, data: bytes) -> None:
        if self._client is not None and self._client.transport is not None:
            self._client.transport.write(data)

    def _write_server(self, data: bytes) -> None:
        if self._server is not None and self._server.transport is not None:
            self._server.transport.write(data)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("session.step_failed", extra={"session": self.id})
                self._over("failed")

        task = asyncio.get_running_loop().create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Pipes:
    """See `judging.Pipes`. Nothing reaches the server once the session does not run any more."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def to_server(self, data: bytes) -> None:
        if self._connection.session.state is State.RELAYING:
            self._connection._write_server(data)  # noqa: SLF001 -- a part of it

    def to_client(self, data: bytes) -> None:
        self._connection._write_client(data)  # noqa: SLF001 -- same

    def client_said(self, data: bytes) -> None:
        self._connection.session.client_said(data, self._connection._now())  # noqa: SLF001 -- same

    def server_said(self, data: bytes) -> None:
        records = self._connection.session.server_said(data, self._connection._now())  # noqa: SLF001 -- same
        if records:
            self._connection.recorded(records)

    def hold_client(self, *, is_held: bool) -> None:
        self._connection.hold(is_held)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        self._connection._spawn(work)  # noqa: SLF001 -- same


async def _proxied_client(sock: socket.socket) -> str | None:
    """Read the header that the balancer sends first, to its last byte and no further; raises NoProxyHeader."""
    loop, head, rest = asyncio.get_running_loop(), b"", b""
    while len(head) < HEAD:
        data = await loop.sock_recv(sock, HEAD - len(head))
        head += data
        if not data or not SIGNATURE.startswith(head[: len(SIGNATURE)]):
            raise NoProxyHeader("no PROXY header of version 2, where one is demanded")
    length = rest_length(head)
    while len(rest) < length:
        data = await loop.sock_recv(sock, length - len(rest))
        if not data:
            raise NoProxyHeader("a PROXY header that is cut")
        rest += data
    return client_of(head, rest)


async def _peek(sock: socket.socket) -> bytes:
    """Wait for the first byte and leave it where it is."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(sock, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock)
    with contextlib.suppress(BlockingIOError):
        return sock.recv(1, socket.MSG_PEEK)
    return b""
