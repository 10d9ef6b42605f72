"""What kind of rule a head declares, and what each dialect asks of a head."""

from __future__ import annotations

from typing import Any

from watchkey.rego.ast import Array, Call, Comprehension, Const, ObjectTerm, Ref, Rule, SetTerm, Template, Term, Var
from watchkey.rego.values import TRUE


def classify(rule: Rule) -> None:
    """Set the kind of a parsed rule and complete its key, value and body.

    A v0 head ``p[x]`` without ``if`` and without a value declares an element of a set; every other head with
    look-ups declares a value at that path, and with a variable in the path that makes an object.
    """
    if rule.args == []:
        rule.args = None  # a function without arguments is a rule; it may be called too
    rule_else = rule
    while rule_else is not None:
        _complete(rule_else, first=rule_else is rule)
        following = rule_else.otherwise
        if following is None:
            break
        rule_else = following
        rule_else.kind = rule.kind


def _complete(rule: Rule, *, first: bool) -> None:
    bare_key = len(rule.path) == 2 and not rule.uses_if and not rule.uses_contains and rule.args is None
    if first and bare_key and not rule.has_value:
        rule.key = rule.path[1]
        rule.path = rule.path[:1]
        rule.kind = "set"
        return
    if rule.uses_contains:
        rule.kind = "set"
        return
    if rule.value is None:
        rule.value = Const(TRUE, rule.at)
    if rule.args is not None:
        rule.kind = "function"
    elif any(not is_constant(part) for part in rule.path[1:]):
        rule.kind = "object"


def is_constant(term: Term) -> bool:
    """Whether a term has no variables, references or calls."""
    if isinstance(term, Const):
        return True
    if isinstance(term, Array | SetTerm):
        return all(is_constant(item) for item in term.items)
    if isinstance(term, ObjectTerm):
        return all(is_constant(key) and is_constant(value) for key, value in term.pairs)
    return False


def check_v1_rule(rule: Rule) -> str:
    """What v1 objects to in a rule, or nothing."""
    word = "function" if rule.args is not None else "rule"
    if rule.kind == "set" and not rule.uses_contains:
        if not rule.has_body:
            return "`contains` keyword is required for partial set rules"
        return f"`if` keyword is required before {word} body"
    if len(rule.path) == 1 and rule.name in ("contains", "if", "in", "every"):
        return f"{rule.name} keyword cannot be used for rule name"
    each: Rule | None = rule
    while each is not None:
        if each.has_body and not each.uses_if:
            return f"`if` keyword is required before {word} body"
        bare = not each.has_body and not each.has_value and not each.uses_contains
        if bare and rule.args is None:
            return f"{word} must have value assignment and/or body declaration"
        each = each.otherwise
    return ""


def default_problem(rule: Rule) -> str:
    """What is wrong with a default rule, or nothing."""
    if rule.value is None or not rule.has_value:
        return "illegal default rule (must have a value)"
    if (kind := _dynamic_kind(rule.value)) is not None:
        return f"illegal default rule (value cannot contain {kind})"
    names = set()
    for arg in rule.args or []:
        if not isinstance(arg, Var):
            return "illegal default rule (arguments must be plain variables)"
        if arg.name in names:
            return "illegal default rule (arguments cannot be repeated)"
        names.add(arg.name)
    if any(not isinstance(part, Const) for part in rule.path[1:]):
        return "default rules on partial object are not allowed"
    return ""


def _dynamic_kind(term: Any) -> str | None:  # noqa: PLR0911 - one return for each kind of term
    """``var``, ``ref`` or ``call`` where a term has one outside of comprehensions."""
    if isinstance(term, Var):
        return "ref" if term.name in ("input", "data") else "var"
    if isinstance(term, Ref):
        return "ref"
    if isinstance(term, Call):
        return "call"
    if isinstance(term, Array | SetTerm):
        return next((kind for item in term.items if (kind := _dynamic_kind(item))), None)
    if isinstance(term, ObjectTerm):
        return next((kind for pair in term.pairs for item in pair if (kind := _dynamic_kind(item))), None)
    if isinstance(term, Template):
        return "call" if any(not isinstance(part, str) for part in term.parts) else None
    if isinstance(term, Comprehension):
        return None
    return None
