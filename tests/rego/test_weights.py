"""Weights: shared parts count each time, long strings count more, and what is too heavy is refused."""

from __future__ import annotations

import pytest

from watchkey.rego.errors import LimitExceeded
from watchkey.rego.runtime import State
from watchkey.rego.values import EMPTY_OBJECT, Object, Set
from watchkey.rego.weights import charge, crowded, same, weigh


def state(steps: int = 10_000, size: int = 10_000) -> State:
    return State(0, EMPTY_OBJECT, None, steps, size)


def test_weights() -> None:
    st = state()
    assert [
        weigh(st, value) for value in (1, None, "a" * 640, (1, 2), ((1,), (1,)), Object({"a": 1}), Set([1, 2]))
    ] == [
        1,
        1,
        11,
        3,
        5,
        3,
        3,
    ]


def test_shared_parts_count_each_time() -> None:
    value: tuple[object, ...] = (1,) * 100
    st = state()
    for _ in range(6):
        value = (value, value)
    assert weigh(st, value) > 6400
    with pytest.raises(LimitExceeded, match="parts"):
        weigh(st, (value, value))


def test_comparing_costs_steps_by_weight() -> None:
    st = state(steps=10)
    heavy = tuple(range(5000))
    with pytest.raises(LimitExceeded, match="budget"):
        same(st, heavy, tuple(range(5000)))
    assert same(state(), heavy, tuple(range(5000)))
    assert not same(state(steps=0), (1,), (1, 2))
    assert not same(state(steps=0), (1,), Set([1]))
    with pytest.raises(LimitExceeded):
        charge(state(steps=1), heavy)


def test_weights_of_objects_are_kept() -> None:
    value = Object({"a": tuple(range(100))})
    weigh(state(), value)
    assert value.weight == 103
    assert weigh(state(steps=0), value) == 103


def test_crowds() -> None:
    assert crowded((), (), 1)
    assert not crowded((), 1, "a")
