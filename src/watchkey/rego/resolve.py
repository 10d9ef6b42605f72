"""Resolves names: imports and rules become references into ``data``, declared variables get unique names.

After this stage a variable's name says which variable it is within its rule, every function call has a `target`, and
``some`` declarations are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Every,
    Expr,
    Logical,
    Module,
    Not,
    ObjectTerm,
    Ref,
    Rule,
    SetTerm,
    Some,
    SomeIn,
    Template,
    Term,
    TermExpr,
    Unify,
    Var,
    With,
)
from watchkey.rego.errors import RegoError
from watchkey.rego.source import Source
from watchkey.rego.values import EMPTY_OBJECT, TRUE, Object, Set

COMPILE_ERROR: Final = "rego_compile_error"
TYPE_ERROR: Final = "rego_type_error"
ROOTS: Final = frozenset({"data", "input"})


@dataclass(slots=True)
class Branch:
    """One body of a rule with its value; the branches after the first are ``else``."""

    value: Term | None
    body: list[Expr]
    at: int
    end: int


@dataclass(slots=True)
class ResolvedRule:
    """A rule ready for analysis: `prefix` is its path from ``data`` up to the first variable, `dynamic` the rest."""

    source: Source
    at: int
    prefix: tuple[Any, ...]
    dynamic: list[Term]
    kind: str
    args: list[Term] | None
    key: Term | None
    branches: list[Branch]
    default: bool
    package: tuple[str, ...]
    module: Module | None = None

    @property
    def name(self) -> str:
        """The path with dots."""
        return dotted(self.prefix)


def dotted(path: Iterable[Any]) -> str:
    """``data.a["b c"]`` for a path of keys."""
    text = ""
    for key in path:
        if isinstance(key, str) and key.isidentifier():
            text += f".{key}" if text else key
        else:
            text += f'["{key}"]' if isinstance(key, str) else f"[{key}]"
    return text


@dataclass(slots=True)
class Scope:
    """The names of one body: declared ones, those that will be declared further down, and those used before that."""

    names: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    places: dict[str, int] = field(default_factory=dict)


class Resolver:
    """Resolves the rules of one module, or a query; errors are collected in `errors`."""

    def __init__(
        self, source: Source, names: dict[str, tuple[str, ...]], builtins: frozenset[str], *, strict: bool,
        dialect: str = "v1",
    ) -> None:  # fmt: skip
        self.source = source
        self.globals = names
        self.builtins = builtins
        self.strict = strict
        self.dialect = dialect
        self.errors: list[RegoError] = []
        self.deferred: list[RegoError] = []
        """Names that are unused or shadow a root: they keep nobody from looking further."""
        self.used_globals: set[str] = set()
        self._scopes: list[Scope] = []
        self._count = 0

    # --- rules -------------------------------------------------------------------------------------------------------

    def rule(self, rule: Rule, module: Module) -> ResolvedRule:
        """One rule with all its else branches."""
        self._scopes = [Scope()]
        args = self._arguments(rule)
        branches: list[Branch] = []
        key: Term | None = None
        path: list[Term] = []
        each: Rule | None = rule
        while each is not None:
            scope = self._enter(each.body)
            body = self._body(each.body)
            if each is rule:
                path = [self.term(part) for part in each.path[1:]]
                key = self.term(each.key) if each.key is not None else None
            value = self.term(each.value) if each.value is not None else None
            self._leave(scope)
            branches.append(Branch(value, body, each.at, each.end))
            each = each.otherwise
        self._check_arguments()
        prefix, dynamic = _split_path((*module.package, rule.name), path)
        return ResolvedRule(
            self.source, rule.at, prefix, dynamic, rule.kind, args, key, branches, rule.default,
            tuple(module.package), module,
        )  # fmt: skip

    def _arguments(self, rule: Rule) -> list[Term] | None:
        if rule.args is None:
            return None
        scope = self._scopes[-1]
        for name, at in _pattern_names(rule.args):
            if name not in scope.names:
                scope.names[name] = self._unique(name)
                scope.kinds[name] = "arg"
                scope.places[name] = at
        args = [self.term(arg) for arg in rule.args]
        listed = [name for name, _ in _pattern_names(rule.args)]
        scope.used = {name for name in listed if listed.count(name) > 1}
        return args

    def _check_arguments(self) -> None:
        scope = self._scopes[0]
        if not self.strict:
            return
        for name in scope.names:
            if name not in scope.used and not name.startswith("_#"):
                hint = "use _ (wildcard variable) instead"
                self._defer(f"unused argument {name}. (hint: {hint})", scope.places[name])

    # --- queries -----------------------------------------------------------------------------------------------------

    def query(self, body: list[Expr]) -> tuple[list[Expr], dict[str, str]]:
        """A query's body, and its variables: shown name to unique name."""
        self._scopes = [Scope()]
        scope = self._enter(body)
        resolved = self._body(body)
        self._scopes.pop()
        return resolved, dict(scope.names)

    # --- scopes ------------------------------------------------------------------------------------------------------

    def _unique(self, name: str) -> str:
        self._count += 1
        return f"{name}#{self._count}"

    def _enter(self, body: list[Expr]) -> Scope:
        scope = Scope(pending=set(_declared_names(body)))
        self._scopes.append(scope)
        return scope

    def _leave(self, scope: Scope) -> None:
        self._scopes.pop()
        for name, kind in scope.kinds.items():
            if name in scope.used or name.startswith("_"):
                continue
            if kind == "declared" or (kind == "assigned" and self.strict):
                self._defer(f"{kind} var {name} unused", scope.places[name])

    def _defer(self, message: str, at: int) -> None:
        self.deferred.append(self.source.error(COMPILE_ERROR, message, at))

    def _declare(self, name: str, kind: str, at: int) -> str:
        scope = self._scopes[-1]
        if name.startswith("_#"):
            return name
        if name in scope.kinds:
            self._error(f"var {name} {scope.kinds[name]} above", at)
        elif name in scope.seen:
            self._error(f"var {name} referenced above", at)
        elif len(self._scopes) == 2 and self._scopes[0].kinds.get(name) == "arg":
            self._error(f"arg {name} redeclared", at)
        elif (self.strict or self.dialect == "v1") and name in ROOTS:
            self._defer(f"variables must not shadow {name} (use a different variable name)", at)
        unique = self._unique(name)
        scope.names[name] = unique
        scope.kinds[name] = kind
        scope.places[name] = at
        scope.pending.discard(name)
        return unique

    def _find(self, name: str) -> str | None:
        """The unique name of a local variable, or None where the name is not declared in any scope."""
        innermost = self._scopes[-1]
        for scope in reversed(self._scopes):
            if name in scope.names:
                scope.used.add(name)
                return scope.names[name]
            if name in scope.pending:
                if scope is innermost:
                    scope.seen.add(name)
                return name
        return None

    def _error(self, message: str, at: int, code: str = COMPILE_ERROR) -> None:
        self.errors.append(self.source.error(code, message, at))

    # --- bodies ------------------------------------------------------------------------------------------------------

    def _scoped_body(self, body: list[Expr]) -> list[Expr]:
        scope = self._enter(body)
        resolved = self._body(body)
        self._leave(scope)
        return resolved

    def _body(self, body: list[Expr]) -> list[Expr]:
        found = [resolved for expr in body if (resolved := self._expr(expr)) is not None]
        if not found and body:
            found.append(Expr(TermExpr(Const(TRUE, body[0].at)), body[0].at, body[0].end))
        return found

    def _expr(self, expr: Expr) -> Expr | None:
        node = self._node(expr)
        if node is None:
            return None
        withs = [found for each in expr.withs if (found := self._with(each)) is not None]
        return Expr(node, expr.at, expr.end, expr.negated, withs)

    def _node(self, expr: Expr) -> Any:  # noqa: PLR0911 - one return for each kind of node
        node = expr.node
        if isinstance(node, TermExpr):
            return TermExpr(self.term(node.term))
        if isinstance(node, Unify):
            return self._unify(node, expr)
        if isinstance(node, Some):
            for name in node.names:
                self._declare(name.name, "declared", name.at)
            return None
        if isinstance(node, SomeIn):
            return self._some_in(node, expr)
        if isinstance(node, Every):
            return self._every(node)
        if isinstance(node, Not):
            if not node.explicit:
                self._no_assignment(node.body, "cannot assign vars inside negated expression")
                return Not(self._body(node.body), explicit=False)
            return Not(self._scoped_body(node.body))
        return Logical(
            node.word, self._operand(node.left, node.word), self._operand(node.right, node.word), node.braced
        )

    def _operand(self, body: list[Expr], word: str) -> list[Expr]:
        if len(body) == 1 and isinstance(body[0].node, Unify):
            self._no_assignment(body, f"cannot assign vars inside operand of `{word}`", only_single=True)
        return self._scoped_body(body)

    def _no_assignment(self, body: list[Expr], message: str, *, only_single: bool = False) -> None:
        if only_single:
            return
        for expr in body:
            if isinstance(expr.node, Unify) and expr.node.assign:
                self._error(message, expr.at)

    def _unify(self, node: Unify, expr: Expr) -> Unify:
        if not node.assign:
            return Unify(self.term(node.left), self.term(node.right))
        if expr.negated:
            self._error("cannot assign vars inside negated expression", expr.at)
        right = self.term(node.right)
        return Unify(self._assigned(node.left), right, assign=True)

    def _assigned(self, term: Term) -> Term:
        """The left side of ``:=``: declares its variables."""
        if isinstance(term, Var):
            return Var(self._declare(term.name, "assigned", term.at), term.at, term.shown)
        if isinstance(term, Array):
            return Array([self._assigned(item) for item in term.items], term.at)
        if isinstance(term, ObjectTerm):
            return ObjectTerm([(self.term(key), self._assigned(value)) for key, value in term.pairs], term.at)
        if isinstance(term, Const) and isinstance(term.value, tuple | Object):
            return term
        self._error(f"cannot assign to {kind_name(term)}", _place(term))
        return term

    def _some_in(self, node: SomeIn, expr: Expr) -> SomeIn:
        bound = [(name, at) for term in (node.key, node.value) if term is not None for name, at in _outputs(term)]
        inside = {name for name, _ in _outputs(node.domain)}
        for name, _ in bound:
            if name in inside and not name.startswith("_#"):
                self._error(f"var {name} assigned before", expr.at)
        domain = self.term(node.domain)
        for name, at in dict(bound).items():
            self._declare(name, "declared", at)
        key = self.term(node.key) if node.key is not None else None
        return SomeIn(key, self.term(node.value), domain)

    def _every(self, node: Every) -> Every:
        domain = self.term(node.domain)
        outer = Scope()
        self._scopes.append(outer)
        key = self._every_variable(node.key) if node.key is not None else None
        value = self._every_variable(node.value)
        body = self._scoped_body(node.body)
        self._scopes.pop()
        for name, kind in outer.kinds.items():
            if kind == "declared" and name not in outer.used:
                self._defer(f"declared var {name} unused", outer.places[name])
        return Every(key, value, domain, body)

    def _every_variable(self, var: Var) -> Var:
        return Var(self._declare(var.name, "declared", var.at), var.at, var.shown)

    # --- modifiers ---------------------------------------------------------------------------------------------------

    def _with(self, modifier: With) -> With | None:
        path = _path_of(modifier.target)
        names = [str(part.value) for part in path[1:] if isinstance(part, Const) and isinstance(part.value, str)]
        head = path[0]
        if not isinstance(head, Var):
            self._error("with keyword target must be a reference", modifier.at)
            return None
        if len(names) == len(path) - 1 and ".".join([head.name, *names]) in self.builtins and head.name not in ROOTS:
            return self._with_value(modifier, modifier.target, ".".join([head.name, *names]))
        root = self._root_of(head)
        if root is None:
            message = "with keyword target must reference existing input, data, or a function"
            self._error(message, modifier.at, TYPE_ERROR)
            return None
        rest = [self.term(part) for part in path[1:]]
        if any(not isinstance(part, Const) for part in rest):
            self._error("with keyword target must be ground", modifier.at, TYPE_ERROR)
            return None
        base = [Const(name, head.at) for name in root[1:]]
        target = Ref(Var(root[0], head.at, root[0]), [*base, *rest], modifier.target.at)
        return self._with_value(modifier, target, "")

    def _root_of(self, head: Var) -> tuple[str, ...] | None:
        if head.name in ROOTS:
            return (head.name,)
        if self._find(head.name) is None and head.name in self.globals:
            self.used_globals.add(head.name)
            return self.globals[head.name]
        return None

    def _with_value(self, modifier: With, target: Ref | Var, function: str) -> With:
        value = modifier.value
        if isinstance(value, Var | Ref):
            path = _path_of(value)
            head = path[0]
            names = [part.value for part in path[1:] if isinstance(part, Const) and isinstance(part.value, str)]
            if isinstance(head, Var) and len(names) == len(path) - 1:
                name = ".".join([head.name, *names])
                if name in self.builtins and self._find(head.name) is None and head.name not in self.globals:
                    return With(target, Const(TRUE, modifier.at), modifier.at, function, name)
        return With(target, self.term(value), modifier.at, function)

    # --- terms -------------------------------------------------------------------------------------------------------

    def term(self, term: Term) -> Term:  # noqa: PLR0911 - one return for each kind of term
        """A term with its names resolved; composites of constants become constants."""
        if isinstance(term, Const):
            return term
        if isinstance(term, Var):
            return self._variable(term)
        if isinstance(term, Ref):
            return self._reference(term)
        if isinstance(term, Call):
            return self._call(term)
        if isinstance(term, Array):
            return fold(Array([self.term(item) for item in term.items], term.at))
        if isinstance(term, SetTerm):
            return fold(SetTerm([self.term(item) for item in term.items], term.at))
        if isinstance(term, ObjectTerm):
            return fold(ObjectTerm([(self.term(k), self.term(v)) for k, v in term.pairs], term.at))
        if isinstance(term, Template):
            parts = [part if isinstance(part, str) else self._part(part) for part in term.parts]
            return Template(parts, term.at)
        return self._comprehension(term)

    def _part(self, expr: Expr) -> Expr:
        scope = self._enter([])
        resolved = self._expr(expr)
        self._leave(scope)
        return resolved if resolved is not None else expr

    def _variable(self, var: Var) -> Term:
        if var.wildcard:
            return var
        local = self._find(var.name)
        if local is not None:
            return Var(local, var.at, var.shown)
        if var.name in ROOTS:
            return Ref(var, [], var.at)
        if var.name in self.globals:
            self.used_globals.add(var.name)
            return _global_reference(self.globals[var.name], [], var.at)
        self._scopes[-1].seen.add(var.name)
        return var

    def _reference(self, ref: Ref) -> Term:
        path = [self.term(part) for part in ref.path]
        if not isinstance(ref.head, Var):
            return Ref(self.term(ref.head), path, ref.at)
        head = self._variable(ref.head)
        if isinstance(head, Ref):
            return Ref(head.head, [*head.path, *path], ref.at)
        return Ref(head, path, ref.at)

    def _call(self, call: Call) -> Call:
        args = [self.term(arg) for arg in call.args]
        if call.target:
            return Call(call.operator, args, call.at, call.target, call.infix)
        path = _path_of(call.operator)
        head = path[0]
        names = [part.value for part in path[1:] if isinstance(part, Const) and isinstance(part.value, str)]
        if not isinstance(head, Var) or len(names) != len(path) - 1:
            self._error("the operator of a call must be a name", call.at)
            return Call(call.operator, args, call.at, "?")
        shown = ".".join([head.name, *names])
        local = self._find(head.name)
        if local is not None and head.name not in ROOTS:
            self._error(f"called function {shown} shadowed", call.at)
            return Call(call.operator, args, call.at, "?")
        if head.name in self.globals:
            self.used_globals.add(head.name)
            shown = dotted((*self.globals[head.name], *names))
        return Call(call.operator, args, call.at, shown)

    def _comprehension(self, term: Comprehension) -> Comprehension:
        scope = self._enter(term.body)
        body = self._body(term.body)
        key = self.term(term.key) if term.key is not None else None
        value = self.term(term.value)
        self._leave(scope)
        return Comprehension(term.kind, value, body, term.at, key)


# --- pieces ----------------------------------------------------------------------------------------------------------


def _global_reference(path: tuple[str, ...], rest: list[Term], at: int) -> Ref:
    return Ref(Var(path[0], at, path[0]), [*[Const(name, at) for name in path[1:]], *rest], at)


def _path_of(term: Term) -> list[Term]:
    return [term.head, *term.path] if isinstance(term, Ref) else [term]


def _split_path(base: tuple[str, ...], path: list[Term]) -> tuple[tuple[Any, ...], list[Term]]:
    prefix: list[Any] = list(base)
    for index, part in enumerate(path):
        if not isinstance(part, Const):
            return tuple(prefix), path[index:]
        prefix.append(part.value)
    return tuple(prefix), []


def _place(term: Term) -> int:
    return term.at


def kind_name(term: Term) -> str:
    """What a term is, in the words of error messages."""
    if isinstance(term, Const):
        from watchkey.rego.values import type_name  # noqa: PLC0415 - only for messages

        return type_name(term.value)
    names = {Var: "var", Ref: "ref", Call: "call", Array: "array", ObjectTerm: "object", SetTerm: "set"}
    return names.get(type(term), "comprehension")


def fold(term: Array | SetTerm | ObjectTerm) -> Term:
    """A composite whose parts are all constants, as a constant."""
    if isinstance(term, ObjectTerm):
        if not term.pairs:
            return Const(EMPTY_OBJECT, term.at)
        if not all(isinstance(k, Const) and isinstance(v, Const) for k, v in term.pairs):
            return term
        merged: dict[Any, Any] = {}
        for key, value in term.pairs:
            if isinstance(key, Const) and isinstance(value, Const):
                if key.value in merged and merged[key.value] != value.value:
                    return term
                merged[key.value] = value.value
        return Const(Object(merged), term.at)
    values = [item.value for item in term.items if isinstance(item, Const)]
    if len(values) != len(term.items):
        return term
    return Const(tuple(values) if isinstance(term, Array) else Set(values), term.at)


def _pattern_names(terms: Iterable[Term]) -> Iterator[tuple[str, int]]:
    """Variables of argument patterns, outside of look-ups and calls."""
    for term in terms:
        if isinstance(term, Var):
            yield term.name, term.at
        elif isinstance(term, Array | SetTerm):
            yield from _pattern_names(term.items)
        elif isinstance(term, ObjectTerm):
            yield from _pattern_names(value for _, value in term.pairs)
        elif isinstance(term, Template):
            for part in term.parts:
                if isinstance(part, Expr) and isinstance(part.node, TermExpr):
                    yield from _pattern_names([part.node.term])


def _outputs(term: Term) -> Iterator[tuple[str, int]]:
    """Variables that evaluating or matching a term can bind: not heads of references, not closures."""
    if isinstance(term, Var):
        yield term.name, term.at
    elif isinstance(term, Ref):
        if not isinstance(term.head, Var):
            yield from _outputs(term.head)
        for part in term.path:
            yield from _outputs(part)
    elif isinstance(term, Array):
        for item in term.items:
            yield from _outputs(item)
    elif isinstance(term, ObjectTerm):
        for _, value in term.pairs:
            yield from _outputs(value)


def _declared_names(body: list[Expr]) -> Iterator[str]:
    for expr in body:
        node = expr.node
        if isinstance(node, Unify) and node.assign:
            yield from _assigned_names(node.left)
        elif isinstance(node, Some):
            yield from (name.name for name in node.names)
        elif isinstance(node, SomeIn):
            for term in (node.key, node.value):
                if term is not None:
                    yield from (name for name, _ in _outputs(term))


def _assigned_names(term: Term) -> Iterator[str]:
    if isinstance(term, Var):
        yield term.name
    elif isinstance(term, Array):
        for item in term.items:
            yield from _assigned_names(item)
    elif isinstance(term, ObjectTerm):
        for _, value in term.pairs:
            yield from _assigned_names(value)
