"""All of it as a person meets it: `serve`, a rota, `login`, `connect`, the handoff, `sessions`, `residue`, `reap`."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.live.house import RealClock
from tests.live.test_sessions_end import accounts, until
from watchkey.entrypoints.cli.init import write_example
from watchkey.simulator.postgres_server import PostgresServer

ROSTER = """\
people:
  alice: {{name: Alice Adams}}
  bob: {{name: Bob Brown}}
schedules:
  primary:
    name: Orders, primary
    zone: UTC
    layers: [{{participants: [bob], turn: daily, handoff: "00:00", from: 2026-01-01}}]
    overrides: [{{person: alice, from: "{start}", to: "{handoff}", by: bob}}]
policies: {{orders: {{name: Orders, levels: [[primary]]}}}}
services: {{orders: {{name: Orders, policy: orders}}}}
"""
TARGET = """\
    target:
      host: 127.0.0.1
      port: {port}
      database: orders
      tls: false
      manager: watchkey_manager
      manager_password: {{env: MANAGER_PASSWORD}}
      groups: {{read: [orders_read], write: [orders_write]}}
"""
LISTEN = """\
listen:
  http: {port: 0}
  gateways:
    - {port: 0, databases: {orders: {resource: orders-db}}}
"""


def configure(folder: Path, server: PostgresServer, handoff_in: float) -> str:
    token = write_example(folder, is_forced=False).token.reveal()
    now = RealClock().now()
    moment = "%Y-%m-%dT%H:%M:%SZ"
    (folder / "roster.yaml").write_text(
        ROSTER.format(
            start=f"{now - timedelta(hours=30):{moment}}", handoff=f"{now + timedelta(seconds=handoff_in):{moment}}"
        )
    )
    text = (folder / "watchkey.yaml").read_text()
    text = re.sub(r"\n  dashboards:\n(    .*\n|\n)*", "\n", text)
    text = re.sub(r"\nlisten:\n(  .*\n)*", "\n", text)
    text = text.replace("    needs: either", TARGET.format(port=server.port) + "    needs: either")
    text = re.sub(r"\n  carol:.*", "", text)
    (folder / "watchkey.yaml").write_text(text + "\n" + LISTEN)
    return token


def watchkey(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml"), *words],
        env={**os.environ, "MANAGER_PASSWORD": "manager", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextmanager
def serving(folder: Path) -> Iterator[Mapping[str, str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml"), "serve"],
        env={**os.environ, "MANAGER_PASSWORD": "manager"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        found: dict[str, str] = {}
        while "ready" not in found:
            line = process.stdout.readline().strip()
            assert line, "it ended before it was ready"
            first, _, last = line.rpartition(" on ")
            found[first or last] = last.removeprefix("postgresql://")
        yield {**found, "pid": str(process.pid)}
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def test_a_watch_from_login_to_handoff(server: PostgresServer, tmp_path: Path) -> None:
    # five commands come before the handoff, and a busy machine is slow to start each of them
    token = configure(tmp_path, server, handoff_in=15 + 4 * os.getloadavg()[0])
    with serving(tmp_path) as where:
        caller = {"WATCHKEY_TOKEN": token, "WATCHKEY_SERVER": where["listening"], "WATCHKEY_GATEWAY": where["gateway"]}
        login = watchkey(tmp_path, "login", "alice", "--json", **caller)
        assert login.returncode == 0, login.stderr
        host, _, port = where["gateway"].rpartition(":")
        dsn = f"host={host} port={port} dbname=orders-db user=alice password={json.loads(login.stdout)['token']}"
        with psycopg.connect(dsn, autocommit=True) as db:
            db.execute("INSERT INTO orders (what) VALUES ('from the watch')")
            listed = watchkey(tmp_path, "sessions", "--json", **caller)
            (session,) = json.loads(listed.stdout)["sessions"]
            assert (session["subject"], session["resource"]) == ("alice", "orders-db")
            assert "alice" in watchkey(tmp_path, "sessions", **caller).stdout
            alive = json.loads(watchkey(tmp_path, "residue", "--json").stdout)
            assert [one["subject"] for one in alive] == ["alice"]
            with pytest.raises(psycopg.OperationalError, match="ended at"):
                db.execute("SELECT pg_sleep(250)")
        with pytest.raises(psycopg.OperationalError) as denied:
            psycopg.connect(dsn)
        assert "Bob Brown" in str(denied.value)
        bob = watchkey(
            tmp_path,
            "connect",
            "orders-db",
            "--as",
            "bob",
            "--sslmode",
            "disable",
            "--",
            "-XAtc",
            "SELECT session_user",
            **caller,
        )
        assert bob.stdout.startswith("wk_bob_"), bob.stderr
        printed = watchkey(tmp_path, "connect", "orders-db", "--as", "bob", "--print", **caller).stdout
        assert re.fullmatch(r"postgresql://bob:wkt_[\w-]+@127\.0\.0\.1:\d+/orders-db\?sslmode=require\n", printed)
        kept = tmp_path / "pgpass"
        kept.write_text("other:1:*:x:y\n")
        for _ in range(2):
            watchkey(tmp_path, "login", "bob", "--pgpass", str(kept), **caller)
        assert [line.split(":")[0] for line in kept.read_text().splitlines()] == ["other", "127.0.0.1"]
        assert kept.stat().st_mode & 0o777 == 0o600
        by_file = f"host={host} port={port} dbname=orders user=bob passfile={kept}"
        with psycopg.connect(by_file) as db:
            assert db.execute("SELECT 1").fetchone() == (1,)
    assert until(lambda: accounts(server) == "")
    assert watchkey(tmp_path, "audit", "verify").returncode == 0
    assert "from the watch" in (tmp_path / "statements.jsonl").read_text()


def test_the_first_sigterm_lets_sessions_end_and_the_second_ends_them(server: PostgresServer, tmp_path: Path) -> None:
    token = configure(tmp_path, server, handoff_in=600)
    with ExitStack() as stack:
        where = stack.enter_context(serving(tmp_path))
        caller = {"WATCHKEY_TOKEN": token, "WATCHKEY_SERVER": where["listening"]}
        login = json.loads(watchkey(tmp_path, "login", "alice", "--json", **caller).stdout)
        host, _, port = where["gateway"].rpartition(":")
        dsn = f"host={host} port={port} dbname=orders user=alice password={login['token']}"
        db = stack.enter_context(psycopg.connect(dsn, autocommit=True))
        os.kill(int(where["pid"]), signal.SIGTERM)
        assert until(lambda: "going down and takes no new sessions" in connecting(dsn))
        assert db.execute("SELECT 1").fetchone() == (1,)
        os.kill(int(where["pid"]), signal.SIGTERM)
        with pytest.raises(psycopg.OperationalError, match="the gateway is going down"):
            db.execute("SELECT pg_sleep(250)")
        os.waitid(os.P_PID, int(where["pid"]), os.WEXITED | os.WNOWAIT)  # a third signal would kill it
    assert accounts(server) == ""


def connecting(dsn: str) -> str:
    """What keeps us out."""
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


@pytest.mark.every_server
def test_reaping_and_looking_need_the_database_alone(server: PostgresServer, tmp_path: Path) -> None:
    server.sql(
        "SET ROLE watchkey_manager; CREATE ROLE wk_old_00000000000000ab LOGIN PASSWORD 'x' IN ROLE orders_read;"
        "COMMENT ON ROLE wk_old_00000000000000ab IS "
        """'{"watchkey": 1, "lease": "00000000000000ab", "subject": "old", "until": "2020-01-01T00:00:00+00:00"}'"""
    )
    url = f"postgresql://watchkey_manager@127.0.0.1:{server.port}/orders?tls=off"
    words = ("--database", url)
    assert "wk_old_00000000000000ab  alive" in watchkey(tmp_path, "residue", *words, PGPASSWORD="manager").stdout
    reaped = watchkey(tmp_path, "reap", *words, "--json", PGPASSWORD="manager")
    assert reaped.returncode == 0, reaped.stderr
    assert [one["is_gone"] for one in json.loads(reaped.stdout)] == [True]
    assert accounts(server) == ""
    assert "nothing outlived its lease" in watchkey(tmp_path, "reap", *words, PGPASSWORD="manager").stdout
    assert watchkey(tmp_path, "reap", "--database", "orders", PGPASSWORD="manager").returncode == 2
    dead = "postgresql://watchkey_manager@127.0.0.1:1/orders?tls=off"
    assert watchkey(tmp_path, "reap", "--database", dead, PGPASSWORD="manager").returncode == 3
