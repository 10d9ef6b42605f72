"""json.patch, json.filter, json.remove."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import Context, call, is_undefined, rego
from watchkey.rego.errors import BuiltinError, LimitExceeded, OperandError

DOCUMENT = {"a": {"b": [1, 2, {"c": 3}], "d": "x"}, "a/b": 2, "m~n": 3, "s": {1, ("x",)}}


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["a/d"], {"a": {"d": "x"}}),
        (["/a/b/0", "/a/b/2"], {"a": {"b": [1, {"c": 3}]}}),
        ([["a", "b"]], {"a": {"b": [1, 2, {"c": 3}]}}),
        (["/a~1b", "/m~0n"], {"a/b": 2, "m~n": 3}),
        (["a", "a/d"], {"a": DOCUMENT["a"]}),
        ([["s", 1]], {"s": {1}}),
        (["zz", ""], {}),
        (set(), {}),
    ],
)
def test_filter(paths: Any, wanted: Any) -> None:
    assert call("json.filter", DOCUMENT, paths) == rego(wanted)


def test_remove_moves_elements_up() -> None:
    assert call("json.remove", {"a": [1, 2, 3]}, ["a/0", "a/1"]) == rego({"a": [3]})
    assert call("json.remove", DOCUMENT, ["a", "s", "/a~1b"]) == rego({"m~n": 3})
    assert call("json.remove", {"a": 1}, ["a/b"]) == rego({"a": 1})


def test_paths_are_texts_or_arrays() -> None:
    with pytest.raises(OperandError, match=r"operand 2 must be one of \{set, array\} containing string paths"):
        call("json.remove", {}, [1])
    with pytest.raises(OperandError):
        call("json.filter", {}, "a")


def patched(document: Any, *operations: Any) -> Any:
    return call("json.patch", document, list(operations))


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        ({"op": "add", "path": "/a/1", "value": 9}, {"a": [1, 9, 2]}),
        ({"op": "add", "path": "/a/-", "value": 9}, {"a": [1, 2, 9]}),
        ({"op": "add", "path": ["b"], "value": 9}, {"a": [1, 2], "b": 9}),
        ({"op": "remove", "path": "a/0"}, {"a": [2]}),
        ({"op": "replace", "path": "/a/1.0", "value": 9}, {"a": [1, 9]}),
        ({"op": "move", "from": "/a/0", "path": "/a/1"}, {"a": [2, 1]}),
        ({"op": "copy", "from": "/a", "path": "/b"}, {"a": [1, 2], "b": [1, 2]}),
        ({"op": "test", "path": "/a", "value": [1, 2]}, {"a": [1, 2]}),
        ({"op": "replace", "path": "", "value": 1}, 1),
    ],
)
def test_operations(operation: Any, wanted: Any) -> None:
    assert patched({"a": [1, 2]}, operation) == rego(wanted)


def test_sets_are_patched_by_their_elements() -> None:
    assert patched({1, 2}, {"op": "remove", "path": [1]}) == rego({2})
    assert patched({1}, {"op": "add", "path": [3], "value": 3}) == rego({1, 3})
    assert patched({("x",)}, {"op": "add", "path": [["x"], 0], "value": "w"}) == rego({("w", "x")})
    with pytest.raises(BuiltinError, match="does not equal value to be inserted"):
        patched({1}, {"op": "add", "path": [3], "value": 4})


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        ({"op": "add", "path": "/a/3", "value": 1}, "index for array insertion out of bounds"),
        ({"op": "add", "path": "/a/00", "value": 1}, "leading zeros are not allowed in JSON paths"),
        ({"op": "add", "path": "/x/y", "value": 1}, 'path "x" does not exist in object term'),
        ({"op": "add", "path": "/a"}, "missing required attribute 'value'"),
        ({"op": "remove", "path": "/x"}, 'cannot delete child key "x" that does not exist'),
        ({"op": "test", "path": "/a", "value": 1}, "value from EditTree != patch value"),
        ({"op": "move", "from": "/a", "path": "/a/b"}, "does not exist"),
        ({"op": "zap", "path": "/a"}, "unrecognized op: 'zap'"),
        ({"op": 1, "path": "/a"}, "attribute 'op' must be a string but found: number"),
        ({"path": "/a"}, "missing required attribute 'op'"),
        ({"op": "add"}, "missing required attribute 'path'"),
        ({"op": "add", "path": "/a/0/b", "value": 1}, "expected composite type"),
    ],
)
def test_operations_that_fail(operation: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        patched({"a": [1, 2]}, operation)


def test_all_or_nothing() -> None:
    document = rego({"a": 1})
    with pytest.raises(BuiltinError):
        patched(document, {"op": "remove", "path": "/a"}, {"op": "remove", "path": "/a"})
    assert document == rego({"a": 1})


def test_nothing_left_is_undefined() -> None:
    assert is_undefined(patched({"a": 1}, {"op": "remove", "path": ""}))


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 6), st.integers(0, 9))
def test_add_then_remove_is_the_same_array(elements: Any, place: int, value: Any) -> None:
    place = min(place, len(elements))
    path = f"/{place}"
    assert patched(elements, {"op": "add", "path": path, "value": value}, {"op": "remove", "path": path}) == rego(
        elements
    )


def test_growing_by_copies_is_bounded() -> None:
    operations = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(200)]
    grown = patched({"a": list(range(10))}, *operations)
    assert len(grown["a"]) == 210
    with pytest.raises(LimitExceeded):
        call("json.patch", {"a": list(range(5000))}, operations, ctx=Context(steps=20_000))
