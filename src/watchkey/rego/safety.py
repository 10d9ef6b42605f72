"""Safety: finds an order in which each variable of a body is bound before it is needed, or names those that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

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
)
from watchkey.rego.errors import RegoError
from watchkey.rego.resolve import COMPILE_ERROR, ROOTS
from watchkey.rego.source import Source
from watchkey.rego.values import Object

UNSAFE: str = "rego_unsafe_var_error"


# --- walking ---------------------------------------------------------------------------------------------------------


def child_terms(term: Term) -> Iterator[Term]:
    """The parts of a term, closures excluded."""
    if isinstance(term, Ref):
        if not (isinstance(term.head, Var) and term.head.name in ROOTS):
            yield term.head
        yield from term.path
    elif isinstance(term, Call):
        yield from term.args
    elif isinstance(term, Array | SetTerm):
        yield from term.items
    elif isinstance(term, ObjectTerm):
        for key, value in term.pairs:
            yield key
            yield value


def node_terms(expr: Expr) -> Iterator[Term]:
    """The terms of an expression and of its modifiers, bodies of closures excluded."""
    node = expr.node
    if isinstance(node, TermExpr):
        yield node.term
    elif isinstance(node, Unify):
        yield node.left
        yield node.right
    elif isinstance(node, SomeIn):
        if node.key is not None:
            yield node.key
        yield node.value
        yield node.domain
    elif isinstance(node, Every):
        yield node.domain
    for modifier in expr.withs:
        yield modifier.value


def closure_bodies(expr: Expr) -> Iterator[list[Expr]]:
    """The bodies that an expression opens itself: every, not, and, or."""
    node = expr.node
    if isinstance(node, Every | Not):
        yield node.body
    elif isinstance(node, Logical):
        yield node.left
        yield node.right


def direct_vars(terms: Iterable[Term]) -> set[str]:
    """Variables that occur in terms outside of closures."""
    found: set[str] = set()
    stack = list(terms)
    while stack:
        term = stack.pop()
        if isinstance(term, Var):
            found.add(term.name)
        else:
            stack.extend(child_terms(term))
    return found


def body_vars(body: list[Expr]) -> set[str]:
    """Variables that occur in a body outside of closures."""
    return direct_vars(term for expr in body for term in node_terms(expr))


def closures_in(terms: Iterable[Term]) -> Iterator[Comprehension | Template]:
    """Comprehensions and templates in terms, outermost first, not those inside them."""
    stack = list(terms)
    while stack:
        term = stack.pop(0)
        if isinstance(term, Comprehension | Template):
            yield term
        else:
            stack[:0] = list(child_terms(term))


def _closure_parts(closure: Comprehension | Template) -> tuple[list[Expr], list[Term]]:
    """The body of a closure and the terms evaluated after it."""
    if isinstance(closure, Template):
        return [part for part in closure.parts if isinstance(part, Expr)], []
    return closure.body, [closure.value] if closure.key is None else [closure.key, closure.value]


def _all_vars(body: list[Expr], terms: Iterable[Term]) -> set[str]:
    """Every variable of a body and of terms, closures included."""
    listed = list(terms)
    for expr in body:
        listed.extend(node_terms(expr))
    found = direct_vars(listed)
    for closure in closures_in(listed):
        found |= _all_vars(*_closure_parts(closure))
    for expr in body:
        for inner in closure_bodies(expr):
            found |= _all_vars(inner, [])
    return found


# --- readiness -------------------------------------------------------------------------------------------------------


def evaluable(term: Term, bound: set[str]) -> set[str] | None:
    """The variables that evaluating a term binds, or None where it cannot be evaluated yet."""
    if isinstance(term, Const | Comprehension | Template):
        return set()
    if isinstance(term, Var):
        return set() if term.name in bound else None
    if isinstance(term, Ref):
        return _reference(term, bound)
    order = evaluation_order(list(child_terms(term)), bound)
    return None if order is None else order[1]


def evaluation_order(terms: list[Term], bound: set[str]) -> tuple[list[int], set[str]] | None:
    """An order in which all terms can be evaluated, and the variables bound by it; None where there is none."""
    have = set(bound)
    order: list[int] = []
    left = list(range(len(terms)))
    while left:
        for index in left:
            found = evaluable(terms[index], have)
            if found is not None:
                have |= found
                order.append(index)
                left.remove(index)
                break
        else:
            return None
    return order, have - bound


def _reference(ref: Ref, bound: set[str]) -> set[str] | None:
    have = set(bound)
    if not (isinstance(ref.head, Var) and ref.head.name in ROOTS and ref.head.name not in bound):
        found = evaluable(ref.head, have)
        if found is None:
            return None
        have |= found
    for part in ref.path:
        found = matchable(part, have)
        if found is None:
            return None
        have |= found
    return have - bound


def matchable(term: Term, bound: set[str]) -> set[str] | None:
    """The variables that matching a known value against a term binds, or None where it cannot be matched yet."""
    if isinstance(term, Var):
        return {term.name} - bound
    if isinstance(term, Array | ObjectTerm):
        have = set(bound)
        if isinstance(term, ObjectTerm):
            if any(evaluable(key, have) is None for key, _ in term.pairs):
                return None
            parts = [value for _, value in term.pairs]
        else:
            parts = list(term.items)
        left = parts
        while left:
            for part in left:
                found = matchable(part, have)
                if found is not None:
                    have |= found
                    left = [other for other in left if other is not part]
                    break
            else:
                return None
        return have - bound
    return evaluable(term, bound)


def unifiable(left: Term, right: Term, bound: set[str]) -> set[str] | None:
    """The variables that ``left = right`` binds, or None where neither side is known well enough yet."""
    have = set(bound)
    pairs = [(left, right)]
    while pairs:
        progress = False
        for pair in list(pairs):
            found = _pair(pair, have)
            if found is None:
                continue
            pairs.remove(pair)
            have |= found[0]
            pairs.extend(found[1])
            progress = True
        if not progress:
            return None
    return have - bound


def _pair(pair: tuple[Term, Term], have: set[str]) -> tuple[set[str], list[tuple[Term, Term]]] | None:
    for known, other in (pair, pair[::-1]):
        found = evaluable(known, have)
        if found is None:
            continue
        matched = matchable(other, have | found)
        if matched is not None and (not matched or _alike(other, known)):
            return found | matched, []
    inner = inner_pairs(*pair)
    return None if inner is None else (set(), inner)


def _alike(pattern: Term, known: Term) -> bool:
    """Whether a literal can match a pattern at all; where it cannot, it binds none of the pattern's variables."""
    if isinstance(pattern, Array):
        if isinstance(known, Const):
            return isinstance(known.value, tuple) and len(known.value) == len(pattern.items)
        return (
            len(known.items) == len(pattern.items) if isinstance(known, Array) else not isinstance(known, _OTHER_ARRAY)
        )
    if isinstance(pattern, ObjectTerm):
        if isinstance(known, Const):
            return isinstance(known.value, Object) and len(known.value) == len(pattern.pairs)
        return (
            len(known.pairs) == len(pattern.pairs)
            if isinstance(known, ObjectTerm)
            else not isinstance(known, _OTHER_OBJECT)
        )
    return True


_OTHER_ARRAY = (ObjectTerm, SetTerm)
_OTHER_OBJECT = (Array, SetTerm)


def inner_pairs(left: Term, right: Term) -> list[tuple[Term, Term]] | None:
    """The pairs of parts that have to be equal for two composites to be; None where they are not alike in form."""
    if isinstance(left, Array) and isinstance(right, Array) and len(left.items) == len(right.items):
        return list(zip(left.items, right.items, strict=True))
    if isinstance(left, ObjectTerm) and isinstance(right, ObjectTerm):
        first = {key.value: value for key, value in left.pairs if isinstance(key, Const)}
        second = {key.value: value for key, value in right.pairs if isinstance(key, Const)}
        if len(first) == len(left.pairs) and len(second) == len(right.pairs) and first.keys() == second.keys():
            return [(first[key], second[key]) for key in first]
    return None


# --- ordering --------------------------------------------------------------------------------------------------------


class Safety:
    """Orders bodies; problems are collected in `errors`. `arity` gives a function's number of arguments, or None."""

    def __init__(self, source: Source, arity: Callable[[str], int | None]) -> None:
        self.source = source
        self.arity = arity
        self.errors: list[RegoError] = []
        self._reported: set[tuple[str, int]] = set()

    def order(self, body: list[Expr], bound: set[str], visible: set[str], after: Iterable[Term] = ()) -> list[Expr]:
        """The body in a safe order, closures included; `after` are the terms evaluated once it holds."""
        following = list(after)
        visible = visible | body_vars(body) | direct_vars(following)
        ordered: list[Expr] = []
        have = set(bound)
        left = list(body)
        while left:
            waiting: list[Expr] = []
            for expr in left:
                found = self._ready(expr, have, visible)
                if found is None:
                    waiting.append(expr)
                    continue
                ordered.append(self._with_closures(expr, have, visible))
                have |= found
            if len(waiting) == len(left):
                self._report(waiting, have, visible)
                return body
            left = waiting
        self._after(following, have, visible)
        return ordered

    def _after(self, terms: list[Term], have: set[str], visible: set[str]) -> None:
        for term in terms:
            found = evaluable(term, have)
            if found is None:
                self._report_vars(direct_vars([term]) - have, [term])
                continue
            have |= found
            for closure in closures_in([term]):
                if isinstance(closure, Template) and (loose := body_vars(_closure_parts(closure)[0]) - have):
                    self._undeclared(loose, closure.at)
            self._order_closures([term], have, visible)

    def _undeclared(self, names: set[str], at: int) -> None:
        for name in sorted(names):
            text = "_" if name.startswith("_#") else name.split("#")[0]
            self.errors.append(self.source.error(COMPILE_ERROR, f"var {text} is undeclared", at))

    def _ready(self, expr: Expr, have: set[str], visible: set[str]) -> set[str] | None:  # noqa: PLR0911 - by kind
        for modifier in expr.withs:
            if direct_vars([modifier.value]) - have:
                return None
        if not self._closures_ready(expr, have, visible):
            return None
        node = expr.node
        if expr.negated:
            return None if self._direct(expr) - have else set()
        if isinstance(node, TermExpr):
            return self._statement(node.term, have)
        if isinstance(node, Unify):
            return self._unify(node, have)
        if isinstance(node, SomeIn):
            return self._some_in(node, have)
        if isinstance(node, Every):
            return None if evaluable(node.domain, have) is None else set()
        return set()

    @staticmethod
    def _direct(expr: Expr) -> set[str]:
        return direct_vars(node_terms(expr))

    def _unify(self, node: Unify, have: set[str]) -> set[str] | None:
        if not node.assign:
            return unifiable(node.left, node.right, have)
        found = evaluable(node.right, have)
        if found is None:
            return unifiable(node.left, node.right, have) if isinstance(node.right, Array | ObjectTerm) else None
        matched = matchable(node.left, have | found)
        if matched is None or (matched and not _alike(node.left, node.right)):
            return None
        return found | matched

    def _statement(self, term: Term, have: set[str]) -> set[str] | None:
        """A term as an expression; a call may have its result as a further argument."""
        if isinstance(term, Call):
            arity = self.arity(term.target)
            if arity is not None and len(term.args) == arity + 1:
                order = evaluation_order(term.args[:-1], have)
                if order is None:
                    return None
                matched = matchable(term.args[-1], have | order[1])
                return None if matched is None else order[1] | matched
        return evaluable(term, have)

    @staticmethod
    def _some_in(node: SomeIn, have: set[str]) -> set[str] | None:
        found = evaluable(node.domain, have)
        if found is None:
            return None
        have = have | found
        new = set(found)
        for pattern in (node.key, node.value):
            if pattern is not None:
                matched = matchable(pattern, have)
                if matched is None:
                    return None
                have |= matched
                new |= matched
        return new

    # --- closures ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _closures_ready(expr: Expr, have: set[str], visible: set[str]) -> bool:
        needed: set[str] = set()
        for closure in closures_in(node_terms(expr)):
            if isinstance(closure, Template) and body_vars(_closure_parts(closure)[0]) - have:
                return False
            needed |= _all_vars(*_closure_parts(closure))
        for body in closure_bodies(expr):
            needed |= _all_vars(body, [])
        return not (needed & visible) - have

    def _with_closures(self, expr: Expr, have: set[str], visible: set[str]) -> Expr:
        self._order_closures(node_terms(expr), have, visible)
        node = expr.node
        if isinstance(node, Every):
            names = {var.name for var in (node.key, node.value) if var is not None}
            node.body = self.order(node.body, have | names, visible | names)
        elif isinstance(node, Not):
            node.body = self.order(node.body, have, visible)
        elif isinstance(node, Logical):
            node.left = self.order(node.left, have, visible)
            node.right = self.order(node.right, have, visible)
        return expr

    def _order_closures(self, terms: Iterable[Term], have: set[str], visible: set[str]) -> None:
        for closure in closures_in(terms):
            if isinstance(closure, Template):
                for index, part in enumerate(closure.parts):
                    if isinstance(part, Expr):
                        closure.parts[index] = self.order([part], have, visible)[0]
                continue
            body, after = _closure_parts(closure)
            closure.body = self.order(body, have, visible, after)

    # --- errors ------------------------------------------------------------------------------------------------------

    def _report(self, waiting: list[Expr], have: set[str], visible: set[str]) -> None:
        for expr in waiting:
            terms = list(node_terms(expr))
            shown = [closure for closure in closures_in(terms) if isinstance(closure, Template)]
            undeclared = {name for closure in shown for name in body_vars(_closure_parts(closure)[0]) - have}
            if (
                isinstance(expr.node, TermExpr)
                and isinstance(expr.node.term, Call)
                and expr.node.term.target == "print"
            ):
                undeclared |= self._direct(expr) - have
            if undeclared:
                self._undeclared(undeclared, expr.at)
                continue
            unsafe = self._needed(expr, have)
            for closure in closures_in(terms):
                unsafe |= (_all_vars(*_closure_parts(closure)) & visible) - have
            for body in closure_bodies(expr):
                unsafe |= (_all_vars(body, []) & visible) - have
            self._report_vars(unsafe, terms, expr.at)

    def _needed(self, expr: Expr, have: set[str]) -> set[str]:
        """Unbound variables of an expression that it does not bind itself."""
        unsafe = self._direct(expr) - have
        if expr.negated:
            return unsafe
        bindable: set[str] = set()
        for term in node_terms(expr):
            bindable |= _path_vars(term)
        narrowed = unsafe - bindable
        return narrowed or unsafe

    def _report_vars(self, names: set[str], terms: list[Term], at: int = -1) -> None:
        found: list[tuple[int, str]] = []
        stack = list(terms)
        while stack:
            term: Any = stack.pop()
            if isinstance(term, Var):
                if term.name in names:
                    names = names - {term.name}
                    found.append((term.at, term.shown or term.name))
                continue
            stack.extend(child_terms(term))
        found.extend((at, name.split("#")[0]) for name in names)
        for place, name in sorted(found):
            if (name, place) not in self._reported:
                self._reported.add((name, place))
                self.errors.append(self.source.error(UNSAFE, f"var {name} is unsafe", max(place, 0)))


def _path_vars(term: Term) -> set[str]:
    """Variables that stand as look-ups in references."""
    found: set[str] = set()
    stack = [term]
    while stack:
        each = stack.pop()
        if isinstance(each, Ref):
            found |= {part.name for part in each.path if isinstance(part, Var)}
        if not isinstance(each, Var):
            stack.extend(child_terms(each))
    return found
