"""Checks of resolved rules: unknown functions, arity, targets of ``with``, imports, deprecated built-ins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from watchkey.rego.ast import Call, Const, Expr, Module, Ref, Term, TermExpr, Var
from watchkey.rego.builtins import Builtin, registered
from watchkey.rego.errors import RegoError
from watchkey.rego.program import Program, RuleNode, walk_terms
from watchkey.rego.resolve import COMPILE_ERROR, TYPE_ERROR
from watchkey.rego.source import Source

DEPRECATED: Final = frozenset(
    {
        "any", "all", "re_match", "set_diff", "net.cidr_overlap", "cast_array", "cast_set", "cast_string",
        "cast_boolean", "cast_null", "cast_object",
    }
)  # fmt: skip

_NOT_REPLACEABLE: Final = frozenset({"eq", "rego.metadata.chain", "rego.metadata.rule", "walk", "print"})


class FunctionChecks:
    """Checks calls and modifiers against the functions there are; problems are collected in `errors`."""

    def __init__(self, source: Source, program: Program, builtins: dict[str, Builtin], *, strict: bool) -> None:
        self.source = source
        self.program = program
        self.builtins = builtins
        self.strict = strict
        self.functions = program.functions()
        self.errors: list[RegoError] = []

    def _error(self, message: str, at: int, code: str = TYPE_ERROR, hint: str = "") -> None:
        self.errors.append(self.source.error(code, message, at, hint))

    def calls(self, terms: Iterable[Term], statements: Iterable[Call]) -> None:
        """Check every call in terms; `statements` may have their result as a further argument."""
        loose = {id(call) for call in statements}
        for term in walk_terms(terms):
            if isinstance(term, Call):
                self._call(term, statement=id(term) in loose)

    def _call(self, call: Call, *, statement: bool) -> None:
        name = call.target
        if name in ("?", "print"):
            return
        arity = self.arity(name)
        if arity is None:
            self._error(f"undefined function {name}", call.at, hint=self._hint(name))
            return
        given = len(call.args)
        if given == arity or (given == arity + 1 and statement):
            if self.strict and name in DEPRECATED and name in self.builtins:
                self._error(f"deprecated built-in function calls in expression: {name}", call.at)
            return
        if name in self.builtins and name not in self.functions:
            declared = ", ".join(str(each) for each in self.builtins[name].args)
            self._error(f"{name}: arity mismatch: have {given} arguments, want ({declared})", call.at)
            return
        plural = "argument" if given == 1 else "arguments"
        self._error(f"function {name} has arity {arity}, got {given} {plural}", call.at)

    def _hint(self, name: str) -> str:
        if self.program.find_document(name) is not None:
            return "this is a rule, not a function"
        known = registered().get(name)
        if known is None:
            return ""
        if known.function is None:
            return "it reaches outside, and is not supplied here; what a decision needs stands in input and data"
        return "it needs a seed, which a decision does not have"

    def arity(self, name: str) -> int | None:
        """Arguments of a function, or None."""
        node = self.functions.get(name)
        if node is not None:
            return node.arity
        if self.program.find_document(name) is not None:
            return 0
        known = self.builtins.get(name)
        return known.arity if known is not None else None

    def modifiers(self, exprs: Iterable[Expr]) -> None:
        """Check the targets of every ``with``."""
        for expr in exprs:
            for modifier in expr.withs:
                if modifier.function:
                    self._replaced_builtin(modifier.function, modifier.at)
                elif isinstance(modifier.target, Ref) and isinstance(modifier.target.head, Var):
                    self._target(modifier.target, modifier.at)

    def _replaced_builtin(self, name: str, at: int) -> None:
        if name in _NOT_REPLACEABLE or name.startswith("internal."):
            message = f'with keyword replacing built-in function: replacement of "{name}" invalid'
            self._error(message, at, COMPILE_ERROR)

    def _target(self, target: Ref, at: int) -> None:
        head = target.head
        if not isinstance(head, Var) or head.name != "data":
            return
        node: RuleNode | None = self.program.root
        for part in target.path:
            if node is not None and node.document:
                message = "with keyword cannot partially replace virtual document(s)"
                self._error(message, at, COMPILE_ERROR)
                return
            node = node.children.get(part.value) if node is not None and isinstance(part, Const) else None


def statements_of(exprs: Iterable[Expr]) -> Iterator[Call]:
    """The calls that stand as expressions."""
    for expr in exprs:
        if isinstance(expr.node, TermExpr) and isinstance(expr.node.term, Call):
            yield expr.node.term


def import_problems(module: Module, used: set[str], *, strict: bool) -> tuple[list[RegoError], list[RegoError]]:
    """Duplicate imports; and with `strict` those that are not used, which keep nobody from looking further."""
    problems: list[RegoError] = []
    unused: list[RegoError] = []
    seen: dict[str, int] = {}
    for each in module.imports:
        if each.name in seen and (strict or module.dialect == "v1"):
            first = ".".join(next(other.path for other in module.imports if other.name == each.name))
            message = f"import must not shadow import {first}"
            problems.append(module.source.error(COMPILE_ERROR, message, each.at))
        elif strict and each.name not in used and each.name not in ("input", "data"):
            message = f"import {'.'.join(each.path)} unused"
            unused.append(module.source.error(COMPILE_ERROR, message, each.at))
        seen[each.name] = each.at
    return problems, unused


def root_problems(module: Module, *, strict: bool) -> list[RegoError]:
    """In v1, and in strict v0, rules must not be named like the root documents."""
    if module.dialect != "v1" and not strict:
        return []
    return [
        module.source.error(COMPILE_ERROR, f"rules must not shadow {rule.name} (use a different rule name)", rule.at)
        for rule in module.rules
        if rule.name in ("data", "input")
    ]
