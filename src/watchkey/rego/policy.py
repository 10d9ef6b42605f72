"""A compiled policy: prepares queries and keeps their code."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from watchkey.rego.ast import Expr, Module, Term, TermExpr, Unify, Var
from watchkey.rego.builtins import Builtin
from watchkey.rego.checks import FunctionChecks, statements_of
from watchkey.rego.codegen import RuleEmitter, all_expressions, compile_unit, generate
from watchkey.rego.codegen_context import Context, mocked_functions
from watchkey.rego.codegen_trace import TracedContext
from watchkey.rego.cursor import Dialect
from watchkey.rego.errors import RegoErrors
from watchkey.rego.evaluation import Prepared, Query
from watchkey.rego.metadata import Metadata
from watchkey.rego.parse_modules import parse_query
from watchkey.rego.program import Program, RuleNode, expr_terms
from watchkey.rego.resolve import ResolvedRule, Resolver, dotted
from watchkey.rego.runtime import State
from watchkey.rego.safety import Safety, direct_vars
from watchkey.rego.source import Source

MAX_QUERIES: Final = 256
"""Prepared queries that a policy keeps."""


@dataclass(slots=True)
class _Generated:
    """The code of a policy for one set of replaceable functions, traced or not."""

    context: Context
    namespace: dict[str, Any]


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
        known = self._queries.get((text, traced))
        if known is None:
            if len(self._queries) >= MAX_QUERIES:
                self._queries.clear()
            known = self._prepare(text, bindings=False, traced=traced)
            self._queries[text, traced] = known
        return known

    def bindings_query(self, text: str, *, dialect: Dialect = Dialect.V1, keywords: tuple[str, ...] = ()) -> Query:
        """Prepare a query whose result is an array of arrays: the values of `Query.names`, one row a solution."""
        return self._prepare(text, bindings=True, dialect=dialect, keywords=keywords)

    def rule_query(self, path: tuple[str, ...], part: int) -> Query:
        """The value of a document had it but one of its rules, number `part`; `path` leads from ``data`` to it."""
        return self._alone(path, part, _alone_function)

    def cases_query(self, path: tuple[str, ...], part: int) -> Query:
        """What stands in the place of the variables in the head of one rule, as a set of arrays: its cases.

        All that its body comes to, whether it holds in the end or not: it is followed only until these variables are
        bound. Arguments as with `rule_query`.
        """
        return self._alone(path, part, _cases_function)

    def _alone(self, path: tuple[str, ...], part: int, write: Callable[[RuleEmitter, RuleNode], None]) -> Query:
        node = copy.copy(self._program.find(path))
        if node is None:
            message = f"there is no rule {dotted(path)}"
            raise KeyError(message)
        node.rules, node.children, node.default = [node.rules[part]], {}, None
        code = self._code(self._mocked, traced=False)
        context = code.context.fork()
        node.slot, context.slots = context.slots, context.slots + 1
        write(RuleEmitter(context), node)
        context.unit.namespace = {**code.namespace, **context.unit.namespace}
        function: Callable[[State], Any] = compile_unit(context)["query"]
        places = {each.file: each.places for each in (code.context.unit, context.unit)}
        prepared = Prepared(function=function, slots=context.slots, depth=self._depth, places=places, bodies=[])
        text = dotted(path)
        return Query(text, (), prepared, lambda: self._query(text, traced=True))

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
        if resolver.errors or resolver.deferred:
            raise RegoErrors([*resolver.errors, *resolver.deferred])
        names = {name: unique for name, unique in sorted(declared.items()) if not name.startswith("_")}
        for var in sorted(_named_vars(resolved)):
            names.setdefault(var, var)
        ordered = self._checked(source, resolved, names)
        is_term = len(ordered) == 1 and isinstance(ordered[0].node, TermExpr) and not ordered[0].negated
        if not bindings and (not is_term or names):
            raise RegoErrors([source.error("rego_compile_error", "a query for one value must be one reference", 0)])
        code = self._code(self._mocked | mocked_functions([ordered], lambda each: each), traced=traced)
        context = code.context.fork()
        context.source = source
        function = _query_function(context, code.namespace, ordered, names if bindings else None)
        policy_unit = code.context.unit
        places = {policy_unit.file: policy_unit.places, context.unit.file: context.unit.places}
        bodies = code.context.bodies if isinstance(code.context, TracedContext) else []

        def traced_query() -> Query:
            if not bindings:
                return self._query(text, traced=True)
            return self._prepare(text, bindings=True, dialect=dialect, keywords=keywords, traced=True)

        prepared = Prepared(function=function, slots=context.slots, depth=self._depth, places=places, bodies=bodies)
        return Query(text, tuple(names), prepared, traced_query)

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
    context: Context, namespace: dict[str, Any], body: list[Expr], names: dict[str, str] | None
) -> Callable[[State], Any]:
    """Generate the function of a query in a context of its own, next to the functions of the policy."""
    emitter = RuleEmitter(context)
    with emitter.function("query(st)"):
        emitter.line("M = st.memo")
        emitter.line("out = []" if names is not None else "out = UNDEF")
        with emitter.body(once=False):
            if names is not None:
                emitter.body_of(body)
                row = "".join(f"{emitter.frozen(emitter.bound[unique])}, " for unique in names.values())
                emitter.line(f"out.append(({row}))")
            elif isinstance(body[0].node, TermExpr):
                with emitter.modified(body[0].withs):
                    emitter.line(f"out = {emitter.term(body[0].node.term)}")
        emitter.line("return tuple(out)" if names is not None else "return out")
    context.unit.namespace = {**namespace, **context.unit.namespace}
    function: Callable[[State], Any] = compile_unit(context)["query"]
    return function


def _alone_function(emitter: RuleEmitter, node: RuleNode) -> None:
    emitter.document(node)
    with emitter.function("query(st)"):
        emitter.line(f"return r{node.slot}(st)")


def _cases_function(emitter: RuleEmitter, node: RuleNode) -> None:
    """Follow the body of a rule until the variables of its head are bound."""
    (rule,) = node.rules
    wanted = direct_vars(rule.dynamic)
    with emitter.function("query(st)"):
        emitter.line("M = st.memo")
        emitter.line("out = set()")
        emitter.context.source, emitter.context.rule = rule.source, rule
        with emitter.body(once=False):
            for expr in rule.branches[0].body:
                if wanted <= emitter.known():
                    break
                emitter.body_of([expr])
            parts = "".join(f"{part}, " for part in emitter.terms(rule.dynamic))
            emitter.line(f"add(st, out, ({parts}))")
        emitter.line("return Set(out)")
