"""YAML text to nodes that know their place, strictly; what is wrong is a `ConfigError` with line and column.

A small YAML on purpose: one document, YAML 1.2 core scalars (`18:00` and `on` are text, `true` is not), no anchors, no
tags, no duplicate keys, bounded size and depth.
"""

import difflib
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

SIZE_MAX: Final = 4 * 1024 * 1024
"""Characters in one file."""
DEPTH_MAX: Final = 32
"""Collections inside collections."""

Path = tuple[str | int, ...]
"""Where a value stands: keys and positions from the top."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


class ConfigError(Exception):
    """A file says something that it must not say, and this is where.

    `others` are further errors of the same file, in its order.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str,
        mark: Mark,
        path: Path = (),
        expected: str = "",
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message: Final = message
        self.file: Final = file
        self.line: Final = mark.line
        self.column: Final = mark.column
        self.path: Final = path_text(path)
        self.expected: Final = expected
        self.suggestion: Final = suggestion
        self.others: tuple[ConfigError, ...] = ()

    def __str__(self) -> str:
        """`watchkey.yaml:12:5: resources[0].max_levl: unknown key; expected one of …; did you mean max_level?`."""
        parts = [f"{self.path}: {self.message}" if self.path else self.message]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.suggestion is not None:
            parts.append(f"did you mean {self.suggestion}?")
        return f"{self.file}:{self.line}:{self.column}: {'; '.join(parts)}"

    @property
    def all(self) -> "tuple[ConfigError, ...]":
        """This error and the others."""
        return (self, *self.others)


def path_text(path: Path) -> str:
    """Write a path as people read it: `people[3].emails[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif re.fullmatch(r"[\w-]+", step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like this one, if any is like it."""
    by_fold = {one.casefold(): one for one in known}
    found = difflib.get_close_matches(name.casefold()[:100], by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


Plain = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: text, a number, true, false or nothing."""

    mark: Mark
    value: Plain


@dataclass(frozen=True, slots=True)
class Listing:
    """A list."""

    mark: Mark
    items: "list[Node]" = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; each key with its own place."""

    mark: Mark
    items: "dict[str, tuple[Mark, Node]]" = field(default_factory=dict)


Node = Scalar | Listing | Table

_FORBIDDEN: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069\ufeff]"
)
"""What YAML does not allow, and marks that make a line read otherwise than it is (CVE-2021-42574)."""

_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", re.ASCII)
_DIGITS_MAX: Final = 18

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Only its scanner and parser are used: libyaml's where it was built in, which is some ten times faster."""


class _Composer:
    """Builds nodes from parser events without recursion, refusing what this YAML leaves out."""

    def __init__(self, text: str, filename: str) -> None:
        self.text = text
        self.filename = filename
        self.stack: list[Listing | Table] = []
        self.keys: list[tuple[str, Mark] | None] = []
        self.steps: list[str | int] = []
        self.root: Node | None = None
        self.documents = 0

    def fail(self, mark: Mark, message: str, *, expected: str = "") -> typing.NoReturn:
        raise ConfigError(message, file=self.filename, mark=mark, path=self.path(), expected=expected)

    def path(self) -> Path:
        """Where the composer stands."""
        here = self.step()
        return (*self.steps, *(() if here is None else (here,)))

    def step(self) -> str | int | None:
        """The next step from the innermost collection; None at the top, and before a key."""
        if not self.stack:
            return None
        parent, key = self.stack[-1], self.keys[-1]
        if isinstance(parent, Listing):
            return len(parent.items)
        return None if key is None else key[0]

    def compose(self) -> Node:
        for event in yaml.parse(self.text, Loader=_LOADER):
            self.take(event)
        return self.root or Scalar(Mark(1, 1), None)

    def take(self, event: yaml.Event) -> None:
        mark = _mark(event.start_mark)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.fail(mark, "a second document begins here", expected="one document in the file")
            case yaml.AliasEvent():
                self.fail(mark, f"*{event.anchor} is an alias", expected="the value itself, written out")
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self.stack.pop()
                self.keys.pop()
                if self.steps:
                    self.steps.pop()
            case yaml.NodeEvent():
                self.refuse_properties(event, mark)
                self.take_node(event, mark)
            case _:
                pass  # stream and document borders carry nothing

    def refuse_properties(self, event: yaml.NodeEvent, mark: Mark) -> None:
        if event.anchor is not None:
            self.fail(mark, f"&{event.anchor} is an anchor", expected="the value without an anchor")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.fail(mark, f"{tag!s:.60} is a tag", expected="the value without a tag")

    def take_node(self, event: yaml.NodeEvent, mark: Mark) -> None:
        parent = self.stack[-1] if self.stack else None
        if isinstance(parent, Table) and self.keys[-1] is None:
            self.take_key(parent, event, mark)
            return
        node: Node
        match event:
            case yaml.ScalarEvent():
                node = Scalar(mark, self.scalar(event, mark))
            case yaml.SequenceStartEvent():
                node = Listing(mark)
            case _:
                node = Table(mark)
        step = self.step()
        if not isinstance(node, Scalar) and len(self.stack) >= DEPTH_MAX:
            self.fail(mark, f"nested deeper than {DEPTH_MAX} levels")
        self.place(parent, node)
        if not isinstance(node, Scalar):
            self.stack.append(node)
            self.keys.append(None)
            if step is not None:
                self.steps.append(step)

    def place(self, parent: Listing | Table | None, node: Node) -> None:
        if parent is None:
            self.root = node
        elif isinstance(parent, Listing):
            parent.items.append(node)
        else:
            key = self.keys[-1]
            if key is not None:
                parent.items[key[0]] = key[1], node
                self.keys[-1] = None

    def take_key(self, parent: Table, event: yaml.NodeEvent, mark: Mark) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            self.fail(mark, "a list or a mapping cannot be a key", expected="text")
        key = event.value
        if key in parent.items:
            line = parent.items[key][0].line
            self.fail(mark, f"the key {key[:80]!r} stands here a second time; the first is in line {line}")
        self.keys[-1] = key, mark

    def scalar(self, event: yaml.ScalarEvent, mark: Mark) -> Plain:
        text = event.value
        if event.style:  # quoted, or a block: text whatever it looks like
            return str(text)
        if text in _NULLS:
            return None
        if text in _BOOLS:
            return _BOOLS[text]
        if _NOT_FINITE.fullmatch(text):
            self.fail(mark, f"{text} is not a finite number")
        if not _FLOAT.fullmatch(text) and not _INT.fullmatch(text):
            return str(text)
        if len(text) > _DIGITS_MAX:
            self.fail(mark, f"the number {text[:20]}… is too long", expected="a shorter number, or text in quotes")
        if _INT.fullmatch(text):
            return int(text, 0 if text[:2] in {"0x", "0o"} else 10)
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            self.fail(mark, f"{text} is too large for a number")
        return value


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _mark_at(text: str, offset: int) -> Mark:
    line = text.count("\n", 0, offset) + 1
    return Mark(line, offset - text.rfind("\n", 0, offset))


def compose(text: str | bytes, filename: str) -> Node:
    """Read one YAML document. `filename` stands in every error. Raises `ConfigError`."""
    start = Mark(1, 1)
    if len(text) > SIZE_MAX:
        raise ConfigError(f"larger than {SIZE_MAX // 1024 // 1024} MiB", file=filename, mark=start)
    text = (_decoded(text, filename) if isinstance(text, bytes) else text).removeprefix("\ufeff")
    if bad := _FORBIDDEN.search(text):
        message = f"the character U+{ord(bad[0]):04X} is not allowed"
        raise ConfigError(message, file=filename, mark=_mark_at(text, bad.start()))
    try:
        return _Composer(text, filename).compose()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, filename) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", file=filename, mark=start) from None


def _decoded(text: bytes, filename: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
        mark = _mark_at(before, len(before))
        raise ConfigError("not UTF-8", file=filename, mark=mark, expected="text in UTF-8") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str, filename: str) -> ConfigError:
    at = error.problem_mark or error.context_mark
    mark = Mark(1, 1) if at is None else _mark(at)
    lines = text.split("\n")
    here = lines[mark.line - 1][mark.column - 1 :] if mark.line <= len(lines) else ""
    if here.startswith("\t"):
        return ConfigError("a tab where YAML counts blanks", file=filename, mark=mark, expected="spaces")
    message = f"not YAML: {error.problem or error.context}"
    if error.context and error.problem:
        message += f" ({error.context})"
    return ConfigError(message, file=filename, mark=mark)
