"""Arrays, objects, sets, ranges and walk; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("array.concat", [[1], [2]], [1, 2]),
        ("array.flatten", [[1, [2, [3]], []]], [1, 2, [3]]),
        ("array.reverse", [[1, 2]], [2, 1]),
        ("array.slice", [[1, 2, 3], -1, 2], [1, 2]),
        ("array.slice", [[1, 2], 2, 1], []),
        ("numbers.range", [3, 1], [3, 2, 1]),
        ("numbers.range", [1, 1], [1]),
        ("numbers.range_step", [0, 10, 4], [0, 4, 8]),
        ("numbers.range_step", [10, 0, 5], [10, 5, 0]),
        ("numbers.range", [1.0, 2], [1, 2]),
        ("object.get", [{"a": 1}, "a", 2], 1),
        ("object.get", [{}, "a", 2], 2),
        ("object.get", [{"a": {"b": [5]}}, ["a", "b", 0], 2], 5),
        ("object.get", [{"a": 1}, ["a", "b"], 2], 2),
        ("object.get", [{"a": 1}, [], 2], {"a": 1}),
        ("object.get", [{"a": {5}}, ["a", 5], 2], 5),
        ("object.keys", [{"a": 1, "b": 2}], {"a", "b"}),
        ("object.remove", [{"a": 1, "b": 2}, ["a"]], {"b": 2}),
        ("object.filter", [{"a": 1, "b": 2}, {"a": 0}], {"a": 1}),
        ("object.union", [{"a": {"b": 1}, "c": 1}, {"a": {"d": 2}, "c": {}}], {"a": {"b": 1, "d": 2}, "c": {}}),
        ("object.union_n", [[{"a": 1}, {"a": {"b": 2}}, {"a": {"c": 3}}]], {"a": {"b": 2, "c": 3}}),
        ("object.union_n", [[]], {}),
        ("union", [{frozenset({1}), frozenset({2})}], {1, 2}),
        ("intersection", [{frozenset({1, 2}), frozenset({2})}], {2}),
        ("intersection", [set()], set()),
        ("set_diff", [{1, 2}, {2}], {1}),
    ],
)
def test_answers(name: Any, args: Any, wanted: Any) -> None:
    assert call(name, *args) == rego(wanted)


@pytest.mark.parametrize(
    ("larger", "smaller", "wanted"),
    [
        ({"a": [1, 2, 3]}, {"a": [2, 3]}, TRUE),
        ([1, 2, 3], [1, 3], FALSE),
        ([1, 2], {2, 1}, TRUE),
        ({1, 2}, {2}, TRUE),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, TRUE),
        ({"a": 1}, {"b": 1}, FALSE),
        ({"a": {1, 2}}, {"a": {1}}, TRUE),
        ([], [], TRUE),
        ({"a": 1}, {"a": [1]}, FALSE),
    ],
)
def test_subsets(larger: Any, smaller: Any, wanted: Any) -> None:
    assert call("object.subset", larger, smaller) is wanted


def test_subsets_of_different_kinds() -> None:
    with pytest.raises(OperandError):
        call("object.subset", {"a": 1}, [1])


def test_walking() -> None:
    found = list(call("walk", {"b": [1], "a": {2}}))
    assert found == [
        ((), rego({"b": [1], "a": {2}})),
        (("a",), rego({2})),
        (("a", 2), 2),
        (("b",), (1,)),
        (("b", 0), 1),
    ]
    with pytest.raises(LimitExceeded):
        list(call("walk", [1] * 100, ctx=Context(steps=50)))


@pytest.mark.parametrize(
    ("name", "args", "kind"),
    [
        ("numbers.range", [1.5, 2], OperandError),
        ("numbers.range_step", [1, 2, 0], BuiltinError),
        ("array.slice", [[1], 0.5, 1], OperandError),
        ("object.union_n", [[1]], OperandError),
        ("union", [{1}], OperandError),
        ("object.get", [[1], 0, 1], OperandError),
        ("object.remove", [{}, "a"], OperandError),
        ("array.concat", [[1], {1}], OperandError),
    ],
)
def test_errors(name: Any, args: Any, kind: Any) -> None:
    with pytest.raises(kind):
        call(name, *args)


@pytest.mark.parametrize(
    ("name", "args"),
    [("numbers.range", [1, 10**8]), ("numbers.range_step", [0, 10**12, 2]), ("array.concat", [[1] * 600, [1] * 600])],
)
def test_results_are_bounded(name: Any, args: Any) -> None:
    with pytest.raises(LimitExceeded):
        call(name, *args, ctx=Context(max_size=1000))
