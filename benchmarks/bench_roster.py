"""roster: 100,000 people and 200,000 shifts: time to build and swap, memory, and how long looking up and deciding take.

Each size runs in a process of its own, so that memory is that roster's. There are ten people and twenty shifts to a
schedule, a policy and a service. A decision is facts, the shipped policy and the answer, for another person and
resource each time; the audit log is not part of it. *Changed* is the comparison with a roster in which twenty shifts
are other people's, *unchanged* with an equal one that was read anew. The last column is the 99th percentile when the
garbage collector is told to leave the roster alone (`gc.freeze`): without that, its passes over the roster show.
"""

import argparse
import asyncio
import gc
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from statistics import median, quantiles
from time import perf_counter
from typing import Any

from watchkey import wiring
from watchkey.engines import rego
from watchkey.model.access import AccessRequest, Link, Resource, Subject
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import (
    EscalationPolicy,
    Person,
    Provenance,
    Roster,
    Schedule,
    Scope,
    ScopeKind,
    Service,
    Shift,
)
from watchkey.ports import PolicyEngine
from watchkey.rules.decide import decide
from watchkey.rules.evidence import Question, View, find_evidence
from watchkey.rules.identity import Links
from watchkey.rules.policy_input import policy_document
from watchkey.rules.roster import RosterIndex, Take, index_roster, shrink_guard

SIZES = (1_000, 10_000, 100_000)
START = datetime(2026, 7, 1, tzinfo=UTC)
NOW = START + timedelta(hours=30)
TURN = timedelta(hours=12)
SOURCE = SourceName("pager")
WRITE = PrivilegeName("write")
REPEATS = 2_000


def made(people: int) -> Roster:
    """A roster of that many people; everybody has two shifts."""
    groups = people // 10
    return Roster(
        source=SOURCE,
        taken_at=START,
        window_ends_at=START + timedelta(days=30),
        people=tuple(
            Person(id=PersonId(f"P{i}"), name=f"Person {i}", emails=(f"p{i}@example.com",)) for i in range(people)
        ),
        schedules=tuple(Schedule(id=f"S{i}", name=f"Schedule {i}") for i in range(groups)),
        policies=tuple(
            EscalationPolicy(id=f"E{i}", name=f"Policy {i}", schedules_by_level=((f"S{i}",),)) for i in range(groups)
        ),
        services=tuple(Service(id=f"V{i}", name=f"Service {i}", policy=f"E{i}") for i in range(groups)),
        shifts=tuple(
            Shift(
                person=PersonId(f"P{i % people}"),
                schedule=f"S{i % groups}",
                policy=f"E{i % groups}",
                level=1,
                starts_at=START + i // groups * TURN,
                ends_at=START + (i // groups + 1) * TURN,
            )
            for i in range(2 * people)
        ),
    )


def seconds(work: Callable[[], object]) -> float:
    begun = perf_counter()
    work()
    return perf_counter() - begun


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "linux" else peak / 1024 / 1024


def question(index: RosterIndex, links: Links, number: int) -> Question:
    """Whether the one who is on call for a service may write to what it guards."""
    holder = index.on_call(service(number), NOW)[0].person
    return Question(
        request=AccessRequest(
            subject=Subject(id=SubjectId(f"{holder}@example.com")),
            privilege=WRITE,
            resource=ResourceId(f"db-{number}"),
            caller=CallerId("bench"),
        ),
        resource=Resource(
            id=ResourceId(f"db-{number}"),
            kind="postgres",
            privileges=(WRITE,),
            scopes=(service(number),),
            opens={Provenance.ROTA: frozenset({WRITE})},
        ),
        now=NOW,
        views={SOURCE: View(index=index, revision=1, age=timedelta(seconds=5))},
        links=links,
    )


def service(number: int) -> Scope:
    return Scope(SOURCE, ScopeKind.SERVICE, f"V{number}")


async def decisions(index: RosterIndex, engine: PolicyEngine) -> list[float]:
    """Seconds of each of many decisions, every one an allow."""
    persons = (Link(subject=SubjectId(f"{p.id}@example.com"), source=SOURCE, person=p.id) for p in index.roster.people)
    links = Links(persons)
    groups = len(index.roster.services)
    questions = [question(index, links, i * 7919 % groups) for i in range(REPEATS)]
    taken = []
    for each in questions:
        begun = perf_counter()
        findings = find_evidence(each)
        verdict = await engine.evaluate(policy_document(each, findings), now=NOW)
        decision = decide(each, findings, verdict, zone=UTC)
        taken.append(perf_counter() - begun)
        assert decision.reason == "on_call", decision
    return taken


def lookups(index: RosterIndex) -> float:
    """Median seconds of asking who is on call, over many services."""
    groups = len(index.roster.services)
    scopes = [service(i * 7919 % groups) for i in range(REPEATS)]
    return median(seconds(lambda scope=scope: index.on_call(scope, NOW)) for scope in scopes)  # type: ignore[misc]  # the default binds


def measure(people: int) -> dict[str, Any]:
    before = peak_mb()
    roster = made(people)
    read = peak_mb()
    begun = perf_counter()
    index = index_roster(roster)
    build_s = perf_counter() - begun
    indexed = peak_mb()
    same = index_roster(made(people))
    others = cycle(("P1", "P2", "P3"))
    moved = tuple(
        replace(shift, person=PersonId(next(others))) if i < 20 else shift for i, shift in enumerate(roster.shifts)
    )
    changed = index_roster(replace(roster, shifts=moved))
    guard_s = {}
    for name, candidate in (("unchanged", same), ("changed", changed)):
        begun = perf_counter()
        verdict = shrink_guard(index, candidate, None, START)
        guard_s[name] = perf_counter() - begun
        assert isinstance(verdict, Take)
    engine = rego.build(rego.Config(modules={"default.rego": wiring.shipped_policy("default.rego")}))
    lookups(index)  # the first question about a scope sorts its shifts
    taken = asyncio.run(decisions(index, engine))
    gc.freeze()
    undisturbed = asyncio.run(decisions(index, engine))
    return {
        "people": people,
        "schedules": len(roster.schedules),
        "shifts": len(roster.shifts),
        "build_s": build_s,
        "swap_unchanged_s": guard_s["unchanged"],
        "swap_changed_s": guard_s["changed"],
        "roster_mb": read - before,
        "with_index_mb": indexed - before,
        "on_call_us": lookups(index) * 1e6,
        "decide_p50_us": median(taken) * 1e6,
        "decide_p99_us": quantiles(taken, n=100)[98] * 1e6,
        "decide_frozen_p99_us": quantiles(undisturbed, n=100)[98] * 1e6,
    }


def in_a_process(people: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.bench_roster", "--size", str(people)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--size", type=int, help="measure this many people only, in this process")
    arguments = parser.parse_args()
    if arguments.size:
        print(json.dumps(measure(arguments.size)))
        return
    print(" people   shifts  build s  compare s           memory MB            on call  decide us")
    print("                           unchanged  changed  roster  with index      us    p50    p99  frozen p99")
    rows = []
    for people in SIZES:
        row = in_a_process(people)
        rows.append(row)
        print(
            f"{row['people']:>7,}  {row['shifts']:>7,}  {row['build_s']:>7.2f}  {row['swap_unchanged_s']:>9.3f}"
            f"  {row['swap_changed_s']:>7.2f}  {row['roster_mb']:>6.0f}  {row['with_index_mb']:>10.0f}"
            f"  {row['on_call_us']:>6.1f}  {row['decide_p50_us']:>5.0f}  {row['decide_p99_us']:>5.0f}"
            f"  {row['decide_frozen_p99_us']:>10.0f}",
            flush=True,
        )
    if arguments.json:
        print(json.dumps({"sizes": rows}))


if __name__ == "__main__":
    main()
