"""Bytes inside text: base64 as Go decodes it, with Go's errors, and PEM blocks."""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64decode
from binascii import Error as BinasciiError
from collections.abc import Iterator
from typing import Final

from watchkey.rego.builtins import BuiltinError

_STANDARD: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_FOR_URLS: Final = _STANDARD - frozenset("+/") | frozenset("-_")

_PEM: Final = re.compile(
    r"(?:\A|\n)-----BEGIN ([^\n]*?)-----[ \t]*\r?\n(?P<body>[^-]*)-----END \1-----[ \t]*(?:\r?\n|\r?\Z)"
)
_HEADER: Final = re.compile(r"\A[^\n:]*:[^\n]*\n")


def decode_base64(text: str, *, for_urls: bool = False) -> bytes:
    """The bytes of a padded base64 text, line breaks ignored; raises BuiltinError naming the first bad byte."""
    plain = text.replace("\r", "").replace("\n", "")
    core = plain.rstrip("=") if plain.endswith("=") else plain
    padding = len(plain) - len(core)
    alphabet = _FOR_URLS if for_urls else _STANDARD
    if not alphabet.issuperset(core) or len(plain) % 4 or padding > 2:
        raise BuiltinError(f"illegal base64 data at input byte {_first_bad(text, alphabet)}")
    try:
        return urlsafe_b64decode(plain) if for_urls else b64decode(plain)
    except (BinasciiError, ValueError):
        raise BuiltinError(f"illegal base64 data at input byte {max(len(text) - 1, 0)}") from None


def _first_bad(text: str, alphabet: frozenset[str]) -> int:
    """Where Go gives up: at a foreign character, a misplaced padding, what follows it, or an incomplete group."""
    data = text.encode("utf-8", "surrogatepass")
    letters = frozenset(ord(letter) for letter in alphabet)
    places = [place for place, octet in enumerate(data) if octet not in b"\r\n"]
    for count, place in enumerate(places):
        if data[place] in letters:
            continue
        in_group = count % 4
        if data[place] != ord("=") or in_group < 2:
            return place
        if in_group == 2:
            count += 1  # noqa: PLW2901 - the second padding is read too
            if count >= len(places):
                return len(data)
            if data[places[count]] != ord("="):
                return place
        return places[count + 1] if count + 1 < len(places) else len(data)
    return len(data) - len(places) % 4


def decode_base64url(text: str) -> bytes:
    """The bytes of a base64url text, padded or not."""
    if not text.endswith("="):
        missing = len(text.encode("utf-8", "surrogatepass")) % 4
        if missing == 1:
            raise BuiltinError(f"illegal base64url string: {text}")
        text += "=" * (-missing % 4)
    return decode_base64(text, for_urls=True)


def pem_blocks(text: str) -> Iterator[tuple[str, bytes, str]]:
    """``(type, content, text after the block)`` of each well-formed PEM block; what lies between is skipped."""
    at = 0
    while (found := _PEM.search(text, at)) is not None:
        body = found["body"]
        while header := _HEADER.match(body):
            body = body[header.end() :]
        at = found.end() - 1 if found.group().endswith("\n") else found.end()
        content = "".join(body.split())
        if _STANDARD.issuperset(content.rstrip("=")) and len(content) % 4 == 0:
            yield found[1], b64decode(content), text[found.end() :]
