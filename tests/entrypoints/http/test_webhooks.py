"""A webhook causes a read and nothing else, however often and by whomever it is sent."""

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from tests.builders import SOURCE
from tests.entrypoints.http.house import ASK, House, call, request_bytes
from tests.entrypoints.http.house import exchange as send
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.webhooks import Rationed, Seen
from watchkey.model.secret import Secret

PATH = f"/v1/webhooks/pagerduty/{SOURCE}"
BODY = json.dumps({"event": {"id": "01", "event_type": "incident.acknowledged", "data": {"id": "Q1"}}}).encode()


def signed(key: Secret, body: bytes = BODY, webhook_id: str = "w-1") -> dict[str, str]:
    mark = hmac.new(key.reveal().encode(), body, hashlib.sha256).hexdigest()
    return {"x-pagerduty-signature": f"v1={mark}", "x-webhook-id": webhook_id}


@pytest.mark.parametrize("number", [0, 1])
def test_either_key_makes_a_hint(house: House, number: int) -> None:
    got = call(house, "POST", PATH, BODY, who=None, headers=signed(house.keys[number]))
    assert got.status == 202
    assert house.sync.hints == [SOURCE]


def test_a_repeated_one_is_taken_and_does_nothing(house: House) -> None:
    for _ in range(5):
        assert call(house, "POST", PATH, BODY, who=None, headers=signed(house.keys[0])).status == 202
    assert house.sync.hints == [SOURCE]


def test_the_same_unsigned_id_with_another_body_is_another_one(house: House) -> None:
    for body in (BODY, BODY + b" "):
        assert call(house, "POST", PATH, body, who=None, headers=signed(house.keys[0], body)).status == 202
    assert house.sync.hints == [SOURCE, SOURCE]


def test_what_is_not_genuine_is_refused_and_an_unknown_source_in_the_same_words(house: House) -> None:
    good = signed(house.keys[0])
    wrong = [
        (PATH, BODY, {}),
        (PATH, BODY, signed(Secret("other key"))),
        (PATH, BODY + b" ", good),
        (PATH, BODY, {"x-pagerduty-signature": good["x-pagerduty-signature"].removeprefix("v1=")}),
        ("/v1/webhooks/pagerduty/other", BODY, good),
        ("/v1/webhooks/pagerduty/", BODY, good),
        (f"{PATH}/", BODY, good),
        ("/v1/webhooks/pagerduty/%70ager", BODY, good),
        ("/v1/webhooks/pagerduty/../pagerduty/pager", BODY, good),
    ]
    refusals = {(got.status, got.body) for got in (call(house, "POST", p, b, who=None, headers=h) for p, b, h in wrong)}
    assert len(refusals) == 1
    assert refusals.pop()[0] == 401
    assert house.sync.hints == []


def test_a_bad_one_does_not_spoil_the_good_one_of_the_same_id(house: House) -> None:
    call(house, "POST", PATH, BODY, who=None, headers=signed(Secret("other key")))
    call(house, "POST", PATH, BODY, who=None, headers=signed(house.keys[0]))
    assert house.sync.hints == [SOURCE]


def test_two_signature_headers_are_ambiguous(house: House) -> None:
    raw = request_bytes("POST", PATH, BODY, signed(house.keys[0]))
    other = b"X-PagerDuty-Signature: v1=00\r\n"
    head, _, body = raw.partition(b"\r\n\r\n")
    (got,) = send(house, head + b"\r\n" + other + b"\r\n" + body)
    assert got.status == 400
    assert house.sync.hints == []


def test_nothing_in_a_body_changes_a_decision_or_is_logged(house: House) -> None:
    before = call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": "carol"}}).json
    bodies = [
        b'{"event":{"event_type":"incident.acknowledged","agent":{"id":"PCAROL"},"canary":"s3cret"}}',
        b"not json \xff canary",
        b"",
        b"[" * 100_000,
    ]
    for number, body in enumerate(bodies):
        got = call(house, "POST", PATH, body, who=None, headers=signed(house.keys[0], body, f"w-{number}"))
        assert got.status == 202
    after = call(house, "POST", "/v1/decide", {**ASK, "subject": {"id": "carol"}}).json
    assert before == after
    assert after["allow"] is False
    assert "canary" not in house.log.getvalue()


def test_a_webhook_may_be_longer_than_a_question_and_not_without_end(house: House) -> None:
    long = b" " * 200_000
    assert call(house, "POST", PATH, long, who=None, headers=signed(house.keys[0], long)).status == 202
    longer = b" " * 300_000
    assert call(house, "POST", PATH, longer, who=None, headers=signed(house.keys[0], longer)).status == 413


def test_too_many_hints_become_one_later_and_none_is_lost() -> None:
    async def scene() -> tuple[int, int, int]:
        house = House()
        ration = Rationed(SOURCE, house, Limits(webhook_reads_per_s=0.5, webhook_burst=2))
        for _ in range(100):
            ration.hint()
        at_once = len(house.sync.hints)
        await house.clock.run(timedelta(seconds=3))
        later = len(house.sync.hints)
        for _ in range(100):
            ration.hint()
        await house.clock.run(timedelta(seconds=10))
        return at_once, later, len(house.sync.hints)

    assert asyncio.run(scene()) == (2, 3, 4)


def test_what_was_seen_is_bounded() -> None:
    seen = Seen(capacity=2)
    assert [seen.is_new(name, b"") for name in (b"a", b"b", b"a", b"c", b"a")] == [True, True, False, True, True]
    assert Seen().is_new(b"ab", b"c")
    both = Seen()
    assert both.is_new(b"ab", b"c")
    assert both.is_new(b"a", b"bc")
