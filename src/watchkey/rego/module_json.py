"""A parsed module as the JSON that OPA shows of its syntax tree: what ``rego.parse_module`` gives."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any, Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Every,
    Expr,
    Import,
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
from watchkey.rego.lexer import Comment
from watchkey.rego.parse_terms import MEMBER, MEMBER_WITH_KEY
from watchkey.rego.resolve import ROOTS
from watchkey.rego.rule_heads import is_constant
from watchkey.rego.values import Boolean, Object, Set

JSON = dict[str, Any]

_TRUE: Final[JSON] = {"type": "boolean", "value": True}


def module_json(module: Module, comments: list[Comment]) -> JSON:
    """The module as OPA's JSON, without locations except those of comments."""
    writer = _Writer()
    found: JSON = {
        "package": {"path": [{"type": "var", "value": "data"}, *map(_text, module.package[1:])]},
        "rules": [writer.rule(rule) for rule in module.rules],
        "imports": [_import(each) for each in sorted([*module.imports, *module.switches], key=_at)],
        "comments": [_comment(module, comment) for comment in comments],
    }
    return {name: part for name, part in found.items() if part}


def _at(found: Import) -> int:
    return found.at


def _text(text: str) -> JSON:
    return {"type": "string", "value": text}


def _named(name: str) -> JSON:
    """A dotted name as a reference."""
    head, *path = name.split(".")
    return {"type": "ref", "value": [{"type": "var", "value": head}, *map(_text, path)]}


def _import(found: Import) -> JSON:
    path: JSON = {"type": "ref", "value": [{"type": "var", "value": found.path[0]}, *map(_text, found.path[1:])]}
    return {"path": path, "alias": found.alias} if found.alias else {"path": path}


def _comment(module: Module, comment: Comment) -> JSON:
    source = module.source
    place = {"file": source.file, "row": source.line_of(comment.start), "col": source.column_of(comment.start)}
    return {"Text": b64encode(comment.text.encode()).decode(), "Location": place}


class _Writer:
    """Numbers the wildcards of a module, as OPA does."""

    def __init__(self) -> None:
        self._wildcards: dict[str, str] = {}

    # --- terms -------------------------------------------------------------------------------------------------------

    def term(self, term: Term) -> JSON:  # noqa: PLR0911 - one return for each kind of term
        """A term."""
        if isinstance(term, Const):
            return _value(term.value)
        if isinstance(term, Var):
            shown = self._var(term)
            return {"type": "ref", "value": [shown]} if term.name in ROOTS else shown
        if isinstance(term, Ref):
            head = self._var(term.head) if isinstance(term.head, Var) else self.term(term.head)
            return {"type": "ref", "value": [head, *map(self.term, term.path)]}
        if isinstance(term, Call):
            return {"type": "call", "value": self._call(term)}
        if isinstance(term, Array):
            return {"type": "array", "value": [self.term(item) for item in term.items]}
        if isinstance(term, SetTerm):
            items = {_order(item): item for item in map(self.term, term.items)}
            return {"type": "set", "value": [items[each] for each in sorted(items)]}
        if isinstance(term, ObjectTerm):
            pairs = [[self.term(key), self.term(value)] for key, value in term.pairs]
            return {"type": "object", "value": sorted(pairs, key=lambda pair: _order(pair[0]))}
        if isinstance(term, Template):
            parts = [self._part(part) for part in term.parts]
            return {"type": "templatestring", "value": {"multi_line": term.raw, "parts": parts or None}}
        return self._comprehension(term)

    def _var(self, var: Var) -> JSON:
        name = var.name
        if var.wildcard:
            name = self._wildcards.setdefault(name, f"${len(self._wildcards)}")
        return {"type": "var", "value": name}

    def _part(self, part: str | Expr) -> JSON:
        """A piece of a template: text, a constant, or an expression."""
        if isinstance(part, str):
            return _text(part)
        node = part.node
        if isinstance(node, TermExpr) and isinstance(node.term, Const) and not part.withs:
            return _value(node.term.value)
        return self.expression(part, 0)

    def _call(self, call: Call) -> list[JSON]:
        return [self._operator(call), *map(self.term, call.args)]

    def _operator(self, call: Call) -> JSON:
        if call.infix:
            return _named(call.target)
        operator = call.operator
        return {"type": "ref", "value": [self._var(operator)]} if isinstance(operator, Var) else self.term(operator)

    def _comprehension(self, term: Comprehension) -> JSON:
        value: JSON = {} if term.key is None else {"key": self.term(term.key)}
        value["term" if term.key is None else "value"] = self.term(term.value)
        value["body"] = self.body(term.body)
        return {"type": f"{term.kind}comprehension", "value": value}

    # --- expressions -------------------------------------------------------------------------------------------------

    def body(self, body: list[Expr]) -> list[JSON]:
        """The expressions of a body."""
        return [self.expression(expr, index) for index, expr in enumerate(body)]

    def expression(self, expr: Expr, index: int) -> JSON:
        """One expression."""
        found: JSON = {"index": index, "terms": self._terms(expr)}
        if expr.negated:
            found["negated"] = True
        if expr.withs:
            found["with"] = [self._with(each) for each in expr.withs]
        return found

    def _terms(self, expr: Expr) -> Any:  # noqa: PLR0911 - one return for each kind of expression
        node = expr.node
        if isinstance(node, TermExpr):
            return self._call(node.term) if isinstance(node.term, Call) else self.term(node.term)
        if isinstance(node, Unify):
            return [_named("assign" if node.assign else "eq"), self.term(node.left), self.term(node.right)]
        if isinstance(node, Some):
            return {"symbols": [self.term(name) for name in node.names]}
        if isinstance(node, SomeIn):
            parts = [node.value, node.domain] if node.key is None else [node.key, node.value, node.domain]
            call = [_named(MEMBER if node.key is None else MEMBER_WITH_KEY), *map(self.term, parts)]
            return {"symbols": [{"type": "call", "value": call}]}
        if isinstance(node, Every):
            key = None if node.key is None else self.term(node.key)
            value, domain = self.term(node.value), self.term(node.domain)
            return {"key": key, "value": value, "domain": domain, "body": self.body(node.body)}
        if isinstance(node, Not):
            return {"type": "not", "body": self.body(node.body), "explicit_body": node.explicit}
        found = {"type": node.word, "lhs": self.body(node.left), "rhs": self.body(node.right)}
        marks = zip(("explicit_lhs", "explicit_rhs"), node.braced, strict=True)
        return {**found, **{name: True for name, braced in marks if braced}}

    def _with(self, modifier: With) -> JSON:
        return {"target": self.term(modifier.target), "value": self.term(modifier.value)}

    # --- rules -------------------------------------------------------------------------------------------------------

    def rule(self, rule: Rule, like: JSON | None = None) -> JSON:
        """A rule with its else branches; these take over parts of the head that they are `like`."""
        found: JSON = {"head": self._head(rule, like)}
        if rule.default:
            found["default"] = True
        found["body"] = self.body(rule.body) or [{"generated": True, "index": 0, "terms": _TRUE}]
        if rule.otherwise is not None:
            found["else"] = self.rule(replace(rule.otherwise, args=self._again(rule.args)), found["head"])
        return found

    def _again(self, args: list[Term] | None) -> list[Term]:
        """The arguments of a head for its else: each wildcard is another one there."""
        count = len(self._wildcards)
        return [
            replace(arg, name=f"{arg.name}/{count}") if isinstance(arg, Var) and arg.wildcard else arg
            for arg in args or []
        ]

    def _head(self, rule: Rule, like: JSON | None) -> JSON:
        first, *path = rule.path
        head: JSON = {"ref": [self._var(first) if isinstance(first, Var) else self.term(first), *map(self.term, path)]}
        keyed = len(path) == 1 and not rule.uses_contains and not rule.args
        if like is not None:
            head |= {name: part for name, part in like.items() if name in ("name", "key")}
        elif not path or (keyed and not rule.uses_if) or (len(path) == 1 and rule.uses_if and rule.has_value):
            head["name"] = rule.name
        if rule.args:
            head["args"] = [self.term(arg) for arg in rule.args]
        if rule.assign or (like is not None and not rule.has_value and "assign" in like):
            head["assign"] = True
        if rule.kind == "set" and rule.key is not None:
            head["key"] = self.term(rule.key)
        elif rule.value is not None:
            head["value"] = self.term(rule.value)
            if like is None and keyed and (not rule.uses_if or not is_constant(path[0])):
                head["key"] = head["ref"][1]
        return head


_RANKS: Final = (
    "null", "boolean", "number", "string", "templatestring", "var", "ref", "array", "object", "set",
    "arraycomprehension", "objectcomprehension", "setcomprehension", "call",
)  # fmt: skip


def _order(term: JSON) -> tuple[Any, ...]:
    """What OPA orders the parts of a literal by; comprehensions by their text."""
    kind, value = term["type"], term["value"]
    rank = _RANKS.index(kind)
    if kind in ("boolean", "number", "string", "var"):
        return rank, value
    if kind in ("ref", "array", "set", "call"):
        return rank, tuple([_order(item) for item in value])
    if kind == "object":
        return rank, tuple([(_order(key), _order(item)) for key, item in value])
    if kind == "templatestring":
        parts = value["parts"] or []
        return rank, value["multi_line"], len(parts), tuple([_part_order(part) for part in parts])
    return rank, str(value)


def _part_order(part: JSON) -> tuple[Any, ...]:
    """The order of a piece of a template: terms before expressions, references before calls."""
    terms = part.get("terms")
    if terms is None:
        return _order(part)
    if isinstance(terms, list):
        return 100, 2, tuple([_order(term) for term in terms])
    return (100, 1, _order(terms)) if terms["type"] in _RANKS else (100, 3, str(terms))


def _value(value: Any) -> JSON:  # noqa: PLR0911 - one return for each kind of value
    """A constant."""
    kind = type(value)
    if kind is str:
        return _text(value)
    if value is None:
        return {"type": "null", "value": {}}
    if kind is Boolean:
        return {"type": "boolean", "value": bool(value)}
    if kind is tuple:
        return {"type": "array", "value": [_value(item) for item in value]}
    if kind is Object:
        return {"type": "object", "value": [[_value(key), _value(item)] for key, item in value.pairs()]}
    if kind is Set:
        return {"type": "set", "value": [_value(item) for item in value.ordered()]}
    return {"type": "number", "value": value}
