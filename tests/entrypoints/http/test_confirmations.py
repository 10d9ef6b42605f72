"""Vouching over HTTP: a person's own token and no program's, and what is told to whom."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.builders import SOURCE, index, shift
from tests.entrypoints.http.house import CALLERS, Got, House, call
from tests.entrypoints.http.test_openapi import check
from watchkey.model.oncall import Provenance

PATH, BACK = "/v1/confirmations", "/v1/confirmations/withdraw"
WEAK = shift(provenance=Provenance.SELF_OVERRIDE)


@pytest.fixture
def doubtful(house: House) -> House:
    house.on_loop(lambda: house.rosters.swap(index(WEAK), read_at=house.clock.monotonic()))
    return house


def as_person(house: House, name: str) -> Callable[..., Got]:
    got = call(house, "POST", "/v1/tokens", {"subject": name})
    header = {"authorization": f"Bearer {got.json['token']}"}

    def ask(method: str, path: str, body: object = None) -> Got:
        answered = call(house, method, path, body, who=None, headers=header)
        check(method.lower(), path, answered)
        return answered

    return ask


def test_a_person_sees_what_needs_a_word_gives_it_and_takes_it_back(doubtful: House) -> None:
    bob = as_person(doubtful, "bob")
    (one,) = bob("GET", PATH).json["shifts"]
    assert (one["name"], one["grade"], one["resources"]) == ("alice", "self_override", ["orders-db", "billing-db"])
    assert (one["confirmed_by"], one["confirmed_until"], one["why_not"]) == (None, None, "")
    given = bob("POST", PATH, {"shift": one["id"]})
    assert given.json == {"shift": one["id"], "by": "bob", "until": "2026-07-01T12:30:00Z"}
    assert bob("GET", PATH).json["shifts"][0]["confirmed_by"] == "bob"
    assert bob("POST", BACK, {"shift": one["id"]}).status == 200
    assert bob("GET", PATH).json["shifts"][0]["confirmed_by"] is None
    assert bob("POST", BACK, {"shift": one["id"]}).status == 403


def test_nobody_vouches_for_himself(doubtful: House) -> None:
    alice = as_person(doubtful, "alice")
    (one,) = alice("GET", PATH).json["shifts"]
    assert "second person" in one["why_not"]
    got = alice("POST", PATH, {"shift": one["id"]})
    assert (got.status, got.json["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("who", [*CALLERS, None])
@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", PATH), ("POST", BACK)])
def test_a_program_is_no_second_person(doubtful: House, who: str | None, method: str, path: str) -> None:
    got = call(doubtful, method, path, {"shift": "x"} if method == "POST" else None, who=who)
    check(method.lower(), path, got)
    assert (got.status, got.json["error"]["code"]) == (401, "not_a_person")


def test_a_token_that_is_over_proves_nobody(doubtful: House) -> None:
    bob = as_person(doubtful, "bob")
    doubtful.on_loop(lambda: doubtful.clock.advance(timedelta(minutes=10)))
    assert bob("GET", PATH).status == 401


def test_a_stranger_sees_nothing_and_may_nothing(doubtful: House) -> None:
    dave = as_person(doubtful, "dave")
    assert dave("GET", PATH).json == {"shifts": []}
    assert dave("POST", PATH, {"shift": "x"}).status == 403


@pytest.mark.parametrize("body", [b"", {}, {"shift": ""}, {"shift": "x", "by": "carol"}])
def test_a_question_that_makes_no_sense_is_400(doubtful: House, body: object) -> None:
    bob = as_person(doubtful, "bob")
    assert {bob("POST", path, body).status for path in (PATH, BACK)} == {400}


def test_what_cannot_be_recorded_does_not_count(doubtful: House) -> None:
    bob = as_person(doubtful, "bob")
    (one,) = bob("GET", PATH).json["shifts"]
    doubtful.audit.fails = True
    assert bob("POST", PATH, {"shift": one["id"]}).status == 503
    doubtful.audit.fails = False
    bob("POST", PATH, {"shift": one["id"]})
    doubtful.memory.fails = True
    got = bob("POST", BACK, {"shift": one["id"]})
    assert (got.status, "restart" in got.json["error"]["message"]) == (503, True)
    assert bob("GET", PATH).json["shifts"][0]["confirmed_by"] is None
    assert doubtful.confirm_shift is not None
    assert doubtful.rosters.held()[SOURCE].index.roster.shifts == (WEAK,)
