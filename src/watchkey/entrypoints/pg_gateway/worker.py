"""A worker process of the gateway: takes connections and relays; whatever is decided or kept, the service does.

It serves with the very same `Gateway`, whose guard, tokens and audit log are here the other end of a socket. It keeps
nothing alive by itself: it ends each lease by its own clock, and without the service it ends everything and dies.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import msgspec

from watchkey.entrypoints.pg_gateway import worker_messages as say
from watchkey.entrypoints.pg_gateway.config import rules_of
from watchkey.entrypoints.pg_gateway.gateway import Gateway, SessionView
from watchkey.entrypoints.pg_gateway.statement_log import log_of_worker
from watchkey.flows.guard_session import Admitted, Door, Entry, NoDoor, TurnedAway, farewell
from watchkey.flows.login_tokens import Proof
from watchkey.model.access import Caller, Statement, Subject
from watchkey.model.audit import AuditEvent, Noted
from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.model.ids import CallerId, SubjectId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import Clock

log = logging.getLogger("watchkey.pg_worker")

LOOK_EVERY: Final = 0.25
"""Seconds between two looks at the clock, at most; a due lease is looked at on its instant."""
TELL_EVERY: Final = 1.0
"""Seconds between two reports of who is in and what runs."""
TELL_AFTER: Final = 0.05
"""Seconds from a coming or going to its report."""
OVER_KEPT: Final = 4096
"""So many ended leases are remembered, for answers that were under way when they ended."""
ALONE_MAX: Final = 2.0
"""Seconds from the loss of the service to our own death, at most."""


class SystemClock:
    """The machine's time; a worker is a program of its own."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)  # noqa: TID251 -- this process's one clock

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Come back later."""
        await asyncio.sleep(seconds)


class Service:
    """The service, as a worker sees it: asks it, and waits for the answers."""

    def __init__(self, link: say.Link) -> None:
        self.link = link
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[say.Answer]] = {}

    async def ask(self, make: Callable[[int], msgspec.Struct]) -> Any:
        """Send a question under a number of its own. Raises what the service says, Unavailable when it is gone."""
        number = next(self._numbers)
        answer: asyncio.Future[say.Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            await self.link.send(make(number))
            found = await answer
        finally:
            del self._waiting[number]
        if isinstance(found, say.Failed):
            raise Refused(found.error) if found.is_refused else Unavailable(found.error)
        return found

    def answered(self, answer: "say.Answer") -> None:
        """An answer came. One that nobody waits for any more is dropped."""
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def lost(self) -> None:
        """There will be no more answers."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unavailable("the service is gone"))


class ServiceTokens:
    """Whose token it is."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def recognise(self, token: Secret) -> Proof:
        """Raises Refused. Which resources the issuer covers stays with the service, which looks."""
        found: say.Proven = await self._service.ask(lambda number: say.Prove(number, token.reveal()))
        subject = Subject(id=SubjectId(found.subject), groups=frozenset(found.groups))
        return Proof(subject=subject, issuer=Caller(id=CallerId(found.issuer)))


class ServiceAudit:
    """The audit log, as far as a worker may write into it: its sessions and its batches of statements."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def append(self, event: AuditEvent) -> int:
        """Return when it is durable. Raises Unavailable, or Refused for what a worker may not record."""
        if not isinstance(event, Noted):
            raise Refused("a worker records its sessions only")
        fields = dict(event.fields)
        done: say.Done = await self._service.ask(lambda number: say.Record(number, event.what, fields))
        return done.entry


@dataclass(slots=True, kw_only=True)
class Here:
    """A lease that has sessions in this process. `words` are for its end."""

    lease: Lease
    ends_tick: float
    words: str
    sessions: int = 0


class ServiceGuard:
    """The guard, as a worker sees it. The service decides and ends; the end itself is known here too."""

    def __init__(self, service: Service, clock: Clock, caller: CallerId) -> None:
        self._service = service
        self._clock = clock
        self._caller = caller
        self._here: dict[LeaseId, Here] = {}
        self._over: dict[LeaseId, str] = {}
        self.door: Door = NoDoor()
        self.is_draining = False
        self.has_changed = asyncio.Event()
        """Set when somebody came or left."""

    @property
    def held(self) -> Sequence[Here]:
        """The leases that have sessions here."""
        return tuple(self._here.values())

    async def admit(self, entry: Entry) -> Admitted | TurnedAway:
        """Ask the service. A lease that ended while its answer was under way lets nobody in."""
        privileges = None if entry.privileges is None else tuple(entry.privileges)
        answer: say.Welcome | say.Away = await self._service.ask(
            lambda number: say.Admit(
                number, entry.subject.id, entry.issuer.id, entry.resource, privileges, entry.client
            )
        )
        if isinstance(answer, say.Away):
            return TurnedAway(sentence=answer.sentence, reason=answer.reason, is_fault=answer.is_fault)
        lease = answer.lease.lease(self._caller)
        ended = self._over.get(lease.id)
        if ended is not None or not lease.holds_at(self._clock.now()):
            self._tell_left(lease.id)
            return TurnedAway(sentence=ended or farewell(lease), reason="lease_ended")
        here = self._here.get(lease.id)
        if here is None:
            here = self._here[lease.id] = Here(lease=lease, ends_tick=self._tick_of(lease), words=farewell(lease))
        here.sessions += 1
        self.has_changed.set()
        return Admitted(lease=here.lease, account=answer.account.account())

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """Have the target know. Raises port errors; then the session must end."""
        await self._service.ask(lambda number: say.Entered(number, lease, process_id))

    async def judge(self, lease: LeaseId, statement: Statement) -> str | None:
        """Ask the service; without an answer there is no yes."""
        try:
            found: say.Judged = await self._service.ask(lambda number: say.Judge(number, lease, statement))
        except PortError as error:
            return f"the statement could not be judged: {error}"
        return found.refusal

    def left(self, lease: LeaseId) -> None:
        """One session of the lease is over."""
        here = self._here.get(lease)
        if here is not None:
            here.sessions -= 1
            if here.sessions <= 0:
                del self._here[lease]
        self.has_changed.set()
        self._tell_left(lease)

    def renewed(self, lease: LeaseId, ends_at: datetime, words: str) -> None:
        """The service has moved the end, or found better words for it."""
        here = self._here.get(lease)
        if here is None:
            return
        grounds = tuple(replace(ground, until=ends_at) for ground in here.lease.grounds)
        here.lease = replace(here.lease, ends_at=ends_at, grounds=grounds)
        here.ends_tick = self._tick_of(here.lease)
        here.words = words

    def end(self, lease: LeaseId, sentence: str) -> None:
        """The lease is over: by the service's word, or by our own clock."""
        self._over[lease] = sentence
        if len(self._over) > OVER_KEPT:
            del self._over[next(iter(self._over))]
        self.door.end(lease, sentence)

    async def run(self) -> None:
        """End what is due, by the wall clock or by the one that only grows, whichever comes first."""
        while True:
            now, tick = self._clock.now(), self._clock.monotonic()
            wait = LOOK_EVERY
            for lease, here in list(self._here.items()):
                left = min((here.lease.ends_at - now).total_seconds(), here.ends_tick - tick)
                if left > 0:
                    wait = min(wait, left)
                elif lease not in self._over:
                    self.end(lease, here.words)
            await self._clock.sleep(wait)

    async def close(self) -> None:
        """The leases are the service's."""

    def _tell_left(self, lease: LeaseId) -> None:
        try:
            self._service.link.post(say.Left(lease))
        except Unavailable:
            return  # then all of us are over

    def _tick_of(self, lease: Lease) -> float:
        return self._clock.monotonic() + (lease.ends_at - self._clock.now()).total_seconds()


class Worker:
    """The process: sets itself up as it is told, serves, and obeys until the service is gone."""

    def __init__(self, link: say.Link, setup: say.Setup, clock: Clock) -> None:
        """Raises Refused or OSError for a section that cannot be served."""
        self._link = link
        self._clock = clock
        self._service = Service(link)
        caller = CallerId(setup.caller)
        rules = rules_of(setup.section)
        path = rules.statements.path
        self.guard = ServiceGuard(self._service, clock, caller)
        self.gateway = Gateway(
            replace(
                rules,
                reuse_port=True,
                number=setup.number,
                statements=replace(
                    rules.statements,
                    path=log_of_worker(path, setup.number),
                    key_of=path,
                ),
            ),
            guard=self.guard,
            tokens=ServiceTokens(self._service),
            audit=ServiceAudit(self._service),
            clock=clock,
            caller=caller,
        )
        self.gateway.pass_cancel_on = self._pass_cancel_on
        self._told: dict[str, SessionView] = {}
        self._draining: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until the service says otherwise, or is gone."""
        await self.gateway.start()
        await self._link.send(say.Listening(self.gateway.port))
        telling = asyncio.create_task(self._tell())
        try:
            while (message := await self._link.receive()) is not None:
                self.obey(message)
                if self._closing is not None and self._closing.done():
                    return
        finally:
            telling.cancel()
            self._service.lost()
            await self._end_alone()

    def obey(self, message: object) -> None:
        """Do what one message says."""
        match message:
            case say.Proven() | say.Welcome() | say.Away() | say.Done() | say.Judged() | say.Failed():
                self._service.answered(message)
            case say.EndLease(lease, sentence):
                self.guard.end(LeaseId(lease), sentence)
            case say.WarnLease(lease, sentence):
                self.gateway.warn(LeaseId(lease), sentence)
            case say.RenewLease(lease, ends_at, words):
                self.guard.renewed(LeaseId(lease), ends_at, words)
            case say.EndSession(session, by, why):
                self.gateway.end_session(session, by=by, why=why)
            case say.PassCancel(process_id, key):
                self.gateway.pass_cancel(process_id, key)
            case say.Drain():
                self._draining = asyncio.create_task(self.gateway.drain())
            case say.GoDown():
                self._closing = asyncio.create_task(self._go_down())
            case _:
                log.error("worker.odd_message", extra={"error": type(message).__name__})

    async def _go_down(self) -> None:
        await self.gateway.close()
        self._link.close()  # `run` wakes up from it

    async def _end_alone(self) -> None:
        """Nobody decides any more, so nobody is in. What was asked and answered is in the file already or is lost."""
        if self._closing is None:
            log.error("worker.service_lost")
            self._closing = asyncio.create_task(self.gateway.close())
        await asyncio.wait({self._closing}, timeout=ALONE_MAX)

    def _pass_cancel_on(self, process_id: int, key: bytes) -> None:
        try:
            self._link.post(say.PassCancel(process_id, key))
        except Unavailable:
            return  # then all sessions are over

    async def _tell(self) -> None:
        while True:
            try:
                await self._tell_once()
            except PortError:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TELL_EVERY):
                    await self.guard.has_changed.wait()
            await self._clock.sleep(TELL_AFTER)  # those who come together are told of together
            self.guard.has_changed.clear()

    async def _tell_once(self) -> None:
        seen = {view.id: view for view in self.gateway.sessions()}
        changed = [view for name, view in seen.items() if self._told.get(name) != view]
        gone = [name for name in self._told if name not in seen]
        self._told = seen
        for start in range(0, len(changed), 500):
            await self._link.send(say.Seen(changed[start : start + 500], []))
        if gone:
            await self._link.send(say.Seen([], gone))


class ToService(logging.Handler):
    """Sends events to the service, which writes them with its own. Without it they go to standard error."""

    def __init__(self, link: say.Link, number: int) -> None:
        super().__init__(logging.INFO)
        self._link = link
        self._number = number

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        fields = {name: str(value) for name, value in vars(record).items() if name in _FIELDS}
        if record.exc_info:
            fields["error"] = repr(record.exc_info[1])
        try:
            self._link.post(say.Said(record.levelno, record.name, record.getMessage(), fields))
        except Unavailable:
            print(record.getMessage(), fields, file=sys.stderr)  # noqa: T201  the last words of a process


_FIELDS: Final = frozenset({"peer", "resource", "outcome", "state", "address", "error", "why", "session", "violation"})


async def serve(sock: socket.socket) -> None:
    """Be a worker at this end of the pair."""
    link = await say.Link.over(sock, say.FROM_SERVICE)
    setup = await link.receive()
    if not isinstance(setup, say.Setup):
        return
    logging.getLogger("watchkey").addHandler(ToService(link, setup.number))
    logging.getLogger("watchkey").setLevel(logging.INFO)
    try:
        worker = Worker(link, setup, SystemClock())
        await worker.run()
    except (OSError, PortError) as error:
        await link.send(say.Said(logging.ERROR, log.name, "worker.cannot_serve", {"error": str(error)}))


def main(arguments: Sequence[str]) -> None:
    """`python -m watchkey.entrypoints.pg_gateway.worker NUMBER_OF_THE_SOCKET`; only ever started by the service."""
    # the whole group gets these from a terminal or a process manager; when we end is the service's to say
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    gc.set_threshold(20_000, 50, 100)
    gc.freeze()
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if sys.platform != "win32":
        import uvloop  # noqa: PLC0415 -- not there on every platform

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(socket.socket(fileno=int(arguments[0]))))
    # nothing that still hangs may keep a connection open
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
