"""Generates the Python module of a policy: a function for each rule and each user function."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from watchkey.rego import runtime, weights
from watchkey.rego.ast import Array, Comprehension, Const, Expr, ObjectTerm, Template, Term, Var
from watchkey.rego.codegen_context import Context
from watchkey.rego.codegen_terms import TermEmitter
from watchkey.rego.errors import RegoError, RegoErrors
from watchkey.rego.program import RuleNode, branch_terms, walk_terms
from watchkey.rego.resolve import Branch, ResolvedRule, dotted
from watchkey.rego.rule_index import RuleIndex, rule_index
from watchkey.rego.safety import closure_bodies
from watchkey.rego.values import COLLECTION_TYPES, FALSE, PLAIN_TYPES, TRUE, UNDEFINED, Boolean, Object, Set, from_json

_FROM_RUNTIME: Final = [
    "deref",
    "pairs",
    "items",
    "less",
    "at_most",
    "member",
    "member_pair",
    "look_up",
    "base_path",
    "nested",
    "put",
    "add",
    "put_path",
    "add_path",
    "merge_path",
    "built",
    "conflict",
    "function_conflict",
    "enter",
    "virtual_get",
    "virtual_pairs",
    "settle",
    "take",
    "input_path",
    "raw_look_up",
    "raw_items",
    "raw_pairs",
    "call_mocked",
    "Replacement",
    "template_text",
    "joined",
    "only",
    "printed",
]

RUNTIME: Final[dict[str, Any]] = {
    "UNDEF": UNDEFINED,
    "UNSET": runtime.UNSET,
    "TRUE": TRUE,
    "FALSE": FALSE,
    "Object": Object,
    "Set": Set,
    "COLLECTIONS": COLLECTION_TYPES,
    "SIZED": frozenset({str, *COLLECTION_TYPES}),
    "PLAIN": PLAIN_TYPES,
    **{name: getattr(weights, name) for name in ("weigh", "charge", "same", "crowded", "array", "weighed")},
    "SMALL": 1 << 62,
    "Decimal": Decimal,
    "Boolean": Boolean,
    "LOOKUP": (KeyError, TypeError, IndexError),
    **{name: getattr(runtime, name) for name in _FROM_RUNTIME},
}


_INLINED_BLOCKS: Final = 4
_INLINED_LINES: Final = 300
_INLINED_TERMS: Final = 40
_INLINED_RULES: Final = 3


class RuleEmitter(TermEmitter):
    """Writes the functions of rules."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.args: list[str] = []
        """What stands for the arguments of the function that is being written."""
        self.limit = _INLINED_LINES
        """The line from which on no more bodies are put in place of calls."""

    # --- documents ---------------------------------------------------------------------------------------------------

    def document(self, node: RuleNode) -> None:
        """The functions of one document: ``r`` computes and remembers it, ``d`` asks the memory first."""
        slot = node.slot
        with self.function(f"d{slot}(st)"):
            self.line(f"v = st.memo[{slot}]")
            self.line(f"return r{slot}(st) if v is UNSET else v")
        with self.function(f"r{slot}(st)"):
            self._prologue()
            first = node.every_rule()[0]
            if first.dynamic or (first.kind == "object"):
                self._object(node)
            elif first.kind == "set":
                self._set(node)
            else:
                self._complete(node)
            self.line(f"M[{slot}] = res")
            self.line("return res")

    def _prologue(self) -> None:
        self.st, self.memo = "st", "M"
        self.limit = len(self.unit.lines) + _INLINED_LINES
        self.line("budget = st.budget; budget.left -= 1")
        self.line("if budget.left < 0: budget.exhausted()")
        self.line("M = st.memo")

    def _complete(self, node: RuleNode) -> None:
        self._clauses(node, "conflict", "res", [])

    def _clauses(self, node: RuleNode, conflict: str, target: str, args: list[str]) -> None:
        """All rules of a name, their values compared where they may differ; then the default."""
        self.args = args
        self.line(f"{target} = UNDEF")
        index = None if self.context.traced else rule_index(node)
        if index is not None:
            self._indexed(node, index, conflict)
        else:
            self._one_after_the_other(node, conflict, target)
        if node.default is not None:
            self._default(node.default, target)

    def _one_after_the_other(self, node: RuleNode, conflict: str, target: str) -> None:
        same = self._same_value(node.rules)
        for index, rule in enumerate(node.rules):
            self.context.source = rule.source
            if same and index:
                with self.block(f"if {target} is UNDEF:"):
                    self._clause(rule, target, conflict)
            elif not index:
                self._clause(rule, target, conflict)
            else:
                candidate = self.set("UNDEF")
                self._clause(rule, candidate, conflict)
                with self.block(f"if {candidate} is not UNDEF:"):
                    self._keep(target, candidate, rule, conflict)

    def _indexed(self, node: RuleNode, index: RuleIndex, conflict: str) -> None:
        """Try only the rules whose constant fits; each has a function of its own, written beforehand."""
        self.line(f"for clause in {self._candidates(node, index)}:")
        with self.indented():
            args = "".join(f", {name}" for name in self.args)
            self.line(f"c = clause(st{args})")
            with self.block("if c is not UNDEF:"):
                self._keep("res", "c", node.rules[0], conflict)
                if self._same_value(node.rules):
                    self.line("break")

    def _candidates(self, node: RuleNode, index: RuleIndex) -> str:
        """Text for the functions to try, once the value to look up is at hand."""
        kind, where = index.key
        if kind == "argument":
            found = f"a{where}"
        elif isinstance(where, tuple):
            found = self.temporary()
            self.line(f"try: {found} = take({self.st}, {self.st}.input{_looked_up(where)})")
            self.line(f"except LOOKUP: {found} = input_path({self.st}, {self.unit.pooled('C', where)})")
        name = _index_name(node)
        return f"({name}.get({found}, {name}_rest) if type({found}) in PLAIN else {name}_rest)"

    def clauses(self, node: RuleNode) -> None:
        """The functions of rules that are found by an index, and the index."""
        index = None if self.context.traced else rule_index(node)
        if index is None or node.every_rule()[0].kind == "set":
            return
        name = _index_name(node)
        conflict = "function_conflict" if node.function else "conflict"
        args = "".join(f", a{position}" for position in range(node.arity))
        for at, rule in enumerate(node.rules):
            self.context.source = rule.source
            with self.function(f"{name}_{at}(st{args})"):
                self.st, self.memo = "st", "M"
                self.line("M = st.memo")
                self.line("res = UNDEF")
                self.args = [f"a{position}" for position in range(node.arity)]
                self._clause(rule, "res", conflict)
                self.line("return res")
        self.line(f"{name}_rest = ({''.join(f'{name}_{at}, ' for at in index.rest)})")
        self.line(f"{name} = {{}}")
        for constant, found in index.table.items():
            self.line(f"{name}[{self.unit.constant(constant)}] = ({''.join(f'{name}_{at}, ' for at in found)})")

    def _default(self, rule: ResolvedRule, target: str) -> None:
        self.context.source = rule.source
        self.place = (rule.source, rule.at)
        value = rule.branches[0].value
        with self.block(f"if {target} is UNDEF:"), self.body(once=False):
            self._bind_arguments(rule)
            if value is not None:
                self.line(f"{target} = {self.term(value)}")

    @staticmethod
    def _same_value(rules: list[ResolvedRule]) -> bool:
        """Whether all bodies give the same constant, so that the first success decides."""
        values = []
        for rule in rules:
            for branch in rule.branches:
                if not isinstance(branch.value, Const):
                    return False
                values.append(branch.value.value)
        return all(value == values[0] for value in values)

    def _keep(self, target: str, value: str, rule: ResolvedRule, conflict: str) -> None:
        """Take over a value, or end in a conflict with another one."""
        self.line(f"if {target} is UNDEF: {target} = {value}")
        place = self.unit.pooled("L", rule.source.location(rule.at))
        differs = f"{target} != {value} if type({value}) in PLAIN else not same({self.st}, {target}, {value})"
        self.line(f"elif {differs}: {conflict}({place}, {dotted(rule.prefix)!a})")

    def _clause(self, rule: ResolvedRule, target: str, conflict: str) -> None:
        """One rule with its else branches."""
        for index, branch in enumerate(rule.branches):
            if index:
                with self.block(f"if {target} is UNDEF:"):
                    self._branch(rule, branch, target, conflict)
            else:
                self._branch(rule, branch, target, conflict)

    def _branch(self, rule: ResolvedRule, branch: Branch, target: str, conflict: str) -> None:
        constant = isinstance(branch.value, Const)
        self.place = (rule.source, branch.at)
        with self.body(once=constant):
            self.context.begin(self, rule, branch)
            self._bind_arguments(rule)
            self.body_of(branch.body)
            self.place = (rule.source, branch.at)
            value = self.term(branch.value) if branch.value is not None else "TRUE"
            self.context.succeed(self, rule, branch, value)
            if constant or self.runs_once():
                self.line(f"{target} = {value}")
            else:
                self._keep(target, self.named(value), rule, conflict)

    def _set(self, node: RuleNode) -> None:
        self.line("out = set()")
        for rule in node.rules:
            self.context.source = rule.source
            self.place = (rule.source, rule.at)
            with self.body(once=False):
                self.context.begin(self, rule, rule.branches[0])
                self.body_of(rule.branches[0].body)
                self.place = (rule.source, rule.at)
                if rule.key is not None:
                    element = self.term(rule.key)
                    self.context.succeed(self, rule, rule.branches[0], element)
                    plain = isinstance(rule.key, Const) and type(rule.key.value) in PLAIN_TYPES
                    self.line(f"out.add({element})" if plain else f"add(st, out, {element})")
        constant = all(isinstance(rule.key, Const) for rule in node.rules)
        self.line("res = Set(out)" if constant else "res = weighed(st, Set(out))")

    def _object(self, node: RuleNode) -> None:
        self.line("out = {}")
        for rule in node.rules:
            self.context.source = rule.source
            branch = rule.branches[0]
            self.place = (rule.source, rule.at)
            with self.body(once=False):
                self.context.begin(self, rule, branch)
                self.body_of(branch.body)
                self.place = (rule.source, rule.at)
                final = rule.key if rule.kind == "set" else branch.value
                parts = self.terms([*rule.dynamic, *([final] if final is not None else [])])
                keys, value = parts[: len(rule.dynamic)], parts[-1]
                self.context.succeed(self, rule, branch, value)
                path = "(" + "".join(f"{key}, " for key in keys) + ")"
                if rule.kind == "set":
                    self.line(f"add_path(out, {path}, {value})")
                elif len(keys) == 1 and not node.children:
                    self.line(f"put(st, out, {keys[0]}, {value})")
                else:
                    self.line(f"put_path(out, {path}, {value})")
        self._nested(node)
        simple = not node.children and all(len(rule.dynamic) == 1 and rule.kind != "set" for rule in node.rules)
        self.line(f"res = weighed(st, {'Object' if simple else 'built'}(out))")

    def _nested(self, node: RuleNode) -> None:
        """Merge the documents of rules that stand below."""
        for child in node.children.values():
            if any(each.document for each in child.descend()):
                place = self.context.place(child)
                key = self.unit.constant(child.path[-1])
                value = self.set(f"settle(st, enter(st, {place}))")
                self.line(f"if {value} is not UNDEF: merge_path(out, {key}, {value})")

    # --- functions ---------------------------------------------------------------------------------------------------

    def user_function(self, name: str, node: RuleNode) -> None:
        """A function declared in the policy."""
        args = "".join(f", a{index}" for index in range(node.arity))
        with self.function(f"{self.context.function(name)}(st{args})"):
            self._prologue()
            self._clauses(node, "function_conflict", "res", [f"a{index}" for index in range(node.arity)])
            self.line("return res")

    def is_inlined(self, name: str) -> bool:
        """Whether calls of a function are replaced by its body here: small ones, where blocks are not deep."""
        node = self.context.user_functions.get(name)
        if node is None or self.context.traced or self.context.is_mocked(name):
            return False
        return self.blocks <= _INLINED_BLOCKS and len(self.unit.lines) < self.limit and is_small(node)

    def inlined(self, name: str, args: list[str]) -> str:
        """The body of a function in place of a call; whether its step is left is asked at the next check."""
        node = self.context.user_functions[name]
        saved = self.bound, self.place, self.args, self.context.rule, self.context.source
        self.bound = {}
        self.line(f"{self.st}.budget.left -= 1")
        value = self.temporary()
        self._clauses(node, "function_conflict", value, args)
        self.bound, self.place, self.args, self.context.rule, self.context.source = saved
        return value

    def _bind_arguments(self, rule: ResolvedRule) -> None:
        """Match the arguments with the patterns of the head."""
        patterns = rule.args or []
        self.match_parts(patterns, self.args[: len(patterns)])


def _looked_up(path: tuple[str, ...]) -> str:
    return "".join(f"[{key!a}]" for key in path)


def _index_name(node: RuleNode) -> str:
    """The global name of a node's index: its path, as far as Python can name it."""
    return "x_" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in dotted(node.path))


def is_small(node: RuleNode) -> bool:
    """Whether a function is short enough to stand in place of its calls."""
    rules = node.every_rule()
    if len(rules) > _INLINED_RULES:
        return False
    terms = [term for rule in rules for branch in rule.branches for term in branch_terms(branch)]
    return sum(1 for _ in walk_terms(terms)) <= _INLINED_TERMS


def is_pattern(term: Term) -> bool:
    """Whether an argument of a head can be matched without evaluating anything."""
    if isinstance(term, Array):
        return all(is_pattern(item) for item in term.items)
    if isinstance(term, ObjectTerm):
        return all(isinstance(key, Const) and is_pattern(value) for key, value in term.pairs)
    return isinstance(term, Const | Var)


# --- the module ------------------------------------------------------------------------------------------------------


def compile_unit(context: Context) -> dict[str, Any]:
    """Run the generated text; gives its namespace."""
    unit = context.unit
    namespace = {**RUNTIME, **unit.namespace, "from_json": from_json}
    text = "\n".join(unit.lines) + "\n"
    try:
        code = compile(text, unit.file, "exec")
    except (SyntaxError, RecursionError, MemoryError) as problem:
        message = f"a rule is too complex to compile: {problem}"
        raise RegoErrors([RegoError(code="rego_compile_error", message=message)]) from None
    exec(code, namespace)  # noqa: S102 - the text was written by this package from a checked policy
    return namespace


def generate(context: Context) -> dict[str, Any]:
    """Generate and load the code of a whole policy."""
    emitter = RuleEmitter(context)
    for node in context.program.root.descend():
        if node.document:
            emitter.clauses(node)
            emitter.document(node)
    for name, node in context.user_functions.items():
        emitter.clauses(node)
        emitter.user_function(name, node)
    for node in context.program.root.descend():
        context.make_place(node)
    namespace = compile_unit(context)
    context.link_places(namespace)
    return namespace


def all_expressions(rule: ResolvedRule) -> Iterator[Expr]:
    """Every expression of a rule, inner bodies included."""
    stack: list[Expr] = [expr for branch in rule.branches for expr in branch.body]
    terms: list[Term] = [*(rule.args or []), *rule.dynamic]
    if rule.key is not None:
        terms.append(rule.key)
    for branch in rule.branches:
        terms.extend(branch_terms(branch))
    for term in walk_terms(terms):
        if isinstance(term, Comprehension):
            stack.extend(term.body)
        elif isinstance(term, Template):
            stack.extend(part for part in term.parts if isinstance(part, Expr))
    while stack:
        expr = stack.pop()
        yield expr
        for body in closure_bodies(expr):
            stack.extend(body)
