"""Built-ins of UUIDs and random numbers; what is drawn comes from the seed of the evaluation only."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from watchkey.rego.builtins import UNDEFINED, CallContext, Number, builtin, integer_operand
from watchkey.rego.types import ANY, NUMBER, STRING, object_of
from watchkey.rego.values import Object

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_DASHES: Final = (8, 13, 18, 23)

_GREGORIAN_TO_UNIX: Final = 0x01B21DD213814000
"""100-nanosecond ticks from 1582-10-15, where the time of a UUID starts, to 1970."""

_DOMAINS: Final = {0: "Person", 1: "Group", 2: "Org"}
_SENDERS: Final = ("global:unicast", "global:multicast", "local:unicast", "local:multicast")


def _bytes_of(text: str) -> bytes | None:
    """The 16 bytes of a UUID: plain, with dashes, in braces (any two characters), or as ``urn:uuid:``."""
    if not text.isascii():
        return None
    if len(text) == 45 and text[:9].lower() == "urn:uuid:":
        text = text[9:]
    elif len(text) == 38:
        text = text[1:37]
    if len(text) == 36 and all(text[at] == "-" for at in _DASHES):
        text = text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:]
    if len(text) != 32 or not _HEX.issuperset(text):
        return None
    return bytes.fromhex(text)


def _variant(octet: int) -> str:
    if octet & 0xC0 == 0x80:
        return "RFC4122"
    if octet & 0xE0 == 0xC0:
        return "Microsoft"
    return "Future" if octet & 0xE0 == 0xE0 else "Reserved"


def _unix_ns(raw: bytes) -> int:
    """The time of a version 1 or 2 UUID in nanoseconds since 1970, in 64 bits."""
    high = int.from_bytes(raw[6:8], "big") & 0x0FFF
    ticks = high << 48 | int.from_bytes(raw[4:6], "big") << 32 | int.from_bytes(raw[:4], "big")
    wrapped = (ticks - _GREGORIAN_TO_UNIX) * 100 + (1 << 63)
    return wrapped % (1 << 64) - (1 << 63)


@builtin("uuid.parse", (STRING,), object_of(STRING, ANY))
def uuid_parse(text: str) -> Any:
    """Version and variant, and for versions 1 and 2 time, node and clock sequence; undefined if it is no UUID."""
    raw = _bytes_of(text)
    if raw is None:
        return UNDEFINED
    version = raw[6] >> 4
    found: dict[str, Any] = {"version": version, "variant": _variant(raw[8])}
    if version in (1, 2):
        found["time"] = _unix_ns(raw)
        found["nodeid"] = raw[10:].hex("-")
        found["macvariables"] = _SENDERS[raw[10] & 0b11]
        found["clocksequence"] = int.from_bytes(raw[8:10], "big") & 0x3FFF
    if version == 2:
        found["id"] = int.from_bytes(raw[:4], "big")
        found["domain"] = _DOMAINS.get(raw[9], f"Domain{raw[9]}")
    return Object(found)


def _drawn(ctx: CallContext, *parts: str) -> bytes:
    """32 bytes that follow from the seed and from what is asked for, and look random without the seed."""
    digest = sha256(len(ctx.seed or b"").to_bytes(8, "big") + (ctx.seed or b""))
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()


@builtin("uuid.rfc4122", (STRING,), STRING, context=True, deterministic=False, needs_seed=True)
def uuid_rfc4122(ctx: CallContext, key: str) -> str:
    """A version 4 UUID, the same for the same key within an evaluation."""
    raw = bytearray(_drawn(ctx, "uuid.rfc4122", key)[:16])
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


@builtin("rand.intn", (STRING, NUMBER), NUMBER, context=True, deterministic=False, needs_seed=True)
def rand_intn(ctx: CallContext, key: str, end: Number) -> int:
    """A number from 0 to ``abs(end) - 1``, the same for the same arguments within an evaluation; 0 for 0."""
    size = abs(integer_operand(2, end))
    return int.from_bytes(_drawn(ctx, "rand.intn", key, str(size)), "big") % size if size else 0
