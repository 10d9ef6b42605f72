"""The operator's word over HTTP: who may give it, what is shown first, and that it is for the read that was seen."""

from datetime import timedelta

import pytest

from tests.builders import NOW, SOURCE, index, shift
from tests.entrypoints.http.house import CALLERS, House, call
from tests.entrypoints.http.test_openapi import check
from watchkey.flows.sync_roster import Waiting
from watchkey.rules.roster import diff

LOOK, ACCEPT = "/v1/sources/held", "/v1/sources/accept"
BEFORE = index(
    shift(),
    shift("PBOB", level=2),
    shift("PCAROL", starts_at=NOW + timedelta(hours=1), ends_at=NOW + timedelta(hours=2)),
)
AFTER = index(shift())


@pytest.fixture
def holding(house: House) -> House:
    waiting = Waiting(
        digest=AFTER.digest,
        taken_at=NOW,
        why="the read would take away too much",
        change=diff(BEFORE, AFTER, NOW),
        before=BEFORE,
        after=AFTER,
    )
    house.sync.held_back[SOURCE] = waiting
    return house


def test_who_would_lose_cover_is_shown_and_that_read_is_let_in(holding: House) -> None:
    got = call(holding, "POST", LOOK, {"source": "pager"}, who="admin")
    check("post", LOOK, got)
    assert [(one["name"], one["level"], one["now"]) for one in got.json["losses"]] == [
        ("bob", 2, True),
        ("carol", 1, False),
    ]
    assert (got.json["why"], got.json["shifts"]) == ("the read would take away too much", 1)
    done = call(holding, "POST", ACCEPT, {"source": "pager", "digest": got.json["digest"]}, who="admin")
    check("post", ACCEPT, done)
    assert (done.status, done.json["digest"]) == (200, AFTER.digest)
    assert holding.sync.accepted == [("pager", "admin")]


@pytest.mark.parametrize("who", [name for name in CALLERS if name != "admin"])
@pytest.mark.parametrize("path", [LOOK, ACCEPT])
def test_only_a_caller_that_may_administer_has_a_word(holding: House, who: str, path: str) -> None:
    got = call(holding, "POST", path, {"source": "pager", "digest": AFTER.digest}, who=who)
    check("post", path, got)
    assert (got.status, holding.sync.accepted) == (403, [])


@pytest.mark.parametrize("body", [{"source": "pager"}, {"source": "pager", "digest": ""}, {"digest": "x"}, b""])
def test_there_is_no_word_without_the_digest_of_what_was_seen(holding: House, body: object) -> None:
    assert (call(holding, "POST", ACCEPT, body, who="admin").status, holding.sync.accepted) == (400, [])


def test_another_read_than_was_seen_is_not_let_in(holding: House) -> None:
    got = call(holding, "POST", ACCEPT, {"source": "pager", "digest": "0" * 64}, who="admin")
    check("post", ACCEPT, got)
    assert (got.status, got.json["error"]["code"], holding.sync.accepted) == (409, "not_that_read", [])
    assert call(holding, "POST", LOOK, {"source": "other"}, who="admin").status == 404
