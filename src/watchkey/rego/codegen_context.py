"""What code generation has to know about the policy as a whole."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

from watchkey.rego.ast import Call, Comprehension, Const, Expr, Template, Term
from watchkey.rego.builtins import Builtin
from watchkey.rego.emit import Emitter, Unit
from watchkey.rego.metadata import Metadata
from watchkey.rego.program import Program, RuleNode
from watchkey.rego.resolve import Branch, ResolvedRule, dotted
from watchkey.rego.runtime import Place, guarded, remembered
from watchkey.rego.source import Source
from watchkey.rego.values import FALSE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


_BOOLEAN_FREE = frozenset({"count", "plus", "minus", "mul", "div", "rem"})


class Context:
    """Functions, slots and places that generated code refers to by name."""

    traced = False

    def __init__(self, program: Program, builtins: dict[str, Builtin], mocked: frozenset[str]) -> None:
        self.program = program
        self.builtins = builtins
        self.mocked = mocked
        self.unit = Unit()
        self.user_functions = program.functions()
        self.source = Source("", "")
        self.rule: ResolvedRule | None = None
        self.about: Metadata | None = None
        self.slots = program.slots
        self.names: dict[str, str] = {}
        self.places: dict[tuple[Any, ...], str] = {}
        self._made: dict[tuple[Any, ...], Place] = {}
        for index, name in enumerate(self.user_functions):
            self.names[name] = f"f{index}"

    def fork(self) -> Self:
        """A context for the code of one query: it knows all that this one knows, and changes nothing of it."""
        other = copy.copy(self)
        other.unit = Unit()
        other.unit.resume(self.unit)
        other.rule = None
        other.names, other.places = dict(self.names), dict(self.places)
        return other

    # --- functions ---------------------------------------------------------------------------------------------------

    def arity(self, name: str) -> int | None:
        """Arguments of a function, or None where there is no such function."""
        node = self.user_functions.get(name)
        if node is not None:
            return node.arity
        if self.program.find_document(name) is not None:
            return 0
        known = self.builtins.get(name)
        return known.arity if known is not None else None

    def is_mocked(self, name: str) -> bool:
        """Whether some ``with`` replaces the function."""
        return name in self.mocked

    def is_relation(self, name: str) -> bool:
        """Whether a built-in yields several answers."""
        known = self.builtins.get(name)
        return known is not None and known.relation

    def function(self, name: str) -> str:
        """The global name of a function in generated code."""
        known = self.names.get(name)
        if known is None:
            declared = self.builtins[name]
            call = guarded(declared.call)
            if not declared.deterministic:
                call = remembered(name, call)
            known = self.unit.name("B")
            self.unit.namespace[known] = call
            self.names[name] = known
        return known

    def metadata(self, name: str) -> Any:
        """The constant that a ``rego.metadata`` call stands for, or None for any other function."""
        if not name.startswith("rego.metadata.") or self.rule is None or self.about is None:
            return None
        return self.about.chain(self.rule) if name.endswith("chain") else self.about.rule(self.rule)

    # --- documents ---------------------------------------------------------------------------------------------------

    def place(self, node: RuleNode) -> str:
        """The global name of a node's run-time face."""
        name = self.places.get(node.path)
        if name is None:
            name = self.unit.pooled("P", self.make_place(node))
            self.places[node.path] = name
        return name

    def make_place(self, node: RuleNode) -> Place:
        """The run-time face of a node and of those below it."""
        made = self._made.get(node.path)
        if made is None:
            made = Place(node.path[1:])
            self._made[node.path] = made
            for key, child in node.children.items():
                if not child.function:
                    made.children[key] = self.make_place(child)
        return made

    def link_places(self, namespace: dict[str, Any]) -> None:
        """Give each place of a document the generated function that computes it."""
        for path, place in self._made.items():
            node = self.program.find(("data", *path[1:]))
            if node is not None and node.document:
                place.evaluate = namespace[f"d{node.slot}"]

    def slots_below(self, node: RuleNode | None, depth: int) -> str:
        """Text for the slots of all documents at or below a node, with their paths from it."""
        found = [(each.slot, each.path[depth:]) for each in node.descend() if each.document] if node is not None else []
        return self.unit.pooled("C", tuple(found)) if found else "()"

    # --- hooks that the tracing generator overrides ------------------------------------------------------------------

    def begin(self, emitter: Emitter, rule: ResolvedRule, branch: Branch) -> None:  # noqa: ARG002 - for the tracing context
        """Called at the start of each body of a rule."""
        self.rule = rule

    def succeed(self, emitter: Emitter, rule: ResolvedRule, branch: Branch, value: str) -> None:
        """Called where a body of a rule holds."""

    def reach(self, emitter: Emitter, expr: Expr) -> Any:  # noqa: ARG002 - for the tracing context
        """Called before each expression; what it gives is handed to `leave` after the expression."""
        return None

    def leave(self, saved: Any) -> None:
        """Called after each expression."""

    def look(self, emitter: Emitter, term: Term) -> None:
        """Called before a reference or call is evaluated."""

    def found(self, emitter: Emitter) -> None:
        """Called after a reference or call was evaluated."""

    def compare(self, emitter: Emitter, condition: str, call: Call, args: list[str]) -> None:  # noqa: ARG002 - for the tracing context
        """A comparison that must hold."""
        emitter.fail_if(f"not ({condition})" if not condition.startswith("(") else f"not {condition}")

    def hold(self, emitter: Emitter, value: str, term: Term) -> None:
        """A value that must not be false."""
        if not self.never_false(term):
            emitter.fail_if(f"{emitter.named(value)} is FALSE")

    def refused(self, emitter: Emitter, found: str) -> None:
        """A negated body that must have no solution."""
        emitter.fail_if(found)

    def never_false(self, term: Term) -> bool:
        """Whether a term's value can be seen not to be the boolean false."""
        if isinstance(term, Call):
            node = None if self.is_mocked(term.target) else self.user_functions.get(term.target)
            if node is not None:
                values = [branch.value for rule in node.every_rule() for branch in rule.branches]
                return all(isinstance(value, Const) and value.value is not FALSE for value in values)
            return term.target in _BOOLEAN_FREE
        return isinstance(term, Comprehension | Template)


def mocked_functions(rules: Iterable[Any], walk: Callable[[Any], Iterable[Expr]]) -> frozenset[str]:
    """The names of all functions that some ``with`` replaces."""
    found: set[str] = set()
    for rule in rules:
        for expr in walk(rule):
            for modifier in expr.withs:
                if modifier.function:
                    found.add(modifier.function)
                else:
                    path = getattr(modifier.target, "path", [])
                    found.add(dotted(("data", *[getattr(part, "value", None) for part in path])))
    return frozenset(found)
