"""The two streams of a session whose statements are asked about: one stops before each, the other says why not.

A statement that is refused is not swallowed: in its place the server gets one that cannot be analysed, so the server
itself fails it, with its transaction, its series and its pipeline, exactly as it fails any other. Only the words of
that one error are ours. Nothing about the state of the session has to be imitated.
"""

import re
import struct
from collections import OrderedDict
from typing import Final, NamedTuple

from watchkey.wire import pg_messages as pg

HELD_MAX: Final = 64 * 1024
"""Bytes of one message that are held; a longer one is asked about by its beginning, as what nobody can read."""
_ASKED: Final = frozenset(b"QPBF")
_READY_WANTED: Final = frozenset(b"QSF")
_HEADER: Final = struct.Struct("!BI")
_MARKER: Final = re.compile(rb"wk_denied_[0-9a-f]{32}")
_DENIALS_MAX: Final = 1024
_WHOLE_MAX: Final = 64 * 1024


class Question(NamedTuple):
    """A message that has to wait. `body` is cut when the message is long."""

    kind: int
    body: bytes
    is_whole: bool


class Piece(NamedTuple):
    """Bytes of the client; `is_passed` False: the rest of a message that was refused."""

    data: bytes
    is_passed: bool


class JudgedStream:
    """What the client sends. After a Question nothing more is told until `settle`."""

    __slots__ = ("_buffer", "_held", "_is_passed", "_left", "executed", "ready_wanted")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._is_passed = True
        self._held: bytes | None = None
        self.ready_wanted = 0
        """How many ReadyForQuery are still to come for what was passed."""
        self.executed = False
        """Whether something was executed since the last of them was asked for."""

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._buffer += data

    def take(self) -> Piece | Question | None:
        """The next thing, or None when more must come first (or an answer to the last question)."""
        if self._left and self._held is None:
            return self._rest()
        if self._held is not None or len(self._buffer) < 5:
            return None
        kind, length = _HEADER.unpack_from(self._buffer)
        if length < 4:
            return self._cut(len(self._buffer), is_passed=True)  # whoever walks it will see that it makes no sense
        if kind not in _ASKED:
            self._count(kind)
            self._left, self._is_passed = 1 + length, True
            return self._rest()
        held = min(1 + length, 5 + HELD_MAX)
        if len(self._buffer) < held:
            return None
        self._held, self._buffer = self._buffer[:held], self._buffer[held:]
        self._left = 1 + length - held
        return Question(kind, self._held[5:], not self._left)

    def settle(self, *, is_passed: bool) -> Piece:
        """Answer the last question; returns the message as the client sent it, or its beginning."""
        held, self._held = self._held, None
        if held is None:
            raise ValueError("nothing was asked")
        self._count(held[0])
        self._is_passed = is_passed
        return Piece(held, is_passed)

    def _count(self, kind: int) -> None:
        if kind in _READY_WANTED:
            self.ready_wanted += 1
            self.executed = False
        elif kind == ord("E"):
            self.executed = True

    def _rest(self) -> Piece | None:
        size = min(self._left, len(self._buffer))
        if not size:
            return None
        self._left -= size
        return self._cut(size, is_passed=self._is_passed)

    def _cut(self, size: int, *, is_passed: bool) -> Piece:
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return Piece(data, is_passed)


class AnsweredStream:
    """What the server sends: passed on, with our words in the errors that are ours; knows what it last reported."""

    __slots__ = ("_buffer", "_denials", "_left", "ready", "reported")

    def __init__(self, reported: dict[str, str]) -> None:
        self._buffer = b""
        self._left = 0
        self._denials: OrderedDict[bytes, bytes] = OrderedDict()
        self.ready = 0
        """How many ReadyForQuery have passed."""
        self.reported = reported

    def deny(self, marker: str, error: bytes) -> None:
        """Put `error`, a whole message, in the place of the one that names this marker."""
        self._denials[marker.encode()] = error
        if len(self._denials) > _DENIALS_MAX:  # of statements that an earlier error kept from being looked at
            self._denials.popitem(last=False)

    def feed(self, data: bytes) -> bytes:
        """What the client gets for it."""
        buffer = self._buffer + data if self._buffer else data
        out: list[bytes] = []
        pos, end = min(self._left, len(buffer)), len(buffer)
        self._left -= pos
        out.append(buffer[:pos])
        while end - pos >= 5:
            kind, length = _HEADER.unpack_from(buffer, pos)
            stop = pos + 1 + length
            if length < 4:
                break
            if chr(kind) in "ESZ" and length <= _WHOLE_MAX:
                if stop > end:
                    break
                out.append(self._told(chr(kind), buffer[pos:stop]))
            elif stop > end:
                self._left = stop - end
                out.append(buffer[pos:])
                pos = end
                break
            else:
                out.append(buffer[pos:stop])
            pos = stop
        self._buffer = buffer[pos:]
        return b"".join(out)

    def _told(self, kind: str, message: bytes) -> bytes:
        match kind:
            case "Z":
                self.ready += 1
            case "S":
                name, value = message[5:].split(b"\0")[:2]
                self.reported[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
            case _:
                found = _MARKER.search(message)
                if found is not None:
                    return self._denials.pop(found.group(), message)
        return message


def failing(kind: int, marker: str) -> bytes:
    """What the server gets in the place of a refused message: it fails when it is analysed, and names the marker."""
    text = f"SELECT '{marker}'::pg_catalog.regclass".encode() + b"\0"
    # never under the empty name: analysing that one would throw away the client's own
    return pg.message(b"Q", text) if kind in b"QF" else pg.message(b"P", b"watchkey_denied\0" + text + b"\0\0")


def denial(sentence: str, hint: str) -> bytes:
    """The error as PostgreSQL would say it where a right is missing."""
    return pg.report(severity="ERROR", code="42501", text=sentence, hint=hint)


def reads_as_written(text: bytes, reported: dict[str, str], *, is_settled: bool) -> bool:
    """Whether the server is sure to read this text as its grammar does here.

    A session can change how backslashes and characters above 127 are read, also from inside a function and in the same
    pipeline. Text without them is read in one way; text with them only while nothing is under way and the server's last
    reports say the usual.
    """
    if text.isascii() and b"\\" not in text:
        return True
    return (
        is_settled
        and reported.get("standard_conforming_strings") == "on"
        and reported.get("client_encoding", "").upper().replace("-", "") in {"UTF8", "UNICODE"}
    )
