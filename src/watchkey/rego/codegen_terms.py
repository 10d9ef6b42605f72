"""Generates Python for terms and expressions."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from watchkey.rego.ast import (
    Array,
    Call,
    Comprehension,
    Const,
    Every,
    Expr,
    Logical,
    Node,
    Not,
    ObjectTerm,
    Ref,
    SetTerm,
    SomeIn,
    Template,
    Term,
    TermExpr,
    Unify,
    Var,
    With,
)
from watchkey.rego.codegen_context import Context
from watchkey.rego.emit import Emitter
from watchkey.rego.parse_terms import MEMBER
from watchkey.rego.program import RuleNode
from watchkey.rego.resolve import ROOTS, dotted
from watchkey.rego.safety import evaluable, evaluation_order, inner_pairs, matchable
from watchkey.rego.values import FALSE, PLAIN_TYPES, TRUE, Set

COMPARISONS: Final = {
    "equal": "({0} == {1} if type({0}) in PLAIN else same(st, {0}, {1}))",
    "neq": "({0} != {1} if type({0}) in PLAIN else not same(st, {0}, {1}))",
    "lt": "less(st, {0}, {1})",
    "lte": "at_most(st, {0}, {1})",
    "gt": "less(st, {1}, {0})",
    "gte": "at_most(st, {1}, {0})",
    "internal.member_2": "member(st, {0}, {1})",
    "internal.member_3": "member_pair(st, {0}, {1}, {2})",
}

_KIND_TESTS: Final = {
    "is_string": "type({0}) is str",
    "is_number": "type({0}) is int or type({0}) is Decimal",
    "is_boolean": "type({0}) is Boolean",
    "is_array": "type({0}) is tuple",
    "is_object": "type({0}) is Object",
    "is_set": "type({0}) is Set",
    "is_null": "{0} is None",
}

_NATIVE: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_SINGLETONS: Final = (None, TRUE, FALSE)


class TermEmitter(Emitter):
    """Generates code for terms; `st` and `memo` are the names of the state and its memory at this point."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.unit)
        self.context = context
        self.st = "st"
        self.memo = "M"
        self.raw: dict[str, str] = {}
        """Names that may hold a part of the input as it arrived, with the name of the state whose input it is."""

    # --- values ------------------------------------------------------------------------------------------------------

    def known(self) -> set[str]:
        """The variables that are bound here."""
        return set(self.bound)

    def term(self, term: Term) -> str:  # noqa: PLR0911 - one return for each kind of term
        """Code that evaluates a term, or fails; gives a Python expression for its value."""
        if isinstance(term, Const):
            return self.unit.constant(term.value)
        if isinstance(term, Var):
            return self.frozen(self.bound[term.name])
        if isinstance(term, Ref):
            return self.reference(term)
        if isinstance(term, Call):
            return self.call(term)
        if isinstance(term, Array):
            parts = self.terms(term.items)
            return self.weighed(self.set("(" + "".join(f"{part}, " for part in parts) + ")"), term.items, parts)
        if isinstance(term, SetTerm):
            parts = self.terms(term.items)
            for item, part in zip(term.items, parts, strict=True):
                if not isinstance(item, Const):
                    self.line(f"if type({part}) not in PLAIN: charge({self.st}, {part})")
            return self.weighed(self.set("Set((" + "".join(f"{part}, " for part in parts) + "))"), term.items, parts)
        if isinstance(term, ObjectTerm):
            # Where a key stands twice, OPA takes the last one, constants standing before all others.
            ordered = sorted(term.pairs, key=lambda pair: not isinstance(pair[0], Const))
            listed = [part for pair in ordered for part in pair]
            parts = self.terms(listed)
            pairs = [f"{key}: {value}" for key, value in zip(parts[::2], parts[1::2], strict=True)]
            return self.weighed(self.set("Object({" + ", ".join(pairs) + "})"), listed, parts)
        if isinstance(term, Template):
            return self.template(term)
        return self.comprehension(term)

    def terms(self, terms: list[Term], raw: Container[int] = ()) -> list[str]:
        """Several terms, in an order in which each finds its variables bound; those at `raw` as they arrived."""
        order = evaluation_order(terms, self.known())
        found = [""] * len(terms)
        for index in order[0] if order is not None else range(len(terms)):
            found[index] = self.raw_term(terms[index]) if index in raw else self.term(terms[index])
        return found

    def arguments(self, call: Call) -> list[str]:
        """The arguments of a call; as they arrived where what is called copes with that."""
        if self.context.traced or self.context.is_mocked(call.target):
            return self.terms(call.args)
        if call.target in _NATIVE or call.target == MEMBER or _against_text(call):
            return self.terms(call.args, raw=(0, 1))
        return self.terms(call.args, raw=range(len(call.args)) if self.is_inlined(call.target) else ())

    def is_inlined(self, name: str) -> bool:  # noqa: ARG002 - for the generator of rules
        """Whether calls of a function are replaced by its body here."""
        return False

    def inlined(self, name: str, args: list[str]) -> str:
        """The body of a function in place of a call; gives the name of its value, which may be undefined."""
        raise NotImplementedError(name, args)

    def weighed(self, made: str, terms: list[Term], parts: list[str]) -> str:
        """Weigh a composite that may hold several composites."""
        doubtful = [part for term, part in zip(terms, parts, strict=True) if not isinstance(term, Const)]
        if len(doubtful) == 2:
            self.line(
                f"if type({doubtful[0]}) not in PLAIN and type({doubtful[1]}) not in PLAIN: weigh({self.st}, {made})"
            )
        elif len(doubtful) > 2:
            self.line(f"if crowded({', '.join(doubtful)}): weigh({self.st}, {made})")
        return made

    def template(self, term: Template) -> str:
        """A template string."""
        texts: list[str] = []
        for part in term.parts:
            if isinstance(part, str):
                texts.append(ascii(part))
            else:
                texts.append(f"template_text({self.tolerant(part)})")
        return self.set(f"joined({self.st}, ({''.join(text + ', ' for text in texts)}))")

    def tolerant(self, part: Expr) -> str:
        """The single value of an expression, or undefined."""

        def write(result: str) -> None:
            with self.body(once=False), self.modified(part.withs):
                if isinstance(part.node, TermExpr):
                    value = self.term(part.node.term)
                    self.line(f"{result} = only({result}, {value})")

        return self.isolated("UNDEF", write)

    def comprehension(self, term: Comprehension) -> str:
        """A comprehension."""
        initial = {"array": "[]", "set": "set()", "object": "{}"}[term.kind]

        def write(result: str) -> None:
            with self.body(once=False):
                self.body_of(term.body)
                if term.key is not None:
                    key, value = self.terms([term.key, term.value])
                    self.line(f"put({self.st}, {result}, {key}, {value})")
                elif term.kind == "array":
                    self.line(f"{result}.append({self.term(term.value)})")
                else:
                    self.line(f"add({self.st}, {result}, {self.term(term.value)})")

        out = self.isolated(initial, write)
        if term.kind == "array":
            return self.set(f"array({self.st}, {out})")
        return self.set(f"weighed({self.st}, {'Set' if term.kind == 'set' else 'Object'}({out}))")

    # --- references --------------------------------------------------------------------------------------------------

    def reference(self, ref: Ref) -> str:
        """A reference; its value."""
        return self.frozen(self.raw_reference(ref))

    def raw_reference(self, ref: Ref) -> str:
        """A reference; where it leads into the input, what is found there as it arrived."""
        self.context.look(self, ref)
        head = ref.head
        if isinstance(head, Var) and head.name in ROOTS and head.name not in self.bound:
            value = self.data(ref.path) if head.name == "data" else self.input(ref.path)
        else:
            value = self.walk(self.raw_term(head), ref.path)
        self.context.found(self)
        return value

    def raw_term(self, term: Term) -> str:
        """As `term`, for a use that copes with a part of the input as it arrived."""
        if isinstance(term, Var):
            return self.bound[term.name]
        return self.raw_reference(term) if isinstance(term, Ref) else self.term(term)

    def frozen(self, name: str) -> str:
        """The name of the Rego value of what may be a part of the input."""
        if name not in self.raw:
            return name
        key = ("frozen", name)
        known = self.at_hand.get(key)
        if known is None:
            known = self.at_hand[key] = self.set(name)
            plain = f"type({known}) is str or {known} is None or (type({known}) is int and SMALL > {known} > -SMALL)"
            self.line(f"if not ({plain}): {known} = take({self.raw[name]}, {known})")
        return known

    def walk(self, value: str, path: list[Term]) -> str:
        """Look-ups in a value."""
        for part in path:
            value = self.step(value, part)
        return value

    def step(self, value: str, part: Term) -> str:  # noqa: PLR0911 - one return for each way to look up
        """One look-up in a value; an unbound variable iterates."""
        value = self.named(value)
        if isinstance(part, Const):
            key = self.unit.constant(part.value)
            if value in self.raw:
                return self.raw_step(value, part, key)
            if type(part.value) is str:
                known = self.at_hand.get(("step", value, key))
                if known is None:
                    quick = f"{value}.get({key}, UNDEF) if type({value}) is Object else deref({value}, {key})"
                    known = self.at_hand["step", value, key] = self.defined(quick)
                return known
            return self.defined(f"deref({value}, {key})")
        if isinstance(part, Var) and part.name not in self.bound:
            return self.iterate(value, part)
        if evaluable(part, self.known()) is not None:
            if value in self.raw:
                return self.raw_step(value, part, self.term(part))
            return self.defined(f"look_up({self.st}, {value}, {self.term(part)})")
        key, item = self.pairs(value)
        self.match(part, key)
        return item

    def raw_step(self, value: str, part: Term, key: str) -> str:
        """One look-up in what may be a part of the input as it arrived."""
        known = self.at_hand.get(("step", value, key))
        if known is not None:
            return known
        general = f"raw_look_up({self.raw[value]}, {value}, {key})"
        if isinstance(part, Const):
            quick = f"type({value}) is dict or type({value}) is Object" if type(part.value) is str else ""
        else:
            quick = f"type({value}) is dict and type({key}) is str"
        name = self.defined(f"{value}.get({key}, UNDEF) if {quick} else {general}" if quick else general)
        self.raw[name] = self.raw[value]
        self.at_hand["step", value, key] = name
        return name

    def items(self, value: str) -> str:
        """Open a loop over the elements of a value; gives the name of the element."""
        item = self.temporary()
        self.loop(item, self._visited("items", value, item))
        return item

    def pairs(self, value: str) -> tuple[str, str]:
        """Open a loop over the keys and elements of a value; gives the names of both."""
        key, item = self.temporary(), self.temporary()
        self.loop(f"{key}, {item}", self._visited("pairs", value, item))
        return key, item

    def _visited(self, way: str, value: str, item: str) -> str:
        if value not in self.raw:
            return f"{way}({self.st}, {value})"
        self.raw[item] = self.raw[value]
        return f"raw_{way}({self.raw[value]}, {value})"

    def iterate(self, value: str, var: Var) -> str:
        """Iterate over a value, binding the key to a variable."""
        if var.wildcard:
            return self.items(value)
        key, item = self.pairs(value)
        self.bound[var.name] = key
        return item

    def input(self, path: list[Term]) -> str:
        """A reference into the input document."""
        names: list[str] = []
        for part in path:
            if not isinstance(part, Const) or type(part.value) is not str:
                break
            names.append(part.value)
        return self.walk(self.input_part(tuple(names)), path[len(names) :])

    def input_part(self, names: tuple[str, ...]) -> str:
        """A part of the input as it arrived; looked up once on each way through a body."""
        key = ("input", self.st, *names)
        known = self.at_hand.get(key)
        if known is not None:
            return known
        if not names:
            name = self.defined(f"{self.st}.input")
        else:
            name = self.temporary()
            looked_up = "".join(f"[{key!a}]" for key in names)
            self.line(f"try: {name} = {self.st}.input{looked_up}")
            with self.block("except LOOKUP:"):
                self.line(f"{name} = input_path({self.st}, {self.unit.pooled('C', names)})")
                self.fail_if(f"{name} is UNDEF")
        self.raw[name] = self.st
        self.at_hand[key] = name
        return name

    def remembered(self, slot: int, function: str) -> str:
        """The value that a function keeps in a slot of the memory."""
        name = self.set(f"{self.memo}[{slot}]")
        self.line(f"if {name} is UNSET: {name} = {function}({self.st})")
        self.fail_if(f"{name} is UNDEF")
        return name

    def data(self, path: list[Term]) -> str:
        """A reference into the data document, where rules and plain data are merged."""
        node = self.context.program.root
        for index, part in enumerate(path):
            child = node.children.get(part.value) if isinstance(part, Const) else None
            if child is None or (child.function and not child.children):
                if isinstance(part, Const):
                    return self.base(node, path[index:])
                return self.virtual(node, path[index:])
            node = child
            if node.document:
                return self.walk(self.remembered(node.slot, f"r{node.slot}"), path[index + 1 :])
        return self.virtual(node, [])

    def base(self, node: RuleNode, path: list[Term]) -> str:
        """A reference that leaves the rules and goes on in plain data."""
        keys: list[Any] = list(node.path[1:])
        count = 0
        for part in path:
            if not isinstance(part, Const) or type(part.value) is not str:
                break
            keys.append(part.value)
            count += 1
        if not all(type(key) is str for key in keys):
            return self.walk(self.base_value(keys), path[count:])
        rest = path[count:]
        while rest and isinstance(rest[0], Const):
            keys.append(rest[0].value)
            rest = rest[1:]
        if not all(type(key) is str for key in keys):
            return self.walk(self.base_value(keys), rest)
        name = self.temporary()
        look_ups = "".join(f"[{self.unit.constant(key)}]" for key in keys)
        self.line(f"try: {name} = {self.st}.data{look_ups}")
        with self.block("except LOOKUP:"):
            self.line(f"{name} = base_path({self.st}.data, {self.unit.pooled('C', tuple(keys))})")
            self.fail_if(f"{name} is UNDEF")
        return self.walk(name, path[count:])

    def base_value(self, keys: list[Any]) -> str:
        """Plain data at a path that has other keys than names."""
        return self.defined(f"base_path({self.st}.data, {self.unit.pooled('C', tuple(keys))})")

    def virtual(self, node: RuleNode, path: list[Term]) -> str:
        """A reference that looks at several rules, or at a whole package."""
        value = self.defined(f"enter({self.st}, {self.context.place(node)})")
        for part in path:
            if evaluable(part, self.known()) is not None:
                value = self.defined(f"virtual_get({self.st}, {value}, {self.term(part)})")
                continue
            key, item = self.temporary(), self.temporary()
            self.loop(f"{key}, {item}", f"virtual_pairs({self.st}, {value})")
            self.match(part, key)
            value = item
        return self.defined(f"settle({self.st}, {value})")

    # --- matching ----------------------------------------------------------------------------------------------------

    def match(self, pattern: Term, value: str) -> None:
        """Compare a value with a pattern, binding the pattern's variables."""
        if isinstance(pattern, Var) and pattern.name not in self.bound:
            if not pattern.wildcard:
                self.bound[pattern.name] = value
            return
        value = self.frozen(self.named(value))
        if isinstance(pattern, Const):
            self.differs(value, pattern)
        elif isinstance(pattern, Array):
            self.fail_if(f"type({value}) is not tuple or len({value}) != {len(pattern.items)}")
            self.match_parts(pattern.items, [f"{value}[{index}]" for index in range(len(pattern.items))])
        elif isinstance(pattern, ObjectTerm):
            keys = self.terms([key for key, _ in pattern.pairs])
            self.fail_if(f"type({value}) is not Object or len({value}) != {len(pattern.pairs)}")
            parts = [self.defined(f"{value}.get({key}, UNDEF)") for key in keys]
            self.match_parts([item for _, item in pattern.pairs], parts)
        else:
            other = self.term(pattern)
            self.fail_if(f"{other} != {value} if type({value}) in PLAIN else not same({self.st}, {value}, {other})")

    def match_parts(self, patterns: list[Term], values: list[str]) -> None:
        """Match several patterns, those first whose variables are bound."""
        left = list(zip(patterns, values, strict=True))
        while left:
            for pair in left:
                if matchable(pair[0], self.known()) is not None:
                    break
            else:
                pair = left[0]
            left.remove(pair)
            pattern, value = pair
            plain = isinstance(pattern, Var) and pattern.wildcard
            if not plain:
                self.match(pattern, self.set(value) if "[" in value else value)

    def differs(self, value: str, constant: Const) -> None:
        """Fail where a value is not a constant."""
        text = self.unit.constant(constant.value)
        single = any(constant.value is each for each in _SINGLETONS)
        self.fail_if(f"{value} is not {text}" if single else f"{value} != {text}")

    def unify(self, left: Term, right: Term) -> None:
        """Make two terms equal, binding variables of either."""
        pairs = [(left, right)]
        while pairs:
            for pair in pairs:
                if self._unify_pair(pair, pairs):
                    break
            else:
                pair = pairs.pop(0)
                self.match(pair[0], self.term(pair[1]))

    def _unify_pair(self, pair: tuple[Term, Term], pairs: list[tuple[Term, Term]]) -> bool:
        known = self.known()
        for first, other in ((pair[1], pair[0]), pair):
            found = evaluable(first, known)
            if found is not None and matchable(other, known | found) is not None:
                pairs.remove(pair)
                self.match(other, self.raw_term(first))
                return True
        inner = inner_pairs(*pair)
        if inner is None:
            return False
        pairs.remove(pair)
        pairs.extend(inner)
        return True

    # --- calls -------------------------------------------------------------------------------------------------------

    def call(self, call: Call) -> str:
        """A function call; gives its value."""
        if self.is_condition(call):
            return self.set(f"TRUE if {self.condition(call, self.arguments(call))} else FALSE")
        return self.applied(call, self.arguments(call))

    def applied(self, call: Call, args: list[str]) -> str:
        """A call of a function with evaluated arguments."""
        self.context.look(self, call)
        value = self._applied(call, args)
        self.context.found(self)
        return value

    def _applied(self, call: Call, args: list[str]) -> str:  # noqa: PLR0911 - one return for each way to call
        name = call.target
        document = self.context.program.find_document(name)
        if document is not None:
            return self.remembered(document.slot, f"r{document.slot}")
        if self.is_inlined(name):
            value = self.inlined(name, args)
            self.fail_if(f"{value} is UNDEF")
            return value
        listed = "".join(f", {arg}" for arg in args)
        if self.context.is_mocked(name):
            return self.defined(f"call_mocked({self.st}, {name!r}, {self.context.function(name)}{listed})")
        if name in ("plus", "minus"):
            sign = "+" if name == "plus" else "-"
            fast = f"{args[0]} {sign} {args[1]} if type({args[0]}) is int and type({args[1]}) is int"
            return self.defined(f"{fast} else {self.context.function(name)}({self.st}{listed})")
        if name == "count":
            return self.defined(
                f"len({args[0]}) if type({args[0]}) in SIZED else {self.context.function(name)}({self.st}{listed})"
            )
        if self.context.is_relation(name):
            results = self.defined(f"{self.context.function(name)}({self.st}{listed})")
            item = self.temporary()
            self.loop(item, results)
            return item
        if (constant := self.context.metadata(name)) is not None:
            return self.unit.constant(constant)
        return self.defined(f"{self.context.function(name)}({self.st}{listed})")

    def is_condition(self, call: Call) -> bool:
        """Whether a call can be written as a Python condition."""
        return (call.target in COMPARISONS or call.target in _KIND_TESTS) and not self.context.is_mocked(call.target)

    def condition(self, call: Call, args: list[str]) -> str:
        """A Python condition for a comparison of evaluated arguments."""
        if call.target in _KIND_TESTS:
            return _KIND_TESTS[call.target].format(self.named(args[0]))
        for arg in call.args:
            if call.target in ("equal", "neq") and isinstance(arg, Const) and type(arg.value) in PLAIN_TYPES:
                return f"{args[0]} {'==' if call.target == 'equal' else '!='} {args[1]}"
        if call.target == MEMBER:
            return self.membership(call.args[1], *args)
        general = COMPARISONS[call.target].format(*map(self.taken, args)).replace("(st,", f"({self.st},")
        if call.target in _NATIVE:
            kind = str if any(isinstance(arg, Const) and type(arg.value) is str for arg in call.args) else int
            if all(type(arg.value) is kind for arg in call.args if isinstance(arg, Const)):
                tested = [value for arg, value in zip(call.args, args, strict=True) if not isinstance(arg, Const)]
                quick = " and ".join([f"type({value}) is {kind.__name__}" for value in tested]) or "True"
                return f"({args[0]} {_NATIVE[call.target]} {args[1]} if {quick} else {general})"
        return general

    def membership(self, term: Term, element: str, collection: str) -> str:
        """A Python condition for ``element in collection``; `term` is the collection's."""
        general = f"member({self.st}, {self.taken(element)}, {self.taken(collection)})"
        if isinstance(term, Const) and type(term.value) is Set:
            if all(type(each) is str for each in term.value):
                return f"(type({element}) is str and {element} in {collection})"
            return f"({general})"
        if collection in self.raw:
            few = f"type({element}) is str and type({collection}) is list and len({collection}) < 64"
            return f"({element} in {collection} if {few} else {general})"
        few = f"type({collection}) is Set or (type({collection}) is tuple and len({collection}) < 64)"
        plain = f"type({element}) is str" if element in self.raw else f"type({element}) in PLAIN"
        return f"({element} in {collection} if {plain} and ({few}) else {general})"

    def taken(self, name: str) -> str:
        """Text for the Rego value of what may be a part of the input, where it is not needed before."""
        return f"take({self.raw[name]}, {name})" if name in self.raw else name

    def print(self, call: Call) -> None:
        """A call of print: undefined arguments are shown as such."""
        shown = [self.tolerant(Expr(TermExpr(arg), call.at)) for arg in call.args]
        place = self.unit.pooled("L", self.context.source.location(call.at))
        self.line(f"printed({self.st}, {place}, ({''.join(name + ', ' for name in shown)}))")

    # --- expressions -------------------------------------------------------------------------------------------------

    def body_of(self, body: list[Expr]) -> None:
        """The expressions of a body, one inside the other."""
        for expr in body:
            self.split_if_deep()
            self.expression(expr)

    def expression(self, expr: Expr) -> None:
        """One expression with its modifiers."""
        self.place = (self.context.source, expr.at)
        saved = self.context.reach(self, expr)
        with self.modified(expr.withs):
            if expr.negated:
                self.negated([Expr(self.hoisted(expr.node), expr.at, expr.end)])
            else:
                self.node(expr)
        self.context.leave(saved)

    def node(self, expr: Expr) -> None:
        """An expression without its modifiers."""
        node = expr.node
        if isinstance(node, TermExpr):
            self.statement(node.term)
        elif isinstance(node, Unify):
            if node.assign and evaluable(node.right, self.known()) is not None:
                self.match(node.left, self.raw_term(node.right))
            else:
                self.unify(node.left, node.right)
        elif isinstance(node, SomeIn):
            self.some_in(node)
        elif isinstance(node, Every):
            self.every(node)
        elif isinstance(node, Not):
            self.negated(node.body)
        elif isinstance(node, Logical):
            self.logical(node)

    def statement(self, term: Term) -> None:
        """A term that must be defined and not false."""
        if isinstance(term, Const):
            if term.value is FALSE:
                self.fail_if("True")
            return
        if isinstance(term, Call):
            if term.target == "print":
                self.print(term)
                return
            arity = self.context.arity(term.target)
            if arity is not None and len(term.args) == arity + 1:
                args = self.terms(term.args[:-1])
                value = self.call_value(term, args)
                self.match(term.args[-1], value)
                return
            if self.is_condition(term):
                args = self.arguments(term)
                self.context.compare(self, self.condition(term, args), term, args)
                return
        value = self.term(term)
        self.context.hold(self, value, term)

    def call_value(self, call: Call, args: list[str]) -> str:
        """The value of a call whose result stands among its arguments."""
        if call.target in COMPARISONS and not self.context.is_mocked(call.target):
            text = COMPARISONS[call.target].format(*args).replace("(st,", f"({self.st},")
            return self.set(f"TRUE if {text} else FALSE")
        return self.applied(call, args)

    def some_in(self, node: SomeIn) -> None:
        """``some k, v in xs``."""
        domain = self.raw_term(node.domain)
        if node.key is None and not (isinstance(node.value, Var) and node.value.name in self.bound):
            self.match(node.value, self.items(domain))
            return
        key, item = self.pairs(domain)
        patterns = [node.value] if node.key is None else [node.key, node.value]
        self.match_parts(patterns, [item] if node.key is None else [key, item])

    def every(self, node: Every) -> None:
        """``every k, v in xs { body }``."""
        domain = self.term(node.domain)
        self.fail_if(f"type({domain}) not in COLLECTIONS")

        def write(result: str) -> None:
            with self.body(once=True):
                key, item = self.pairs(domain)
                if node.key is not None:
                    self.bound[node.key.name] = key
                self.bound[node.value.name] = item
                self.fail_if(self.exists(node.body))
                self.line(f"{result} = False")

        self.fail_if("not " + self.isolated("True", write))

    def exists(self, body: list[Expr]) -> str:
        """The name of a Python truth value: whether a body has a solution."""

        def write(result: str) -> None:
            with self.body(once=True):
                self.body_of(body)
                self.line(f"{result} = True")

        return self.isolated("False", write)

    def negated(self, body: list[Expr]) -> None:
        """Fail where a body has a solution."""
        self.context.refused(self, self.exists(body))

    # OPA evaluates the arguments of a negated call before the negation: where one is undefined, so is the expression.

    def hoisted(self, node: Node) -> Node:
        """A negated expression with its arguments evaluated outside of the negation."""
        if isinstance(node, Unify):
            return Unify(self._outer(node.left), self._outer(node.right), node.assign)
        if not isinstance(node, TermExpr):
            return node
        term = node.term
        if not isinstance(term, Call):
            return TermExpr(self._outer(term))
        keep = self._outer if term.target == "equal" and term.infix else self._argument
        return TermExpr(Call(term.operator, [keep(arg) for arg in term.args], term.at, term.target, term.infix))

    def _outer(self, term: Term) -> Term:
        """A term that stays inside, its own arguments evaluated outside."""
        if not isinstance(term, Ref):
            return self._argument(term)
        head = term.head if isinstance(term.head, Var) else self._argument(term.head)
        return Ref(head, [self._argument(part) for part in term.path], term.at)

    def _argument(self, term: Term) -> Term:
        """A term evaluated outside; composites keep their form."""
        if isinstance(term, Array):
            return Array([self._argument(item) for item in term.items], term.at)
        if isinstance(term, SetTerm):
            return SetTerm([self._argument(item) for item in term.items], term.at)
        if isinstance(term, ObjectTerm):
            return ObjectTerm([(self._argument(key), self._argument(value)) for key, value in term.pairs], term.at)
        if not isinstance(term, Ref | Call):
            return term
        name = self.unit.name("outer#")
        self.bound[name] = self.named(self.term(term))
        return Var(name, term.at, name)

    def logical(self, node: Logical) -> None:
        """``and`` / ``or``."""
        first = self.exists(node.left)
        if node.word == "and":
            self.fail_if(f"not {first}")
            self.fail_if(f"not {self.exists(node.right)}")
            return

        def write(result: str) -> None:
            with self.block(f"if not {result}:"):
                inner = self.exists(node.right)
                self.line(f"{result} = {inner}")

        self.fail_if("not " + self.isolated(first, write))

    # --- modifiers ---------------------------------------------------------------------------------------------------

    def modified(self, withs: list[With]) -> _Modified:
        """The part of an expression that sees the documents and functions given by ``with``."""
        return _Modified(self, withs)

    def changes(self, withs: list[With]) -> list[str]:
        """Python text for the changes that a list of modifiers makes."""
        return [self._change(modifier) for modifier in withs]

    def _change(self, modifier: With) -> str:
        replacement = self._replacement(modifier)
        if modifier.function:
            value = replacement or self.term(modifier.value)
            return f"('function', {modifier.function!r}, {value})"
        target = modifier.target
        path = [part.value for part in target.path if isinstance(part, Const)] if isinstance(target, Ref) else []
        root = target.head.name if isinstance(target, Ref) and isinstance(target.head, Var) else "input"
        if root == "input":
            return f"('input', {self.unit.pooled('C', tuple(path))}, {self.term(modifier.value)})"
        node = self.context.program.find(("data", *path))
        if node is not None and node.function:
            value = replacement or self.term(modifier.value)
            return f"('function', {dotted(node.path)!r}, {value})"
        slots = self.context.slots_below(node, len(path) + 1)
        return f"('data', {self.unit.pooled('C', tuple(path))}, {self.term(modifier.value)}, {slots})"

    def _replacement(self, modifier: With) -> str:
        """Text for a function that stands in, where the value names a function."""
        value = modifier.value
        if modifier.replacement:
            return f"Replacement({self.context.function(modifier.replacement)})"
        if isinstance(value, Ref) and isinstance(value.head, Var) and value.head.name == "data":
            name = dotted(("data", *[part.value for part in value.path if isinstance(part, Const)]))
            if name in self.context.user_functions:
                return f"Replacement({self.context.function(name)})"
        return ""


def _against_text(call: Call) -> bool:
    """Whether a call compares with a constant text or null: no other value is equal to it, in any form."""
    constants = [arg.value for arg in call.args if isinstance(arg, Const)]
    return call.target in ("equal", "neq") and any(each is None or type(each) is str for each in constants)


class _Modified:
    """Switches to a derived state for the time of one expression."""

    def __init__(self, emitter: TermEmitter, withs: list[With]) -> None:
        self._emitter = emitter
        self._withs = withs
        self._saved = (emitter.st, emitter.memo)

    def __enter__(self) -> None:
        if not self._withs:
            return
        emitter = self._emitter
        changes = emitter.changes(self._withs)
        state = emitter.set(f"{emitter.st}.derive([{', '.join(changes)}])")
        memo = emitter.set(f"{state}.memo")
        emitter.st, emitter.memo = state, memo

    def __exit__(self, *_: object) -> None:
        self._emitter.st, self._emitter.memo = self._saved
