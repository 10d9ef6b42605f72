"""The gateway's desk over HTTP: who gets a token, who sees whom, who may end what."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.sessions import routes
from watchkey.flows.login_tokens import IssuedToken
from watchkey.model.access import Caller, Subject
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId, ResourceId, SubjectId
from watchkey.model.secret import Secret

ALL = Caller(id=CallerId("all"), resources=None, is_trusted=True)
NARROW = Caller(id=CallerId("narrow"), resources=frozenset({ResourceId("orders-db")}), is_trusted=True)


class Desk:
    def __init__(self) -> None:
        self.issued: list[tuple[Any, ...]] = []
        self.ended: list[tuple[str, str, str]] = []
        self.fails: Exception | None = None

    async def issue(self, subject: SubjectId, groups: frozenset[str], *, caller: Caller, ttl: timedelta) -> IssuedToken:
        if self.fails:
            raise self.fails
        self.issued.append((subject, groups, caller.id, ttl))
        expires_at = datetime(2026, 7, 1, tzinfo=UTC)
        return IssuedToken(token=Secret("wkt_x"), subject=Subject(id=subject), expires_at=expires_at)

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


def test_a_token_is_issued_in_the_callers_name_and_not_cached() -> None:
    desk = Desk()
    answer = ask(desk, "tokens", {"subject": "alice", "groups": ["a"], "ttl_s": 60})
    assert msgspec.json.decode(answer.body) == {
        "token": "wkt_x",
        "subject": "alice",
        "expires_at": "2026-07-01T00:00:00Z",
    }
    assert (b"cache-control", b"no-store") in answer.headers
    assert desk.issued == [("alice", frozenset({"a"}), "all", timedelta(seconds=60))]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        {},
        {"subject": ""},
        {"subject": "a", "ttl_s": 0},
        {"subject": "a", "ttl_s": 99999},
        {"subject": "a", "x": 1},
    ],
)
def test_a_question_that_makes_no_sense_is_400(body: object) -> None:
    with pytest.raises(Fault) as fault:
        ask(Desk(), "tokens", body)
    assert fault.value.status == 400


@pytest.mark.parametrize(("error", "status"), [(Refused("not trusted"), 403), (Unavailable("disk full"), 503)])
def test_what_the_desk_refuses_is_told(error: Exception, status: int) -> None:
    desk = Desk()
    desk.fails = error
    with pytest.raises(Fault) as fault:
        ask(desk, "tokens", {"subject": "alice"})
    assert fault.value.status == status


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
        ("tokens", {"subject": "a"}),
        ("sessions", None),
        ("sessions-end", {"session": "s", "reason": "r"}),
    ):
        with pytest.raises(Fault) as fault:
            ask(Desk(), name, body, None)
        assert fault.value.status == 401
