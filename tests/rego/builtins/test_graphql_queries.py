"""graphql.*."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.errors import BuiltinError, LimitExceeded
from watchkey.rego.values import FALSE, TRUE, Object

SCHEMA = """
type Query { a: Int b(x: Int!, i: In, e: E): T u: U }
type Mutation { m: Int }
type T implements N { id: ID! name(x: Int): String }
type O { z: Int }
union U = T | O
interface N { id: ID! }
input In { r: Int! k: In }
enum E { A B }
directive @dd(x: Int!) on FIELD
"""


@pytest.mark.parametrize(
    "query",
    [
        "{a}", "{b(x: 1) {id}}", "{b(x: 9999999999) {id}}", "query($v: Int!) {b(x: $v) {id}}", "{u {... on T {id}}}",
        "{...F} fragment F on Query {a}", "mutation {m}", "{a @dd(x: 1)}", "{__typename __schema {types {name}}}",
        "{b(x: 1, i: {r: 1, k: {r: 2}}) {id}}", "{... @defer {a}}",
    ],
)  # fmt: skip
def test_queries_that_fit(query: Any) -> None:
    assert call("graphql.is_valid", query, SCHEMA) is TRUE
    tree = call("graphql.parse_query", query)
    assert call("graphql.parse_and_verify", query, SCHEMA) == (TRUE, tree, call("graphql.parse_schema", SCHEMA))


@pytest.mark.parametrize(
    "query",
    [
        "{", "{q}", "{b}", '{b(x: "1") {id}}', "{b(x: 1)}", "{a {x}}", "{b(x: 1, i: {}) {id}}", "{b(x: 1, e: C) {id}}",
        "{b(x: $v) {id}}", "query($v: Int!) {a}", "query($v: String!) {b(x: $v) {id}}", "{u {id}}", "{...F}",
        "{a} fragment F on Query {a}", "{...F} fragment F on Query {...F}", "{a @foo}", "{a @dd}", "subscription {a}",
        "{a} {a}", "{x: a x: b(x: 1) {id}}", "{__foo}",
    ],
)  # fmt: skip
def test_queries_that_do_not_fit(query: Any) -> None:
    assert call("graphql.is_valid", query, SCHEMA) is FALSE
    assert call("graphql.parse_and_verify", query, SCHEMA) == rego([False, {}, {}])
    with pytest.raises(BuiltinError):
        call("graphql.parse", query, SCHEMA)


def test_trees_instead_of_texts() -> None:
    query = call("graphql.parse_query", "query Q($v: Int! = 1) {x: b(x: $v) {id}}")
    schema = call("graphql.parse_schema", SCHEMA)
    assert call("graphql.is_valid", query, schema) is TRUE
    assert call("graphql.parse", query, schema) == (query, schema)
    assert call("graphql.is_valid", call("graphql.parse_query", "{q}"), schema) is FALSE
    assert call("graphql.schema_is_valid", schema) is TRUE


@pytest.mark.parametrize("tree", [{"Operations": 1}, {"Operations": [1]}, {"Operations": [{"Name": 1}]}, {1: 2}])
def test_trees_that_are_not(tree: Any) -> None:
    assert call("graphql.is_valid", tree, SCHEMA) is FALSE


def test_a_query_without_a_root_type_does_not_fit() -> None:
    assert call("graphql.is_valid", "{a}", "type T {a: Int}") is FALSE
    with pytest.raises(BuiltinError, match='Schema does not support operation type "query"'):
        call("graphql.parse", "{a}", "type T {a: Int}")


@pytest.mark.parametrize(("schema", "valid"), [(SCHEMA, TRUE), ("type T", FALSE), ("{", FALSE), (1, FALSE), ({}, TRUE)])
def test_schemas(schema: Any, valid: Any) -> None:
    assert call("graphql.schema_is_valid", schema) is valid


def test_errors_name_the_place() -> None:
    with pytest.raises(BuiltinError, match=r"Cannot query field .* in GraphQL string at location 1:2"):
        call("graphql.parse", "{q}", SCHEMA)


def test_a_query_of_many_overlaps_ends_in_the_budget() -> None:
    query = "{" + " ".join(f"a{n}: a" for n in range(3000)) + "}"
    with pytest.raises(LimitExceeded):
        call("graphql.is_valid", query, SCHEMA, ctx=Context(steps=100_000))


def test_a_deep_tree_is_refused() -> None:
    tree = Object({"Alias": "a", "Name": "a"})
    for _ in range(300):
        tree = Object({"Alias": "a", "Name": "a", "SelectionSet": (tree,)})
    with pytest.raises((BuiltinError, LimitExceeded)):
        call("graphql.parse", {"Operations": [{"Operation": "query", "SelectionSet": [tree]}]}, SCHEMA)
