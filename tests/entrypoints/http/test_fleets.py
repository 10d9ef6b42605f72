"""What OPAs ask of us over HTTP: the bundle with its tags and waits, and reports answered when they are safe."""

import asyncio
import gzip
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import shift
from tests.flows.test_publish_bundle import FLEET, MANY
from tests.flows.test_publish_bundle import House as Publishing
from tests.rules.test_opa_reports import event, status
from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response
from watchkey.entrypoints.http.fleets import Fleets, routes
from watchkey.entrypoints.http.limits import Limits
from watchkey.flows.publish_bundle import PublishBundle
from watchkey.flows.receive_opa_reports import ReceiveDecisions, ReceiveStatus
from watchkey.model.access import Caller
from watchkey.model.audit import OpaDecision
from watchkey.model.ids import CallerId

OPA = Caller(id=CallerId("opa"))
OTHER = Caller(id=CallerId("other"), resources=None, is_trusted=True)
LONG_POLL = b"application/vnd.openpolicyagent.bundles"


class House(Publishing):
    """A publisher, its receivers and the routes to them."""

    def open(self, limits: Limits | None = None) -> PublishBundle:
        self.publisher = self.start()
        test = Publishing(shift(), fleet=replace(FLEET, name="test", callers=frozenset({CallerId("opa-test")})))
        self.fleets = Fleets(
            publishers={"test": test.start(), "prod": self.publisher},
            statuses={
                "prod": ReceiveStatus(
                    fleet="prod", clock=self.clock, audit=self.audit, content_of=self.publisher.content_of
                )
            },
            decisions=ReceiveDecisions(clock=self.clock, audit=self.audit),
        )
        self.routes = routes(self.fleets, limits or Limits())
        return self.publisher

    async def ask(
        self, method: str, path: str, body: bytes = b"", caller: Caller | None = OPA, **headers: str
    ) -> Response:
        found = [
            route for route in self.routes if route.method == method and (
                route.path == path or (route.path.endswith("/") and path.startswith(route.path))
            )
        ]  # fmt: skip
        request = Request(
            method=method, path=path, query="", body=body, id="r", peer="p", arrived_at=0.0,
            headers={name.replace("_", "-").encode(): text.encode() for name, text in headers.items()},
        )  # fmt: skip
        return await found[0].handler(request, caller)

    async def status_of(self, *args: Any, **kwargs: Any) -> int:
        try:
            return (await self.ask(*args, **kwargs)).status
        except Fault as fault:
            return fault.status


def header(response: Response, name: bytes) -> str:
    return dict(response.headers)[name].decode()


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


def test_every_route_wants_a_token() -> None:
    house = House(shift())
    house.open()
    assert {route.door for route in house.routes} == {Door.CALLER}


def test_a_pull_gets_the_bundle_and_then_not_again() -> None:
    async def scenario() -> None:
        house = House(shift())
        await house.open().renew()
        first = await house.ask("GET", "/bundles/prod", prefer="modes=snapshot,delta")
        assert (first.status, first.content_type, first.body[:2]) == (200, b"application/gzip", b"\x1f\x8b")
        etag = header(first, b"etag")
        for given in (etag, f'"0-x", {etag}', f"W/{etag}"):
            again = await house.ask("GET", "/bundles/prod", if_none_match=given)
            assert (again.status, again.body, header(again, b"etag")) == (304, b"", etag)
        assert (await house.ask("GET", "/bundles/prod", if_none_match='"0-x"')).status == 200

    asyncio.run(scenario())


def test_the_type_that_invites_to_wait_is_for_who_asked() -> None:
    async def scenario() -> None:
        house = House(shift())
        await house.open().renew()
        asked = await house.ask("GET", "/bundles/prod", prefer="modes=snapshot,delta;wait=10")
        assert asked.content_type == LONG_POLL
        for prefer in ("", "modes=snapshot", "await=10", "wait=", "wait=x"):
            assert (await house.ask("GET", "/bundles/prod", prefer=prefer)).content_type == b"application/gzip"

    asyncio.run(scenario())


def test_a_pull_that_waits_is_answered_by_the_change() -> None:
    async def scenario() -> None:
        house = House(*MANY)
        publisher = house.open()
        await publisher.renew()
        etag = header(await house.ask("GET", "/bundles/prod"), b"etag")
        prefer = "modes=snapshot,delta;wait=20"
        task = asyncio.create_task(house.ask("GET", "/bundles/prod", if_none_match=etag, prefer=prefer))
        await asyncio.sleep(0.01)
        assert publisher.waiting == 1
        house.read(*MANY, shift("PBOB"))
        await publisher.renew()
        answer = await task
        assert (answer.status, answer.content_type) == (200, LONG_POLL)
        assert publisher.counts.deltas == 1

    asyncio.run(scenario())


def test_nobody_is_held_longer_than_an_answer_may_take() -> None:
    async def scenario() -> None:
        house = House(shift())
        await house.open(Limits(answer_s=0.02)).renew()
        etag = header(await house.ask("GET", "/bundles/prod"), b"etag")
        answer = await asyncio.wait_for(
            house.ask("GET", "/bundles/prod", if_none_match=etag, prefer="wait=600"), timeout=10
        )
        assert answer.status == 304

    asyncio.run(scenario())


def test_a_caller_sees_its_own_fleets_bundle_only() -> None:
    async def scenario() -> None:
        house = House(shift())
        await house.open().renew()
        assert await house.status_of("GET", "/bundles/prod") == 200
        assert await house.status_of("GET", "/bundles/test") == 404
        assert await house.status_of("GET", "/bundles/none") == 404
        assert await house.status_of("GET", "/bundles/prod", caller=OTHER) == 403
        assert await house.status_of("GET", "/bundles/prod", caller=None) == 403
        assert await house.status_of("POST", "/logs", packed([event()]), caller=OTHER) == 403
        assert await house.status_of("POST", "/status", packed(status()), caller=OTHER) == 403

    asyncio.run(scenario())


def test_before_the_first_roster_there_is_no_bundle() -> None:
    async def scenario() -> None:
        house = House()
        await house.open().renew()
        with pytest.raises(Fault, match="no complete roster") as caught:
            await house.ask("GET", "/bundles/prod")
        assert caught.value.status == 503
        assert dict(caught.value.headers)[b"retry-after"] == b"1"

    asyncio.run(scenario())


def test_all_who_wait_are_let_go() -> None:
    async def scenario() -> None:
        house = House(shift())
        await house.open().renew()
        etag = header(await house.ask("GET", "/bundles/prod"), b"etag")
        task = asyncio.create_task(house.ask("GET", "/bundles/prod", if_none_match=etag, prefer="wait=20"))
        await asyncio.sleep(0.01)
        house.fleets.release()
        assert (await task).status == 304

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/logs", "/logs/partition"])
def test_decisions_are_answered_when_they_are_in_the_log(path: str) -> None:
    async def scenario() -> None:
        house = House(shift())
        house.open()
        body = packed([event(), event(decision_id="d2", result=False)])
        answer = await house.ask("POST", path, body, content_encoding="gzip")
        assert (answer.status, json.loads(answer.body)) == (200, {"new": 2, "known": 0})
        again = await house.ask("POST", path, body, content_encoding="gzip")
        assert json.loads(again.body) == {"new": 0, "known": 2}
        logged = [one for one in house.audit.events if isinstance(one, OpaDecision)]
        assert [(one.decision_id, one.outcome, one.fleet, one.caller) for one in logged] == [
            ("d1", "allow", "prod", "opa"),
            ("d2", "deny", "prod", "opa"),
        ]
        assert '"erased": ["/input/password"]' in (logged[0].event or "")
        house.audit.fails = True
        body = packed([event(decision_id="d3")])
        assert await house.status_of("POST", path, body, content_encoding="gzip") == 503

    asyncio.run(scenario())


def test_reports_that_are_none_or_too_long_are_refused() -> None:
    async def scenario() -> None:
        house = House(shift())
        house.open(Limits(report_bytes=1024))
        for path in ("/logs", "/status"):
            assert await house.status_of("POST", path, b"x") == 400
            assert await house.status_of("POST", path, b"x", content_encoding="gzip") == 400
            bomb = gzip.compress(b"[" + b" " * 10_000_000 + b"]")
            assert await house.status_of("POST", path, bomb, content_encoding="gzip") == 400

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/status", "/status/partition"])
def test_a_status_is_taken(path: str) -> None:
    async def scenario() -> None:
        house = House(shift())
        house.open()
        assert await house.status_of("POST", path, json.dumps(status()).encode()) == 200
        assert [one.report.revision for one in house.fleets.statuses["prod"].opas.values()] == ["7"]
        house.audit.fails = True
        changed = json.dumps(status(labels={"id": "opa-2"})).encode()
        assert await house.status_of("POST", path, changed) == 503

    asyncio.run(scenario())


def test_a_renewal_is_told_to_who_waits_too() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.open()
        await publisher.renew()
        etag = header(await house.ask("GET", "/bundles/prod"), b"etag")
        task = asyncio.create_task(house.ask("GET", "/bundles/prod", if_none_match=etag, prefer="wait=20"))
        await asyncio.sleep(0.01)
        house.clock.advance(timedelta(minutes=2))
        await publisher.renew()
        assert (await task).status == 200

    asyncio.run(scenario())
