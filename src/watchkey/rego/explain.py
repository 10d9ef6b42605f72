"""What happened in an evaluation: which rules held, where the others failed and with which values, which lines ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from watchkey.rego.errors import Location
from watchkey.rego.values import UNDEFINED, to_json, value_text

MAX_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedExpression:
    """An expression of a rule's body: its place, its text, and the rules and functions that it names."""

    location: Location
    text: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedBody:
    """One body of a rule in code that was generated for tracing."""

    rule: str
    location: Location
    expressions: tuple[TracedExpression, ...]


@dataclass(slots=True)
class Progress:
    """How far one body got: how often it was tried and held, and what stopped the try that got furthest."""

    tried: int = 0
    held: int = 0
    furthest: int = -1
    seen: tuple[tuple[str, Any], ...] = ()
    undefined: str = ""
    value: Any = UNDEFINED


class Recorder:
    """Collects what traced code reports; one for each evaluation."""

    __slots__ = ("_open", "bodies", "lines", "looking", "progress")

    def __init__(self, bodies: list[TracedBody]) -> None:
        self.bodies = bodies
        self.progress: dict[int, Progress] = {}
        self.lines: set[tuple[str, int]] = set()
        self.looking = ""
        self._open: list[tuple[int, int]] = []

    def begin(self, body: int) -> None:
        """A body is tried."""
        self.progress.setdefault(body, Progress()).tried += 1
        location = self.bodies[body].location
        self.lines.add((location.file, location.line))

    def reach(self, body: int, index: int) -> None:
        """An expression of a body is about to be evaluated."""
        progress = self.progress[body]
        if index >= progress.furthest:
            if index > progress.furthest:
                progress.seen, progress.undefined = (), ""
            progress.furthest = index
        location = self.bodies[body].expressions[index].location
        self.lines.add((location.file, location.line))

    def line(self, file: str, line: int) -> None:
        """An expression inside another one is about to be evaluated."""
        self.lines.add((file, line))

    def look(self, body: int, index: int, text: str) -> None:
        """A part of an expression is about to be looked up; if the expression ends here, that part was undefined."""
        progress = self.progress[body]
        if index == progress.furthest:
            progress.undefined = text

    def refuse(self, body: int, index: int, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
        """An expression was evaluated and did not hold."""
        progress = self.progress[body]
        if index == progress.furthest:
            progress.seen = tuple(zip(names, values, strict=True))
            progress.undefined = ""

    def hold(self, body: int, value: Any) -> None:
        """A body held."""
        progress = self.progress[body]
        progress.held += 1
        progress.value = value


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step of an explanation: a rule that held, or the first expression that stopped it."""

    rule: str
    held: bool
    location: Location
    text: str
    seen: tuple[tuple[str, Any], ...] = ()
    undefined: str = ""

    def __str__(self) -> str:
        if self.held:
            return f"{self.rule} holds ({self.location.file}:{self.location.line})"
        where = f"{self.location.file}:{self.location.line}"
        if self.undefined:
            reason = f"{self.undefined} is undefined"
        elif self.seen:
            reason = ", ".join(f"{name} = {value_text(value)}" for name, value in self.seen)
        else:
            reason = "nothing matched"
        return f"{self.rule} does not hold: {self.text} ({where}; {reason})"

    def json(self) -> dict[str, Any]:
        """The finding as plain Python."""
        return {
            "rule": self.rule,
            "held": self.held,
            "file": self.location.file,
            "line": self.location.line,
            "column": self.location.column,
            "expression": self.text,
            "values": {name: to_json(value) for name, value in self.seen if value is not UNDEFINED},
            "undefined": self.undefined or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The record of one evaluation."""

    bodies: tuple[TracedBody, ...]
    progress: dict[int, Progress]
    lines: frozenset[tuple[str, int]]
    """Lines that ran, as ``(file, line)``."""

    def held(self) -> tuple[Finding, ...]:
        """Every rule that held, in the order of the source."""
        found = [self._held(index) for index, progress in self.progress.items() if progress.held]
        return tuple(sorted(found, key=lambda each: (each.location.file, each.location.line)))

    def failed(self) -> tuple[Finding, ...]:
        """Every body that was tried and never held, with the expression that stopped it."""
        found = [self._failed(index) for index, progress in self.progress.items() if not progress.held]
        return tuple(sorted(found, key=lambda each: (each.location.file, each.location.line)))

    def explain(self, rule: str) -> tuple[Finding, ...]:
        """Why a rule (``data.authz.allow``) held or not: the nearest body, then the rules that its failure names."""
        steps: list[Finding] = []
        pending, seen = [rule], {rule}
        while pending and len(steps) < MAX_DEPTH:
            name = pending.pop(0)
            index = self._nearest(name)
            if index is None:
                continue
            if self.progress[index].held:
                steps.append(self._held(index))
                continue
            steps.append(self._failed(index))
            for other in self._named(index):
                if other not in seen:
                    seen.add(other)
                    pending.append(other)
        return tuple(steps)

    def json(self) -> dict[str, Any]:
        """Everything as plain Python."""
        return {
            "held": [finding.json() for finding in self.held()],
            "failed": [finding.json() for finding in self.failed()],
            "lines": [{"file": file, "line": line} for file, line in sorted(self.lines)],
        }

    def _nearest(self, rule: str) -> int | None:
        """The body of a rule that held, or else the one that got furthest."""
        candidates = [index for index in self.progress if self.bodies[index].rule == rule]
        return max(candidates, key=self._closeness, default=None)

    def _closeness(self, index: int) -> tuple[int, float, int]:
        progress = self.progress[index]
        length = max(len(self.bodies[index].expressions), 1)
        return (1 if progress.held else 0, progress.furthest / length, -index)

    def _named(self, index: int) -> Iterator[str]:
        furthest = self.progress[index].furthest
        if furthest >= 0:
            yield from self.bodies[index].expressions[furthest].names

    def _held(self, index: int) -> Finding:
        body = self.bodies[index]
        return Finding(rule=body.rule, held=True, location=body.location, text="")

    def _failed(self, index: int) -> Finding:
        body, progress = self.bodies[index], self.progress[index]
        if progress.furthest < 0:
            return Finding(rule=body.rule, held=False, location=body.location, text="the arguments do not match")
        stopped = body.expressions[progress.furthest]
        return Finding(
            rule=body.rule,
            held=False,
            location=stopped.location,
            text=stopped.text,
            seen=progress.seen,
            undefined=progress.undefined,
        )
