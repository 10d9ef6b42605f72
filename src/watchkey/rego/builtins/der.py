"""Reads DER, the encoding of certificates and keys: strict and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_ID: Final = 0x06
UTF8_STRING: Final = 0x0C
SEQUENCE: Final = 0x30
SET: Final = 0x31
NUMERIC_STRING: Final = 0x12
PRINTABLE_STRING: Final = 0x13
T61_STRING: Final = 0x14
IA5_STRING: Final = 0x16
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
GENERAL_STRING: Final = 0x1B
BMP_STRING: Final = 0x1E

_TEXT_CODECS: Final = {
    UTF8_STRING: "utf-8",
    NUMERIC_STRING: "ascii",
    PRINTABLE_STRING: "ascii",
    T61_STRING: "latin-1",
    IA5_STRING: "ascii",
    GENERAL_STRING: "ascii",
    BMP_STRING: "utf-16-be",
}

_LONGEST_OID: Final = 128


class MalformedDer(Exception):
    """The bytes are not the DER that was expected."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag byte, its content, and its whole encoding."""

    tag: int
    content: bytes
    raw: bytes

    def children(self) -> list[Element]:
        """The elements inside a constructed one."""
        if not self.tag & 0x20:
            raise MalformedDer
        return list(elements(self.content))

    def expect(self, *tags: int) -> Element:
        """The element itself if it has one of the tags."""
        if self.tag not in tags:
            raise MalformedDer
        return self

    def integer(self) -> int:
        """An INTEGER of any size."""
        self.expect(INTEGER)
        content = self.content
        if not content or (len(content) > 1 and content[:1] in (b"\0", b"\xff") and (content[0] ^ content[1]) < 0x80):
            raise MalformedDer
        return int.from_bytes(content, "big", signed=True)

    def boolean(self) -> bool:
        """A BOOLEAN."""
        self.expect(BOOLEAN)
        if self.content not in (b"\0", b"\xff"):
            raise MalformedDer
        return self.content == b"\xff"

    def bits(self) -> tuple[bytes, int]:
        """The bytes of a BIT STRING and the number of its bits."""
        self.expect(BIT_STRING)
        unused = self.content[0] if self.content else 8
        data = self.content[1:]
        if unused > 7 or (unused and not data) or (data and data[-1] & ((1 << unused) - 1)):
            raise MalformedDer
        return data, 8 * len(data) - unused

    def object_id(self) -> tuple[int, ...]:
        """The arcs of an OBJECT IDENTIFIER."""
        self.expect(OBJECT_ID)
        return arcs_of(self.content)

    def text(self) -> str:
        """Any of the string types."""
        codec = _TEXT_CODECS.get(self.tag)
        if codec is None:
            raise MalformedDer
        try:
            return self.content.decode(codec)
        except UnicodeDecodeError:
            raise MalformedDer from None

    def time(self) -> str:
        """A UTCTime or GeneralizedTime as ``YYYY-MM-DDTHH:MM:SSZ``."""
        digits = self.content.decode("ascii", "replace")
        if self.tag == UTC_TIME and len(digits) == 13:
            digits = ("19" if digits[:2] >= "50" else "20") + digits
        elif self.tag == UTC_TIME and len(digits) == 11:
            digits = ("19" if digits[:2] >= "50" else "20") + digits[:10] + "00Z"
        elif self.tag != GENERALIZED_TIME:
            raise MalformedDer
        if len(digits) != 15 or digits[14] != "Z" or not digits[:14].isdigit():
            raise MalformedDer
        date = f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"
        return f"{date}T{digits[8:10]}:{digits[10:12]}:{digits[12:14]}Z"


def arcs_of(content: bytes) -> tuple[int, ...]:
    """The arcs that the content of an OBJECT IDENTIFIER encodes."""
    if not content or len(content) > _LONGEST_OID or content[-1] & 0x80:
        raise MalformedDer
    arcs: list[int] = []
    arc = 0
    fresh = True
    for octet in content:
        if fresh and octet == 0x80:
            raise MalformedDer
        arc = arc << 7 | octet & 0x7F
        fresh = not octet & 0x80
        if fresh:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return (first, arcs[0] - 40 * first, *arcs[1:])


def elements(data: bytes) -> Iterator[Element]:
    """The elements that follow one another in the bytes."""
    at = 0
    while at < len(data):
        element = first_element(data[at:] if at else data)
        yield element
        at += len(element.raw)


def first_element(data: bytes) -> Element:
    """The element at the start of the bytes; there may be more after it."""
    if len(data) < 2 or data[0] & 0x1F == 0x1F:
        raise MalformedDer
    length = data[1]
    start = 2
    if length & 0x80:
        count = length & 0x7F
        encoded = data[2 : 2 + count]
        length = int.from_bytes(encoded, "big")
        if not 1 <= count <= 4 or len(encoded) < count or length < 0x80 or encoded[0] == 0:
            raise MalformedDer
        start += count
    if len(data) < start + length:
        raise MalformedDer
    return Element(data[0], data[start : start + length], data[: start + length])


def only_element(data: bytes) -> Element:
    """The one element that the bytes are."""
    element = first_element(data)
    if len(element.raw) != len(data):
        raise MalformedDer
    return element
