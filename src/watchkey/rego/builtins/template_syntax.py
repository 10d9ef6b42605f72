"""Reads Go's template language into a tree: text, actions, pipelines, and blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import BuiltinError

_DEEPEST: Final = 100


@dataclass(frozen=True, slots=True)
class Name:
    """A function's name, or a variable's with its dollar sign."""

    text: str


@dataclass(frozen=True, slots=True)
class Operand:
    """A literal, ``.``, a name or a pipeline in parentheses, and the fields that are taken of it."""

    head: Any
    fields: tuple[str, ...] = ()
    is_literal: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands that pass their value on; `names` of variables that get it, declared or only assigned."""

    commands: tuple[tuple[Operand, ...], ...]
    names: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text that is written as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Action:
    """A pipeline whose value is written, unless it goes into variables."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Block:
    """``if``, ``with``, ``range``, ``template``, ``break`` or ``continue``."""

    kind: str
    pipeline: Pipeline | None = None
    body: tuple[Any, ...] = ()
    otherwise: tuple[Any, ...] = ()
    name: str = ""


Node: TypeAlias = Text | Action | Block

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<string>"(?:[^"\\\n]|\\.)*") | (?P<raw>`[^`]*`) | (?P<char>'(?:[^'\\\n]|\\.)+')
      | (?P<number>[-+]?(?:
            0[xX][0-9a-fA-F_]+ | 0[bB][01_]+ | 0[oO][0-7_]+
            | (?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?
        ))
      | (?P<field>\.[^\W\d]\w*) | (?P<dot>\.(?![\w])) | (?P<variable>\$\w*) | (?P<word>[^\W\d]\w*)
      | (?P<mark>:=|=|\||\(|\)|,)""",
    re.VERBOSE,
)

_COMMENT: Final = re.compile(r"\{\{(?P<before>-\s)?\s*/\*.*?\*/(?P<after>\s-)?\s*\}\}", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_KEYWORDS: Final = frozenset({"if", "with", "range", "else", "end", "define", "template", "block", "break", "continue"})

Token: TypeAlias = tuple[str, str]
"""Kind and text; a run of blanks is one token of the kind ``space``."""


def _failed(why: str) -> BuiltinError:
    return BuiltinError(f"template: template: {why}")


def _unescaped(body: str) -> str:
    def one(found: re.Match[str]) -> str:
        for group, base in ((1, 16), (2, 16), (3, 16), (4, 8)):
            if found[group] is not None:
                code = int(found[group], base)
                if code > 0x10FFFF:
                    raise _failed("invalid syntax")
                return chr(code)
        mark = found[5]
        if mark not in _SIMPLE and mark not in "\\\"'":
            raise _failed("invalid syntax")
        return _SIMPLE.get(mark, mark)

    return _ESCAPE.sub(one, body)


def _literal(kind: str, text: str) -> Any:
    if kind == "string":
        return _unescaped(text[1:-1])
    if kind == "raw":
        return text[1:-1]
    if kind == "char":
        character = _unescaped(text[1:-1])
        if len(character) != 1:
            raise _failed(f"malformed character constant: {text}")
        return ord(character)
    try:
        prefixed = text.lstrip("+-")[:2].lower() in ("0x", "0b", "0o")
        if prefixed or not any(mark in text for mark in ".eE"):
            number: int | float = int(text, 0 if prefixed else 10)
        else:
            number = float(text)
    except ValueError:
        raise _failed(f"bad number syntax: {text}") from None
    if isinstance(number, int) and number.bit_length() > 63:
        raise _failed(f"integer overflow: {text}")
    return number


def _tokens(action: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(action):
        token = _TOKEN.match(action, at)
        if token is None or token.lastgroup is None:
            raise _failed(f"unexpected {action[at]!r} in command")
        found.append((token.lastgroup, token.group()))
        at = token.end()
    return found


def _pieces(source: str) -> Iterable[tuple[str, str]]:
    """``("text", ...)`` and ``("action", ...)`` in turn, white space trimmed as the action's marks ask."""
    at = 0
    trim = False
    while True:
        start = source.find("{{", at)
        text = source[at:] if start < 0 else source[at:start]
        text = text.lstrip(" \t\r\n") if trim else text
        if start < 0:
            yield "text", text
            return
        comment = _COMMENT.match(source, start)
        left_trim = source.startswith("{{-", start) and source[start + 3 : start + 4] in tuple(" \t\r\n")
        yield "text", text.rstrip(" \t\r\n") if left_trim else text
        if comment:
            at, trim = comment.end(), comment["after"] is not None
            continue
        begin = start + (4 if left_trim else 2)
        end, at, trim = _end_of_action(source, begin)
        yield "action", source[begin:end].strip(" \t\r\n")


def _end_of_action(source: str, at: int) -> tuple[int, int, bool]:
    """``(end of its text, start of what follows, whether to trim that)``; quotes hide braces."""
    while at < len(source):
        if source.startswith("}}", at):
            return at, at + 2, False
        if source[at] in " \t\r\n" and source.startswith("-}}", at + 1):
            return at, at + 4, True
        token = _TOKEN.match(source, at)
        at = token.end() if token and token.lastgroup in ("string", "raw", "char") else at + 1
    raise _failed("unclosed action")


class _Parser:
    """Builds the tree of one template text, and of those it defines."""

    def __init__(self, source: str, functions: frozenset[str]) -> None:
        self._pieces = list(_pieces(source))
        self._at = 0
        self._functions = functions
        self._scope: list[str] = ["$"]
        self._loops = 0
        self._depth = 0
        self.templates: dict[str, tuple[Node, ...]] = {}

    def whole(self) -> None:
        """Parse everything; the main template has the name ``""``."""
        body, ended = self._list(())
        if ended:
            raise _failed(f"unexpected {{{{{ended}}}}}")
        self.templates[""] = body

    def _list(self, ends: tuple[str, ...]) -> tuple[tuple[Node, ...], str]:
        """Nodes up to one of the ending words, and that action's text."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _failed("too many nested blocks")
        nodes: list[Node] = []
        while self._at < len(self._pieces):
            kind, text = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                nodes += [Text(text)] if text else []
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                self._depth -= 1
                if word not in ends:
                    raise _failed(f"unexpected {{{{{word}}}}}")
                return tuple(nodes), text
            node = self._action(word, text)
            nodes += [node] if node else []
        if ends:
            raise _failed("unexpected EOF")
        self._depth -= 1
        return tuple(nodes), ""

    def _action(self, word: str, text: str) -> Node | None:
        if not text:
            raise _failed("missing value for command")
        rest = text[len(word) :]
        if word in ("if", "with", "range"):
            return self._control(word, rest)
        if word in ("break", "continue"):
            if rest.strip() or not self._loops:
                raise _failed(f"{{{{{word}}}}} outside {{{{range}}}}")
            return Block(word)
        if word in ("define", "block", "template"):
            return self._named(word, rest)
        return Action(self._pipeline(rest=text))

    def _control(self, kind: str, rest: str) -> Block:
        held, loops = len(self._scope), self._loops
        pipeline = self._pipeline(rest=rest, ranging=kind == "range")
        self._loops += kind == "range"
        inner = len(self._scope)
        body, ended = self._list(("end", "else"))
        self._loops = loops
        otherwise: tuple[Node, ...] = ()
        del self._scope[inner:]
        if ended.startswith("else"):
            chained = ended[4:].strip()
            word = chained.split(None, 1)[0] if chained else ""
            if word and (word != kind or kind == "range"):
                raise _failed(f"unexpected <{word}> in else")
            if word:
                otherwise = (self._control(kind, chained[len(word) :]),)
            else:
                otherwise, ended = self._list(("end",))
        del self._scope[held:]
        return Block(kind, pipeline, body, otherwise)

    def _named(self, kind: str, rest: str) -> Block | None:
        tokens = [token for token in _tokens(rest) if token[0] != "space"]
        if not tokens or tokens[0][0] not in ("string", "raw"):
            raise _failed(f"unexpected token in {kind} clause")
        name = _literal(*tokens[0])
        after = rest[rest.index(tokens[0][1]) + len(tokens[0][1]) :]
        pipeline = self._pipeline(rest=after) if after.strip() else None
        if kind == "template":
            return Block(kind, pipeline, name=name)
        if (kind == "define") == (pipeline is not None):
            raise _failed(f"unexpected token in {kind} clause")
        scope, loops = self._scope, self._loops
        self._scope, self._loops = ["$"], 0
        body, _ = self._list(("end",))
        self._scope, self._loops = scope, loops
        self.templates[name] = body
        return Block("template", pipeline, name=name) if kind == "block" else None

    # --- pipelines

    def _pipeline(self, *, rest: str, ranging: bool = False) -> Pipeline:
        tokens = _tokens(rest)
        pipeline, left = self._declared_pipeline(tokens, ranging=ranging)
        if left:
            raise _failed(f"unexpected {left[0][1]!r} in command")
        return pipeline

    def _declared_pipeline(self, tokens: list[Token], *, ranging: bool = False) -> tuple[Pipeline, list[Token]]:
        names, mark, tokens = _declaration(tokens, ranging=ranging)
        if mark == "=" and any(name not in self._scope for name in names):
            raise _failed(f"undefined variable {names[0]!r}")
        commands: list[tuple[Operand, ...]] = []
        while True:
            command, tokens = self._command(tokens)
            commands.append(command)
            if not tokens or tokens[0] != ("mark", "|"):
                break
            tokens = tokens[1:]
        for later in commands[1:]:
            if later[0].is_literal or later[0].head is None:
                raise _failed("non executable command in pipeline")
        if mark == ":=":
            self._scope.extend(names)
        return Pipeline(tuple(commands), names, declares=mark == ":="), tokens

    def _command(self, tokens: list[Token]) -> tuple[tuple[Operand, ...], list[Token]]:
        operands: list[Operand] = []
        tokens = _skip(tokens)
        while tokens and tokens[0] not in (("mark", "|"), ("mark", ")")):
            operand, tokens = self._operand(tokens)
            operands.append(operand)
            if tokens and tokens[0][0] not in ("space", "mark"):
                raise _failed(f"unexpected {tokens[0][1]!r} after term")
            tokens = _skip(tokens)
        if not operands:
            raise _failed("missing value for command")
        return tuple(operands), tokens

    def _operand(self, tokens: list[Token]) -> tuple[Operand, list[Token]]:
        (kind, text), rest = tokens[0], tokens[1:]
        fields: list[str] = []
        literal = False
        head: Any = None
        if kind in ("string", "raw", "char", "number"):
            head, literal = _literal(kind, text), True
        elif kind == "field":
            fields.append(text[1:])
        elif kind == "variable":
            if text not in self._scope:
                raise _failed(f"undefined variable {text!r}")
            head = Name(text)
        elif kind == "word":
            head, literal = self._word(text)
        elif (kind, text) == ("mark", "("):
            head, rest = self._parenthesis(rest)
        elif kind != "dot":
            raise _failed(f"unexpected {text!r} in operand")
        while rest and rest[0][0] == "field":
            if literal or kind == "dot":
                raise _failed(f"unexpected . after term {text!r}")
            fields.append(rest[0][1][1:])
            rest = rest[1:]
        return Operand(head, tuple(fields), literal), rest

    def _word(self, text: str) -> tuple[Any, bool]:
        constants = {"true": True, "false": False, "nil": None}
        if text in constants:
            return constants[text], True
        if text in _KEYWORDS or text not in self._functions:
            raise _failed(f'function "{text}" not defined')
        return Name(text), False

    def _parenthesis(self, tokens: list[Token]) -> tuple[Pipeline, list[Token]]:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _failed("too many nested parentheses")
        pipeline, rest = self._declared_pipeline(tokens)
        self._depth -= 1
        if not rest or rest[0] != ("mark", ")"):
            raise _failed("unclosed left paren")
        return pipeline, rest[1:]


def _skip(tokens: list[Token]) -> list[Token]:
    return tokens[1:] if tokens and tokens[0][0] == "space" else tokens


def _declaration(tokens: list[Token], *, ranging: bool) -> tuple[tuple[str, ...], str, list[Token]]:
    """The variables a pipeline is given to, the mark ``:=`` or ``=``, and the rest; nothing if there are none."""
    solid = [(place, token) for place, token in enumerate(tokens) if token[0] != "space"]
    names: list[str] = []
    for order, (place, (kind, text)) in enumerate(solid[:4]):
        if order % 2 == 0:
            if kind != "variable":
                break
            names.append(text)
        elif text in (":=", "="):
            return tuple(names), text, tokens[place + 1 :]
        elif text != "," or not ranging:
            break
    return (), "", tokens


def parse_template(source: str, functions: frozenset[str]) -> dict[str, tuple[Node, ...]]:
    """The templates of a text by name, the main one as ``""``; raises BuiltinError where the text is not a template."""
    parser = _Parser(source, functions)
    parser.whole()
    return parser.templates
