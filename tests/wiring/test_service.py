"""The service as it is put together: real log, real files."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.fakes.real_opa import needs_opa, opa, running_opa
from tests.fakes.scripted_http import answer, scripted
from tests.wiring.configured import LOCAL, configured, first_read, kinds
from watchkey.model.access import Allow, Decision, Reason
from watchkey.model.errors import Malformed, Refused
from watchkey.rules.link_check import LinkTrouble
from watchkey.wiring import Service, build


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


# --- a policy in an OPA elsewhere ----------------------------------------------------------------------------------

SHIPPED = (Path(__file__).parents[2] / "src/watchkey/policies/default.rego").read_text()


def fleet(url: str, more: str = "") -> str:
    return f"\npolicies:\n  fleet: {{engine: opa, url: '{url}', timeout: 5s{more}}}\n"


def serving(folder: Path, url: str) -> Service:
    return build(configured(folder, "policy: fleet", fleet(url)))


async def both(service: Service) -> Sequence[Decision]:
    await first_read(service)
    decide = service.request_access.decide
    return await decide(request("alice"), CALLER), await decide(request("bob"), CALLER)


@needs_opa
def test_a_real_opa_decides_and_the_log_names_its_bundle(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "default.rego").write_text(SHIPPED)
    (bundle / ".manifest").write_text('{"revision": "42", "roots": ["watchkey"]}')
    opa("build", "-b", bundle, "-o", tmp_path / "b.tar.gz")

    async def scenario(url: str) -> Sequence[Decision]:
        async with serving(tmp_path, url) as service:
            service.reload_policies()
            return await both(service)

    with running_opa("--bundle", tmp_path / "b.tar.gz") as url:
        alice, bob = asyncio.run(scenario(url))
    assert isinstance(alice, Allow)
    assert alice.policy_hash.endswith("b.tar.gz@42")
    assert bob.reason is Reason.NOT_ON_CALL
    entries = [json.loads(entry) for entry in kinds(tmp_path / "watchkey.db")]
    (noted,) = [entry for entry in entries if entry.get("what") == "policy.elsewhere"]
    assert noted["fields"]["asked"] == f"{url}/v1/data/watchkey/decision"
    (swapped,) = [entry for entry in entries if entry["kind"] == "policy_swapped"]
    assert noted["fields"]["hash"] == swapped["policy"]["hash"]


def test_an_opa_that_is_gone_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    async def scenario() -> Sequence[Decision]:
        async with scripted([answer()]) as server:
            url = server.url
        async with serving(tmp_path, url) as service:
            return await both(service)

    alice, bob = asyncio.run(scenario())
    assert (alice.reason, bob.reason) == (Reason.POLICY_UNREACHABLE, Reason.NOT_ON_CALL)
    assert "could not be asked, which counts as no" in alice.sentence


def test_the_policy_elsewhere_only_narrows(tmp_path: Path) -> None:
    async def scenario() -> Sequence[Decision]:
        answers = [answer(body=b'{"result": {"allow": true, "ttl": "99h"}}')]
        async with scripted(answers) as server, serving(tmp_path, server.url) as service:
            return await both(service)

    alice, bob = asyncio.run(scenario())
    assert isinstance(alice, Allow)
    assert (alice.until - alice.decided_at).total_seconds() <= 3600
    assert bob.reason is Reason.NOT_ON_CALL
    assert alice.policy_hash == "unknown"


def test_an_allow_is_made_anew_once_the_opa_has_another_bundle(tmp_path: Path) -> None:
    def body(revision: int, *, allow: bool) -> bytes:
        told = {"bundles": {"authz": {"revision": str(revision)}}}
        return answer(body=json.dumps({"result": {"allow": allow}, "provenance": told}).encode())

    async def scenario() -> tuple[list[str], int]:
        # alice: 1, then counted; bob of the same policy shows the new bundle; alice is asked about again.
        answers = [body(1, allow=True), body(1, allow=True), body(2, allow=False), body(2, allow=False)]
        async with scripted(answers) as server, serving(tmp_path, server.url) as service:
            await first_read(service)
            decide = service.request_access.decide
            found = [await decide(request("alice"), CALLER) for _ in range(3)]
            found += [await decide(request("bob"), CALLER), await decide(request("alice"), CALLER)]
            return [one.reason for one in found], len(server.requests)

    reasons, asked = asyncio.run(scenario())
    # The first answer is asked for twice, as only it tells which bundle there is; the third time it is counted.
    assert reasons == ["on_call", "on_call", "on_call", "not_on_call", "policy_denied"]
    assert asked == 4


def test_asking_elsewhere_has_a_number_of_its_own_and_a_policy_that_comes_back_is_no_older_one(tmp_path: Path) -> None:
    def own(revision: int) -> str:
        text = f'# METADATA\n# custom: {{revision: {revision}}}\npackage watchkey\ndecision := {{"allow": true}}'
        (tmp_path / "own.rego").write_text(text)
        return "\npolicies:\n  fleet: {files: [own.rego]}\n"

    async def number(more: str) -> int:
        async with build(configured(tmp_path, "policy: fleet", more)) as service:
            await first_read(service)
            return (await service.request_access.decide(request("alice"), CALLER)).policy_revision

    assert asyncio.run(number(own(7))) == 1
    assert asyncio.run(number(fleet("http://127.0.0.1:1"))) == 2
    assert asyncio.run(number(fleet("http://127.0.0.1:1"))) == 2
    assert asyncio.run(number(fleet("http://127.0.0.1:1", ", path: other"))) == 3
    with pytest.raises(Refused, match="it is its revision 6, older than the running revision 7"):
        build(configured(tmp_path, "policy: fleet", own(6)))
    assert asyncio.run(number(own(8))) == 4


def test_a_changed_address_of_somebody_who_is_linked_is_told_while_it_runs(tmp_path: Path) -> None:
    roster = tmp_path / "roster.yaml"

    async def scenario() -> int:
        settings = configured(tmp_path)
        roster.write_text(roster.read_text().replace("{name: Alice}", "{name: Alice, emails: [alice@example.com]}"))
        async with build(settings) as service:
            await first_read(service)
            for _ in range(300):
                if service.audit.recall("links") is not None:
                    break
                await asyncio.sleep(0.01)
            roster.write_text(roster.read_text().replace("alice@example.com", "mallory@example.com"))
            service.sync.hint(LOCAL)
            for _ in range(500):
                if service.watch_links.alerts:
                    break
                await asyncio.sleep(0.01)
            return service.watch_links.alerts[LinkTrouble.EMAIL_CHANGED]

    assert asyncio.run(scenario()) == 1
    (entry,) = [entry for entry in kinds(tmp_path / "watchkey.db") if "link.alert" in entry]
    assert "mallory@example.com" in entry
