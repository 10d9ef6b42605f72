"""What makes a GraphQL schema sound."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema

from tests.rego.builtins.calling import Context
from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.graphql_schema import checked_schema
from watchkey.rego.builtins.graphql_syntax import parse_schema


def checked(source: str) -> Any:
    return checked_schema(Context(), parse_schema(Context(), source))


@pytest.mark.parametrize(
    "source",
    [
        "type Query {a: Int}",
        "extend type T {a: Int}",
        'scalar S @specifiedBy(url: "x")',
        "interface N {a: N} type T implements N {a: T}",
        "interface N {a: Int} type T implements N {a(x: Int! = 1): Int!}",
        "input I {a: I b: [I!]!}",
        "directive @d repeatable on OBJECT type T @d @d {a: Int}",
        "directive @skip(if: Boolean!) on FIELD",
        "interface A {a: Int} interface B implements A {a: Int} type T implements A & B {a: Int}",
        'type T {a: Int @deprecated(reason: "x")}',
    ],
)
def test_sound(source: str) -> None:
    assert checked(source)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("type T", "must define one or more fields"),
        ("scalar String", "Cannot redeclare type String"),
        ("type T {a: X}", "Undefined type X"),
        ("type T {a: I} input I {x: Int}", "field must be one of"),
        ("type T {a(x: T): Int}", "is not a valid input type"),
        ("union U = I input I {a: Int}", 'UNION type "I" must be OBJECT'),
        ("union U = A | A type A {a: Int}", "can only include type A once"),
        ("enum E {true}", "non-enum value true"),
        ("enum E {A A}", "Enum value E.A can only be defined once"),
        ("type T {a: Int a: Int}", "Field T.a can only be defined once"),
        ("input I {a: J!} input J {b: I!}", "within itself through a series of non-null fields"),
        ("type __T {a: Int}", 'must not begin with "__"'),
        ("type T {a: Int @foo}", "Undefined directive foo"),
        ("type T @deprecated {a: Int}", "Directive deprecated is not applicable on OBJECT"),
        ("scalar S @specifiedBy", "Argument url for directive specifiedBy cannot be null"),
        ("type T {a: Int @deprecated @deprecated}", "can only be used once at this location"),
        ("directive @d(a: Int @d) on ARGUMENT_DEFINITION", "cannot refer to itself"),
        ("interface N {a: Int} type T implements N {b: Int}", "must have a field called a"),
        ("interface N {a(x: Int): Int} type T implements N {a: Int}", "it is missing x"),
        ("interface N {a: Int} type T implements N {a(x: Int!): Int}", "must be optional or have a default value"),
        ("interface A {a: Int} interface B implements A {a: Int} type T implements B {a: Int}", "must implement A"),
        ("schema {query: Q}", "refers to a type Q that does not exist"),
        ("type T {a: Int} extend input T {b: Int}", "Cannot extend type T because the base type is a OBJECT"),
        ("schema {query: Q} schema {query: Q} type Q {a: Int}", "Cannot have multiple schema entry points"),
    ],
)
def test_not_sound(source: str, problem: str) -> None:
    with pytest.raises(BuiltinError) as caught:
        checked(source)
    assert problem in str(caught.value)


def test_what_is_printed_is_the_schema() -> None:
    found = checked(
        'type Q implements N @dd {a(x: [In!] = [{r: 1}], s: String = "\\u00e9"): E} interface N {a: E} enum E {A B} '
        "input In {r: Int! = 2} union U = Q scalar S directive @dd(a: Int) repeatable "
        "on OBJECT | FIELD schema {query: Q}"
    )
    built = build_schema(found.sdl(), assume_valid=True)
    assert built.query_type is not None
    assert built.query_type.name == "Q"
    assert str(built.query_type.fields["a"].args["x"].type) == "[In!]"
    assert built.get_directive("dd") is not None


def test_roots_by_name_only_without_a_schema_definition() -> None:
    assert checked("type Query {a: Int} type Mutation {a: Int}").roots == {"query": "Query", "mutation": "Mutation"}
    assert checked("type Query {a: Int} type Mutation {a: Int} schema {query: Query}").roots == {"query": "Query"}
