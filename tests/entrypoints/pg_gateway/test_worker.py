"""A worker's guard: what the service says, and what it does by its own clock when the service says nothing."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.clock import DrivenClock
from tests.fakes.target import ENDPOINT, KEYS
from tests.wire.test_pg_session import lease
from watchkey.entrypoints.pg_gateway import worker_messages as say
from watchkey.entrypoints.pg_gateway.worker import OVER_KEPT, Service, ServiceAudit, ServiceGuard, ServiceTokens
from watchkey.flows.guard_session import Admitted, Entry, TurnedAway
from watchkey.model.access import Caller, Statement, StatementKind, Subject
from watchkey.model.audit import Noted, ServiceStopped
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import Account

LEASE = lease()
CALLER = CallerId("gw")
STATEMENT = Statement(verbs=("delete",), kind=StatementKind.WRITE, tables=("orders",), functions=())


class Wire:
    """Stands for the link: keeps what is sent, and answers as told."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.service = Service(self)  # type: ignore[arg-type]  the two calls that it makes are here
        self.answers: list[Any] = []

    def post(self, message: Any) -> None:
        self.sent.append(message)

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if self.answers:
            make = self.answers.pop(0)
            self.service.answered(make(message.request))


class Doorway:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def end(self, lease: LeaseId, sentence: str) -> int:
        self.ended.append((lease, sentence))
        return 1

    async def told(self, leases: Sequence[LeaseId]) -> None:
        del leases

    def warn(self, lease: LeaseId, sentence: str) -> None:
        del lease, sentence

    def renewed(self, lease: Lease, words: str) -> None:
        del lease, words


class Scene:
    def __init__(self) -> None:
        self.wire, self.clock, self.door = Wire(), DrivenClock(LEASE.starts_at), Doorway()
        self.guard = ServiceGuard(self.wire.service, self.clock, CALLER)
        self.guard.door = self.door

    async def admit(self, held: Lease = LEASE) -> Admitted | TurnedAway:
        account = Account(name="wk_1", keys=KEYS, endpoint=ENDPOINT)
        self.wire.answers = [lambda number: say.Welcome(number, say.LeaseCopy.of(held), say.AccountCopy.of(account))]
        return await self.guard.admit(self.entry())

    def entry(self) -> Entry:
        return Entry(
            subject=Subject(id=LEASE.subject),
            issuer=Caller(id=CallerId("sso")),
            resource=LEASE.resource,
            privileges=None,
            client="1.2.3.4:5",
        )

    async def watch_for(self, span: timedelta) -> None:
        """Let the guard run while time passes."""
        running = asyncio.create_task(self.guard.run())
        await self.clock.run(span)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_who_is_let_in_has_the_services_lease_and_is_counted_until_left() -> None:
    async def work() -> None:
        scene = Scene()
        for _ in range(2):
            answer = await scene.admit()
            assert isinstance(answer, Admitted)
            assert answer.lease.ends_at == LEASE.ends_at
        assert scene.wire.sent[0] == say.Admit(1, LEASE.subject, "sso", LEASE.resource, None, "1.2.3.4:5")
        scene.guard.left(LEASE.id)
        assert [here.lease.id for here in scene.guard.held] == [LEASE.id]
        scene.guard.left(LEASE.id)
        assert scene.guard.held == ()
        assert scene.wire.sent[2:] == [say.Left(LEASE.id)] * 2

    asyncio.run(work())


def test_a_denial_is_passed_on_in_its_words() -> None:
    async def work() -> None:
        scene = Scene()
        scene.wire.answers = [lambda number: say.Away(number, "not on call", "not_on_call", False)]
        answer = await scene.guard.admit(scene.entry())
        assert answer == TurnedAway(sentence="not on call", reason="not_on_call")

    asyncio.run(work())


def test_a_lease_that_ended_while_its_answer_was_under_way_lets_nobody_in() -> None:
    async def work() -> None:
        scene = Scene()
        scene.guard.end(LEASE.id, "bob is primary now")
        answer = await scene.admit()
        assert answer == TurnedAway(sentence="bob is primary now", reason="lease_ended")
        assert scene.wire.sent[-1] == say.Left(LEASE.id)
        assert scene.guard.held == ()

    asyncio.run(work())


def test_a_lease_that_is_over_by_the_clock_here_lets_nobody_in() -> None:
    async def work() -> None:
        scene = Scene()
        scene.clock.advance(LEASE.ends_at - scene.clock.now())
        assert isinstance(await scene.admit(), TurnedAway)

    asyncio.run(work())


def test_the_end_comes_by_the_workers_own_clock_when_the_service_says_nothing() -> None:
    async def work() -> None:
        scene = Scene()
        await scene.admit()
        await scene.watch_for(timedelta(minutes=59))
        assert scene.door.ended == []
        await scene.watch_for(timedelta(minutes=1))
        assert scene.door.ended == [(LEASE.id, f"your access to {LEASE.resource} ended at 13:00:00 UTC")]

    asyncio.run(work())


def test_a_renewal_moves_the_end_and_brings_the_words() -> None:
    async def work() -> None:
        scene = Scene()
        await scene.admit()
        scene.guard.renewed(LEASE.id, LEASE.ends_at + timedelta(hours=1), "bob is primary now")
        await scene.watch_for(timedelta(minutes=90))
        assert scene.door.ended == []
        assert scene.guard.held[0].lease.ends_at == LEASE.ends_at + timedelta(hours=1)
        await scene.watch_for(timedelta(minutes=30))
        assert scene.door.ended == [(LEASE.id, "bob is primary now")]
        scene.guard.renewed(LeaseId("unknown"), LEASE.ends_at, "")

    asyncio.run(work())


def test_a_wall_clock_that_is_put_back_lengthens_nothing() -> None:
    async def work() -> None:
        scene = Scene()
        await scene.admit()
        scene.clock.set_wall(scene.clock.now() - timedelta(hours=5))
        await scene.watch_for(timedelta(hours=1))
        assert len(scene.door.ended) == 1

    asyncio.run(work())


def test_ended_leases_are_remembered_up_to_a_bound() -> None:
    scene = Scene()
    for number in range(OVER_KEPT + 10):
        scene.guard.end(LeaseId(str(number)), "over")
    assert len(scene.guard._over) == OVER_KEPT


def test_what_the_service_refuses_is_raised_as_that() -> None:
    async def work() -> None:
        wire = Wire()
        wire.answers = [
            lambda number: say.Failed(number, "proves nobody", True),
            lambda number: say.Failed(number, "no disk", False),
            lambda number: say.Done(number, 41),
        ]
        with pytest.raises(Refused, match="proves nobody"):
            await ServiceTokens(wire.service).recognise(Secret("x"))
        audit, event = ServiceAudit(wire.service), Noted(at=LEASE.starts_at, what="session.opened", fields={"a": 1})
        with pytest.raises(Unavailable, match="no disk"):
            await audit.append(event)
        assert await audit.append(event) == 41
        assert wire.sent[-1] == say.Record(3, "session.opened", {"a": 1})
        with pytest.raises(Refused):
            await audit.append(ServiceStopped(at=LEASE.starts_at))

    asyncio.run(work())


def test_a_statement_passes_by_the_services_yes_only() -> None:
    async def work() -> None:
        scene = Scene()
        answers: tuple[Any, ...] = (None, "delete is refused")
        for answer in answers:
            scene.wire.answers = [lambda number, answer=answer: say.Judged(number, answer)]
            assert await scene.guard.judge(LEASE.id, STATEMENT) == answer
        scene.wire.answers = [lambda number: say.Failed(number, "gone", False)]
        assert await scene.guard.judge(LEASE.id, STATEMENT) == "the statement could not be judged: gone"
        scene.wire.answers = [lambda number: say.Failed(number, "not there", True)]
        with pytest.raises(Refused):
            await scene.guard.entered(LEASE.id, 4711)
        assert scene.wire.sent[-1] == say.Entered(4, LEASE.id, 4711)

    asyncio.run(work())


def test_without_the_service_every_question_is_over() -> None:
    async def work() -> None:
        wire = Wire()
        asking = asyncio.create_task(ServiceTokens(wire.service).recognise(Secret("x")))
        await asyncio.sleep(0)
        wire.service.lost()
        with pytest.raises(Unavailable):
            await asking
        wire.service.answered(say.Done(1, 0))  # nobody waits for it any more

    asyncio.run(work())
