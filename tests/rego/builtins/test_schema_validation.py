"""Findings of JSON Schema, by kind."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, json_value, rego
from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.schema_documents import compile_schema
from watchkey.rego.builtins.schema_validation import Findings, validate
from watchkey.rego.errors import LimitExceeded


def findings(schema: Any, document: Any, **limits: Any) -> Any:
    ctx = Context(**limits)
    found = Findings(ctx)
    validate(compile_schema(ctx, rego(schema)), rego(document), "(Root)", found)
    return [(each.kind, each.text) for each in found.found]


@pytest.mark.parametrize(
    ("schema", "good", "bad", "finding"),
    [
        (
            {"type": "integer"},
            json_value("1.0"),
            1.5,
            ("invalid_type", "Invalid type. Expected: integer, given: number"),
        ),
        (
            {"type": ["string", "null"]},
            None,
            1,
            ("invalid_type", "Invalid type. Expected: [string,null], given: integer"),
        ),
        ({"required": ["a"]}, {"a": 1}, {}, ("required", "a is required")),
        (
            {"additionalProperties": False},
            {},
            {"b": 1},
            ("additional_property_not_allowed", "Additional property b is not allowed"),
        ),
        ({"dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}, ("missing_dependency", "Has a dependency on b")),
        (
            {"multipleOf": json_value("0.1")},
            json_value("0.3"),
            json_value("0.35"),
            ("multiple_of", "Must be a multiple of 0.1"),
        ),
        ({"maximum": 1_000_000}, 1_000_000, 1_000_001, ("number_lte", "Must be less than or equal to 1e+06")),
        ({"minimum": 3, "exclusiveMinimum": True}, 4, 3, ("number_gt", "Must be greater than 3")),
        ({"exclusiveMaximum": 3}, 2, 3, ("number_lt", "Must be less than 3")),
        (
            {"minLength": 2},
            "\U0001f600\U0001f600",
            "\U0001f600",
            ("string_gte", "String length must be greater than or equal to 2"),
        ),
        ({"maxLength": 1}, "a", "ab", ("string_lte", "String length must be less than or equal to 1")),
        ({"pattern": "^a+$"}, "aa", "b", ("pattern", "Does not match pattern '^a+$'")),
        ({"minItems": 1}, [1], [], ("array_min_items", "Array must have at least 1 items")),
        ({"maxItems": 1}, [1], [1, 2], ("array_max_items", "Array must have at most 1 items")),
        ({"uniqueItems": True}, [1, "1"], [1, json_value("1.0")], ("unique", "array items[0,1] must be unique")),
        ({"minProperties": 1}, {"a": 1}, {}, ("array_min_properties", "Must have at least 1 properties")),
        ({"const": 1}, json_value("1.0"), 2, ("const", "(Root) does not match: 1")),
        ({"enum": [1, "<"]}, "<", 2, ("enum", '(Root) must be one of the following: 1, "\\u003c"')),
        ({"not": {"type": "string"}}, 1, "a", ("number_not", "Must not validate the schema (not)")),
        (
            {"items": [{}], "additionalItems": False},
            [1],
            [1, 2],
            ("array_no_additional_items", "No additional items allowed on array"),
        ),
        (
            {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
            1,
            3,
            ("number_one_of", "Must validate one and only one schema (oneOf)"),
        ),
    ],
)
def test_one_finding(schema: Any, good: Any, bad: Any, finding: Any) -> None:
    assert findings(schema, good) == []
    assert findings(schema, bad) == [finding]


def test_the_nearest_alternative_is_explained() -> None:
    schema = {
        "anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}]
    }
    kinds = [kind for kind, _ in findings(schema, {"a": 1})]
    assert kinds == ["number_any_of", "invalid_type"]
    assert "given: integer" in findings(schema, {"a": 1})[1][1]


def test_all_of_lists_everything() -> None:
    schema = {"allOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert [kind for kind, _ in findings(schema, {})] == ["required", "required", "number_all_of"]


def test_contains() -> None:
    assert findings({"contains": {"minimum": 5}}, [1, 6]) == []
    assert [kind for kind, _ in findings({"contains": {"minimum": 5}}, [1])] == ["contains", "number_gte"]
    assert [kind for kind, _ in findings({"contains": {}}, [])] == ["contains"]


def test_conditions() -> None:
    schema = {"if": {"type": "object"}, "then": {"required": ["q"]}, "else": {"type": "string"}}
    assert [kind for kind, _ in findings(schema, {})] == ["condition_then", "required"]
    assert [kind for kind, _ in findings(schema, 1)] == ["condition_else", "invalid_type"]
    assert findings(schema, "a") == []


def test_property_names_and_patterns() -> None:
    assert [kind for kind, _ in findings({"propertyNames": {"pattern": "^a"}}, {"b": 1})] == [
        "invalid_property_name",
        "pattern",
    ]
    assert findings({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": False}, {"xa": "s"}) == []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", "2020-01-31", "2020-02-30"),
        ("time", "12:00:00+01:00", "25:00:00"),
        ("date-time", "2020-01-01T00:00:00Z", "x"),
        ("hostname", "a.b-c", "a_b"),
        ("email", "A B <a@b.c>", "a..b@c"),
        ("ipv4", "1.2.3.4", "01.2.3.4"),
        ("ipv6", "::1", "1.2.3.4"),
        ("uri", "http://a", "a"),
        ("uri-reference", "a", "a\\b"),
        ("uri-template", "a/{b}", "a/{b"),
        ("regex", "a+", "("),
        ("uuid", "00000000-0000-0000-0000-00000000000a", "0"),
        ("json-pointer", "/a/~0", "/~"),
        ("relative-json-pointer", "0#", "01"),
    ],
)
def test_formats(name: str, good: Any, bad: Any) -> None:
    assert findings({"format": name}, good) == []
    assert findings({"format": name}, bad) == [("format", f"Does not match format '{name}'")]
    assert findings({"format": name}, 1) == []


def test_a_schema_that_only_refers_to_itself_ends() -> None:
    with pytest.raises(BuiltinError, match="refers to itself without end"):
        findings({"$ref": "#"}, 1)


def test_alternatives_of_alternatives_end_in_the_budget() -> None:
    schema: dict = {"type": "string"}
    for _ in range(40):
        schema = {"anyOf": [schema, {"not": {}}, {"type": "null"}]}
    definitions = {
        "x": {"allOf": [{"$ref": "#/definitions/y"}] * 9},
        "y": {"allOf": [{"$ref": "#/definitions/z"}] * 9},
        "z": {"allOf": [schema] * 9},
    }
    doubled = {"definitions": definitions, "$ref": "#/definitions/x"}
    with pytest.raises(LimitExceeded):
        findings(doubled, 1, steps=50_000)
