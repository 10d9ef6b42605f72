"""Values: equality across types, the total order over all pairs, exact numbers, text, JSON both ways."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rego.errors import LimitExceeded, MalformedValue
from watchkey.rego.values import (
    EMPTY_OBJECT,
    EMPTY_SET,
    FALSE,
    MAX_NESTING,
    TRUE,
    UNDEFINED,
    Object,
    Set,
    boolean,
    checked_number,
    compare,
    from_json,
    integer_of,
    json_text,
    number_text,
    parse_json,
    parse_number,
    quoted,
    sort_key,
    sort_values,
    to_json,
    type_name,
    value_text,
)

# Written in OPA's order: null < boolean < number < string < array < object < set.
LADDER = [
    None,
    FALSE,
    TRUE,
    -5,
    Decimal("-0.5"),
    0,
    Decimal("0.1"),
    1,
    10**30,
    "",
    "A",
    "a",
    "aa",
    "é",
    "\U0001f600",
    (),
    (None,),
    (1,),
    (1, 2),
    (2,),
    ("a",),
    EMPTY_OBJECT,
    Object({"a": 1}),
    Object({"a": 1, "b": 0}),
    Object({"a": 2}),
    Object({"b": 0}),
    EMPTY_SET,
    Set([1]),
    Set([1, 2]),
    Set([2]),
    Set([(1,)]),
]

scalars = st.one_of(
    st.none(),
    st.booleans().map(boolean),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False, places=3),
    st.text(),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(Set),
        st.dictionaries(inner, inner, max_size=3).map(Object),
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(("left", "right"), list(itertools.product(range(len(LADDER)), repeat=2)))
def test_the_order_of_all_pairs_is_that_of_the_ladder(left: int, right: int) -> None:
    wanted = (left > right) - (left < right)
    assert compare(LADDER[left], LADDER[right]) == wanted
    assert (LADDER[left] == LADDER[right]) == (wanted == 0)


@given(values, values, values)
def test_the_order_is_total(one: Any, two: Any, three: Any) -> None:
    assert compare(one, two) == -compare(two, one)
    assert (compare(one, two) == 0) == (one == two)
    if compare(one, two) <= 0 and compare(two, three) <= 0:
        assert compare(one, three) <= 0
    if one == two:
        assert hash(one) == hash(two)


def test_true_and_one_differ_everywhere() -> None:
    assert TRUE != 1
    assert (TRUE,) != (1,)
    assert len(Set([TRUE, 1, "1", None])) == 4
    assert Object({1: "a", TRUE: "b"})[TRUE] == "b"


def test_booleans_of_json_are_rego_booleans() -> None:
    frozen = from_json({"a": True, "b": [False, {"c": True}]})
    assert frozen["a"] is TRUE
    assert frozen["b"][0] is FALSE
    assert frozen["b"][1]["c"] is TRUE
    assert to_json(frozen)["a"] is True
    assert to_json(from_json(1)) is not True
    assert parse_json("[true]")[0] is TRUE


def test_numbers_are_equal_by_magnitude() -> None:
    assert Set([1, Decimal("1.0")]) == Set([1])
    assert Object({Decimal("1.0"): "a"})[1] == "a"


def test_objects_cannot_be_changed() -> None:
    frozen = from_json({"a": [1]})
    for change in (
        lambda: frozen.update({}),
        lambda: frozen.__setitem__("a", 1),
        lambda: frozen.pop("a"),
        frozen.clear,
        lambda: frozen.__ior__({}),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()


def test_undefined_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(UNDEFINED)
    assert repr(UNDEFINED) == "undefined"


@given(values)
def test_copies_and_pickles_are_equal(one: Any) -> None:
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes


def test_iteration_is_in_order() -> None:
    assert Set(["b", "a", 1]).ordered() == (1, "a", "b")
    assert [key for key, _ in Object({"b": 1, "a": 2, 3: 3}).pairs()] == [3, "a", "b"]
    assert sort_values([(), "a", 2, 1, None]) == [None, 1, 2, "a", ()]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("9007199254740993", 9007199254740993), ("0.1", Decimal("0.1")), ("1e3", Decimal("1E+3")), ("-0", 0)],
)
def test_numbers_keep_every_digit(text: Any, wanted: Any) -> None:
    assert parse_number(text) == wanted
    assert parse_json(text) == wanted


def test_numbers_are_bounded() -> None:
    for text in ("1" * 5000, "1e5000", "1e999999999999", "-1e-5000"):
        with pytest.raises(LimitExceeded):
            parse_number(text)
    with pytest.raises(LimitExceeded):
        checked_number(10**5000)
    with pytest.raises(MalformedValue):
        checked_number(Decimal("NaN"))
    with pytest.raises(MalformedValue):
        parse_number("abc")


def test_integers_written_otherwise() -> None:
    assert integer_of(Decimal("1.0")) == 1
    assert integer_of(Decimal("1e3")) == 1000
    assert integer_of(Decimal("1.5")) is None


@pytest.mark.parametrize(
    ("number", "wanted"),
    [(Decimal("1.50"), "1.50"), (Decimal("1E+30"), "1e+30"), (Decimal("1E-9"), "1e-09"), (7, "7")],
)
def test_number_text(number: Any, wanted: Any) -> None:
    assert number_text(number) == wanted


json_documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
    max_leaves=10,
)


@given(json_documents)
def test_json_there_and_back(document: Any) -> None:
    frozen = from_json(document)
    assert to_json(frozen) == document
    assert json.loads(json_text(frozen)) == document
    assert parse_json(json.dumps(document)) == frozen


def test_json_of_sets_and_other_keys() -> None:
    value = Object({1: "a", "b": Set([2, 1]), (1,): None})
    assert to_json(value) == {"1": "a", "[1]": None, "b": [1, 2]}
    assert json_text(value) == '{"1":"a","[1]":null,"b":[1,2]}'


@pytest.mark.parametrize("document", [{1: 2}, object(), float("nan"), float("inf"), {"a": {2: 1}}, [object()]])
def test_what_is_not_json_is_refused(document: Any) -> None:
    with pytest.raises(MalformedValue):
        from_json(document)


def test_depth_is_bounded() -> None:
    document: object = 1
    for _ in range(MAX_NESTING):
        document = [document]
    assert from_json(document)
    with pytest.raises(LimitExceeded):
        from_json([document])
    with pytest.raises(LimitExceeded):
        parse_json("[" * 100_000 + "]" * 100_000)


def test_broken_json_is_malformed() -> None:
    for text in ("{", "NaN", "[1,]", ""):
        with pytest.raises(MalformedValue):
            parse_json(text)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Object({"b": (1, TRUE), "a": Set([2, 1])}), '{"a": {1, 2}, "b": [1, true]}'),
        (EMPTY_SET, "set()"),
        (EMPTY_OBJECT, "{}"),
        (None, "null"),
        ('a"\n\té\x01', '"a\\"\\n\\té\\x01"'),
    ],
)
def test_text_of_values(value: Any, wanted: Any) -> None:
    assert value_text(value) == wanted


def test_quoting_escapes_what_cannot_be_printed() -> None:
    assert quoted("\u200b\U000e0001") == '"\\u200b\\U000e0001"'


def test_names_of_types() -> None:
    assert [type_name(each) for each in (None, TRUE, 1, Decimal(1), "", (), EMPTY_OBJECT, EMPTY_SET)] == [
        "null",
        "boolean",
        "number",
        "number",
        "string",
        "array",
        "object",
        "set",
    ]


def test_sort_keys_agree_with_compare() -> None:
    assert sorted(LADDER[1::2] + LADDER[::2], key=sort_key) == LADDER


def test_composite_keys_are_written_as_go_does() -> None:
    assert to_json(Object({("<&>", "\u2028"): 1})) == {'["\\u003c\\u0026\\u003e","\\u2028"]': 1}
