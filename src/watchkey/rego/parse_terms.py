"""Parses terms: literals, references, calls, operators, comprehensions, template strings."""

from __future__ import annotations

from typing import Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Every,
    Expr,
    ObjectTerm,
    Ref,
    SetTerm,
    Some,
    Template,
    Term,
    TermExpr,
    Unify,
    Var,
)
from watchkey.rego.cursor import MAX_CHAIN, Cursor, ParseFailure, TooDeep
from watchkey.rego.errors import LimitExceeded, MalformedValue
from watchkey.rego.lexer import NAME, NUMBER, PARSE_ERROR, STRING, SYMBOL, TEMPLATE, Token
from watchkey.rego.source import Source
from watchkey.rego.values import FALSE, TRUE, parse_number

OPERATORS: Final = {
    "==": "equal",
    "!=": "neq",
    "<": "lt",
    ">": "gt",
    "<=": "lte",
    ">=": "gte",
    "|": "or",
    "&": "and",
    "+": "plus",
    "-": "minus",
    "*": "mul",
    "/": "div",
    "%": "rem",
}

MEMBER: Final = "internal.member_2"
MEMBER_WITH_KEY: Final = "internal.member_3"

_LEVELS: Final = (("==", "!=", "<", ">", "<=", ">="), ("|",), ("&",), ("+", "-"), ("*", "/", "%"))
"""Binary operators from the loosest to the tightest."""

_LITERALS: Final = {"null": None, "true": TRUE, "false": FALSE}


class TermParser(Cursor):
    """Parses terms; bodies are parsed by the subclass."""

    def __init__(self, source: Source, tokens: list[Token], dialect: str) -> None:
        super().__init__(source, tokens, dialect)
        self.statement_start = -1
        self._wildcards = 0
        self._memo: dict[tuple[int, bool], tuple[Term, int] | ParseFailure] = {}

    def parse_body(self, closing: str) -> list[Expr]:
        """A body up to the closing symbol, which is not taken."""
        raise NotImplementedError

    def parse_literal(self) -> Expr:
        """One expression of a body."""
        raise NotImplementedError

    # --- operators ---------------------------------------------------------------------------------------------------

    def parse_infix(self, *, key_value: bool = True) -> Term:
        """A term with operators; with `key_value`, ``k, v in xs`` too."""
        self.enter()
        try:
            left = self._binary(0)
            for _ in range(MAX_CHAIN):
                found = self._membership(left, key_value=key_value)
                if found is None:
                    return left
                left = found
            raise self._too_long()
        finally:
            self.leave()

    def _too_long(self) -> TooDeep:
        return TooDeep(self.source.error(PARSE_ERROR, "too many operators in one expression", self.current.start))

    def _membership(self, left: Term, *, key_value: bool) -> Term | None:
        if key_value and self.at_symbol(",") and "in" in self.keywords:
            saved = self.position
            self.advance()
            try:
                value = self._binary(0)
            except ParseFailure:
                value = None
            if value is not None and self.at_joining("in"):
                at = self.advance().start
                return self._operation(MEMBER_WITH_KEY, [left, value, self._binary(0)], at)
            self.goto(saved)
        if self.at_joining("in"):
            at = self.advance().start
            return self._operation(MEMBER, [left, self._binary(0)], at)
        return None

    def _binary(self, level: int) -> Term:
        """Left-associative operators of `level` and tighter."""
        if level == len(_LEVELS):
            return self.parse_term()
        left = self._binary(level + 1)
        for _ in range(MAX_CHAIN):
            if not self.at_symbol(*_LEVELS[level]):
                return left
            token = self.advance()
            left = self._operation(OPERATORS[token.text], [left, self._binary(level + 1)], token.start)
        raise self._too_long()

    @staticmethod
    def _operation(name: str, args: list[Term], at: int) -> Call:
        return Call(Var(name, at, name), args, at, target=name, infix=True)

    # --- single terms ------------------------------------------------------------------------------------------------

    def parse_term(self) -> Term:
        """A term without binary operators. Each place is parsed once, so that attempts do not multiply."""
        start = self.position
        place = (start, start == self.statement_start)
        known = self._memo.get(place)
        if isinstance(known, ParseFailure):
            raise known
        if known is not None:
            self.goto(known[1])
            return known[0]
        try:
            term = self._term()
        except ParseFailure as failure:
            self._memo[place] = failure
            raise
        self._memo[place] = (term, self.position)
        return term

    def forget(self) -> None:
        """Drop what was remembered; needed when the set of keywords changes."""
        self._memo = {}

    def _term(self) -> Term:
        token = self.current
        if token.kind == NAME:
            return self._named(token)
        if token.kind == NUMBER:
            return self._finish(self._number("", token.start))
        if token.kind == STRING:
            self.advance()
            return self._finish(Const(token.text, token.start))
        if token.kind == TEMPLATE:
            self.advance()
            return self._finish(self._template(token))
        if token.kind == SYMBOL:
            if token.text in ("-", "."):
                return self._signed(token)
            if token.text in ("[", "{", "("):
                return self._bracketed(token)
        raise self.unexpected()

    def _named(self, token: Token) -> Term:
        word = token.text
        if word in _LITERALS and not (self.statement_start == self.position and self.begins_reference()):
            self.advance()
            return self._finish(Const(_LITERALS[word], token.start))
        if word in self.keywords and word != "contains" and not self.begins_reference():
            following = self.peek()
            called = following.kind == SYMBOL and following.text == "(" and not following.spaced
            if not (called and word in ("and", "or")):
                raise self.unexpected()
        self.advance()
        return self._finish(self.variable(token))

    def variable(self, token: Token) -> Var:
        """The variable that a name token denotes; each ``_`` is another one."""
        if token.text == "_":
            self._wildcards += 1
            return Var(f"_#{self._wildcards}", token.start, "_")
        return Var(token.text, token.start, token.text)

    def _signed(self, token: Token) -> Term:
        if token.text == ".":
            self.advance()
            return self._finish(self._number(".", token.start))
        following = self.peek()
        if following.kind == NAME and (following.text not in self.keywords or following.text == "contains"):
            self.advance()
            operand = self._finish(self.variable(self.advance()))
            return self._operation("minus", [Const(0, token.start), operand], token.start)
        self.advance()
        prefix = "-"
        if self.take_symbol("."):
            prefix = "-."
        return self._finish(self._number(prefix, token.start))

    def _number(self, prefix: str, at: int) -> Const:
        if self.current.kind != NUMBER:
            raise self.unexpected("expected number")
        text = prefix.replace(".", "0.") + self.advance().text
        try:
            return Const(parse_number(text), at)
        except MalformedValue:
            raise self.failure("invalid float", at) from None
        except LimitExceeded as problem:
            raise self.failure(f"number too big: {problem.message}", at) from None

    def _bracketed(self, token: Token) -> Term:
        self.enter()
        try:
            if token.text == "(":
                self.advance()
                inner = self.parse_infix()
                self.expect(")", "non-terminated expression")
                return self._finish(inner)
            return self._finish(self._array() if token.text == "[" else self._set_or_object())
        finally:
            self.leave()

    # --- references and calls ----------------------------------------------------------------------------------------

    def _finish(self, head: Term) -> Term:
        if not self.joined(".", "[", "("):
            return head
        return self.parse_reference(head)

    def parse_reference(self, head: Term) -> Term:
        """Look-ups and calls that follow a head; the current token is ``.``, ``[`` or ``(``."""
        if isinstance(head, Const | Template):
            raise self.failure("illegal ref (head cannot be a scalar)", head.at)
        path: list[Term] = []
        for _ in range(MAX_CHAIN):
            if self.joined("."):
                self.advance()
                if self.current.kind != NAME or self.current.spaced:
                    raise self.unexpected("expected identifier")
                token = self.advance()
                path.append(Const(token.text, token.start))
            elif self.at_symbol("[") and (not self.current.spaced or not path):
                self.advance()
                path.append(self.parse_infix())
                self.expect("]")
            elif self.at_symbol("(") and (not self.current.spaced or not path):
                head, path = self._call(Ref(head, path, head.at) if path else head), []
                if isinstance(head, SetTerm):
                    return head
            elif self.at_symbol(".") and not path and self.current.spaced:
                raise self.unexpected()
            else:
                return Ref(head, path, head.at) if path else head
            if self.current.spaced:
                return Ref(head, path, head.at) if path else head
        raise self._too_long()

    def _call(self, operator: Term) -> Term:
        self.advance()
        if isinstance(operator, Var) and operator.name == "set" and self.at_symbol(")"):
            self.advance()
            return SetTerm([], operator.at)
        args = self._items(")")
        self.expect(")")
        return Call(operator, args, operator.at)

    def _items(self, closing: str) -> list[Term]:
        """Terms between commas up to the closing symbol, which is not taken."""
        items: list[Term] = []
        while not self.at_symbol(closing):
            items.append(self.parse_infix(key_value=False))
            if not self.take_symbol(",") and not self.at_symbol(closing):
                raise self.unexpected(f'expected "," or "{closing}"')
        return items

    # --- composites --------------------------------------------------------------------------------------------------

    def _array(self) -> Term:
        at = self.advance().start
        leading_comma = self.take_symbol(",")
        start = self.position
        if not leading_comma and not self.at_symbol("]"):
            head = self.parse_term()
            if self.at_symbol("|"):
                found = self._comprehension("array", head, None, at, "]")
                if found is not None:
                    return found
            self.goto(start)
        items = self._items("]")
        self.expect("]")
        return Array(items, at)

    def _comprehension(self, kind: str, value: Term, key: Term | None, at: int, closing: str) -> Term | None:
        """A comprehension from its ``|`` on; None where the ``|`` was a union in a list."""
        self.advance()
        try:
            body = self.parse_body(closing)
        except ParseFailure:
            if kind != "object" and self.at_symbol(","):
                return None
            raise
        self.expect(closing)
        return Comprehension(kind, value, body, at, key)

    def _set_or_object(self) -> Term:
        at = self.advance().start
        if self.take_symbol("}"):
            return ObjectTerm([], at)
        leading_comma = self.take_symbol(",")
        start = self.position
        head = self.parse_term()
        if self.at_symbol("|") and not leading_comma:
            found = self._comprehension("set", head, None, at, "}")
            if found is not None:
                return found
        elif self.at_symbol(":"):
            return self._object(head, at, comprehension=not leading_comma)
        self.goto(start)
        head = self.parse_infix(key_value=False)
        if self.at_symbol(":"):
            return self._object(head, at, comprehension=not leading_comma)
        if not self.at_symbol("}", ","):
            raise self.unexpected("non-terminated set")
        self.goto(start)
        items = self._items("}")
        self.expect("}")
        return SetTerm(items, at)

    def _object(self, key: Term, at: int, *, comprehension: bool) -> Term:
        self.advance()
        start = self.position
        value = self.parse_term()
        if comprehension and self.at_symbol("|"):
            try:
                found = self._comprehension("object", value, key, at, "}")
            except ParseFailure as failure:
                try:
                    self.goto(start)
                    return self._object_pairs(key, at)
                except ParseFailure:
                    raise failure from None
            if found is not None:
                return found
        self.goto(start)
        return self._object_pairs(key, at)

    def _object_pairs(self, key: Term, at: int) -> Term:
        pairs = [(key, self.parse_infix(key_value=False))]
        while not self.at_symbol("}"):
            if not self.take_symbol(","):
                raise self.unexpected("non-terminated object")
            if self.at_symbol("}"):
                break
            following = self.parse_infix(key_value=False)
            self.expect(":", 'expected ":"')
            pairs.append((following, self.parse_infix(key_value=False)))
        self.expect("}")
        return ObjectTerm(pairs, at)

    # --- template strings --------------------------------------------------------------------------------------------

    def _template(self, token: Token) -> Template:
        parts = token.parts or []
        return Template(
            [part if isinstance(part, str) else self._interpolated(part) for part in parts],
            token.start,
            token.text.startswith("$`"),
        )

    def _interpolated(self, tokens: list[Token]) -> Expr:
        saved, memo = self.swap_tokens(tokens), self._memo
        self._memo = {}
        try:
            if self.at_end():
                raise self.failure("invalid template-string expression")
            expr = self.parse_literal()
            if not self.at_end():
                raise self.unexpected("expected } to end template string expression")
        except ParseFailure as failure:
            raise ParseFailure(failure.error, saved[1]) from None
        finally:
            self._memo = memo
            self.restore_tokens(saved)
        if complaint := _not_interpolable(expr):
            raise self.failure(f"unexpected {complaint} in template-string expression", expr.at)
        return expr


def _not_interpolable(expr: Expr) -> str:
    node = expr.node
    if expr.negated:
        return "negation ('not')"
    if isinstance(node, Unify):
        return "assignment (':=')" if node.assign else "unification ('=')"
    if isinstance(node, Every):
        return "'every'"
    if isinstance(node, Some) or not isinstance(node, TermExpr):
        return "'some'"
    return ""
