"""A Svix signature counts for the very bytes, the id and the time, with a known key, about now."""

import hashlib
import hmac
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.secret import Secret
from watchkey.rules.svix import TOLERANCE, Headers, verify

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
OLD, NEW = (Secret("whsec_" + b64encode(text).decode()) for text in (b"the old key", b"the new key"))
BODY = b'{"event_type": "schedule.shift_change_v1"}'


def sign(text: bytes, message_id: str = "msg_1", at: datetime = NOW, body: bytes = BODY) -> str:
    signed = f"{message_id}.{int(at.timestamp())}.".encode() + body
    return "v1," + b64encode(hmac.new(text, signed, hashlib.sha256).digest()).decode()


def headers(signature: str, at: datetime = NOW) -> Headers:
    return Headers(message_id="msg_1", timestamp=str(int(at.timestamp())), signature=signature)


def test_the_example_of_the_specification() -> None:
    # Key, id, time, body and signature as the vendor prints them for checking an implementation.
    given_headers = Headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp="1614265330",
        signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )
    key = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert verify(b'{"test": 2432232314}', given_headers, [key], datetime.fromtimestamp(1614265330, UTC))


@pytest.mark.parametrize("text", [b"the old key", b"the new key"])
def test_one_match_of_a_known_key_suffices(text: bytes) -> None:
    assert verify(BODY, headers(f"v1,AAAA {sign(text)} v2,BBBB"), (OLD, NEW), NOW)


@pytest.mark.parametrize(
    "signature",
    ["", "v1,", "v1", sign(b"another"), sign(b"the old key")[3:], sign(b"the old key").replace("v1", "v1a"), "v1,é"],
)
def test_anything_else_does_not_count(signature: str) -> None:
    assert not verify(BODY, headers(signature), (OLD, NEW), NOW)


def test_what_is_signed_is_the_id_and_the_time_too() -> None:
    good = headers(sign(b"the old key"))
    assert verify(BODY, good, (OLD,), NOW)
    assert not verify(BODY, replace(good, message_id="msg_2"), (OLD,), NOW)
    assert not verify(BODY, replace(good, timestamp=str(int(NOW.timestamp()) + 1)), (OLD,), NOW)


@pytest.mark.parametrize("off", [TOLERANCE, -TOLERANCE])
def test_a_message_is_good_for_minutes_only(off: timedelta) -> None:
    second = timedelta(seconds=1 if off > timedelta(0) else -1)
    for at, is_good in ((NOW + off, True), (NOW + off + second, False)):
        assert verify(BODY, headers(sign(b"the old key", at=at), at), (OLD,), NOW) is is_good


@pytest.mark.parametrize("timestamp", ["", "-1", "1e9", "٣", "9" * 40, "soon"])
def test_a_time_that_is_none_does_not_count(timestamp: str) -> None:
    signed = f"msg_1.{timestamp}.".encode() + BODY
    signature = "v1," + b64encode(hmac.new(b"the old key", signed, hashlib.sha256).digest()).decode()
    assert not verify(BODY, Headers(message_id="msg_1", timestamp=timestamp, signature=signature), (OLD,), NOW)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_!!", "not base64 é"])
def test_a_key_that_is_none_matches_nothing(key: str) -> None:
    assert not verify(BODY, headers(sign(b"")), (Secret(key),), NOW)
    assert not verify(BODY, headers(sign(b"the old key")), (), NOW)


@given(st.binary(min_size=1, max_size=200), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_other_byte_breaks_it(body: bytes, place: int, change: int) -> None:
    good = headers(sign(b"the old key", body=body))
    at = place % len(body)
    assert verify(body, good, (OLD,), NOW)
    assert not verify(body[:at] + bytes([body[at] ^ change]) + body[at + 1 :], good, (OLD,), NOW)
