"""The HTTP way in on a real socket, in a thread; only the engine, the audit log and the sync are fakes."""

import asyncio
import contextlib
import io
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

import uvloop

from tests.builders import SOURCE, index, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from watchkey.entrypoints.http.app import App
from watchkey.entrypoints.http.event_log import install
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.questions import Deciding
from watchkey.entrypoints.http.server import HttpServer, Listener
from watchkey.flows.confirm_shift import ConfirmationRules, ConfirmShift
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.login_tokens import LoginTokens
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import Synced, Waiting
from watchkey.identities.api_token import Config, build, hash_token, make_token
from watchkey.model.access import Caller, Resource
from watchkey.model.errors import Refused
from watchkey.model.ids import CallerId, ResourceId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import HeldRoster, IdentityVerifier
from watchkey.rules.directory import Directory
from watchkey.rules.roster import RosterIndex
from watchkey.stores.memory import MemoryRosters

ORDERS = ResourceId("orders-db")
BILLING = ResourceId("billing-db")
CALLERS = {
    "trusted": Caller(id=CallerId("trusted"), resources=None, is_trusted=True),
    "narrow": Caller(id=CallerId("narrow"), resources=frozenset({ORDERS}), is_trusted=True),
    "plain": Caller(id=CallerId("plain"), resources=frozenset({ORDERS})),
    "nothing": Caller(id=CallerId("nothing")),
    "admin": Caller(id=CallerId("admin"), resources=None, is_admin=True),
}
ASK = {"subject": {"id": "alice"}, "privilege": "write", "resource": "orders-db"}


@dataclass
class Sync:
    """Keeps the hints."""

    hints: list[SourceName] = field(default_factory=list)
    errors: dict[SourceName, str] = field(default_factory=dict)
    held_back: dict[SourceName, Waiting] = field(default_factory=dict)
    accepted: list[tuple[SourceName, CallerId]] = field(default_factory=list)

    def hint(self, name: SourceName) -> bool:
        self.hints.append(name)
        return True

    def last_error(self, name: SourceName) -> str | None:
        return self.errors.get(name)

    async def waiting(self, name: SourceName) -> Waiting | None:
        return self.held_back.get(name)

    async def accept(self, name: SourceName, *, caller: CallerId, digest: str) -> Synced:
        waiting = self.held_back.get(name)
        if waiting is None or waiting.digest != digest:
            raise Refused("the read is another one by now")
        self.accepted.append((name, caller))
        held = HeldRoster(index=waiting.after, revision=2, read_at=0.0)
        return Synced(held=held, change=waiting.change)


@dataclass
class Reads:
    """The rosters as they were read; a word changes none of them here."""

    rosters: MemoryRosters
    regraded: list[SourceName] = field(default_factory=list)

    def as_read(self, name: SourceName) -> RosterIndex | None:
        held = self.rosters.held().get(name)
        return None if held is None else held.index

    async def regrade(self, name: SourceName) -> bool:
        self.regraded.append(name)
        return True


class House:
    """A service to ask. `caller_tokens` has one token for each of CALLERS."""

    def __init__(self, limits: Limits | None = None, *, has_roster: bool = True) -> None:
        self.clock = DrivenClock()
        self.caller_tokens = {name: make_token() for name in CALLERS}
        self.verifier: IdentityVerifier = build(
            Config(callers=tuple((CALLERS[name], (hash_token(token),)) for name, token in self.caller_tokens.items())),
            name="callers",
            clock=self.clock,
        )
        self.rosters = MemoryRosters()
        if has_roster:
            self.rosters.swap(index(shift(), shift("PBOB", level=2)), read_at=self.clock.monotonic())
        self.audit = MemoryAudit()
        self.tokens = LoginTokens(audit=self.audit, clock=self.clock, new_secret=lambda: "person")
        self.engine = ScriptedEngine()
        self.resources: Mapping[ResourceId, Resource] = {ORDERS: resource(), BILLING: resource(id=BILLING)}
        self.request_access: Deciding = RequestAccess(
            clock=self.clock,
            rosters=self.rosters,
            engines={"default": self.engine},
            audit=self.audit,
            directory=Directory(resources=self.resources, links=links()),
            zone=UTC,
        )
        self.sync = Sync()
        self.memory = DictMemory()
        self.confirm_shift = ConfirmShift(
            clock=self.clock,
            reads=Reads(self.rosters),
            known=lambda: Directory(resources=self.resources, links=links()),
            audit=self.audit,
            words=KeepConfirmations(memory=self.memory, audit=self.audit, clock=self.clock),
            sources=(SOURCE,),
            rules=ConfirmationRules(),
        )
        self.source_names: Sequence[SourceName] = (SOURCE,)
        self.keys = (Secret("first webhook key"), Secret("second webhook key"))
        self.webhook_keys: Mapping[SourceName, Sequence[Secret]] = {SOURCE: self.keys}
        self.limits = limits or Limits(drain_s=2.0)
        self.log = io.StringIO()
        self.port = 0
        self.server: HttpServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def bearer(self, name: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.caller_tokens[name].reveal()}"}

    def on_loop(self, work: Callable[[], object]) -> None:
        """Do something in the server's thread."""
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        assert self._loop is not None
        self._loop.call_soon_threadsafe(run)
        assert done.wait(10)

    @contextlib.contextmanager
    def open(self, listener: Listener | None = None) -> Iterator["House"]:
        """Serve until the block is left."""
        started, failure = threading.Event(), []
        stop: list[asyncio.Event] = []

        async def main() -> None:
            stop.append(asyncio.Event())
            self._loop = asyncio.get_running_loop()
            app = App(self, self.limits)
            self.server = HttpServer(app, self.clock, sweep_s=0.02)
            app.metrics.connections = self.server.connections
            async with self.server.serving([listener or Listener(port=0)]):
                self.port = int(
                    self.server.urls[0].rpartition(":")[2] if not (listener and listener.unix_socket) else 0
                )
                started.set()
                await stop[0].wait()

        def thread() -> None:
            try:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(main())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread of the test
                failure.append(error)
                started.set()

        with logged(self.log):
            running = threading.Thread(target=thread)
            running.start()
            assert started.wait(10)
            if failure:
                raise failure[0]
            try:
                yield self
            finally:
                assert self._loop is not None
                self._loop.call_soon_threadsafe(stop[0].set)
                running.join(20)
            if failure:
                raise failure[0]


@contextlib.contextmanager
def logged(stream: io.StringIO) -> Iterator[None]:
    """Send the log to a stream, and restore what was before."""
    import logging

    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        install(stream)
        yield
    finally:
        root.handlers[:] = before
        root.setLevel(level)


@dataclass(frozen=True)
class Got:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, close: bool = True
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: watchkey"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def exchange(house: House, raw: bytes) -> list[Got]:
    """Send bytes as they are and read all answers until the server closes."""
    with socket.create_connection(("127.0.0.1", house.port), timeout=10) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(raw)
        return answers(sock)


def answers(sock: socket.socket) -> list[Got]:
    """All answers until the server closes."""
    raw = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            raw += chunk
    return parsed(raw)


def parsed(raw: bytes) -> list[Got]:
    """The answers in these bytes."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        found.append(Got(status=int(first.split()[1]), headers=headers, body=rest[:length]))
        raw = rest[length:]
    return found


def call(
    house: House,
    method: str,
    path: str,
    body: object = None,
    *,
    who: str | None = "trusted",
    headers: Mapping[str, str] | None = None,
) -> Got:
    """One request on its own connection; a body that is not bytes is sent as JSON."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {**(house.bearer(who) if who else {}), **(headers or {})}
    (got,) = exchange(house, request_bytes(method, path, raw, given))
    return got
