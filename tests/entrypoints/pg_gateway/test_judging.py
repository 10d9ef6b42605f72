"""Holding statements for an answer: order, prepared names, and what never reaches the server. Clients: tests/live."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from watchkey.entrypoints.pg_gateway.judging import Judging
from watchkey.model.access import Statement
from watchkey.wire import pg_messages as pg


class Pipes:
    """Keeps what went where."""

    def __init__(self) -> None:
        self.server, self.client, self.said, self.tasks = b"", b"", b"", list[asyncio.Task[None]]()
        self.holds: list[bool] = []

    def to_server(self, data: bytes) -> None:
        self.server += data

    def to_client(self, data: bytes) -> None:
        self.client += data

    def client_said(self, data: bytes) -> None:
        self.said += data

    def server_said(self, data: bytes) -> None:
        del data

    def hold_client(self, *, is_held: bool) -> None:
        self.holds.append(is_held)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))


class Desk:
    """Refuses DELETE; answers when let."""

    def __init__(self, *, passes_unread: bool = False) -> None:
        self.pipes, self.asked, self.may_answer = Pipes(), list[Statement](), asyncio.Event()
        self.may_answer.set()
        self.judging = Judging(self.pipes, self.ask, passes_unread=passes_unread, reported={})

    async def ask(self, statement: Statement) -> str | None:
        self.asked.append(statement)
        await self.may_answer.wait()
        return "no" if "delete" in statement.verbs else None

    async def send(self, *messages: bytes) -> None:
        self.judging.client_sent(b"".join(messages))
        while self.pipes.tasks:
            await self.pipes.tasks.pop(0)


def query(text: str) -> bytes:
    return pg.message(b"Q", text.encode() + b"\0")


def parse(name: str, text: str) -> bytes:
    return pg.message(b"P", name.encode() + b"\0" + text.encode() + b"\0\0\0")


def bind(name: str) -> bytes:
    return pg.message(b"B", b"\0" + name.encode() + b"\0" + bytes(6))


def kinds(data: bytes) -> str:
    out, pos = "", 0
    while pos < len(data):
        out += chr(data[pos])
        pos += 1 + int.from_bytes(data[pos + 1 : pos + 5])
    return out


def test_nothing_overtakes_a_statement_that_is_asked_about() -> None:
    async def work() -> None:
        desk = Desk()
        desk.may_answer.clear()
        desk.judging.client_sent(query("SELECT 1") + query("SELECT 2") + pg.message(b"X"))
        await asyncio.sleep(0)
        assert (desk.pipes.server, desk.pipes.holds) == (b"", [True])
        desk.judging.client_sent(query("SELECT 3"))
        assert len(desk.asked) == 1
        desk.may_answer.set()
        while desk.pipes.tasks:
            await desk.pipes.tasks.pop(0)
        assert desk.pipes.server == query("SELECT 1") + query("SELECT 2") + pg.message(b"X") + query("SELECT 3")
        assert desk.pipes.holds == [True, False] * 3

    asyncio.run(work())


def test_of_a_refused_statement_nothing_reaches_the_server_and_the_record_has_it() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.send(query("DELETE FROM t"))
        assert b"DELETE" not in desk.pipes.server
        assert kinds(desk.pipes.server) == "Q"
        assert desk.pipes.said == query("DELETE FROM t")
        marker = desk.pipes.server[desk.pipes.server.index(b"wk_denied") :][:42]
        desk.judging.server_sent(pg.report(severity="ERROR", code="42P01", text=f"no {marker.decode()}"))
        assert desk.pipes.client == pg.report(severity="ERROR", code="42501", text="no")

    asyncio.run(work())


def test_what_ends_a_transaction_is_never_asked_about() -> None:
    async def work() -> None:
        desk = Desk()
        await desk.send(query("ROLLBACK"), query("COMMIT"))
        assert desk.asked == []
        assert kinds(desk.pipes.server) == "QQ"

    asyncio.run(work())


@pytest.mark.parametrize(
    ("messages", "asked"),
    [
        # bound again, asked again
        ([parse("s", "SELECT 1"), bind("s"), bind("s")], 3),
        # never seen here: made by SQL's PREPARE, or forgotten
        ([bind("other")], 0),
        # the server keeps the first text of a name until it is closed: which of them runs is not sure
        ([parse("s", "SELECT 1"), parse("s", "SELECT * FROM t"), bind("s")], 2),
        ([parse("", "SELECT 1"), parse("", "SELECT * FROM t"), bind("")], 3),
    ],
)
def test_prepared_names(messages: list[bytes], asked: int) -> None:
    async def work() -> None:
        desk = Desk()
        await desk.send(*messages)
        assert len(desk.asked) == asked
        assert kinds(desk.pipes.server) == "".join(chr(one[0]) for one in messages).replace(
            "B", "P" if asked in {0, 2} else "B"
        )

    asyncio.run(work())


@pytest.mark.parametrize("passes", [True, False])
def test_what_cannot_be_read_is_as_configured_and_not_asked_about(*, passes: bool) -> None:
    async def work() -> None:
        desk = Desk(passes_unread=passes)
        for text in (query("SELEC 1"), query("SELECT 'ä'"), query("x" * 100_000), pg.message(b"Q", b"\xff\0")):
            await desk.send(text)
            assert (text in desk.pipes.server) is passes
        assert desk.asked == []
        assert kinds(desk.pipes.server) == "QQQQ"

    asyncio.run(work())


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchkey.entrypoints.pg_gateway.judging._NAMES_MAX", 2)

    async def work() -> None:
        desk = Desk()
        await desk.send(parse("a", "SELECT 1"), parse("b", "SELECT 1"), parse("c", "SELECT 1"), bind("a"), bind("c"))
        assert kinds(desk.pipes.server) == "PPPPB"

    asyncio.run(work())
