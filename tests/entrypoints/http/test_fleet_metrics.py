"""The figures of fleets: what was pulled, who waits, and in which state the OPAs say that they are."""

import asyncio
import json

from prometheus_client import CollectorRegistry, generate_latest

from tests.builders import shift
from tests.entrypoints.http.test_fleets import House, packed
from tests.rules.test_opa_reports import event, status
from watchkey.entrypoints.http.fleet_metrics import QUIET_S, collect_fleets


def figures(house: House, now: float) -> dict[str, float]:
    class Figures:
        def collect(self) -> object:
            return collect_fleets(house.fleets, now)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures())  # type: ignore[arg-type]  # all that is asked of a collector
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_what_happened_is_counted() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.open()
        before = figures(house, house.clock.monotonic())
        assert before['watchkey_bundle_held{fleet="prod"}'] == 1
        await publisher.renew()
        await house.ask("GET", "/bundles/prod")
        await house.ask("POST", "/logs", packed([event(), event()]), content_encoding="gzip")
        bodies = [
            status(bundles={"prod": {"active_revision": "1"}}),
            status(labels={"id": "opa-2"}, bundles={"prod": {"active_revision": "0"}}),
            status(labels={"id": "opa-3"}, bundles={"prod": {"active_revision": "1", "code": "bundle_error"}}),
        ]
        for body in bodies:
            await house.ask("POST", "/status", json.dumps(body).encode())
        now = house.clock.monotonic()
        seen = figures(house, now)
        assert seen['watchkey_bundle_pulls_total{fleet="prod",got="snapshots"}'] == 1
        assert seen['watchkey_bundle_revision{fleet="prod"}'] == 1
        assert seen['watchkey_bundle_held{fleet="prod"}'] == 0
        assert seen['watchkey_bundle_waiting{fleet="prod"}'] == 0
        assert seen['watchkey_opa_decisions_total{report="new"}'] == 1
        assert seen['watchkey_opa_decisions_total{report="known"}'] == 1
        assert seen['watchkey_opa_statuses_total{fleet="prod"}'] == 3
        states = {state: seen[f'watchkey_fleet_opas{{fleet="prod",state="{state}"}}'] for state in
                  ("current", "behind", "failing", "gone")}  # fmt: skip
        assert states == {"current": 1, "behind": 1, "failing": 1, "gone": 0}
        later = figures(house, now + QUIET_S + 1)
        assert later['watchkey_fleet_opas{fleet="prod",state="gone"}'] == 3

    asyncio.run(scenario())
