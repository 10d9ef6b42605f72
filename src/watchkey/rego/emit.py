"""Writes Python text: lines with indentation, temporaries, pooled constants, and loops that fail with ``continue``.

A body becomes a loop that runs once; whatever fails inside a body says ``continue``, whatever iterates opens a further
loop, and what follows is written inside it. So every failure leads to the next candidate of the nearest iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from watchkey.rego.values import FALSE, TRUE

_MAX_LOOPS_OF_BODY: Final = 7
_MAX_BLOCKS: Final = 8
"""Python allows 20 nested blocks; bodies and closures are moved into functions of their own long before."""

_PLAIN: Final = {str, int}


@dataclass(slots=True)
class Frame:
    """A body being written: where it began, and the loops opened in it."""

    start: int
    indent: int
    blocks: int
    bound: dict[str, str]
    at_hand: dict[tuple[str, ...], str]
    loops: list[int] = field(default_factory=list)
    is_split: bool = False
    """Whether its outermost block is a loop over a generator, no longer one that runs once."""

    @property
    def gives_up_by(self) -> str:
        """The statement that gives up the current candidate: the next one of a loop, or the end of what runs once."""
        return "continue" if self.loops or self.is_split else "break"


class Unit:
    """The text of one generated module, its constants, and the place in Rego that each line comes from."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.places: list[Any] = []
        self.namespace: dict[str, Any] = {}
        self.file = f"<rego {id(self)}>"
        self._constants: dict[Any, str] = {}
        self._count = 0

    def resume(self, other: Unit) -> None:
        """Go on counting where another unit stopped, so that names stay distinct."""
        self._count = max(self._count, other._count)

    def name(self, prefix: str) -> str:
        """A fresh name."""
        self._count += 1
        return f"{prefix}{self._count}"

    def constant(self, value: Any) -> str:
        """Python text for a value: a literal where Python has one, else the name of a pooled constant."""
        if value is None:
            return "None"
        if value is TRUE:
            return "TRUE"
        if value is FALSE:
            return "FALSE"
        if type(value) in _PLAIN and (type(value) is str or -(10**18) < value < 10**18):
            return ascii(value)
        return self.pooled("C", value)

    def pooled(self, prefix: str, value: Any) -> str:
        """The name of a global that holds a value."""
        key = (type(value), str(value), value) if prefix == "C" else (prefix, id(value))
        known = self._constants.get(key)
        if known is None:
            known = self.name(prefix)
            self._constants[key] = known
            self.namespace[known] = value
        return known


class Emitter:
    """Writes one Python function at a time into a Unit."""

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.indent = 0
        self.blocks = 0
        self.place: Any = None
        self.bound: dict[str, str] = {}
        self.at_hand: dict[tuple[str, ...], str] = {}
        """Names of values that were looked up or frozen before, on every way to this point."""
        self.frames: list[Frame] = []

    # --- text --------------------------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Write a line at the current indentation."""
        self.unit.lines.append(" " * self.indent + text)
        self.unit.places.append(self.place)

    def temporary(self) -> str:
        """A fresh local name."""
        return self.unit.name("t")

    def set(self, text: str) -> str:
        """Assign an expression to a fresh name, and give the name."""
        name = self.temporary()
        self.line(f"{name} = {text}")
        return name

    def named(self, value: str) -> str:
        """The name of a value; literals are given one."""
        return value if value.isidentifier() and value not in ("TRUE", "FALSE", "None") else self.set(value)

    def fail(self) -> None:
        """Give up the current candidate."""
        self.line(self.frames[-1].gives_up_by)

    def fail_if(self, condition: str) -> None:
        """Give up the current candidate under a condition."""
        self.line(f"if {condition}: {self.frames[-1].gives_up_by}")

    def runs_once(self) -> bool:
        """Whether this point of the body is reached at most once."""
        frame = self.frames[-1]
        return not frame.loops and not frame.is_split

    def defined(self, text: str) -> str:
        """Assign an expression that must not be undefined."""
        name = self.set(text)
        self.fail_if(f"{name} is UNDEF")
        return name

    # --- blocks ------------------------------------------------------------------------------------------------------

    @contextmanager
    def block(self, text: str) -> Iterator[None]:
        """An indented block that ends."""
        self.line(text)
        self.indent += 1
        yield
        self.indent -= 1

    @contextmanager
    def indented(self) -> Iterator[None]:
        """Lines inside a block whose first line is written already."""
        self.indent += 1
        yield
        self.indent -= 1

    @contextmanager
    def function(self, signature: str) -> Iterator[None]:
        """A function; nothing is bound in it at first."""
        saved = self.blocks, self.bound, self.frames, self.at_hand
        self.blocks, self.bound, self.frames, self.at_hand = 0, {}, [], {}
        with self.block(f"def {signature}:"):
            yield
        self.blocks, self.bound, self.frames, self.at_hand = saved

    def loop(self, targets: str, iterable: str) -> None:
        """Open a loop; all that follows in the body is written inside it."""
        self.line(f"for {targets} in {iterable}:")
        self.frames[-1].loops.append(self.indent)
        self.indent += 1
        self.blocks += 1

    @contextmanager
    def body(self, *, once: bool) -> Iterator[None]:
        """A body; with `once` its first success ends it."""
        frame = Frame(len(self.unit.lines), self.indent, self.blocks, dict(self.bound), dict(self.at_hand))
        self.frames.append(frame)
        self.line("while True:")
        self.indent += 1
        self.blocks += 1
        yield
        if once:
            self.line("break")
            for level in reversed(frame.loops):
                self.indent = level
                if level > frame.indent + 1 or frame.is_split:
                    self.line("else: continue")
                self.line("break")
        elif not frame.is_split:
            self.indent = frame.indent + 1
            self.line("break")
        self.frames.pop()
        self.indent, self.blocks = frame.indent, frame.blocks
        self.bound, self.at_hand = frame.bound, frame.at_hand

    def split_if_deep(self) -> None:
        """Between two expressions: move what the body has so far into a generator when it holds many loops."""
        frame = self.frames[-1]
        if len(frame.loops) < _MAX_LOOPS_OF_BODY:
            return
        live = sorted(
            {name for var, name in self.bound.items() if frame.bound.get(var) != name and name.isidentifier()}
        )
        self.line(f"yield ({', '.join(live)}{',' if live else ''})")
        if not frame.is_split:
            self.indent = frame.indent + 1
            self.line("break")
        lines = self.unit.lines
        for index in range(frame.start, len(lines)):
            lines[index] = " " + lines[index]
        generator = self.unit.name("g")
        lines.insert(frame.start, " " * frame.indent + f"def {generator}():")
        self.unit.places.insert(frame.start, self.place)
        self.indent = frame.indent
        frame.loops.clear()
        frame.is_split = True
        frame.start = len(lines)
        self.at_hand = dict(frame.at_hand)
        self.line(
            f"for ({', '.join(live)}{',' if live else ''}) in {generator}():" if live else f"for _ in {generator}():"
        )
        self.indent += 1
        self.blocks = frame.blocks + 1

    def isolated(self, initial: str, write: Callable[[str], None]) -> str:
        """Write something that computes one result into a name; in a function of its own where blocks get deep."""
        result = self.temporary()
        if self.blocks <= _MAX_BLOCKS:
            self.line(f"{result} = {initial}")
            write(result)
            return result
        name = self.unit.name("n")
        saved = self.blocks
        with self.block(f"def {name}():"):
            self.line(f"{result} = {initial}")
            self.blocks = 0
            write(result)
            self.line(f"return {result}")
        self.blocks = saved
        self.line(f"{result} = {name}()")
        return result
