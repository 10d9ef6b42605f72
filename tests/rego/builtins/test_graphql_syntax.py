"""Trees of GraphQL documents, and where parsing stops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import Context
from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.graphql_syntax import parse_query, parse_schema
from watchkey.rego.errors import LimitExceeded


def query(source: str) -> Any:
    return parse_query(Context(), source)


def schema(source: str) -> Any:
    return parse_schema(Context(), source)


def value(source: str) -> Any:
    return query(f"{{a(x: {source})}}")["Operations"][0]["SelectionSet"][0]["Arguments"][0]["Value"]


def test_a_query() -> None:
    assert query("{ x: a { b } }") == {
        "Operations": [
            {"Operation": "query", "Name": "", "SelectionSet": [
                {"Alias": "x", "Name": "a", "SelectionSet": [{"Alias": "b", "Name": "b"}]}]},
        ]
    }  # fmt: skip


def test_fragments_and_variables() -> None:
    found = query("query Q($a: [Int!]! = [1]) { ...F ... on T { b } } fragment F on T { c }")
    operation = found["Operations"][0]
    assert operation["SelectionSet"] == [
        {"Name": "F"},
        {"TypeCondition": "T", "SelectionSet": [{"Alias": "b", "Name": "b"}]},
    ]
    assert operation["VariableDefinitions"][0]["Type"] == {
        "NamedType": "", "Elem": {"NamedType": "Int", "NonNull": True}, "NonNull": True,
    }  # fmt: skip
    assert found["Fragments"][0]["TypeCondition"] == "T"


@pytest.mark.parametrize(
    ("source", "kind", "raw"),
    [
        ("1", 1, "1"),
        ("-1.5e+3", 2, "-1.5e+3"),
        ('"a\\n\\u00e9\\""', 3, 'a\n\u00e9"'),
        ("true", 5, "true"),
        ("null", 6, "null"),
        ("E", 7, "E"),
        ("$v", 0, "v"),
        ('"""\n  a\n   b\n"""', 4, "a\n b"),
    ],
)
def test_values(source: str, kind: str, raw: str) -> None:
    assert (value(source)["Kind"], value(source)["Raw"]) == (kind, raw)


def test_comments_stay() -> None:
    assert query("# one\nquery Q {a}")["Operations"][0]["Comment"] == {"List": [{"Value": "# one"}]}
    assert "Comment" not in query("# one\n{a}")["Operations"][0]
    assert schema("type A {a: Int} # end")["Comment"] == {"List": [{"Value": "# end"}]}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{", "Expected Name, found <EOF> in GraphQL string at location 1:2"),
        ("{ ...on T }", "Expected {, found } in GraphQL string at location 1:11"),
        ("{a\n (x: }", "Unexpected } in GraphQL string at location 2:6"),
        ("...", "Unexpected ... in GraphQL string at location 1:1"),
        ("fragment F T {a}", 'Expected "on", found Name "T" in GraphQL string at location 1:12'),
        ("{a()}", "expected at least one definition, found )"),
        ("query($a: Int = $b){a}", "Unexpected $ in GraphQL string at location 1:17"),
        ('{a(x: "\\q")}', "Unexpected <Invalid> in GraphQL string at location 1:9"),
    ],
)
def test_where_queries_stop(source: str, problem: str) -> None:
    with pytest.raises(BuiltinError) as caught:
        query(source)
    assert problem in str(caught.value)


def test_a_schema() -> None:
    found = schema(
        '"d" type A implements B & C { "f" a(x: Int = 1): [S!] @d } union U = | A | B extend type A { b: Int }'
    )
    definition = found["Definitions"][0]
    assert (definition["Kind"], definition["Description"], definition["Interfaces"]) == ("OBJECT", "d", ["B", "C"])
    assert definition["Fields"][0]["Arguments"][0]["DefaultValue"]["Raw"] == "1"
    assert found["Definitions"][1]["Types"] == ["A", "B"]
    assert found["Extensions"][0]["Fields"][0]["Name"] == "b"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("type A {}", "expected at least one definition, found }"),
        ("type A {a}", "Expected :, found }"),
        ("union U = || A", "Expected Name, found |"),
        ("directive @d on FOO", 'Unexpected Name "FOO"'),
        ("extend schema", "Unexpected <EOF>"),
        ('"d" extend type A {a: Int}', 'Unexpected String "d"'),
        ("{a}", "Unexpected {"),
    ],
)
def test_where_schemas_stop(source: str, problem: str) -> None:
    with pytest.raises(BuiltinError) as caught:
        schema(source)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "source", ["{a" * 5000, "{a(x:" + "[" * 5000, "{a(x:" + "{b:" * 5000, "query($a:" + "[" * 5000]
)
def test_nesting_is_bounded(source: str) -> None:
    with pytest.raises(LimitExceeded, match="nested deeper"):
        query(source)


def test_length_is_bounded() -> None:
    with pytest.raises(LimitExceeded):
        query("{" + "a " * 30_000 + "}")


@given(st.text(alphabet="{}()[]:!@$|&=.\"'#, \n\\aonE1-", max_size=25))
def test_any_text_is_a_document_or_an_error(source: str) -> None:
    for parse in (query, schema):
        complaint = ""
        try:
            parse(source)
        except BuiltinError as problem:
            complaint = str(problem)
        assert not complaint or "in GraphQL string at location" in complaint
