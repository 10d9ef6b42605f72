"""The gateways of a process, put together on a service: what cannot be served, and the desk."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.builders import SOURCE, index, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.engine import ScriptedEngine
from tests.fakes.target import MemoryTarget
from tests.live.conftest import server
from tests.live.house import ORDERS, RealClock
from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection
from watchkey.entrypoints.pg_gateway.running import Gateways
from watchkey.flows.request_access import Directory, RequestAccess
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId
from watchkey.ports import HeldRoster, Target
from watchkey.stores.memory import MemoryRosters

__all__ = ["server"]
CLOCK = RealClock()


class Service:
    """What the gateways need, with a roster in which alice is on call for three seconds more."""

    def __init__(self) -> None:
        now = CLOCK.now()
        self.clock, self.audit, self.resources = CLOCK, MemoryAudit(), {ORDERS: resource()}
        roster = index(shift(starts_at=now - timedelta(hours=1), ends_at=now + timedelta(seconds=3)), taken_at=now)
        self.rosters = MemoryRosters({SOURCE: HeldRoster(index=roster, revision=1, read_at=CLOCK.monotonic())})
        self.request_access = RequestAccess(
            clock=CLOCK, rosters=self.rosters, engines={"default": ScriptedEngine()}, audit=self.audit,
            directory=Directory(resources=self.resources, links=links()), zone=now.tzinfo,  # type: ignore[arg-type]  aware
        )  # fmt: skip


def section(tmp_path: Path, **changes: Any) -> GatewaySection:
    fields: dict[str, Any] = {
        "databases": {"orders": DatabaseSection(resource=ORDERS)}, "port": 0, "statements": tmp_path / "statements.jsonl",
    }  # fmt: skip
    return GatewaySection(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"databases": {"x": DatabaseSection(resource="nowhere")}}, "'nowhere', which is not there"),
        ({"host": "0.0.0.0"}, "loopback"),  # noqa: S104  the point of the test
        ({"certificate": Path("/x")}, "a certificate and its key"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_starts(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    targets: dict[ResourceId, Target] = {ORDERS: MemoryTarget(CLOCK)}
    with pytest.raises(Refused, match=words):
        Gateways(Service(), [section(tmp_path, **changes)], targets)
