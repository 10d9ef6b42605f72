"""Base64 as Go decodes it, and PEM."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.armour import decode_base64, decode_base64url, pem_blocks


@given(st.binary(max_size=60))
def test_every_encoding_is_decoded(data: bytes) -> None:
    assert decode_base64(b64encode(data).decode()) == data
    padded = urlsafe_b64encode(data).decode()
    assert decode_base64url(padded) == data
    assert decode_base64url(padded.rstrip("=")) == data


def test_line_breaks_do_not_matter() -> None:
    assert decode_base64("Zm9v\r\nYg==\n") == b"foob"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("foobar", 4),
        ("Zm9v YmFy", 4),
        ("Zg==Zg==", 4),
        ("Zg=a", 2),
        ("Z===", 1),
        ("=", 0),
        ("\u00fc", 0),
        ("Zm9vYg==x", 8),
    ],
)
def test_errors_name_the_byte(text: str, place: int) -> None:
    with pytest.raises(BuiltinError, match=f"illegal base64 data at input byte {place}$"):
        decode_base64(text)


def test_a_length_that_cannot_be() -> None:
    with pytest.raises(BuiltinError, match="illegal base64url string: a"):
        decode_base64url("a")


PEM = "-----BEGIN THING-----\nZm9v\nYmFy\n-----END THING-----\n"


def test_pem_blocks() -> None:
    found = list(pem_blocks("junk\n" + PEM + PEM.replace("THING", "OTHER") + "rest"))
    assert [(kind, content) for kind, content, _ in found] == [("THING", b"foobar"), ("OTHER", b"foobar")]
    assert found[-1][2] == "rest"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        PEM.replace("END THING", "END OTHER"),
        PEM.replace("Zm9v", "Zm9"),
        "x" + PEM,
        PEM.replace("-----\nZ", "----\nZ"),
    ],
)
def test_what_is_no_block_is_skipped(text: str) -> None:
    assert list(pem_blocks(text)) == []


def test_headers_of_a_block_are_skipped() -> None:
    text = PEM.replace("Zm9v", "Proc-Type: 4\nDEK: x\n\nZm9v")
    assert [content for _, content, _ in pem_blocks(text.replace("Proc-Type", "ProcType"))] == [b"foobar"]
