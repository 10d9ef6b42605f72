"""The gateway's part of `watchkey demo`: a shift ends while a transaction is open, on a real PostgreSQL.

The demo's service must have been started with `CONFIGURATION` in its file; each step says what it expects and raises
`Surprise` when something else happens.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg

from watchkey.model.secret import Secret
from watchkey.ports import Clock
from watchkey.simulator.postgres_server import PostgresServer

PREPARATION: Final = """
CREATE ROLE orders_read NOLOGIN;
CREATE ROLE orders_write NOLOGIN;
CREATE ROLE watchkey_manager LOGIN CREATEROLE PASSWORD 'demo' IN ROLE pg_signal_backend, pg_read_all_stats;
GRANT orders_read, orders_write TO watchkey_manager WITH ADMIN OPTION;
CREATE DATABASE orders;
"""
CONTENT: Final = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, what text NOT NULL);
GRANT SELECT ON orders TO orders_read;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO orders_write;
"""
TARGET: Final = """\
    target:
      host: 127.0.0.1
      port: {port}
      database: orders
      tls: false
      manager: watchkey_manager
      manager_password: {{env: WATCHKEY_DEMO_MANAGER}}
      groups: {{read: [orders_read], write: [orders_write]}}
"""
"""Belongs under the resource; `WATCHKEY_DEMO_MANAGER=demo` belongs into the service's environment."""
GATEWAY: Final = "[{{port: {port}, databases: {{orders: {{resource: {resource}}}}}, notices: [3s]}}]"
"""Belongs under `listen.gateways`."""


class Surprise(Exception):
    """Something happened that the scene did not expect."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What the scene plays on."""

    server: PostgresServer
    host: str
    port: int
    """Where the gateway listens."""
    token: Callable[[str], Awaitable[Secret]]
    """A short-lived token of a subject, by `POST /v1/tokens`."""
    leaving: str
    """Who is on call until the handoff."""
    coming: str
    """Who is from then on."""
    handoff_at: datetime
    statements: Path
    """The statement log."""
    clock: Clock
    say: Callable[[str], object]


def prepare(server: PostgresServer) -> None:
    """What the DBA's script does, and a table to protect."""
    server.sql(PREPARATION)
    server.sql(CONTENT, "orders")


async def play(stage: Stage) -> None:
    """All of it; begin at least five seconds before the handoff. Raises Surprise."""
    say = stage.say
    db = await _connect(stage, stage.leaving)
    db.add_log_listener(lambda _, message: say(f"  notice   {message}"))
    account = await db.fetchval("SELECT session_user")
    say(f"  {stage.leaving:<8} is in, with a role of their own: {account}")
    await db.execute("BEGIN")
    for what in ("one", "two", "three"):
        await db.execute("INSERT INTO orders (what) VALUES ($1)", what)
    left = (stage.handoff_at - stage.clock.now()).total_seconds()
    say(f"  {stage.leaving:<8} BEGIN; INSERT three times; then a long SELECT. The shift ends in {left:.0f} s.")
    try:
        await db.execute("SELECT pg_sleep(60)")
    except asyncpg.PostgresConnectionError as error:
        after = (stage.clock.now() - stage.handoff_at) / timedelta(milliseconds=1)
        say(f"  {stage.leaving:<8} {str(error).rpartition('operation: ')[2]}")
        say(f"  {stage.leaving:<8} was out {after:.0f} ms after the planned instant")
    else:
        raise Surprise("the session outlived the shift")
    if not 0 <= after < 1000:
        raise Surprise("the session did not end within the second of the handoff")
    db.terminate()
    rows = await asyncio.to_thread(stage.server.sql, "SELECT count(*) FROM orders", "orders")
    say(f"  database rows of that transaction that were committed: {rows}")
    if rows != "0":
        raise Surprise("an open transaction was committed")
    await _refused(stage)
    await _next_person(stage)
    await _statements(stage)


async def _refused(stage: Stage) -> None:
    try:
        await _connect(stage, stage.leaving)
    except asyncpg.PostgresError as error:
        stage.say(f"  {stage.leaving:<8} again: FATAL: {error}")
        if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
            return
    raise Surprise("whoever is off call was not turned away with a reason")


async def _next_person(stage: Stage) -> None:
    db = await _connect(stage, stage.coming)
    try:
        stage.say(f"  {stage.coming:<8} is in: {await db.fetchval('SELECT session_user')}")
        await db.execute("INSERT INTO orders (what) VALUES ('mended')")
    finally:
        await db.close()


async def _statements(stage: Stage) -> None:
    """Show the last lines of the statement log, once they are there."""
    lines: list[dict[str, Any]] = []
    for _ in range(50):
        if stage.statements.exists():
            lines = [json.loads(line) for line in stage.statements.read_text().splitlines()]
        if any(line["subject"] == stage.coming and "mended" in line["text"] for line in lines):
            break
        await stage.clock.sleep(0.1)
    else:
        raise Surprise("the statement log does not show what the next person did")
    stage.say("  the statement log, by person:")
    for line in lines[-8:]:
        stage.say(f"    {line['at'][11:23]}  {line['subject']:<8} {line['outcome']:<8} {line['text']}")


async def _connect(stage: Stage, subject: str) -> asyncpg.Connection:
    token = await stage.token(subject)
    return await asyncpg.connect(
        host=stage.host, port=stage.port, user=subject, password=token.reveal(), database="orders", ssl=False
    )
