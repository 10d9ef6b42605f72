"""An outage on the stage: what is down was read once and grows older, what is up stays fresh."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import request
from tests.wiring.configured import LOCAL, configured
from watchkey.flows.sync_roster import NotSynced, Synced
from watchkey.model.access import Allow
from watchkey.wiring import Stage, open_stage

DAY = timedelta(days=1)


async def an_hour_later(folder: Path, *, is_down: bool) -> tuple[Stage, object]:
    # Forecast, so that the handoff of the day, which may lie within this hour, makes no difference.
    stage = await open_stage(configured(folder, "stale_mode: forecast"), down=[LOCAL] if is_down else [], lasting=DAY)
    stage.clock.move_to(stage.clock.now() + timedelta(hours=1))
    return stage, await stage.sync.sync(LOCAL)


@pytest.mark.parametrize(("is_down", "outcome", "age"), [(True, NotSynced, 3600.0), (False, Synced, 0.0)])
def test_time_passes_for_what_is_down(tmp_path: Path, is_down: bool, outcome: type, age: float) -> None:  # noqa: FBT001
    async def scenario() -> None:
        stage, again = await an_hour_later(tmp_path, is_down=is_down)
        assert isinstance(again, outcome)
        assert stage.clock.monotonic() - stage.rosters.held()[LOCAL].read_at == age
        assert isinstance((await stage.request_access.explain(request("alice"))).decision, Allow)

    asyncio.run(scenario())


def test_a_source_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    (tmp_path / "roster.yaml").unlink()
    stage = asyncio.run(open_stage(settings, down=[], lasting=DAY))
    assert (list(stage.failures), list(stage.sources)) == ([LOCAL], [])
