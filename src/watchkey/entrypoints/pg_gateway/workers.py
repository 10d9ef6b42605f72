"""The service's side of the gateway's worker processes: starts them, answers them, ends them, and never trusts them.

A worker can ask for what any client can, and record its own sessions. When one dies, its connections are cut by it; its
leases are ended, so that the targets are cleared too, and another is started. One that does not do as told is killed.
"""

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from watchkey.entrypoints.pg_gateway import worker_messages as say
from watchkey.entrypoints.pg_gateway.config import GatewaySection, rules_of
from watchkey.entrypoints.pg_gateway.gateway import PROCESSES_MAX, SessionView, reserve_port
from watchkey.entrypoints.pg_gateway.statement_log import log_of_worker, own_key
from watchkey.flows.guard_session import Admitted, Entry, GuardSessions
from watchkey.flows.login_tokens import LoginTokens, Proof
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Clock
from watchkey.rules.bound_values import Parameters

log = logging.getLogger("watchkey.pg_workers")

START_MAX: Final = 20.0
"""Seconds until a worker must listen."""
END_MAX: Final = 5.0
"""Seconds until a worker must have closed the sessions of an ended lease; then it is killed, which closes them."""
TOLD_MAX: Final = 0.25
"""Seconds that a target waits with its part of an ending, at most, so that the clients are told first."""
CLOSE_MAX: Final = 12.0
"""Seconds that an orderly end waits for the workers."""
PROVEN_MAX: Final = 60.0
"""Seconds for which a worker may ask on behalf of a person whose token it has shown."""
AGAIN_AFTER: Final = 0.1
AGAIN_MAX: Final = 30.0
"""Seconds until a dead worker is started again: doubled with each death, forgotten after a minute of life."""
HAD_MAX: Final = 10_000
"""So many leases of a worker are remembered after they were left."""
PASSED_ON: Final = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_", "LD_LIBRARY_PATH", "PYTHON", "SSL_CERT_", "OPENSSL_")
"""How the names of variables begin that a worker gets of our environment, where passwords and tokens may be too."""


class Hand:
    """One worker process, as the service knows it."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, link: say.Link) -> None:
        self.number = number
        self.process = process
        self.link = link
        self.leases: Counter[LeaseId] = Counter()
        self.views: dict[str, SessionView] = {}
        self.had: dict[LeaseId, tuple[str, str]] = {}
        """Whose the leases were, and for what, that it has or had."""
        self.proven: dict[tuple[SubjectId, CallerId], tuple[Proof, float]] = {}
        """By person and issuer: what a token says counts with the reach of the caller that issued it."""
        self.listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.is_lost = False

    def post(self, message: Any) -> None:
        """Tell it, if it still lives; one that is dead or stands still needs no telling, its connections are cut."""
        try:
            self.link.post(message)
        except Unavailable:
            self.kill()

    def kill(self) -> None:
        """Cut all its connections."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Workers:
    """A gateway that is served by worker processes. It is the `Door` of its guard, as `Gateway` is in one process."""

    def __init__(
        self, section: GatewaySection, *, guard: GuardSessions, tokens: LoginTokens, audit: AuditLog, clock: Clock,
        caller: CallerId,
    ) -> None:  # fmt: skip
        """Raises Refused for a section that cannot be served."""
        self._section = section
        self._rules = rules_of(section)
        self._guard = guard
        self._tokens = tokens
        self._audit = audit
        self._clock = clock
        self._caller = caller
        self._hands: dict[int, Hand] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._place: socket.socket | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.port = self._rules.port

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start all workers. Raises OSError when the port cannot be had or a worker does not come up."""
        self._place = reserve_port(self._rules)
        self.port = self._place.getsockname()[1]
        if any(database.parameters is Parameters.HASHED for database in self._rules.databases.values()):
            own_key(self._rules.statements.path)  # made before the workers, who must all have the same
        self._guard.door = self
        self._guarding = asyncio.create_task(self._guard.run())
        try:
            await asyncio.gather(*(self._start(number) for number in range(1, self._section.workers + 1)))
        except BaseException:
            await self.close()
            raise

    async def drain(self) -> None:
        """Take no new sessions; return when the last one has left or was ended, or when `drain_max` is over."""
        self._guard.is_draining = True
        give_up = self._clock.monotonic() + self._rules.drain_max.total_seconds()
        for hand in self._hands.values():
            hand.post(say.Drain())
        while any(hand.leases for hand in self._hands.values()) and self._clock.monotonic() < give_up:
            await self._clock.sleep(0.1)

    async def close(self) -> None:
        """End everything: sessions, leases, accounts, workers."""
        self._closing.set()
        await self._guard.close()
        for hand in self._hands.values():
            hand.post(say.GoDown())
        if self._keeping:
            _, late = await asyncio.wait(self._keeping, timeout=CLOSE_MAX)
            if late:
                for hand in self._hands.values():
                    hand.kill()
                await asyncio.wait(late, timeout=CLOSE_MAX)
        for task in [*self._tasks, *([self._guarding] if self._guarding else [])]:
            task.cancel()
        if self._place is not None:
            self._place.close()

    @property
    def address(self) -> str:
        """`postgresql://127.0.0.1:6432`."""
        return f"postgresql://{self._rules.host}:{self.port}"

    # --- the door --------------------------------------------------------------------------------------------------

    def end(self, lease: LeaseId, sentence: str) -> int:
        """See `guard_session.Door`. A worker that does not do it in time is killed."""
        count = 0
        for hand in list(self._hands.values()):
            if hand.leases[lease]:
                count += hand.leases[lease]
                hand.post(say.EndLease(lease, sentence))
                asyncio.get_running_loop().call_later(END_MAX, self._must_have_ended, hand, lease)
        return count

    async def told(self, leases: Sequence[LeaseId]) -> None:
        """See `guard_session.Door`."""
        give_up = self._clock.monotonic() + TOLD_MAX
        while self._clock.monotonic() < give_up:
            if not any(hand.leases[lease] for hand in self._hands.values() for lease in leases):
                return
            await self._clock.sleep(0.005)

    def warn(self, lease: LeaseId, sentence: str) -> None:
        """See `guard_session.Door`."""
        for hand in list(self._hands.values()):
            if hand.leases[lease]:
                hand.post(say.WarnLease(lease, sentence))

    def renewed(self, lease: Lease, words: str) -> None:
        """See `guard_session.Door`."""
        for hand in list(self._hands.values()):
            if hand.leases[lease.id]:
                hand.post(say.RenewLease(lease.id, lease.ends_at, words))

    def _must_have_ended(self, hand: Hand, lease: LeaseId) -> None:
        if hand.leases[lease] and not hand.is_lost:
            log.error("worker.ignored_an_end", extra={"count": hand.leases[lease]})
            hand.kill()

    # --- looking in --------------------------------------------------------------------------------------------------

    def sessions(self) -> list[SessionView]:
        """Who is in, in all workers; what runs is at most a second old."""
        return [view for hand in self._hands.values() for view in hand.views.values()]

    def end_session(self, session: str, *, by: str, why: str) -> bool:
        """End one session; the lease goes on. Returns whether there was one."""
        # a worker that lists what is another's keeps no end from it
        having = [hand for hand in self._hands.values() if session in hand.views]
        for hand in having:
            hand.post(say.EndSession(session, by, why))
        return bool(having)

    # --- the processes -----------------------------------------------------------------------------------------------

    async def _start(self, number: int) -> None:
        hand = await self._spawn(number)
        self._keeping.append(asyncio.create_task(self._keep(hand)))
        done, _ = await asyncio.wait({hand.listening}, timeout=START_MAX)
        if not done or hand.listening.cancelled():
            raise OSError(f"worker {number} of the gateway on {self.address} did not come up; the log says why")

    async def _spawn(self, number: int) -> Hand:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                # -P: the folder that we were started in is no place to take modules from
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "watchkey.entrypoints.pg_gateway.worker", str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                    env={name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)},
                )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        hand = Hand(number, process, await say.Link.over(ours, say.FROM_WORKER))
        self._hands[number] = hand
        hand.post(say.Setup(replace(self._section, port=self.port), number, self._caller))
        return hand

    async def _keep(self, hand: Hand) -> None:
        """Listen to a worker until it dies; then clear up after it and start another, until we close."""
        wait = AGAIN_AFTER
        while True:
            born = self._clock.monotonic()
            await self._listen(hand)
            await self._lost(hand)
            if self._clock.monotonic() - born > 60:
                wait = AGAIN_AFTER
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._closing.wait()
                    return
            wait = min(wait * 2, AGAIN_MAX)
            hand = await self._respawn(hand.number)
            if self._closing.is_set():  # while it was made, so nobody has told it
                hand.post(say.GoDown())

    async def _respawn(self, number: int) -> Hand:
        """Start another one; a machine that has no room for it now may have later."""
        wait = AGAIN_AFTER
        while True:
            try:
                return await self._spawn(number)
            except OSError as error:
                log.error("worker.not_started", extra={"error": str(error)})  # noqa: TRY400  the text says it all
            wait = min(wait * 2, AGAIN_MAX)
            await self._clock.sleep(wait)

    async def _listen(self, hand: Hand) -> None:
        try:
            while (message := await hand.link.receive()) is not None:
                self._heard(hand, message)
        except PortError as error:
            log.error("worker.odd_message", extra={"error": str(error)})  # noqa: TRY400  the text says it all
        except Exception:
            log.exception("worker.failed")

    async def _lost(self, hand: Hand) -> None:
        """Whatever it was, it is over: be sure that the process is, and end the leases that it had."""
        hand.is_lost = True
        hand.kill()
        code = await hand.process.wait()
        hand.link.close()
        hand.listening.cancel()
        self._hands.pop(hand.number, None)
        if self._closing.is_set():
            return
        log.error("worker.died", extra={"count": sum(hand.leases.values()), "code": code})
        await self._note_quietly("worker.died", worker=hand.number, code=code, sessions=sum(hand.leases.values()))
        for lease, count in list(hand.leases.items()):
            for _ in range(count):
                self._guard.left(lease)
            if count:
                await self._guard.end(lease, by="the gateway", why="the process that had your connection died")

    # --- what they say -----------------------------------------------------------------------------------------------

    def _heard(self, hand: Hand, message: object) -> None:
        match message:
            case say.Listening(port):
                if not hand.listening.done():
                    hand.listening.set_result(port)
            case say.Left(lease):
                self._left(hand, LeaseId(lease))
            case say.Seen(changed, gone):
                hand.views.update((view.id, view) for view in changed)
                for name in gone:
                    hand.views.pop(name, None)
            case say.PassCancel(process_id, key):
                self._pass_cancel(hand, process_id, key)
            case say.Said(level, logger, event, fields):
                logging.getLogger(logger).log(level, event, extra=dict(fields))
            case say.Prove() | say.Admit() | say.Record() | say.Entered() | say.Judge():
                self._answer(hand, message)

    def _left(self, hand: Hand, lease: LeaseId) -> None:
        if not hand.leases[lease]:
            return
        hand.leases[lease] -= 1
        if not hand.leases[lease]:
            del hand.leases[lease]
        self._guard.left(lease)

    def _pass_cancel(self, asker: Hand, process_id: int, key: bytes) -> None:
        other = self._hands.get(process_id % PROCESSES_MAX)
        if other is not None and other is not asker:
            other.post(say.PassCancel(process_id, key))

    def _answer(self, hand: Hand, message: say.Question) -> None:
        async def work() -> None:
            try:
                answer = await self._found(hand, message)
            except PortError as error:
                answer = say.Failed(message.request, str(error), isinstance(error, Refused))
            except Exception:
                log.exception("worker.question_failed")
                answer = say.Failed(message.request, "the gateway failed", False)
            hand.post(answer)

        task = asyncio.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _found(self, hand: Hand, message: say.Question) -> Any:
        match message:
            case say.Prove(request, password):
                proof = self._tokens.recognise(Secret(password))
                self._remember(hand, proof)
                return say.Proven(request, proof.subject.id, tuple(proof.subject.groups), proof.issuer.id)
            case say.Admit():
                return await self._admit(hand, message)
            case say.Record():
                return say.Done(message.request, await self._record(hand, message))
            case say.Entered(request, lease, process_id):
                await self._guard.entered(self._its_own(hand, lease), process_id)
                return say.Done(request, 0)
            case say.Judge(request, lease, statement):
                return say.Judged(request, await self._guard.judge(self._its_own(hand, lease), statement))

    def _its_own(self, hand: Hand, lease: str) -> LeaseId:
        if not hand.leases[LeaseId(lease)]:
            raise Refused("this worker has no session of that lease")
        return LeaseId(lease)

    def _remember(self, hand: Hand, proof: Proof) -> None:
        tick = self._clock.monotonic()
        hand.proven = {name: known for name, known in hand.proven.items() if tick - known[1] < PROVEN_MAX}
        hand.proven[proof.subject.id, proof.issuer.id] = (proof, tick)

    async def _admit(self, hand: Hand, asked: say.Admit) -> say.Welcome | say.Away:
        proof, tick = hand.proven.get((SubjectId(asked.subject), CallerId(asked.issuer)), (None, 0.0))
        if proof is None or self._clock.monotonic() - tick >= PROVEN_MAX:
            raise Refused("nobody has proven to be this person")
        privileges = None if asked.privileges is None else tuple(map(PrivilegeName, asked.privileges))
        answer = await self._guard.admit(
            Entry(
                subject=proof.subject,
                issuer=proof.issuer,
                resource=ResourceId(asked.resource),
                privileges=privileges,
                client=asked.client,
            )
        )
        if not isinstance(answer, Admitted):
            return say.Away(asked.request, answer.sentence, answer.reason, answer.is_fault)
        if hand.is_lost:
            self._guard.left(answer.lease.id)
            raise Unavailable("the worker is gone")
        hand.leases[answer.lease.id] += 1
        hand.had[answer.lease.id] = (answer.lease.subject, answer.lease.resource)
        if len(hand.had) > HAD_MAX:
            del hand.had[next(iter(hand.had))]
        return say.Welcome(asked.request, say.LeaseCopy.of(answer.lease), say.AccountCopy.of(answer.account))

    async def _record(self, hand: Hand, asked: say.Record) -> int:
        """Let a worker record what is its own: sessions of leases that it has or had, and its own file."""
        match asked.what:
            case "session.opened" | "session.ended":
                owner = hand.had.get(LeaseId(str(asked.fields.get("lease"))))
                is_own = owner == (asked.fields.get("subject"), asked.fields.get("resource"))
            case "statements.batch":
                is_own = asked.fields.get("file") == log_of_worker(self._rules.statements.path, hand.number).name
            case _:
                is_own = False
        if not is_own:
            raise Refused(f"a worker may not record this {asked.what!r}")
        return await self._audit.append(
            Noted(
                at=self._clock.now(), what=asked.what, caller=self._caller,
                fields={**asked.fields, "worker": hand.number},
            )
        )  # fmt: skip

    async def _note_quietly(self, what: str, **fields: object) -> None:
        try:
            await self._audit.append(Noted(at=self._clock.now(), what=what, caller=self._caller, fields=fields))
        except PortError as error:
            log.error("audit.unavailable", extra={"what": what, "error": str(error)})  # noqa: TRY400  the text says it all
