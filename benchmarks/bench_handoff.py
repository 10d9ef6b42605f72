"""handoff: from a planned instant to the first denial that each of 1,000 polling clients sees over HTTP.

`watchkey serve` as it ships; a thousand people whose shifts all end at one instant, each with a client of its own that
asks every half second over its own connection. *seen* is from the instant to the denial at the client, so it holds the
client's own pause; *late* is what the service adds: from the instant, or the question if that came later, to the
denial. An allow that answers a question asked after the instant would be a wrong answer; they are counted.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

from benchmarks.bench_http import free_port, running
from watchkey.wiring import create_audit_key, make_caller_token

PAUSE_S = 0.5
LEAD_S = 12

CONFIG = """\
sources: {{local: {{kind: roster_file, path: roster.yaml}}}}
resources:
  orders-db:
    kind: postgres
    privileges: [write]
    opened_by: [{{source: local, service: orders}}]
links: {{{links}}}
callers: {{bench: {{token_hashes: ["{token_hash}"], resources: all, trusted: true}}}}
listen: {{http: {{port: {port}, limits: {{connections_max: 5000}}}}}}
"""


def write(folder: Path, clients: int, instant: datetime, port: int) -> str:
    """A thousand people on call until the instant; return the caller's token."""
    token, token_hash = make_caller_token()
    names = [f"p{i}" for i in range(clients)]
    begun = (instant - timedelta(days=2)).isoformat()
    lines = ["people:", *(f"  {name}: {{name: {name}}}" for name in names), "schedules:"]
    end, maker = instant.isoformat(), names[0]
    lines += [
        f"  s{name}: {{name: s, overrides: [{{person: {name}, from: {begun}, to: {end}, by: {maker}}}]}}"
        for name in names
    ]
    lines += ["policies:", f"  orders: {{name: o, levels: [[{', '.join('s' + name for name in names)}]]}}"]
    lines += ["services:", "  orders: {name: o, policy: orders}"]
    (folder / "roster.yaml").write_text("\n".join(lines) + "\n")
    links = ", ".join(f"{name}: {{local: {name}}}" for name in names[1:])
    (folder / "watchkey.yaml").write_text(CONFIG.format(links=links, token_hash=token_hash, port=port))
    create_audit_key(folder / "audit.key", "example.com/bench")
    return token.reveal()


class Outcome:
    """What the clients saw."""

    def __init__(self, instant: float) -> None:
        self.instant = instant
        self.seen: list[float] = []
        self.late: list[float] = []
        self.wrong = 0
        self.asked = 0


async def client(name: str, port: int, token: str, offset: float, outcome: Outcome) -> None:
    """Ask until the denial after the instant."""
    body = json.dumps({"subject": {"id": name}, "privilege": "write", "resource": "orders-db"}).encode()
    head = (
        f"POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.sleep(offset)
    while True:
        sent = time.time()  # noqa: TID251 -- a planned instant is one of the wall clock
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        told = json.loads(await reader.readexactly(length))
        now = time.time()  # noqa: TID251 -- a planned instant is one of the wall clock
        outcome.asked += 1
        if told["allow"] is True:
            outcome.wrong += sent >= outcome.instant
        elif now >= outcome.instant:
            outcome.seen.append(now - outcome.instant)
            outcome.late.append(now - max(sent, outcome.instant))
            break
        else:
            raise SystemExit(f"denied before the instant: {told}")
        await asyncio.sleep(PAUSE_S)
    writer.close()


async def poll(clients: int, port: int, token: str, instant: datetime) -> Outcome:
    outcome = Outcome(instant.timestamp())
    names = [f"p{i + 1}" for i in range(clients)]
    await asyncio.gather(*(client(name, port, token, i / clients * PAUSE_S, outcome) for i, name in enumerate(names)))
    return outcome


def main() -> None:
    """Measure, print, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        instant = datetime.fromtimestamp(int(time.time()) + LEAD_S, UTC)  # noqa: TID251 -- a planned instant is one of the wall clock
        token = write(folder, arguments.clients + 1, instant, port)
        command = [sys.executable, "-m", "watchkey", "--config", str(folder / "watchkey.yaml"), "serve"]
        with running("watchkey", command, port, "/ready"):
            outcome = asyncio.run(asyncio.wait_for(poll(arguments.clients, port, token, instant), 60))
    figures = {}
    for what, values in (("seen", outcome.seen), ("late", outcome.late)):
        marks = quantiles(values, n=100)
        figures |= {
            f"{what}_p50_ms": marks[49] * 1000,
            f"{what}_p99_ms": marks[98] * 1000,
            f"{what}_max_ms": max(values) * 1000,
        }
    print(f"{arguments.clients:,} clients, one question each {PAUSE_S} s, {outcome.asked:,} questions\n")
    print(f"{'':<8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for what, meaning in (("seen", "from the instant, the client's pause included"), ("late", "added by the service")):
        row = "".join(f"{figures[f'{what}_{mark}_ms']:>9.1f}" for mark in ("p50", "p99", "max"))
        print(f"{what:<8}{row}   {meaning}")
    print(f"\nallows for questions asked after the instant: {outcome.wrong}")
    if arguments.json:
        print(
            json.dumps({"clients": arguments.clients, "asked": outcome.asked, "wrong_allows": outcome.wrong, **figures})
        )


if __name__ == "__main__":
    main()
