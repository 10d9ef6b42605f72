"""Roster change -> changed answer at a real OPA, by long polling and by plain polling; the cost of a bundle and a 304.

Run: .venv/bin/python -m benchmarks.bench_bundle [--changes 20] [--json]; needs `opa` on PATH for the first part.

A change is a new roster file in place of the old one; Watchkey reads it each second, so a second's wait is in every
figure, and *pushed* leaves it out: from the moment when Watchkey has read it to the changed answer at the OPA.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.builders import NOW, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.memory import DictMemory
from tests.live.fleet import Fleet, eventually
from watchkey.entrypoints.http.fleets import Fleets, routes
from watchkey.entrypoints.http.limits import Limits
from watchkey.flows.publish_bundle import Fleet as FleetRules
from watchkey.flows.publish_bundle import PublishBundle
from watchkey.flows.receive_opa_reports import ReceiveDecisions
from watchkey.model.access import Caller
from watchkey.model.ids import CallerId, ResourceId
from watchkey.rules.directory import Directory
from watchkey.rules.roster import index_roster
from watchkey.stores.memory import MemoryRosters
from watchkey.wiring import SystemClock
from watchkey.wiring.fleets import fleet_policy
from watchkey.wiring.policies import policy_config

SHIFTS = 10_000
PULLS = 5_000


def main() -> None:
    """Measure, print, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    if shutil.which("opa") is None:
        print("no opa on PATH: the part with a real OPA is left out", file=sys.stderr)
    else:
        figures |= push_times(arguments.changes)
        for poll in ("long", "plain"):
            marks = (f"{poll}_{mark}_ms" for mark in ("p50", "p99"))
            print(f"roster read -> changed answer, {poll:<6}" + "".join(f"{figures[mark]:>10.0f} ms" for mark in marks))
        print(f"long poll is quicker by (p50)        {figures['long_quicker_x']:>10.1f} x")
    figures |= asyncio.run(costs())
    print(
        f"bundle of {SHIFTS:,} shifts, made anew     {figures['build_ms']:>10.1f} ms, {figures['snapshot_kib']:.0f} KiB"
    )
    print(f"  renewed without a change           {figures['renew_ms']:>10.1f} ms")
    print(f"  one person's change as a delta     {figures['delta_ms']:>10.1f} ms, {figures['delta_bytes']:.0f} bytes")
    print(f"304, without the socket              {figures['unchanged_us']:>10.1f} us")
    if arguments.json:
        print(json.dumps(figures))


# -- with a real OPA


def push_times(changes: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for poll, polling in (("long", 30), ("plain", None)):
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), renew="60s", poll=poll)
            # What an OPA does when nobody says otherwise is 60 to 120 s; 5 to 10 s keeps this run short.
            wanted: dict[str, Any] = {"min_delay_seconds": 5, "max_delay_seconds": 10}
            if polling:
                wanted["long_polling_timeout_seconds"] = polling
            fleet.configuration["bundles"]["prod"]["polling"] = wanted
            fleet.configure_opa(fleet.configuration)
            with fleet:
                took = [_push(fleet, i) for i in range(changes if polling else max(4, changes // 4))]
        marks = quantiles(took, n=100) if len(took) > 1 else took * 100
        figures |= {f"{poll}_p50_ms": marks[49] * 1000, f"{poll}_p99_ms": marks[98] * 1000}
    figures["long_quicker_x"] = figures["plain_p50_ms"] / figures["long_p50_ms"]
    return figures


def _push(fleet: Fleet, number: int) -> float:
    """Hand the pager over; seconds from the first sight of it in Watchkey to the changed answer at the OPA."""
    holder, other = ("bob", "alice") if number % 2 == 0 else ("alice", "bob")
    eventually(lambda: fleet.ask(other).get("allow"))
    fleet.hand_over(holder, other)
    token = fleet.watcher.reveal()
    question = {"subject": {"id": holder}, "privilege": "write", "resource": "orders-db"}
    while not (fleet.get(f"{fleet.url}/v1/decide", question, token) or {}).get("allow"):
        time.sleep(0.001)
    read_at = time.perf_counter()
    while not fleet.ask(holder).get("allow"):
        time.sleep(0.001)
    return time.perf_counter() - read_at


# -- without one


async def costs() -> dict[str, float]:
    """A publisher on its own: making, renewing, patching, answering 304."""
    clock, rosters = SystemClock(), MemoryRosters()
    policy = fleet_policy(policy_config(None), "p1")
    turns = [
        shift(
            f"P{i % 500}", schedule=f"s{i % 50}",
            starts_at=NOW + timedelta(hours=2 * (i // 500), seconds=i * 7919 % 3600),
            ends_at=NOW + timedelta(hours=2 * (i // 500) + 1, seconds=i * 104729 % 1800),
        )
        for i in range(SHIFTS)
    ]  # fmt: skip
    now = datetime.fromtimestamp(time.time(), UTC)  # noqa: TID251 -- the clock of this run
    rosters.swap(_index(turns, now), read_at=clock.monotonic())
    directory = Directory(resources={ResourceId("orders-db"): resource()}, links=links())
    opa = CallerId("opa")
    publisher = PublishBundle(
        fleet=FleetRules(name="prod", callers=frozenset({opa}), deltas=True, renew_every=timedelta(0)),
        clock=clock, rosters=rosters, directory=lambda: directory, policy=lambda: policy, sign=None,
        memory=DictMemory(), audit=MemoryAudit(),
    )  # fmt: skip
    await publisher.renew()

    async def anew() -> None:
        publisher._parts.clear()
        await publisher.renew()

    figures = {"build_ms": await _timed(anew, 5) * 1000, "renew_ms": await _timed(publisher.renew, 10) * 1000}
    first = await publisher.pull([])
    rosters.swap(_index([replace(turns[0], level=2), *turns[1:]], now), read_at=clock.monotonic())
    await publisher.renew()
    started = time.perf_counter()
    delta = await publisher.pull([first.etag], takes_deltas=True)
    figures |= {
        "delta_ms": (time.perf_counter() - started) * 1000,
        "delta_bytes": float(len(delta.body)),
        "snapshot_kib": len(first.body) / 1024,
    }
    return figures | {"unchanged_us": await _unchanged(publisher, Caller(id=opa)) * 1e6}


def _index(turns: list[Any], now: datetime) -> Any:
    from tests.builders import roster

    people = {turn.person for turn in turns}
    template = roster().people[0]
    named = tuple(replace(template, id=person, name=person) for person in sorted(people))
    return index_roster(roster(*turns, people=named, taken_at=now))


async def _timed(work: Callable[[], Any], times: int) -> float:
    """Seconds of the middle run."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        await work()
        took.append(time.perf_counter() - started)
    return median(took)


async def _unchanged(publisher: PublishBundle, caller: Caller) -> float:
    from watchkey.entrypoints.http.exchange import Request

    fleets = Fleets(
        publishers={"prod": publisher},
        statuses={},
        decisions=ReceiveDecisions(clock=SystemClock(), audit=MemoryAudit()),
    )
    handler = routes(fleets, Limits())[0].handler
    etag = publisher.current.etag.encode() if publisher.current else b""
    request = Request(
        method="GET", path="/bundles/prod", query="", headers={b"if-none-match": etag, b"prefer": b"modes=snapshot"},
        body=b"", id="r", peer="p", arrived_at=0.0,
    )  # fmt: skip
    started = time.perf_counter()
    for _ in range(PULLS):
        response = await handler(request, caller)
        assert response.status == 304
    return (time.perf_counter() - started) / PULLS


if __name__ == "__main__":
    main()
