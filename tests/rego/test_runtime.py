"""What generated code calls: look-ups, derived states, merged documents, objects under construction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rego.evaluating import answer
from watchkey.rego import runtime
from watchkey.rego.errors import EvaluationError, LimitExceeded
from watchkey.rego.runtime import State
from watchkey.rego.values import EMPTY_OBJECT, TRUE, UNDEFINED, Object, Set, from_json


def state(**options: Any) -> State:
    return State(3, from_json(options.get("data", {})), options.get("given"), options.get("steps", 1000), 1000)


@pytest.mark.parametrize(
    ("value", "key", "wanted"),
    [
        ((1, 2), 1, 2),
        ((1, 2), -1, UNDEFINED),
        ((1, 2), 5, UNDEFINED),
        ((1, 2), "a", UNDEFINED),
        ((1, 2), TRUE, UNDEFINED),
        ((1, 2), Decimal("1.0"), 2),
        (Object({"a": 1}), "a", 1),
        (Object({1: 2}), 1, 2),
        (Set(["x"]), "x", "x"),
        (Set(["x"]), "y", UNDEFINED),
        ("abc", 0, UNDEFINED),
        (None, "a", UNDEFINED),
        (5, 0, UNDEFINED),
    ],
)
def test_look_ups(value: Any, key: Any, wanted: Any) -> None:
    assert runtime.deref(value, key) == wanted


def test_iteration_is_paid_for() -> None:
    st = state(steps=3)
    assert list(runtime.items(st, Object({"b": 1, "a": 2}))) == [2, 1]
    assert list(runtime.pairs(st, "abc")) == []
    with pytest.raises(LimitExceeded):
        runtime.pairs(st, (1, 2))


def test_a_derived_state_starts_anew_and_changes_nothing_outside() -> None:
    st = state(data={"a": {"b": 1, "c": 2}}, given={"x": 1})
    st.memo[0] = "computed"
    other = st.derive([("input", ("x",), 5), ("data", ("a", "b"), 7, ((2, ()),)), ("function", "f", 9)])
    assert other.memo == [runtime.UNSET, runtime.UNSET, 7]
    assert other.input == Object({"x": 5})
    assert other.data == from_json({"a": {"b": 7, "c": 2}})
    assert other.mocks == {"f": 9}
    assert other.budget is st.budget
    assert (st.memo[0], st.input, st.data, st.mocks) == ("computed", {"x": 1}, from_json({"a": {"b": 1, "c": 2}}), {})
    again = other.derive([("input", (), None)])
    assert again.memo[2] == 7
    assert other.derive([("functions",)]).mocks == {}


def test_replacing_parts_of_documents() -> None:
    assert runtime.replaced(UNDEFINED, ("a", "b"), 1) == from_json({"a": {"b": 1}})
    assert runtime.replaced(from_json({"a": [1]}), ("a", "b"), 1) == from_json({"a": {"b": 1}})
    assert runtime.nested(from_json({"a": [1]}), ("a", 0)) == 1
    assert runtime.nested(from_json({"a": [1]}), ("a", 5)) is UNDEFINED


def test_plain_data_lies_over_computed_documents() -> None:
    assert runtime.over(from_json({"k": "base", "o": {"a": 1}}), from_json({"k": "rule", "o": {"b": 2}})) == from_json(
        {"k": "base", "o": {"a": 1, "b": 2}}
    )


def test_objects_under_construction() -> None:
    st = state()
    out: dict = {}
    runtime.put(st, out, "a", (1,))
    runtime.put(st, out, "a", (1,))
    with pytest.raises(EvaluationError, match="unique"):
        runtime.put(st, out, "a", (2,))
    nested: dict = {}
    runtime.put_path(nested, ("a", "b"), 1)
    runtime.add_path(nested, ("a", "s"), 2)
    runtime.add_path(nested, ("a", "s"), 3)
    runtime.merge_path(nested, "a", from_json({"c": 4}))
    assert runtime.built(nested) == Object({"a": Object({"b": 1, "c": 4, "s": Set([2, 3])})})
    for clash in (
        lambda: runtime.put_path(nested, ("a",), 1),
        lambda: runtime.put_path(nested, ("a", "b", "c"), 1),
        lambda: runtime.add_path(nested, ("a", "b"), 1),
        lambda: runtime.merge_path(nested, "a", 5),
    ):
        with pytest.raises(EvaluationError, match="unique"):
            clash()


def test_membership() -> None:
    st = state()
    assert runtime.member(st, (1,), ((1,), 2))
    assert runtime.member(st, 2, Object({"a": 2}))
    assert not runtime.member(st, "a", "abc")
    assert runtime.member_pair(st, "a", 2, Object({"a": 2}))
    assert not runtime.member_pair(st, 0, 2, (1,))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('p := data.t.q\nq := {"b": 1}', {"b": 1}),
        ("p := {k | some k, _ in data.x}", ["base"]),
        ("p := {k | data.x[k]}", ["base"]),
        ('p := data.x["base"]', 1),
        ("p := [data.list[0], data.list[_]]", None),
        ("p := data.num[2]", "two"),
        ("a.x := 1\na.y := 2\np := {k: v | some k; v := data.t.a[k]}", {"x": 1, "y": 2}),
        ("a.x := 1\na.y := 2\np := [v | v := data.t.a[_]]", [1, 2]),
        ("a.x.z := 1\na.y.z := 2\np := {k | data.t.a[k].z == 2}", ["y"]),
        ("a.x := 1 if false\np := data.t.a", {}),
    ],
)
def test_documents_of_rules_and_data(text: Any, wanted: Any) -> None:
    found = answer(text, data={"x": {"base": 1}, "list": [5], "num": {"2": "two"}})
    assert found == (wanted if wanted is not None else [5, 5])


def test_an_empty_package_is_an_empty_object() -> None:
    assert answer("f(x) := x\np := data.u", data={"u": {}}) == {}
    assert Object() == EMPTY_OBJECT
