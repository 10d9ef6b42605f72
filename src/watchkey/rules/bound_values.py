"""Bound parameters in the record: keyed hashes, and the forms in which a known value may have been sent.

A plain hash of a telephone number is the telephone number: all of them are hashed in a minute. With a key that is not
in the log, whoever has the log alone learns only which values were equal.
"""

import hmac
import re
import struct
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

KEY_BYTES: Final = 32
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?")
_HASH_BYTES: Final = 16  # of 32: no two values of one log meet by chance, and a line stays short


class Parameters(StrEnum):
    """What of bound parameters is recorded."""

    OFF = "off"
    HASHED = "hashed"
    FULL = "full"


def parse_key(text: str) -> bytes:
    """The key as its file has it, in hexadecimal. Raises ValueError for anything else."""
    key = bytes.fromhex(text)
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of a statement log has {KEY_BYTES} bytes, not {len(key)}")
    return key


def value_hash(key: bytes, value: bytes) -> str:
    """HMAC-SHA-256 of the value as it was sent, its first 16 bytes in hexadecimal. Raises ValueError for a cut key."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key of a statement log has {KEY_BYTES} bytes, not {len(key)}")
    return hmac.digest(key, value, "sha256")[:_HASH_BYTES].hex()


def wire_forms(text: str) -> Mapping[str, bytes]:
    """The bytes that drivers send for a value which a person knows as this text, by the name of the form.

    Text as it stands (psycopg for text, JDBC, node-postgres), and PostgreSQL's binary forms of integers, floating
    point numbers, booleans and UUIDs (asyncpg, psycopg for numbers). Dates, numerics and arrays in binary are not here.
    """
    forms = {"text": text.encode()}
    if re.fullmatch(r"-?[0-9]{1,19}", text):
        number = int(text)
        for name, layout in (("int2", ">h"), ("int4", ">i"), ("int8", ">q")):
            if -(1 << 8 * struct.calcsize(layout) - 1) <= number < 1 << 8 * struct.calcsize(layout) - 1:
                forms[name] = struct.pack(layout, number)
    if _NUMBER.fullmatch(text):
        forms["float8"] = struct.pack(">d", float(text))
    if text.lower() in {"true", "false", "t", "f"}:
        forms["bool"] = b"\1" if text.lower() in {"true", "t"} else b"\0"
    if _UUID.fullmatch(text):
        forms["uuid"] = bytes.fromhex(text.replace("-", ""))
    return forms
