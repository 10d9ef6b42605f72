"""Built-ins for regular expressions (RE2, linear time) and globs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import re2

from watchkey.rego.builtins import (
    BuiltinError,
    CallContext,
    LimitExceeded,
    Number,
    builtin,
    element_error,
    integer_operand,
)
from watchkey.rego.types import BOOLEAN, NULL, NUMBER, STRING, any_of, array_of
from watchkey.rego.values import FALSE, Boolean, boolean

MAX_PATTERN: Final = 10_000
"""Characters a pattern may have."""

_TWO: Final = (STRING, STRING)


@lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    return re2.compile(pattern, options)


def _pattern(ctx: CallContext, pattern: str, subject: str = "") -> Any:
    """The compiled pattern, its use on a subject paid for."""
    if len(pattern) > MAX_PATTERN:
        message = f"a regular expression is longer than {MAX_PATTERN} characters"
        raise LimitExceeded(message)
    ctx.spend((len(pattern) >> 3) + ((len(pattern) + 16) * len(subject) >> 12))
    try:
        return _compiled(pattern.encode())
    except re2.error as problem:
        text = problem.args[0] if problem.args else "invalid pattern"
        raise BuiltinError(f"error parsing regexp: {_as_go_says(text)}") from None


_GO_WORDS: Final = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "trailing \\": "trailing backslash at end of expression",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "invalid repetition size": "invalid repeat count",
}


def _as_go_says(problem: str | bytes) -> str:
    """RE2's complaint in the words of Go's package of the same syntax."""
    text = problem.decode(errors="replace") if isinstance(problem, bytes) else problem
    what, mark, where = text.partition(": ")
    return f"{_GO_WORDS.get(what, what)}: `{where}`" if mark else _GO_WORDS.get(text, text)


def _spans(ctx: CallContext, pattern: Any, subject: bytes, limit: int = -1) -> Iterator[list[tuple[int, int]]]:
    """Spans of all groups of each match, in Go's way: an empty match right after another match does not count."""
    position, last_end, found = 0, -1, 0
    while position <= len(subject) and found != limit:
        match = pattern.search(subject, position)
        if match is None:
            return
        ctx.spend(1)
        start, end = match.span()
        accepted = True
        if end == position:
            accepted = start != last_end
            position += _width(subject, position)
        else:
            position = end
        last_end = end
        if accepted:
            found += 1
            yield [match.span(group) for group in range(pattern.groups + 1)]


def _width(subject: bytes, position: int) -> int:
    """Bytes of the character at a position."""
    width = 1
    while position + width < len(subject) and subject[position + width] & 0xC0 == 0x80:
        width += 1
    return width


def _cut(subject: bytes, span: tuple[int, int]) -> str:
    return subject[span[0] : span[1]].decode() if span[0] >= 0 else ""


@builtin("regex.is_valid", (STRING,), BOOLEAN, operands=((),), context=True)
def regex_is_valid(ctx: CallContext, pattern: Any) -> Boolean:
    """Whether a string is a regular expression."""
    if type(pattern) is not str:
        return FALSE
    try:
        _pattern(ctx, pattern)
    except BuiltinError:
        return FALSE
    return boolean(held=True)


@builtin("regex.match", _TWO, BOOLEAN, context=True)
@builtin("re_match", _TWO, BOOLEAN, context=True)
def regex_match(ctx: CallContext, pattern: str, subject: str) -> Boolean:
    """Whether a pattern matches somewhere in a string."""
    return boolean(_pattern(ctx, pattern, subject).search(subject.encode()) is not None)


@builtin("regex.split", _TWO, array_of(STRING), context=True)
def regex_split(ctx: CallContext, pattern: str, subject: str) -> tuple[str, ...]:
    """The pieces between matches."""
    compiled, text = _pattern(ctx, pattern, subject), subject.encode()
    if pattern and not text:
        return ("",)
    pieces: list[str] = []
    begin, end = 0, 0
    for spans in _spans(ctx, compiled, text):
        start, stop = spans[0]
        end = start
        if stop != 0:
            pieces.append(text[begin:end].decode())
        begin = stop
    if end != len(text):
        pieces.append(text[begin:].decode())
    return tuple(pieces)


@builtin("regex.find_n", (STRING, STRING, NUMBER), array_of(STRING), context=True)
def regex_find(ctx: CallContext, pattern: str, subject: str, number: Number) -> tuple[str, ...]:
    """The first matches, all for a negative number."""
    text, limit = subject.encode(), integer_operand(3, number)
    compiled = _pattern(ctx, pattern, subject)
    return tuple([_cut(text, spans[0]) for spans in _spans(ctx, compiled, text, limit)])


@builtin("regex.find_all_string_submatch_n", (STRING, STRING, NUMBER), array_of(array_of(STRING)), context=True)
def regex_find_groups(ctx: CallContext, pattern: str, subject: str, number: Number) -> tuple[Any, ...]:
    """The first matches with their groups."""
    text, limit = subject.encode(), integer_operand(3, number)
    compiled = _pattern(ctx, pattern, subject)
    return tuple([tuple([_cut(text, span) for span in spans]) for spans in _spans(ctx, compiled, text, limit)])


@builtin("regex.replace", (STRING, STRING, STRING), STRING, context=True)
def regex_replace(ctx: CallContext, subject: str, pattern: str, template: str) -> str:
    """Every match replaced; ``$1`` and ``${name}`` stand for groups."""
    compiled, text = _pattern(ctx, pattern, subject), subject.encode()
    pieces = _template_pieces(template)
    names = {name.decode(): index for name, index in compiled.groupindex.items()}
    out: list[str] = []
    size, last = 0, 0
    for spans in _spans(ctx, compiled, text):
        out.append(text[last : spans[0][0]].decode())
        for piece, is_group in pieces:
            out.append(_group(text, spans, names, piece) if is_group else piece)
            size += len(out[-1])
        if size > ctx.max_size:
            ctx.check_size(size)
        last = spans[0][1]
    return "".join(out) + text[last:].decode()


def _group(text: bytes, spans: list[tuple[int, int]], names: dict[str, int], name: str) -> str:
    index = int(name) if name.isdecimal() and len(name) < 9 else names.get(name, -1)
    return _cut(text, spans[index]) if 0 <= index < len(spans) else ""


def _template_pieces(template: str) -> list[tuple[str, bool]]:
    """The replacement taken apart: text and names of groups."""
    pieces: list[tuple[str, bool]] = []
    position = 0
    while (mark := template.find("$", position)) >= 0:
        pieces.append((template[position:mark], False))
        rest = template[mark + 1 :]
        name = _leading_name(rest)
        if rest.startswith("$"):
            pieces.append(("$", False))
            position = mark + 2
        elif rest.startswith("{") and (inner := _leading_name(rest[1:])) and rest[1 + len(inner) :].startswith("}"):
            pieces.append((inner, True))
            position = mark + len(inner) + 3
        elif name:
            pieces.append((name, True))
            position = mark + 1 + len(name)
        else:
            pieces.append(("$", False))
            position = mark + 1
    pieces.append((template[position:], False))
    return pieces


def _leading_name(text: str) -> str:
    length = 0
    while length < len(text) and (text[length].isalnum() or text[length] == "_"):
        length += 1
    return text[:length]


@builtin("regex.template_match", (STRING, STRING, STRING, STRING), BOOLEAN, context=True)
def regex_template_match(ctx: CallContext, template: str, subject: str, start: str, end: str) -> Boolean:
    """Whether a string is a template's text, with regular expressions between the delimiters."""
    for delimiter, which in ((start, "start"), (end, "end")):
        if len(delimiter.encode()) != 1:
            message = f"{which} delimiter has to be exactly one character long but is {len(start.encode())} long"
            raise BuiltinError(message)
    pieces = ["^"]
    position = 0
    for opened, closed in _delimited(template, start, end):
        pieces.append(re2.escape(template[position:opened]) + "(" + template[opened + 1 : closed] + ")")
        position = closed + 1
    pattern = "".join(pieces) + re2.escape(template[position:]) + "$"
    return boolean(_pattern(ctx, pattern, subject).search(subject.encode()) is not None)


def _delimited(template: str, start: str, end: str) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    level, opened = 0, 0
    for index, character in enumerate(template):
        if character == start:
            level += 1
            opened = index if level == 1 else opened
        elif character == end:
            level -= 1
            if level == 0:
                found.append((opened, index))
        if level < 0:
            break
    if level:
        message = f'unbalanced braces in "{template[:80]}"'
        raise BuiltinError(message)
    return found


# --- globs -----------------------------------------------------------------------------------------------------------


@builtin("glob.quote_meta", (STRING,), STRING)
def glob_quote(pattern: str) -> str:
    """A pattern that matches just that text."""
    return "".join(["\\" + character if character in "*?\\[]{}" else character for character in pattern])


@builtin(
    "glob.match",
    (STRING, any_of(NULL, array_of(STRING)), STRING),
    BOOLEAN,
    operands=(("string",), ("array", "null"), ("string",)),
    context=True,
)
def glob_match(ctx: CallContext, pattern: str, delimiters: Any, subject: str) -> Boolean:
    """Whether a glob matches a whole string; ``*`` and ``?`` do not match delimiters, by default the dot."""
    if len(pattern) > MAX_PATTERN:
        message = f"a glob is longer than {MAX_PATTERN} characters"
        raise LimitExceeded(message)
    separators = "" if delimiters is None else "."
    if delimiters:
        for delimiter in delimiters:
            if type(delimiter) is not str:
                raise element_error(2, delimiters, delimiter, "string")
            if len(delimiter) != 1:
                raise element_error(2, delimiters, delimiter, "rune")
        separators = "".join(delimiters)
    translated = _Glob(pattern, separators).translated()
    return boolean(_pattern(ctx, translated, subject).search(subject.encode()) is not None)


class _Glob:
    """Translates a glob into a regular expression."""

    def __init__(self, pattern: str, separators: str) -> None:
        self._text = pattern
        self._position = 0
        self._one = f"[^{_class_text(separators)}]" if separators else "."
        self._depth = 0

    def translated(self) -> str:
        """The regular expression for the whole pattern."""
        return "(?s)^(?:" + self._sequence() + ")$"

    def _fail(self, reason: str) -> BuiltinError:
        return BuiltinError(f"glob: syntax error at {self._position}: {reason}")

    def _sequence(self) -> str:
        parts: list[str] = []
        while self._position < len(self._text):
            character = self._text[self._position]
            if self._depth and character in ",}":
                break
            self._position += 1
            parts.append(self._piece(character))
        return "".join(parts)

    def _piece(self, character: str) -> str:  # noqa: PLR0911 - one return for each special character
        if character == "*":
            if self._text.startswith("*", self._position):
                self._position += 1
                return ".*"
            return self._one + "*"
        if character == "?":
            return self._one
        if character == "[":
            return self._range()
        if character == "{":
            return self._choice()
        if character == "\\":
            return _quoted(self._next("trailing backslash"))
        return _quoted(character)

    def _next(self, complaint: str) -> str:
        if self._position >= len(self._text):
            raise self._fail(complaint)
        self._position += 1
        return self._text[self._position - 1]

    def _choice(self) -> str:
        if self._depth > 50:
            raise self._fail("nested too deeply")
        self._depth += 1
        options = [self._sequence()]
        while self._text.startswith(",", self._position):
            self._position += 1
            options.append(self._sequence())
        if not self._text.startswith("}", self._position):
            raise self._fail("unclosed `{`")
        self._position += 1
        self._depth -= 1
        return "(?:" + "|".join(options) + ")"

    def _range(self) -> str:
        negated = self._text.startswith("!", self._position)
        self._position += negated
        if self._text.startswith("-", self._position + 1):
            low = self._next("unexpected end of input")
            self._position += 1
            high = self._next("unexpected end of input")
            inner = f"{_class_text(low)}-{_class_text(high)}"
            if high < low:
                raise self._fail("range is out of order")
            if not self._text.startswith("]", self._position):
                raise self._fail("expected close range character")
        else:
            inner = _class_text(self._listed())
        self._position += 1
        return f"[{'^' if negated else ''}{inner}]"

    def _listed(self) -> str:
        listed: list[str] = []
        while not self._text.startswith("]", self._position):
            character = self._next("unexpected end of input")
            listed.append(self._next("trailing backslash") if character == "\\" else character)
        if not listed:
            raise self._fail("expected close range character")
        return "".join(listed)


def _quoted(character: str) -> str:
    return (
        character
        if character.isalnum() or not character.isascii()
        else "\\" + character
        if character != "\n"
        else "\\n"
    )


def _class_text(characters: str) -> str:
    return "".join([_quoted(character) for character in characters])


# --- intersection of simple patterns ---------------------------------------------------------------------------------


@builtin("regex.globs_match", _TWO, BOOLEAN, context=True)
def globs_match(ctx: CallContext, left: str, right: str) -> Boolean:
    """Whether some non-empty string matches both patterns of characters, ``.``, ``[sets]``, ``*`` and ``+``."""
    first, second = _symbols(left), _symbols(right)
    ctx.spend(1 + (len(first) + 1) * (len(second) + 1))
    return boolean(_intersect(first, second))


_Symbol = tuple[frozenset[str] | None, str]


def _symbols(pattern: str) -> list[_Symbol]:
    """The pattern as (characters or None for any, ``""``/``*``/``+``)."""
    found: list[_Symbol] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        allowed: frozenset[str] | None
        if character == ".":
            allowed = None
        elif character == "[":
            allowed, position = _set_of(pattern, position)
        elif character == "]":
            raise _invalid(pattern, position, "set-close ']' with no preceding '['")
        elif character in "+*":
            raise _invalid(pattern, position, f"flag '{character}' must be preceded by a non-flag")
        elif character == "\\":
            if position >= len(pattern):
                raise _invalid(pattern, position - 1, "input ends with a \\ (escape) character")
            allowed, position = frozenset(pattern[position]), position + 1
        else:
            allowed = frozenset(character)
        flag = pattern[position] if position < len(pattern) and pattern[position] in "+*" else ""
        position += len(flag)
        found.append((allowed, flag))
    return found


def _invalid(pattern: str, position: int, reason: str) -> BuiltinError:
    return BuiltinError(f"input:{pattern[:80]}, pos:{position}, {reason}: the input provided is invalid")


def _set_of(pattern: str, position: int) -> tuple[frozenset[str], int]:
    found: set[str] = set()
    previous = ""
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "]":
            return frozenset(found), position
        if character == "-":
            high = pattern[position : position + 1]
            escaped = high == "\\"
            high = pattern[position + 1 : position + 2] if escaped else high
            if not previous or not high or (not escaped and high in "]-") or high < previous:
                raise _invalid(pattern, position, "range character '-' must stand between two characters in order")
            found.update(chr(code) for code in range(ord(previous), ord(high) + 1))
            position += 2 if escaped else 1
            previous = ""
            continue
        if character == "\\":
            if position >= len(pattern):
                break
            character = pattern[position]
            position += 1
        found.add(character)
        previous = character
    raise _invalid(pattern, position, "found [ without matching ]")


def _intersect(first: list[_Symbol], second: list[_Symbol]) -> bool:
    """Search the pairs of places that both patterns can reach with the same text."""
    start = (0, 0, False)
    seen, stack = {start}, [start]
    while stack:
        place = stack.pop()
        if place[0] == len(first) and place[1] == len(second) and place[2]:
            return True
        for following in _moves(first, second, place):
            if following not in seen:
                seen.add(following)
                stack.append(following)
    return False


def _moves(
    first: list[_Symbol], second: list[_Symbol], place: tuple[int, int, bool]
) -> Iterator[tuple[int, int, bool]]:
    left, right, started = place
    if left < len(first) and first[left][1] == "*":
        yield left + 1, right, started
    if right < len(second) and second[right][1] == "*":
        yield left, right + 1, started
    if left == len(first) or right == len(second):
        return
    one, other = first[left][0], second[right][0]
    if one is not None and other is not None and not one & other:
        return
    for further in _after(left, first[left][1]):
        for beyond in _after(right, second[right][1]):
            yield further, beyond, True


def _after(index: int, flag: str) -> tuple[int, ...]:
    """Where one can be after taking a character: past the symbol, or still at a repeated one."""
    return (index + 1,) if not flag else (index, index + 1)
