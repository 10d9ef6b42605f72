"""Evaluates prepared queries: limits, frozen data, the query and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from watchkey.rego.errors import EvaluationError, LimitExceeded, Location
from watchkey.rego.explain import Recorder, Trace, TracedBody
from watchkey.rego.runtime import UNSET, State
from watchkey.rego.values import EMPTY_OBJECT, UNDEFINED, Object, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one evaluation.

    `steps`: rules entered, elements visited and calls made, large arguments counting more; the same evaluation always
    takes the same number. `size`: characters of a string or elements of a collection that a built-in may produce.
    `depth`: rules and functions that may be open at once.
    """

    steps: int = 1_000_000
    size: int = 1_000_000
    depth: int = 200


DEFAULT_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Data:
    """The base document under ``data``, frozen; made by `freeze`, shared by any number of evaluations."""

    document: Object = EMPTY_OBJECT


def freeze(document: Mapping[str, Any]) -> Data:
    """Freeze a JSON object for use as data. Raises MalformedValue or LimitExceeded."""
    frozen = from_json(document)
    if type(frozen) is not Object:
        message = "the data document must be an object"
        raise TypeError(message)
    return Data(frozen)


NO_DATA: Final = Data()


@dataclass(slots=True)
class Result:
    """What an evaluation gave: a frozen Rego value or UNDEFINED, the lines printed, the steps taken, the trace.

    Not frozen, because a frozen one takes three times as long to make and each decision makes one.
    """

    value: Any
    prints: tuple[tuple[Location, str], ...] = ()
    steps: int = 0
    trace: Trace | None = None

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not UNDEFINED

    def json(self) -> Any:
        """The value as plain Python; raises ValueError where it is undefined."""
        if self.value is UNDEFINED:
            message = "the result is undefined"
            raise ValueError(message)
        return to_json(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The code of a query and what is needed to run it."""

    function: Callable[[State], Any]
    slots: int
    depth: int
    places: dict[str, list[Any]]
    """For each generated module, by file name, the place in Rego of each line."""
    bodies: list[TracedBody]
    """The bodies that the code reports on; none where it is not traced."""


class Query:
    """A prepared query; safe to evaluate from several threads."""

    __slots__ = ("_prepared", "_traced", "names", "text")

    def __init__(self, text: str, names: tuple[str, ...], prepared: Prepared, traced: Callable[[], Query]) -> None:
        self.text = text
        self.names = names
        self._prepared = prepared
        self._traced = traced

    def evaluate(  # noqa: PLR0913 - each of them is optional, and has a name
        self,
        input: object = UNDEFINED,  # noqa: A002 - Rego's name for it
        data: Data = NO_DATA,
        *,
        now_ns: int | None = None,
        seed: bytes | None = None,
        host: object = None,
        limits: Limits = DEFAULT_LIMITS,
        strict_builtin_errors: bool = False,
        trace: bool = False,
    ) -> Result:
        """Evaluate. `input` is JSON as Python objects (UNDEFINED: no input), `now_ns` nanoseconds since 1970.

        With `trace` the result has a Trace: slower code, prepared at the first use, that gives the same answer.
        Raises EvaluationError where there is no answer: conflicting rules, a bound reached (LimitExceeded), input that
        is not JSON (MalformedValue), and errors of built-ins if those are strict.
        """
        prepared = self._prepared
        if prepared.depth > limits.depth:
            message = f"rules call each other {prepared.depth} deep, more than {limits.depth}"
            raise LimitExceeded(message)
        st = State(
            prepared.slots, data.document, input, limits.steps, limits.size, now_ns, seed, host, strict_builtin_errors
        )
        if trace:
            return self._traced().record(st, limits)
        value = self._value(st)
        prints = tuple(st.prints) if st.prints else ()
        return Result(value, prints, limits.steps - st.budget.left)

    def record(self, st: State, limits: Limits) -> Result:
        """Evaluate traced code with a prepared state."""
        st.memo.extend([UNSET] * (self._prepared.slots - len(st.memo)))
        recorder = st.trace = Recorder(self._prepared.bodies)
        value = self._value(st)
        lines = frozenset(recorder.lines)
        trace = Trace(bodies=tuple(recorder.bodies), progress=recorder.progress, lines=lines)
        return Result(value, tuple(st.prints), limits.steps - st.budget.left, trace)

    def _value(self, st: State) -> Any:
        try:
            value = self._prepared.function(st)
        except RecursionError:
            message = "values or rules are nested too deeply"
            raise LimitExceeded(message) from None
        except EvaluationError as problem:
            raise self._located(problem) from None
        if st.budget.left < 0:
            st.budget.exhausted()
        return value

    def _located(self, problem: EvaluationError) -> EvaluationError:
        """The error with the place in the policy where it arose."""
        trace = problem.__traceback__
        found = None
        while trace is not None:
            places = self._prepared.places.get(trace.tb_frame.f_code.co_filename)
            found = places[trace.tb_lineno - 1] if places is not None else found
            trace = trace.tb_next
        return problem.at(found[0].location(found[1])) if found is not None else problem
