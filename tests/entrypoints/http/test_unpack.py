"""A body is unpacked within its bound, and nothing but gzip is."""

import gzip

import pytest

from watchkey.entrypoints.http.exchange import Fault, Request
from watchkey.entrypoints.http.unpack import unpacked_body


def request(body: bytes, encoding: bytes | None = None) -> Request:
    headers = {} if encoding is None else {b"content-encoding": encoding}
    return Request(method="POST", path="/", query="", headers=headers, body=body, id="r", peer="p", arrived_at=0.0)


def test_a_plain_body_is_itself() -> None:
    assert unpacked_body(request(b"x"), 10) == unpacked_body(request(b"x", b"Identity"), 10) == b"x"


def test_gzip_is_unpacked_up_to_the_bound() -> None:
    assert unpacked_body(request(gzip.compress(b"x" * 10), b"GZIP"), 10) == b"x" * 10
    with pytest.raises(Fault, match="longer than 10"):
        unpacked_body(request(gzip.compress(b"x" * 11), b"gzip"), 10)
    with pytest.raises(Fault, match="longer than 1000"):
        unpacked_body(request(gzip.compress(bytes(50_000_000)), b"gzip"), 1000)


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"x" * 10)[:-3], gzip.compress(b"") * 2], ids=range(4))
def test_what_is_not_gzip_or_not_all_of_it_is_refused(body: bytes) -> None:
    with pytest.raises(Fault):
        unpacked_body(request(body, b"gzip"), 100)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(Fault, match="gzip"):
        unpacked_body(request(b"x", b"br"), 10)
