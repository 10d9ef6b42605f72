"""Terms as Rego text, short, for explanations."""

from __future__ import annotations

from typing import Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Expr,
    ObjectTerm,
    Ref,
    SetTerm,
    Template,
    Term,
    TermExpr,
    Var,
)
from watchkey.rego.parse_terms import MEMBER, MEMBER_WITH_KEY, OPERATORS
from watchkey.rego.values import value_text

_SYMBOLS: Final = {name: symbol for symbol, name in OPERATORS.items()}
MAX_TEXT: Final = 120


def term_text(term: Term, package: tuple[str, ...] = ()) -> str:
    """A term as source text; references to the rules of `package` are shortened to their names."""
    text = _text(term, package)
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _text(term: Term, package: tuple[str, ...]) -> str:  # noqa: PLR0911 - one return for each kind of term
    if isinstance(term, Const):
        return value_text(term.value)
    if isinstance(term, Var):
        return term.shown or term.name
    if isinstance(term, Ref):
        return _reference(term, package)
    if isinstance(term, Call):
        return _call(term, package)
    if isinstance(term, Array):
        return "[" + ", ".join(_text(item, package) for item in term.items) + "]"
    if isinstance(term, SetTerm):
        return "{" + ", ".join(_text(item, package) for item in term.items) + "}"
    if isinstance(term, ObjectTerm):
        return "{" + ", ".join(f"{_text(key, package)}: {_text(item, package)}" for key, item in term.pairs) + "}"
    if isinstance(term, Template):
        return (
            '$"'
            + "".join(part if isinstance(part, str) else "{" + _part(part, package) + "}" for part in term.parts)
            + '"'
        )
    return _comprehension(term, package)


def _part(expr: Expr, package: tuple[str, ...]) -> str:
    return _text(expr.node.term, package) if isinstance(expr.node, TermExpr) else "…"


def _comprehension(term: Comprehension, package: tuple[str, ...]) -> str:
    inner = _text(term.value, package)
    if term.key is not None:
        inner = f"{_text(term.key, package)}: {inner}"
    return f"[{inner} | …]" if term.kind == "array" else f"{{{inner} | …}}"


def _reference(ref: Ref, package: tuple[str, ...]) -> str:
    names = [part.value for part in ref.path if isinstance(part, Const)]
    rest = ref.path
    text = _text(ref.head, package)
    depth = len(package) - 1
    if text == "data" and depth > 0 and tuple(names[:depth]) == package[1:] and len(ref.path) > depth:
        first = ref.path[depth]
        if isinstance(first, Const) and isinstance(first.value, str) and first.value.isidentifier():
            text, rest = first.value, ref.path[depth + 1 :]
    for part in rest:
        if isinstance(part, Const) and isinstance(part.value, str) and part.value.isidentifier():
            text += f".{part.value}"
        else:
            text += f"[{_text(part, package)}]"
    return text


def _call(call: Call, package: tuple[str, ...]) -> str:
    args = [_text(arg, package) for arg in call.args]
    if call.infix and call.target in _SYMBOLS and len(args) == 2:
        return f"{args[0]} {_SYMBOLS[call.target]} {args[1]}"
    if call.target == MEMBER:
        return f"{args[0]} in {args[1]}"
    if call.target == MEMBER_WITH_KEY:
        return f"{args[0]}, {args[1]} in {args[2]}"
    prefix = ".".join(package) + "."
    return f"{call.target.removeprefix(prefix)}({', '.join(args)})"
