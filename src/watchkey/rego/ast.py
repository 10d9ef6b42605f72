"""The syntax tree: terms, expressions, rules, modules. `at` is an offset into the module's source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from watchkey.rego.source import Source


@dataclass(slots=True)
class Const:
    """A value known at compile time."""

    value: Any
    at: int = 0


@dataclass(slots=True)
class Var:
    """A variable. After resolution its name is unique in its rule; ``data`` and ``input`` are the root documents.

    `shown` is the name in the source (``_`` for a wildcard).
    """

    name: str
    at: int = 0
    shown: str = ""

    @property
    def wildcard(self) -> bool:
        """Whether it was written ``_``."""
        return self.shown == "_"


@dataclass(slots=True)
class Ref:
    """`head` followed by look-ups; the head is a variable, a call, a composite or a comprehension."""

    head: Term
    path: list[Term]
    at: int = 0


@dataclass(slots=True)
class Call:
    """A function call; `operator` is the dotted name as written, `target` the name after resolution."""

    operator: Term
    args: list[Term]
    at: int = 0
    target: str = ""
    infix: bool = False


@dataclass(slots=True)
class Array:
    """An array literal."""

    items: list[Term]
    at: int = 0


@dataclass(slots=True)
class ObjectTerm:
    """An object literal."""

    pairs: list[tuple[Term, Term]]
    at: int = 0


@dataclass(slots=True)
class SetTerm:
    """A set literal."""

    items: list[Term]
    at: int = 0


@dataclass(slots=True)
class Comprehension:
    """``[value | body]``, ``{value | body}`` or ``{key: value | body}``; `kind` is array, set or object."""

    kind: str
    value: Term
    body: list[Expr]
    at: int = 0
    key: Term | None = None


@dataclass(slots=True)
class Template:
    """A template string: pieces of text and expressions."""

    parts: list[str | Expr]
    at: int = 0
    raw: bool = False
    """Whether it was written between backquotes."""


Term: TypeAlias = Const | Var | Ref | Call | Array | ObjectTerm | SetTerm | Comprehension | Template


@dataclass(slots=True)
class With:
    """One ``with target as value``; `target` is a Ref or Var."""

    target: Ref | Var
    value: Term
    at: int = 0
    function: str = ""
    """After resolution: the built-in that is replaced, empty for a document or a function of the policy."""
    replacement: str = ""
    """After resolution: the built-in that stands in, empty where `value` does."""


@dataclass(slots=True)
class TermExpr:
    """A term that has to be defined and not false."""

    term: Term


@dataclass(slots=True)
class Unify:
    """``left = right``; `assign` where it was written ``:=``."""

    left: Term
    right: Term
    assign: bool = False


@dataclass(slots=True)
class Some:
    """``some x, y``: declares variables."""

    names: list[Var]


@dataclass(slots=True)
class SomeIn:
    """``some value in domain`` or ``some key, value in domain``."""

    key: Term | None
    value: Term
    domain: Term


@dataclass(slots=True)
class Every:
    """``every key, value in domain { body }``."""

    key: Var | None
    value: Var
    domain: Term
    body: list[Expr]


@dataclass(slots=True)
class Not:
    """``not { body }`` as a scope of its own (with ``future.keywords.not``)."""

    body: list[Expr]
    explicit: bool = True


@dataclass(slots=True)
class Logical:
    """``left and right`` or ``left or right`` (with the future keywords); each side is a scope of its own."""

    word: str
    left: list[Expr]
    right: list[Expr]
    braced: tuple[bool, bool] = (False, False)
    """Which of them were written between braces."""


Node: TypeAlias = TermExpr | Unify | Some | SomeIn | Every | Not | Logical


@dataclass(slots=True)
class Expr:
    """One expression of a body, with its modifiers."""

    node: Node
    at: int = 0
    end: int = 0
    negated: bool = False
    withs: list[With] = field(default_factory=list)


@dataclass(slots=True)
class Rule:
    """A rule as written. `path` is the head after the package: its first element a name, the others any terms.

    `kind`: ``complete``, ``set`` (contains), ``object`` (a head with a variable key) or ``function``.
    """

    path: list[Term]
    at: int
    end: int = 0
    args: list[Term] | None = None
    key: Term | None = None
    value: Term | None = None
    assign: bool = False
    default: bool = False
    body: list[Expr] = field(default_factory=list)
    otherwise: Rule | None = None
    uses_if: bool = False
    uses_contains: bool = False
    has_body: bool = False
    has_value: bool = False
    kind: str = "complete"

    @property
    def name(self) -> str:
        """The first name of the head."""
        head = self.path[0]
        return head.name if isinstance(head, Var) else str(head)


@dataclass(slots=True)
class Import:
    """``import path as alias``."""

    path: list[str]
    at: int
    alias: str = ""

    @property
    def name(self) -> str:
        """The name by which the module knows it."""
        return self.alias or self.path[-1]


@dataclass(slots=True)
class Annotation:
    """A ``# METADATA`` block: its YAML as a value, where it stands, and the scope it names or implies."""

    scope: str
    content: dict[str, Any]
    at: int
    end_line: int
    target: int = -1
    """Offset of the package or rule that it describes."""


@dataclass(slots=True)
class Module:
    """A parsed file."""

    source: Source
    package: list[str]
    package_at: int
    imports: list[Import]
    rules: list[Rule]
    dialect: str
    annotations: list[Annotation] = field(default_factory=list)
    switches: list[Import] = field(default_factory=list)
    """The imports that only change the language: ``rego.v1`` and ``future.keywords``."""
