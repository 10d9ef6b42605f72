"""What is a JSON Schema, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, rego
from watchkey.rego.builtins.schema_documents import SchemaError, compile_schema
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import Object

DRAFT_4 = {"$schema": "http://json-schema.org/draft-04/schema#"}


def compiled(document: Any, **limits: Any) -> Any:
    return compile_schema(Context(**limits), rego(document))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "schema is invalid"),
        (
            {"type": "foo"},
            r"given: /foo/ Expected valid values are:\[array boolean integer number null object string\]",
        ),
        ({"type": 1}, "Invalid type. Expected: type, given: string/Array Of Strings"),
        ({"type": ["string", "string"]}, "string type is duplicated"),
        ({"properties": 1}, "Properties must be of type object"),
        ({"properties": {"a": 1}}, "Expected: Valid Schema, given: Invalid JSON"),
        ({"additionalProperties": 1}, "Expected: boolean/Valid Schema, given: additionalProperties"),
        ({"patternProperties": {"(": {}}}, r"Invalid regex pattern '\('"),
        ({"pattern": "(?!a)"}, "pattern must be a valid regex"),
        ({"dependencies": {"a": [1]}}, "Dependency must be of type Schema Or Array Of Strings"),
        ({"items": 1}, "Expected: Valid Schema/Array Of Schemas, given: items"),
        ({"multipleOf": 0}, "multipleOf must be strictly greater than 0"),
        ({"minimum": "x"}, "minimum must be of a Number"),
        ({"exclusiveMinimum": True}, "exclusiveMinimum cannot be used without minimum"),
        (DRAFT_4 | {"exclusiveMinimum": 3}, "Expected: boolean, given: exclusiveMinimum"),
        ({"minLength": 1.0}, "minLength must be of an integer"),
        ({"minItems": -1}, "minItems must be greater than or equal to 0"),
        ({"minProperties": 2, "maxProperties": 1}, "minProperties cannot be greater than maxProperties"),
        ({"required": ["a", "a"]}, "required items must be unique"),
        ({"enum": [1, 1]}, "enum items must be unique"),
        ({"anyOf": {}}, "anyOf must be of an array"),
        ({"not": 1}, "not must be of an object"),
        ({"$ref": "#/definitions/x"}, "Object has no key 'definitions'"),
        ({"$ref": "http://example.com/x"}, "remote reference loading disabled: http://example.com/x"),
        ({"definitions": {"x": 1}}, "Expected: Array Of Schemas, given: definitions"),
        ({"$schema": 1}, r"\$schema must be of type string"),
    ],
)
def test_why_a_document_is_no_schema(document: Any, problem: str) -> None:
    with pytest.raises(SchemaError, match=problem):
        compiled(document)


def test_references_to_names_pointers_and_the_whole() -> None:
    named = {"definitions": {"x": {"$id": "#here", "type": "string"}}}
    assert compiled(named | {"$ref": "#here"}).target.types == ["string"]
    assert compiled(named | {"$ref": "#/definitions/x"}).target.types == ["string"]
    whole = compiled({"properties": {"next": {"$ref": "#"}}})
    assert whole.properties["next"].target is whole


def test_keywords_of_later_drafts_do_not_hold_in_earlier_ones() -> None:
    assert compiled(DRAFT_4 | {"const": 1}).constant is None
    assert compiled({"const": 1}).constant == (1,)
    assert compiled({"$schema": "http://json-schema.org/draft-06/schema#", "if": {}}).condition is None


def test_booleans_are_schemas() -> None:
    assert compiled({"properties": {"a": False}}).properties["a"].passes is False


def test_nesting_and_size_are_bounded() -> None:
    deep = Object()
    for _ in range(500):
        deep = Object({"not": deep})
    with pytest.raises(SchemaError, match="nested too deeply"):
        compiled(deep)
    with pytest.raises(LimitExceeded):
        compiled({"properties": {str(number): {} for number in range(1000)}}, steps=500)
