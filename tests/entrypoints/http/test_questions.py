"""Quotas, the reserved lane, the grid of refusals, and failures inside that are a no."""

import asyncio
from datetime import timedelta

import pytest

from tests.builders import request
from tests.entrypoints.http.house import ASK, CALLERS, House, call
from watchkey.entrypoints.http.exchange import Request
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.questions import Answered, Questions
from watchkey.model.access import AccessRequest, Caller

SMALL = Limits(quota_per_s=1e-6, quota_burst=3, drain_s=1.0)
QUESTION = request("carol")
CAROL = {**ASK, "subject": {"id": "carol"}}
BOB = {**ASK, "subject": {"id": "bob"}}


class Breaking:
    """Decides nothing: it raises, with a secret in its text."""

    async def answer(self, _request: AccessRequest, _caller: Caller, /) -> Answered:
        raise RuntimeError("canary: the password is hunter2")


class Recording:
    """Passes on to a real use case and keeps the order in which questions begin and end."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0

    async def answer(self, _request: AccessRequest, _caller: Caller, /) -> Answered:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        raise RuntimeError


def test_who_is_over_quota_is_refused_and_others_are_not() -> None:
    with House(SMALL).open() as house:
        statuses = [call(house, "POST", "/v1/decide", CAROL, who="narrow").status for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        refused = call(house, "POST", "/v1/decide", CAROL, who="narrow")
        assert refused.json["allow"] is False
        assert int(refused.headers["retry-after"]) > 0
        assert call(house, "POST", "/v1/decide", CAROL, who="trusted").status == 200
        assert call(house, "POST", "/v1/data/watchkey/allow", {"input": CAROL}, who="narrow").json["code"] == (
            "too_many_requests"
        )


def test_who_holds_an_allow_is_never_refused_for_load_until_it_ends() -> None:
    with House(SMALL).open() as house:
        assert call(house, "POST", "/v1/decide", ASK, who="plain").json["allow"] is True
        while call(house, "POST", "/v1/decide", CAROL, who="plain").status != 429:
            pass
        for _ in range(20):
            assert call(house, "POST", "/v1/decide", ASK, who="plain").json["allow"] is True
        assert call(house, "POST", "/v1/decide", {**ASK, "privilege": "read"}, who="plain").status == 429
        house.clock.advance(timedelta(minutes=30))
        assert call(house, "POST", "/v1/decide", ASK, who="plain").status == 429


def test_in_a_batch_only_the_questions_beyond_the_quota_are_refused() -> None:
    with House(SMALL).open() as house:
        got = call(house, "POST", "/v1/decide", {"requests": [ASK, CAROL, CAROL, CAROL, BOB]}, who="plain")
        assert got.status == 200
        kinds = [each.get("error", {}).get("code", each["allow"]) for each in got.json["decisions"]]
        assert kinds[:3] == [True, False, False]
        assert kinds[3:] == ["too_many_requests", "too_many_requests"]
        assert call(house, "POST", "/v1/decide", {"requests": [ASK, CAROL]}, who="plain").json["decisions"][0]["allow"]


def test_something_unforeseen_is_a_500_for_trusted_callers_and_a_plain_no_for_others() -> None:
    house = House()
    house.request_access = Breaking()
    with house.open():
        trusted = call(house, "POST", "/v1/decide", ASK)
        assert (trusted.status, trusted.json["allow"]) == (500, False)
        assert trusted.json["error"]["code"] == "internal_error"
        assert trusted.headers["x-request-id"] in trusted.json["error"]["message"]
        assert trusted.headers["x-request-id"] in house.log.getvalue()
        plain = call(house, "POST", "/v1/decide", ASK, who="plain")
        assert (plain.status, plain.body) == (200, b'{"allow":false}')
        opa = call(house, "POST", "/v1/data/watchkey/allow", {"input": ASK})
        assert (opa.status, opa.json["code"]) == (500, "internal_error")
        batch = call(house, "POST", "/v1/decide", {"requests": [ASK, ASK]}).json["decisions"]
        assert [(each["allow"], each["error"]["code"]) for each in batch] == [(False, "internal_error")] * 2
        everything = b"".join(got.body for got in (trusted, plain, opa)).decode() + house.log.getvalue()
        assert "canary" not in everything
        assert "hunter2" not in everything


def request_at(arrived_at: float) -> Request:
    return Request(method="POST", path="/", query="", headers={}, body=b"", id="r", peer="", arrived_at=arrived_at)


def questions(house: House, limits: Limits) -> Questions:
    return Questions(house.request_access, house.clock, limits, Metrics(house))


@pytest.mark.parametrize("spent", [0.0, 0.001, 0.03, 0.0501, 0.2])
def test_a_no_to_an_untrusted_caller_leaves_on_the_grid(spent: float) -> None:
    async def scene() -> float:
        loop = asyncio.get_running_loop()
        house = House()
        asking = questions(house, Limits(refusal_grid_s=0.05))
        arrived_at = loop.time() - spent
        await asking.ask(QUESTION, CALLERS["nothing"], request_at(arrived_at))
        return loop.time() - arrived_at

    took = asyncio.run(scene())
    assert took >= 0.05 * (int(spent / 0.05) + (spent % 0.05 > 0)) - 0.002


def test_questions_of_a_batch_run_together_so_that_their_audit_entries_are_written_together() -> None:
    async def scene() -> int:
        house, recording = House(), Recording()
        house.request_access = recording
        asking = questions(house, Limits())
        await asking.ask_all([QUESTION] * 10, CALLERS["trusted"], request_at(0.0))
        return recording.most

    assert asyncio.run(scene()) == 10
