"""Parses bodies, rules and whole modules."""

from __future__ import annotations

from typing import Any, Final

from watchkey.rego.annotations import attach_annotations, read_annotations
from watchkey.rego.ast import (
    Call,
    Const,
    Every,
    Expr,
    Import,
    Logical,
    Module,
    Not,
    Ref,
    Rule,
    Some,
    SomeIn,
    Term,
    TermExpr,
    Unify,
    Var,
    With,
)
from watchkey.rego.cursor import FUTURE_KEYWORDS, LOGICAL_KEYWORDS, V0, V1, ParseFailure
from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.lexer import END, NAME, PARSE_ERROR, Comment, Lexer, Token
from watchkey.rego.module_json import module_json
from watchkey.rego.parse_terms import MEMBER, MEMBER_WITH_KEY, TermParser
from watchkey.rego.rule_heads import check_v1_rule, classify, default_problem
from watchkey.rego.source import Source
from watchkey.rego.values import TRUE

MAX_ERRORS: Final = 10
"""Syntax errors reported for one file."""


class BodyParser(TermParser):
    """Parses bodies and their expressions."""

    _braced = False
    """Whether the operand of and/or that was parsed last stood between braces."""

    def parse_body(self, closing: str) -> list[Expr]:
        """Expressions up to the closing symbol (``""``: the end of the source), which is not taken."""
        self.enter()
        try:
            if self._closes(closing):
                raise self.failure("found empty body")
            body = [self.parse_literal()]
            while not self._closes(closing):
                if not self.take_symbol(";") and not self.current.newline:
                    raise self.unexpected(f"expected \\n or ; or {closing or 'end of query'}")
                body.append(self.parse_literal())
            return body
        finally:
            self.leave()

    def _closes(self, closing: str) -> bool:
        return self.at_symbol(closing) if closing else self.at_end()

    def parse_literal(self) -> Expr:
        """One expression of a body with its modifiers."""
        start = self.current.start
        expr = self._logical_or() if self.keywords & LOGICAL_KEYWORDS else self._single()
        if not expr.withs:
            expr.withs = self._withs()
        expr.at, expr.end = start, self.last_end
        return expr

    def _single(self) -> Expr:
        at = self.current.start
        if self.at_keyword("some"):
            return self._some()
        if self.at_keyword("every"):
            return self._every()
        if not self.at_keyword("not"):
            return Expr(self._statement(), at, self.last_end)
        self.advance()
        if self.at_keyword("some", "every"):
            raise self.failure(f"unexpected {self.current.text} keyword: illegal negation of '{self.current.text}'")
        if self.not_bodies:
            return self._not_scope(at)
        return Expr(self._statement(), at, self.last_end, negated=True)

    def _statement(self) -> TermExpr | Unify:
        self.statement_start = self.position
        left = self.parse_infix()
        if self.at_symbol(":=", "="):
            assign = self.advance().text == ":="
            return Unify(left, self.parse_infix(), assign)
        return TermExpr(left)

    def _withs(self) -> list[With]:
        found: list[With] = []
        while self.at_keyword("with"):
            at = self.advance().start
            target = self.parse_term()
            if not isinstance(target, Ref | Var):
                raise self.failure("expected with target path", at)
            if not self.at_joining("as"):
                raise self.unexpected("expected as keyword")
            self.advance()
            found.append(With(target, self.parse_infix(), at))
        return found

    def _some(self) -> Expr:
        at = self.advance().start
        saved = self.position
        if "in" in self.keywords:
            try:
                term = self.parse_infix()
            except ParseFailure:
                term = None
            if isinstance(term, Call) and term.infix:
                if term.target not in (MEMBER, MEMBER_WITH_KEY):
                    raise self.failure("expected `x in xs` or `x, y in xs` expression", at)
                key = term.args[0] if term.target == MEMBER_WITH_KEY else None
                return Expr(SomeIn(key, term.args[-2], term.args[-1]), at, self.last_end)
            self.goto(saved)
        names = [self._declared()]
        while self.take_symbol(","):
            names.append(self._declared())
        return Expr(Some(names), at, self.last_end)

    def _declared(self) -> Var:
        if self.current.kind != NAME or self.current.text in self.keywords - {"contains"}:
            raise self.unexpected("expected var")
        return self.variable(self.advance())

    def _every(self) -> Expr:
        at = self.advance().start
        term = self.parse_infix()
        if not isinstance(term, Call) or term.target not in (MEMBER, MEMBER_WITH_KEY):
            raise self.failure("expected `x[, y] in xs { ... }` expression", at)
        key = term.args[0] if term.target == MEMBER_WITH_KEY else None
        value = term.args[-2]
        if not isinstance(value, Var) or not isinstance(key, Var | None):
            raise self.failure("expected key and value of every to be variables", at)
        if not self.at_symbol("{"):
            raise self.unexpected("missing body")
        return Expr(Every(key, value, term.args[-1], self.parse_block()), at, self.last_end)

    def parse_block(self) -> list[Expr]:
        """``{ body }``."""
        self.expect("{")
        body = self.parse_body("}")
        self.expect("}")
        return body

    # --- and, or, not with bodies (future keywords) ------------------------------------------------------------------

    def _not_scope(self, at: int) -> Expr:
        if self.at_symbol("{"):
            return Expr(Not(self.parse_block()), at, self.last_end)
        if self.at_symbol("(") and self.keywords & LOGICAL_KEYWORDS and (group := self._group()) is not None:
            return Expr(Not(group), at, self.last_end)
        inner_at = self.current.start
        statement = self._statement()
        return Expr(Not([Expr(statement, inner_at, self.last_end)], explicit=False), at, self.last_end)

    def _logical_or(self) -> Expr:
        at = self.current.start
        left = self._logical_and()
        first = self._braced
        while self.at_keyword("or"):
            self._no_with(left, "or")
            self.advance()
            right = self._logical_and()
            left = [Expr(Logical("or", left, right, (first, self._braced)), at, self.last_end)]
            first = self._braced = False
        return self._one(left, at)

    def _logical_and(self) -> list[Expr]:
        at = self.current.start
        left = self._operand()
        first = self._braced
        while self.at_keyword("and"):
            self._no_with(left, "and")
            self.advance()
            right = self._operand()
            left = [Expr(Logical("and", left, right, (first, self._braced)), at, self.last_end)]
            first = self._braced = False
        return left

    def _no_with(self, operand: list[Expr], word: str) -> None:
        if len(operand) == 1 and operand[0].withs and operand[0].end == self.last_end and operand[0].at >= 0:
            return
        if self.at_keyword("with"):
            raise self.failure(f"`with` modifier is not allowed on operand of `{word}`")

    @staticmethod
    def _one(operand: list[Expr], at: int) -> Expr:
        if len(operand) == 1:
            return operand[0]
        return Expr(Logical("and", operand, [Expr(TermExpr(Const(TRUE, at)), at)]), at)

    def _operand(self) -> list[Expr]:
        """An operand of and/or: a braced body, a group in brackets, or one expression."""
        if self.at_symbol("{"):
            saved = self.position
            try:
                body = self.parse_block()
            except ParseFailure:
                body = []
            if body and (self.at_keyword("and", "or") or self._after_operator(saved)):
                self._braced = True
                return body
            self.goto(saved)
        self._braced = False
        found = self._group() if self.at_symbol("(") else None
        found = found if found is not None else [self._single()]
        self._braced = False
        return found

    def _after_operator(self, position: int) -> bool:
        if not position:
            return False
        before = self._tokens[position - 1]
        return before.kind == NAME and before.text in ("and", "or") and before.text in self.keywords

    def _group(self) -> list[Expr] | None:
        """``( ... )`` around and/or/not/with expressions; None where it is just a term in brackets."""
        saved = self.position
        self.enter()
        try:
            self.advance()
            expr = self._logical_or()
            if not expr.withs:
                expr.withs = self._withs()
            self.expect(")")
        except ParseFailure:
            self.goto(saved)
            return None
        finally:
            self.leave()
        plain = isinstance(expr.node, TermExpr | Unify) and not expr.negated and not expr.withs
        if plain:
            self.goto(saved)
            return None
        return [expr]


class ModuleParser(BodyParser):
    """Parses a module; syntax errors of several rules are collected."""

    def parse_module(self, comments: list[Comment]) -> Module:
        """The whole source; raises RegoErrors."""
        errors: list[RegoError] = []
        module = Module(self.source, [], 0, [], [], self.dialect)
        try:
            self._package(module)
        except ParseFailure as failure:
            raise RegoErrors([failure.error]) from None
        while not self.at_end():
            start = self.position
            try:
                self._top_level(module)
            except ParseFailure as failure:
                errors.append(failure.error)
                if len(errors) >= MAX_ERRORS:
                    break
                self._skip_statement(max(start + 1, failure.position))
        if errors:
            raise RegoErrors(errors)
        module.annotations = attach_annotations(read_annotations(self.source, comments), module)
        return module

    def _skip_statement(self, position: int) -> None:
        """Go on at the next token that begins a line in the first column."""
        self.goto(min(position, len(self._tokens) - 1))
        while not self.at_end() and not (self.current.newline and self.source.column_of(self.current.start) == 1):
            self.advance()

    def _package(self, module: Module) -> None:
        if self.at_end():
            raise self.failure("empty module")
        if not self.at_keyword("package"):
            raise self.failure("package expected")
        module.package_at = self.advance().start
        module.package = ["data", *self._dotted("package")]

    def _dotted(self, what: str) -> list[str]:
        token = self.current
        if token.kind != NAME or (token.text in self.keywords and self.dialect == V0 and not self.begins_reference()):
            raise self.unexpected("expected path")
        self.advance()
        names = [token.text]
        while self.joined(".", "["):
            if self.advance().text == ".":
                if self.current.kind != NAME:
                    raise self.unexpected("expected identifier")
                names.append(self.advance().text)
                continue
            if self.current.kind != "string":
                raise self.failure(f"unexpected {what} path: expecting string")
            names.append(self.advance().text)
            self.expect("]")
        return names

    def _top_level(self, module: Module) -> None:
        if self.at_keyword("import"):
            self._import(module)
        elif self.at_keyword("package"):
            raise self.failure("unexpected package")
        else:
            module.rules.extend(self._rules(module))

    # --- imports -----------------------------------------------------------------------------------------------------

    def _import(self, module: Module) -> None:
        at = self.advance().start
        path_at = self.current.start
        path = self._dotted("import")
        if path[0] not in ("data", "input", "future", "rego"):
            message = f"unexpected import path, must begin with one of: {{data, future, input, rego}}, got: {path[0]}"
            raise self.failure(message, path_at)
        found = Import(path, at)
        if self.at_keyword("as"):
            self.advance()
            if self.current.kind != NAME or self.current.text in self.keywords | {"data", "input"}:
                raise self.unexpected("expected var")
            found.alias = self.advance().text
        elif path[0] in ("data", "input") and len(path) > 1 and path[-1] in self.keywords:
            message = f"unexpected import path, must not end with a keyword, got: {path[-1]}"
            raise self.failure(message, path_at, "import a different path or use an alias")
        if path[0] in ("future", "rego"):
            self._enable(module, found, path_at)
            module.switches.append(found)
        else:
            module.imports.append(found)

    def _enable(self, module: Module, found: Import, at: int) -> None:
        path = found.path
        if path == ["rego", "v1"]:
            self.keywords |= FUTURE_KEYWORDS
            module.dialect = self.dialect = V1
        elif path in (["rego", "v2"], ["future", "keywords"]):
            self.keywords |= FUTURE_KEYWORDS | LOGICAL_KEYWORDS
            self.not_bodies = True
            if path[0] == "rego":
                module.dialect = self.dialect = V1
        elif path[:2] == ["future", "keywords"] and len(path) == 3:
            self._enable_keyword(path[2], at)
        else:
            kind = "unexpected import `" + ".".join(path) + "`"
            raise self.failure(f"invalid import, {kind}: must be `rego.v1`, `rego.v2` or `future.keywords`", at)
        if found.alias:
            raise self.failure(f"`{path[0]}` imports cannot be aliased", at)
        self.forget()

    def _enable_keyword(self, word: str, at: int) -> None:
        if word == "not":
            self.not_bodies = True
        elif word in FUTURE_KEYWORDS:
            self.keywords |= {word, "in"} if word == "every" else {word}
        elif word in LOGICAL_KEYWORDS:
            self.keywords.add(word)
        else:
            known = ", ".join(sorted(FUTURE_KEYWORDS | LOGICAL_KEYWORDS | {"not"}))
            raise self.failure(f"unexpected keyword, must be one of [{known}]", at)

    # --- rules -------------------------------------------------------------------------------------------------------

    def _rules(self, module: Module) -> list[Rule]:
        start = self.current.start
        default = self.at_keyword("default")
        if default:
            self.advance()
        rule = self._head(start)
        rule.default = default
        if default:
            return [self._default(rule)]
        rule.uses_if = self.at_keyword("if")
        if rule.uses_if:
            self.advance()
            rule.body = self._if_body()
            rule.has_body = True
        elif self.at_symbol("{"):
            rule.body = self.parse_block()
            rule.has_body = True
        rules = [rule]
        self._else_chain(rule)
        rule.end = self.last_end
        while rule.has_body and self.at_symbol("{") and (self.dialect == V0 or not self.current.newline):
            if rule.otherwise is not None:
                raise self.failure("expected else keyword")
            rules.append(self._chained(rule))
        for each in rules:
            self._conclude(each, module)
        return rules

    def _chained(self, first: Rule) -> Rule:
        at = self.current.start
        body = self.parse_block()
        return Rule(
            path=first.path, at=at, end=self.last_end, args=first.args, key=first.key, value=first.value,
            assign=first.assign, body=body, uses_if=first.uses_if, uses_contains=first.uses_contains,
            has_body=True, has_value=first.has_value,
        )  # fmt: skip

    def _conclude(self, rule: Rule, module: Module) -> None:
        classify(rule)
        if module.dialect == V1 and (complaint := check_v1_rule(rule)):
            raise self.failure(complaint, rule.at)
        if module.dialect == V0 and not rule.has_body and not rule.has_value and not rule.uses_contains:
            bare = rule.path[0]
            if rule.kind == "complete" and len(rule.path) == 1 and isinstance(bare, Var):
                raise self.failure("var cannot be used for rule name", rule.at)

    def _default(self, rule: Rule) -> Rule:
        if complaint := default_problem(rule):
            raise self.failure(complaint, rule.at)
        rule.kind = "complete" if rule.args is None else "function"
        rule.end = self.last_end
        return rule

    def _head(self, start: int) -> Rule:
        token = self.current
        usable = token.kind == NAME and (
            token.text not in self.keywords or self.begins_reference() or token.text == "contains"
        )
        if not usable:
            follower = self.peek()
            if token.kind == NAME and (follower.text in (":=", "=", "if", "(", "contains") or follower.kind == END):
                raise self.failure(f"{token.text} keyword cannot be used for rule name", token.start)
            raise self.unexpected("expected rule head name" if token.kind == NAME else "")
        self.advance()
        head: Term = self.variable(token)
        if (self.at_symbol("(", "[") and not self.current.newline) or self.joined("."):
            head = self.parse_reference(head)
        rule = Rule(path=[head], at=start)
        if isinstance(head, Call):
            rule.args = head.args
            head = head.operator
        if isinstance(head, Ref):
            if not isinstance(head.head, Var):
                raise self.failure("rule head ref invalid", token.start)
            rule.path = [head.head, *head.path]
        elif isinstance(head, Var):
            rule.path = [head]
        else:
            raise self.failure("expected rule head name", token.start)
        self._head_value(rule)
        return rule

    def _head_value(self, rule: Rule) -> None:
        if self.at_joining("contains"):
            if rule.args is not None:
                message = "the contains keyword can only be used with multi-value rule definitions"
                raise self.failure(
                    f"unexpected contains keyword: {message} (e.g., {rule.name} contains <VALUE> {{ ... }})"
                )
            self.advance()
            rule.uses_contains = True
            rule.key = self.parse_infix()
        elif self.at_symbol(":=", "="):
            rule.assign = self.advance().text == ":="
            rule.value = self.parse_infix()
            rule.has_value = True

    def _if_body(self) -> list[Expr]:
        """What follows ``if``: an expression, or a body in braces where that is not one."""
        saved = self.position
        braced = self.at_symbol("{")
        if not braced:
            return [self.parse_literal()]
        try:
            expr = self.parse_literal()
        except ParseFailure:
            self.goto(saved)
            return self.parse_block()
        from watchkey.rego.ast import SetTerm  # noqa: PLC0415

        node = expr.node
        if isinstance(node, TermExpr) and isinstance(node.term, SetTerm):
            self.goto(saved)
            return self.parse_block()
        return [expr]

    def _else_chain(self, rule: Rule) -> None:
        while self.at_keyword("else"):
            if rule.uses_contains:
                raise self.failure("else keyword cannot be used on multi-value rules")
            if not rule.has_body:
                raise self.failure("unexpected else keyword")
            if any(not isinstance(part, Const) for part in rule.path[1:]):
                raise self.failure("else keyword cannot be used on rules with variables in head")
            at = self.advance().start
            other = Rule(path=rule.path, at=at, args=rule.args or None)
            self._else_parts(other)
            other.end = self.last_end
            rule.otherwise = other
            rule = other

    def _else_parts(self, other: Rule) -> None:
        if self.at_symbol(":=", "="):
            other.assign = self.advance().text == ":="
            other.value = self.parse_infix()
            other.has_value = True
        elif not self.at_symbol("{") and not self.at_keyword("if"):
            raise self.unexpected("expected else value term or rule body")
        if self.at_keyword("if"):
            self.advance()
            other.uses_if = True
            other.body = self.parse_block() if self.at_symbol("{") else [self.parse_literal()]
            other.has_body = True
        elif self.at_symbol("{"):
            other.body = self.parse_block()
            other.has_body = True


# --- entry points ----------------------------------------------------------------------------------------------------


def parse_module(file: str, text: str, dialect: str = V1) -> Module:
    """Parse one file; raises RegoErrors, with a hint where the other dialect would accept the text."""
    source = Source(file, text)
    try:
        return _parse_module(source, dialect)
    except RegoErrors as problem:
        if dialect != V1 or not _parses_as_v0(source):
            raise
        first = problem.errors[0]
        hint = "this file is valid in Rego v0: set its dialect to v0, or convert it with `if` and `contains`"
        located = RegoError(code=first.code, message=first.message, location=first.location, hint=hint)
        raise RegoErrors([located, *problem.errors[1:]]) from None


def _parse_module(source: Source, dialect: str) -> Module:
    lexer = Lexer(source)
    try:
        tokens = lexer.tokens()
        return ModuleParser(source, tokens, dialect).parse_module(lexer.comments)
    except RecursionError:
        raise RegoErrors([source.error(PARSE_ERROR, "nested too deeply", 0)]) from None


def parse_to_json(file: str, text: str) -> dict[str, Any]:
    """A file as OPA's JSON of its syntax tree; its metadata blocks are comments like others. Raises RegoErrors."""
    lexer = Lexer(Source(file, text))
    try:
        module = ModuleParser(lexer.source, lexer.tokens(), V1).parse_module([])
        return module_json(module, lexer.comments)
    except RecursionError:
        raise RegoErrors([lexer.source.error(PARSE_ERROR, "nested too deeply", 0)]) from None


def _parses_as_v0(source: Source) -> bool:
    try:
        _parse_module(source, V0)
    except RegoErrors:
        return False
    return True


def parse_query(text: str, dialect: str = V1, keywords: tuple[str, ...] = ()) -> tuple[Source, list[Expr]]:
    """Parse the body of a query, with further future keywords; raises RegoErrors."""
    source = Source("", text)
    lexer = Lexer(source)
    try:
        tokens: list[Token] = lexer.tokens()
        parser = BodyParser(source, tokens, dialect)
        parser.keywords.update(keywords)
        return source, parser.parse_body("")
    except ParseFailure as failure:
        raise RegoErrors([failure.error]) from None
    except RecursionError:
        raise RegoErrors([source.error(PARSE_ERROR, "nested too deeply", 0)]) from None
