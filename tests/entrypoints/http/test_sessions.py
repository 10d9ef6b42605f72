"""The gateway's desk over HTTP: who sees whom, who may end what."""

import asyncio
from typing import Any

import msgspec
import pytest

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.sessions import routes
from watchkey.model.access import Caller
from watchkey.model.ids import CallerId, ResourceId

ALL = Caller(id=CallerId("all"), resources=None, is_trusted=True)
NARROW = Caller(id=CallerId("narrow"), resources=frozenset({ResourceId("orders-db")}), is_trusted=True)


class Desk:
    def __init__(self) -> None:
        self.ended: list[tuple[str, str, str]] = []

    def sessions(self) -> list[dict[str, Any]]:
        return [{"id": "s1", "resource": "orders-db"}, {"id": "s2", "resource": "billing-db"}]

    def endings(self) -> list[dict[str, Any]]:
        return [{"lease": "l1", "resource": "billing-db"}]

    def end(self, session: str, *, by: str, why: str) -> bool:
        self.ended.append((session, by, why))
        return True


def ask(desk: Desk, name: str, body: object = None, caller: Caller | None = ALL) -> Response:
    (route,) = [route for route in routes(desk, Limits()) if route.name == name]
    request = Request(
        method=route.method, path=route.path, query="", headers={}, id="r1", peer="127.0.0.1:1", arrived_at=0.0,
        body=body if isinstance(body, bytes) else msgspec.json.encode(body),
    )  # fmt: skip
    answered = asyncio.run(route.handler(request, caller))  # type: ignore[arg-type]  handlers are coroutines
    assert isinstance(answered, Response)
    return answered


def test_every_route_is_for_trusted_callers() -> None:
    assert {route.door for route in routes(Desk(), Limits())} == {Door.TRUSTED}


def test_a_caller_sees_and_ends_only_what_it_may_ask_about() -> None:
    desk = Desk()
    everything = msgspec.json.decode(ask(desk, "sessions").body)
    assert ([one["id"] for one in everything["sessions"]], len(everything["endings"])) == (["s1", "s2"], 1)
    some = msgspec.json.decode(ask(desk, "sessions", caller=NARROW).body)
    assert ([one["id"] for one in some["sessions"]], some["endings"]) == (["s1"], [])
    ask(desk, "sessions-end", {"session": "s1", "reason": "odd"}, NARROW)
    for session in ("s2", "s3"):
        with pytest.raises(Fault) as fault:
            ask(desk, "sessions-end", {"session": session, "reason": "odd"}, NARROW)
        assert fault.value.status == 404
    assert desk.ended == [("s1", "narrow", "odd")]


def test_without_a_caller_there_is_nothing() -> None:
    for name, body in (
        ("sessions", None),
        ("sessions-end", {"session": "s", "reason": "r"}),
    ):
        with pytest.raises(Fault) as fault:
            ask(Desk(), name, body, None)
        assert fault.value.status == 401
