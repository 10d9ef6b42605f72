"""``strings.render_template``: Go's ``text/template`` over the values that a policy can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from html import escape as html_escape
from typing import Any, Final
from urllib.parse import quote_plus

from watchkey.rego.builtins import BuiltinError, CallContext, builtin
from watchkey.rego.builtins.formatting import sprintf
from watchkey.rego.builtins.template_syntax import Action, Block, Name, Node, Operand, Pipeline, Text, parse_template
from watchkey.rego.types import ANY, STRING, object_of
from watchkey.rego.values import Boolean, Object, Set, boolean, key_text, number_text

_DEEPEST_CALL: Final = 100


class Number(str):
    """A number of the data: to a Go template it is the text of the number, not a number."""

    __slots__ = ()


class _Missing:
    """What a map gives for a key that it does not have."""

    __slots__ = ()


_MISSING: Final = _Missing()


def _from_value(value: Any) -> Any:
    """A Rego value as the template sees it: dict, list, str, Number, bool, None."""
    kind = type(value)
    if kind is Object:
        return {key_text(key): _from_value(item) for key, item in value.pairs()}
    if kind is tuple or kind is Set:
        return [_from_value(each) for each in (value if kind is tuple else value.ordered())]
    if kind is Boolean:
        return bool(value)
    return value if value is None or kind is str else Number(number_text(value))


def _to_value(value: Any) -> Any:
    """A template's value for Rego's sprintf."""
    if isinstance(value, bool):
        return boolean(value)
    if isinstance(value, float):
        return Decimal(repr(value))
    return value if isinstance(value, int) else str(value) if isinstance(value, str) else _shown(value, inner=True)


def _shown(value: Any, *, inner: bool = False) -> str:
    """The value as Go's ``%v`` shows it."""
    if value is None or value is _MISSING:
        return "<nil>" if inner else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join([f"{key}:{_shown(value[key], inner=True)}" for key in sorted(value)]) + "]"
    if isinstance(value, list):
        return "[" + " ".join([_shown(each, inner=True) for each in value]) + "]"
    return _shown_float(value) if isinstance(value, float) else str(value)


def _shown_float(value: float) -> str:
    """The shortest text, with an exponent below 1e-4 and from 1e21 on."""
    number = Decimal(repr(value)).normalize()
    if not number or -5 < number.adjusted() < 21:
        return format(number, "f")
    digits, _, exponent = f"{number:e}".partition("e")
    return f"{digits}e{exponent[0]}{exponent[1:].zfill(2)}"


def _holds(value: Any) -> bool:
    """Go's truth: false for zero, the empty text, list and map, and for nothing at all."""
    return value is not _MISSING and bool(value)


# --- functions -------------------------------------------------------------------------------------------------------


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else ""


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise BuiltinError("error calling eq: missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(left: Any, right: Any) -> bool:
    if left is _MISSING or right is _MISSING or left is None or right is None:
        return (left is _MISSING or left is None) == (right is _MISSING or right is None)
    if not _kind(left) or not _kind(right):
        raise BuiltinError("error calling eq: non-comparable type")
    if _kind(left) != _kind(right):
        raise BuiltinError("error calling eq: incompatible types for comparison")
    return str(left) == str(right) if isinstance(left, str) else bool(left == right)


def _less(left: Any, right: Any) -> bool:
    kinds = _kind(left), _kind(right)
    if not all(kinds) or "bool" in kinds:
        raise BuiltinError("error calling lt: invalid type for comparison")
    if kinds[0] != kinds[1]:
        raise BuiltinError("error calling lt: incompatible types for comparison")
    return bool(str(left) < str(right)) if isinstance(left, str) else bool(left < right)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list | dict):
        return len(value)
    raise BuiltinError("error calling len: len of this type")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            if type(key) is not str:
                raise BuiltinError("error calling index: value has the wrong type for a key")
            value = value.get(key, _MISSING)
        elif isinstance(value, list | str):
            data: Any = value.encode() if isinstance(value, str) else value
            value = data[_position(key, len(data) - 1)]
        else:
            raise BuiltinError("error calling index: can't index item of this type")
    return value


def _position(key: Any, last: int) -> int:
    if _kind(key) != "int":
        raise BuiltinError("error calling index: cannot index slice/array with this type")
    if not 0 <= key <= last:
        raise BuiltinError(f"error calling index: index out of range: {key}")
    return int(key)


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, str | list) or len(bounds) > (2 if isinstance(value, str) else 3):
        raise BuiltinError("error calling slice: cannot slice this")
    data: Any = value.encode() if isinstance(value, str) else value
    start, end = [*[_position(bound, len(data)) for bound in bounds], *[0, len(data)][len(bounds) :]][:2]
    if start > end:
        raise BuiltinError(f"error calling slice: invalid slice index: {start} > {end}")
    return data[start:end].decode("utf-8", "replace") if isinstance(value, str) else data[start:end]


def _print(*values: Any) -> str:
    """A space stands between two values of which neither is a text."""
    pieces = []
    for place, value in enumerate(values):
        if place and not isinstance(value, str) and not isinstance(values[place - 1], str):
            pieces.append(" ")
        pieces.append(_shown(value, inner=True))
    return "".join(pieces)


def _html(*values: Any) -> str:
    return html_escape(_text_of(values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;").replace("\0", "\ufffd")


_JS: Final = str.maketrans(
    {
        "\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D",
        **{chr(code): f"\\u{code:04X}" for code in range(32)},
    }
)  # fmt: skip


def _text_of(values: tuple[Any, ...]) -> str:
    return str(values[0]) if len(values) == 1 and isinstance(values[0], str) else _print(*values)


def _not(value: Any) -> bool:
    return not _holds(value)


_FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], int, int | None]]] = {
    "not": (_not, 1, 1),
    "len": (_length, 1, 1),
    "index": (_index, 1, None),
    "slice": (_slice, 1, None),
    "print": (_print, 0, None),
    "println": (lambda *values: " ".join([_shown(each, inner=True) for each in values]) + "\n", 0, None),
    "html": (_html, 0, None),
    "js": (lambda *values: _text_of(values).translate(_JS), 0, None),
    "urlquery": (lambda *values: quote_plus(_text_of(values), safe="~"), 0, None),
    "eq": (_equal, 1, None),
    "ne": (lambda left, right: not _same(left, right), 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda left, right: _less(left, right) or _same(left, right), 2, 2),
    "gt": (lambda left, right: not (_less(left, right) or _same(left, right)), 2, 2),
    "ge": (lambda left, right: not _less(left, right), 2, 2),
}
"""Function, least and most arguments; ``and``, ``or`` and ``printf`` are apart."""


# --- execution -------------------------------------------------------------------------------------------------------


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


class _Run:
    """One rendering: writes to `out`, pays for every node."""

    def __init__(self, ctx: CallContext, templates: dict[str, tuple[Node, ...]]) -> None:
        self._ctx = ctx
        self._templates = templates
        self.out: list[str] = []
        self._size = 0
        self._depth = 0

    def template(self, nodes: tuple[Node, ...], dot: Any) -> None:
        """Render a whole template, with ``$`` for what it is given."""
        self._depth += 1
        if self._depth > _DEEPEST_CALL:
            raise BuiltinError(f"exceeded maximum template depth ({_DEEPEST_CALL})")
        self._nodes(nodes, dot, [("$", dot)])
        self._depth -= 1

    def _write(self, text: str) -> None:
        self._size += len(text)
        self._ctx.check_size(self._size)
        self.out.append(text)

    def _nodes(self, nodes: tuple[Node, ...], dot: Any, variables: list[tuple[str, Any]]) -> None:
        held = len(variables)
        for node in nodes:
            self._ctx.spend(1)
            if isinstance(node, Text):
                self._write(node.text)
            elif isinstance(node, Action):
                value = self._pipeline(node.pipeline, dot, variables)
                if not node.pipeline.names:
                    self._write(_shown(value))
            else:
                self._block(node, dot, variables)
        del variables[held:]

    def _block(self, node: Block, dot: Any, variables: list[tuple[str, Any]]) -> None:
        held = len(variables)
        if node.kind == "break":
            raise _Break
        if node.kind == "continue":
            raise _Continue
        if node.kind == "template":
            body = self._templates.get(node.name)
            if body is None:
                raise BuiltinError(f'template "{node.name}" not defined')
            self.template(body, self._pipeline(node.pipeline, dot, variables) if node.pipeline else None)
            return
        if node.pipeline is None:
            raise BuiltinError(f"missing value for {node.kind}")
        if node.kind == "range":
            self._range(node, dot, variables)
        else:
            value = self._pipeline(node.pipeline, dot, variables)
            inner = value if node.kind == "with" else dot
            if _holds(value):
                self._nodes(node.body, inner, variables)
            else:
                self._nodes(node.otherwise, dot, variables)
        del variables[held:]

    def _range(self, node: Block, dot: Any, variables: list[tuple[str, Any]]) -> None:
        pipeline = node.pipeline
        if pipeline is None:
            raise BuiltinError("missing value for range")
        found = self._commands(pipeline, dot, variables)
        held = len(variables)
        ran = False
        for key, item in _pairs(found):
            ran = True
            self._ctx.spend(1)
            named = (item,) if len(pipeline.names) == 1 else (key, item)
            if pipeline.declares:
                variables.extend(zip(pipeline.names, named, strict=False))
            else:
                for name, value in zip(pipeline.names, named, strict=False):
                    _assign(variables, name, value)
            try:
                self._nodes(node.body, item, variables)
            except _Break:
                break
            except _Continue:
                pass
            finally:
                del variables[held:]
        if not ran:
            self._nodes(node.otherwise, dot, variables)

    def _pipeline(self, pipeline: Pipeline, dot: Any, variables: list[tuple[str, Any]]) -> Any:
        value = self._commands(pipeline, dot, variables)
        for name in pipeline.names:
            if pipeline.declares:
                variables.append((name, value))
            else:
                _assign(variables, name, value)
        return value

    def _commands(self, pipeline: Pipeline, dot: Any, variables: list[tuple[str, Any]]) -> Any:
        piped: tuple[Any, ...] = ()
        for command in pipeline.commands:
            self._ctx.spend(1)
            piped = (self._command(command, dot, variables, piped),)
        return piped[0]

    def _command(
        self, command: tuple[Operand, ...], dot: Any, variables: list[tuple[str, Any]], piped: tuple[Any, ...]
    ) -> Any:
        first = command[0]
        if isinstance(first.head, Name) and first.head.text[0] != "$" and not first.fields:
            return self._call(first.head.text, command[1:], dot, variables, piped)
        if len(command) > 1 or piped:
            raise BuiltinError("can't give argument to non-function")
        if first.head is None and first.is_literal:
            raise BuiltinError("nil is not a command")
        return self._operand(first, dot, variables)

    def _call(
        self,
        name: str,
        operands: tuple[Operand, ...],
        dot: Any,
        variables: list[tuple[str, Any]],
        piped: tuple[Any, ...],
    ) -> Any:
        if name in ("and", "or"):
            return self._choose(name, operands, dot, variables, piped)
        arguments = [*[self._operand(each, dot, variables) for each in operands], *piped]
        if name == "printf":
            if not arguments or not isinstance(arguments[0], str):
                raise BuiltinError("wrong type of value for printf; expected string")
            return sprintf(self._ctx, str(arguments[0]), tuple([_to_value(each) for each in arguments[1:]]))
        function, least, most = _FUNCTIONS[name]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise BuiltinError(f"wrong number of args for {name}: want {least} got {len(arguments)}")
        return function(*arguments)

    def _choose(
        self,
        name: str,
        operands: tuple[Operand, ...],
        dot: Any,
        variables: list[tuple[str, Any]],
        piped: tuple[Any, ...],
    ) -> Any:
        """``and`` and ``or``: what comes after the deciding argument is not evaluated."""
        value: Any = None
        for operand in operands:
            value = self._operand(operand, dot, variables)
            if _holds(value) != (name == "and"):
                return value
        if piped:
            return piped[0]
        if not operands:
            raise BuiltinError(f"wrong number of args for {name}: want at least 1 got 0")
        return value

    def _operand(self, operand: Operand, dot: Any, variables: list[tuple[str, Any]]) -> Any:
        head = operand.head
        if operand.is_literal:
            value = head
        elif isinstance(head, Pipeline):
            value = self._pipeline(head, dot, variables)
        elif isinstance(head, Name):
            value = (
                self._call(head.text, (), dot, variables, ()) if head.text[0] != "$" else _look_up(variables, head.text)
            )
        else:
            value = dot
        for field in operand.fields:
            value = _field(value, field)
        return value


def _field(value: Any, field: str) -> Any:
    if value is _MISSING:
        return _MISSING
    if value is None:
        raise BuiltinError(f"nil pointer evaluating interface {{}}.{field}")
    if not isinstance(value, dict):
        raise BuiltinError(f"can't evaluate field {field} in type interface {{}}")
    return value.get(field, _MISSING)


def _look_up(variables: list[tuple[str, Any]], name: str) -> Any:
    for held, value in reversed(variables):
        if held == name:
            return value
    raise BuiltinError(f"undefined variable: {name}")


def _assign(variables: list[tuple[str, Any]], name: str, value: Any) -> None:
    for place in range(len(variables) - 1, -1, -1):
        if variables[place][0] == name:
            variables[place] = (name, value)
            return
    raise BuiltinError(f"undefined variable: {name}")


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from sorted(value.items())
    elif isinstance(value, list):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((number, number) for number in range(value))
    elif value is not None and value is not _MISSING:
        raise BuiltinError(f"range can't iterate over {_shown(value)}")


@builtin("strings.render_template", (STRING, object_of(STRING, ANY)), STRING, context=True)
def render_template(ctx: CallContext, template: str, variables: Object) -> str:
    """The Go template with the variables filled in; a missing one shows as ``<undefined>``."""
    templates = parse_template(template, frozenset(_FUNCTIONS) | {"and", "or", "printf"})
    run = _Run(ctx, templates)
    run.template(templates[""], _from_value(variables))
    return "".join(run.out).replace("<no value>", "<undefined>")
