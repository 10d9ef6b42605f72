"""Alive at once, ready with the first complete roster of each source."""

from tests.builders import index, shift
from tests.entrypoints.http.house import House, call
from watchkey.entrypoints.http.health import missing


def test_it_is_alive_before_it_is_ready_and_says_what_it_waits_for() -> None:
    with House(has_roster=False).open() as house:
        assert call(house, "GET", "/health", who=None).json == {"status": "alive"}
        waiting = call(house, "GET", "/ready", who=None)
        assert (waiting.status, waiting.json) == (503, {"ready": False, "reasons": ["no complete roster of pager yet"]})
        house.rosters.swap(index(shift()), read_at=house.clock.monotonic())
        ready = call(house, "GET", "/ready", who=None)
        assert (ready.status, ready.json) == (200, {"ready": True, "reasons": []})


def test_every_source_counts() -> None:
    house = House()
    house.source_names = (*house.source_names, "other")
    assert missing(house) == ("no complete roster of other yet",)


def test_head_is_get_without_its_body(house: House) -> None:
    got = call(house, "HEAD", "/health", who=None)
    assert (got.status, got.headers["content-length"], got.body) == (200, "18", b"")


def test_figures_are_for_trusted_callers(house: House) -> None:
    assert call(house, "GET", "/metrics", who=None).status == 401
    assert call(house, "GET", "/metrics", who="plain").status == 403
    assert call(house, "GET", "/metrics").status == 200
