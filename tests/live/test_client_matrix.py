"""Real drivers go through the gateway over TLS: they work, can cancel, and the end reaches them in every situation."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live.conftest import FETCHED
from tests.live.house import ALICE, LiveHouse
from tests.live.test_sessions_end import accounts, rows, sessions_of_leases, until
from watchkey.simulator.postgres_server import PostgresServer

HERE = Path(__file__).parent / "clients"
SENTENCE = "you are not on call for orders; bob is primary now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A driver's probe. In `untold` it may see the closing before the words, as it does without a gateway too."""

    name: str
    command: Callable[[], Sequence[str]]
    works: frozenset[str]
    """Scenarios that must succeed."""
    fails: Mapping[str, str]
    """Scenarios that must fail by this SQLSTATE, or by this text."""
    expires: frozenset[str]
    untold: frozenset[str] = frozenset()


def python(module: str, *words: str) -> Callable[[], Sequence[str]]:
    return lambda: [sys.executable, "-m", f"tests.live.clients.{module}", *words]


def node() -> Sequence[str]:
    if not shutil.which("node") or not (FETCHED / "node_modules" / "pg").is_dir():
        pytest.skip("node-postgres is not here: node, npm and `.ci/clients/fetch` bring it")
    return ["node", str(HERE / "probe.js")]


def java() -> Sequence[str]:
    jars = sorted(FETCHED.glob("postgresql-*.jar"))
    if not shutil.which("java") or not jars:
        pytest.skip("pgjdbc is not here: java, mvn and `.ci/clients/fetch` bring it")
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", str(jars[-1]), str(HERE / "Probe.java")]


EVERYWHERE = frozenset({"idle", "in_transaction", "in_long_query"})
CANCELLED = {"cancel": "57014"}
CLIENTS = [
    Client(
        name="psql", command=python("psql_probe"),
        works=frozenset({"connect", "copy", "meta", "pgbench_simple", "pgbench_extended", "pgbench_prepared"}),
        fails=CANCELLED, expires=EVERYWHERE | {"listening", "in_copy", "pgbench", "pipelined"},
        untold=frozenset({"in_copy"}),
    ),
    Client(
        name="psycopg", command=python("psycopg_probe"),
        works=frozenset(
            {"connect", "prepared", "pipeline", "copy", "large", "notify", "direct_tls", "newest_protocol"}
        ),
        fails={**CANCELLED, "cancel_in_clear": "57014"},
        expires=EVERYWHERE | {"in_copy", "in_copy_out", "pipelined", "listening"},
        untold=frozenset({"in_copy", "in_copy_out", "pipelined", "listening"}),
    ),
    Client(
        name="psycopg async", command=python("psycopg_async_probe"),
        works=frozenset({"connect", "pipeline", "copy"}), fails=CANCELLED,
        expires=frozenset({"idle", "in_long_query", "in_copy", "pipelined", "listening"}),
        untold=frozenset({"in_copy", "pipelined", "listening"}),
    ),
    Client(
        name="asyncpg", command=python("asyncpg_probe"),
        works=frozenset({"connect", "direct_tls", "prepared", "copy", "notify", "cancel_and_on"}), fails={},
        expires=EVERYWHERE | {"in_copy", "listening"}, untold=EVERYWHERE - {"in_long_query"} | {"in_copy", "listening"},
    ),
    Client(
        name="sqlalchemy on psycopg", command=python("sqlalchemy_probe", "psycopg"),
        works=frozenset({"connect", "rows", "streamed"}), fails={}, expires=EVERYWHERE,
    ),
    Client(
        name="sqlalchemy on asyncpg", command=python("sqlalchemy_probe", "asyncpg"),
        works=frozenset({"connect"}), fails={}, expires=frozenset({"in_transaction", "in_long_query"}),
        untold=frozenset({"in_transaction"}),
    ),
    Client(
        name="jdbc", command=java,
        works=frozenset(
            {"connect", "gss_refused", "simple_protocol", "dbeaver", "prepared", "batch", "copy", "large", "notify"}
        ),
        fails={**CANCELLED, "channel_binding_required": "Channel binding is required"},
        expires=EVERYWHERE | {"in_copy", "pipelined", "listening"}, untold=frozenset({"in_copy"}),
    ),
    Client(
        name="node-postgres", command=node,
        works=frozenset({"connect", "direct_tls", "prepared", "large", "pool", "notice", "notify"}),
        fails={**CANCELLED, "error": "22012"}, expires=EVERYWHERE | {"pipelined", "listening"},
    ),
]  # fmt: skip


@contextmanager
def probing(client: Client, house: LiveHouse, ca: Path) -> Iterator["subprocess.Popen[str]"]:
    where = {
        "HOST": house.host, "PORT": str(house.port), "USER": "alice", "PASSWORD": house.token(ALICE),
        "DATABASE": "orders", "CA": str(ca),
    }  # fmt: skip
    process = subprocess.Popen(
        client.command(), stdout=subprocess.PIPE, text=True, cwd=HERE.parents[2],
        env={**os.environ, **{f"PROBE_{name}": value for name, value in where.items()},
             "NODE_PATH": str(FETCHED / "node_modules")},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_a_driver_works_until_the_watch_ends_and_is_told_so(
    open_house: Callable[..., LiveHouse], server: PostgresServer, certificate: tuple[Path, Path], client: Client
) -> None:
    house = open_house(tls=certificate, sessions_per_lease_max=50)
    house.watch.allow(ALICE, "read", "write")
    before = rows(server)
    said: dict[str, tuple[str, str]] = {}
    with probing(client, house, certificate[0]) as probe:
        assert probe.stdout is not None
        for line in probe.stdout:
            if line == "ready\n":
                house.watch.take(ALICE)
                house.sync_guard()
                continue
            outcome = json.loads(line)
            said[outcome["scenario"]] = outcome["sqlstate"], outcome["text"]
    assert said.keys() == client.works | client.fails.keys() | client.expires | {"denied"}
    assert {name: said[name] for name in client.works if said[name][0] != "ok"} == {}
    for name, words in client.fails.items():
        assert words in " ".join(said[name]), (name, said[name])
    for name in client.expires:
        assert said[name][0] != "ok", name
    untold = {name: said[name] for name in client.expires - client.untold if "bob is primary now" not in said[name][1]}
    assert untold == {}
    assert SENTENCE in said["denied"][1]
    assert until(lambda: sessions_of_leases(server) == 0)
    assert until(lambda: accounts(server) == "")
    assert rows(server) == before
