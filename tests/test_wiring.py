"""The service as it is put together: real log, real files; and the desk that only explains."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from watchkey import wiring
from watchkey.model.access import Allow, Decision, Reason
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import SourceName, SubjectId
from watchkey.settings import ConfigError, Settings, load_settings
from watchkey.wiring import Service, build, create_audit_key, make_caller_token, open_desk, source_kinds

LOCAL = SourceName("local")
ROSTER = """\
people:
  alice: {name: Alice}
  bob: {name: Bob}
schedules:
  primary:
    name: Primary
    zone: UTC
    layers:
      - {participants: [alice], turn: daily, handoff: "09:00", from: 2026-01-01}
policies:
  orders: {name: Orders, levels: [[primary]]}
services:
  orders: {name: Orders, policy: orders}
"""
CONFIG = """\
sources:
  local: {{kind: roster_file, path: roster.yaml}}
resources:
  orders-db:
    kind: postgres
    privileges: [read, write]
    opened_by: [{{source: local, service: orders}}]
    {extra}
links:
  alice: {{local: alice}}
  bob: {{local: bob}}
sync: {{poll: 1s}}
"""


def configured(folder: Path, extra: str = "max_level: 1", more: str = "") -> Settings:
    (folder / "watchkey.yaml").write_text(CONFIG.format(extra=extra) + more)
    (folder / "roster.yaml").write_text(ROSTER)
    if not (folder / "audit.key").exists():
        create_audit_key(folder / "audit.key", "watchkey.example/test")
    return load_settings(folder / "watchkey.yaml", environ={})


async def first_read(service: Service) -> None:
    for _ in range(500):
        if LOCAL in service.rosters.held() and service.audit.recall(f"roster/{LOCAL}") is not None:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(service.sync.last_error(LOCAL))


def kinds(database: Path) -> list[str]:
    with wiring.open_audit_reader(database) as reader:
        return [entry.body.decode() for entry in reader.entries()]


def test_it_reads_decides_records_and_stops(tmp_path: Path) -> None:
    async def scenario() -> tuple[Decision, Decision]:
        async with build(configured(tmp_path)) as service:
            await first_read(service)
            decide = service.request_access.decide
            return await decide(request("alice"), CALLER), await decide(request("bob"), CALLER)

    alice, bob = asyncio.run(scenario())
    assert isinstance(alice, Allow)
    assert (alice.policy_revision, bob.reason) == (1, Reason.NOT_ON_CALL)
    entries = kinds(tmp_path / "watchkey.db")
    for what in ("service_started", "policy_swapped", "roster_swapped", "decision", "service_stopped"):
        assert any(what in entry for entry in entries), what
    assert "service_stopped" in entries[-1]


def test_what_was_read_is_there_after_a_restart_while_the_source_is_gone(tmp_path: Path) -> None:
    async def once() -> Decision:
        async with build(configured(tmp_path)) as service:
            await first_read(service)
            return await service.request_access.decide(request("alice"), CALLER)

    async def again() -> tuple[Decision, int]:
        settings = configured(tmp_path)
        (tmp_path / "roster.yaml").unlink()
        async with build(settings) as service:
            held = service.rosters.held()[LOCAL]
            return await service.request_access.decide(request("alice"), CALLER), held.revision

    assert isinstance(asyncio.run(once()), Allow)
    decision, revision = asyncio.run(again())
    assert isinstance(decision, Allow)
    assert revision == 1


def test_a_second_service_on_one_log_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        settings = configured(tmp_path)
        async with build(settings):
            with pytest.raises(Refused, match=r"watchkey\.db"):
                build(settings)

    asyncio.run(scenario())


def test_a_policy_gets_a_number_that_grows_with_its_text(tmp_path: Path) -> None:
    own = "\npolicies:\n  own: {files: [own.rego]}\n"

    async def revision(text: str) -> int:
        (tmp_path / "own.rego").write_text(f"package watchkey\n{text}")
        async with build(configured(tmp_path, "policy: own", own)) as service:
            await first_read(service)
            return (await service.request_access.decide(request("alice"), CALLER)).policy_revision

    yes, no = 'decision := {"allow": true}', 'decision := {"allow": false}'
    assert [asyncio.run(revision(text)) for text in (yes, yes, no, yes)] == [1, 1, 2, 3]


def test_a_broken_policy_stops_the_start_and_gives_the_log_back(tmp_path: Path) -> None:
    (tmp_path / "own.rego").write_text("package watchkey\ndecision := nonsense")
    settings = configured(tmp_path, "policy: own", "\npolicies:\n  own: {files: [own.rego]}\n")
    for _ in range(2):
        with pytest.raises(Malformed, match=r"own\.rego:2:13"):
            build(settings)
    (tmp_path / "own.rego").write_text('package watchkey\ndecision := {"allow": true}')
    build(settings).audit.close()


def test_a_sources_section_is_checked_by_its_adapter(tmp_path: Path) -> None:
    configured(tmp_path)
    text = (tmp_path / "watchkey.yaml").read_text().replace("path: roster.yaml", "pathh: roster.yaml")
    (tmp_path / "watchkey.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"watchkey\.yaml:2:.*path is missing"):
        build(load_settings(tmp_path / "watchkey.yaml", environ={}))


def test_every_kind_of_source_is_found_by_its_file() -> None:
    assert {"pagerduty", "roster_file"} <= set(source_kinds())
    assert set(wiring.source_configs()) == set(source_kinds())


def test_data_files_reach_the_policy(tmp_path: Path) -> None:
    (tmp_path / "freeze.json").write_text('{"frozen": true}')
    (tmp_path / "own.rego").write_text('package watchkey\ndecision := {"allow": data.frozen}')
    settings = configured(tmp_path, "policy: own", "\npolicies:\n  own: {files: [own.rego, freeze.json]}\n")
    config = wiring.policy_config(settings.policies["own"])
    assert config.data == {"frozen": True}
    (tmp_path / "freeze.json").write_text("[1]")
    with pytest.raises(Malformed, match=r"freeze\.json"):
        wiring.policy_config(settings.policies["own"])


def test_a_desk_explains_and_lets_nobody_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        desk = await open_desk(configured(tmp_path))
        assert desk.failures == {}
        told = await desk.request_access.explain(request("alice"))
        assert isinstance(told.decision, Allow)
        assert (await desk.request_access.decide(request("alice"), CALLER)).reason is Reason.AUDIT_UNAVAILABLE
        assert desk.person_of(SubjectId("alice"), LOCAL) == "alice"
        assert desk.person_of(SubjectId("mallory"), LOCAL) is None
        with pytest.raises(Refused, match="orders-db"):
            desk.resource("nothing")

    asyncio.run(scenario())
    assert not (tmp_path / "watchkey.db").exists()


def test_a_desk_says_which_source_could_not_be_read(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    (tmp_path / "roster.yaml").write_text("people: [nonsense")
    desk = asyncio.run(open_desk(settings))
    assert "roster.yaml" in desk.failures[LOCAL]


def test_a_callers_token_is_shown_once_and_kept_as_its_hash() -> None:
    token, token_hash = make_caller_token()
    assert token.reveal() not in token_hash
    assert token_hash.startswith("sha256:")


def test_the_real_clock_goes_on() -> None:
    clock = wiring.SystemClock()
    before = (clock.now(), clock.monotonic())
    asyncio.run(clock.sleep(0.001))
    assert clock.now() >= before[0]
    assert clock.monotonic() > before[1]
    assert clock.now().tzinfo is not None


# --- policies while it runs ------------------------------------------------------------------------------------------

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


def test_a_policy_beside_is_asked_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "next.rego").write_text('package watchkey\ndecision := {"allow": false}')

    async def scenario() -> Decision:
        more = "\npolicies:\n  next: {files: [next.rego]}\n"
        async with build(configured(tmp_path, "shadow: next", more)) as service:
            await first_read(service)
            decision = await service.request_access.decide(request("alice"), CALLER)
            for _ in range(500):
                if service.shadow is not None and service.shadow.compared:
                    break
                await asyncio.sleep(0.01)
            return decision

    assert isinstance(asyncio.run(scenario()), Allow)
    assert any("shadow_differs" in entry for entry in kinds(tmp_path / "watchkey.db"))
