"""A policy's syntax trees as the traps look at them: every rule with its local names, every reference as a path.

Nothing here judges. A name that was bound in a body (`oncalls := http.send(…).body.oncalls`, `some s in input.on_call`)
is followed to where its value comes from, so that a trap sees the same path however the policy names its steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Final

from watchkey.rego import Location, to_json
from watchkey.rego.ast import Call, Const, Every, Expr, Module, ObjectTerm, Ref, Rule, SomeIn, Unify, Var

ANY: Final = "*"
"""Stands in a path for a step that only the evaluation knows."""
REQUEST: Final = "http.send"

_FOLLOWED_MAX: Final = 16
"""Names that are followed one behind the other; a policy that binds deeper only hides from the traps, not from us."""

Path = tuple[str | int, ...]


def nodes(tree: Any) -> Iterator[Any]:
    """Every node of a syntax tree below and including this one, in the order of the text. No recursion."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, list | tuple):
            stack.extend(reversed(node))
        elif is_dataclass(node) and type(node).__module__ == "watchkey.rego.ast":
            yield node
            stack.extend(getattr(node, one.name) for one in reversed(fields(node)))


def plain(term: Any) -> Any:
    """The value of a constant as JSON has it; None is also the answer for null and for what is no constant."""
    return to_json(term.value) if isinstance(term, Const) else None


def operator(call: Call) -> str:
    """The name of a called function, as written or as the infix operator's."""
    if call.target:
        return call.target
    term = call.operator
    if isinstance(term, Var):
        return term.name
    return ".".join(str(part) for part in _raw(term)) if isinstance(term, Ref) else ""


def _raw(term: Ref) -> Path:
    head = term.head.name if isinstance(term.head, Var) else ANY
    return (head, *(_step(part) for part in term.path))


def _step(part: Any) -> str | int:
    value = plain(part)
    return value if isinstance(value, str | int) and not isinstance(value, bool) else ANY


@dataclass(slots=True, kw_only=True)
class Scene:
    """One branch of a rule: its expressions with everything nested in them, and what its local names stand for."""

    module: Module
    rule: Rule
    exprs: list[Expr]
    bound: dict[str, tuple[Any, bool]] = field(default_factory=dict)
    """Name -> (term, whether it is an element of that term)."""

    def __post_init__(self) -> None:
        for node in nodes(self.exprs):
            if isinstance(node, Unify) and isinstance(node.left, Var):
                self.bound.setdefault(node.left.name, (node.right, False))
            elif isinstance(node, SomeIn | Every) and isinstance(node.value, Var):
                self.bound.setdefault(node.value.name, (node.domain, True))

    def place(self, node: Any) -> Location:
        """Where a node stands; a comparison stands where its left side begins."""
        at: int = node.at
        if isinstance(node, Call) and node.infix and node.args:
            at = min(at, node.args[0].at)
        return self.module.source.location(at)

    def path(self, term: Any, followed: int = 0) -> Path:
        """The path of a reference or name from where its value comes; empty for anything else."""
        if isinstance(term, Var):
            return self._named(term.name, followed)
        if isinstance(term, Ref):
            head = self.path(term.head, followed) or (ANY,)
            return (*head, *(_step(part) for part in term.path))
        return (operator(term),) if isinstance(term, Call) and not term.infix else ()

    def _named(self, name: str, followed: int) -> Path:
        if name in self.bound and followed < _FOLLOWED_MAX:
            term, is_element = self.bound[name]
            found = self.path(term, followed + 1)
            if found:
                return (*found, ANY) if is_element else found
        for one in self.module.imports:
            if one.name == name:
                return tuple(one.path)
        return (name,)

    def calls(self) -> Iterator[Call]:
        """Every call of the branch, comparisons among them, head and value included."""
        for node in nodes([self.exprs, self.rule.value, self.rule.key, self.rule.args]):
            if isinstance(node, Call):
                yield node

    def comparisons(self) -> Iterator[tuple[Call, bool]]:
        """Every comparison, and whether it stands under `not`."""
        for node in nodes([self.exprs, self.rule.value]):
            if isinstance(node, Expr):
                inner = getattr(node.node, "term", None)
                if isinstance(inner, Call) and inner.target in COMPARISONS:
                    yield inner, node.negated

    def guarded(self, term: Any) -> bool:
        """Whether the branch makes sure that this is a number."""
        wanted = self.path(term)
        for call in self.calls():
            if operator(call) == "is_number" and call.args and self.path(call.args[0]) == wanted:
                return True
            if call.target == "equal" and any(
                isinstance(plain(one), int | float) and self.path(other) == wanted
                for one, other in (call.args, call.args[::-1])
            ):
                return True
        return False


COMPARISONS: Final = frozenset({"gte", "gt", "lte", "lt", "equal", "neq"})


def small_and_large(call: Call) -> tuple[Any, Any] | None:
    """The side that an ordering comparison wants to be the smaller one, and the other; None for equality."""
    left, right = call.args
    if call.target in {"lt", "lte"}:
        return left, right
    return (right, left) if call.target in {"gt", "gte"} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """All modules of a policy that are no tests."""

    scenes: Sequence[Scene]
    names: frozenset[str]
    """Every step of every reference: what the policy reads, wherever."""

    def reads_any(self, *names: str) -> bool:
        """Whether the policy reads a field of one of these names anywhere."""
        return not self.names.isdisjoint(names)

    def requests(self) -> Iterator[tuple[Scene, Call, str]]:
        """Every `http.send`, with the text of its URL as far as it is written out."""
        for scene in self.scenes:
            for call in scene.calls():
                if operator(call) == REQUEST:
                    yield scene, call, f"{url_of(call)} {self._handed_to(scene)}".strip()

    def _handed_to(self, scene: Scene) -> str:
        """The texts that others hand to a function which makes a request: parts of its URL, most likely."""
        if scene.rule.args is None:
            return ""
        handed = (
            argument
            for other in self.scenes
            for call in other.calls()
            if operator(call) == scene.rule.name
            for argument in call.args
        )
        return " ".join(f"/{text.lstrip('/')}" for one in handed if isinstance(text := plain(one), str))

    def on_call_uses(self) -> Iterator[tuple[Scene, Any]]:
        """Every place where somebody's being on call is looked at: Watchkey's facts, or PagerDuty's answer."""
        for scene in self.scenes:
            for node in nodes([scene.exprs, scene.rule.value]):
                if isinstance(node, Ref):
                    path = scene.path(node)
                    if path[:2] == ("input", "on_call") or (REQUEST in path and "oncalls" in path):
                        yield scene, node


def url_of(call: Call) -> str:
    """The URL that a request names, or all text that its making consists of."""
    url = request_field(call, "url")
    return " ".join(value for node in nodes(url) if isinstance(value := plain(node), str)) if url is not None else ""


def request_field(call: Call, name: str) -> Any:
    """The term of one field of a request that is written as an object; None when it has none."""
    if call.args and isinstance(call.args[0], ObjectTerm):
        return field_of(call.args[0], name)
    return None


def field_of(term: ObjectTerm, name: str) -> Any:
    """The term of an object's field, by its name without regard to case; None when it has none."""
    for key, value in term.pairs:
        text = plain(key)
        if isinstance(text, str) and text.casefold() == name.casefold():
            return value
    return None


def see(modules: Sequence[Module]) -> Sight:
    """Look at the modules of one policy; tests are left out, since they make wrong things on purpose."""
    scenes = [
        Scene(module=module, rule=branch, exprs=branch.body)
        for module in modules
        if not module.source.file.endswith("_test.rego")
        for rule in module.rules
        if not rule.name.startswith(("test_", "todo_test_"))
        for branch in _branches(rule)
    ]
    names = {
        step
        for scene in scenes
        for node in nodes([scene.exprs, scene.rule.value, scene.rule.key])
        if isinstance(node, Ref)
        for step in scene.path(node)
        if isinstance(step, str)
    }
    return Sight(scenes=scenes, names=frozenset(names))


def _branches(rule: Rule) -> Iterator[Rule]:
    branch: Rule | None = rule
    while branch is not None:
        yield branch
        branch = branch.otherwise
