"""The service as it is put together: real log, real files."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.wiring.configured import LOCAL, configured, first_read, kinds
from watchkey.model.access import Allow, Decision, Reason
from watchkey.model.errors import Malformed, Refused
from watchkey.wiring import build


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
