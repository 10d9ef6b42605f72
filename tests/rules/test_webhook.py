"""A signature counts for the very bytes and for a known key only."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.secret import Secret
from watchkey.rules.webhook import verify

OLD, NEW = Secret("the old key"), Secret("the new key")
BODY = b'{"event":{"id":"01"}}'


def signature(key: Secret, body: bytes = BODY) -> str:
    return "v1=" + hmac.new(key.reveal().encode(), body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    "header",
    [
        signature(OLD),
        signature(NEW),
        f"{signature(Secret('other'))},{signature(NEW)}",
        f"{signature(OLD)}, {signature(NEW)}",
        signature(NEW).replace("v1=", "v1=").upper().replace("V1=", "v1="),
    ],
)
def test_one_match_of_a_known_key_suffices(header: str) -> None:
    assert verify(BODY, header, (OLD, NEW))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "v1=",
        "v1",
        signature(OLD).removeprefix("v1="),
        signature(OLD).replace("v1", "v0"),
        signature(OLD)[:-1],
        signature(OLD) + "0",
        signature(OLD, BODY + b" "),
        signature(Secret("other")),
        "v1=é" + "0" * 63,
        ",".join(["v1=00"] * 8 + [signature(OLD)]),
    ],
)
def test_anything_else_does_not_count(header: str) -> None:
    assert not verify(BODY, header, (OLD, NEW))


def test_without_keys_nothing_is_genuine() -> None:
    assert not verify(BODY, signature(OLD), ())


@given(st.binary(max_size=200), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_other_byte_breaks_it(body: bytes, place: int, change: int) -> None:
    header = signature(OLD, body)
    assert verify(body, header, (OLD,))
    if body:
        at = place % len(body)
        other = body[:at] + bytes([body[at] ^ change]) + body[at + 1 :]
        assert not verify(other, header, (OLD,))
