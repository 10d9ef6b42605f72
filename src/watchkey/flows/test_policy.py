"""Run the tests of a policy: `test_` rules in Rego, and cases that say which decision a request must get, and why."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from watchkey.model.access import AccessRequest, Allow, Decision, Reason
from watchkey.model.oncall import Shift
from watchkey.ports import Clock
from watchkey.rego import Data, EvaluationError, Limits, Location, Policy, Trace
from watchkey.rego.ast import Const, Module, Rule, Var
from watchkey.rules.policy_input import nanoseconds

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
    is_todo: bool = False
    why_not: str = ""


def rego_tests(modules: Mapping[str, Module]) -> Sequence[RegoTest]:
    """The tests of compiled modules in the order of the text: rules named `test_…`, and `todo_test_…` to be skipped."""
    found: dict[str, RegoTest] = {}
    for module in modules.values():
        for rule in module.rules:
            if rule.name.startswith(("test_", "todo_test_")) and not rule.default:
                test = _rego_test(module, rule)
                before = found.setdefault(test.query, test)
                if test.why_not and not before.why_not:
                    found[test.query] = test
    return tuple(found.values())


def _rego_test(module: Module, rule: Rule) -> RegoTest:
    why_not = ""
    if rule.args is not None:
        why_not = "a function is no test"
    elif rule.kind != "complete" or not all(isinstance(step, Var | Const) for step in rule.path[:1]) or rule.path[1:]:
        why_not = "of a rule with a variable in its head, cases that fail would be missing rather than false"
    query = ".".join([*_package(module), rule.name])
    return RegoTest(
        query=query,
        location=module.source.location(rule.at),
        is_todo=rule.name.startswith("todo_"),
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
        return Result(name=test.query, location=test.location, status=Status.SKIPPED)
    if test.why_not:
        return Result(name=test.query, location=test.location, status=Status.ERROR, message=test.why_not)
    began = clock.monotonic()
    status, message = Status.ERROR, ""
    prints: tuple[str, ...] = ()
    try:
        result = policy.query(test.query).evaluate(
            data=data, now_ns=nanoseconds(clock.now()), limits=LIMITS, trace=trace_into is not None
        )
        if trace_into is not None and result.trace is not None:
            trace_into.append(result.trace)
    except EvaluationError as error:
        message = str(error)
    else:
        prints = tuple(f"{where}: {line}" for where, line in result.prints)
        is_true = result.defined and result.json() is True
        status = Status.PASSED if is_true else Status.FAILED
        message = "" if is_true else f"it is {_shown(result.json())}" if result.defined else "it is undefined"
    return Result(
        name=test.query,
        location=test.location,
        status=status,
        message=message,
        prints=prints,
        seconds=clock.monotonic() - began,
    )


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
