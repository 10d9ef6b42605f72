"""Built-ins that write and read JSON, YAML, base64, hexadecimal and URL queries."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, Final
from urllib.parse import quote_plus, unquote_to_bytes

import yaml

from watchkey.rego.builtins import BuiltinError, CallContext, LimitExceeded, OperandError, builtin, strings_in
from watchkey.rego.errors import MalformedValue
from watchkey.rego.types import ANY, BOOLEAN, STRING, any_of, array_of, object_of, set_of
from watchkey.rego.values import (
    FALSE,
    MAX_NESTING,
    TRUE,
    Boolean,
    Object,
    boolean,
    json_text,
    key_text,
    parse_json,
    parse_number,
    scalar_text,
    text_pairs,
)

_TEXT: Final = (STRING,)
_HTML: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


# --- JSON ------------------------------------------------------------------------------------------------------------


@builtin("json.marshal", (ANY,), STRING, operands=((),), context=True)
def json_marshal(ctx: CallContext, value: Any) -> str:
    """JSON text without blanks, as Go writes it: ``<``, ``>`` and ``&`` are escaped."""
    return _announced(ctx, _escaped(value))


def _escaped(value: Any) -> str:
    return json_text(value).translate(_HTML)


def _announced(ctx: CallContext, text: str) -> str:
    ctx.check_size(len(text))
    return text


@builtin(
    "json.marshal_with_options",
    (ANY, object_of(STRING, ANY)),
    STRING,
    operands=((), ("object",)),
    context=True,
)
def json_marshal_with_options(ctx: CallContext, value: Any, options: Object) -> str:
    """JSON text with line breaks: options ``pretty``, ``indent``, ``prefix``."""
    indent, prefix, pretty = "\t", "", None
    for key, option in options.pairs():
        if key == "pretty":
            _check_option(key, option, Boolean, "bool")
            pretty = option is TRUE
        elif key == "indent":
            _check_option(key, option, str, "string")
            indent = option
        elif key == "prefix":
            _check_option(key, option, str, "string")
            prefix = option
        else:
            message = f"operand 2 object contained unknown key {json_text(key)}"
            raise OperandError(message)
    implied = "indent" in options or "prefix" in options
    if not (implied if pretty is None else pretty):
        return json_marshal(ctx, value)
    lines: list[str] = []
    _pretty(value, indent, prefix, lines, 0)
    return _announced(ctx, "".join(lines))


def _check_option(key: str, option: Any, kind: type, name: str) -> None:
    if type(option) is not kind:
        message = f"operand 2 key {key} failed cast to {name}"
        raise OperandError(message)


def _pretty(value: Any, indent: str, prefix: str, out: list[str], level: int) -> None:
    if not level:
        out.append(prefix)
    elements: list[tuple[str, Any]]
    if type(value) is Object:
        elements, brackets = [(f"{_escaped(key)}: ", item) for key, item in text_pairs(value)], "{}"
    elif type(value) is tuple or hasattr(value, "ordered"):
        listed = value if type(value) is tuple else value.ordered()
        elements, brackets = [("", item) for item in listed], "[]"
    else:
        out.append(_escaped(value))
        return
    if not elements:
        out.append(brackets)
        return
    out.append(brackets[0])
    for index, (label, item) in enumerate(elements):
        out.append(("," if index else "") + "\n" + prefix + indent * (level + 1) + label)
        _pretty(item, indent, prefix, out, level + 1)
    out.append("\n" + prefix + indent * level + brackets[1])


@builtin("json.unmarshal", _TEXT, ANY, context=True)
def json_unmarshal(ctx: CallContext, text: str) -> Any:
    """The value of a JSON text."""
    ctx.spend(len(text) >> 4)
    try:
        return parse_json(text)
    except MalformedValue as problem:
        raise BuiltinError(problem.message) from None
    except LimitExceeded as problem:
        if _NO_EXPONENT.search(text) is None:
            raise
        raise BuiltinError(problem.message) from None


@builtin("json.is_valid", _TEXT, BOOLEAN, operands=((),), context=True)
def json_is_valid(ctx: CallContext, text: Any) -> Boolean:
    """Whether a string is JSON."""
    if type(text) is not str:
        return FALSE
    ctx.spend(len(text) >> 4)
    try:
        json.loads(text, parse_constant=_refuse)
    except ValueError:
        return FALSE
    except RecursionError:
        message = f"a document is nested deeper than {MAX_NESTING} levels"
        raise LimitExceeded(message) from None
    return TRUE


def _refuse(name: str) -> None:
    raise ValueError(name)


# --- YAML ------------------------------------------------------------------------------------------------------------


_NO_EXPONENT: Final = re.compile(r"[0-9][eE][-+]?(?:[0-9]{6}|[4-9][0-9]{4})")
"""An exponent so large that the number is none to OPA either."""


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of version 1.2, numbers with all their digits."""


_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|[0-9][0-9_]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+0123456789."),
    ),
    ("merge", r"<<", ["<"]),
)


def _restrict(kind: Any) -> None:
    """Only the words of YAML 1.2 are booleans and numbers: ``yes`` and dates are strings, as for OPA."""
    kind.yaml_implicit_resolvers = {}
    for name, pattern, firsts in _SCALARS:
        kind.add_implicit_resolver(_TAG + name, re.compile(f"(?:{pattern})$"), firsts)


_restrict(_Loader)


def _exact_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    text = str(loader.construct_scalar(node)).replace("_", "")
    try:
        return parse_number(text)
    except MalformedValue:
        return loader.construct_yaml_float(node)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    sign, digits = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
    if digits.startswith("0") and len(digits) > 1 and digits[1] not in "xXbBoO":
        digits = "0o" + digits[1:]
    return int(sign + digits, 0)


_Loader.add_constructor(_TAG + "float", _exact_float)
_Loader.add_constructor(_TAG + "int", _integer)


def _yaml_value(ctx: CallContext, text: str) -> Any:
    ctx.spend(1 + (len(text) >> 1))
    try:
        document = next(yaml.load_all(text, Loader=_Loader), None)
        for _ in yaml.parse(text, Loader=_Loader):
            pass  # further documents are not used, but have to be YAML too
    except RecursionError:
        message = f"a document is nested deeper than {MAX_NESTING} levels"
        raise LimitExceeded(message) from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as problem:
        raise BuiltinError(_yaml_complaint(problem)) from None
    return _from_yaml(ctx, document, 0)


def _yaml_complaint(problem: Exception) -> str:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark is not None:
        what = "did not find expected node content" if "expected" in (problem.problem or "") else problem.problem
        return f"yaml: line {problem.problem_mark.line + 1}: {what}"
    return f"yaml: {str(problem).splitlines()[0]}"


def _from_yaml(ctx: CallContext, document: Any, level: int) -> Any:
    """A Rego value; each node is paid for, so that aliases cannot multiply without end."""
    ctx.spend(1)
    if level > MAX_NESTING:
        message = f"a document is nested deeper than {MAX_NESTING} levels"
        raise LimitExceeded(message)
    if isinstance(document, dict):
        return Object({_yaml_key(key): _from_yaml(ctx, item, level + 1) for key, item in document.items()})
    if isinstance(document, list | tuple | set):
        return tuple([_from_yaml(ctx, item, level + 1) for item in document])
    if isinstance(document, bool):
        return boolean(document)
    if isinstance(document, float):
        message = "yaml: not a number of JSON"
        if document != document or document in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
            raise BuiltinError(message)
        return parse_number(repr(document))
    if isinstance(document, bytes):
        return document.decode("utf-8", "replace")
    return document


def _yaml_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None or isinstance(key, int | float):
        return scalar_text(key) if not isinstance(key, float) else repr(key)
    message = "yaml: unsupported key"
    raise BuiltinError(message)


class _Dumper(yaml.SafeDumper):
    """Go's style: lists indented below their key, double quotes, blocks for text of several lines."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002, FBT001, FBT002 - as PyYAML calls it
        return super().increase_indent(flow, False)

    def choose_scalar_style(self) -> Any:
        style = super().choose_scalar_style()
        return '"' if style == "'" else style


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_TAG + "str", text, style="|" if "\n" in text else None)


_restrict(_Dumper)
_Dumper.add_representer(str, _represent_text)


@builtin("yaml.unmarshal", _TEXT, ANY, context=True)
def yaml_unmarshal(ctx: CallContext, text: str) -> Any:
    """The value of a YAML text."""
    return _yaml_value(ctx, text)


@builtin("yaml.is_valid", _TEXT, BOOLEAN, operands=((),), context=True)
def yaml_is_valid(ctx: CallContext, text: Any) -> Boolean:
    """Whether a string is YAML."""
    if type(text) is not str:
        return FALSE
    try:
        _yaml_value(ctx, text)
    except BuiltinError:
        return FALSE
    return TRUE


@builtin("yaml.marshal", (ANY,), STRING, operands=((),), context=True)
def yaml_marshal(ctx: CallContext, value: Any) -> str:
    """YAML text, keys sorted."""
    text = json_text(value)
    ctx.spend(len(text) >> 1)
    dumped = yaml.dump(json.loads(text), Dumper=_Dumper, default_flow_style=False, allow_unicode=True, width=1 << 20)
    return _announced(ctx, dumped.removesuffix("...\n"))


# --- base64 and hexadecimal ------------------------------------------------------------------------------------------


def _text_of(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _decode64(text: str, altchars: bytes | None = None) -> bytes:
    plain = text.replace("\n", "").replace("\r", "")
    try:
        return base64.b64decode(plain.encode("ascii"), altchars, validate=True)
    except (ValueError, UnicodeEncodeError):
        message = "illegal base64 data"
        raise BuiltinError(message) from None


@builtin("base64.encode", _TEXT, STRING)
def base64_encode(text: str) -> str:
    """Base64 of the UTF-8 bytes."""
    return base64.b64encode(text.encode()).decode()


@builtin("base64.decode", _TEXT, STRING)
def base64_decode(text: str) -> str:
    """The text whose base64 this is."""
    return _text_of(_decode64(text))


@builtin("base64.is_valid", _TEXT, BOOLEAN, operands=((),))
def base64_is_valid(text: Any) -> Boolean:
    """Whether a string is base64."""
    if type(text) is not str:
        return FALSE
    try:
        _decode64(text)
    except BuiltinError:
        return FALSE
    return TRUE


@builtin("base64url.encode", _TEXT, STRING)
def base64url_encode(text: str) -> str:
    """Base64 with the alphabet for URLs."""
    return base64.urlsafe_b64encode(text.encode()).decode()


@builtin("base64url.encode_no_pad", _TEXT, STRING)
def base64url_encode_no_pad(text: str) -> str:
    """Base64 with the alphabet for URLs, without padding."""
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@builtin("base64url.decode", _TEXT, STRING)
def base64url_decode(text: str) -> str:
    """The text whose base64 for URLs this is, padded or not."""
    if not text.endswith("="):
        if len(text) % 4 == 1:
            message = f"illegal base64url string: {text[:80]}"
            raise BuiltinError(message)
        text += "=" * (-len(text) % 4)
    if "+" in text or "/" in text:
        message = "illegal base64 data"
        raise BuiltinError(message)
    return _text_of(_decode64(text, b"-_"))


@builtin("hex.encode", _TEXT, STRING)
def hex_encode(text: str) -> str:
    """The UTF-8 bytes in hexadecimal."""
    return text.encode().hex()


@builtin("hex.decode", _TEXT, STRING)
def hex_decode(text: str) -> str:
    """The text whose bytes these hexadecimal digits are."""
    try:
        return _text_of(binascii.unhexlify(text))
    except (binascii.Error, ValueError):
        wrong = next((character for character in text if character not in "0123456789abcdefABCDEF"), "")
        message = f"invalid byte: U+{ord(wrong):04X} '{wrong}'" if wrong else "odd length hex string"
        raise BuiltinError(f"encoding/hex: {message}") from None


# --- URL queries -----------------------------------------------------------------------------------------------------


@builtin("urlquery.encode", _TEXT, STRING)
def urlquery_encode(text: str) -> str:
    """The text escaped for a URL's query."""
    return quote_plus(text, safe="~")


@builtin("urlquery.decode", _TEXT, STRING)
def urlquery_decode(text: str) -> str:
    """The text without a query's escapes."""
    return _unescaped(text)


def _unescaped(text: str) -> str:
    position = text.find("%")
    while position >= 0:
        digits = text[position + 1 : position + 3]
        if len(digits) != 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
            message = f'invalid URL escape "{text[position : position + 3]}"'
            raise BuiltinError(message)
        position = text.find("%", position + 3)
    return _text_of(unquote_to_bytes(text.replace("+", " ")))


@builtin("urlquery.encode_object", (object_of(STRING, any_of(STRING, array_of(STRING), set_of(STRING))),), STRING)
def urlquery_encode_object(document: Object) -> str:
    """The entries of an object as a URL's query, sorted by key."""
    parts: list[str] = []
    for key, value in document.pairs():
        name = quote_plus(key_text(key), safe="~")
        if type(value) is str:
            values = [value]
        elif type(value) is tuple or hasattr(value, "ordered"):
            try:
                values = strings_in(1, value)
            except OperandError:
                raise _not_queryable() from None
        else:
            raise _not_queryable()
        parts.extend(f"{name}={quote_plus(each, safe='~')}" for each in values)
    return "&".join(parts)


def _not_queryable() -> OperandError:
    return OperandError("operand 1 values must be string, array[string], or set[string]")


@builtin("urlquery.decode_object", _TEXT, object_of(STRING, array_of(STRING)))
def urlquery_decode_object(text: str) -> Object:
    """A URL's query as an object of arrays."""
    if ";" in text:
        message = "invalid semicolon separator in query"
        raise BuiltinError(message)
    found: dict[str, list[str]] = {}
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            found.setdefault(_unescaped(name), []).append(_unescaped(value))
    return Object({name: tuple(values) for name, values in found.items()})
