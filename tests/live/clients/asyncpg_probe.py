"""asyncpg through the gateway."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.live.clients.probe import WHERE, Begun, run


@asynccontextmanager
async def connected(**more: Any) -> AsyncIterator[asyncpg.Connection]:
    tls = ssl.create_default_context(cafile=WHERE.ca)
    if more.get("direct_tls"):
        tls.set_alpn_protocols(["postgresql"])  # without it PostgreSQL 17 refuses too
    db = await asyncpg.connect(
        host=WHERE.host, port=int(WHERE.port), user=WHERE.user, password=WHERE.password, database=WHERE.database,
        ssl=tls, **more,
    )  # fmt: skip
    try:
        yield db
    finally:
        db.terminate()


async def who() -> str:
    async with connected(server_settings={"application_name": "mine"}) as db:
        return f"{await db.fetchval('SELECT session_user')} {await db.fetchval('SHOW application_name')}"


async def direct_tls() -> str:
    async with connected(direct_tls=True) as db:
        return str(await db.fetchval("SELECT session_user"))


async def prepared() -> int:
    async with connected() as db:
        statement = await db.prepare("SELECT generate_series(1, $1::int)")
        async with db.transaction():
            return len(await statement.fetch(5)) + len([row async for row in db.cursor("TABLE orders", prefetch=2)])


async def copy_both_ways() -> str:
    async with connected() as db:
        transaction = db.transaction()
        await transaction.start()
        said = await db.copy_records_to_table("orders", records=[(f"n{n}",) for n in range(500)], columns=["what"])
        size = 0

        async def count(data: bytes) -> None:
            nonlocal size
            size += len(data)

        await db.copy_from_table("orders", output=count)
        await transaction.rollback()
        return f"{said} {size > 0}"


async def notified() -> str:
    async with connected() as one, connected() as two:
        heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        await one.add_listener("news", lambda *said: heard.done() or heard.set_result(said[3]))
        await two.execute("NOTIFY news, 'hello'")
        return await asyncio.wait_for(heard, 5)


async def cancelled() -> None:
    """A time-out of asyncpg's own is a cancel request; the connection is usable afterwards."""
    async with connected() as db:
        try:
            await db.fetch("SELECT pg_sleep(9)", timeout=0.3)
        except TimeoutError:
            assert await db.fetchval("SELECT 1") == 1


async def wait_and_say(db: asyncpg.Connection, begun: Begun) -> None:
    """As a client that has nothing to say until the driver knows that the connection is gone."""
    over = asyncio.Event()
    db.add_termination_listener(lambda _: over.set())
    begun()
    await asyncio.wait_for(over.wait(), 20)
    await db.fetchval("SELECT 1")


async def idle(begun: Begun) -> None:
    async with connected() as db:
        await wait_and_say(db, begun)


async def in_transaction(begun: Begun) -> None:
    async with connected() as db, db.transaction():
        await db.execute("INSERT INTO orders (what) VALUES ('never')")
        await wait_and_say(db, begun)


async def in_long_query(begun: Begun) -> None:
    async with connected() as db:
        begun()
        await db.execute("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)")


async def in_copy(begun: Begun) -> None:
    async def rows() -> AsyncIterator[bytes]:
        begun()
        for _ in range(100):  # the driver itself never looks whether anybody is there
            yield b"never" + b"x" * 9000 + b"\n"
            await asyncio.sleep(0.02)

    async with connected() as db:
        await db.copy_to_table("orders", source=rows(), columns=["what"])


async def listening(begun: Begun) -> None:
    async with connected() as db:
        await db.add_listener("news", lambda *_: None)
        await wait_and_say(db, begun)


def plain(work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def whole(*arguments: Any) -> Any:
        return await work(*arguments)

    return lambda *arguments: asyncio.run(whole(*arguments))


if __name__ == "__main__":
    run(
        before={
            "connect": plain(who), "direct_tls": plain(direct_tls), "prepared": plain(prepared),
            "copy": plain(copy_both_ways), "notify": plain(notified), "cancel_and_on": plain(cancelled),
        },
        expiring={
            "idle": plain(idle), "in_transaction": plain(in_transaction), "in_long_query": plain(in_long_query),
            "in_copy": plain(in_copy), "listening": plain(listening),
        },
        denied=plain(who),
    )  # fmt: skip
