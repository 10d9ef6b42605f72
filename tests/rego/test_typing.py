"""Work with types: of constants, look-ups, common values, JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from tests.rego.evaluating import answer
from tests.rego.test_values import values
from watchkey.rego.types import (
    ANY,
    BOOLEAN,
    NULL,
    NUMBER,
    STRING,
    Array,
    Mapping,
    SetOf,
    any_of,
    array_of,
    object_of,
    record,
    set_of,
    tuple_of,
)
from watchkey.rego.typing import (
    compatible,
    from_schema,
    has_empty_set,
    keys_of,
    limited,
    object_type,
    selected,
    type_of,
    union,
    values_of,
)
from watchkey.rego.values import TRUE, Object, Set


@given(values)
def test_a_value_is_compatible_with_itself(value: Any) -> None:
    assert compatible(type_of(value), type_of(value))
    assert compatible(type_of(value), ANY)


@given(values, values)
def test_equal_values_have_compatible_types(one: Any, two: Any) -> None:
    if one == two:
        assert compatible(type_of(one), type_of(two))


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        (STRING, NUMBER, False),
        (any_of(STRING, NULL), NULL, True),
        (array_of(STRING), tuple_of(NUMBER), False),
        (tuple_of(STRING), tuple_of(STRING, STRING), False),
        (array_of(ANY), tuple_of(STRING), True),
        (record(a=STRING), record(a=NUMBER), False),
        (record(a=STRING), record(b=STRING), False),
        (record(a=STRING), object_of(STRING, STRING), True),
        (object_of(STRING, NUMBER), record(a=STRING), False),
        (set_of(STRING), set_of(NUMBER), False),
        (set_of(STRING), array_of(STRING), False),
        (None, STRING, True),
    ],
)
def test_common_values(left: Any, right: Any, wanted: Any) -> None:
    assert compatible(left, right) is wanted
    assert compatible(right, left) is wanted


def test_look_ups() -> None:
    assert selected(tuple_of(STRING, NUMBER), 1) == NUMBER
    assert selected(tuple_of(STRING), 1) is None
    assert selected(record(a=STRING), "b") is None
    assert selected(object_of(STRING, NUMBER), "b") == NUMBER
    assert selected(STRING, 0) is None
    assert selected(any_of(STRING, record(a=NUMBER)), "a") == NUMBER
    assert selected(set_of(STRING), 1) is None
    assert keys_of(record(a=NUMBER)) == STRING
    assert values_of(tuple_of(STRING, NUMBER)) == any_of(STRING, NUMBER)
    assert keys_of(NUMBER) is None
    assert values_of(set_of(BOOLEAN)) == BOOLEAN


def test_types_of_constants() -> None:
    assert type_of((1, "a")) == tuple_of(NUMBER, STRING)
    assert type_of(Object({"a": TRUE})) == record(a=BOOLEAN)
    assert type_of(Set([1])) == set_of(NUMBER)
    assert type_of(Object({1: "a"})).key == NUMBER  # type: ignore[union-attr]  # a Mapping


def test_large_types_are_forgotten() -> None:
    deep = STRING
    for _ in range(20):
        deep = array_of(deep)  # type: ignore[assignment]  # any type
    assert str(limited(deep)).count("array") < 10
    assert union([tuple_of(*[NUMBER] * n) for n in range(30)]) == ANY


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "string"}, STRING),
        ({"type": ["string", "null"]}, any_of(STRING, NULL)),
        ({"type": "integer"}, NUMBER),
        ({"type": "array", "items": {"type": "number"}}, array_of(NUMBER)),
        ({"enum": ["a", 1]}, any_of(STRING, NUMBER)),
        ({"properties": {"a": {"type": "boolean"}}}, record(a=BOOLEAN)),
        ({"type": "object"}, object_of(STRING, ANY)),
        ({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}, record(a=STRING)),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, any_of(STRING, NUMBER)),
        ({}, ANY),
        (True, ANY),
        ({"allOf": [{"type": "string"}]}, ANY),
        ({"$ref": "#"}, ANY),
        ({"const": None}, NULL),
    ],
)
def test_schemas(schema: Any, wanted: Any) -> None:
    assert from_schema(schema) == wanted


def test_open_objects_stay_open() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}
    assert selected(from_schema(schema), "z") == ANY


def test_arrays_of_elements_that_differ_have_nothing_in_common() -> None:
    assert not compatible(Array((), STRING), Array((), NUMBER))
    assert compatible(Array((), STRING), Array(()))


def test_an_empty_set_is_found_wherever_it_stands() -> None:
    assert has_empty_set(Array((NUMBER,), SetOf(None)))
    assert has_empty_set(union([NUMBER, Mapping((("a", SetOf(SetOf(None))),))]))
    assert not has_empty_set(SetOf(STRING))


def test_a_key_that_stands_twice() -> None:
    assert object_type([("a", STRING), ("a", NUMBER)]) == object_type([("a", NUMBER)])
    assert answer('p := [{"a": input.x, "a": 2}, {"b": {1}, "b": set()}]', {"x": 5}) == [{"a": 2}, {"b": []}]
    assert answer('p := [{k: 1, "a": 2}, {"a": 1, k: 2}] if k := "a"') == [{"a": 1}, {"a": 2}]
