"""Policies, data and inputs made at random for the differential test; cases shrink to what comes first in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

INPUT: Final[dict[str, Any]] = {
    "a": [1, 2, 3, 2],
    "o": {"x": 1, "y": "b", "z": [1, {"w": 2}]},
    "s": "abc",
    "n": 5,
    "f": False,
    "t": True,
    "u": None,
    "e": {},
    "el": [],
    "m": {"k1": {"v": 1, "g": "p"}, "k2": {"v": 2, "g": "q"}, "k3": {"v": 3}},
}
DATA: Final[dict[str, Any]] = {"d": {"p": [3, 1], "q": {"x": 9, "y": "b"}}, "r": {"one": {"l": 1}, "two": {"l": 2}}}

_CONSTANTS: Final = (
    "1", "0", "2", "3", '"a"', '"b"', '"abc"', "true", "false", "null", "1.5", "-1", '""', '"x"', '"k1"', "[]",
    "{}", "[1, 2]", '{"x": 1}', "{1, 2}", "set()", '{"a", "b"}', '{"x": [1, {"w": 2}]}', '"ä"', "1e2",
)  # fmt: skip
_INPUTS: Final = (
    "input.n", "input.s", "input.a", "input.o", "input.m", "input.t", "input.f", "input.u", "input.e", "input.el",
    "input.o.x", "input.o.y", "input.o.z", "input.o.z[1].w", "input.m.k1.v", "input.m.k3.g", "input.nope",
    "input.nope.x", "input.a[0]",
)  # fmt: skip
_DOCUMENTS: Final = ("data.d.p", "data.d.q", "data.d.q.x", "data.r", "data.r.one.l", "data.nope")
_COLLECTIONS: Final = (
    "input.a", "input.o", "input.m", "input.o.z", "data.d.p", "data.d.q", "data.r", "input.nope", "input.el",
    '{"b", "a"}',
)  # fmt: skip
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
_CALLS: Final = (
    "count({0})", "type_name({0})", 'sprintf("%v-%v", [{0}, {1}])', "to_number({0})", "sum([{0}, 1])",
    "max([{0}, {1}])", "min([{0}, {1}])", "object.get(input.o, {0}, {1})", "json.marshal({0})", "sort([{0}, {1}])",
    "is_string({0})", "is_number({0})", 'startswith({0}, "a")', 'concat(",", {0})', "object.keys({0})",
    "array.concat(input.a, {0})", "upper({0})", "abs({0})", "{{1, 2}} | {0}", "{{1, 2}} - {0}", "{{1, 2}} & {0}",
    "input.n + {0}", "input.n * {0}", "{0} - {1}", "{0} % 2", "is_null({0})", "array.slice({0}, 0, 2)",
    "union({{ {{1}}, {0} }})", 'split({0}, "b")', "object.union(input.o, {0})", "array.reverse({0})",
    "numbers.range(0, {0})", 'trim({0}, "a")', "json.unmarshal({0})", "round({0})",
    "{0} / 2",
)  # fmt: skip
_DEEP: Final = 3

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass
class Writer:
    """Writes one module, one drawn choice after the other."""

    draw: Draw
    names: int = 0
    functions: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)

    def pick(self, options: Sequence[str]) -> str:
        """One of the options."""
        return str(self.draw(st.sampled_from(options)))

    def several(self, least: int, most: int) -> Iterator[int]:
        """Counts; whether there is one more is drawn each time, so that shrinking can take any of them out."""
        for at in range(most):
            if at >= least and not self.draw(st.booleans()):
                return
            yield at

    def fresh(self) -> str:
        """A variable that is not used yet."""
        self.names += 1
        return f"v{self.names}"

    # --- terms -------------------------------------------------------------------------------------------------------

    def reference(self, known: list[str]) -> str:
        """A reference, or a variable that is bound."""
        rules = [f"data.t.{rule}" for rule in self.rules]
        return self.pick([*known, *known, *_INPUTS, *_DOCUMENTS, *rules, *known])

    def key(self, known: list[str]) -> str:
        """What stands between brackets."""
        return self.pick(["0", "1", '"x"', '"k1"', '"y"', "-1", *known])

    def term(self, known: list[str], depth: int = 0) -> str:  # noqa: PLR0911 - one return for each kind of term
        """A term; deep ones are plain."""
        kinds = ["constant", "reference", "reference"]
        if depth < _DEEP:
            kinds += ["look-up", "array", "object", "set", "comprehension", "call", "call", "comparison", "template"]
        kind = self.pick(kinds)
        if kind == "constant":
            return self.pick(_CONSTANTS)
        if kind == "reference":
            return self.reference(known)
        if kind == "look-up":
            return f"{self.pick([*_COLLECTIONS, *known])}[{self.key(known)}]"
        one = self.term(known, depth + 1)
        if kind == "comprehension":
            return self.comprehension(known, depth + 1)
        if kind == "call":
            return self.call(known, depth + 1)
        if kind == "template":
            return f'$"<{{{self.reference(known)}}}>"'
        other = self.term(known, depth + 1)
        if kind == "array":
            return f"[{one}, {other}]"
        if kind == "object":
            return f'{{"x": {one}, "q": {other}}}'
        if kind == "set":
            return f"{{{one}, {other}}}"
        return f"({one} {self.pick(_COMPARISONS)} {other})"

    def call(self, known: list[str], depth: int) -> str:
        """A call of a built-in, of a function of the policy, or a membership."""
        choice = self.pick(["built-in", "built-in", "member", *(["function"] * 3 if self.functions else [])])
        one = self.term(known, depth + 1)
        if choice == "function":
            return f"{self.pick(self.functions)}({one})"
        if choice == "member":
            return f"({one} in {self.pick([*_COLLECTIONS, *known])})"
        text = self.pick(_CALLS).format(one, self.term(known, depth + 1))
        return f"({text})" if " " in text.split("(")[0] else text

    def comprehension(self, known: list[str], depth: int) -> str:
        """A comprehension."""
        body, inner = self.body(known, depth + 1)
        head = self.pick([*inner[::-1], "1", '"a"', *(f"[{name}, 1]" for name in inner)])
        return self.pick([f"[{head} | {body}]", f"{{{head} | {body}}}", f'{{"k": {head} | {body}}}'])

    # --- bodies ------------------------------------------------------------------------------------------------------

    def body(self, known: list[str], depth: int = 0, count: int = 0) -> tuple[str, list[str]]:
        """Expressions, and the variables that are bound after them."""
        known = list(known)
        lines = [self.expression(known, depth) for _ in self.several(count or 1, count or 3)]
        return "; ".join(lines), known

    def expression(self, known: list[str], depth: int) -> str:
        """One expression; adds the variables it binds to the known ones."""
        kinds = ["truth", "assign", "some", "compare", "with", "some pair", "index", "not", "unify", "with", "not with"]
        kind = self.pick([*kinds, "every"] if depth < 2 else kinds)
        if kind == "truth":
            return self.truth(known, depth + 1)
        if kind == "compare":
            comparison = self.pick([*_COMPARISONS, "="])
            return f"{self.term(known, depth + 1)} {comparison} {self.term(known, depth + 1)}"
        if kind == "not":
            return f"not {self.truth(known, depth + 1)}"
        if kind == "not with":
            return f"not {self.truth(known, depth + 1)} with {self.target()} as {self.term(known, depth + 2)}"
        collection = self.pick([*_COLLECTIONS, *known])
        if kind == "every":
            name = self.fresh()
            inner, _ = self.body([*known, name], depth + 1, 1)
            return f"every {name} in {collection} {{ {name} != 77; {inner} }}"
        first, second = self.fresh(), self.fresh()
        text, bound = self._binding(kind, known, depth, (first, second, collection))
        known += bound
        return text

    def _binding(self, kind: str, known: list[str], depth: int, names: tuple[str, str, str]) -> tuple[str, list[str]]:
        first, second, collection = names
        if kind == "some":
            return f"some {first} in {collection}", [first]
        if kind == "some pair":
            return f"some {first}, {second} in {collection}", [first, second]
        if kind == "index":
            return f"{second} = {collection}[{first}]", [first, second]
        if kind == "unify":
            return f"[{first}, {second}] = {self.term(known, depth + 1)}", [first, second]
        if kind == "with":
            rules = [f"data.t.{rule}" for rule in self.rules]
            value = self.pick(rules) if rules and self.draw(st.booleans()) else self.term(known, depth + 1)
            return f"{first} := {value} with {self.target()} as {self.term(known, depth + 2)}", [first]
        return f"{first} := {self.term(known, depth + 1)}", [first]

    def target(self) -> str:
        """What ``with`` replaces."""
        rules = [f"data.t.{rule}" for rule in self.rules]
        return self.pick(
            ["input.n", "input", "input.s", "input.o.x", "data.d.q.x", "data.d", "input.a", "data.r", *rules]
        )

    def truth(self, known: list[str], depth: int) -> str:
        """An expression that binds nothing."""
        kind = self.pick(["reference", "equal", "look-up", "call", "member"])
        if kind == "reference":
            return self.reference(known)
        if kind == "equal":
            return f"{self.term(known, depth)} == {self.term(known, depth)}"
        if kind == "look-up":
            return f"{self.pick([*_COLLECTIONS, *known])}[{self.key(known)}]"
        if kind == "call":
            return self.call(known, depth)
        return f"{self.reference(known)} in {self.pick([*_COLLECTIONS, *known])}"

    # --- rules -------------------------------------------------------------------------------------------------------

    def function(self, name: str) -> str:
        """A function of one argument."""
        body, known = self.body(["x"])
        kind = self.pick(["value", "truth", "two", "constants", "else"])
        if kind == "value":
            return f"{name}(x) := {self.term(known)} if {{ {body} }}"
        if kind == "truth":
            other, _ = self.body(["x"], 0, 1)
            return f"{name}(x) if {{ {body} }}\n{name}(x) if {{ {other} }}"
        if kind == "two":
            return f"{name}(x) := {self.term(['x'])}\n{name}(1) := 1"
        if kind == "constants":
            return f"default {name}(_) := 0\n{name}(x) := 1 if {{ {body} }}"
        return f"{name}(x) := {self.term(known)} if {{ {body} }} else := {self.term(['x'])}"

    def rule(self, name: str) -> str:  # noqa: PLR0911 - one return for each kind of rule
        """A rule."""
        kind = self.pick(["value", "truth", "set", "object", "constant", "default", "else", "nested"])
        if kind == "constant":
            return f"{name} := {self.term([])}"
        body, known = self.body([])
        if kind == "truth":
            return f"{name} if {{ {body} }}"
        if kind == "set":
            return f"{name} contains {self.term(known)} if {{ {body} }}"
        if kind == "object":
            return f"{name}[{self.pick([*known, '1'])}] := {self.term(known)} if {{ {body} }}"
        if kind == "nested":
            return f"{name}.x[{self.pick([*known, '1'])}] contains {self.term(known)} if {{ {body} }}"
        text = f"{name} := {self.term(known)} if {{ {body} }}"
        if kind == "default":
            return f"default {name} := {self.pick(_CONSTANTS)}\n{text}"
        return f"{text} else := {self.term([])} if {{ {self.body([])[0]} }}" if kind == "else" else text

    def module(self) -> str:
        """A module of a few functions and rules."""
        lines = ["package t"]
        for at in self.several(0, 2):
            lines.append(self.function(f"f{at}"))
            self.functions.append(f"f{at}")
        for at in self.several(1, 4):
            lines.append(self.rule(f"r{at}"))
            self.rules.append(f"r{at}")
        return "\n".join(lines) + "\n"


@st.composite
def modules(draw: Draw) -> str:
    """A module in package t."""
    return Writer(draw).module()


_SCALARS: Final = st.sampled_from([1, 2, 0, -1, 1.5, 10**20, "a", "", "abc", "ä", True, False, None])
_VALUES: Final = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "k1", "y", ""]), inner, max_size=3)
    ),
    max_leaves=5,
)


def documents(usual: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The usual document, some of its fields replaced."""
    changes = st.dictionaries(st.sampled_from(sorted(usual)), _VALUES, max_size=2)
    return st.builds(lambda changed: {**usual, **changed}, changes)
