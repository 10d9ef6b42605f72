"""Type terms: how signatures are written and shown."""

from __future__ import annotations

from watchkey.rego.types import (
    ANY,
    ARRAY,
    BOOLEAN,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    Function,
    any_of,
    array_of,
    kinds,
    object_of,
    record,
    set_of,
    tuple_of,
)


def test_text() -> None:
    assert str(any_of(STRING, array_of(NUMBER))) == "any<string, array[number]>"
    assert str(tuple_of(STRING, NUMBER)) == "array<string, number>"
    assert str(record(a=STRING)) == "object<a: string>"
    assert str(record(open_with=ANY, a=STRING)) == "object<a: string>[any: any]"
    assert str(object_of(STRING, ANY)) == "object[string: any]"
    assert str(set_of(NULL)) == "set[null]"
    assert str(Function((STRING,), BOOLEAN)) == "(string) => boolean"


def test_unions_are_flat() -> None:
    assert any_of(STRING, any_of(STRING, NUMBER)) == any_of(STRING, NUMBER)
    assert any_of(STRING) == STRING
    assert any_of(STRING, ANY) == ANY


def test_kinds() -> None:
    assert kinds(any_of(ARRAY, OBJECT)) == ("array", "object")
    assert kinds(ANY) == ()
    assert kinds(any_of(STRING, set_of(ANY))) == ("string", "set")


def test_fields() -> None:
    assert record(a=STRING, b=NUMBER).field("b") == NUMBER
    assert record(a=STRING).field("c") is None
