"""How every command speaks: JSON or text, tables, examples in --help, progress; it decides nothing."""

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

import click

EXIT_OK: Final = 0
"""Done, or allowed."""
EXIT_DENY: Final = 1
"""Denied, or something was found that a person should look at."""
EXIT_MISUSE: Final = 2
"""The question was wrong: an unknown option, a broken configuration."""
EXIT_UNKNOWN: Final = 3
"""Nobody can tell now: the service, the disk or the provider did not answer."""

_PROGRESS_EVERY: Final = 0.1
"""Seconds between two redrawings of a progress line: fast enough to look alive, slow enough to cost nothing."""

_C = TypeVar("_C", bound=click.Command)
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Globals:
    """What stands before the command's name, `watchkey --config FILE -v check …`; commands get it by `pass_globals`."""

    config: Path | None = None
    """The configuration file that was named; None leaves it to WATCHKEY_CONFIG and the working directory."""
    verbosity: int = 0
    """How often -v was given; 2 shows tracebacks."""


pass_globals = click.make_pass_decorator(Globals, ensure=True)
"""Decorator: hands `Globals` to a command as its first argument."""


def json_option(function: _F) -> _F:
    """Give a command the common `--json` flag, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")(function)


def examples(*lines: tuple[str, str]) -> Callable[[_C], _C]:
    """Append a block of examples to a command's help; each line is (what to type, what that does).

    Stands above `@click.command`, since it changes the finished command.
    """

    def append(command: _C) -> _C:
        width = max(len(typed) for typed, _ in lines)
        rows = [f"  {typed.ljust(width)}  # {meaning}" if meaning else f"  {typed}" for typed, meaning in lines]
        command.epilog = "\b\nExamples:\n" + "\n".join(rows)
        return command

    return append


def emit(value: Any, *, as_json: bool, text: str | Callable[[], str]) -> None:
    """Print the value as one JSON document, or `text` for people (made only when it is wanted)."""
    if as_json:
        click.echo(to_json(value))
    else:
        click.echo(text if isinstance(text, str) else text())


def to_json(value: Any) -> str:
    """The value as indented JSON; dataclasses and structs become objects, instants RFC 3339, sets sorted lists.

    A type that has no JSON form, a `Secret` among them, becomes its own printed form, which for a secret hides it.
    """
    import msgspec  # noqa: PLC0415 -- 25 ms that `watchkey --help` must not pay

    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str, order="deterministic"), indent=2).decode()


def printable(text: str) -> str:
    """The text without anything that moves a terminal's cursor or changes its colours.

    Names of people, services and incidents come from outside; one of them could hold an escape sequence, or a mark
    that turns the direction of writing round.
    """
    return "".join("�" if unicodedata.category(char)[0] == "C" else char for char in text)


def width_of(text: str) -> int:
    """How many terminal cells the text takes: wide characters two, combining marks none."""
    cells = 0
    for char in text:
        if unicodedata.combining(char):
            continue
        cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return cells


def pad(text: str, width: int) -> str:
    """The text with spaces behind it up to so many cells; one that is longer is cut and ends with `…`."""
    if width_of(text) > width:
        while text and width_of(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - width_of(text))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "nothing") -> str:
    """Rows under headers, in columns as wide as their content; `empty` stands alone when there is no row."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        return f"({empty})"
    widths = [max(width_of(header), *(width_of(row[i]) for row in cells)) for i, header in enumerate(headers)]
    lines = [list(headers), *cells]
    return "\n".join(
        "  ".join(pad(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def good(text: str) -> str:
    """The text in the colour of *yes*; colours are taken out again wherever the output is no terminal."""
    return click.style(text, fg="green")


def bad(text: str) -> str:
    """The text in the colour of *no*."""
    return click.style(text, fg="red")


def faint(text: str) -> str:
    """The text as a side remark."""
    return click.style(text, dim=True)


class Step(Protocol):
    """What a long work calls now and then."""

    def __call__(self, done: int, /) -> None:
        """So many units of the total are done."""
        ...


@contextmanager
def progress(label: str, total: int) -> Iterator[Step]:
    """Show on standard error how far a long work is, when that is a terminal; elsewhere nothing is written.

    Example::

        with progress("verifying", len(entries)) as step:
            for done, entry in enumerate(entries):
                step(done)
    """
    stream = sys.stderr
    if not stream.isatty():
        yield lambda _done: None
        return
    drawn_at = 0.0

    def step(done: int) -> None:
        nonlocal drawn_at
        if monotonic() - drawn_at < _PROGRESS_EVERY:
            return
        drawn_at = monotonic()
        share = min(1.0, done / total) if total else 1.0
        stream.write(f"\r\x1b[2K{label} {share:4.0%}")
        stream.flush()

    try:
        yield step
    finally:
        stream.write("\r\x1b[2K")
        stream.flush()


def must_know(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise a misuse that names what there is, for a name that is not among those that are known."""
    there = sorted(known)
    for name in names:
        if name not in there:
            raise click.BadParameter(f"there is no {what} {name!r}; there is {', '.join(there) or 'none'}")
