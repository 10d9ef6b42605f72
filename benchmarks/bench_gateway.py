"""The PostgreSQL gateway against a direct connection and pgbouncer: throughput, latency, bulk, memory, handoff."""

import argparse
import json
import os
import pwd
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.live.gateway_process import GatewayProcess
from tests.live.house import prepare
from watchkey.simulator.postgres_server import PostgresServer, find_binaries

SECONDS = 3
ROUNDS = 3


def main() -> None:
    """Print a table, or with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sessions", type=int, default=1000)
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(settings={"max_connections": "1200"}))
        prepare(server)
        server.sql("CREATE TABLE bulk AS SELECT repeat('x', 90) AS x FROM generate_series(1, 1000000);"
                   "GRANT SELECT ON bulk TO orders_read; CREATE ROLE bench LOGIN PASSWORD 'bench' IN ROLE orders_write;"
                   "GRANT SELECT ON bulk TO bench;", "orders")  # fmt: skip
        run_pgbench_setup(server)
        ways: dict[str, tuple[int, str, str]] = {"direct": (server.port, "bench", "bench")}
        bouncer = stack.enter_context(pgbouncer(server))
        if bouncer:
            ways["pgbouncer"] = (bouncer, "bench", "bench")
        for name, trace in (("gateway", "off"), ("gateway+audit", "statements")):
            port, token = stack.enter_context(gateway(server, trace))
            ways[name] = (port, "alice", token)
        figures["throughput"] = throughput(ways, arguments.seconds, arguments.rounds)
        figures["bulk"] = bulk(ways)
        figures["memory"], figures["handoff"] = idle_and_handoff(server, arguments.sessions)
    if arguments.json:
        print(json.dumps(figures))


@contextmanager
def gateway(server: PostgresServer, trace: str) -> Iterator[tuple[int, str]]:
    process = GatewayProcess(server, trace)
    try:
        yield process.port, process.token
    finally:
        process.stop()


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[int]:
    """A pgbouncer in session mode, if there is one."""
    program = shutil.which("pgbouncer") or ("/usr/sbin/pgbouncer" if Path("/usr/sbin/pgbouncer").exists() else None)
    if program is None:
        print("pgbouncer is not installed: no column for it")
        yield 0
        return
    port = server.port + 1
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "users").write_text('"bench" "bench"\n')
        (folder / "ini").write_text(
            f"[databases]\norders = host=127.0.0.1 port={server.port} dbname=orders\n[pgbouncer]\n"
            f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=scram-sha-256\nauth_file={folder}/users\n"
            f"pool_mode=session\nmax_client_conn=2000\ndefault_pool_size=100\nunix_socket_dir=\n"
            f"logfile={folder}/log\npidfile={folder}/pid\n"
        )
        owner = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if owner:
            for path in (folder, *folder.iterdir()):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        process = subprocess.Popen(
            [program, "-q", str(folder / "ini")], stderr=subprocess.DEVNULL,
            user=owner.pw_uid if owner else None, group=owner.pw_gid if owner else None,
        )  # fmt: skip
        time.sleep(0.5)
        try:
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def run_pgbench_setup(server: PostgresServer) -> None:
    subprocess.run(
        [find_binaries() / "pgbench", "-i", "-q", "-s", "5", "-h", server.folder, "-p", str(server.port), "-U",
         server.superuser, "orders"], check=True, capture_output=True,
    )  # fmt: skip
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO orders_read, bench", "orders")


def pgbench(way: tuple[int, str, str], clients: int, mode: str, seconds: int) -> tuple[float, float]:
    """Transactions per second, and the mean latency in milliseconds."""
    port, user, password = way
    done = subprocess.run(
        [find_binaries() / "pgbench", "-S", "-n", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds),
         f"host=127.0.0.1 port={port} user={user} dbname=orders sslmode=disable"],
        env={**os.environ, "PGPASSWORD": password, "PGGSSENCMODE": "disable"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    words = done.stdout.splitlines()
    tps = next(float(line.split()[2]) for line in words if line.startswith("tps"))
    latency = next(float(line.split()[3]) for line in words if line.startswith("latency average"))
    return tps, latency


def throughput(ways: dict[str, tuple[int, str, str]], seconds: int, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of paired rounds, as share of direct; and of pgbouncer for the latency at one client."""
    out: dict[str, dict[str, float]] = {}
    print(f"\npgbench -S, {rounds} rounds of {seconds} s, median share of direct (latency in ms at 1 client)")
    print(f"{'':>16}" + "".join(f"{name:>16}" for name in ways))
    for mode in ("simple", "prepared"):
        for clients in (1, 8, 32):
            shares: dict[str, list[float]] = {name: [] for name in ways}
            latencies: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(rounds):
                base = 0.0
                for name, way in ways.items():
                    tps, latency = pgbench(way, clients, mode, seconds)
                    base = base or tps
                    shares[name].append(tps / base)
                    latencies[name].append(latency)
            row = {name: statistics.median(values) for name, values in shares.items()}
            out[f"{mode}-{clients}"] = row
            print(f"{mode:>10} {clients:>5}" + "".join(f"{row[name]:>16.2f}" for name in ways))
            if clients == 1:
                millis = {name: statistics.median(values) for name, values in latencies.items()}
                out[f"{mode}-1-latency-ms"] = millis
                print(f"{'latency':>16}" + "".join(f"{millis[name]:>16.3f}" for name in ways))
    return out


def bulk(ways: dict[str, tuple[int, str, str]]) -> dict[str, dict[str, float]]:
    """A result and a COPY of 100 MB: seconds, as share of direct's speed."""
    out: dict[str, dict[str, float]] = {}
    print("\n100 MB: seconds (speed as share of direct)")
    for what, sql in (("result", "SELECT x FROM bulk"), ("copy", "COPY bulk TO STDOUT")):
        times: dict[str, float] = {}
        for name, way in ways.items():
            times[name] = min(one_bulk(way, sql) for _ in range(3))
        out[what] = {name: times["direct"] / seconds for name, seconds in times.items()}
        print(f"{what:>16}" + "".join(f"  {name} {times[name]:.2f} ({out[what][name]:.2f})" for name in ways))
    return out


def one_bulk(way: tuple[int, str, str], sql: str) -> float:
    import psycopg

    port, user, password = way
    dsn = f"host=127.0.0.1 port={port} user={user} dbname=orders password={password} sslmode=disable gssencmode=disable"
    with psycopg.connect(dsn) as db:
        begin = time.perf_counter()
        if sql.startswith("COPY"):
            with db.cursor().copy(sql) as copy:
                size = sum(len(data) for data in copy)
        else:
            size = db.execute(sql).rowcount
        assert size > 0
        return time.perf_counter() - begin


def idle_and_handoff(server: PostgresServer, count: int) -> tuple[dict[str, float], dict[str, float]]:
    """Many idle sessions: memory for each, then one planned end for all, from the instant to the last byte."""
    import socket

    process = GatewayProcess(server)
    try:
        before = int(process.ask("rss"))
        clients = [raw_login("127.0.0.1", process.port, "alice", process.token) for _ in range(count)]
        time.sleep(1)
        each = (int(process.ask("rss")) - before) / count
        lasts: list[float] = []

        def watch(some: list[socket.socket]) -> None:
            import selectors

            selector = selectors.DefaultSelector()
            for client in some:
                client.setblocking(False)
                selector.register(client, selectors.EVENT_READ)
            left = len(some)
            while left:
                for key, _ in selector.select(30):
                    if not key.fileobj.recv(65536):  # type: ignore[union-attr]  a socket, as registered
                        lasts.append(time.time())  # noqa: TID251  compared with the other process's wall clock
                        selector.unregister(key.fileobj)
                        left -= 1

        at = float(process.ask("end 3"))
        watcher = threading.Thread(target=watch, args=(clients,))
        watcher.start()
        watcher.join(60)
        overruns = sorted((last - at) * 1000 for last in lasts)
        for client in clients:
            client.close()
    finally:
        process.stop()
    memory = {"sessions": count, "KiB_each": round(each, 1)}
    handoff = {
        "sessions": len(overruns),
        "p50_ms": round(overruns[len(overruns) // 2], 1),
        "p99_ms": round(overruns[int(len(overruns) * 0.99)], 1),
        "max_ms": round(overruns[-1], 1),
    }
    print(f"\nidle sessions: {memory}\nplanned handoff, instant to last byte: {handoff}")
    return memory, handoff


def raw_login(host: str, port: int, user: str, token: str) -> "object":
    """A client of the protocol's bare bones, to keep a thousand of them cheap."""
    import socket

    from watchkey.wire.pg_messages import message, startup_message

    sock = socket.create_connection((host, port))
    sock.sendall(startup_message({"user": user, "database": "orders"}))
    sock.recv(1024)
    sock.sendall(message(b"p", token.encode() + b"\0"))
    data = b""
    while not data.endswith(b"Z\x00\x00\x00\x05I"):
        chunk = sock.recv(65536)
        if not chunk:
            raise RuntimeError(data.decode(errors="replace"))
        data += chunk
    return sock


if __name__ == "__main__":
    main()
