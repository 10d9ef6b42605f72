"""A cursor over tokens: what the parsers share."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.lexer import END, NAME, PARSE_ERROR, SYMBOL, Token
from watchkey.rego.source import Source


class Dialect(StrEnum):
    """The version of the language that a file is written in."""

    V0 = "v0"
    V1 = "v1"


V0: Final = Dialect.V0
V1: Final = Dialect.V1

CORE_KEYWORDS: Final = frozenset(
    {"as", "default", "else", "import", "not", "package", "some", "with", "null", "true", "false"}
)
FUTURE_KEYWORDS: Final = frozenset({"contains", "every", "if", "in"})
LOGICAL_KEYWORDS: Final = frozenset({"and", "or"})

MAX_NESTING: Final = 60
"""Levels of brackets that a source may have."""

MAX_CHAIN: Final = 150
"""Operators of one expression without brackets, and look-ups of one reference."""


class ParseFailure(Exception):
    """Parsing stopped at `error`; `position` is the index of the token."""

    def __init__(self, error: RegoError, position: int) -> None:
        super().__init__(str(error))
        self.error = error
        self.position = position


class Cursor:
    """Tokens with a position; the parsers build on it."""

    def __init__(self, source: Source, tokens: list[Token], dialect: str) -> None:
        self.source = source
        self.dialect = dialect
        self.position = 0
        self.depth = 0
        self.keywords = set(CORE_KEYWORDS)
        self.not_bodies = False
        if dialect == V1:
            self.keywords |= FUTURE_KEYWORDS
        self._tokens = tokens
        self.current = tokens[0]

    def swap_tokens(self, tokens: list[Token]) -> tuple[list[Token], int]:
        """Read from another list of tokens; what to pass to `restore_tokens` afterwards."""
        saved = self._tokens, self.position
        self._tokens = tokens
        self.goto(0)
        return saved

    def restore_tokens(self, saved: tuple[list[Token], int]) -> None:
        """Go back to the tokens before `swap_tokens`."""
        self._tokens = saved[0]
        self.goto(saved[1])

    # --- moving ------------------------------------------------------------------------------------------------------

    def goto(self, position: int) -> None:
        """Move to the token with that index."""
        self.position = position
        self.current = self._tokens[position]

    def advance(self) -> Token:
        """Take the current token."""
        token = self.current
        if token.kind != END:
            self.goto(self.position + 1)
        return token

    def peek(self, ahead: int = 1) -> Token:
        """A later token."""
        return self._tokens[min(self.position + ahead, len(self._tokens) - 1)]

    @property
    def last_end(self) -> int:
        """Offset at which the token before the current one ends."""
        return self._tokens[self.position - 1].end if self.position else 0

    # --- asking ------------------------------------------------------------------------------------------------------

    def at_symbol(self, *texts: str) -> bool:
        """Whether the current token is one of these symbols."""
        return self.current.kind == SYMBOL and self.current.text in texts

    def at_end(self) -> bool:
        """Whether no token is left."""
        return self.current.kind == END

    def at_keyword(self, *words: str) -> bool:
        """Whether the current token is one of these words, is a keyword here, and does not begin a reference."""
        token = self.current
        if token.kind != NAME or token.text not in words or token.text not in self.keywords:
            return False
        return not self.begins_reference()

    def at_joining(self, word: str) -> bool:
        """As `at_keyword`, between two terms, where an array may follow with no blank: ``x in[1]``."""
        token = self.current
        is_joined = token.kind == NAME and token.text == word and word in self.keywords and not token.newline
        return self.at_keyword(word) or (is_joined and self.peek().text == "[")

    def begins_reference(self) -> bool:
        """Whether the current word is directly followed by ``.`` or ``[``, which makes even a keyword a name."""
        following = self.peek()
        return following.kind == SYMBOL and following.text in (".", "[") and not following.spaced

    def joined(self, *texts: str) -> bool:
        """Whether the current token is one of these symbols with no blank before it."""
        return self.at_symbol(*texts) and not self.current.spaced

    # --- expecting ---------------------------------------------------------------------------------------------------

    def take_symbol(self, *texts: str) -> bool:
        """Take the current token if it is one of these symbols."""
        if self.at_symbol(*texts):
            self.advance()
            return True
        return False

    def expect(self, text: str, note: str = "") -> Token:
        """Take the symbol `text`, or fail."""
        if not self.at_symbol(text):
            raise self.unexpected(note or f"expected {text}")
        return self.advance()

    # --- failing -----------------------------------------------------------------------------------------------------

    def failure(self, message: str, at: int | None = None, hint: str = "") -> ParseFailure:
        """A parse error at an offset, by default that of the current token."""
        offset = self.current.start if at is None else at
        return ParseFailure(self.source.error(PARSE_ERROR, message, offset, hint), self.position)

    def unexpected(self, note: str = "") -> ParseFailure:
        """A parse error about the current token."""
        token = self.current
        if token.kind == END:
            what = "eof token"
        elif token.kind == NAME and token.text in self.keywords:
            what = f"{token.text} keyword"
        elif token.kind == NAME:
            what = f"identifier token {token.text}"
        else:
            what = f"{token.text if token.kind == SYMBOL else token.kind} token"
        return self.failure(f"unexpected {what}" + (f": {note}" if note else ""))

    def enter(self) -> None:
        """Go one bracket deeper, or fail."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise TooDeep(self.source.error(PARSE_ERROR, "nested too deeply", self.current.start))

    def leave(self) -> None:
        """Come back from `enter`."""
        self.depth -= 1


class TooDeep(RegoErrors):
    """The source is nested deeper than any parser should follow; not caught by attempts to parse otherwise."""

    def __init__(self, error: RegoError) -> None:
        super().__init__([error])
