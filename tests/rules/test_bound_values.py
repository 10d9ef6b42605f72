"""Keyed hashes of bound parameters, and the forms in which a known value may have been sent."""

import hashlib
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.bound_values import KEY_BYTES, parse_key, value_hash, wire_forms

KEY = bytes(range(KEY_BYTES))


def test_a_hash_needs_the_key_and_depends_on_it() -> None:
    assert value_hash(KEY, b"+49 30 1234567") == value_hash(KEY, b"+49 30 1234567")
    assert value_hash(KEY, b"a") != value_hash(KEY, b"b")
    assert value_hash(KEY, b"a") != value_hash(bytes(KEY_BYTES), b"a")
    # whoever guesses without the key finds nothing
    assert value_hash(KEY, b"a") not in hashlib.sha256(b"a").hexdigest()
    assert len(value_hash(KEY, b"")) == 32


@pytest.mark.parametrize("key", [b"", b"short", bytes(KEY_BYTES + 1)])
def test_no_key_is_no_key(key: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        value_hash(key, b"x")
    with pytest.raises(ValueError, match="bytes"):
        parse_key(key.hex())


def test_the_key_file_is_hexadecimal() -> None:
    assert parse_key(KEY.hex() + "\n") == KEY
    with pytest.raises(ValueError, match="hex"):
        parse_key("no key at all")


def test_forms_of_known_values() -> None:
    assert wire_forms("alice") == {"text": b"alice"}
    assert set(wire_forms("42")) == {"text", "int2", "int4", "int8", "float8"}
    assert set(wire_forms("32768")) == {"text", "int4", "int8", "float8"}
    assert set(wire_forms("-9223372036854775809")) == {"text", "float8"}
    assert wire_forms("true")["bool"] == b"\1"
    assert wire_forms("f")["bool"] == b"\0"
    one = uuid.UUID(int=77)
    assert wire_forms(str(one))["uuid"] == one.bytes


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_as_postgresql_has_them(number: int) -> None:
    assert struct.unpack(">q", wire_forms(str(number))["int8"]) == (number,)


@given(st.text())
def test_any_text_is_at_least_itself(text: str) -> None:
    assert wire_forms(text)["text"] == text.encode()
