"""Turns Rego source into tokens, template strings included."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.source import MAX_SOURCE, Source, character_name, is_odd_space

PARSE_ERROR: Final = "rego_parse_error"

NAME, NUMBER, STRING, TEMPLATE, SYMBOL, END = "name", "number", "string", "template", "symbol", "end"

_SYMBOLS: Final = (":=", "==", "!=", "<=", ">=", *"[]{}(),:+-*/%&|=<>;.")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_STRING: Final = re.compile(r'"(?:[^"\\\n]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*"')
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_SYMBOL: Final = re.compile("|".join(re.escape(symbol) for symbol in _SYMBOLS))
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_MAX_TEMPLATE_DEPTH: Final = 20


@dataclass(slots=True)
class Token:
    """A token: its kind, its text (the value of a string), where it starts and ends, and what stood before it.

    For a template, `parts` holds strings and lists of tokens (each ending with an END token).
    """

    kind: str
    text: str
    start: int
    end: int
    spaced: bool = False
    newline: bool = False
    parts: list[str | list[Token]] | None = None


@dataclass(slots=True)
class Comment:
    """A comment without its ``#``, at an offset."""

    text: str
    start: int


class Lexer:
    """One pass over a source; raises RegoErrors at the first character that no token can start with."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.position = 1 if source.text.startswith("\ufeff") else 0
        self.comments: list[Comment] = []
        if len(source.text) > MAX_SOURCE:
            self._fail(f"the source is longer than {MAX_SOURCE} characters", 0)

    def tokens(self) -> list[Token]:
        """All tokens up to the end of the source."""
        return self._run(depth=0)

    def _run(self, depth: int) -> list[Token]:
        """Tokens up to the end, or, inside a template, up to the brace that closes its expression."""
        found: list[Token] = []
        open_braces = 0
        while True:
            spaced, newline = self._skip_blanks()
            start = self.position
            if start >= len(self.text):
                if depth:
                    self._fail("non-terminated template string", start)
                found.append(Token(END, "", start, start, spaced, newline))
                return found
            token = self._next(start, depth)
            token.spaced, token.newline = spaced, newline
            if depth and token.kind == SYMBOL:
                if token.text == "}" and not open_braces:
                    found.append(Token(END, "", start, start, spaced, newline))
                    return found
                open_braces += {"{": 1, "}": -1}.get(token.text, 0)
            found.append(token)

    def _skip_blanks(self) -> tuple[bool, bool]:
        """Skip blanks and comments; whether there were any, and whether a line ended."""
        start = self.position
        newline = False
        while self.position < len(self.text):
            if match := _SPACE.match(self.text, self.position):
                newline = newline or "\n" in match.group()
                self.position = match.end()
            elif self.text[self.position] == "#":
                end = self.text.find("\n", self.position)
                end = len(self.text) if end < 0 else end
                self.comments.append(Comment(self.text[self.position + 1 : end].rstrip("\r"), self.position))
                self.position = end
            else:
                break
        return self.position > start, newline

    def _next(self, start: int, depth: int) -> Token:
        first = self.text[start]
        if match := _NAME.match(self.text, start):
            return self._take(NAME, match.group(), match.end())
        if first in "0123456789":
            return self._number(start)
        if first == '"':
            return self._quoted(start)
        if first == "`":
            return self._raw(start)
        if first == "$":
            return self._template(start, depth)
        if match := _SYMBOL.match(self.text, start):
            return self._take(SYMBOL, match.group(), match.end())
        raise self._failure(self._complaint(first), start)

    @staticmethod
    def _complaint(character: str) -> str:
        if is_odd_space(character):
            return f"illegal white space character {character_name(character)}, use a regular space instead"
        if character.isprintable():
            return (
                f"illegal token: {character}"
                if character.isascii()
                else f"illegal character {character_name(character)}"
            )
        return f"illegal character {character_name(character)}"

    def _take(self, kind: str, text: str, end: int) -> Token:
        token = Token(kind, text, self.position, end)
        self.position = end
        return token

    def _number(self, start: int) -> Token:
        match = _NUMBER.match(self.text, start)
        if match is None:
            raise self._failure("illegal number format", start)
        end = match.end()
        text = match.group()
        following = self.text[end : end + 1]
        if following.isalpha() or following == "_":
            self._fail("illegal number format", start)
        if following == "." and not self.text[end + 1 : end + 2].isalpha():
            self._fail("illegal number format: expected fraction", start)
        is_fraction = self.text[start - 1 : start] == "." and start > 0
        if len(text) > 1 and text[0] == "0" and text[1] in "0123456789" and not is_fraction:
            self._fail("illegal number format: expected number without leading zero", start)
        return self._take(NUMBER, text, end)

    def _quoted(self, start: int) -> Token:
        match = _STRING.match(self.text, start)
        if match is None:
            self._fail_string(start)
        else:
            text = match.group()
            return self._take(STRING, self.unescape(text) if "\\" in text else text[1:-1], match.end())
        raise AssertionError  # pragma: no cover - _fail_string raises

    def _fail_string(self, start: int) -> None:
        """Say whether a string does not end or has an escape that does not exist."""
        position = start + 1
        while position < len(self.text) and self.text[position] not in '"\n':
            if self.text[position] == "\\":
                if not re.match(r'["\\/bfnrt]|u[0-9a-fA-F]{4}', self.text[position + 1 : position + 6]):
                    self._fail("illegal escape sequence", position)
                position += 1
            position += 1
        self._fail("non-terminated string", start)

    @staticmethod
    def unescape(literal: str) -> str:
        """The value of a string literal with its quotes; a lone surrogate becomes U+FFFD, as in JSON for OPA."""
        return _SURROGATES.sub("\ufffd", json.loads(literal, strict=False))

    def _raw(self, start: int) -> Token:
        end = self.text.find("`", start + 1)
        if end < 0:
            self._fail("non-terminated string", start)
        return self._take(STRING, self.text[start + 1 : end], end + 1)

    # --- template strings --------------------------------------------------------------------------------------------

    def _template(self, start: int, depth: int) -> Token:
        quote = self.text[start + 1 : start + 2]
        if quote not in ('"', "`"):
            self._fail("illegal $ character", start)
        if depth >= _MAX_TEMPLATE_DEPTH:
            self._fail("template strings are nested too deeply", start)
        parts: list[str | list[Token]] = []
        self.position = start + 2
        while True:
            piece, closed = self._template_piece(start, quote)
            if piece:
                parts.append(piece)
            if closed:
                return Token(TEMPLATE, self.text[start : self.position], start, self.position, parts=parts)
            parts.append(self._run(depth + 1))

    def _template_piece(self, start: int, quote: str) -> tuple[str, bool]:
        """Text up to the next ``{`` or the closing quote, and whether the quote was met."""
        begin = self.position
        position = begin
        while position < len(self.text):
            character = self.text[position]
            if character == "\\" and (quote == '"' or self.text[position + 1 : position + 2] == "{"):
                position += 2
                continue
            if character in (quote, "{"):
                self.position = position + 1
                return self._template_text(self.text[begin:position], quote, begin), character == quote
            if character == "\n" and quote == '"':
                break
            position += 1
        raise self._failure("non-terminated string", start)

    def _template_text(self, piece: str, quote: str, begin: int) -> str:
        if "\\" not in piece:
            return piece
        if quote == "`":
            return piece.replace("\\{", "{")
        literal = '"' + re.sub(r"\\(.)", lambda m: "{" if m.group(1) == "{" else m.group(), piece) + '"'
        if not _STRING.fullmatch(literal):
            self._fail("illegal escape sequence", begin)
        return self.unescape(literal)

    # --- errors ------------------------------------------------------------------------------------------------------

    def _failure(self, message: str, offset: int) -> RegoErrors:
        error: RegoError = self.source.error(PARSE_ERROR, message, offset)
        return RegoErrors([error])

    def _fail(self, message: str, offset: int) -> None:
        raise self._failure(message, offset)
