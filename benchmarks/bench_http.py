"""Decisions per second over HTTP at 1 and 32 connections, each question new and within its TTL, against a real OPA.

Server and load generator share the machine over loopback, as they do for OPA. Watchkey is `watchkey serve` as it ships,
with its audit log on disk: *new* means a question that was never asked, decided by the policy and made durable before
it is answered; *again* means the same question within its TTL. OPA gets the shipped policy and, as its input, the
document that Watchkey's policy sees, so it finds no facts, keeps no log and knows no TTL: both columns are the same to
it. Without `opa` on PATH its lines are left out.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter, sleep
from typing import Any, cast

import httpx
import uvloop

from watchkey import wiring
from watchkey.entrypoints.cli.init import write_example
from watchkey.model.access import AccessRequest, Subject
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.settings import load_settings

CONNECTIONS = (1, 32)
WARM_UP_S = 0.7


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; latencies in microseconds, as the client sees them."""

    server: str
    question: str
    connections: int
    per_second: float
    p50_us: float
    p99_us: float


class Client(asyncio.Protocol):
    """One connection that sends the next question when it has its answer."""

    def __init__(self, next_request: Callable[[], bytes], expected: bytes, latencies: list[float]) -> None:
        self.next_request = next_request
        self.expected = expected
        self.latencies = latencies
        self.is_stopping = False
        self.is_over = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the first question."""
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        """Send a question."""
        request = self.next_request()
        self.sent_at = perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is whole, and that it is the right one."""
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self.buffer.lower().find(b"\r\ncontent-length: ", 0, end)
        length = int(self.buffer[at + 18 : self.buffer.find(b"\r\n", at + 18)])
        if len(self.buffer) < end + 4 + length:
            return
        self.latencies.append(perf_counter() - self.sent_at)
        if self.expected not in self.buffer and not self.is_over.done():
            self.is_over.set_exception(AssertionError(f"not the answer that was expected: {self.buffer[:300]!r}"))
        self.buffer = b""
        if not self.is_stopping:
            self.ask()
        elif not self.is_over.done():
            self.is_over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """A server that hangs up has failed."""
        if not self.is_over.done():
            self.is_over.set_exception(exc or ConnectionError("the server closed the connection"))


async def load(port: int, connections: int, seconds: float, make: Callable[[], bytes], expected: bytes) -> list[float]:
    """Ask for so long; the latencies, in seconds, of what came after the warm-up."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    clients = [
        (await loop.create_connection(lambda: Client(make, expected, latencies), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP_S)
    latencies.clear()
    await asyncio.sleep(seconds)
    measured = list(latencies)
    for client in clients:
        client.is_stopping = True
    await asyncio.wait_for(asyncio.gather(*(client.is_over for client in clients)), 30)
    for client in clients:
        client.transport.close()
    return measured


def measure(
    server: str, question: str, port: int, seconds: float, make: Callable[[], bytes], expected: bytes
) -> Iterator[Row]:
    """One row for each number of connections."""
    for connections in CONNECTIONS:
        latencies = uvloop.run(load(port, connections, seconds, make, expected))
        cuts = quantiles(latencies, n=100)
        yield Row(
            server=server,
            question=question,
            connections=connections,
            per_second=round(len(latencies) / seconds),
            p50_us=round(cuts[49] * 1e6),
            p99_us=round(cuts[98] * 1e6),
        )


def post(path: str, body: bytes, token: str = "") -> bytes:
    """A request as bytes."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def running(command: list[str], port: int, path: str) -> Iterator[None]:
    """Start a server, wait until it is ready, and end it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        give_up = monotonic() + 30
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}{path}").status_code == httpx.codes.OK:
                    break
            if process.poll() is not None or monotonic() > give_up:
                raise RuntimeError(f"{command[0]} did not start")
            sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def bench_watchkey(folder: Path, token: str, subject: str, seconds: float) -> Iterator[Row]:
    """Measure `watchkey serve`."""
    port = free_port()
    program = [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml")]
    ask = {"subject": {"id": subject}, "privilege": "write", "resource": "orders-db"}
    again = post("/v1/decide", json.dumps(ask).encode(), token)
    numbers = count()

    def new() -> bytes:
        body = {**ask, "subject": {"id": subject, "groups": [f"g{next(numbers)}"]}}
        return post("/v1/decide", json.dumps(body).encode(), token)

    with running([*program, "serve", "--port", str(port)], port, "/ready"):
        yield from measure("watchkey", "again", port, seconds, lambda: again, b'"allow":true')
        yield from measure("watchkey", "new", port, seconds, new, b'"allow":true')


def bench_opa(folder: Path, document: Any, seconds: float) -> Iterator[Row]:
    """Measure `opa run --server`."""
    port = free_port()
    policy = folder / "default.rego"
    policy.write_text(wiring.shipped_policy("default.rego"))
    request = post("/v1/data/watchkey/decision", json.dumps({"input": document}).encode())
    command = ["opa", "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", str(policy)]
    with running(command, port, "/health"):
        yield from measure("opa", "any", port, seconds, lambda: request, b'"allow":true')


async def asked(folder: Path) -> tuple[str, Any]:
    """Who is on call now, and the document that the policy sees of them."""
    desk = await wiring.open_desk(load_settings(folder / "watchkey.yaml"))
    for subject in ("alice", "bob", "carol"):
        request = AccessRequest(
            subject=Subject(id=SubjectId(subject)),
            privilege=PrivilegeName("write"),
            resource=ResourceId("orders-db"),
            caller=CallerId("local"),
        )
        explained = await desk.request_access.explain(request)
        if explained.decision.reason.value == "on_call":
            return subject, explained.document
    raise RuntimeError("nobody of the example's roster is on call")


def prepared(folder: Path) -> str:
    """Write a configuration whose one caller has no quota; its token."""
    token = write_example(folder, is_forced=True).token.reveal()
    file = folder / "watchkey.yaml"
    text = file.read_text().replace(
        "port: 8181", "port: 8181\n    limits: {quota_per_s: 1000000, quota_burst: 1000000}"
    )
    file.write_text(text)
    return token


def table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [f"{'server':<10}{'question':<10}{'connections':>12}{'per second':>12}{'p50 µs':>9}{'p99 µs':>9}"]
    lines += [
        f"{r.server:<10}{r.question:<10}{r.connections:>12}{r.per_second:>12,.0f}{r.p50_us:>9,.0f}{r.p99_us:>9,.0f}"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print a table, and with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds for each measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="watchkey-bench-") as name:
        folder = Path(name)
        token = prepared(folder)
        subject, document = asyncio.run(asked(folder))
        rows = list(bench_watchkey(folder, token, subject, options.seconds))
        if shutil.which("opa"):
            rows += bench_opa(folder, document, options.seconds)
        else:
            print("opa is not on PATH: not compared", file=sys.stderr)
    print(table(rows))
    if options.json:
        print(json.dumps({"bench": "http", "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
