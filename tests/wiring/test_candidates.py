"""Policies that change while the service runs."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.wiring.configured import configured, first_read, kinds
from watchkey.model.access import Allow, Decision, Reason
from watchkey.model.errors import Refused
from watchkey.settings import Settings
from watchkey.wiring import Service, build

OWN = "\npolicies:\n  own: {files: [own.rego], tests: [own_test.rego, cases.yaml]}\n"


OWN_TEST = """package own_test
import data.watchkey
test_reading_is_allowed if watchkey.decision.allow with input as {"privilege": "read"}
"""


OWN_CASES = """roster:
  people: {alice: {name: Alice}}
  schedules: {q: {name: Q, layers: [{participants: [alice], turn: daily, handoff: "09:00", from: 2026-06-01}]}}
  policies: {p: {name: P, levels: [[q]]}}
  services: {s: {name: S, policy: p}}
resources: {db: {privileges: [read], opened_by: [{service: s}]}}
at: 2026-07-01T12:00:00Z
cases: [{name: she may read, ask: alice read db, want: allow, until: 2026-07-01T12:01:00Z}]
"""


def own(decision: str, revision: int | None = None) -> str:
    head = "" if revision is None else f"# METADATA\n# custom: {{revision: {revision}}}\n"
    return f"{head}package watchkey\ndecision := {decision}\n"


def with_own(folder: Path, text: str) -> Settings:
    (folder / "own.rego").write_text(text)
    (folder / "own_test.rego").write_text(OWN_TEST)
    (folder / "cases.yaml").write_text(OWN_CASES)
    return configured(folder, "policy: own", OWN)


YES = '{"allow": true, "ttl": 60}'


async def until_looked(service: Service, text: str, folder: Path) -> None:
    """Write the policy, ask for a look, wait until something came of it."""
    before = (service.engines["own"].policy_hash, dict(service.policies.problems))
    (folder / "own.rego").write_text(text)
    service.reload_policies()
    for _ in range(500):
        if (service.engines["own"].policy_hash, service.policies.problems) != before:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nothing came of it")


def test_a_changed_policy_is_taken_over_while_it_runs(tmp_path: Path) -> None:
    async def scenario() -> list[Decision]:
        async with build(with_own(tmp_path, own(YES))) as service:
            await first_read(service)
            decide = service.request_access.decide
            decisions = [await decide(request("alice"), CALLER)]
            changed = own('{"allow": input.privilege == "read", "ttl": 60}')
            await until_looked(service, changed, tmp_path)
            return [*decisions, await decide(request("alice"), CALLER)]

    before, after = asyncio.run(scenario())
    assert (before.policy_revision, after.policy_revision, after.reason) == (1, 2, Reason.POLICY_DENIED)
    assert sum("policy_swapped" in entry for entry in kinds(tmp_path / "watchkey.db")) == 2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (own("nonsense"), "own.rego:2:13"),
        (own('{"allow": false}'), "2 of its tests failed"),
        (own('{"allow": true, "ttl": 30}'), "1 of its tests failed, the first: she may read: wanted an end at"),
    ],
)
def test_a_bad_policy_is_not_taken_over_and_that_is_said(tmp_path: Path, text: str, why: str) -> None:
    async def scenario() -> tuple[Decision, str]:
        async with build(with_own(tmp_path, own(YES))) as service:
            await first_read(service)
            await until_looked(service, text, tmp_path)
            return await service.request_access.decide(request("alice"), CALLER), service.policies.problems["own"]

    decision, problem = asyncio.run(scenario())
    assert isinstance(decision, Allow)
    assert why in problem
    assert any("policy.kept" in entry for entry in kinds(tmp_path / "watchkey.db"))


def test_an_older_policy_is_refused_while_it_runs_and_at_the_start(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with build(with_own(tmp_path, own(YES, 7))) as service:
            await first_read(service)
            await until_looked(service, own('{"allow": true, "ttl": 60.0}', 6), tmp_path)
            return service.policies.problems["own"]

    assert "older than the running revision 7" in asyncio.run(scenario())
    with pytest.raises(Refused, match="policy own: it is its revision 6, older than"):
        build(configured(tmp_path, "policy: own", OWN))
    (tmp_path / "own.rego").write_text(own(YES, 8))
    build(configured(tmp_path, "policy: own", OWN)).audit.close()
