"""The desk that only explains."""

import asyncio
from pathlib import Path

import pytest

from tests.builders import CALLER, request
from tests.wiring.configured import LOCAL, configured
from watchkey.model.access import Allow, Reason
from watchkey.model.errors import Refused
from watchkey.model.ids import SubjectId
from watchkey.wiring import open_desk


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


def test_a_desk_says_what_a_policy_elsewhere_leaves_open(tmp_path: Path) -> None:
    desk = asyncio.run(open_desk(configured(tmp_path)))
    assert desk.remarks(desk.resource("orders-db")) == ()
    more = "\npolicies:\n  fleet: {engine: opa, url: 'http://127.0.0.1:1'}\n"
    desk = asyncio.run(open_desk(configured(tmp_path, "policy: fleet", more)))
    (remark,) = desk.remarks(desk.resource("orders-db"))
    assert "http://127.0.0.1:1" in remark
