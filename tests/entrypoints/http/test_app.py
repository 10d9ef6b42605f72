"""Who is let in where, what each failure looks like, and that no secret gets out."""

import asyncio
import contextlib

import pytest

from tests.entrypoints.http.house import ASK, House, call, exchange, request_bytes
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.questions import Answered
from watchkey.model.access import AccessRequest, Caller
from watchkey.model.errors import Unavailable

OPEN = ["/health", "/ready", "/openapi.json"]
FOR_TRUSTED = ["/metrics", "/v1/roster", "/v1/on-call?resource=orders-db"]


@pytest.mark.parametrize("who", [None, "nothing", "plain", "narrow", "trusted"])
def test_the_matrix_of_doors(house: House, who: str | None) -> None:
    for path in OPEN:
        assert call(house, "GET", path, who=who).status == 200
    for path in FOR_TRUSTED:
        wanted = 401 if who is None else 200 if who in {"narrow", "trusted"} else 403
        assert call(house, "GET", path, who=who).status == wanted, path
    for path, body in (("/v1/decide", ASK), ("/v1/data/watchkey/allow", {"input": ASK})):
        assert call(house, "POST", path, body, who=who).status == (401 if who is None else 200)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wk_",
        "Bearer wk_" + "A" * 43,
        "Basic {token}",
        "bearer{token}",
        "{token}",
        "Bearer  {token}",
        "Bearer {token} ",
        "Bearer {token},Bearer {token}",
        "Bearer sha256:00",
        "Bearer \xff\xfe",
    ],
)
def test_credentials_that_are_not_exactly_right_are_all_refused_alike(house: House, value: str) -> None:
    given = value.replace("{token}", house.caller_tokens["trusted"].reveal())
    if given.endswith(" "):
        given = given.rstrip() + "x"  # HTTP itself strips white space at the end of a header
    got = call(house, "POST", "/v1/decide", ASK, who=None, headers={"authorization": given})
    none = call(house, "POST", "/v1/decide", ASK, who=None)
    assert (got.status, got.body) == (none.status, none.body)
    assert got.status == 401
    assert got.headers["www-authenticate"] == 'Bearer realm="watchkey"'
    assert house.audit.events == []


def test_the_scheme_is_not_case_sensitive(house: House) -> None:
    token = house.caller_tokens["trusted"].reveal()
    got = call(house, "POST", "/v1/decide", ASK, who=None, headers={"authorization": f"bEARER {token}"})
    assert got.status == 200


def test_who_is_not_let_in_does_not_have_its_body_looked_at(house: House) -> None:
    assert call(house, "POST", "/v1/decide", b"{broken", who=None).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/decide/", 404),
        ("GET", "/HEALTH", 404),
        ("GET", "/health/../metrics", 404),
        ("GET", "/%2e%2e/metrics", 404),
        ("GET", "//health", 404),
        ("GET", "http://x/health", 404),
        ("OPTIONS", "*", 404),
        ("GET", "/v1/decide", 405),
        ("DELETE", "/v1/decide", 405),
        ("POST", "/health", 405),
        ("TRACE", "/health", 405),
    ],
)
def test_other_paths_and_methods_are_refused(house: House, method: str, path: str, status: int) -> None:
    got = call(house, method, path)
    assert got.status == status
    assert got.json["allow"] is False


def test_a_405_names_the_methods(house: House) -> None:
    assert call(house, "PUT", "/health").headers["allow"] == "GET, HEAD"
    assert call(house, "PUT", "/v1/decide").headers["allow"] == "POST"


class Locked:
    """A verifier that cannot reach what it needs."""

    async def verify(self, credentials: str) -> Caller:
        raise Unavailable(f"no answer for {credentials}")


class Broken:
    """A verifier that breaks its promise about errors."""

    async def verify(self, credentials: str) -> Caller:
        raise ValueError(credentials)


@pytest.mark.parametrize(("verifier", "status"), [(Locked(), 503), (Broken(), 500)])
def test_when_callers_cannot_be_verified_nobody_is_let_in(verifier: Locked | Broken, status: int) -> None:
    house = House()
    house.verifier = verifier
    with house.open():
        got = call(house, "POST", "/v1/decide", ASK)
        assert (got.status, got.json["allow"]) == (status, False)
        assert house.caller_tokens["trusted"].reveal() not in got.body.decode() + house.log.getvalue()


class Endless:
    """Decides never."""

    def __init__(self) -> None:
        self.was_cancelled = False

    async def answer(self, _request: AccessRequest, _caller: Caller, /) -> Answered:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        raise AssertionError


def test_an_answer_that_takes_too_long_is_a_no() -> None:
    house, endless = House(Limits(answer_s=0.2, drain_s=1.0)), Endless()
    house.request_access = endless
    with house.open():
        for path, body in (("/v1/decide", ASK), ("/v1/data/watchkey/allow", {"input": ASK})):
            got = call(house, "POST", path, body)
            assert got.status == 503
            assert got.json.get("allow", False) is False
        assert endless.was_cancelled


def test_secrets_that_are_sent_come_back_nowhere() -> None:
    canary = "wk_CANARYcanaryCANARYcanaryCANARYcanaryCANARYca"
    with House().open() as house:
        token = house.caller_tokens["trusted"].reveal()
        seen = []
        for who, path in (
            (canary, "/v1/decide"),
            (token, "/v1/decide"),
            (token, f"/v1/{canary}"),
            (token, "/v1/data/x"),
        ):
            for body in (b"{" + canary.encode(), b'{"subject":"' + canary.encode() + b'"}', canary.encode() * 3000):
                headers = {"Authorization": f"Bearer {who}", "X-Canary": canary, "Cookie": canary}
                with contextlib.suppress(ConnectionError):
                    seen += exchange(house, request_bytes("POST", path, body, headers))
        seen.append(call(house, "GET", f"/v1/on-call?{canary}={canary}"))
        seen.append(call(house, "GET", f"/v1/on-call?resource={canary}"))
        seen.append(call(house, "GET", "/metrics"))
        text = (
            house.log.getvalue()
            + "".join(got.body.decode() + repr(got.headers) for got in seen)
            + repr(house.audit.events)
        )
    assert len(seen) > 10
    assert canary not in text
    assert token not in text
    assert all(key.reveal() not in text for key in house.keys)
