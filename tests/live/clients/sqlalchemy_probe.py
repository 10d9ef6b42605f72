"""SQLAlchemy through the gateway, over psycopg or asyncpg by the first argument; its pool finds out by itself."""

import asyncio
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.live.clients.probe import WHERE, Begun, run


def url(driver: str) -> sa.URL:
    return sa.URL.create(
        f"postgresql+{driver}", WHERE.user, WHERE.password, WHERE.host, int(WHERE.port), WHERE.database,
        query={"sslmode": "verify-full", "sslrootcert": WHERE.ca} if driver == "psycopg" else {},
    )  # fmt: skip


def over_psycopg() -> None:
    engine = sa.create_engine(url("psycopg"), pool_pre_ping=True)
    orders = sa.Table("orders", sa.MetaData(), autoload_with=engine)

    def who() -> str:
        with engine.connect() as db:
            return str(db.scalar(sa.text("SELECT session_user")))

    def rows() -> int:
        with engine.connect() as db:
            db.execute(orders.insert(), [{"what": f"by sqlalchemy {n}"} for n in range(200)])
            found = len(db.execute(sa.select(orders).where(orders.c.what.like("by sqlalchemy %"))).all())
            db.rollback()
            return found

    def streamed() -> int:
        with engine.connect().execution_options(yield_per=100) as db:
            return sum(1 for _ in db.execute(sa.text("SELECT generate_series(1, 5000)")))

    def idle(begun: Begun) -> None:
        with engine.connect() as db:
            db.commit()
            begun()
            while True:
                time.sleep(0.3)
                db.execute(sa.text("SELECT 1"))

    def in_transaction(begun: Begun) -> None:
        with engine.begin() as db:
            db.execute(orders.insert().values(what="never"))
            begun()
            while True:
                time.sleep(0.3)
                db.execute(sa.text("SELECT 1"))

    def in_long_query(begun: Begun) -> None:
        with engine.begin() as db:
            begun()
            db.execute(sa.text("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)"))

    run(
        before={"connect": who, "rows": rows, "streamed": streamed},
        expiring={"idle": idle, "in_transaction": in_transaction, "in_long_query": in_long_query},
        denied=who,
    )
    engine.dispose()


def over_asyncpg() -> None:
    tls = ssl.create_default_context(cafile=WHERE.ca)

    def plain(work: Callable[..., Any]) -> Callable[..., Any]:
        async def whole(*arguments: Any) -> Any:
            engine = create_async_engine(url("asyncpg"), connect_args={"ssl": tls})
            try:
                return await work(engine, *arguments)
            finally:
                await engine.dispose(close=False)

        return lambda *arguments: asyncio.run(whole(*arguments))

    async def who(engine: AsyncEngine) -> str:
        async with engine.connect() as db:
            return str(await db.scalar(sa.text("SELECT session_user")))

    async def in_transaction(engine: AsyncEngine, begun: Begun) -> None:
        async with engine.begin() as db:
            await db.execute(sa.text("INSERT INTO orders (what) VALUES ('never')"))
            begun()
            while True:
                await asyncio.sleep(0.3)
                await db.execute(sa.text("SELECT 1"))

    async def in_long_query(engine: AsyncEngine, begun: Begun) -> None:
        async with engine.begin() as db:
            begun()
            await db.execute(sa.text("INSERT INTO orders (what) SELECT 'never' FROM pg_sleep(6)"))

    run(
        before={"connect": plain(who)},
        expiring={"in_transaction": plain(in_transaction), "in_long_query": plain(in_long_query)},
        denied=plain(who),
    )


if __name__ == "__main__":
    {"psycopg": over_psycopg, "asyncpg": over_asyncpg}[sys.argv[1]]()
