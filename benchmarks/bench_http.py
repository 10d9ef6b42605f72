"""Decisions per second over HTTP at 1 and 32 connections, each question new and within its TTL, against a real OPA.

Server and load generator share the machine over loopback, as they do for OPA. Watchkey is `watchkey serve` as it ships,
with its audit log on disk: *new* means a question that was never asked, decided by the policy and made durable before
it is answered; *again* means the same question within its TTL. OPA gets the shipped policy and, as its input, the
document that Watchkey's policy sees, so it finds no facts, keeps no log and knows no TTL: both kinds are the same to
it. Without `opa` on PATH its lines are left out. The line *uvicorn*, where that is installed, is a bare ASGI
application that decodes the question and answers a constant: what a general server costs before anything is decided.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from math import isnan, nan
from pathlib import Path
from statistics import quantiles
from time import monotonic, perf_counter, sleep
from typing import Any, cast

import httpx
import msgspec
import uvloop

from watchkey import wiring
from watchkey.entrypoints.cli.init import write_example
from watchkey.entrypoints.http.native import Question
from watchkey.model.access import AccessRequest, Subject
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.settings import load_settings

CONNECTIONS = (1, 32)
WARM_UP_S = 0.7


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement; times in microseconds, latencies as the client sees them."""

    server: str
    question: str
    connections: int
    per_second: float
    p50_us: float
    p99_us: float
    cpu_us: float | None
    """What the server's process spent on one answer, all threads; None where the system does not tell."""


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


def cpu_seconds(pid: int) -> float:
    """What a process has spent on the processor; `nan` where the system does not tell in this way."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def load(
    server: "Server", connections: int, seconds: float, make: Callable[[], bytes], expected: bytes
) -> tuple[list[float], float]:
    """Ask for so long; the latencies of what came after the warm-up and the server's processor time, in seconds."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    clients = [
        (await loop.create_connection(lambda: Client(make, expected, latencies), "127.0.0.1", server.port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(WARM_UP_S)
    latencies.clear()
    before = cpu_seconds(server.pid)
    await asyncio.sleep(seconds)
    measured, spent = list(latencies), cpu_seconds(server.pid) - before
    for client in clients:
        client.is_stopping = True
    await asyncio.wait_for(asyncio.gather(*(client.is_over for client in clients)), 30)
    for client in clients:
        client.transport.close()
    return measured, spent


def measure(
    server: "Server", question: str, seconds: float, make: Callable[[], bytes], expected: bytes = b'"allow":true'
) -> Iterator[Row]:
    """One row for each number of connections."""
    for connections in CONNECTIONS:
        latencies, spent = uvloop.run(load(server, connections, seconds, make, expected))
        cuts = quantiles(latencies, n=100)
        yield Row(
            server=server.name,
            question=question,
            connections=connections,
            per_second=round(len(latencies) / seconds),
            p50_us=round(cuts[49] * 1e6),
            p99_us=round(cuts[98] * 1e6),
            cpu_us=None if isnan(spent) else round(spent / len(latencies) * 1e6, 1),
        )


def post(path: str, body: bytes, token: str = "") -> bytes:
    """A request as bytes."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs."""

    name: str
    port: int
    pid: int


@contextlib.contextmanager
def running(name: str, command: list[str], port: int, path: str) -> Iterator[Server]:
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
        yield Server(name=name, port=port, pid=process.pid)
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

    with running("watchkey", [*program, "serve", "--port", str(port)], port, "/ready") as server:
        yield from measure(server, "again", seconds, lambda: again)
        yield from measure(server, "new", seconds, new)


def bench_opa(folder: Path, document: Any, seconds: float) -> Iterator[Row]:
    """Measure `opa run --server`."""
    port = free_port()
    policy = folder / "default.rego"
    policy.write_text(wiring.shipped_policy("default.rego"))
    request = post("/v1/data/watchkey/decision", json.dumps({"input": document}).encode())
    command = ["opa", "run", "--server", "--addr", f"127.0.0.1:{port}", "--log-level", "error", str(policy)]
    with running("opa", command, port, "/health") as server:
        yield from measure(server, "any", seconds, lambda: request)


def bench_uvicorn(token: str, subject: str, seconds: float) -> Iterator[Row]:
    """Measure a bare ASGI application that decides nothing."""
    port = free_port()
    options = [
        "--port",
        str(port),
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--log-level",
        "error",
    ]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.bench_http:constant", *options]
    ask = {"subject": {"id": subject}, "privilege": "write", "resource": "orders-db"}
    request = post("/v1/decide", json.dumps(ask).encode(), token)
    with running("uvicorn", command, port, "/") as server:
        yield from measure(server, "constant", seconds, lambda: request)


async def constant(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The bare ASGI application."""
    if scope["type"] != "http":
        return
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body, is_more = body + message.get("body", b""), message.get("more_body", False)
    if body:
        msgspec.json.decode(body, type=Question)
    answer = msgspec.json.encode({"allow": True, "reason": "on_call", "ttl_s": 3600, "sentence": "x" * 400})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


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
    lines = [
        f"{'server':<10}{'question':<10}{'connections':>12}{'per second':>12}{'p50 µs':>9}{'p99 µs':>9}{'CPU µs':>9}"
    ]
    for row in rows:
        figures = (row.per_second, row.p50_us, row.p99_us, row.cpu_us)
        shown = ["" if figure is None else f"{figure:,.0f}" for figure in figures]
        first = f"{row.server:<10}{row.question:<10}{row.connections:>12}"
        lines.append(first + "".join(f"{text:>{width}}" for text, width in zip(shown, (12, 9, 9, 9), strict=True)))
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
        if importlib.util.find_spec("uvicorn"):
            rows += bench_uvicorn(token, subject, options.seconds)
        if shutil.which("opa"):
            rows += bench_opa(folder, document, options.seconds)
        else:
            print("opa is not on PATH: not compared", file=sys.stderr)
    print(table(rows))
    if options.json:
        print(json.dumps({"bench": "http", "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
