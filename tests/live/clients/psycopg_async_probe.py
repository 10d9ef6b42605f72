"""psycopg 3 through the gateway: async."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

from tests.live.clients.probe import WHERE, Begun, run


async def connect(**options: Any) -> psycopg.AsyncConnection[Any]:
    return await psycopg.AsyncConnection.connect(WHERE.dsn, **options)


async def who() -> str:
    async with await connect() as db:
        return str(await (await db.execute("SELECT session_user")).fetchone())


async def pipeline() -> int:
    async with await connect() as db:
        async with db.pipeline():
            cursors = [await db.execute("SELECT %s::int", [n]) for n in range(300)]
        return sum([row[0] for cursor in cursors if (row := await cursor.fetchone())])


async def copy_both_ways() -> int:
    async with await connect() as db:
        async with db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
            for n in range(500):
                await copy.write_row([f"copied {n}"])
        size = 0
        async with db.cursor().copy("COPY orders TO STDOUT") as copy:
            async for data in copy:
                size += len(data)
        await db.rollback()
        return size


async def cancelled() -> None:
    async with await connect(autocommit=True) as db:

        async def soon() -> None:
            await asyncio.sleep(0.3)
            await db.cancel_safe()

        task = asyncio.create_task(soon())
        try:
            await db.execute("SELECT pg_sleep(9)")
        finally:
            await task


async def idle(begun: Begun) -> None:
    async with await connect(autocommit=True) as db:
        begun()
        seen = asyncio.Event()
        asyncio.get_running_loop().add_reader(db.pgconn.socket, seen.set)
        await asyncio.wait_for(seen.wait(), 20)
        asyncio.get_running_loop().remove_reader(db.pgconn.socket)
        await db.execute("SELECT 1")


async def in_long_query(begun: Begun) -> None:
    async with await connect(autocommit=True) as db:
        begun()
        await db.execute("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)")


async def in_copy(begun: Begun) -> None:
    async with await connect() as db, db.cursor().copy("COPY orders (what) FROM STDIN") as copy:
        begun()
        while True:
            await copy.write_row(["never" + "x" * 9000])
            await asyncio.sleep(0.02)


async def pipelined(begun: Begun) -> None:
    async with await connect() as db, db.pipeline() as sent:
        await db.execute("INSERT INTO orders (what) VALUES ('never')")
        await db.execute("SELECT pg_sleep(6)")
        begun()
        await sent.sync()


async def listening(begun: Begun) -> None:
    async with await connect(autocommit=True) as db:
        await db.execute("LISTEN news")
        begun()
        async with contextlib.aclosing(db.notifies()) as notifies:
            async for _ in notifies:
                pass


def plain(work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def whole(*arguments: Any) -> Any:
        return await work(*arguments)

    return lambda *arguments: asyncio.run(whole(*arguments))


if __name__ == "__main__":
    run(
        before={
            "connect": plain(who), "pipeline": plain(pipeline), "copy": plain(copy_both_ways),
            "cancel": plain(cancelled),
        },
        expiring={
            "idle": plain(idle), "in_long_query": plain(in_long_query), "in_copy": plain(in_copy),
            "pipelined": plain(pipelined), "listening": plain(listening),
        },
        denied=plain(who),
    )  # fmt: skip
