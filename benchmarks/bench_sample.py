"""sample: a Cyral-style policy, decisions per second, and calls to PagerDuty per decision (0).

The simulated PagerDuty counts its requests. The published sample is used where it lies beside the project, else the
policy in `examples/cyral-style`. The roster is read once; then every decision asks the policy anew.
"""

import argparse
import asyncio
import json
from datetime import UTC, timedelta
from pathlib import Path
from time import perf_counter

from watchkey import wiring
from watchkey.engines import rego
from watchkey.model.access import AccessRequest, Link, Outcome, Resource, Subject
from watchkey.model.ids import CallerId, PersonId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Provenance, Scope, ScopeKind
from watchkey.model.secret import Secret
from watchkey.rules.decide import decide
from watchkey.rules.evidence import Question, View, find_evidence
from watchkey.rules.identity import Links
from watchkey.rules.policy_input import policy_document
from watchkey.rules.roster import index_roster
from watchkey.simulator import READ_TOKEN, Simulator
from watchkey.simulator.sample import fill
from watchkey.sources import pagerduty

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT.parent / "shared/contracts/cyral-sample.rego"
SOURCE = SourceName("pagerduty")
WRITE = PrivilegeName("write")
DECISIONS = 5_000


async def measure() -> dict[str, object]:
    """Read once, decide many times."""
    path = SAMPLE if SAMPLE.exists() else ROOT / "examples/cyral-style/authz.rego"
    parameters = {"min_escalation_level": 1, "max_escalation_level": 1}
    engine = rego.build(
        rego.Config(
            modules={path.name: path.read_text()}, dialect="cyral", entrypoint="data.cyral.authz_policy.decision",
            parameters=parameters,
        )
    )  # fmt: skip
    async with Simulator() as simulator:
        fill(simulator.world)
        simulator.faults.rate_limit = 10**9  # never reached; it makes the simulator count
        config = pagerduty.Config(token=Secret(READ_TOKEN), base_url=simulator.base_url)
        clock = wiring.SystemClock()
        source = pagerduty.build(config, name=SOURCE, clock=clock)
        now = clock.now()
        index = index_roster(await source.fetch(now=now, window=timedelta(hours=72)))
        await source.close()
        requests_for_the_read = simulator.faults.served
        question = Question(
            request=AccessRequest(
                subject=Subject(id=SubjectId("alice@example.com")), privilege=WRITE,
                resource=ResourceId("orders-db"), caller=CallerId("bench"),
            ),
            resource=Resource(
                id=ResourceId("orders-db"), kind="postgres", privileges=(WRITE,),
                scopes=(Scope(SOURCE, ScopeKind.SERVICE, "SVORDERS"),),
                opens={grade: frozenset({WRITE}) for grade in (Provenance.ROTA, Provenance.UNKNOWN)},
            ),
            now=now,
            views={SOURCE: View(index=index, revision=1, age=timedelta(0))},
            links=Links([Link(subject=SubjectId("alice@example.com"), source=SOURCE, person=PersonId("PALICE"))]),
        )  # fmt: skip
        begun = perf_counter()
        for _ in range(DECISIONS):
            findings = find_evidence(question)
            verdict = await engine.evaluate(policy_document(question, findings), now=now)
            assert verdict.outcome is Outcome.YES, verdict
            assert decide(question, findings, verdict, zone=UTC).reason == "on_call"
        seconds = perf_counter() - begun
        calls = simulator.faults.served - requests_for_the_read
    return {
        "policy": path.name,
        "decisions_per_s": DECISIONS / seconds,
        "requests_for_the_read": requests_for_the_read,
        "calls_per_decision": calls / DECISIONS,
    }


def main() -> None:
    """Measure, print, and with --json one JSON object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = asyncio.run(measure())
    print(f"{found['policy']}: {found['decisions_per_s']:,.0f} decisions/s in one process")
    read, each = found["requests_for_the_read"], found["calls_per_decision"]
    print(f"requests to PagerDuty: {read} for the read, {each} a decision")
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
