"""decide: one decision in process with 100,000 people, and the policy against regopy and a hand-written function.

Every decision is cold (another subject each time), asks the shipped policy, and is durable in a real audit log before
it is answered. The policy alone is measured beside regopy (same policy, same input, same run) and beside a Python
function that a person would write for the same rule, which is the floor.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

from benchmarks.bench_roster import NOW, SOURCE, made, question
from watchkey import wiring
from watchkey.engines import rego
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import Allow, Caller, Link, Verdict
from watchkey.model.audit import AuditEvent
from watchkey.model.ids import CallerId, ResourceId, SubjectId
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, PolicyEngine
from watchkey.rules.checkpoint import SigningKey
from watchkey.rules.directory import Directory
from watchkey.rules.evidence import find_evidence
from watchkey.rules.identity import Links
from watchkey.rules.policy_input import policy_document
from watchkey.rules.roster import index_roster
from watchkey.stores import memory, sqlite

CALLER = Caller(id=CallerId("bench"), resources=None, is_trusted=True)
DECISIONS = 2_000
ROUNDS = 3_000


class StandingClock:
    """The roster's own time, so that its shifts cover now; ages and waits are real."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return perf_counter()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class TimedEngine:
    """Adds up what the policy takes."""

    def __init__(self, engine: PolicyEngine) -> None:
        self._engine = engine
        self.policy_hash = engine.policy_hash
        self.seconds: list[float] = []

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        begun = perf_counter()
        verdict = await self._engine.evaluate(document, now=now)
        self.seconds.append(perf_counter() - begun)
        return verdict


class TimedAudit:
    """Adds up what the log takes."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self.seconds: list[float] = []

    async def append(self, event: AuditEvent) -> int:
        begun = perf_counter()
        seq = await self._audit.append(event)
        self.seconds.append(perf_counter() - begun)
        return seq


def reached(resource: Mapping[str, Any], shift: Mapping[str, Any], privilege: str) -> bool:
    """Whether a shift's level is that of the incident, where the resource asks for it."""
    if not resource["level_follows_escalation"] or shift["level"] == 1:
        return True
    level, escalated = shift["level"], shift["escalated_to"]
    vetted = shift["is_vetted"] or privilege in resource["unvetted"]
    return isinstance(level, int) and isinstance(escalated, int) and escalated >= level and vetted


def responds(resource: Mapping[str, Any], response: Mapping[str, Any], privilege: str) -> bool:
    """Whether a part in an incident counts."""
    steps, radius = len(response["path"]), resource["blast_radius"]
    inside = steps == 0 or (steps - 1 <= radius["depth"] and privilege in radius["opens"])
    vetted = response["is_vetted"] or privilege in resource["unvetted"]
    return inside and vetted and response["involvement"] in resource["incident_roles"]


def by_hand(document: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped policy as a person would write it in Python."""
    resource, now, privilege = document["resource"], document["now_ns"], document["privilege"]
    reasons = []
    if resource["needs"] in ("on_call", "either"):
        for shift in document["on_call"]:
            level, until, starts = shift["level"], shift["until_ns"], shift["starts_ns"]
            begun = starts is None or starts <= now
            counts = shift["scope"]["kind"] == "schedule" or (isinstance(level, int) and level <= resource["max_level"])
            grade = "permanent" if shift["end_kind"] == "permanent" else shift["provenance"]
            inside = begun and (until is None or now < until) and counts and reached(resource, shift, privilege)
            if inside and privilege in resource["opens"].get(grade, ()):
                reasons.append("on_call")
                break
    if resource["needs"] in ("responding", "either"):
        for response in document["responding"]:
            if responds(resource, response, privilege):
                reasons.append("responding")
                break
        for parting in document["grace"]:
            if responds(resource, parting, privilege) and parting["ended_ns"] <= now < parting["until_ns"]:
                reasons.append("grace")
                break
    if resource["needs"] == "nothing":
        reasons.append("no_fact_needed")
    if not reasons:
        return {"allow": False, "ttl": 0, "reasons": []}
    return {"allow": True, "ttl": resource["ttl_max_s"], "reasons": reasons}


def per_call(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median seconds of processor time of a call, in batches long enough for the clock."""
    work()
    batches = []
    for _ in range(20):
        begun = process_time()
        for _ in range(rounds // 20):
            work()
        batches.append((process_time() - begun) / (rounds // 20))
    return median(batches)


async def whole(people: int, folder: Path) -> dict[str, float]:
    """The whole decision, with its parts."""
    index = index_roster(made(people))
    links = Links(
        Link(subject=SubjectId(f"{p.id}@example.com"), source=SOURCE, person=p.id) for p in index.roster.people
    )
    groups = len(index.roster.services)
    questions = [question(index, links, i * 7919 % groups) for i in range(DECISIONS)]
    clock = StandingClock()
    rosters = memory.build()
    rosters.swap(index, read_at=clock.monotonic())
    engine = TimedEngine(rego.build(rego.Config(modules={"default.rego": wiring.shipped_policy("default.rego")})))
    key = Secret(SigningKey("example.com/bench", bytes(32)).reveal())
    store = sqlite.build(sqlite.Config(path=str(folder / "bench.db"), key=key), name="bench", clock=clock)
    async with store:
        audit = TimedAudit(store)
        access = RequestAccess(
            clock=clock, rosters=rosters, engines={"default": engine}, audit=audit, zone=UTC,
            directory=Directory(resources={q.resource.id: q.resource for q in questions}, links=links),
        )  # fmt: skip
        taken = []
        for each in questions:
            begun = perf_counter()
            decision = await access.decide(each.request, CALLER)
            taken.append(perf_counter() - begun)
            assert isinstance(decision, Allow), decision
        assert len({ResourceId(q.resource.id) for q in questions}) == DECISIONS
    rest = [t - e - a for t, e, a in zip(taken, engine.seconds, audit.seconds, strict=True)]
    parts = {"whole": taken, "policy": engine.seconds, "audit": audit.seconds, "rest": rest}
    return {
        f"{name}_{mark}_us": value * 1e6
        for name, values in parts.items()
        for mark, value in (("p50", median(values)), ("p99", quantiles(values, n=100)[98]))
    }


def policy_alone(people: int) -> dict[str, float | None]:
    """The policy: embedded, in regopy, and by hand; one input, one run."""
    index = index_roster(made(people))
    subject = question(index, Links(), 1).request.subject.id
    person = index.on_call(question(index, Links(), 1).resource.scopes[0], NOW)[0].person
    asked = question(index, Links([Link(subject=subject, source=SOURCE, person=person)]), 1)
    document = policy_document(asked, find_evidence(asked))
    text = wiring.shipped_policy("default.rego")
    engine = rego.RegoEngine(rego.Config(modules={"default.rego": text}))
    query, data = engine._query, engine._data
    ours = query.evaluate(document, data, now_ns=1).json()
    assert ours == by_hand(document), (ours, by_hand(document))
    found: dict[str, float | None] = {
        "embedded_us": per_call(lambda: query.evaluate(document, data, now_ns=1)) * 1e6,
        "by_hand_us": per_call(lambda: by_hand(document)) * 1e6,
        "regopy_us": None,
    }
    try:
        from regopy import Interpreter
    except ImportError:
        return found
    interpreter = Interpreter()
    interpreter.add_module("default.rego", text)

    def theirs() -> object:
        interpreter.set_input(document)
        return interpreter.query("data.watchkey.decision")

    assert '"allow":true' in str(theirs()).replace(" ", ""), str(theirs())
    found["regopy_us"] = per_call(theirs, rounds=400) * 1e6
    return found


FACTS_POLICY = """package by_data
allow if {
	some fact in data.facts[input.subject]
	fact.resource == input.resource
	fact.level <= data.levels[input.resource]
}"""


def with_facts(count: int) -> float:
    """Seconds of a decision that finds one person's facts among those of many in the data."""
    names = [f"P{number}" for number in range(count)]
    facts = {name: [{"resource": f"db-{at % 50}", "level": 1}] for at, name in enumerate(names)}
    config = rego.Config(
        modules={"facts.rego": FACTS_POLICY}, entrypoint="data.by_data.allow",
        data={"facts": facts, "levels": {f"db-{number}": 2 for number in range(50)}},
    )  # fmt: skip
    engine = rego.RegoEngine(config)
    query, data = engine._query, engine._data
    document = {"subject": names[-1], "resource": f"db-{(count - 1) % 50}"}
    assert query.evaluate(document, data).json() is True
    return per_call(lambda: query.evaluate(document, data))


def main() -> None:
    """Measure, print a table, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        parts = asyncio.run(whole(arguments.people, Path(folder)))
    alone = policy_alone(1_000)
    print(f"one cold decision, {arguments.people:,} people, durable before it is answered ({DECISIONS:,} decisions)\n")
    print(f"{'':<10}{'p50 µs':>10}{'p99 µs':>10}")
    for name in ("whole", "policy", "audit", "rest"):
        print(f"{name:<10}{parts[f'{name}_p50_us']:>10.1f}{parts[f'{name}_p99_us']:>10.1f}")
    print("\nthe policy alone, same policy and input\n")
    embedded, hand, peer = alone["embedded_us"], alone["by_hand_us"], alone["regopy_us"]
    assert embedded is not None
    assert hand is not None
    print(f"{'embedded':<10}{embedded:>10.1f} µs")
    print(f"{'by hand':<10}{hand:>10.1f} µs   embedded is {embedded / hand:.1f} times slower (the floor)")
    if peer is None:
        print("regopy     not installed; `make bench-decide` installs it")
    else:
        print(f"{'regopy':<10}{peer:>10.1f} µs   embedded is {peer / embedded:.1f} times faster")
    few, many = with_facts(100) * 1e6, with_facts(10_000) * 1e6
    print(f"\na policy over facts in data: {few:.1f} µs with 100, {many:.1f} µs with 10,000")
    if arguments.json:
        ratios = {
            "facts_100_us": few,
            "facts_10000_us": many,
            "vs_by_hand": embedded / hand,
            "vs_regopy": None if peer is None else peer / embedded,
        }
        print(json.dumps({"people": arguments.people, **parts, **alone, **ratios}))


if __name__ == "__main__":
    main()
