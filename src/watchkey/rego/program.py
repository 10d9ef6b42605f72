"""The tree of all rules under ``data``, and what can be said about them as a whole: conflicts, recursion, arity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from watchkey.rego.ast import Call, Comprehension, Const, Expr, Ref, Template, Term, Var
from watchkey.rego.errors import RegoError
from watchkey.rego.resolve import TYPE_ERROR, Branch, ResolvedRule, dotted
from watchkey.rego.safety import child_terms, closure_bodies, node_terms

RECURSION_ERROR = "rego_recursion_error"


@dataclass(slots=True)
class RuleNode:
    """A place in the tree under ``data``: the rules declared there, and the places below."""

    path: tuple[Any, ...]
    children: dict[Any, RuleNode] = field(default_factory=dict)
    rules: list[ResolvedRule] = field(default_factory=list)
    default: ResolvedRule | None = None
    package: bool = False
    slot: int = -1

    @property
    def declared(self) -> bool:
        """Whether a rule or function stands here."""
        return bool(self.rules) or self.default is not None

    @property
    def function(self) -> bool:
        """Whether it is a function."""
        first = self.rules[0] if self.rules else self.default
        return first is not None and first.args is not None

    @property
    def document(self) -> bool:
        """Whether rules here define a value."""
        return self.declared and not self.function

    @property
    def arity(self) -> int:
        """Arguments of the function."""
        first = self.rules[0] if self.rules else self.default
        return len(first.args) if first is not None and first.args is not None else 0

    def every_rule(self) -> list[ResolvedRule]:
        """All rules here, the default last."""
        return [*self.rules, self.default] if self.default is not None else list(self.rules)

    def descend(self) -> Iterator[RuleNode]:
        """This node and every node below."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def child(self, key: Any) -> RuleNode:
        """The place below under that key, made where there is none."""
        if key not in self.children:
            self.children[key] = RuleNode((*self.path, key))
        return self.children[key]


class Program:
    """All rules of a policy in one tree; `errors` collects what is wrong with them as a whole."""

    def __init__(self) -> None:
        self.root = RuleNode(("data",))
        self.errors: list[RegoError] = []
        self.slots = 0
        self._functions: dict[str, RuleNode] | None = None

    def add_package(self, path: Iterable[str]) -> None:
        """Make sure that the package exists as a document, even an empty one."""
        node = self.root
        for key in list(path)[1:]:
            node = node.child(key)
        node.package = True

    def add(self, rule: ResolvedRule) -> None:
        """Put a rule in its place."""
        self._functions = None
        node = self.root
        for key in rule.prefix[1:]:
            node = node.child(key)
        if not rule.default:
            node.rules.append(rule)
        elif node.default is None:
            node.default = rule
        else:
            message = f"multiple default rules {rule.name} found at {node.default.source.location(node.default.at)}"
            self._error(rule, message)

    def _error(self, rule: ResolvedRule, message: str, code: str = TYPE_ERROR) -> None:
        self.errors.append(rule.source.error(code, message, rule.at))

    def find(self, path: Iterable[Any]) -> RuleNode | None:
        """The node at exactly that path from ``data``, or None."""
        node: RuleNode | None = self.root
        for key in list(path)[1:]:
            node = node.children.get(key) if node is not None else None
        return node

    def assign_slots(self) -> None:
        """Number every document; merged ones first swallow the rules below them."""
        for node in self.root.descend():
            if node.document:
                node.slot = self.new_slot()

    def new_slot(self) -> int:
        """A fresh place in the memory of an evaluation."""
        self.slots += 1
        return self.slots - 1

    # --- conflicts ---------------------------------------------------------------------------------------------------

    def check_conflicts(self) -> None:
        """Rules of one name must agree in kind and arity; nothing may stand below a rule with a fixed path."""
        for node in self.root.descend():
            rules = node.every_rule()
            if not rules:
                continue
            first = rules[0]
            kinds = {self._kind(rule) for rule in rules}
            arities = {len(rule.args) if rule.args is not None else -1 for rule in rules}
            below = self._below(node)
            if below:
                self._error(first, f"rule {first.name} conflicts with [{', '.join(below)}]")
            elif len(kinds) > 1 or len(arities) > 1:
                self._error(first, f"conflicting rules {first.name} found")
            elif node.package and any(not rule.dynamic for rule in rules):
                self._error(first, f"package {dotted(node.path)} conflicts with rule {first.name}")

    @staticmethod
    def _kind(rule: ResolvedRule) -> str:
        if rule.kind == "set":
            return "sets" if rule.dynamic else "set"
        return "object" if rule.dynamic else rule.kind

    @staticmethod
    def _below(node: RuleNode) -> list[str]:
        others = [other for other in node.descend() if other is not node and other.declared]
        if any(rule.dynamic for rule in node.rules):
            others = [other for other in others if other.function]
        return sorted(dotted(other.path) for other in others)

    # --- recursion ---------------------------------------------------------------------------------------------------

    def check_recursion(self) -> dict[tuple[Any, ...], int]:
        """Report every rule that depends on itself; gives the longest chain of rules below each rule."""
        graph = {node.path: self._dependencies(node) for node in self.root.descend() if node.declared}
        depths: dict[tuple[Any, ...], int] = {}
        for path in sorted(graph, key=str):
            self._visit(path, graph, depths)
        return depths

    def _visit(self, start: tuple[Any, ...], graph: dict[Any, set[Any]], depths: dict[Any, int]) -> None:
        """Depth-first walk without Python recursion; -1 marks what is on the path."""
        stack: list[tuple[Any, Iterator[Any]]] = []
        if start not in depths:
            depths[start] = -1
            stack.append((start, iter(sorted(graph[start], key=str))))
        while stack:
            path, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                depths[path] = 1 + max((depths[each] for each in graph[path]), default=0)
            elif following not in depths:
                depths[following] = -1
                stack.append((following, iter(sorted(graph[following], key=str))))
            elif depths[following] == -1:
                self._report_cycle(following, [each for each, _ in stack])

    def _report_cycle(self, path: tuple[Any, ...], chain: list[Any]) -> None:
        members = chain[chain.index(path) :]
        for index, member in enumerate(members):
            node = self.find(member)
            if node is not None:
                cycle = [*members[index:], *members[:index], member]
                message = f"rule {dotted(member)} is recursive: {' -> '.join(dotted(each) for each in cycle)}"
                self._error(node.every_rule()[0], message, RECURSION_ERROR)

    def _dependencies(self, node: RuleNode) -> set[tuple[Any, ...]]:
        found: set[tuple[Any, ...]] = set()
        for rule in node.every_rule():
            terms: list[Term] = [*(rule.args or []), *rule.dynamic]
            if rule.key is not None:
                terms.append(rule.key)
            for branch in rule.branches:
                terms.extend(branch_terms(branch))
            found |= self._referenced(terms)
        if any(rule.dynamic for rule in node.rules):
            found |= {other.path for other in node.descend() if other is not node and other.document}
        return found

    def _referenced(self, terms: Iterable[Term]) -> set[tuple[Any, ...]]:
        found: set[tuple[Any, ...]] = set()
        for term in walk_terms(terms):
            if isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == "data":
                found |= {node.path for node in self.covered(term.path)}
            elif isinstance(term, Call) and term.target.startswith("data."):
                node = self.find_function(term.target)
                node = node or self.find_document(term.target)
                if node is not None:
                    found.add(node.path)
        return found

    def covered(self, path: list[Term]) -> list[RuleNode]:
        """Every document that a reference into ``data`` may read."""
        nodes = [self.root]
        for part in path:
            following: list[RuleNode] = []
            found: list[RuleNode] = []
            for node in nodes:
                if node.document:
                    found.append(node)
                if isinstance(part, Const):
                    if part.value in node.children:
                        following.append(node.children[part.value])
                else:
                    following.extend(node.children.values())
            if found:
                following.extend(found)
            nodes = following
        covered: dict[tuple[Any, ...], RuleNode] = {}
        for node in nodes:
            for each in node.descend():
                if each.document:
                    covered[each.path] = each
        return list(covered.values())

    def find_function(self, target: str) -> RuleNode | None:
        """The user's function of that dotted name, or None."""
        return self.functions().get(target)

    def find_document(self, target: str) -> RuleNode | None:
        """The rule of that dotted name, or None; a call of it without arguments is its value."""
        if not target.startswith("data."):
            return None
        node = self.find(target.split("."))
        return node if node is not None and node.document else None

    def functions(self) -> dict[str, RuleNode]:
        """Every function of the policy by its dotted name."""
        if self._functions is None:
            self._functions = {dotted(node.path): node for node in self.root.descend() if node.function}
        return self._functions


def branch_terms(branch: Branch) -> list[Term]:
    """All terms of a branch, outermost."""
    terms = [term for expr in branch.body for term in expr_terms(expr)]
    if branch.value is not None:
        terms.append(branch.value)
    return terms


def expr_terms(expr: Expr) -> list[Term]:
    """The terms of an expression, its inner bodies included, and the targets of its modifiers."""
    terms = list(node_terms(expr))
    for modifier in expr.withs:
        if modifier.function or isinstance(modifier.target, Ref):
            terms.append(modifier.value)  # noqa: PERF401 - a condition and one line read better than a comprehension
    for body in closure_bodies(expr):
        for inner in body:
            terms.extend(expr_terms(inner))
    return terms


def walk_terms(terms: Iterable[Term]) -> Iterator[Term]:
    """Every term below the given ones, closures included."""
    stack = list(terms)
    while stack:
        term = stack.pop()
        yield term
        if isinstance(term, Comprehension):
            stack.append(term.value)
            if term.key is not None:
                stack.append(term.key)
            for expr in term.body:
                stack.extend(expr_terms(expr))
        elif isinstance(term, Template):
            for part in term.parts:
                if isinstance(part, Expr):
                    stack.extend(expr_terms(part))
        else:
            stack.extend(child_terms(term))
