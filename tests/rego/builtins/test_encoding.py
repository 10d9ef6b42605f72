"""JSON, YAML, base64, hexadecimal and URL queries; answers checked with a real OPA."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import call, json_value, rego
from tests.rego.test_values import json_documents
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE, from_json


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"b": [1, 2.50], "a": None}, '{"a":null,"b":[1,2.5]}'),
        ("é<>&\u2028", '"é\\u003c\\u003e\\u0026\\u2028"'),
        ({1, 2}, "[1,2]"),
        ({1: "a", None: 2}, '{"1":"a","null":2}'),
        ("a\nb", '"a\\nb"'),
    ],
)
def test_json_text(value: Any, wanted: Any) -> None:
    assert call("json.marshal", value) == wanted


def test_json_numbers_keep_their_digits() -> None:
    assert call("json.unmarshal", "1.10") == Decimal("1.10")
    assert call("json.marshal", json_value("1.10")) == "1.10"
    assert call("json.unmarshal", "9007199254740993") == 9007199254740993


@given(json_documents)
def test_json_there_and_back(document: Any) -> None:
    assert call("json.unmarshal", call("json.marshal", document)) == from_json(document)
    assert call("json.unmarshal", call("json.marshal_with_options", document, {"pretty": True})) == from_json(document)


def test_json_with_options() -> None:
    assert (
        call("json.marshal_with_options", {"a": [1, {}], "b": []}, {"indent": "  "})
        == '{\n  "a": [\n    1,\n    {}\n  ],\n  "b": []\n}'
    )
    assert call("json.marshal_with_options", [1], {"pretty": True, "prefix": ">"}) == ">[\n>\t1\n>]"
    assert call("json.marshal_with_options", [1], {}) == "[1]"
    assert call("json.marshal_with_options", [1], {"pretty": False, "indent": " "}) == "[1]"
    for options in ({"pretty": 1}, {"indent": 1}, {"nope": 1}):
        with pytest.raises(OperandError):
            call("json.marshal_with_options", [1], options)


@pytest.mark.parametrize(("text", "wanted"), [("[1", FALSE), ("{}", TRUE), ("NaN", FALSE), ("", FALSE), (5, FALSE)])
def test_json_validity(text: Any, wanted: Any) -> None:
    assert call("json.is_valid", text) is wanted


def test_broken_json() -> None:
    with pytest.raises(BuiltinError, match=r"json\.unmarshal"):
        call("json.unmarshal", "{")
    with pytest.raises(LimitExceeded):
        call("json.unmarshal", "[" * 50_000)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a: [1, yes, 2020-01-01]", {"a": [1, "yes", "2020-01-01"]}),
        ("a: 0777", {"a": 511}),
        ("a: ~", {"a": None}),
        ("a: true", {"a": True}),
        ("- 0x1F", [31]),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("1: a", {"1": "a"}),
        ("a: 1:30", {"a": "1:30"}),
        ("", None),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("true: 1", {"true": 1}),
    ],
)
def test_yaml(text: Any, wanted: Any) -> None:
    assert call("yaml.unmarshal", text) == rego(wanted)


def test_yaml_text() -> None:
    assert (
        call("yaml.marshal", {"a": [1, "x", {"b": None}], "c": "true"}) == 'a:\n  - 1\n  - x\n  - b: null\nc: "true"\n'
    )
    for value in ([], {}, "a: b", "multi\nline", "yes", "1", None, [[1], {"a": []}]):
        assert call("yaml.unmarshal", call("yaml.marshal", value)) == rego(value)


@pytest.mark.parametrize("text", ["[", "a: b: c", "{a", "*x", "!!python/object:os.system x", "a: .inf"])
def test_broken_yaml(text: Any) -> None:
    with pytest.raises(BuiltinError, match=r"yaml\."):
        call("yaml.unmarshal", text)
    assert call("yaml.is_valid", text) is FALSE


def test_yaml_validity() -> None:
    assert call("yaml.is_valid", "a: 1") is TRUE
    assert call("yaml.is_valid", 5) is FALSE


@given(st.text())
def test_encodings_there_and_back(text: Any) -> None:
    for encode, decode in (
        ("base64.encode", "base64.decode"),
        ("base64url.encode", "base64url.decode"),
        ("base64url.encode_no_pad", "base64url.decode"),
        ("hex.encode", "hex.decode"),
        ("urlquery.encode", "urlquery.decode"),
    ):
        assert call(decode, call(encode, text)) == text


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("base64.encode", "a?", "YT8="),
        ("base64url.encode", "a?>", "YT8-"),
        ("base64url.encode_no_pad", "a", "YQ"),
        ("hex.encode", "é", "c3a9"),
        ("urlquery.encode", "a b&é/~", "a+b%26%C3%A9%2F~"),
        ("urlquery.decode", "a%20b+c", "a b c"),
        ("base64.decode", "/w==", "\ufffd"),
    ],
)
def test_known_encodings(name: Any, text: Any, wanted: Any) -> None:
    assert call(name, text) == wanted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("base64.decode", "a"),
        ("base64.decode", "é==="),
        ("base64url.decode", "a+/="),
        ("base64url.decode", "abcde"),
        ("hex.decode", "6"),
        ("hex.decode", "zz"),
        ("urlquery.decode", "%zz"),
        ("urlquery.decode", "%2"),
    ],
)
def test_broken_encodings(name: Any, text: Any) -> None:
    with pytest.raises(BuiltinError):
        call(name, text)


def test_base64_validity() -> None:
    assert call("base64.is_valid", "YQ==") is TRUE
    assert call("base64.is_valid", "Y") is FALSE
    assert call("base64.is_valid", 1) is FALSE


def test_query_objects() -> None:
    assert call("urlquery.encode_object", {"d": ["e", "f"], "a": "b c", "g": {"h"}}) == "a=b+c&d=e&d=f&g=h"
    assert call("urlquery.decode_object", "a=b+c&d=e&d=f&g") == rego({"a": ["b c"], "d": ["e", "f"], "g": [""]})
    with pytest.raises(OperandError):
        call("urlquery.encode_object", {"a": 1})
    with pytest.raises(OperandError):
        call("urlquery.encode_object", {"a": [1]})
    with pytest.raises(BuiltinError):
        call("urlquery.decode_object", "a;b")
