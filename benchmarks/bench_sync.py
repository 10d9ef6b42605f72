"""sync: reading 10,000 on-call entries of PagerDuty, a poll in which nothing changed, and webhook to changed decision.

*Reading*: the real adapter and the real flow (grading, indexing, the guard, no log) in a process of its own, from a
server that has its pages ready. The floor, in the same run: the same requests over one plain socket, the JSON decoded
and nothing done with it. *Webhook*: `watchkey serve` as it ships and the simulated PagerDuty; from the change at the
provider to the first decision that differs, seen by a client that asks every 2 ms. Polling is set so slow that
only the webhook can have caused the read; the pause of a second between two reads is waited for before each change.
"""

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.bench_http import free_port, running
from watchkey.flows.sync_roster import Synced, SyncRoster
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.rules.roster import GuardLimits
from watchkey.simulator import READ_TOKEN, Simulator
from watchkey.simulator.sample import fill
from watchkey.sources import pagerduty
from watchkey.stores import memory
from watchkey.wiring import SystemClock, create_audit_key, make_caller_token
from watchkey.wiring.dry import Forgetful, NoLog

NAME = SourceName("pagerduty")
PER_POLICY = 20
"""On-call entries of each escalation policy: ten people on two levels, each now and in the next turn."""
WEBHOOK_SECRET = "bench-webhook-secret"  # noqa: S105 -- of this run only
ASK_S = 0.002
"""Between two questions: the provider is in the same process and must have its turn."""
QUIET_S = 1.1
"""Longer than the pause between two reads that hints may cause."""

Rows = dict[str, list[dict[str, Any]]]


# --- a provider whose pages are ready -------------------------------------------------------------------------------


def rows_of(entries: int) -> Rows:
    """An account with so many on-call entries; half of them are of now, half of the next turn."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)  # noqa: TID251 -- shifts that cover now
    policies = [f"E{i}" for i in range(entries // PER_POLICY)]
    on_calls = []
    for i in range(entries):
        policy, n = policies[i // PER_POLICY], i % PER_POLICY
        begin = start if n % 2 == 0 else start + timedelta(hours=12)
        on_calls.append(
            {
                "user": _ref("user", f"U{i // 2}"),
                "schedule": _ref("schedule", f"S{i // 10}"),
                "escalation_policy": _ref("escalation_policy", policy),
                "escalation_level": 1 + n // 10,
                "start": begin.isoformat(),
                "end": (begin + timedelta(hours=12)).isoformat(),
            }
        )
    people = range(entries // 2)
    return {
        "oncalls": on_calls,
        "incidents": [],
        "escalation_policies": [
            {"id": policy, "type": "escalation_policy", "name": policy,
             "escalation_rules": [{"targets": [_ref("schedule", f"S{2 * i + level}")]} for level in (0, 1)]}
            for i, policy in enumerate(policies)
        ],
        "services": [
            {"id": f"V{i}", "type": "service", "name": f"V{i}", "escalation_policy": _ref("escalation_policy", policy)}
            for i, policy in enumerate(policies)
        ],
        "schedules": [
            {"id": f"S{i}", "type": "schedule", "name": f"S{i}", "time_zone": "UTC",
             "overrides_subschedule": {"rendered_schedule_entries": []}}
            for i in range(entries // 10)
        ],
        "users": [{"id": f"U{i}", "type": "user", "name": f"U{i}", "email": f"u{i}@example.com"} for i in people],
    }  # fmt: skip


def _ref(kind: str, id_: str) -> dict[str, str]:
    return {"id": id_, "type": f"{kind}_reference", "summary": id_}


async def serve(port: int, entries: int) -> None:
    """Answer each page from memory. `/targets` tells what was asked since it was asked last."""
    rows, ready, asked = rows_of(entries), dict[str, bytes](), list[str]()

    def answer(target: str) -> bytes:
        if target == "/targets":
            body = json.dumps(asked).encode()
            asked.clear()
        else:
            asked.append(target)
            body = ready.get(_key(target)) or ready.setdefault(_key(target), _page(rows, target))
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")  # noqa: TID251 -- a server's own date
        head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        return f"{head}\r\n\r\n".encode() + body

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(head.split(b" ", 2)[1].decode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


def _key(target: str) -> str:
    """A page by its list and place, whatever the window is."""
    parts, query = urlsplit(target), parse_qs(urlsplit(target).query)
    return f"{parts.path} {query.get('offset', ['0'])[0]} {query.get('limit', ['0'])[0]}"


def _page(rows: Rows, target: str) -> bytes:
    parts, query = urlsplit(target), parse_qs(urlsplit(target).query)
    name = parts.path.rpartition("/")[2]
    of = [] if parts.path.startswith("/v3/") else rows.get(name, [])
    offset, limit = int(query.get("offset", ["0"])[0]), int(query.get("limit", ["100"])[0])
    page = {name: of[offset : offset + limit], "limit": limit, "offset": offset, "total": len(of)}
    return json.dumps(page | {"more": offset + limit < len(of)}).encode()


# --- reading --------------------------------------------------------------------------------------------------------


async def read(port: int, polls: int) -> dict[str, float]:
    """One full sync and so many more in which nothing changed; then the floor. Runs in a process of its own."""
    clock = SystemClock()
    config = pagerduty.Config(
        token=Secret("bench"), base_url=f"http://127.0.0.1:{port}", allow_writable_token=True,
        deadline=timedelta(minutes=5),
    )  # fmt: skip
    source = pagerduty.PagerDuty(config, name=NAME, clock=clock)
    sync = SyncRoster(
        clock=clock, sources=[source], rosters=memory.build(), audit=NoLog(), memory=Forgetful(), sightings={},
        limits=GuardLimits(), window=timedelta(hours=72), poll_every=timedelta(seconds=30),
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent: list[tuple[float, float]] = []
    for _ in range(polls + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        outcome = await sync.sync(NAME)
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
        if not isinstance(outcome, Synced):
            raise SystemExit(outcome.why)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    requests = source.requests
    await source.close()
    targets = (await _over_one_socket(port, ["/targets"]))[0][-requests:]
    floor: list[tuple[float, float]] = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        await _over_one_socket(port, targets)
        floor.append((time.perf_counter() - wall, time.process_time() - cpu))
    return {
        "entries": len(outcome.held.index.roster.shifts),
        "requests": requests,
        "sync_s": spent[0][0],
        "sync_cpu_s": spent[0][1],
        "memory_mib": (peak - before) / 1024,
        "poll_s": median(wall for wall, _ in spent[1:]),
        "poll_cpu_s": median(cpu for _, cpu in spent[1:]),
        "floor_s": median(wall for wall, _ in floor),
        "floor_cpu_s": median(cpu for _, cpu in floor),
    }


async def _over_one_socket(port: int, targets: list[str]) -> list[Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = []
    for target in targets:
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found.append(json.loads(await reader.readexactly(length)))
    writer.close()
    return found


def bench_reading(entries: int, polls: int) -> dict[str, float]:
    """The provider and the reader, each in its process."""
    port = free_port()
    with running("provider", [*_myself(), "--serve", str(port), "--entries", str(entries)], port, "/targets"):
        told = subprocess.run(
            [*_myself(), "--read", str(port), "--polls", str(polls)], check=True, capture_output=True, text=True
        )
    figures: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return figures


def _myself() -> list[str]:
    return [sys.executable, "-m", "benchmarks.bench_sync"]


# --- from the webhook to the decision -------------------------------------------------------------------------------

CONFIG = """\
sources:
  pagerduty:
    kind: pagerduty
    token: {{file: pagerduty.token}}
    base_url: {url}
    webhook_keys: [{{file: webhook.key}}]
resources:
  orders-db:
    kind: postgres
    privileges: [write]
    needs: responding
    opened_by: [{{source: pagerduty, service: SVORDERS}}]
    age_max: 1h
links: {{alice: {{pagerduty: PALICE}}}}
callers: {{bench: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}}}
listen: {{http: {{port: {port}}}}}
sync: {{poll: 1h}}
"""


def write(folder: Path, url: str, port: int) -> str:
    """A service that reads the simulator; return the caller's token."""
    token, token_hash = make_caller_token()
    (folder / "pagerduty.token").write_text(READ_TOKEN)
    (folder / "webhook.key").write_text(WEBHOOK_SECRET)
    (folder / "watchkey.yaml").write_text(CONFIG.format(url=url, port=port, token_hash=token_hash))
    create_audit_key(folder / "audit.key", "example.com/bench")
    return token.reveal()


async def bench_webhook(changes: int) -> list[float]:
    """Acknowledge and take it back so many times; how long each took to show in a decision, in milliseconds."""
    port = free_port()
    async with Simulator() as sim:
        fill(sim.world)
        fire = sim.world.trigger("SVORDERS") or ""
        sim.world.subscribe(f"http://127.0.0.1:{port}/v1/webhooks/pagerduty/pagerduty", WEBHOOK_SECRET)
        with tempfile.TemporaryDirectory() as name:
            token = write(Path(name), sim.base_url, port)
            command = [sys.executable, "-m", "watchkey", "--config", str(Path(name) / "watchkey.yaml"), "serve"]
            service = await asyncio.create_subprocess_exec(
                *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            try:
                ask = await _asker(port, token)
                return [one async for one in _changes(sim, fire, ask, changes)]
            finally:
                service.terminate()
                await service.wait()


async def _changes(sim: Simulator, fire: str, ask: Any, changes: int) -> Any:
    allowed = False
    for _ in range(changes):
        await asyncio.sleep(QUIET_S)
        if await ask() is not allowed:
            raise SystemExit("the decision changed by itself")
        allowed = not allowed
        begun = time.perf_counter()
        if allowed:
            sim.world.acknowledge(fire, "PALICE")
        else:
            sim.world.unacknowledge(fire)
        while await ask() is not allowed:
            if time.perf_counter() - begun > 30:
                raise SystemExit("no webhook changed the decision")
            await asyncio.sleep(ASK_S)
        yield (time.perf_counter() - begun) * 1000


async def _asker(port: int, token: str) -> Any:
    """A question that can be asked again and again over one connection, once the service has read its source."""
    body = json.dumps({"subject": {"id": "alice"}, "privilege": "write", "resource": "orders-db"}).encode()
    head = (
        f"POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    for _ in range(300):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except ConnectionError:
            await asyncio.sleep(0.1)
    else:
        raise SystemExit("the service did not start")

    async def told() -> dict[str, Any]:
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found: dict[str, Any] = json.loads(await reader.readexactly(length))
        return found

    async def ask() -> bool:
        return (await told())["allow"] is True

    while (await told()).get("reason") == "no_roster":  # noqa: ASYNC110 -- the event is in another process
        await asyncio.sleep(0.1)
    return ask


# --- what comes out -------------------------------------------------------------------------------------------------


def main() -> None:
    """Measure, print, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--polls", type=int, default=5)
    parser.add_argument("--changes", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve, arguments.entries))
    elif arguments.read:
        print(json.dumps(asyncio.run(read(arguments.read, arguments.polls))))
    else:
        figures = bench_reading(arguments.entries, arguments.polls)
        took = asyncio.run(bench_webhook(arguments.changes))
        marks = quantiles(took, n=100)
        figures |= {"changes": len(took), "webhook_p50_ms": marks[49], "webhook_p99_ms": marks[98]}
        print("\n".join(lines(figures)))
        if arguments.json:
            print(json.dumps(figures))


_ROWS = (("sync", "the first sync"), ("poll", "a poll without a change"), ("floor", "the same by a socket"))


def lines(figures: dict[str, float]) -> Iterator[str]:
    """The figures as a table."""
    yield f"{figures['entries']:,.0f} on-call entries, {figures['requests']:.0f} requests for a read\n"
    yield f"{'':<28}{'s':>8}{'CPU s':>8}{'of the first':>14}"
    for what, name in _ROWS:
        wall, cpu = figures[f"{what}_s"], figures[f"{what}_cpu_s"]
        yield f"{name:<28}{wall:>8.2f}{cpu:>8.2f}{cpu / figures['sync_cpu_s']:>14.2f}"
    yield f"\npeak memory above the start: {figures['memory_mib']:.0f} MiB"
    yield (
        f"webhook to changed decision, {figures['changes']:.0f} changes: p50 {figures['webhook_p50_ms']:.0f} ms, "
        f"p99 {figures['webhook_p99_ms']:.0f} ms"
    )


if __name__ == "__main__":
    main()
