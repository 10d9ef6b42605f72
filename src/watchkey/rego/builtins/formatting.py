"""sprintf with Go's verbs, print and trace."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from watchkey.rego.builtins import CallContext, builtin
from watchkey.rego.types import ANY, BOOLEAN, STRING, array_of
from watchkey.rego.values import TRUE, Boolean, number_text, quoted, value_text

_FLAGS: Final = "+-# 0"
_MAX_WIDTH: Final = 1_000_000
_EXPONENT_FROM: Final = 6


@builtin("trace", (STRING,), BOOLEAN)
def trace(_note: str) -> Boolean:
    """Always true; a note for OPA's trace."""
    return TRUE


@builtin("sprintf", (STRING, array_of(ANY)), STRING, context=True)
def sprintf(ctx: CallContext, template: str, args: tuple[Any, ...]) -> str:
    """A template with Go's verbs filled in."""
    text = _Formatter(ctx, template, [_argument(arg) for arg in args]).run()
    ctx.check_size(len(text))
    return text


def _argument(value: Any) -> Any:
    """What Go's formatter sees: integers, floats and strings; anything else is its text."""
    if type(value) is int:
        return value
    if type(value) is Decimal:
        number = float(value)
        return number if number not in (float("inf"), float("-inf")) else number_text(value).replace("e+", "e")
    return value if type(value) is str else value_text(value)


class _Formatter:
    """One pass over a template."""

    def __init__(self, ctx: CallContext, template: str, args: list[Any]) -> None:
        self._ctx = ctx
        self._template = template
        self._args = args
        self._next = 0
        self._position = 0
        self._reordered = False
        self._size = 0

    def run(self) -> str:
        out: list[str] = []
        template = self._template
        while self._position < len(template):
            mark = template.find("%", self._position)
            if mark < 0:
                out.append(template[self._position :])
                break
            out.append(template[self._position : mark])
            self._position = mark + 1
            out.append(self._verb())
            self._size += len(out[-1])
            if self._size > self._ctx.max_size:
                self._ctx.check_size(self._size)
        if not self._reordered and self._next < len(self._args):
            extra = ", ".join(f"{_go_type(arg)}={_plain(arg)}" for arg in self._args[self._next :])
            out.append(f"%!(EXTRA {extra})")
        return "".join(out)

    def _verb(self) -> str:
        flags = self._flags()
        index_ok = self._argument_index()
        width, problem = self._number()
        if width is not None and width < 0:
            flags, width = (flags - {"0"}) | {"-"}, -width
        precision: int | None = None
        if self._peek() == ".":
            self._position += 1
            index_ok = self._argument_index() and index_ok
            precision, wrong = self._number()
            problem += wrong.replace("WIDTH", "PREC")
            precision = 0 if precision is None else precision if precision >= 0 else None
        index_ok = self._argument_index() and index_ok
        if self._position >= len(self._template):
            return problem + "%!(NOVERB)"
        verb = self._template[self._position]
        self._position += 1
        if verb == "%":
            return problem + "%"
        if not index_ok:
            return f"{problem}%!{verb}(BADINDEX)"
        if self._next >= len(self._args):
            return f"{problem}%!{verb}(MISSING)"
        arg = self._args[self._next]
        self._next += 1
        return problem + _Formatted(verb, flags, width, precision).of(arg)

    def _peek(self) -> str:
        return self._template[self._position : self._position + 1]

    def _flags(self) -> set[str]:
        flags: set[str] = set()
        while self._peek() and self._peek() in _FLAGS:
            flags.add(self._peek())
            self._position += 1
        return flags

    def _argument_index(self) -> bool:
        """``[3]`` chooses an argument."""
        if self._peek() != "[":
            return True
        self._reordered = True
        end = self._template.find("]", self._position)
        if end < 0:
            self._position += 1
            return False
        text = self._template[self._position + 1 : end]
        self._position = end + 1
        if not text.isdecimal() or not 1 <= int(text[:9]) <= len(self._args):
            return False
        self._next = int(text[:9]) - 1
        return True

    def _number(self) -> tuple[int | None, str]:
        """A width or precision: digits, or ``*`` for an argument."""
        if self._peek() == "*":
            self._position += 1
            arg = self._args[self._next] if self._next < len(self._args) else None
            self._next += 1
            if type(arg) is int and abs(arg) <= _MAX_WIDTH:
                return arg, ""
            return None, "%!(BADWIDTH)"
        start = self._position
        while self._peek() in set("0123456789"):
            self._position += 1
        digits = self._template[start : self._position]
        if not digits:
            return None, ""
        return (int(digits), "") if len(digits) <= 7 and int(digits) <= _MAX_WIDTH else (None, "%!(BADWIDTH)")


class _Formatted:
    """One argument under one verb."""

    def __init__(self, verb: str, flags: set[str], width: int | None, precision: int | None) -> None:
        self.verb = verb
        self.flags = flags
        self.width = width
        self.precision = precision

    def of(self, arg: Any) -> str:
        """The text."""
        if self.verb == "T":
            return self._padded(_go_type(arg))
        if type(arg) is int:
            return self._integer(arg)
        if type(arg) is float:
            return self._float(arg)
        return self._string(arg)

    def _bad(self, arg: Any) -> str:
        return f"%!{self.verb}({_go_type(arg)}={_plain(arg)})"

    # --- kinds -------------------------------------------------------------------------------------------------------

    def _string(self, text: str) -> str:
        cut = text if self.precision is None else text[: self.precision]
        if self.verb in "vs":
            if self.verb == "v" and "#" in self.flags:
                return self._padded(quoted(cut))
            return self._padded(cut)
        if self.verb == "q":
            raw = "#" in self.flags and "`" not in cut and cut.isprintable()
            return self._padded(f"`{cut}`" if raw else quoted(cut))
        if self.verb in "xX":
            data = text.encode()[: self.precision] if self.precision is not None else text.encode()
            digits = data.hex(" ") if " " in self.flags else data.hex()
            if "#" in self.flags and digits:
                digits = " 0x".join(digits.split(" ")) if " " in self.flags else digits
                digits = "0x" + digits
            return self._padded(digits.upper() if self.verb == "X" else digits)
        return self._bad(text)

    def _integer(self, number: int) -> str:  # noqa: PLR0911 - one return for each verb
        verb = self.verb
        large = not -(1 << 63) <= number < 1 << 63
        if verb in "vd" or (large and verb == "s"):
            return self._signed(number, str(abs(number)))
        if verb in "boxX":
            digits = format(abs(number), verb)
            prefix = {"b": "0b", "o": "0", "x": "0x", "X": "0X"}[verb] if "#" in self.flags else ""
            return self._signed(number, digits, prefix)
        if verb == "O":
            return self._signed(number, format(abs(number), "o"), "0o")
        if verb == "c":
            return self._padded(chr(number) if 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd")
        if verb == "q":
            character = chr(number) if 0 <= number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"
            return self._padded("'" + quoted(character)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'")
        if verb == "U":
            shown = (
                f" '{chr(number)}'"
                if "#" in self.flags and 0 <= number < 0x110000 and chr(number).isprintable()
                else ""
            )
            return self._padded(f"U+{number:04X}{shown}")
        return self._bad(number)

    def _signed(self, number: int, digits: str, prefix: str = "") -> str:
        if self.precision is not None:
            digits = "" if not self.precision and not number else digits.zfill(self.precision)
        sign = "-" if number < 0 else "+" if "+" in self.flags else " " if " " in self.flags else ""
        if "0" in self.flags and "-" not in self.flags and self.width is not None and self.precision is None:
            digits = digits.zfill(self.width - len(sign))
        return self._padded(sign + prefix + digits, zero=False)

    def _float(self, number: float) -> str:
        verb = self.verb
        if verb not in "vgGeEfF":
            return self._bad(number)
        if verb == "v" or verb in "gG":
            text = _general(abs(number), self.precision, self.flags)
            text = text.upper() if verb == "G" else text
        elif verb in "eE":
            text = format(abs(number), f".{6 if self.precision is None else self.precision}{verb}")
        else:
            text = format(abs(number), f".{6 if self.precision is None else self.precision}f")
        negative = number < 0 or (number == 0 and str(number).startswith("-"))
        sign = "-" if negative else "+" if "+" in self.flags else " " if " " in self.flags else ""
        if "0" in self.flags and "-" not in self.flags and self.width is not None:
            text = text.zfill(self.width - len(sign))
        return self._padded(sign + text, zero=False)

    def _padded(self, text: str, *, zero: bool = True) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if zero and "0" in self.flags else " ")


def _general(number: float, precision: int | None, flags: set[str]) -> str:
    """Go's %g: the shortest text that reads back, with an exponent below 1e-4 and from 1e6."""
    if precision is not None:
        return format(number, f"{'#' if '#' in flags else ''}.{precision or 1}g")
    digits = repr(number)
    mantissa, _, exponent = format(Decimal(digits), "e").partition("e")
    power = int(exponent)
    significant = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    if power < -4 or power >= _EXPONENT_FROM:
        return f"{significant}e{power:+03d}"
    text = format(Decimal(digits), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _go_type(arg: Any) -> str:
    if type(arg) is int:
        return "int64" if -(1 << 63) <= arg < 1 << 63 else "*big.Int"
    return "float64" if type(arg) is float else "string"


def _plain(arg: Any) -> str:
    return _Formatted("v", set(), None, None).of(arg)
