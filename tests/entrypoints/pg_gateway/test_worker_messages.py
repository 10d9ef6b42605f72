"""What crosses between the service and a worker comes out as it went in, and nothing else does."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.fakes.target import ENDPOINT, KEYS
from tests.wire.test_pg_session import lease
from watchkey.entrypoints.pg_gateway import worker_messages as say
from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection
from watchkey.entrypoints.pg_gateway.gateway import SessionView
from watchkey.model.access import Statement, StatementKind
from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.ids import CallerId
from watchkey.model.secret import Secret
from watchkey.ports import Account
from watchkey.wire.scram import ScramPassword

T = TypeVar("T")
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
VIEW = SessionView(
    id="s1", subject="alice@example.com", resource="orders-db", lease="l1", account="wk_alice_1", client="127.0.0.1:1",
    application="psql", fact="on call",
    is_shared=False, started_at=NOW, ends_at=NOW + timedelta(hours=1), running="", transaction="I",
)  # fmt: skip


def between(work: Callable[[say.Link, say.Link, socket.socket], Awaitable[T]]) -> T:
    """Run it with both ends, the service's first, and the worker's bare socket."""

    async def run() -> T:
        ours, theirs = socket.socketpair()
        service, worker = await say.Link.over(ours, say.FROM_WORKER), await say.Link.over(theirs, say.FROM_SERVICE)
        try:
            return await work(service, worker, theirs)
        finally:
            service.close()
            worker.close()
            await asyncio.sleep(0.01)

    return asyncio.run(run())


def crossed(message: say.FromService) -> object:
    async def work(service: say.Link, worker: say.Link, _: socket.socket) -> object:
        await service.send(message)
        return await worker.receive()

    return between(work)


OWN = Account(name="wk_1", keys=KEYS, endpoint=replace(ENDPOINT, ca_file="/ca.pem", is_tls=True))
SHARED = Account(
    name="app", keys=ScramPassword(password=Secret("canary")), endpoint=ENDPOINT, is_shared=True,
    settings={"statement_timeout": "1s"},
)  # fmt: skip


@pytest.mark.parametrize("account", [OWN, SHARED])
def test_a_lease_and_an_account_come_out_as_they_went_in(account: Account) -> None:
    held = lease()
    found = crossed(say.Welcome(7, say.LeaseCopy.of(held), say.AccountCopy.of(account)))
    assert isinstance(found, say.Welcome)
    assert found.account.account() == account
    copy = found.lease.lease(CallerId("gw"))
    for name in ("id", "subject", "resource", "privileges", "starts_at", "ends_at", "sentence"):
        assert getattr(copy, name) == getattr(held, name), name


def test_a_section_crosses_with_its_paths_and_spans() -> None:
    section = GatewaySection(
        databases={"orders": DatabaseSection(resource="orders-db")}, certificate=Path("/c.pem"), key=Path("/k.pem"),
        statements=Path("/var/s.jsonl"), notices=(timedelta(minutes=3),), workers=2,
    )  # fmt: skip
    assert crossed(say.Setup(section, 1, "pg-gateway")) == say.Setup(section, 1, "pg-gateway")


def test_a_statement_crosses_to_be_judged() -> None:
    statement = Statement(verbs=("delete",), kind=StatementKind.WRITE, tables=("orders",), functions=())

    async def work(service: say.Link, worker: say.Link, _: socket.socket) -> object:
        await worker.send(say.Judge(1, "l1", statement))
        return await service.receive()

    assert between(work) == say.Judge(1, "l1", statement)


def test_views_cross_to_the_service() -> None:
    async def work(service: say.Link, worker: say.Link, _: socket.socket) -> object:
        await worker.send(say.Seen([VIEW], ["s0"]))
        return await service.receive()

    assert between(work) == say.Seen([VIEW], ["s0"])


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x02\xc1\xc1",  # no MessagePack
        b"\xff\xff\xff\xff",  # longer than any message
        b"\0\0\0\x0a\x92\xa7GoDown\0",  # a field that the message does not have, cut
    ],
)
def test_what_makes_no_sense_is_malformed(data: bytes) -> None:
    async def work(service: say.Link, _: say.Link, theirs: socket.socket) -> None:
        theirs.send(data.ljust(4 + 10, b"\0"))
        with pytest.raises(Malformed):
            await service.receive()

    between(work)


def test_a_worker_cannot_say_what_only_the_service_says() -> None:
    async def work(service: say.Link, worker: say.Link, _: socket.socket) -> None:
        await worker.send(say.EndLease("l1", "no"))
        with pytest.raises(Malformed):
            await service.receive()

    between(work)


def test_the_other_end_may_be_gone() -> None:
    async def work(service: say.Link, worker: say.Link, _: socket.socket) -> None:
        worker.close()
        assert await service.receive() is None
        service.close()
        with pytest.raises(Unavailable):
            service.post(say.GoDown())

    between(work)


def test_one_that_does_not_read_is_given_up() -> None:
    async def work(service: say.Link, _worker: say.Link, _: socket.socket) -> None:
        def post_much() -> None:
            for _ in range(40):
                service.post(say.EndLease("l1", "x" * 1_000_000))

        with pytest.raises(Unavailable, match="does not read"):
            post_much()

    between(work)
