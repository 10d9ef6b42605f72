"""A desk grades as the service does: by what the service has kept, which it cannot change."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import request
from tests.wiring.configured import LOCAL, configured, first_read
from watchkey import wiring
from watchkey.flows.confirm_shift import Voucher
from watchkey.model.access import Allow, Caller, Reason, Subject
from watchkey.model.errors import Unavailable
from watchkey.model.ids import CallerId, SubjectId
from watchkey.ports import RosterRevision
from watchkey.settings import Settings, load_settings
from watchkey.wiring import SystemClock, open_desk, open_stage
from watchkey.wiring.kept import ReadOnlyMemory, look_at_kept

CLOCK = SystemClock()
OVERRIDES = """\
    overrides:
      - {{person: bob, from: "{start}", to: "{end}", by: bob}}
"""


def with_bob_on_call(folder: Path) -> Settings:
    """Bob puts himself on call, an hour ago, for two days."""
    settings = configured(folder, "unvetted: [read]")
    now = CLOCK.now().replace(microsecond=0)
    lines = OVERRIDES.format(start=now - timedelta(hours=1), end=now + timedelta(days=2))
    text = (folder / "roster.yaml").read_text()
    (folder / "roster.yaml").write_text(text.replace("policies:", f"{lines}policies:"))
    return settings


async def served(settings: Settings, *, confirm: bool) -> None:
    """Let the service read once, and alice vouch for bob."""
    service = wiring.build(settings)
    async with service:
        await first_read(service)
        if confirm:
            alice = Voucher(subject=Subject(id=SubjectId("alice")), issuer=Caller(id=CallerId("sso"), resources=None))
            (one,) = service.confirm_shift.doubtful(alice)
            await service.confirm_shift.confirm(one.id, alice)


async def reason(settings: Settings) -> Reason:
    desk = await open_desk(settings)
    decision = (await desk.request_access.explain(request("bob"))).decision
    assert desk.baseline == ""
    return decision.reason


def test_what_was_vouched_for_counts_at_a_desk_and_on_a_stage(tmp_path: Path) -> None:
    settings = with_bob_on_call(tmp_path)

    async def scenario() -> None:
        await served(settings, confirm=False)
        assert await reason(settings) is Reason.PROVENANCE_TOO_WEAK
        await served(settings, confirm=True)
        assert await reason(settings) is Reason.ON_CALL
        stage = await open_stage(settings, down=[LOCAL], lasting=timedelta(days=1))
        assert isinstance((await stage.request_access.explain(request("bob"))).decision, Allow)
        assert stage.baseline == ""

    asyncio.run(scenario())


def test_without_a_store_the_first_read_is_the_baseline_and_that_is_said(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    kept = look_at_kept(settings, CLOCK)
    assert "there is no store of a service" in kept.remark
    assert "passes for the rota" in kept.remark
    assert (kept.sightings, kept.standing(LOCAL), kept.taken_back(LOCAL)) == ({}, (), ())
    settings.storage.path.write_bytes(b"not a database, and long enough to look like one" * 40)
    assert "cannot be read" in look_at_kept(settings, CLOCK).remark


def test_first_sightings_are_those_of_the_service(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    asyncio.run(served(settings, confirm=False))
    kept = look_at_kept(settings, CLOCK)
    assert (set(kept.sightings), kept.remark) == ({LOCAL}, "")
    text = (tmp_path / "watchkey.yaml").read_text()
    (tmp_path / "watchkey.yaml").write_text(
        text.replace("sources:\n", "sources:\n  new: {kind: roster_file, path: roster.yaml}\n", 1)
    )
    assert "has not read new yet" in look_at_kept(load_settings(tmp_path / "watchkey.yaml", environ={}), CLOCK).remark


def test_nothing_is_kept_there(tmp_path: Path) -> None:
    memory = ReadOnlyMemory(tmp_path / "x.db")
    with pytest.raises(Unavailable):
        asyncio.run(memory.remember("x", 1))
    with pytest.raises(Unavailable):
        asyncio.run(memory.keep_roster(RosterRevision(source=LOCAL, revision=1, at=CLOCK.now(), digest="d"), b""))
    asyncio.run(look_at_kept(configured(tmp_path), CLOCK).lapse(()))
