"""Decisions made again: on the roster of then, and refused when that or the resource is gone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.wiring.configured import LOCAL, configured, first_read
from watchkey.flows.replay_decisions import LoggedDecision
from watchkey.model.access import Allow
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId
from watchkey.wiring import ReplayBench, build, policy_engine


async def logged(folder: Path) -> LoggedDecision:
    async with build(configured(folder)) as service:
        await first_read(service)
        decision = await service.request_access.decide(request("alice"), CALLER)
        return LoggedDecision(
            seq=1,
            at=decision.decided_at,
            request=request("alice"),
            reason=decision.reason,
            grounds=((LOCAL, 1, timedelta(0)),),
        )


def test_a_decision_is_made_again_on_the_roster_that_was_kept(tmp_path: Path) -> None:
    decision = asyncio.run(logged(tmp_path))
    (tmp_path / "roster.yaml").write_text("people: {}\n")
    ask = ReplayBench(configured(tmp_path), tmp_path / "watchkey.db").asker(policy_engine(None))
    (tmp_path / "roster.yaml").unlink()
    assert isinstance(asyncio.run(ask(decision)), Allow)


def test_what_is_not_there_any_more_cannot_be_asked_again(tmp_path: Path) -> None:
    decision = asyncio.run(logged(tmp_path))
    ask = ReplayBench(configured(tmp_path), tmp_path / "watchkey.db").asker(policy_engine(None))

    async def asked(other: LoggedDecision) -> object:
        return await ask(other)

    with pytest.raises(Refused, match="not kept any more"):
        asyncio.run(asked(replace(decision, grounds=((LOCAL, 99, timedelta(0)),))))
    gone = replace(decision.request, resource=ResourceId("gone"))
    with pytest.raises(Refused, match="no resource 'gone'"):
        asyncio.run(asked(replace(decision, request=gone)))
