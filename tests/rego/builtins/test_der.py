"""DER, element by element, and what is not DER."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.builtins import der


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    encoded = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(encoded)]) + encoded + content


@given(st.integers(-(1 << 200), 1 << 200))
def test_integers(number: int) -> None:
    size = number.bit_length() // 8 + 1
    assert der.only_element(element(der.INTEGER, number.to_bytes(size, "big", signed=True))).integer() == number


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\xff\xff"])
def test_integers_are_as_short_as_can_be(content: bytes) -> None:
    with pytest.raises(der.MalformedDer):
        der.only_element(element(der.INTEGER, content)).integer()


def test_object_identifiers() -> None:
    assert der.arcs_of(bytes.fromhex("2a864886f70d010101")) == (1, 2, 840, 113549, 1, 1, 1)
    assert der.arcs_of(bytes([0x88, 0x37])) == (2, 999)


@pytest.mark.parametrize("content", [b"", b"\x80\x01", b"\x2a\x86", b"\x2a" * 200])
def test_object_identifiers_that_are_not(content: bytes) -> None:
    with pytest.raises(der.MalformedDer):
        der.arcs_of(content)


def test_bits_booleans_and_texts() -> None:
    assert der.only_element(element(der.BIT_STRING, b"\x06\xc0")).bits() == (b"\xc0", 2)
    assert der.only_element(element(der.BOOLEAN, b"\xff")).boolean() is True
    assert der.only_element(element(der.BMP_STRING, "\u00fc".encode("utf-16-be"))).text() == "\u00fc"
    for tag, content in ((der.BIT_STRING, b"\x06\xe0"), (der.BIT_STRING, b""), (der.BOOLEAN, b"\x01")):
        found = der.only_element(element(tag, content))
        read = found.bits if tag == der.BIT_STRING else found.boolean
        with pytest.raises(der.MalformedDer):
            read()


@pytest.mark.parametrize(
    ("tag", "content", "wanted"),
    [
        (der.UTC_TIME, b"491231235959Z", "2049-12-31T23:59:59Z"),
        (der.UTC_TIME, b"500101000000Z", "1950-01-01T00:00:00Z"),
        (der.GENERALIZED_TIME, b"20500101000000Z", "2050-01-01T00:00:00Z"),
    ],
)
def test_times(tag: int, content: bytes, wanted: Any) -> None:
    assert der.only_element(element(tag, content)).time() == wanted


@pytest.mark.parametrize(
    "data", [b"", b"\x30", b"\x30\x05a", b"\x30\x80\x00\x00", b"\x30\x81\x05aaaaa", b"\x3f\x81\x01\x00", b"\x04\x01ab"]
)
def test_what_is_not_one_element(data: bytes) -> None:
    with pytest.raises(der.MalformedDer):
        der.only_element(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_elements_or_malformed(data: bytes) -> None:
    try:
        found = list(der.elements(data))
    except der.MalformedDer:
        return
    assert b"".join(each.raw for each in found) == data


def test_a_primitive_has_no_children() -> None:
    with pytest.raises(der.MalformedDer):
        der.only_element(element(der.INTEGER, b"\x01")).children()
