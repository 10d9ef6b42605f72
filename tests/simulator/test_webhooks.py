import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.fakes.scripted_http import answer, scripted
from watchkey.model.secret import Secret
from watchkey.rules import webhook
from watchkey.simulator import Simulator
from watchkey.simulator.sample import fill
from watchkey.simulator.webhooks import sign

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def header(request: bytes, name: str) -> str:
    head = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return next(line.partition(": ")[2] for line in head if line.lower().startswith(name.lower() + ":"))


def test_events_arrive_signed_and_in_order() -> None:
    async def go() -> list[bytes]:
        async with scripted([answer(200)]) as server, Simulator(start=NOW) as sim:
            fill(sim.world)
            sim.world.subscribe(f"{server.url}/hook", "right-key")
            incident = sim.world.trigger("SVORDERS", by="PCAROL")
            assert incident
            sim.world.acknowledge(incident, "PBOB")
            sim.world.request_responder(incident, "PALICE", "PBOB")
            sim.world.resolve(incident, "PBOB")
            await sim.delivered()
            assert sim.sender.lost == 0
            return server.requests

    requests = asyncio.run(go())
    kinds = []
    for request in requests:
        body = request.partition(b"\r\n\r\n")[2]
        signature = header(request, "X-PagerDuty-Signature")
        assert webhook.verify(body, signature, [Secret("old-key"), Secret("right-key")])
        assert not webhook.verify(body + b" ", signature, [Secret("right-key")])
        assert not webhook.verify(body, signature, [Secret("other")])
        event = json.loads(body)["event"]
        assert event["id"] == header(request, "X-Webhook-Id")
        assert "acknowledgements" not in event["data"]
        kinds.append(event["event_type"])
    assert kinds[0] == "incident.triggered"
    assert kinds[-3:] == ["incident.acknowledged", "incident.responder.added", "incident.resolved"]


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (400, 1), (410, 1)])
def test_three_drops_in_a_row_switch_a_subscription_off(status: int, tries: int) -> None:
    async def go() -> None:
        async with scripted([answer(status)]) as server, Simulator(start=NOW) as sim:
            fill(sim.world)
            id_ = sim.world.subscribe(f"{server.url}/hook", "key")
            assert sim.world.trigger("SVORDERS")  # two events: triggered and reassigned
            await sim.delivered()
            assert len(server.requests) == 2 * tries
            assert sim.world.subscriptions[id_].disabled_until is None
            assert sim.world.trigger("SVORDERS")
            await sim.delivered()
            assert sim.world.subscriptions[id_].disabled_until == NOW + timedelta(hours=24)
            before = len(server.requests)
            assert sim.world.trigger("SVORDERS")
            await sim.delivered()
            assert len(server.requests) == before
            sim.world.enable_subscription(id_)
            assert sim.world.trigger("SVORDERS")
            await sim.delivered()
            assert len(server.requests) > before

    asyncio.run(go())


def test_the_signature_is_the_documented_one() -> None:
    # RFC 4231, test case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign("Jefe", b"what do ya want for nothing?") == f"v1={expected}"
