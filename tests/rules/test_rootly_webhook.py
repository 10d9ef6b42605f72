"""Rootly's signature: over the time and the body, with any of the keys, for minutes only."""

import hashlib
import hmac
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import NOW
from watchkey.model.secret import Secret
from watchkey.rules.rootly_webhook import AGE_MAX, verify

KEYS = (Secret("new key"), Secret("old key"))
BODY = b'{"event": {"type": "incident.created"}}'


def header(body: bytes = BODY, key: str = "new key", at: int | str | None = None) -> str:
    time = str(int(NOW.timestamp()) if at is None else at)
    return f"t={time},v1={hmac.new(key.encode(), time.encode() + body, hashlib.sha256).hexdigest()}"


@pytest.mark.parametrize("key", ["new key", "old key"])
def test_either_key_of_about_now_suffices(key: str) -> None:
    assert verify(BODY, header(key=key), KEYS, NOW)
    assert verify(BODY, header(key=key).replace(",", ", "), KEYS, NOW)


@pytest.mark.parametrize(
    "given_",
    [
        "", "t=1", header(key="another"), header(body=b"{}"), header().partition(",")[2], header() + ",t=1",
        header(at=int((NOW - AGE_MAX).timestamp()) - 1), header(at=int((NOW + AGE_MAX).timestamp()) + 1),
        header(at="9" * 12), header(at="9" * 13), header(at="-1"), header(at="١"), header(at=""),
        header().replace("v1=", "v0="), header()[:-1],
    ],
)  # fmt: skip
def test_anything_else_does_not_count(given_: str) -> None:
    assert not verify(BODY, given_, KEYS, NOW)


def test_without_keys_nothing_is_genuine() -> None:
    assert not verify(BODY, header(), (), NOW)


def test_a_message_is_good_for_minutes_only() -> None:
    assert verify(BODY, header(), KEYS, NOW + AGE_MAX)
    assert not verify(BODY, header(), KEYS, NOW + AGE_MAX + timedelta(seconds=1))


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_any_other_byte_breaks_it(place: int, by: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= by
    assert not verify(bytes(changed), header(), KEYS, NOW)
