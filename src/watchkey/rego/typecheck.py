"""Checks the static types of a policy: arguments of functions, look-ups that cannot exist, comparisons never equal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Every,
    Expr,
    Logical,
    Not,
    ObjectTerm,
    Ref,
    SetTerm,
    SomeIn,
    Template,
    Term,
    TermExpr,
    Unify,
    Var,
    With,
)
from watchkey.rego.builtins import Builtin
from watchkey.rego.errors import RegoError
from watchkey.rego.parse_terms import MEMBER
from watchkey.rego.program import Program, RuleNode
from watchkey.rego.resolve import ROOTS, TYPE_ERROR, Branch, ResolvedRule, dotted
from watchkey.rego.source import Source
from watchkey.rego.types import ANY, BOOLEAN, STRING, Mapping, SetOf, Type, Union, array_of, object_of
from watchkey.rego.types import Array as ArrayType
from watchkey.rego.typing import (
    compatible,
    has_empty_set,
    keys_of,
    limited,
    object_type,
    selected,
    type_of,
    union,
    values_of,
)
from watchkey.rego.values import Object, Set

_COMPARED: Final = frozenset({"eq", "equal"})


class TypeChecker:
    """Infers the types of rules in the order of their dependencies; problems are collected in `errors`."""

    def __init__(self, program: Program, builtins: dict[str, Builtin], input_type: Type) -> None:
        self.program = program
        self.builtins = builtins
        self.input_type = input_type
        self.errors: list[RegoError] = []
        self.functions = program.functions()
        self._documents: dict[tuple[Any, ...], Type] = {}
        self._results: dict[str, Type] = {}

    def check(self, depths: dict[tuple[Any, ...], int]) -> None:
        """Check every rule; `depths` orders them so that what a rule uses comes first."""
        for path in sorted(depths, key=lambda each: (depths[each], str(each))):
            node = self.program.find(path)
            if node is not None:
                self._node(node)

    def _node(self, node: RuleNode) -> None:
        kinds: list[Type] = []
        for rule in node.every_rule():
            body = BodyTypes(self, rule.source)
            kinds.append(limited(body.rule(rule)))
            self.errors.extend(body.errors)
        # OPA forgets the type of a rule in which the empty set is written, and so accepts more than elsewhere.
        whole = ANY if any(has_empty_set(kind) for kind in kinds) else union(kinds)
        if any(rule.dynamic for rule in node.rules):
            whole = object_of(ANY, ANY) if node.children else whole
        if node.function:
            self._results[dotted(node.path)] = whole
        else:
            self._documents[node.path] = whole

    def document(self, path: list[Term]) -> tuple[Type, int]:
        """The type of the rule that a reference into data reaches, and how many look-ups that took; any elsewhere."""
        node = self.program.root
        for index, part in enumerate(path):
            child = node.children.get(part.value) if isinstance(part, Const) else None
            if child is None:
                return ANY, len(path)
            node = child
            if node.document:
                return self._documents.get(node.path, ANY), index + 1
        return ANY, len(path)

    def result(self, name: str) -> Type:
        """The type of a function's result."""
        if name in self.functions:
            return self._results.get(name, ANY)
        document = self.program.find_document(name)
        if document is not None:
            return self._documents.get(document.path, ANY)
        known = self.builtins.get(name)
        return known.result if known is not None else ANY

    def arguments(self, name: str) -> tuple[Type, ...] | None:
        """The types of a function's arguments; those of the policy's own come from the patterns of their heads."""
        node = self.functions.get(name)
        if node is not None:
            rules = node.every_rule()
            return tuple(union([pattern_type((rule.args or [])[at]) for rule in rules]) for at in range(node.arity))
        known = self.builtins.get(name)
        return known.args if known is not None else None


class BodyTypes:
    """Types of the variables of one rule, as far as they are known."""

    def __init__(self, checker: TypeChecker, source: Source) -> None:
        self.checker = checker
        self.source = source
        self.errors: list[RegoError] = []
        self._vars: dict[str, Type] = {}
        self._replaced: list[tuple[Any, ...]] = []
        self._silent = False

    def _error(self, message: str, at: int, hint: str = "") -> None:
        if not self._silent:
            self.errors.append(self.source.error(TYPE_ERROR, message, at, hint))

    # --- rules -------------------------------------------------------------------------------------------------------

    def rule(self, rule: ResolvedRule) -> Type:
        """Check a rule; gives the type of its value."""
        kinds: list[Type] = []
        for index, branch in enumerate(rule.branches):
            self._vars = {}
            for arg in rule.args or []:
                self._bind(arg, ANY)
            kinds.append(self._branch(rule, branch, first=not index))
        return union(kinds)

    def _branch(self, rule: ResolvedRule, branch: Branch, *, first: bool) -> Type:
        self.body(branch.body)
        value = self.term(branch.value) if branch.value is not None else ANY
        if rule.kind == "set" and first and rule.key is not None:
            value = SetOf(self.term(rule.key))
        for part in reversed(rule.dynamic):
            value = object_type([(part.value, value)]) if isinstance(part, Const) else object_of(self.term(part), value)
        return value

    def body(self, body: list[Expr]) -> None:
        """Check the expressions of a body in their order."""
        for expr in body:
            for modifier in expr.withs:
                if not modifier.replacement and not self._names_function(modifier.value):
                    self.term(modifier.value)
            saved = self._replaced
            self._replaced = [*saved, *[_target_path(modifier) for modifier in expr.withs]]
            self._expression(expr)
            self._replaced = saved

    def _inner(self, body: list[Expr]) -> None:
        saved = dict(self._vars)
        self.body(body)
        self._vars = saved

    def _expression(self, expr: Expr) -> None:
        node = expr.node
        if isinstance(node, TermExpr):
            self._statement(node.term)
        elif isinstance(node, Unify):
            self._unify(node.left, node.right, expr.at)
        elif isinstance(node, SomeIn):
            self._some_in(node)
        elif isinstance(node, Every):
            self._every(node)
        elif isinstance(node, Not):
            silent, self._silent = self._silent, True  # as inside of every
            self._inner(node.body)
            self._silent = silent
        elif isinstance(node, Logical):
            silent, self._silent = self._silent, True  # as inside of every
            self._inner(node.left)
            self._inner(node.right)
            self._silent = silent

    def _statement(self, term: Term) -> None:
        if isinstance(term, Call):
            if term.target in _COMPARED and term.infix:
                self._unify(term.args[0], term.args[1], term.at)
                return
            if term.target == MEMBER and term.infix:
                self._match(self.term(term.args[0]), values_of(self.term(term.args[1])), term.at)
                return
            wanted = self.checker.arguments(term.target)
            if wanted is not None and len(term.args) == len(wanted) + 1:
                result = self._call(Call(term.operator, term.args[:-1], term.at, term.target))
                self._bind(term.args[-1], result)
                self._match(result, self.term(term.args[-1]), term.at)
                return
        self.term(term)

    def _unify(self, left: Term, right: Term, at: int) -> None:
        kinds = self._known(left), self._known(right)
        self._match(*kinds, at)
        if kinds[1] is not None:
            self._bind(left, kinds[1])
        if kinds[0] is not None:
            self._bind(right, kinds[0])
        for term, kind in ((left, kinds[0]), (right, kinds[1])):
            if kind is None:
                self._rebind(term)

    def _rebind(self, term: Term) -> None:
        """Variables that no side tells anything about are any."""
        self._bind(term, ANY)

    def _match(self, left: Type | None, right: Type | None, at: int) -> None:
        if not compatible(left, right):
            self._error("match error", at, f"left: {left}, right: {right}")

    def _known(self, term: Term) -> Type | None:
        """The type of a term, None for a variable about which nothing is known yet."""
        if isinstance(term, Var) and term.name not in self._vars:
            return None
        return self.term(term)

    def _some_in(self, node: SomeIn) -> None:
        domain = self.term(node.domain)
        if keys_of(domain) is None and isinstance(node.domain, Var | Ref):
            self._error(f"undefined ref: {node_text(node.domain)}[_]", node.domain.at, f"have {domain}")
        if node.key is not None:
            self._bind(node.key, keys_of(domain) or ANY)
        self._bind(node.value, values_of(domain) or ANY)

    def _every(self, node: Every) -> None:
        self.term(node.domain)
        saved = dict(self._vars)
        # OPA does not check the types inside of every, and in comprehensions there knows nothing of its variables.
        if node.key is not None:
            self._vars[node.key.name] = ANY
        self._vars[node.value.name] = ANY
        silent, self._silent = self._silent, True
        self.body(node.body)
        self._silent = silent
        self._vars = saved

    def _bind(self, pattern: Term, kind: Type) -> None:
        """Give the unknown variables of a pattern the types that a value of `kind` would."""
        if isinstance(pattern, Var):
            self._vars.setdefault(pattern.name, kind)
        elif isinstance(pattern, Array):
            for index, item in enumerate(pattern.items):
                self._bind(item, selected(kind, index) or ANY)
        elif isinstance(pattern, ObjectTerm):
            for key, item in pattern.pairs:
                inner = selected(kind, key.value) if isinstance(key, Const) else values_of(kind)
                self._bind(item, inner or ANY)

    # --- terms -------------------------------------------------------------------------------------------------------

    def term(self, term: Term) -> Type:  # noqa: PLR0911 - one return for each kind of term
        """The type of a term."""
        if isinstance(term, Const):
            return type_of(term.value)
        if isinstance(term, Var):
            return self._vars.get(term.name, ANY)
        if isinstance(term, Ref):
            return self._reference(term)
        if isinstance(term, Call):
            return self._call(term)
        if isinstance(term, Array):
            return ArrayType(tuple(self.term(item) for item in term.items))
        if isinstance(term, SetTerm):
            return SetOf(union([self.term(item) for item in term.items]))
        if isinstance(term, ObjectTerm):
            return self._object(term)
        if isinstance(term, Template):
            for part in term.parts:
                if isinstance(part, Expr):
                    self._inner([part])
            return STRING
        return self._comprehension(term)

    def _object(self, term: ObjectTerm) -> Type:
        fields = [(key.value, self.term(value)) for key, value in term.pairs if isinstance(key, Const)]
        others = [(self.term(key), self.term(value)) for key, value in term.pairs if not isinstance(key, Const)]
        known = object_type(fields)
        if not others:
            return known
        keys = union([*[key for key, _ in others], *([known.key] if known.key is not None else [])])
        values = union([*[value for _, value in others], *([known.value] if known.value is not None else [])])
        return Mapping(known.fields, keys, values)

    def _comprehension(self, term: Comprehension) -> Type:
        saved, silent = dict(self._vars), self._silent
        self._silent = False
        self.body(term.body)
        key = self.term(term.key) if term.key is not None else ANY
        value = self.term(term.value)
        self._vars, self._silent = saved, silent
        if term.kind == "array":
            return array_of(value)
        return SetOf(value) if term.kind == "set" else object_of(key, value)

    def _reference(self, ref: Ref) -> Type:
        head = ref.head
        kind: Type
        start = 0
        if isinstance(head, Var) and head.name in ROOTS and head.name not in self._vars:
            if self._is_replaced(ref):
                for part in ref.path:
                    self._path_part(part, ANY)
                return ANY
            if head.name == "data":
                self._no_function(ref)
                kind, start = self.checker.document(ref.path)
                for part in ref.path[:start]:
                    self._path_part(part, ANY)
            else:
                kind = self.checker.input_type
        else:
            kind = self.term(head)
        for index, part in enumerate(ref.path[start:]):
            found = self._looked_up(kind, part)
            if found is None:
                self._error(f"undefined ref: {shown(ref, start + index + 1)}", ref.at, f"have {kind}")
                return ANY
            kind = found
        return kind

    def _is_replaced(self, ref: Ref) -> bool:
        """Whether a modifier replaces the document or a part of it, so that its type is not known here."""
        root = ref.head.name if isinstance(ref.head, Var) else ""
        path = (root, *[part.value if isinstance(part, Const) else None for part in ref.path])
        for target in self._replaced:
            if target and all(one is None or one == other for one, other in zip(path, target, strict=False)):
                return True
        return False

    def _names_function(self, term: Term) -> str:
        """The name of the function that a reference names, or nothing."""
        if not isinstance(term, Ref) or not isinstance(term.head, Var) or term.head.name != "data":
            return ""
        names = [part.value for part in term.path if isinstance(part, Const)]
        name = dotted(("data", *names)) if len(names) == len(term.path) else ""
        return name if name in self.checker.functions else ""

    def _no_function(self, ref: Ref) -> None:
        if name := self._names_function(ref):
            self._error(f"function {name} used as reference, not called", ref.at)

    def _path_part(self, part: Term, key: Type) -> None:
        self._bind(part, key)
        if not isinstance(part, Const):
            self.term(part)

    def _looked_up(self, kind: Type, part: Term) -> Type | None:
        if isinstance(part, Const):
            return selected(kind, part.value)
        keys = keys_of(kind)
        if keys is None:
            return None
        known = self._known(part) if not isinstance(part, Array | ObjectTerm) else None
        if known is not None and not compatible(known, keys):
            return None
        self._path_part(part, keys)
        return values_of(kind)

    def _call(self, call: Call) -> Type:
        given = [self.term(arg) for arg in call.args]
        wanted = self.checker.arguments(call.target)
        if wanted is not None and call.target != "print":
            for arg, have, want in zip(call.args, given, wanted, strict=False):
                if not compatible(have, want) or not self._fits(arg, want):
                    listed = ", ".join(str(each) for each in given)
                    needed = ", ".join(str(each) for each in wanted)
                    self._error(f"{call.target}: invalid argument(s)", call.at, f"have ({listed}), want ({needed})")
                    break
        if call.target == MEMBER and call.infix:
            self._match(given[0], values_of(given[1]), call.at)
        return self.checker.result(call.target) if call.target != "print" else BOOLEAN

    def _fits(self, term: Term, want: Type) -> bool:
        """Whether each part of a literal may be what is wanted; `compatible` asks for one part of a set only."""
        if isinstance(term, Const):
            return _value_fits(term.value, want)
        if isinstance(want, Union):
            return any(self._fits(term, option) for option in want.of)
        if isinstance(term, SetTerm) and isinstance(want, SetOf) and want.of is not None:
            return all(self._fits(item, want.of) for item in term.items)
        if isinstance(term, ObjectTerm) and isinstance(want, Mapping) and want.key is not None and not want.fields:
            inner = want.value or ANY
            return all(self._fits(key, want.key) and self._fits(item, inner) for key, item in term.pairs)
        return compatible(self.term(term), want)


def _value_fits(value: Any, want: Type) -> bool:
    """The same for a literal that is constant."""
    if isinstance(want, Union):
        return any(_value_fits(value, option) for option in want.of)
    if type(value) is Set and isinstance(want, SetOf) and want.of is not None:
        return all(_value_fits(item, want.of) for item in value)
    if type(value) is Object and isinstance(want, Mapping) and want.key is not None and not want.fields:
        inner = want.value or ANY
        return all(_value_fits(key, want.key) and _value_fits(item, inner) for key, item in value.items())
    return compatible(type_of(value), want)


def _target_path(modifier: With) -> tuple[Any, ...]:
    """The path of the document that a modifier replaces, from its root; empty for a function."""
    target = modifier.target
    if modifier.function or not isinstance(target, Ref) or not isinstance(target.head, Var):
        return ()
    return (target.head.name, *[part.value for part in target.path if isinstance(part, Const)])


def pattern_type(pattern: Term) -> Type:
    """The type of the values that an argument of a head can match."""
    if isinstance(pattern, Const):
        return type_of(pattern.value)
    if isinstance(pattern, Array):
        return ArrayType(tuple(pattern_type(item) for item in pattern.items))
    if isinstance(pattern, ObjectTerm):
        if all(isinstance(key, Const) for key, _ in pattern.pairs):
            return object_type(
                [(key.value, pattern_type(value)) for key, value in pattern.pairs if isinstance(key, Const)]
            )
        return object_of(ANY, ANY)
    return ANY


def node_text(term: Var | Ref) -> str:
    """A variable or reference as the source has it."""
    return (term.shown or term.name) if isinstance(term, Var) else shown(term, len(term.path))


def shown(ref: Ref, length: int) -> str:
    """A reference as the source has it, up to a look-up."""
    head = ref.head
    text = head.shown if isinstance(head, Var) else "…"
    for part in ref.path[:length]:
        if isinstance(part, Const):
            key = part.value
            text += f".{key}" if isinstance(key, str) and key.isidentifier() else f"[{key!r}]".replace("'", '"')
        else:
            text += f"[{part.shown if isinstance(part, Var) else '…'}]"
    return text


def check_types(program: Program, builtins: dict[str, Builtin], input_type: Type, depths: Any) -> Iterable[RegoError]:
    """Every type error of a policy."""
    checker = TypeChecker(program, builtins, input_type)
    checker.check(depths)
    return checker.errors
