"""Rule indexing: where many rules of one name each compare the same thing with a constant, only some need a try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from watchkey.rego.ast import Call, Const, Expr, Ref, Term, TermExpr, Unify, Var
from watchkey.rego.program import RuleNode
from watchkey.rego.resolve import ResolvedRule
from watchkey.rego.values import PLAIN_TYPES

MIN_RULES: Final = 8
"""Rules of one name from which an index pays."""

Key: TypeAlias = tuple[str, tuple[str, ...]] | tuple[str, int]
"""What is compared: ``("input", path)`` or ``("argument", position)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleIndex:
    """For each constant the positions of the rules to try, and those to try for any other value."""

    key: Key
    table: dict[Any, list[int]]
    rest: list[int]


def rule_index(node: RuleNode) -> RuleIndex | None:
    """The index of a node's rules; None where there are few, or too few compare the same thing."""
    if len(node.rules) < MIN_RULES or any(rule.dynamic for rule in node.rules):
        return None
    tests = [dict(_tests(rule)) for rule in node.rules]
    counted = Counter(key for test in tests for key in test)
    if not counted:
        return None
    key, count = counted.most_common(1)[0]
    if count < MIN_RULES:
        return None
    rest = [at for at, test in enumerate(tests) if key not in test]
    fitting: dict[Any, list[int]] = {}
    for at, test in enumerate(tests):
        if key in test:
            fitting.setdefault(test[key], []).append(at)
    return RuleIndex(key=key, table={each: sorted(found + rest) for each, found in fitting.items()}, rest=rest)


def _tests(rule: ResolvedRule) -> Iterator[tuple[Key, Any]]:
    """What has to equal which constant for a rule to hold."""
    if len(rule.branches) != 1:
        return
    positions: dict[str, int] = {}
    for position, arg in enumerate(rule.args or []):
        if isinstance(arg, Const) and type(arg.value) in PLAIN_TYPES:
            yield ("argument", position), arg.value
        elif isinstance(arg, Var):
            positions.setdefault(arg.name, position)
    for expr in rule.branches[0].body:
        sides = _equated(expr)
        if sides is None:
            continue
        for one, other in (sides, sides[::-1]):
            key = _key(one, positions)
            if key is not None and isinstance(other, Const) and type(other.value) in PLAIN_TYPES:
                yield key, other.value


def _equated(expr: Expr) -> tuple[Term, Term] | None:
    node = expr.node
    if expr.negated or expr.withs:
        return None
    if isinstance(node, Unify):
        return node.left, node.right
    if isinstance(node, TermExpr) and isinstance(node.term, Call) and node.term.target == "equal" and node.term.infix:
        return node.term.args[0], node.term.args[1]
    return None


def _key(term: Term, positions: dict[str, int]) -> Key | None:
    if isinstance(term, Var) and term.name in positions:
        return "argument", positions[term.name]
    if isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == "input" and term.path:
        names = [part.value for part in term.path if isinstance(part, Const) and type(part.value) is str]
        return ("input", tuple(names)) if len(names) == len(term.path) else None
    return None
