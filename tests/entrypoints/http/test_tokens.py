"""Tokens of people over HTTP: who may have one made, and that nothing is made unrecorded."""

import pytest

from tests.entrypoints.http.house import House, call
from watchkey.model.secret import Secret


def test_a_token_is_issued_in_the_callers_name_and_not_cached(house: House) -> None:
    got = call(house, "POST", "/v1/tokens", {"subject": "alice", "groups": ["a"], "ttl_s": 60})
    assert (got.status, got.json["token"], got.json["subject"]) == (200, "wkt_person", "alice")
    assert got.headers["cache-control"] == "no-store"
    token = Secret("wkt_person")
    assert house.tokens.recognise(token).subject.groups == frozenset({"a"})
    assert house.tokens.recognise(token).issuer.id == "trusted"


@pytest.mark.parametrize("who", ["plain", "admin", None])
def test_only_a_trusted_caller_says_who_somebody_is(house: House, who: str | None) -> None:
    assert call(house, "POST", "/v1/tokens", {"subject": "alice"}, who=who).status in {401, 403}


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
def test_a_question_that_makes_no_sense_is_400(house: House, body: object) -> None:
    assert call(house, "POST", "/v1/tokens", body).status == 400


def test_what_cannot_be_recorded_is_not_issued(house: House) -> None:
    house.audit.fails = True
    assert call(house, "POST", "/v1/tokens", {"subject": "alice"}).status == 503
