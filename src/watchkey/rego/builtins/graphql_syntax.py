"""Reads GraphQL queries and schemas into the tree that OPA shows: plain dicts with the field names of its Go parser.

Fields that hold nothing (null, empty lists and objects) are left out; empty texts stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from watchkey.rego.builtins import BuiltinError, CallContext, LimitExceeded
from watchkey.rego.values import quoted

Tree: TypeAlias = dict[str, Any]

_DEEPEST: Final = 60
"""Levels of selections, lists and objects: a query nests no deeper in earnest, and what reads it is recursive."""
_MOST_TOKENS: Final = 20_000

EOF: Final = "<EOF>"
INVALID: Final = "<Invalid>"

_NAME: Final = re.compile(r"[_A-Za-z][_0-9A-Za-z]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_COMMENT: Final = re.compile(r"#[\t\x20-\U0010ffff]*")
_ESCAPES: Final = {'"': '"', "/": "/", "\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PUNCTUATION: Final = frozenset("!$&():=@[]{}|")

KINDS: Final = {"Int": 1, "Float": 2, "String": 3, "BlockString": 4}
VARIABLE, BOOLEAN, NULL, ENUM, LIST, OBJECT = 0, 5, 6, 7, 8, 9
"""Numbers of the kinds of values in the tree."""

EXECUTABLE_LOCATIONS: Final = (
    "QUERY", "MUTATION", "SUBSCRIPTION", "FIELD", "FRAGMENT_DEFINITION", "FRAGMENT_SPREAD", "INLINE_FRAGMENT",
    "VARIABLE_DEFINITION",
)  # fmt: skip
_LOCATIONS: Final = frozenset(
    {
        *EXECUTABLE_LOCATIONS, "SCHEMA", "SCALAR", "OBJECT", "FIELD_DEFINITION", "ARGUMENT_DEFINITION", "INTERFACE",
        "UNION", "ENUM", "ENUM_VALUE", "INPUT_OBJECT", "INPUT_FIELD_DEFINITION",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `kind` is the punctuation itself or Name, Int, Float, String, BlockString, Comment."""

    kind: str
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.kind} {quoted(self.text)}" if self.text else self.kind


def located(problem: str, line: int, column: int) -> BuiltinError:
    """An error in OPA's words."""
    return BuiltinError(f"{problem} in GraphQL string at location {line}:{column}")


class _Lexer:
    """Takes tokens from a text, one at a time."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._line = 1
        self._line_start = 0

    def read(self) -> Token:  # noqa: PLR0911 - one for each kind of token
        """The next token; one of the kind INVALID has the complaint as its text."""
        self._skip_blanks()
        source, start = self._source, self._at
        if start >= len(source):
            return self._token(EOF, "", start)
        character = source[start]
        if character in _PUNCTUATION:
            return self._take(character, "", start + 1)
        if source.startswith("...", start):
            return self._take("...", "", start + 3)
        found = _COMMENT.match(source, start) or _NAME.match(source, start)
        if found:
            return self._take("Comment" if character == "#" else "Name", found.group(), found.end())
        if character == "-" or character in "0123456789":
            return self._number()
        if source.startswith('"""', start):
            return self._block()
        return self._string() if character == '"' else self._stray(character)

    def _skip_blanks(self) -> None:
        source = self._source
        while self._at < len(source) and source[self._at] in "\t ,\n\r\ufeff":
            character = source[self._at]
            self._at += 1
            if character in "\n\r":
                self._line += 1
                self._line_start = self._at
                # As in OPA, columns after CR LF count from the LF.
                self._at += character == "\r" and source.startswith("\n", self._at)

    def _token(self, kind: str, text: str, start: int) -> Token:
        return Token(kind, text, self._line, start - self._line_start + 1)

    def _take(self, kind: str, text: str, end: int) -> Token:
        token = self._token(kind, text, self._at)
        self._at = end
        return token

    def _invalid(self, complaint: str, at: int) -> Token:
        self._at = at
        return Token(INVALID, complaint, self._line, at - self._line_start + 1)

    def _stray(self, character: str) -> Token:
        if character < " ":
            return self._invalid(f'Cannot contain the invalid character "\\u{ord(character):04x}"', self._at)
        if character == "'":
            hint = 'did you mean to use a double quote (")?'
            return self._invalid(f"Unexpected single quote character ('), {hint}", self._at)
        shown = character.encode("utf-8", "surrogatepass")[:1].decode("latin-1")
        return self._invalid(f'Cannot parse the unexpected character "{shown}".', self._at)

    def _number(self) -> Token:
        found = _NUMBER.match(self._source, self._at)
        end = found.end() if found else self._at + (self._source[self._at] == "-")
        following = self._source[end : end + 1]
        shown = f'"{following}"' if following else EOF
        if found is None:
            return self._invalid(f"Invalid number, expected digit but got: {shown}.", end)
        if found.group().lstrip("-") == "0" and following.isascii() and following.isdigit():
            return self._invalid(f"Invalid number, unexpected digit after 0: {shown}.", end)
        if following == "." or (following in ("e", "E") and following):
            after = self._source[end + 1 : end + 2]
            shown = f'"{after}"' if after else EOF
            return self._invalid(f"Invalid number, expected digit but got: {shown}.", end + 1)
        text = found.group()
        return self._take("Float" if any(mark in text for mark in ".eE") else "Int", text, end)

    def _string(self) -> Token:
        source, at = self._source, self._at + 1
        start = at
        pieces: list[str] = []
        while at < len(source) and source[at] not in "\n\r":
            character = source[at]
            if character == '"':
                token = self._token("String", "".join(pieces), start)
                self._at = at + 1
                return token
            if character == "\\":
                decoded, width = self._escape(at)
                if not width:
                    return self._invalid(f"Invalid character escape sequence{decoded}.", at + 1)
                pieces.append(decoded)
                at += width
                continue
            if character < " " and character != "\t":
                return self._invalid(f'Invalid character within String: "\\u{ord(character):04x}".', at)
            pieces.append(character)
            at += 1
        return self._invalid("Unterminated string.", at)

    def _escape(self, at: int) -> tuple[str, int]:
        """What an escape stands for and its length; length 0 with the rest of the complaint if it is none."""
        mark = self._source[at + 1 : at + 2]
        if mark in _ESCAPES and mark:
            return _ESCAPES[mark], 2
        if mark == "u":
            digits = self._source[at + 2 : at + 6]
            if len(digits) == 4 and re.fullmatch(r"[0-9a-fA-F]{4}", digits) and at + 6 < len(self._source):
                code = int(digits, 16)
                return ("\ufffd" if 0xD800 <= code < 0xE000 else chr(code)), 6
            return f": \\{self._source[at + 1 : at + 6]}", 0
        return (f": \\{mark}" if mark else ""), 0

    def _block(self) -> Token:
        source, at = self._source, self._at + 3
        start = at
        pieces: list[str] = []
        while at < len(source):
            if source.startswith('"""', at):
                end = at
                while end < len(source) and source[end] == '"':
                    end += 1
                pieces.append('"' * (end - at - 3))
                token = self._token("BlockString", _block_text("".join(pieces)), start)
                self._at = end
                return token
            character = source[at]
            if source.startswith('\\"""', at):
                pieces.append('"""')
                at += 4
                continue
            if character < " " and character not in "\t\n\r":
                return self._invalid(f'Invalid character within String: "\\u{ord(character):04x}".', at)
            at += 1
            if character == "\r" and source.startswith("\n", at):
                at += 1
            if character in "\n\r":
                self._line += 1
                self._line_start = at
                character = "\n"
            pieces.append(character)
        return self._invalid("Unterminated string.", at)


def _block_text(raw: str) -> str:
    """A block string without common indentation (the first line counts too, in OPA), nor blank lines at its ends."""
    lines = raw.split("\n")
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip(" \t")]
    common = min(indents, default=0)
    lines = [lines[0], *[line[common:] for line in lines[1:]]]
    while lines and not lines[0].strip(" \t"):
        lines.pop(0)
    while lines and not lines[-1].strip(" \t"):
        lines.pop()
    return "\n".join(lines)


def _tree(**fields: Any) -> Tree:
    """A node without the fields that hold nothing."""
    return {name: value for name, value in fields.items() if value is not None and value not in ([], {})}


class _Parser:
    """What queries and schemas have in common: tokens, comments, values, types, directives."""

    def __init__(self, ctx: CallContext, source: str) -> None:
        self._ctx = ctx
        self._lexer = _Lexer(source)
        self._ahead: Token | None = None
        self._before = Token(EOF, "", 1, 1)
        self._comment: Tree | None = None
        self._depth = 0
        self._count = 0

    def _read(self) -> Token:
        self._ctx.spend(1)
        self._count += 1
        if self._count > _MOST_TOKENS:
            raise LimitExceeded(f"a GraphQL document has more than {_MOST_TOKENS} tokens")
        return self._lexer.read()

    def peek(self) -> Token:
        if self._ahead is None:
            comments = []
            token = self._read()
            while token.kind == "Comment":
                comments.append({"Value": token.text})
                token = self._read()
            self._ahead = token
            if comments:
                self._comment = {"List": comments}
        return self._ahead

    def next(self) -> Token:
        token = self.peek()
        if token.kind == INVALID:
            raise located(token.text.removesuffix("."), token.line, token.column)
        self._ahead = None
        self._comment = None
        self._before = token
        return token

    def comment(self) -> Tree | None:
        """The comments before the next token."""
        self.peek()
        return self._comment

    def fail(self, problem: str, token: Token) -> BuiltinError:
        return located(problem, token.line, token.column)

    def unexpected(self, token: Token | None = None) -> BuiltinError:
        token = token or self.peek()
        return self.fail(f"Unexpected {token if token.kind != INVALID else INVALID}", token)

    def expect(self, kind: str) -> Token:
        token = self.peek()
        if token.kind != kind:
            raise self.fail(f"Expected {kind}, found {token.kind}", token)
        return self.next()

    def keyword(self, word: str) -> None:
        token = self.peek()
        if token.kind != "Name" or token.text != word:
            raise self.fail(f"Expected {quoted(word)}, found {token}", token)
        self.next()

    def skip(self, kind: str) -> bool:
        if self.peek().kind != kind:
            return False
        self.next()
        return True

    def name(self) -> str:
        return self.expect("Name").text

    def enter(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise LimitExceeded(f"a GraphQL document is nested deeper than {_DEEPEST} levels")

    def leave(self) -> None:
        self._depth -= 1

    def some(self, start: str, end: str, read: Callable[[], Any], *, may_be_empty: bool = False) -> list[Any]:
        """A bracketed list that is there or not, and is not empty if it is."""
        found: list[Any] = []
        if not self.skip(start):
            return found
        while self.peek().kind != end:
            found.append(read())
        if not found and not may_be_empty:
            raise self.fail(f"expected at least one definition, found {self.peek().kind}", self.peek())
        self.end_comment = self.comment()
        self.next()
        return found

    end_comment: Tree | None = None
    """Comments before the bracket that closed the last list."""

    def type_reference(self) -> Tree:
        self.enter()
        if self.skip("["):
            named, element = "", self.type_reference()
            self.expect("]")
        else:
            named, element = self.name(), {}
        self.leave()
        return _tree(NamedType=named, Elem=element, NonNull=self.skip("!"))

    def value(self, *, constant: bool) -> Tree:
        self.enter()
        comment = self.comment()
        token = self.peek()
        children: list[Tree] = []
        raw = ""
        if token.kind == "[":
            kind = LIST
            children = self.some(
                "[", "]", lambda: _tree(Name="", Value=self.value(constant=constant)), may_be_empty=True
            )
        elif token.kind == "{":
            kind = OBJECT
            children = self.some("{", "}", lambda: self._object_field(constant=constant), may_be_empty=True)
        elif token.kind == "$" and not constant:
            kind, raw, comment = VARIABLE, self.variable(), None
        else:
            kind, raw = self._scalar(token)
            comment = None
        self.leave()
        return _tree(Raw=raw, Children=children, Kind=kind, Comment=comment, ExpectedTypeHasDefault=False)

    def _scalar(self, token: Token) -> tuple[int, str]:
        if token.kind == "Name":
            kind = {"true": BOOLEAN, "false": BOOLEAN, "null": NULL}.get(token.text, ENUM)
        elif token.kind in KINDS:
            kind = KINDS[token.kind]
        else:
            raise self.unexpected()
        return kind, self.next().text

    def _object_field(self, *, constant: bool) -> Tree:
        comment = self.comment()
        name = self.name()
        self.expect(":")
        return _tree(Name=name, Value=self.value(constant=constant), Comment=comment)

    def variable(self) -> str:
        self.expect("$")
        return self.name()

    def arguments(self, *, constant: bool) -> list[Tree]:
        return self.some("(", ")", lambda: self._argument(constant=constant))

    def _argument(self, *, constant: bool) -> Tree:
        comment = self.comment()
        name = self.name()
        self.expect(":")
        return _tree(Name=name, Value=self.value(constant=constant), Comment=comment)

    def directives(self, *, constant: bool) -> list[Tree]:
        found = []
        while self.skip("@"):
            found.append(_tree(Name=self.name(), Arguments=self.arguments(constant=constant), Location=""))
        return found


class _QueryParser(_Parser):
    """Reads operations and fragments."""

    def document(self) -> Tree:
        operations: list[Tree] = []
        fragments: list[Tree] = []
        while self.peek().kind != EOF:
            token = self.peek()
            if token.kind == "{" or (token.kind == "Name" and token.text in ("query", "mutation", "subscription")):
                operations.append(self._operation())
            elif token.kind == "Name" and token.text == "fragment":
                fragments.append(self._fragment())
            else:
                raise self.unexpected()
        return _tree(Operations=operations, Fragments=fragments)

    def _operation(self) -> Tree:
        if self.peek().kind == "{":
            return _tree(Operation="query", Name="", SelectionSet=self._selections())
        comment = self.comment()
        operation = self.next().text
        name = self.next().text if self.peek().kind == "Name" else ""
        return _tree(
            Operation=operation,
            Name=name,
            VariableDefinitions=self._variable_definitions(),
            Directives=self.directives(constant=False),
            SelectionSet=self._selections(),
            Comment=comment,
        )

    def _variable_definitions(self) -> list[Tree]:
        return self.some("(", ")", self._variable_definition)

    def _variable_definition(self) -> Tree:
        comment = self.comment()
        variable = self.variable()
        self.expect(":")
        return _tree(
            Variable=variable,
            Type=self.type_reference(),
            DefaultValue=self.value(constant=True) if self.skip("=") else None,
            Directives=self.directives(constant=False),
            Comment=comment,
            Used=False,
        )

    def _selections(self) -> list[Tree]:
        if self.peek().kind != "{":
            raise self.fail(f"Expected {{, found {self.peek().kind}", self.peek())
        self.enter()
        found = self.some("{", "}", self._selection)
        self.leave()
        return found

    def _selection(self) -> Tree:
        if self.peek().kind == "...":
            return self._spread()
        comment = self.comment()
        alias = self.name()
        return _tree(
            Alias=alias,
            Name=self.name() if self.skip(":") else alias,
            Arguments=self.arguments(constant=False),
            Directives=self.directives(constant=False),
            SelectionSet=self._selections() if self.peek().kind == "{" else [],
            Comment=comment,
        )

    def _spread(self) -> Tree:
        comment = self.comment()
        self.next()
        token = self.peek()
        if token.kind == "Name" and token.text != "on":
            return _tree(Name=self.name(), Directives=self.directives(constant=False), Comment=comment)
        condition = ""
        if token.text == "on":
            self.next()
            condition = self.name()
        return _tree(
            TypeCondition=condition,
            Directives=self.directives(constant=False),
            SelectionSet=self._selections(),
            Comment=comment,
        )

    def _fragment(self) -> Tree:
        comment = self.comment()
        self.next()
        if self.peek().text == "on":
            raise self.unexpected()
        name = self.name()
        variables = self._variable_definitions()
        self.keyword("on")
        return _tree(
            Name=name,
            VariableDefinition=variables,
            TypeCondition=self.name(),
            Directives=self.directives(constant=False),
            SelectionSet=self._selections(),
            Comment=comment,
        )


_TYPE_KINDS: Final = {
    "scalar": "SCALAR", "type": "OBJECT", "interface": "INTERFACE",
    "union": "UNION", "enum": "ENUM", "input": "INPUT_OBJECT",
}  # fmt: skip


class _SchemaParser(_Parser):
    """Reads type system definitions and extensions."""

    def document(self) -> Tree:
        found: dict[str, list[Tree]] = {
            "Schema": [], "SchemaExtension": [], "Directives": [], "Definitions": [], "Extensions": [],
        }  # fmt: skip
        while self.peek().kind != EOF:
            text, comment = self._description()
            token = self.peek()
            if token.kind != "Name":
                raise self.unexpected()
            if token.text in _TYPE_KINDS:
                found["Definitions"].append(self._definition(text, comment))
            elif token.text == "schema":
                found["Schema"].append(self._schema(text, comment))
            elif token.text == "directive":
                found["Directives"].append(self._directive(text, comment))
            elif token.text == "extend":
                if text:
                    raise self.unexpected(self._before)
                self._extension(found)
            else:
                raise self.unexpected()
        return _tree(**found, Comment=self.comment())

    def _description(self) -> tuple[str, Tree | None]:
        if self.peek().kind not in ("String", "BlockString"):
            return "", None
        comment = self.comment()
        return self.next().text, comment

    def _schema(self, description: str, before: Tree | None, after: Tree | None = None) -> Tree:
        after = after or self.comment()
        self.keyword("schema")
        directives = self.directives(constant=True)
        operations = self._ended_list("{", "}", self._operation_type)
        return _tree(
            Description=description,
            Directives=directives,
            OperationTypes=operations,
            BeforeDescriptionComment=before,
            AfterDescriptionComment=after,
            EndOfDefinitionComment=self.end_comment,
        )

    def _ended_list(self, start: str, end: str, read: Callable[[], Any]) -> list[Any]:
        """A list of a definition's members; remembers the comments before its end."""
        self.end_comment = None
        return self.some(start, end, read)

    def _operation_type(self) -> Tree:
        comment = self.comment()
        token = self.next()
        if token.text not in ("query", "mutation", "subscription"):
            raise self.unexpected(token)
        self.expect(":")
        return _tree(Operation=token.text, Type=self.name(), Comment=comment)

    def _definition(
        self, description: str, before: Tree | None, after: Tree | None = None, *, extends: bool = False
    ) -> Tree:
        after = after or self.comment()
        kind = _TYPE_KINDS[self.next().text]
        name = self.name()
        interfaces = self._interfaces() if kind == "OBJECT" or (kind == "INTERFACE" and not extends) else []
        directives = self.directives(constant=not (extends and kind == "INPUT_OBJECT"))
        self.end_comment = None
        members = self._members(kind)
        if extends and not (interfaces or directives or any(members.values())):
            raise self.unexpected()
        return _tree(
            Kind=kind,
            Description=description,
            Name=name,
            Directives=directives,
            Interfaces=interfaces,
            **members,
            BuiltIn=False,
            BeforeDescriptionComment=before,
            AfterDescriptionComment=after,
            EndOfDefinitionComment=self.end_comment,
        )

    def _members(self, kind: str) -> dict[str, list[Any]]:
        if kind in ("OBJECT", "INTERFACE"):
            return {"Fields": self._ended_list("{", "}", self._field)}
        if kind == "INPUT_OBJECT":
            return {"Fields": self._ended_list("{", "}", self._input_value)}
        if kind == "ENUM":
            return {"EnumValues": self._ended_list("{", "}", self._enum_value)}
        return {"Types": self._union_types()} if kind == "UNION" else {}

    def _interfaces(self) -> list[str]:
        if self.peek().text != "implements":
            return []
        self.next()
        self.skip("&")
        found = [self.name()]
        while self.skip("&"):
            found.append(self.name())
        return found

    def _union_types(self) -> list[str]:
        if not self.skip("="):
            return []
        self.skip("|")
        found = [self.name()]
        while self.skip("|"):
            found.append(self.name())
        return found

    def _described(self) -> dict[str, Any]:
        text, before = self._description()
        return {
            "Description": text,
            "BeforeDescriptionComment": before if text else None,
            "AfterDescriptionComment": self.comment(),
        }

    def _field(self) -> Tree:
        described = self._described()
        name = self.name()
        arguments = self.some("(", ")", self._input_value)
        self.expect(":")
        return _tree(
            **described,
            Name=name,
            Arguments=arguments,
            Type=self.type_reference(),
            Directives=self.directives(constant=True),
        )

    def _input_value(self) -> Tree:
        described = self._described()
        name = self.name()
        self.expect(":")
        return _tree(
            **described,
            Name=name,
            Type=self.type_reference(),
            DefaultValue=self.value(constant=True) if self.skip("=") else None,
            Directives=self.directives(constant=True),
        )

    def _enum_value(self) -> Tree:
        described = self._described()
        return _tree(**described, Name=self.name(), Directives=self.directives(constant=True))

    def _extension(self, found: dict[str, list[Tree]]) -> None:
        comment = self.comment()
        self.keyword("extend")
        token = self.peek()
        if token.text == "schema":
            extension = self._schema("", None, comment)
            if "Directives" not in extension and "OperationTypes" not in extension:
                raise self.unexpected()
            extension.pop("AfterDescriptionComment", None)
            found["SchemaExtension"].append(extension | ({"AfterDescriptionComment": comment} if comment else {}))
        elif token.text in _TYPE_KINDS:
            extension = self._definition("", None, comment, extends=True)
            extension.pop("AfterDescriptionComment", None)
            found["Extensions"].append(extension | ({"AfterDescriptionComment": comment} if comment else {}))
        else:
            raise self.unexpected()

    def _directive(self, description: str, before: Tree | None) -> Tree:
        after = self.comment()
        self.keyword("directive")
        self.expect("@")
        name = self.name()
        arguments = self.some("(", ")", self._input_value)
        repeatable = self.peek().kind == "Name" and self.peek().text == "repeatable"
        if repeatable:
            self.next()
        self.keyword("on")
        self.skip("|")
        locations = [self._location()]
        while self.skip("|"):
            locations.append(self._location())
        return _tree(
            Description=description,
            Name=name,
            Arguments=arguments,
            Locations=locations,
            IsRepeatable=repeatable,
            BeforeDescriptionComment=before,
            AfterDescriptionComment=after,
        )

    def _location(self) -> str:
        token = self.expect("Name")
        if token.text not in _LOCATIONS:
            raise self.unexpected(token)
        return token.text


def parse_query(ctx: CallContext, source: str) -> Tree:
    """The tree of a query document; raises BuiltinError with OPA's text and the place."""
    return _QueryParser(ctx, source).document()


def parse_schema(ctx: CallContext, source: str) -> Tree:
    """The tree of a schema document, not validated; raises BuiltinError with OPA's text and the place."""
    return _SchemaParser(ctx, source).document()
