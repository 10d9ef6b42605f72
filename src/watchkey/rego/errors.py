"""What can go wrong in Rego: located compile errors, evaluation errors, exceeded limits and malformed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SHOWN_WIDTH = 160
"""Characters of a source line that an error shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A place in a source file; `line` and `column` count from 1, `column` in characters; `text` is the whole line."""

    file: str
    line: int
    column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file or '<query>'}:{self.line}:{self.column}"


NOWHERE = Location(file="", line=0, column=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegoError:
    """One problem of a policy, found before it runs. `code` is OPA's, for example ``rego_unsafe_var_error``."""

    code: str
    message: str
    location: Location = NOWHERE
    hint: str = ""

    @property
    def file(self) -> str:
        """Name of the source file."""
        return self.location.file

    @property
    def line(self) -> int:
        """Line, counted from 1; 0 where the problem has no place."""
        return self.location.line

    @property
    def column(self) -> int:
        """Column in characters, counted from 1."""
        return self.location.column

    def __str__(self) -> str:
        if self.location is NOWHERE:
            head = f"{self.code}: {self.message}"
        else:
            head = f"{self.location}: {self.code}: {self.message}"
        return "\n".join([head, *self._source_lines(), *([f"    {self.hint}"] if self.hint else [])])

    def _source_lines(self) -> list[str]:
        text = self.location.text
        if not text.strip():
            return []
        start = max(0, self.location.column - SHOWN_WIDTH // 2)
        shown = "".join(
            " " if c == "\t" else c if c.isprintable() else "\ufffd" for c in text[start : start + SHOWN_WIDTH]
        )
        return [f"    {shown}", "    " + " " * (self.location.column - 1 - start) + "^"]


class RegoErrors(Exception):
    """The policy cannot be used; `errors` holds every RegoError that was found, in order of place."""

    def __init__(self, errors: Iterable[RegoError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class EvaluationError(Exception):
    """The evaluation ended without an answer. `code` is OPA's, for example ``eval_conflict_error``."""

    def __init__(self, code: str, message: str, location: Location = NOWHERE) -> None:
        self.code = code
        self.message = message
        self.location = location
        where = "" if location is NOWHERE else f"{location}: "
        super().__init__(f"{where}{code}: {message}")

    def at(self, location: Location) -> EvaluationError:
        """The same error with a place, if it has none yet."""
        if self.location is NOWHERE:
            self.location = location
            self.args = (f"{location}: {self.code}: {self.message}",)
        return self


class LimitExceeded(EvaluationError):
    """A bound was reached: steps, depth, size of a result, magnitude of a number."""

    def __init__(self, message: str, location: Location = NOWHERE) -> None:
        super().__init__("eval_limit_error", message, location)


class MalformedValue(EvaluationError):
    """A document handed in is not a JSON value."""

    def __init__(self, message: str) -> None:
        super().__init__("eval_malformed_value", message)


class BuiltinError(Exception):
    """A built-in cannot answer: the expression is undefined, or the evaluation fails where errors are strict."""

    code = "eval_builtin_error"


class OperandError(BuiltinError):
    """An argument of a built-in has the wrong type."""

    code = "eval_type_error"
