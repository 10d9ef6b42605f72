"""A source text with its lines, and the odd white space that pasted policies contain."""

from __future__ import annotations

import bisect
import unicodedata
from typing import Final

from watchkey.rego.errors import Location, RegoError

MAX_SOURCE: Final = 4_000_000
"""Characters that one source file may have."""

_PLAIN_SPACES: Final = " \t\r\n"
_ZERO_WIDTH: Final = frozenset("\u200b\u200c\u200d\u2060\ufeff")
_LINE_BREAKS: Final = frozenset("\x0b\x0c\x85\u2028\u2029")


class Source:
    """One file of Rego. Offsets count characters from 0; lines and columns count from 1."""

    __slots__ = ("_starts", "file", "text")

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        starts = [0]
        position = text.find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = text.find("\n", position + 1)
        self._starts = starts

    def line_of(self, offset: int) -> int:
        """The line that holds the character at `offset`."""
        return bisect.bisect_right(self._starts, offset)

    def column_of(self, offset: int) -> int:
        """The column of the character at `offset`."""
        return offset - self._starts[self.line_of(offset) - 1] + 1

    def line_text(self, line: int) -> str:
        """A whole line without its end."""
        start = self._starts[line - 1]
        end = self._starts[line] - 1 if line < len(self._starts) else len(self.text)
        return self.text[start:end].rstrip("\r")

    def location(self, offset: int) -> Location:
        """The place of the character at `offset`."""
        line = self.line_of(offset)
        return Location(file=self.file, line=line, column=self.column_of(offset), text=self.line_text(line))

    def error(self, code: str, message: str, offset: int, hint: str = "") -> RegoError:
        """A located error."""
        return RegoError(code=code, message=message, location=self.location(offset), hint=hint)


def is_odd_space(character: str) -> bool:
    """Whether a character looks like space, or like nothing, but is not a blank that Rego knows."""
    if character in _PLAIN_SPACES:
        return False
    return character in _ZERO_WIDTH or character in _LINE_BREAKS or unicodedata.category(character) == "Zs"


def character_name(character: str) -> str:
    """``U+00A0 (no-break space)``."""
    name = unicodedata.name(character, "control character").lower()
    return f"U+{ord(character):04X} ({name})"


def normalise_spaces(source: str) -> tuple[str, int]:
    """The source with each odd blank replaced (by a space; by a line end; zero-width ones by nothing), and how many.

    String literals are changed too: a pasted policy does not tell which of its blanks were meant.
    """
    if source.isascii() and not any(mark in source for mark in _LINE_BREAKS):
        return source, 0
    count = 0
    parts: list[str] = []
    for character in source:
        if not is_odd_space(character):
            parts.append(character)
            continue
        count += 1
        if character in _LINE_BREAKS:
            parts.append("\n")
        elif character not in _ZERO_WIDTH:
            parts.append(" ")
    return "".join(parts), count
