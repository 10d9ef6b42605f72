"""The gateway itself: listens, knows who is in, and ends them when their lease ends."""

import asyncio
import hmac
import ipaddress
import logging
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from watchkey.entrypoints.pg_gateway.connection import Connection, Running
from watchkey.entrypoints.pg_gateway.statement_log import LogRules, StatementLog, Who
from watchkey.entrypoints.pg_gateway.upstream import send_cancel
from watchkey.flows.guard_session import Admitted, Door, Entry, TurnedAway
from watchkey.flows.login_tokens import Proof
from watchkey.model.access import Statement
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Clock
from watchkey.rules.bound_values import Parameters
from watchkey.wire import pg_events as ev
from watchkey.wire.pg_session import SessionRules, State
from watchkey.wire.pg_statements import StatementRecord

log = logging.getLogger("watchkey.pg_gateway")

GREETINGS_MAX: Final = 256
"""Clients that have not logged in yet, at a time; the next ones wait in the listen queue."""


CLOSE_MAX: Final = 10.0
"""Seconds that an orderly end waits for the last records."""
PROCESSES_MAX: Final = 128
DRAIN_LOOK: Final = 0.1
"""Seconds between two looks at whether the last session has left."""
CUT_AFTER: Final = 0.01
NOTE_AFTER: Final = 0.02
"""Seconds from the end of a session to its record."""
CUT_GROUP: Final = 50
"""Servers are dropped so many at a time, so many seconds apart; the target's own `shut` ends them besides."""


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Trace(StrEnum):
    """How much of a resource's sessions is recorded."""

    OFF = "off"
    CONNECTIONS = "connections"
    STATEMENTS = "statements"
    FULL = "full"
    """Bound parameters too, unless `parameters` says otherwise."""


class StatementPolicy(StrEnum):
    """Whether the policy is asked about each statement, and what becomes of one that cannot be read."""

    OFF = "off"
    DENY_UNREAD = "deny_unread"
    ALLOW_UNREAD = "allow_unread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A database name that clients may ask for, and the resource that it is."""

    resource: ResourceId
    trace: Trace = Trace.STATEMENTS
    parameters: Parameters = Parameters.OFF
    """Of statements that are recorded."""
    judging: StatementPolicy = StatementPolicy.OFF


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayRules:
    """Where the gateway listens, and for what."""

    host: str = "127.0.0.1"
    port: int = 6432
    databases: Mapping[str, Database]
    tls: ssl.SSLContext | None
    """None is accepted on loopback only."""
    statements: LogRules = field(default_factory=lambda: LogRules(path=Path("statements.jsonl")))
    deny_hint: str = "Ask whoever is on call, or have an incident opened and join it."
    hosts: Mapping[str, str] = field(default_factory=dict)
    """By the host name of the TLS greeting: one of `databases`."""
    proxies: tuple[Network, ...] = ()
    """Balancers that must send a PROXY header, and whose word about the client's address is taken."""
    drain_max: timedelta = timedelta(seconds=20)
    """How long sessions may go on after the first SIGTERM."""
    reuse_port: bool = False
    """Several processes may listen on one port."""
    number: int = 0
    """Which of them this is, below `PROCESSES_MAX`: the numbers that clients ask for cancels with say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """One session, for people."""

    id: str
    subject: str
    resource: str
    lease: str
    account: str
    is_shared: bool
    """The account is not the person's own."""
    client: str
    application: str
    fact: str
    started_at: datetime
    ends_at: datetime
    running: str
    transaction: str


class HasLease(Protocol):
    """A lease in use."""

    lease: Lease


class Guard(Protocol):
    """Who decides, holds the leases and ends them: in this process, or at the other end of a worker's socket."""

    door: Door
    is_draining: bool

    @property
    def held(self) -> Sequence[HasLease]:
        """The leases in use."""
        ...

    async def admit(self, entry: Entry) -> Admitted | TurnedAway:
        """Decide, and count a session."""
        ...

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """A session runs in that process of the server. Raises port errors; then the session must end."""
        ...

    async def judge(self, lease: LeaseId, statement: Statement) -> str | None:
        """Why this statement is refused under the lease, or None."""
        ...

    def left(self, lease: LeaseId) -> None:
        """One session of the lease is over."""
        ...

    async def run(self) -> None:
        """Watch until cancelled."""
        ...

    async def close(self) -> None:
        """End every lease."""
        ...


class Tokens(Protocol):
    """Who knows whose token it is."""

    def recognise(self, token: Secret) -> Proof | Awaitable[Proof]:
        """At once, or from somewhere else. Raises Refused."""
        ...


class Gateway:
    """Start it, and it serves until closed. It is the `Door` of its guard."""

    def __init__(
        self, rules: GatewayRules, *, guard: Guard, tokens: Tokens, audit: AuditLog, clock: Clock,
        caller: CallerId,
    ) -> None:  # fmt: skip
        refuse_in_clear(rules)
        self._rules = rules
        self._guard = guard
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._caller = caller
        self.tls = rules.tls
        self.session_rules = SessionRules(
            offers_tls=rules.tls is not None,
            needs_tls=rules.tls is not None,
            deny_hint=rules.deny_hint,
        )
        self._by_resource = {database.resource: database for database in rules.databases.values()}
        # people know the resource's name, tools the database's: either will do
        self._by_host = {host.lower(): rules.databases[name] for host, name in rules.hosts.items()}
        self._hosts_asked_for: WeakKeyDictionary[ssl.SSLObject, str] = WeakKeyDictionary()
        if rules.tls is not None and rules.hosts:
            # the stubs know sockets only
            rules.tls.sni_callback = cast("Any", self._asked_for)
        self._by_name = {**{str(name): database for name, database in self._by_resource.items()}, **rules.databases}
        hashes = any(database.parameters is Parameters.HASHED for database in rules.databases.values())
        log_rules = replace(rules.statements, has_hashes=hashes)
        self._log = StatementLog(log_rules, audit=audit, clock=clock, caller=caller, on_pressure=self._hold_all)
        self._by_lease: dict[LeaseId, set[Connection]] = {}
        self._by_cancel_id: dict[int, Connection] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._to_cut: list[asyncio.Transport] = []
        self._greetings = asyncio.Semaphore(GREETINGS_MAX)
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None
        self.port = rules.port
        self.pass_cancel_on: Callable[[int, bytes], None] = _nobody_elses
        """Takes requests to cancel what another process of this gateway has."""

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises OSError when the port cannot be had."""
        self._listener = _listen(self._rules)
        self.port = self._listener.getsockname()[1]
        self._guard.door = self
        self._log.start()
        self._guarding = asyncio.create_task(self._guard.run())
        self._accepting = asyncio.create_task(self._accept(self._listener))

    async def drain(self) -> None:
        """Take no new sessions; return when the last one has left or was ended, or when `drain_max` is over.

        It goes on listening: who comes is told why not, and who is in can still cancel a statement.
        """
        self._guard.is_draining = True
        give_up = self._clock.monotonic() + self._rules.drain_max.total_seconds()
        log.info("gateway.draining", extra={"address": self.address, "count": len(self._connections)})
        if self._rules.drain_max:
            latest = f"{self._clock.now() + self._rules.drain_max:%H:%M:%S} UTC"
            for connection in self._connections:
                connection.warn(f"this gateway is going down; your session ends at {latest} at the latest")
        while self._by_lease and self._clock.monotonic() < give_up:
            await self._clock.sleep(min(DRAIN_LOOK, max(0.0, give_up - self._clock.monotonic())))

    async def close(self) -> None:
        """End everything: sessions, leases, accounts, and write the last lines of the trace."""
        await self._stop_listening()
        await self._guard.close()
        if self._guarding is not None:
            self._guarding.cancel()
            await asyncio.gather(self._guarding, return_exceptions=True)
        for connection in self._connections:
            connection.end("the gateway is going down")
        give_up = self._clock.monotonic() + CLOSE_MAX
        while self._tasks and self._clock.monotonic() < give_up:  # a task may leave another behind
            await asyncio.wait(self._tasks, timeout=CLOSE_MAX)
        await self._log.close()

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        if listener is not None:
            listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._greetings.acquire()
            try:
                sock, address = await loop.sock_accept(listener)
            except OSError as error:
                self._greetings.release()
                log.error("gateway.accept_failed", extra={"error": str(error)})  # noqa: TRY400  the text says it all
                await asyncio.sleep(0.1)
                continue
            sock.setblocking(False)
            peer = f"{address[0]}:{address[1]}"
            connection = Connection(self, peer, is_proxied=_is_among(address[0], self._rules.proxies))
            task = self._spawn(connection.greet(sock))
            task.add_done_callback(lambda _: self._greetings.release())

    @property
    def address(self) -> str:
        """`postgresql://127.0.0.1:6432`."""
        return f"postgresql://{self._rules.host}:{self.port}"

    # --- the door --------------------------------------------------------------------------------------------------

    def end(self, lease: LeaseId, sentence: str) -> int:
        """See `guard_session.Door`."""
        connections = list(self._by_lease.get(lease, ()))
        for connection in connections:
            connection.end(sentence)
        return len(connections)

    def warn(self, lease: LeaseId, sentence: str) -> None:
        """See `guard_session.Door`."""
        for connection in list(self._by_lease.get(lease, ())):
            connection.warn(sentence)

    async def told(self, leases: Sequence[LeaseId]) -> None:
        """See `guard_session.Door`: `end` has told them before it returned."""

    def renewed(self, lease: Lease, words: str) -> None:
        """See `guard_session.Door`: in the process of the guard nothing is to be done."""

    # --- the house of a connection -----------------------------------------------------------------------------------

    async def recognise(self, user: str, password: Secret) -> Proof:
        """Whose token this is. The user name must be that person's, whole or up to the `@`; raises Refused."""
        found = self._tokens.recognise(password)
        proof = found if isinstance(found, Proof) else await found
        if user not in {proof.subject.id, proof.subject.id.partition("@")[0]}:
            raise Refused("this token proves nobody")
        return proof

    async def admit(self, connection: Connection, ask: ev.Ask, proof: Proof) -> Admitted | TurnedAway:
        """Find the resource, ask the guard, and have the session in the audit log before it begins."""
        database = self._database(ask)
        if isinstance(database, TurnedAway):
            return database
        privileges = None if ask.privileges is None else tuple(map(PrivilegeName, ask.privileges))
        answer = await self._guard.admit(
            Entry(
                subject=proof.subject,
                issuer=proof.issuer,
                resource=database.resource,
                privileges=privileges,
                client=connection.peer,
            )
        )
        if isinstance(answer, TurnedAway):
            return answer
        lease = answer.lease
        if connection.is_over:  # the client left meanwhile
            self._guard.left(lease.id)
            return TurnedAway(sentence="the client left", reason="client_gone")
        connection.running = Running(
            who=Who(
                session=connection.id,
                lease=lease.id,
                subject=proof.subject.id,
                resource=lease.resource,
                account=answer.account.name,
                fact=lease.sentence,
                parameters=database.parameters,
            ),
            lease=lease.id,
            account=answer.account,
            started_at=self._clock.now(),
        )
        # from here on an ending of the lease reaches this connection, although it is not in session yet
        self._by_lease.setdefault(lease.id, set()).add(connection)
        if database.trace is not Trace.OFF:
            try:
                shared = {"account": answer.account.name, "shared_account": True} if answer.account.is_shared else {}
                await self._note(connection, "session.opened", application=connection.application, **shared)
            except PortError as error:
                return TurnedAway(
                    sentence=f"nothing can be recorded: {error}", reason="audit_unavailable", is_fault=True
                )
        return answer

    def _database(self, ask: ev.Ask) -> Database | TurnedAway:
        """By the host name of the TLS greeting if it is one of ours, else by the database's; they must not disagree."""
        by_host, by_name = self._by_host.get(ask.host.lower()), self._by_name.get(ask.database)
        if by_host is None and by_name is None:
            what = f'there is no database "{ask.database}" behind this gateway'
            return TurnedAway(sentence=what, reason="unknown_resource")
        if by_host is not None and by_name is not None and by_host.resource != by_name.resource:
            what = f'the host name {ask.host} and the database "{ask.database}" are two different databases here'
            return TurnedAway(sentence=what, reason="unknown_resource")
        chosen = by_host or by_name
        if chosen is None:
            raise RuntimeError("neither name is known")
        return chosen

    def name_asked_for(self, tls: ssl.SSLObject) -> str:
        """See `connection.House`."""
        return self._hosts_asked_for.pop(tls, "")

    def _asked_for(self, tls: ssl.SSLObject, host: str | None, _context: ssl.SSLContext) -> None:
        if host:
            self._hosts_asked_for[tls] = host

    def entered(self, connection: Connection) -> None:
        """See `connection.House`."""
        log.info("session.entered", extra={"session": connection.id})
        if connection.running is not None and connection.running.account.is_shared:
            self._spawn(self._attach(connection, connection.running))

    async def _attach(self, connection: Connection, running: Running) -> None:
        """Have the target know which of the account's sessions is ours; one that it cannot end must not go on."""
        try:
            await self._guard.entered(running.lease, running.server_process_id)
        except PortError as error:
            log.error("session.not_attached", extra={"session": connection.id, "error": str(error)})  # noqa: TRY400  the text says it all
            connection.end("the gateway cannot watch over this session; connect again in a moment")

    def new_cancel_key(self, connection: Connection) -> tuple[int, bytes]:
        """See `connection.House`."""
        while True:
            process_id = (secrets.randbelow(0x7FFFFFFF // PROCESSES_MAX) + 1) * PROCESSES_MAX + self._rules.number
            if process_id not in self._by_cancel_id:
                self._by_cancel_id[process_id] = connection
                return process_id, secrets.token_bytes(4)

    def pass_cancel(self, process_id: int, key: bytes) -> None:
        """See `connection.House`. Nothing tells the asker whether it fitted."""
        if process_id % PROCESSES_MAX != self._rules.number:
            self.pass_cancel_on(process_id, key)
            return
        connection = self._by_cancel_id.get(process_id)
        known = connection.cancel_key if connection is not None else b"\0\0\0\0"
        if not hmac.compare_digest(key, known) or connection is None or connection.running is None:
            return
        if connection.session.state is not State.RELAYING:
            return
        running = connection.running

        async def send() -> None:
            try:
                await send_cancel(running.account.endpoint, running.server_process_id, running.server_key)
            except PortError as error:
                log.warning("cancel.lost", extra={"error": str(error)})

        self._spawn(send())

    def audits_statements(self, resource: str) -> bool:
        """See `connection.House`."""
        return self._by_resource[ResourceId(resource)].trace in {Trace.STATEMENTS, Trace.FULL}

    def passes_unread(self, resource: str) -> bool | None:
        """See `connection.House`."""
        policy = self._by_resource[ResourceId(resource)].judging
        return None if policy is StatementPolicy.OFF else policy is StatementPolicy.ALLOW_UNREAD

    async def judge(self, lease: LeaseId, statement: Statement) -> str | None:
        """See `connection.House`."""
        return await self._guard.judge(lease, statement)

    def recorded(self, who: Who, records: list[StatementRecord]) -> None:
        """See `connection.House`."""
        self._log.add(who, records)

    def cut(self, server: asyncio.Transport) -> None:
        """See `connection.House`.

        A server process that ends takes more of the machine than a client that is told; a thousand of them at once
        would keep the last clients waiting. So the clients come first, and the servers follow in small groups.
        """
        self._to_cut.append(server)
        if len(self._to_cut) == 1:
            asyncio.get_running_loop().call_later(CUT_AFTER, self._cut_some)

    def _cut_some(self) -> None:
        group, self._to_cut = self._to_cut[:CUT_GROUP], self._to_cut[CUT_GROUP:]
        for server in group:
            server.abort()
        if self._to_cut:
            asyncio.get_running_loop().call_later(CUT_AFTER, self._cut_some)

    def closed(self, connection: Connection, why: str) -> None:
        """See `connection.House`."""
        self._by_cancel_id.pop(connection.cancel_id, None)
        running = connection.running
        if running is None:
            return
        mine = self._by_lease.get(running.lease)
        if mine is not None:
            mine.discard(connection)
            if not mine:
                del self._by_lease[running.lease]
        self._guard.left(running.lease)
        self._spawn(self._note_end(connection, why))

    # --- looking in --------------------------------------------------------------------------------------------------

    def sessions(self) -> list[SessionView]:
        """Who is in."""
        ends = {held.lease.id: held.lease.ends_at for held in self._guard.held}
        return [
            _view(connection, connection.running, ends[lease])
            for lease, connections in self._by_lease.items()
            for connection in connections
            if connection.running is not None and lease in ends
        ]

    def end_session(self, session: str, *, by: str, why: str) -> bool:
        """End one session; the lease goes on. Returns whether there was one."""
        for connections in self._by_lease.values():
            for connection in connections:
                if connection.id == session:
                    connection.end(f"your session was ended by {by}: {why}")
                    return True
        return False

    # --- small -------------------------------------------------------------------------------------------------------

    @property
    def _connections(self) -> list[Connection]:
        return [connection for connections in self._by_lease.values() for connection in connections]

    def _hold_all(self, is_held: bool) -> None:  # noqa: FBT001  a switch, and nothing else
        for connection in self._connections:
            connection.hold(is_held)

    async def _note_end(self, connection: Connection, why: str) -> None:
        running = connection.running
        if running is None or self._by_resource[ResourceId(running.who.resource)].trace is Trace.OFF:
            return
        # a thousand ends at once: each client sees its connection close before the first of them is written down
        await asyncio.sleep(NOTE_AFTER)
        self._log.add(running.who, connection.abandoned())
        try:
            await self._log.flush()  # the statements are in the log before the end of their session is
            await self._note(connection, "session.ended", why=why)
        except (PortError, OSError) as error:
            log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  the text says it all

    async def _note(self, connection: Connection, what: str, **fields: Any) -> None:
        running = connection.running
        if running is None:
            return
        who = running.who
        if connection.proxy:
            fields["proxy"] = connection.proxy
        await self._audit.append(
            Noted(
                at=self._clock.now(),
                what=what,
                caller=self._caller,
                fields={
                    "session": who.session,
                    "lease": who.lease,
                    "subject": who.subject,
                    "resource": who.resource,
                    "client": connection.peer,
                    **fields,
                },
            )
        )

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _nobody_elses(process_id: int, key: bytes) -> None:
    del process_id, key


def refuse_in_clear(rules: GatewayRules) -> None:
    """Raises Refused for a place that others reach, without TLS."""
    if rules.tls is None and rules.host not in {"127.0.0.1", "::1", "localhost"}:
        raise Refused("without TLS the gateway listens on loopback only: passwords would travel in clear")


def server_tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS towards clients: 1.2 and up, and the protocol's own ALPN name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["postgresql"])
    return context


def _is_among(address: str, networks: Sequence[Network]) -> bool:
    if not networks:
        return False
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any((mapped or parsed) in network for network in networks)


def reserve_port(rules: GatewayRules) -> socket.socket:
    """Bind a socket to the gateway's place, without listening. Raises OSError, also when somebody listens there.

    `SO_REUSEPORT` alone would share the place with whoever of our user has it, and each would get some clients.
    """
    family = socket.AF_INET6 if ":" in rules.host else socket.AF_INET
    if rules.port:
        with socket.socket(family, socket.SOCK_STREAM) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((rules.host, rules.port))
    place = socket.socket(family, socket.SOCK_STREAM)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind((rules.host, rules.port))
    except BaseException:
        place.close()
        raise
    return place


def _listen(rules: GatewayRules) -> socket.socket:
    family = socket.AF_INET6 if ":" in rules.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if rules.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((rules.host, rules.port))
        listener.listen(512)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _view(connection: Connection, running: Running, ends_at: datetime) -> SessionView:
    ledger = connection.session.ledger
    now_running = ledger.running if ledger is not None else None
    return SessionView(
        id=connection.id,
        subject=running.who.subject,
        resource=running.who.resource,
        lease=running.lease,
        account=running.account.name,
        is_shared=running.account.is_shared,
        client=connection.peer,
        application=connection.application,
        fact=running.who.fact,
        started_at=running.started_at,
        ends_at=ends_at,
        running=now_running.kept[:200].decode("utf-8", "replace") if now_running is not None else "",
        transaction=ledger.status if ledger is not None else "",
    )
