"""json.match_schema and json.verify_schema."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import call, rego
from watchkey.rego.errors import BuiltinError


def test_a_finding() -> None:
    found = call("json.match_schema", {"id": "foo"}, {"properties": {"id": {"type": "integer"}}, "required": ["id"]})
    text = "Invalid type. Expected: integer, given: string"
    assert found == rego([False, [{"desc": text, "error": f"id: {text}", "field": "id", "type": "invalid_type"}]])


def test_documents_and_schemas_as_texts() -> None:
    assert call("json.match_schema", "[1]", '{"items": {"type": "integer"}}') == rego([True, []])
    assert call("json.verify_schema", '{"type": "boolean"}') == rego([True, None])


def test_sets_are_arrays() -> None:
    assert call("json.match_schema", {"s": {1, 2}}, {"properties": {"s": {"type": "array", "minItems": 2}}})[1] == ()


@pytest.mark.parametrize(
    ("document", "problem"), [("x", "invalid JSON string"), (1, "wrong type, expected string or object")]
)
def test_what_is_no_document(document: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("json.match_schema", document, {})
    assert call("json.verify_schema", document) == rego([False, f"jsonschema: {problem}"])


def test_a_schema_that_is_none_is_an_error_of_matching() -> None:
    with pytest.raises(BuiltinError, match="NOT VALID -- given: /foo/"):
        call("json.match_schema", {}, {"type": "foo"})
