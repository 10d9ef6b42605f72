"""Generates code that reports to a Recorder: the same code, with calls before expressions and where they fail."""

from __future__ import annotations

from typing import Any

from watchkey.rego.ast import Call, Const, Expr, Ref, Term, Var
from watchkey.rego.builtins import Builtin
from watchkey.rego.codegen_context import Context
from watchkey.rego.emit import Emitter
from watchkey.rego.explain import TracedBody, TracedExpression
from watchkey.rego.program import Program, expr_terms, walk_terms
from watchkey.rego.render import term_text
from watchkey.rego.resolve import Branch, ResolvedRule


class TracedContext(Context):
    """A Context whose hooks write reports into the code."""

    traced = True

    def __init__(self, program: Program, builtins: dict[str, Builtin], mocked: frozenset[str]) -> None:
        super().__init__(program, builtins, mocked)
        self.bodies: list[TracedBody] = []
        self._indexes: dict[int, int] = {}
        self._body = -1
        self._current: tuple[int, int] | None = None

    def begin(self, emitter: Emitter, rule: ResolvedRule, branch: Branch) -> None:
        """Number the body, and report that it is tried."""
        super().begin(emitter, rule, branch)
        self._body = len(self.bodies)
        self._indexes = {id(expr): index for index, expr in enumerate(branch.body)}
        self._current = None
        location = rule.source.location(branch.at)
        expressions = tuple(self._expression(rule, expr) for expr in branch.body)
        self.bodies.append(TracedBody(rule=rule.name, location=location, expressions=expressions))
        emitter.line(f"st.trace.begin({self._body})")

    def _expression(self, rule: ResolvedRule, expr: Expr) -> TracedExpression:
        text = " ".join(rule.source.text[expr.at : expr.end].split())
        names: list[str] = []
        for term in walk_terms(expr_terms(expr)):
            if isinstance(term, Ref) and isinstance(term.head, Var) and term.head.name == "data":
                names.extend(node.every_rule()[0].name for node in self.program.covered(term.path))
            elif isinstance(term, Call) and term.target in self.user_functions:
                names.append(term.target)
        return TracedExpression(location=rule.source.location(expr.at), text=text, names=tuple(dict.fromkeys(names)))

    def succeed(self, emitter: Emitter, rule: ResolvedRule, branch: Branch, value: str) -> None:
        """Report that the body holds."""
        super().succeed(emitter, rule, branch, value)
        emitter.line(f"st.trace.hold({self._body}, {value})")

    def reach(self, emitter: Emitter, expr: Expr) -> Any:
        """Report that an expression is about to be evaluated."""
        saved = self._current
        index = self._indexes.get(id(expr))
        if index is not None and self._body >= 0:
            self._current = (self._body, index)
            emitter.line(f"st.trace.reach({self._body}, {index})")
        else:
            self._current = None
            line = self.source.line_of(expr.at)
            emitter.line(f"st.trace.line({self.source.file!r}, {line})")
        return saved

    def leave(self, saved: Any) -> None:
        """Go back to the expression around."""
        self._current = saved

    def look(self, emitter: Emitter, term: Term) -> None:
        """Report what is about to be looked up."""
        if self._current is not None:
            body, index = self._current
            emitter.line(f"st.trace.look({body}, {index}, {self._text(term)!r})")

    def found(self, emitter: Emitter) -> None:
        """Report that it was found."""
        if self._current is not None:
            body, index = self._current
            emitter.line(f"st.trace.look({body}, {index}, '')")

    def compare(self, emitter: Emitter, condition: str, call: Call, args: list[str]) -> None:
        """A comparison that must hold, its arguments reported where it does not."""
        listed: list[tuple[Term, str]] = [
            (arg, value) for arg, value in zip(call.args, args, strict=True) if not isinstance(arg, Const)
        ]
        self._report(emitter, f"not ({condition})", listed)

    def hold(self, emitter: Emitter, value: str, term: Term) -> None:
        """A value that must not be false, reported where it is."""
        if not self.never_false(term):
            self._report(emitter, f"{emitter.named(value)} is FALSE", [(term, value)])

    def refused(self, emitter: Emitter, found: str) -> None:
        """A negated body that must have no solution."""
        self._report(emitter, found, [])

    def _report(self, emitter: Emitter, condition: str, listed: list[tuple[Term, str]]) -> None:
        if self._current is None:
            emitter.fail_if(condition)
            return
        body, index = self._current
        names = "".join(f"{self._text(term)!r}, " for term, _ in listed)
        values = "".join(f"{value}, " for _, value in listed)
        with emitter.block(f"if {condition}:"):
            emitter.line(f"st.trace.refuse({body}, {index}, ({names}), ({values}))")
            emitter.fail()

    def _text(self, term: Term) -> str:
        return term_text(term, self.rule.package if self.rule is not None else ())
