"""A gateway before a real PostgreSQL, in a thread of its own, so that any client can be let loose on it."""

import asyncio
import itertools
import os
import secrets
import threading
import time
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import uvloop

from tests.fakes.audit import MemoryAudit
from tests.fakes.watch import ScriptedWatch
from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection
from watchkey.entrypoints.pg_gateway.gateway import Database, Gateway, GatewayRules, Trace, server_tls
from watchkey.entrypoints.pg_gateway.statement_log import LogRules
from watchkey.entrypoints.pg_gateway.workers import Workers
from watchkey.flows.guard_session import Deciding, GuardRules, GuardSessions, Protected
from watchkey.flows.login_tokens import LoginTokens
from watchkey.model.access import Caller, Subject
from watchkey.model.audit import Noted
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.secret import Secret
from watchkey.rules.bound_values import Parameters
from watchkey.simulator.postgres_server import PostgresServer
from watchkey.targets.postgres import Config, PostgresTarget, build

T = TypeVar("T")
ORDERS = ResourceId("orders-db")
CALLER = Caller(id=CallerId("gateway"), resources=None, is_trusted=True)
ALICE, BOB = "alice@example.com", "bob@example.com"

SETUP = """
CREATE ROLE orders_read NOLOGIN;
CREATE ROLE orders_write NOLOGIN;
CREATE ROLE watchkey_manager LOGIN CREATEROLE PASSWORD 'manager' IN ROLE pg_signal_backend, pg_read_all_stats;
GRANT orders_read, orders_write TO watchkey_manager WITH ADMIN OPTION;
CREATE DATABASE orders;
"""
SETUP_ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, what text NOT NULL);
CREATE TABLE secrets (what text);
INSERT INTO secrets VALUES ('the secret');
GRANT SELECT ON orders TO orders_read;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO orders_write;
GRANT CREATE ON SCHEMA public TO orders_write;
"""


class RealClock:
    """The machine's time."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time_ns() / 1e9, tz=UTC)  # noqa: TID251  this is the Clock port of the live tests

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def prepare(server: PostgresServer) -> None:
    """What the DBA's script does, and something to protect."""
    server.sql(SETUP)
    server.sql(SETUP_ORDERS, "orders")


def target_config(server: PostgresServer, **changes: Any) -> Config:
    fields: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "database": "orders",
        "groups": {"read": ["orders_read"], "write": ["orders_write"]},
        "manager": "watchkey_manager",
        "manager_password": Secret("manager"),
        "tls": changes.pop("tls_to_server", False),
    }
    return Config(**(fields | changes))


def _as_section(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of `GatewayRules`, as the configuration says them: workers are told their section."""
    out = dict(changes)
    if "proxies" in out:
        out["proxy_protocol_from"] = tuple(map(str, out.pop("proxies")))
    if "databases" in out:
        out["databases"] = {
            name: DatabaseSection(
                resource=one.resource, trace=one.trace, parameters=one.parameters, statement_policy=one.judging
            )
            for name, one in out["databases"].items()
        }
    return out


class LiveHouse:
    """Use it as a context manager; `token(subject)` gives a password. WATCHKEY_LIVE_WORKERS=2: with workers."""

    def __init__(
        self, server: PostgresServer, folder: Path, *, tls: tuple[Path, Path] | None = None,
        trace: Trace = Trace.STATEMENTS, parameters: Parameters = Parameters.OFF, rules: GuardRules | None = None,
        port: int = 0, gateway: Mapping[str, Any] | None = None, workers: int | None = None, **target: Any,
    ) -> None:  # fmt: skip
        self._server = server
        self.folder = folder
        self._tls = tls
        self._trace = trace
        self._parameters = parameters
        self.port = port
        self._rules = rules or GuardRules(linger=timedelta(seconds=2))
        self._target_changes = target
        self._gateway_changes = dict(gateway or {})
        self._workers = int(os.environ.get("WATCHKEY_LIVE_WORKERS", "0")) if workers is None else workers
        self.clock = RealClock()
        self.watch = ScriptedWatch(self.clock)
        self.audit = MemoryAudit()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.host = "localhost" if tls else "127.0.0.1"

    def __enter__(self) -> Self:
        self._thread.start()
        self.call(self._start())
        self.port = self.gateway.port
        return self

    def __exit__(self, *_: object) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def token(self, subject: str) -> str:
        issued = self.call(self.tokens.issue(Subject(id=SubjectId(subject)), caller=CALLER))
        return issued.token.reveal()

    def dsn(self, subject: str, more: str = "") -> str:
        mode = "require" if self._tls else "disable"
        return (
            f"host={self.host} port={self.port} dbname=orders user={subject.partition('@')[0]} "
            f"password={self.token(subject)} sslmode={mode} gssencmode=disable {more}"
        )

    def noted(self, what: str) -> list[Noted]:
        return [event for event in self.audit.events if isinstance(event, Noted) and event.what == what]

    @property
    def statement_files(self) -> list[Path]:
        """One, or one of each worker that has recorded anything."""
        return sorted(self.folder.glob("statements*.jsonl"))

    def statements(self) -> str:
        """All that is recorded of statements."""
        return "".join(file.read_text() for file in self.statement_files)

    def sync_guard(self) -> None:
        """Have the guard look at every lease again, as after a roster change."""

        async def poke() -> None:
            self.guard.roster_changed()

        self.call(poke())

    async def _start(self) -> None:
        config = target_config(self._server, **dict(self._target_changes))
        built = build(config, name=ORDERS, clock=self.clock)
        assert isinstance(built, PostgresTarget)
        self.target = built
        count = itertools.count()
        self.guard = GuardSessions(
            deciding=Deciding(
                decide=self.watch.decide, foresee=self.watch.foresee, judge=self.watch.judge, caller=CALLER
            ),
            protected={
                ORDERS: Protected(target=self.target, privileges=(PrivilegeName("read"), PrivilegeName("write")))
            },
            audit=self.audit,
            clock=self.clock,
            new_id=lambda: f"{next(count):04x}{secrets.token_hex(6)}",
            rules=self._rules,
        )
        self.tokens = LoginTokens(audit=self.audit, clock=self.clock, new_secret=lambda: secrets.token_urlsafe(32))
        parts: dict[str, Any] = {
            "guard": self.guard, "tokens": self.tokens, "audit": self.audit, "clock": self.clock, "caller": CALLER.id,
        }  # fmt: skip
        if self._workers:
            self.gateway: Any = Workers(self._section(), **parts)
        else:
            self.gateway = Gateway(self._gateway_rules(), **parts)
        await self.gateway.start()

    def _section(self) -> GatewaySection:
        certificate, key = self._tls or (None, None)
        database = DatabaseSection(resource=ORDERS, trace=self._trace, parameters=self._parameters)
        fields: dict[str, Any] = {
            "port": self.port, "databases": {"orders": database}, "certificate": certificate, "key": key,
            "statements": self.folder / "statements.jsonl", "workers": self._workers,
        }  # fmt: skip
        return GatewaySection(**(fields | _as_section(self._gateway_changes)))

    def _gateway_rules(self) -> GatewayRules:
        fields: dict[str, Any] = {
            "port": self.port,
            "reuse_port": bool(self.port),
            "databases": {"orders": Database(resource=ORDERS, trace=self._trace, parameters=self._parameters)},
            "tls": server_tls(*self._tls) if self._tls else None,
            "statements": LogRules(path=self.folder / "statements.jsonl"),
        }
        return GatewayRules(**(fields | self._gateway_changes))

    async def _stop(self) -> None:
        await self.gateway.close()
        await self.target.close()
