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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.gateway_process import GatewayProcess
from tests.live.house import prepare
from watchkey.simulator.postgres_server import PostgresServer, find_binaries

SECONDS = 3
ROUNDS = 5
KINDS = (("gateway", "off", 0), ("gateway+audit", "statements", 0), ("2 workers", "off", 2),
         ("2 workers+audit", "statements", 2))  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A way to the database, and the processes in the middle whose time is counted."""

    port: int
    user: str
    password: str
    processes: Sequence[int] = ()

    def cpu(self) -> float:
        """Seconds of processor that the processes in the middle have used."""
        tasks = [task for pid in self.processes for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    """Print a table, or with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--only", choices=("throughput", "bulk", "idle"), help="One part of it.")
    arguments = parser.parse_args()
    figures: dict[str, object] = {}
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(settings={"max_connections": "1200"}))
        prepare(server)
        server.sql("CREATE TABLE bulk AS SELECT repeat('x', 60 + i * 37 % 61) AS x "
                   "FROM generate_series(1, 1000000) i;"
                   "GRANT SELECT ON bulk TO orders_read; CREATE ROLE bench LOGIN PASSWORD 'bench' IN ROLE orders_write;"
                   "GRANT SELECT ON bulk TO bench;", "orders")  # fmt: skip
        run_pgbench_setup(server)
        ways = {"direct": Way(server.port, "bench", "bench")}
        bouncer = stack.enter_context(pgbouncer(server))
        if bouncer:
            ways["pgbouncer"] = bouncer
        for name, trace, workers in KINDS:
            ways[name] = stack.enter_context(gateway(server, trace, workers))
        if arguments.only in {None, "throughput"}:
            figures["throughput"] = throughput(ways, arguments.seconds, arguments.rounds)
        if arguments.only in {None, "bulk"}:
            figures["bulk"] = bulk(ways)
        if arguments.only in {None, "idle"}:
            for workers in (0, 2):
                figures[f"idle-{workers}-workers"] = idle_and_handoff(server, arguments.sessions, workers)
    if arguments.json:
        print(json.dumps(figures))


@contextmanager
def gateway(server: PostgresServer, trace: str, workers: int) -> Iterator[Way]:
    process = GatewayProcess(server, trace, workers=workers)
    try:
        pids = [process.process.pid, *map(int, process.ask("workers").split())]
        yield Way(process.port, "alice", process.token, pids)
    finally:
        process.stop()


@contextmanager
def pgbouncer(server: PostgresServer) -> Iterator[Way | None]:
    """A pgbouncer in session mode, if there is one."""
    program = shutil.which("pgbouncer") or ("/usr/sbin/pgbouncer" if Path("/usr/sbin/pgbouncer").exists() else None)
    if program is None:
        print("pgbouncer is not installed: no column for it")
        yield None
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
            yield Way(port, "bench", "bench", [process.pid])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def run_pgbench_setup(server: PostgresServer) -> None:
    subprocess.run(
        [find_binaries() / "pgbench", "-i", "-q", "-s", "5", "-h", server.folder, "-p", str(server.port), "-U",
         server.superuser, "orders"], check=True, capture_output=True,
    )  # fmt: skip
    server.sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO orders_read, bench", "orders")


def pgbench(way: Way, clients: int, mode: str, seconds: int) -> tuple[float, float]:
    """Transactions per second, and the mean latency in milliseconds."""
    done = subprocess.run(
        [find_binaries() / "pgbench", "-S", "-n", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(seconds),
         f"host=127.0.0.1 port={way.port} user={way.user} dbname=orders sslmode=disable"],
        env={**os.environ, "PGPASSWORD": way.password, "PGGSSENCMODE": "disable"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    words = done.stdout.splitlines()
    if not any(line.startswith("tps") for line in words):
        raise RuntimeError("not one transaction in the time: this machine is too busy to measure on")
    tps = next(float(line.split()[2]) for line in words if line.startswith("tps"))
    latency = next(float(line.split()[3]) for line in words if line.startswith("latency average"))
    return tps, latency


def throughput(ways: Mapping[str, Way], seconds: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians of paired rounds; the order of the ways turns, so that none always has the quiet moment."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    base = "pgbouncer" if "pgbouncer" in ways else "direct"
    print(f"\npgbench -S, medians of {rounds} paired rounds of {seconds} s, 2 decimals are more than they are worth")
    print(
        "share: of " + base + "'s throughput; CPU: microseconds a transaction in the middle; added: to direct's latency"
    )
    print(f"{'':>22}" + "".join(f"{name:>17}" for name in ways))
    for mode in ("simple", "prepared"):
        for clients in (1, 8, 32):
            runs = [one_round(ways, turn, clients, mode, seconds) for turn in range(rounds)]
            rows = {
                "share": {n: statistics.median(r[n][0] / r[base][0] for r in runs) for n in ways},
                "cpu_us": {n: statistics.median(r[n][2] for r in runs) for n in ways},
            }
            if clients == 1:
                rows["added_us"] = {n: statistics.median((r[n][1] - r["direct"][1]) * 1000 for r in runs) for n in ways}
            out[f"{mode}-{clients}"] = rows
            for what, row in rows.items():
                digits = 2 if what == "share" else 1
                print(
                    f"{mode:>10} {clients:>3} {what:>7}" + "".join(f"{row[n]:>17.{digits}f}" for n in ways), flush=True
                )
    return out


def one_round(
    ways: Mapping[str, Way], turn: int, clients: int, mode: str, seconds: int
) -> dict[str, tuple[float, float, float]]:
    """For each way: transactions a second, latency in ms, microseconds of CPU a transaction in the middle."""
    names, found = list(ways), {}
    for name in names[turn % len(names) :] + names[: turn % len(names)]:
        before = ways[name].cpu()
        tps, latency = pgbench(ways[name], clients, mode, seconds)
        found[name] = (tps, latency, (ways[name].cpu() - before) / (tps * seconds) * 1e6)
    return found


def bulk(ways: Mapping[str, Way]) -> dict[str, dict[str, dict[str, float]]]:
    """A result and a COPY of 100 MB: speed as share of direct's, and the same per core used in the middle."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    print("\n100 MB, best of 5: seconds (share of direct's speed; per core that the middle used)")
    for what, sql in (("result", "SELECT x FROM bulk"), ("copy", "COPY bulk TO STDOUT")):
        best = dict.fromkeys(ways, (float("inf"), float("inf")))
        for _ in range(5):
            for name, way in ways.items():
                before = way.cpu()
                seconds = one_bulk(way, sql)
                wall, used = best[name]
                best[name] = (min(wall, seconds), min(used, way.cpu() - before))
        direct = best["direct"][0]
        out[what] = {
            name: {"wall": direct / wall, "per_core": direct / used if used else 1.0}
            for name, (wall, used) in best.items()
        }
        print(f"{what:>8}" + "".join(
            f"  {name} {best[name][0]:.2f} ({found['wall']:.2f}; {found['per_core']:.2f})"
            for name, found in out[what].items()
        ), flush=True)  # fmt: skip
    return out


def one_bulk(way: Way, sql: str) -> float:
    import psycopg

    dsn = f"host=127.0.0.1 port={way.port} user={way.user} dbname=orders password={way.password} sslmode=disable"
    with psycopg.connect(f"{dsn} gssencmode=disable") as db:
        begin = time.perf_counter()
        if sql.startswith("COPY"):
            with db.cursor().copy(sql) as copy:
                size = sum(len(data) for data in copy)
        else:
            size = db.execute(sql).rowcount
        assert size > 0
        return time.perf_counter() - begin


def idle_and_handoff(server: PostgresServer, count: int, workers: int) -> dict[str, dict[str, float]]:
    """Many idle sessions: memory for each, then one planned end for all, from the instant to the last byte."""
    import socket

    process = GatewayProcess(server, workers=workers)
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
    where = f"{workers} workers" if workers else "in one process"
    print(f"\nidle sessions, {where}: {memory}\nplanned handoff, instant to last byte, {where}: {handoff}", flush=True)
    return {"memory": memory, "handoff": handoff}


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
