"""Compiles modules into a Policy, and evaluates queries against it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from watchkey.rego.ast import Const, Expr, Module, Ref, Term, TermExpr, Unify, Var
from watchkey.rego.builtins import Builtin, registered
from watchkey.rego.checks import FunctionChecks, import_problems, root_problems, statements_of
from watchkey.rego.codegen import RuleEmitter, all_expressions, compile_unit, generate, is_pattern
from watchkey.rego.codegen_context import Context, mocked_functions
from watchkey.rego.codegen_trace import TracedContext
from watchkey.rego.emit import Unit
from watchkey.rego.errors import EvaluationError, LimitExceeded, Location, RegoError, RegoErrors
from watchkey.rego.explain import Recorder, Trace, TracedBody
from watchkey.rego.metadata import Metadata
from watchkey.rego.parse_modules import parse_module, parse_query
from watchkey.rego.program import Program, branch_terms, expr_terms
from watchkey.rego.resolve import ResolvedRule, Resolver
from watchkey.rego.runtime import UNSET, State
from watchkey.rego.safety import Safety, direct_vars
from watchkey.rego.source import Source
from watchkey.rego.typecheck import check_types
from watchkey.rego.types import ANY, Type
from watchkey.rego.typing import from_schema
from watchkey.rego.values import EMPTY_OBJECT, UNDEFINED, Object, from_json, to_json


class Dialect(StrEnum):
    """The version of the language that a file is written in."""

    V0 = "v0"
    V1 = "v1"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFunction:
    """A function that the host supplies to policies.

    `function` is called with the evaluation's host context and the frozen arguments; it returns a JSON or Rego value,
    ``UNDEFINED`` for no answer, or raises BuiltinError. `args` and `result` are its types; they may be left out for a
    built-in that OPA declares. Within one evaluation the same call is made once.
    """

    function: Callable[..., Any]
    args: tuple[Type, ...] | None = None
    result: Type = ANY


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an evaluation gave: a frozen Rego value or UNDEFINED, the lines printed, the steps taken, the trace."""

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


@dataclass(slots=True)
class _Generated:
    """The code of a policy for one set of replaceable functions, traced or not."""

    context: Context
    namespace: dict[str, Any]


class Query:
    """A prepared query; safe to evaluate from several threads."""

    __slots__ = ("_bodies", "_depth", "_function", "_places", "_slots", "_traced", "names", "text")

    def __init__(
        self, text: str, function: Callable[[State], Any], slots: int, names: tuple[str, ...], depth: int,
        places: dict[str, list[Any]], bodies: list[TracedBody], traced: Callable[[], Query],
    ) -> None:  # fmt: skip
        self._bodies = bodies
        self._traced = traced
        self.text = text
        self.names = names
        self._places = places
        self._function = function
        self._slots = slots
        self._depth = depth

    def evaluate(
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
        if self._depth > limits.depth:
            message = f"rules call each other {self._depth} deep, more than {limits.depth}"
            raise LimitExceeded(message)
        st = State(self._slots, data.document, input, limits.steps, limits.size)
        st.now_ns, st.seed, st.host, st.strict = now_ns, seed, host, strict_builtin_errors
        if trace:
            return self._traced().run(st, limits)
        return self.run(st, limits)

    def run(self, st: State, limits: Limits) -> Result:
        """Evaluate with a prepared state."""
        recorder = None
        if self._bodies:
            st.memo.extend([UNSET] * (self._slots - len(st.memo)))
            recorder = st.trace = Recorder(self._bodies)
        try:
            value = self._function(st)
        except RecursionError:
            message = "values or rules are nested too deeply"
            raise LimitExceeded(message) from None
        except EvaluationError as problem:
            raise self._located(problem) from None
        record = None
        if recorder is not None:
            lines = frozenset(recorder.lines)
            record = Trace(bodies=tuple(self._bodies), progress=recorder.progress, lines=lines)
        return Result(value=value, prints=tuple(st.prints), steps=limits.steps - st.budget.left, trace=record)


    def _located(self, problem: EvaluationError) -> EvaluationError:
        """The error with the place in the policy where it arose."""
        trace = problem.__traceback__
        found = None
        while trace is not None:
            places = self._places.get(trace.tb_frame.f_code.co_filename)
            found = places[trace.tb_lineno - 1] if places is not None else found
            trace = trace.tb_next
        return problem.at(found[0].location(found[1])) if found is not None else problem


class Policy:
    """Compiled modules: immutable, safe to use from several threads. Made by `compile_modules`."""

    def __init__(
        self, program: Program, rules: list[ResolvedRule], builtins: dict[str, Builtin], depths: dict[Any, int],
        modules: dict[str, Module], *, strict: bool,
    ) -> None:  # fmt: skip
        self._program = program
        self._rules = rules
        self._builtins = builtins
        self._strict = strict
        self._depth = max(depths.values(), default=0)
        self.modules = modules
        self._about = Metadata(modules.values())
        self._mocked = mocked_functions(rules, all_expressions)
        self._lock = threading.Lock()
        self._generated: dict[tuple[frozenset[str], bool], _Generated] = {}
        self._queries: dict[tuple[str, bool], Query] = {}
        self._code(self._mocked, traced=False)

    def _code(self, mocked: frozenset[str], *, traced: bool) -> _Generated:
        known = self._generated.get((mocked, traced))
        if known is None:
            make = TracedContext if traced else Context
            context = make(self._program, self._builtins, mocked)
            context.about = self._about
            known = _Generated(context, generate(context))
            self._generated[mocked, traced] = known
        return known

    def query(self, text: str) -> Query:
        """Prepare a query for one value, such as ``data.authz.decision``; raises RegoErrors."""
        return self._query(text, traced=False)

    def _query(self, text: str, *, traced: bool) -> Query:
        with self._lock:
            known = self._queries.get((text, traced))
            if known is None:
                known = self._prepare(text, bindings=False, traced=traced)
                self._queries[text, traced] = known
            return known

    def bindings_query(self, text: str, *, dialect: Dialect = Dialect.V1, keywords: tuple[str, ...] = ()) -> Query:
        """Prepare a query whose result is an array of arrays: the values of `Query.names`, one row a solution."""
        with self._lock:
            return self._prepare(text, bindings=True, dialect=dialect, keywords=keywords)

    def evaluate_query(self, text: str, **arguments: Any) -> list[dict[str, Any]]:
        """All solutions of a query, each as names and frozen values; arguments are those of `Query.evaluate`."""
        query = self.bindings_query(text)
        result = query.evaluate(**arguments)
        return [dict(zip(query.names, row, strict=True)) for row in result.value]

    def _prepare(
        self, text: str, *, bindings: bool, dialect: Dialect = Dialect.V1, keywords: tuple[str, ...] = (),
        traced: bool = False,
    ) -> Query:  # fmt: skip
        source, body = parse_query(text, str(dialect), keywords)
        resolver = Resolver(source, {}, frozenset(self._builtins), strict=False)
        resolved, declared = resolver.query(body)
        if resolver.errors or resolver.unused:
            raise RegoErrors([*resolver.errors, *resolver.unused])
        names = {name: unique for name, unique in sorted(declared.items()) if not name.startswith("_")}
        for var in sorted(_named_vars(resolved)):
            names.setdefault(var, var)
        ordered = self._checked(source, resolved, names)
        if not bindings and (len(ordered) != 1 or not isinstance(ordered[0].node, TermExpr) or names):
            raise RegoErrors([source.error("rego_compile_error", "a query for one value must be one reference", 0)])
        code = self._code(self._mocked | mocked_functions([ordered], lambda each: each), traced=traced)
        unit = Unit()
        function = _query_function(code, unit, source, ordered, names if bindings else None)
        policy_unit = code.context.unit
        places = {policy_unit.file: policy_unit.places, unit.file: unit.places}
        bodies = code.context.bodies if isinstance(code.context, TracedContext) else []

        def traced_query() -> Query:
            if not bindings:
                return self._query(text, traced=True)
            with self._lock:
                return self._prepare(text, bindings=True, dialect=dialect, keywords=keywords, traced=True)

        return Query(text, function, self._program.slots, tuple(names), self._depth, places, bodies, traced_query)

    def _checked(self, source: Source, body: list[Expr], names: dict[str, str]) -> list[Expr]:
        checks = FunctionChecks(source, self._program, self._builtins, strict=False)
        safety = Safety(source, checks.arity)
        terms = [term for expr in body for term in expr_terms(expr)]
        checks.calls(terms, statements_of(body))
        checks.modifiers(body)
        ordered = safety.order(body, set(), set(), [Var(unique, 0, name) for name, unique in names.items()])
        if checks.errors or safety.errors:
            raise RegoErrors([*checks.errors, *safety.errors])
        return ordered


def _named_vars(body: list[Expr]) -> set[str]:
    terms: list[Term] = []
    for expr in body:
        node = expr.node
        if not expr.negated:
            terms.extend(expr_terms(Expr(node, expr.at)) if isinstance(node, TermExpr | Unify) else [])
    return {name for name in direct_vars(terms) if "#" not in name}


def _query_function(
    code: _Generated, unit: Unit, source: Source, body: list[Expr], names: dict[str, str] | None
) -> Callable[[State], Any]:
    context = code.context
    unit.resume(context.unit)
    saved, context.unit, context.source, context.rule = context.unit, unit, source, None
    try:
        emitter = RuleEmitter(context)
        with emitter.function("query(st)"):
            emitter.line("M = st.memo")
            emitter.line("out = []" if names is not None else "out = UNDEF")
            with emitter.body(once=False):
                if names is not None:
                    emitter.body_of(body)
                    row = "".join(f"{emitter.bound[unique]}, " for unique in names.values())
                    emitter.line(f"out.append(({row}))")
                elif isinstance(body[0].node, TermExpr):
                    with emitter.modified(body[0].withs):
                        emitter.line(f"out = {emitter.term(body[0].node.term)}")
            emitter.line("return tuple(out)" if names is not None else "return out")
        emitter.inputs()
        unit.namespace = {**code.namespace, **unit.namespace}
        namespace = compile_unit(context)
        code.namespace.update({name: value for name, value in namespace.items() if name not in code.namespace and name != "query"})
    finally:
        context.unit = saved
        saved.resume(unit)
    function: Callable[[State], Any] = namespace["query"]
    return function


# --- compilation -----------------------------------------------------------------------------------------------------


def compile_modules(
    modules: Mapping[str, str],
    *,
    dialect: Dialect | Mapping[str, Dialect] = Dialect.V1,
    strict: bool = False,
    host_functions: Mapping[str, HostFunction] | None = None,
    input_schema: Mapping[str, Any] | None = None,
    seeded: bool = False,
) -> Policy:
    """Compile modules, given by file name, into a Policy.

    `dialect` is that of all files, or of each by name (v1 where a name is missing). `strict` adds the checks of
    ``opa check --strict``. `host_functions` are functions by name that the policy may call. `input_schema`: a JSON Schema of the
    input; what it does not have, and comparisons that it rules out, become errors. `seeded`: evaluations will bring a
    seed, so that the random built-ins exist. Raises RegoErrors with everything that was found.
    """
    try:
        return _Compiler(_builtins(host_functions or {}, seeded=seeded), strict=strict).compile(modules, dialect, input_schema)
    except RecursionError:
        error = RegoError(code="rego_compile_error", message="a policy is nested too deeply")
        raise RegoErrors([error]) from None


def _builtins(hosts: Mapping[str, HostFunction], *, seeded: bool) -> dict[str, Builtin]:
    known = registered()
    usable = {
        name: each
        for name, each in known.items()
        if each.function is not None and (seeded or not each.needs_seed)
    }
    for name, host in hosts.items():
        usable[name] = _host_builtin(name, host, known.get(name))
    return usable


def _host_builtin(name: str, host: HostFunction, declared: Builtin | None) -> Builtin:
    args = host.args if host.args is not None else declared.args if declared is not None else None
    if args is None:
        message = f"the host function {name} needs the types of its arguments"
        raise ValueError(message)
    result = host.result if host.result is not ANY or declared is None else declared.result

    def call(st: State, *values: Any) -> Any:
        st.spend(1)
        answer = host.function(st.host, *values)
        return answer if answer is UNDEFINED else from_json(answer)

    return Builtin(name=name, args=args, result=result, function=host.function, deterministic=False, call=call)


class _Compiler:
    """The stages of compilation, in order."""

    def __init__(self, builtins: dict[str, Builtin], *, strict: bool) -> None:
        self.builtins = builtins
        self.strict = strict
        self.errors: list[RegoError] = []
        self.unused: list[RegoError] = []
        self.program = Program()
        self.rules: list[ResolvedRule] = []

    def compile(
        self, sources: Mapping[str, str], dialect: Dialect | Mapping[str, Dialect], input_schema: Mapping[str, Any] | None
    ) -> Policy:
        """Run every stage; stops after the first one with errors."""
        modules = self._parse(sources, dialect)
        self._stop()
        self._resolve(modules)
        self._stop()
        self.program.check_conflicts()
        self.errors.extend(self.program.errors)
        self._stop()
        depths = self.program.check_recursion()
        self.errors.extend(self.program.errors)
        self._check_functions()
        self._order()
        self._stop()
        input_type = ANY if input_schema is None else from_schema(input_schema)
        self.errors.extend(check_types(self.program, self.builtins, input_type, depths))
        self._stop(last=True)
        self.program.assign_slots()
        return Policy(self.program, self.rules, self.builtins, depths, modules, strict=self.strict)

    def _stop(self, *, last: bool = False) -> None:
        """End with all errors so far, if there are any; what is only unused waits for the last stage."""
        if self.errors or (last and self.unused):
            unique = {(error.code, error.message, error.location): error for error in (*self.errors, *self.unused)}
            ordered = sorted(unique.values(), key=lambda each: (each.file, each.line, each.column))
            raise RegoErrors(ordered)

    def _parse(self, sources: Mapping[str, str], dialect: Dialect | Mapping[str, Dialect]) -> dict[str, Module]:
        modules: dict[str, Module] = {}
        for name, text in sources.items():
            version = dialect.get(name, Dialect.V1) if isinstance(dialect, Mapping) else dialect
            try:
                modules[name] = parse_module(name, text, str(version))
            except RegoErrors as problem:
                self.errors.extend(problem.errors)
        return modules

    def _resolve(self, modules: dict[str, Module]) -> None:
        packages: dict[tuple[str, ...], set[str]] = {}
        for module in modules.values():
            packages.setdefault(tuple(module.package), set()).update(rule.name for rule in module.rules)
        known = frozenset(self.builtins)
        for module in modules.values():
            package = tuple(module.package)
            names = {name: (*package, name) for name in packages[package]}
            names.update({each.name: tuple(each.path) for each in module.imports})
            resolver = Resolver(module.source, names, known, strict=self.strict, dialect=module.dialect)
            self.program.add_package(package)
            for rule in module.rules:
                resolved = _lift_arguments(resolver.rule(rule, module))
                self.rules.append(resolved)
                self.program.add(resolved)
            self.errors.extend(resolver.errors)
            self.unused.extend(resolver.unused)
            self.errors.extend(import_problems(module, resolver.used_globals, strict=self.strict))
            self.errors.extend(root_problems(module))

    def _check_functions(self) -> None:
        for rule in self.rules:
            checks = FunctionChecks(rule.source, self.program, self.builtins, strict=self.strict or self._is_v1(rule))
            terms = _rule_terms(rule)
            exprs = list(all_expressions(rule))
            checks.calls(terms, statements_of(exprs))
            checks.modifiers(exprs)
            self.errors.extend(checks.errors)

    @staticmethod
    def _is_v1(rule: ResolvedRule) -> bool:
        return rule.module is not None and rule.module.dialect == "v1"

    def _order(self) -> None:
        for rule in self.rules:
            checks = FunctionChecks(rule.source, self.program, self.builtins, strict=False)
            safety = Safety(rule.source, checks.arity)
            bound = direct_vars(rule.args or [])
            for index, branch in enumerate(rule.branches):
                after = [branch.value] if branch.value is not None else []
                if not index:
                    after = [*rule.dynamic, *([rule.key] if rule.key is not None else []), *after]
                branch.body = safety.order(branch.body, bound, bound, after)
            self.errors.extend(safety.errors)


def _lift_arguments(rule: ResolvedRule) -> ResolvedRule:
    """Arguments that have to be evaluated become variables, compared in each body."""
    for index, arg in enumerate(rule.args or []):
        if rule.args is None or is_pattern(arg):
            continue
        holder = Var(f"arg#{index}", arg.at, "_arg")
        rule.args[index] = holder
        for branch in rule.branches:
            branch.body.append(Expr(Unify(holder, arg), arg.at, arg.at))
    return rule


def _rule_terms(rule: ResolvedRule) -> list[Term]:
    terms: list[Term] = [*(rule.args or []), *rule.dynamic]
    if rule.key is not None:
        terms.append(rule.key)
    for branch in rule.branches:
        terms.extend(branch_terms(branch))
    return terms


def is_reference(term: Term) -> bool:
    """Whether a term is a reference without variables."""
    return isinstance(term, Ref) and all(isinstance(part, Const) for part in term.path)


def describe_failure(error: EvaluationError) -> str:
    """One line about an evaluation that ended without an answer."""
    return str(error)


def every_name(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order."""
    return tuple(sorted(names))
