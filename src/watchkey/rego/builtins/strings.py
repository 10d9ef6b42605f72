"""Built-ins on strings; positions and lengths count code points."""

from __future__ import annotations

from typing import Any, Final

from watchkey.rego.builtins import (
    CONSTANT,
    BuiltinError,
    CallContext,
    Number,
    OperandError,
    builtin,
    integer_operand,
    strings_in,
)
from watchkey.rego.numbers import to_binary
from watchkey.rego.types import BOOLEAN, NUMBER, STRING, any_of, array_of, object_of, set_of
from watchkey.rego.values import Boolean, Object, boolean

_TWO: Final = (STRING, STRING)
_SEVERAL: Final = any_of(STRING, array_of(STRING), set_of(STRING))
_SEVERAL_KINDS: Final = ("string", "set", "array")
_GO_SPACES: Final = " \t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


# --- searching -------------------------------------------------------------------------------------------------------


@builtin("contains", _TWO, BOOLEAN)
def contains(text: str, part: str) -> Boolean:
    """Whether a string has another one inside."""
    return boolean(part in text)


@builtin("startswith", _TWO, BOOLEAN)
def starts_with(text: str, prefix: str) -> Boolean:
    """Whether a string begins with another one."""
    return boolean(text.startswith(prefix))


@builtin("endswith", _TWO, BOOLEAN)
def ends_with(text: str, suffix: str) -> Boolean:
    """Whether a string ends with another one."""
    return boolean(text.endswith(suffix))


def _several(position: int, value: Any) -> list[str]:
    return [value] if type(value) is str else strings_in(position, value)


@builtin("strings.any_prefix_match", (_SEVERAL, _SEVERAL), BOOLEAN, operands=(_SEVERAL_KINDS,) * 2, context=True)
def any_prefix(ctx: CallContext, texts: Any, prefixes: Any) -> Boolean:
    """Whether any of the strings begins with any of the prefixes."""
    searched, wanted = _several(1, texts), tuple(_several(2, prefixes))
    ctx.spend(len(searched) * len(wanted) >> 3)
    return boolean(any(text.startswith(wanted) for text in searched))


@builtin("strings.any_suffix_match", (_SEVERAL, _SEVERAL), BOOLEAN, operands=(_SEVERAL_KINDS,) * 2, context=True)
def any_suffix(ctx: CallContext, texts: Any, suffixes: Any) -> Boolean:
    """Whether any of the strings ends with any of the suffixes."""
    searched, wanted = _several(1, texts), tuple(_several(2, suffixes))
    ctx.spend(len(searched) * len(wanted) >> 3)
    return boolean(any(text.endswith(wanted) for text in searched))


@builtin("strings.count", _TWO, NUMBER)
def occurrences(text: str, part: str) -> int:
    """How often a string occurs in another, without overlaps."""
    return text.count(part)


def _not_empty(part: str) -> None:
    if not part:
        message = "empty search character"
        raise BuiltinError(message)


@builtin("indexof", _TWO, NUMBER)
def index_of(text: str, part: str) -> int:
    """Where a string first occurs in another; -1 where it does not."""
    _not_empty(part)
    return text.find(part)


@builtin("indexof_n", _TWO, array_of(NUMBER), context=True)
def index_of_all(ctx: CallContext, text: str, part: str) -> tuple[int, ...]:
    """Every place where a string occurs in another, overlaps included."""
    _not_empty(part)
    found: list[int] = []
    position = text.find(part)
    while position >= 0:
        ctx.spend(1)
        found.append(position)
        position = text.find(part, position + 1)
    return tuple(found)


@builtin("substring", (STRING, NUMBER, NUMBER), STRING)
def substring(text: str, start: Number, length: Number) -> str:
    """Part of a string; a negative length means up to the end."""
    first, count = integer_operand(2, start), integer_operand(3, length)
    if first < 0:
        message = "negative offset"
        raise BuiltinError(message)
    return text[first:] if count < 0 else text[first : first + count]


# --- taking apart and joining ----------------------------------------------------------------------------------------


def _split(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else list(text)


@builtin("split", _TWO, array_of(STRING))
def split(text: str, separator: str) -> tuple[str, ...]:
    """The pieces between separators; an empty separator separates every character."""
    return tuple(_split(text, separator))


@builtin("strings.split_n", (STRING, STRING, NUMBER), array_of(STRING))
def split_some(text: str, separator: str, number: Number) -> tuple[str, ...]:
    """The first `number` pieces, or the last ones for a negative number."""
    count = integer_operand(3, number)
    pieces = _split(text, separator)
    return tuple(pieces[:count]) if count >= 0 else tuple(pieces[max(len(pieces) + count, 0) :])


@builtin(
    "concat",
    (STRING, any_of(array_of(STRING), set_of(STRING))),
    STRING,
    operands=(("string",), ("set", "array")),
    context=True,
)
def concat(ctx: CallContext, separator: str, pieces: Any) -> str:
    """The strings with the separator between them."""
    listed = strings_in(2, pieces)
    ctx.check_size(sum(len(piece) for piece in listed) + len(separator) * max(len(listed) - 1, 0))
    return separator.join(listed)


@builtin("strings.reverse", (STRING,), STRING)
def reverse(text: str) -> str:
    """The code points from last to first."""
    return text[::-1]


@builtin("replace", (STRING, STRING, STRING), STRING, context=True)
def replace(ctx: CallContext, text: str, old: str, new: str) -> str:
    """Every occurrence replaced."""
    ctx.check_size(len(text) + (text.count(old)) * max(len(new) - len(old), 0))
    return text.replace(old, new)


@builtin("strings.replace_n", (object_of(STRING, STRING), STRING), STRING, context=True)
def replace_several(ctx: CallContext, patterns: Object, text: str) -> str:
    """Several strings replaced in one pass; at one place the pattern that sorts first wins."""
    pairs: list[tuple[str, str]] = []
    for old, new in patterns.pairs():
        if type(old) is not str or type(new) is not str:
            what = "key" if type(old) is not str else "value"
            message = f"operand 1 non-string {what} found in pattern object"
            raise OperandError(message)
        pairs.append((old, new))
    ctx.spend(len(text) * max(len(pairs), 1) >> 3)
    parts: list[str] = []
    position, size, after_empty = 0, 0, False
    while position <= len(text):
        for old, new in pairs:
            if (old or not after_empty) and text.startswith(old, position):
                parts.append(new)
                size += len(new)
                if size > ctx.max_size:
                    ctx.check_size(size)
                position += len(old)
                after_empty = not old
                break
        else:
            parts.append(text[position : position + 1])
            position += 1
            after_empty = False
    return "".join(parts)


# --- trimming and case -----------------------------------------------------------------------------------------------


@builtin("trim", _TWO, STRING)
def trim(text: str, characters: str) -> str:
    """Without the given characters at both ends."""
    return text.strip(characters) if characters else text


@builtin("trim_left", _TWO, STRING)
def trim_left(text: str, characters: str) -> str:
    """Without the given characters at the start."""
    return text.lstrip(characters) if characters else text


@builtin("trim_right", _TWO, STRING)
def trim_right(text: str, characters: str) -> str:
    """Without the given characters at the end."""
    return text.rstrip(characters) if characters else text


@builtin("trim_prefix", _TWO, STRING)
def trim_prefix(text: str, prefix: str) -> str:
    """Without the prefix, once."""
    return text.removeprefix(prefix)


@builtin("trim_suffix", _TWO, STRING)
def trim_suffix(text: str, suffix: str) -> str:
    """Without the suffix, once."""
    return text.removesuffix(suffix)


@builtin("trim_space", (STRING,), STRING)
def trim_space(text: str) -> str:
    """Without white space at both ends."""
    return text.strip(_GO_SPACES)


@builtin("lower", (STRING,), STRING)
def lower(text: str) -> str:
    """In lower case, each code point by itself."""
    return text.lower() if text.isascii() else "".join([_lower(character) for character in text])


@builtin("upper", (STRING,), STRING)
def upper(text: str) -> str:
    """In upper case, each code point by itself."""
    return text.upper() if text.isascii() else "".join([_upper(character) for character in text])


def _lower(character: str) -> str:
    changed = character.lower()
    return changed if len(changed) == 1 else changed[0]


def _upper(character: str) -> str:
    for changed in (character.upper(), character.title()):
        if len(changed) == 1:
            return changed
    return character


# --- numbers as text -------------------------------------------------------------------------------------------------


@builtin("format_int", (NUMBER, NUMBER), STRING, cost=CONSTANT)
def format_int(number: Number, base: Number) -> str:
    """An integer in base 2, 8, 10 or 16; a fraction is cut off."""
    code = {2: "b", 8: "o", 10: "d", 16: "x"}.get(base if type(base) is int else 0)
    if code is None:
        message = "operand 2 must be one of {2, 8, 10, 16}"
        raise OperandError(message)
    whole = number if type(number) is int else int(to_binary(number))
    return format(whole, code)
