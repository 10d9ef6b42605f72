"""Run the tests of a policy: `test_` rules in Rego, and cases that say which decision a request must get, and why."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from watchkey.model.access import AccessRequest, Allow, Decision, Reason
from watchkey.model.oncall import Shift
from watchkey.ports import Clock
from watchkey.rego import Data, EvaluationError, Limits, Location, Policy, Trace
from watchkey.rego import Result as Evaluated
from watchkey.rego.ast import Module, Rule
from watchkey.rules.policy_input import nanoseconds

_CASES_SHOWN: Final = 10

LIMITS = Limits(steps=5_000_000)
"""The budget of one Rego test: many evaluations of a decision, and still an end."""


class Status(StrEnum):
    """How a test ended."""

    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    """It could not be run to its end, so nothing is known."""
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One test and how it ended; `seconds` by the monotonic clock."""

    name: str
    location: Location
    status: Status
    message: str = ""
    prints: tuple[str, ...] = ()
    seconds: float = 0.0


# --- tests in Rego -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RegoTest:
    """One `test_` rule of a policy; `why_not` says what keeps it from being run."""

    query: str
    location: Location
    path: tuple[str, ...] = ()
    """From `data` to the rule."""
    part: int = 0
    """Which rule of that name."""
    is_alone: bool = True
    """Whether it is the only one of its name."""
    is_todo: bool = False
    is_table: bool = False
    """Whether its head has variables: it is true of each of its cases, or fails."""

    @property
    def name(self) -> str:
        """What it is called: its query, numbered where there are several of that name."""
        return f"{self.query}#{self.part:02}" if self.part else self.query

    why_not: str = ""


def rego_tests(modules: Mapping[str, Module]) -> Sequence[RegoTest]:
    """The tests of compiled modules in the order of the text: rules named `test_…`, and `todo_test_…` to be skipped.

    Each rule is a test of its own, also beside another of its name; the second is called `test_x#01`, as with OPA.
    """
    found: list[RegoTest] = []
    parts: Counter[str] = Counter()
    for module in modules.values():
        for rule in module.rules:
            if rule.name.startswith(("test_", "todo_test_")) and not rule.default:
                test = _rego_test(module, rule)
                found.append(replace(test, part=parts[test.query]))
                parts[test.query] += 1
    return tuple(replace(each, is_alone=parts[each.query] == 1) for each in found)


def _rego_test(module: Module, rule: Rule) -> RegoTest:
    why_not = ""
    if rule.args is not None:
        why_not = "a function is no test"
    elif rule.kind == "set":
        why_not = "a set of values is no test; write a rule, or one with the name of the case in brackets"
    elif rule.kind == "complete" and rule.path[1:]:
        why_not = "a test is a name, with nothing after it but the names of cases"
    query = ".".join([*_package(module), rule.name])
    return RegoTest(
        query=query,
        location=module.source.location(rule.at),
        path=(*_package(module), rule.name),
        is_todo=rule.name.startswith("todo_"),
        is_table=rule.kind == "object",
        why_not=why_not,
    )


def _package(module: Module) -> Iterator[str]:
    """The package as a query has it; a step that is no name would need brackets, which tests do not."""
    path = module.package if module.package[:1] == ["data"] else ["data", *module.package]
    yield from path


def run_rego_test(
    policy: Policy, test: RegoTest, data: Data, clock: Clock, *, trace_into: list[Trace] | None = None
) -> Result:
    """Run one test: it passes when the rule is true, as with `opa test`. `trace_into` collects what ran."""
    if test.is_todo:
        return Result(name=test.name, location=test.location, status=Status.SKIPPED)
    if test.why_not:
        return Result(name=test.name, location=test.location, status=Status.ERROR, message=test.why_not)
    began = clock.monotonic()
    status, message = Status.ERROR, ""
    prints: tuple[str, ...] = ()
    try:
        now_ns = nanoseconds(clock.now())
        query = policy.query(test.query) if test.is_alone else policy.rule_query(test.path, test.part)
        result = query.evaluate(data=data, now_ns=now_ns, limits=LIMITS)
        if trace_into is not None:
            traced = policy.query(test.query).evaluate(data=data, now_ns=now_ns, limits=LIMITS, trace=True)
            trace_into += [] if traced.trace is None else [traced.trace]
    except EvaluationError as error:
        message = str(error)
    else:
        prints = tuple(f"{where}: {line}" for where, line in result.prints)
        message = _table(policy, test, result, data, clock) if test.is_table else _complaint(result)
        status = Status.FAILED if message else Status.PASSED
    return Result(
        name=test.name,
        location=test.location,
        status=status,
        message=message,
        prints=prints,
        seconds=clock.monotonic() - began,
    )


def _complaint(result: Evaluated) -> str:
    """Why a test of one rule fails; nothing where it passes."""
    if not result.defined:
        return "it is undefined"
    return "" if result.json() is True else f"it is {_shown(result.json())}"


def _table(policy: Policy, test: RegoTest, result: Evaluated, data: Data, clock: Clock) -> str:
    """Which cases of a test with variables in its head are not true; nothing where all are, as with `opa test`.

    A case that fails is not in the rule's value at all, so the cases are asked for apart.
    """
    asked = policy.cases_query(test.path, test.part).evaluate(data=data, now_ns=nanoseconds(clock.now()), limits=LIMITS)
    held = set(_true_cases(result.json() if result.defined else {}, ()))
    cases = {tuple(map(_key, case)) for case in asked.json()}
    wrong = sorted(" / ".join(case) for case in cases - held)
    if not cases:
        return "it has no case"
    listed = ", ".join(wrong[:_CASES_SHOWN]) + (" …" if len(wrong) > _CASES_SHOWN else "")
    return f"{len(wrong)} of {len(cases)} cases are not true: {listed}" if wrong else ""


def _true_cases(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if value is True:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _true_cases(inner, (*path, key))


def _key(value: Any) -> str:
    """The name of a case as a key of JSON has it."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _shown(value: Any) -> str:
    text = {True: "true", False: "false", None: "null"}.get(value) if isinstance(value, bool | None) else repr(value)
    return str(text)[:200]


# --- coverage ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which lines of a file hold something that can run, and which of them ran in some test."""

    file: str
    lines: frozenset[int]
    ran: frozenset[int]

    @property
    def missed(self) -> Sequence[int]:
        """The lines that no test ran."""
        return sorted(self.lines - self.ran)

    @property
    def percent(self) -> float:
        """The share of lines that ran, 0 to 100; 100 when there is none."""
        return 100.0 * len(self.lines & self.ran) / len(self.lines) if self.lines else 100.0


def renamed(trace: Trace, names: Mapping[str, str]) -> Trace:
    """The trace with its files called as in `names`; those that are not in there keep their name."""

    def placed(place: Location) -> Location:
        return replace(place, file=names.get(place.file, place.file))

    bodies = [
        replace(
            body,
            location=placed(body.location),
            expressions=tuple(replace(each, location=placed(each.location)) for each in body.expressions),
        )
        for body in trace.bodies
    ]
    lines = frozenset((names.get(file, file), line) for file, line in trace.lines)
    return replace(trace, bodies=tuple(bodies), lines=lines)


def coverage_of(traces: Sequence[Trace]) -> Sequence[Coverage]:
    """What all these evaluations together covered, by file; files of tests are left out."""
    lines: dict[str, set[int]] = {}
    ran: dict[str, set[int]] = {}
    for trace in traces:
        for body in trace.bodies:
            for place in (body.location, *(expression.location for expression in body.expressions)):
                lines.setdefault(place.file, set()).add(place.line)
        for file, line in trace.lines:
            ran.setdefault(file, set()).add(line)
    return [
        Coverage(file=file, lines=frozenset(there), ran=frozenset(ran.get(file, ())))
        for file, there in sorted(lines.items())
        if file and not file.endswith("_test.rego")
    ]


# --- cases ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a case wants. None wants nothing in particular."""

    is_allow: bool
    reason: Reason | None = None
    until: datetime | None = None
    sentence: str = ""
    """A part of the sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request at one instant, on a roster as it was read, and what must come of it."""

    name: str
    location: Location
    request: AccessRequest
    at: datetime
    wanted: Wanted
    roster: str | None = "default"
    """Which roster of the file; None: none was ever read."""
    read_ago: timedelta = timedelta(0)
    """How long before `at` its last complete read was."""
    taken_at: datetime | None = None
    """What the roster itself says about when it was taken; None: when it was read."""
    more_shifts: tuple[Shift, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Instead of the policy's own, by name."""


async def run_case(case: Case, ask: Callable[[Case], Awaitable[Decision]], clock: Clock) -> Result:
    """Ask, and compare with what is wanted; every difference is told."""
    began = clock.monotonic()
    decision = await ask(case)
    wrong = tuple(_differences(case.wanted, decision))
    return Result(
        name=case.name,
        location=case.location,
        status=Status.FAILED if wrong else Status.PASSED,
        message="; ".join([*wrong, f"it said: {decision.sentence}"]) if wrong else "",
        seconds=clock.monotonic() - began,
    )


def _differences(wanted: Wanted, decision: Decision) -> Iterator[str]:
    is_allow = isinstance(decision, Allow)
    if is_allow is not wanted.is_allow:
        yield f"wanted {_word(is_allow=wanted.is_allow)}, got {_word(is_allow=is_allow)} ({decision.reason})"
    elif wanted.reason is not None and decision.reason is not wanted.reason:
        yield f"wanted the reason {wanted.reason}, got {decision.reason}"
    if wanted.until is not None:
        until = decision.until if isinstance(decision, Allow) else None
        if until != wanted.until:
            yield f"wanted an end at {wanted.until.isoformat()}, got {until.isoformat() if until else 'none'}"
    if wanted.sentence not in decision.sentence:
        yield f"wanted a sentence with {wanted.sentence!r}"


def _word(*, is_allow: bool) -> str:
    return "allow" if is_allow else "deny"
