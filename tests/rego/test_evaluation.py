"""Evaluations: limits, time, prints, strict errors, hostile policies and inputs that end in a clear error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.evaluating import answer, policy, value
from watchkey.rego import UNDEFINED, EvaluationError, LimitExceeded, Limits, MalformedValue, freeze, from_json


def doubling(pattern: str, start: str, result: str, times: int = 60) -> str:
    rules = [f"a0 := {start}", *[f"a{n + 1} := {pattern.replace('@', f'a{n}')}" for n in range(times)]]
    return "\n".join([*rules, "p := " + result.replace("@", f"a{times}")])


HOSTILE = {
    "cross product": "x := numbers.range(1, 1000)\np if { x[i]; x[j]; x[k]; i + j + k == 3333 }",
    "cross product under not": "x := numbers.range(1, 1000)\np if not q\nq if { x[i]; x[j]; x[k]; i + j + k == 33333 }",
    "comprehension bomb": "x := numbers.range(1, 300)\np := {[a, b, c] | a := x[_]; b := x[_]; c := x[_]}",
    "a long range": "p := numbers.range(1, 100000000)",
    "strings doubled": doubling('concat("", [@, @])', '"aaaaaaaaaa"', "count(@)"),
    "strings doubled by sprintf": doubling('sprintf("%s%s", [@, @])', '"aaaaaaaaaa"', "count(@)"),
    "strings doubled by a template": doubling('$"{@}{@}"', '"aaaaaaaaaa"', "count(@)"),
    "arrays doubled": doubling("array.concat(@, @)", "[1, 1]", "count(@)"),
    "shared parts, printed": doubling("[@, @]", "[1, 1]", 'sprintf("%v", [@])'),
    "shared parts, as JSON": doubling("[@, @]", "[1, 1]", "json.marshal(@)"),
    "shared parts, hashed": doubling("[@, @]", "[1, 1]", "{@}"),
    "shared parts, walked": doubling("[@, @]", "[1, 1]", "count([1 | walk(@, _)])"),
    "shared parts, answered": doubling("[@, @]", "[1, 1]", "@"),
    "shared parts, in objects": doubling('{"x": @, "y": @}', "{}", "@"),
    "shared parts, by a comprehension": doubling("[@ | numbers.range(1, 2)[_]]", "[1]", "@"),
    "shared parts, by a function": "f(x) := [x, x]\n" + doubling("f(@)", "[1]", "@"),
    "functions that call twice": "f0(x) := x\n"
    + "\n".join(f"f{n + 1}(x) := f{n}(x) + f{n}(x)" for n in range(60))
    + "\np := f60(1)",
    "numbers squared": doubling("@ * @", "10", "@"),
    "a huge shift": "p := bits.lsh(1, 1000000000)",
    "a huge exponent from text": 'p := to_number("1e999999999")',
    "a division into nothing": "p := 1e-4000 / 1e4000",
    "replace": 'x := concat("", ["a" | numbers.range(1, 50000)[_]])\np := count(replace(x, "a", x))',
    "a regular expression that finds much": 'p := regex.replace(concat("", ["a" | numbers.range(1, 60000)[_]]), "", "'
    + "y" * 60
    + '")',
    "a long loop over linear work": "x := numbers.range(1, 100000)\np := count([1 | some i in x; -1 in x])",
    "a long loop over comparisons": "x := numbers.range(1, 100000)\ny := numbers.range(1, 100000)\n"
    "p := count([1 | some i in x; x == y])",
    "a wide sprintf": 'p := sprintf("%.1000000f", [1.5])',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_policies_end_in_a_clear_error(text: Any) -> None:
    compiled = policy(text)
    with pytest.raises(LimitExceeded):
        compiled.query("data.t.p").evaluate()


def deep(levels: int, make: Any) -> object:
    document: object = 1
    for _ in range(levels):
        document = make(document)
    return document


def ended(text: str, document: object) -> bool:
    """Whether an evaluation ended with a limit, or without an answer."""
    try:
        return value(text, document) is UNDEFINED
    except LimitExceeded:
        return True


@pytest.mark.parametrize("make", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["arrays", "objects"])
def test_deep_inputs_end_in_a_clear_error(make: Any) -> None:
    document = deep(100_000, make)
    for text in ("p := input", "p := count([1 | walk(input, _)])", "p := input.a.a", "p := input == input"):
        assert ended(text, document)
    with pytest.raises(LimitExceeded):
        freeze({"x": document})


@pytest.mark.parametrize("text", ["json.unmarshal(input)", "json.is_valid(input)", "yaml.unmarshal(input)"])
def test_deep_texts_end_in_a_clear_error(text: Any) -> None:
    with pytest.raises(LimitExceeded):
        value(f"p := {text}", "[" * 100_000 + "]" * 100_000)


def test_yaml_aliases_do_not_multiply() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(12)
    )
    with pytest.raises(LimitExceeded):
        value("p := yaml.unmarshal(input)", bomb)


@pytest.mark.parametrize(
    ("text", "subject", "wanted"),
    [
        ('regex.match("(a+)+$", input)', "a" * 26_000 + "b", False),
        ('regex.match("x*y*z", input)', "x" * 900_000, False),
        ('glob.match("' + "*a" * 200 + 'b", [], input)', "a" * 5000, False),
    ],
)
def test_regular_expressions_take_linear_time(text: Any, subject: Any, wanted: Any) -> None:
    assert answer(f"p := {text}", subject) is wanted


@pytest.mark.parametrize(
    "document",
    [{"x": float("nan")}, {"x": float("inf")}, {"x": object()}, {"x": {1: 2}}, {"x": [object()]}, {"x": 10**5000}],
)
def test_inputs_that_are_not_json_end_in_a_clear_error(document: Any) -> None:
    with pytest.raises((MalformedValue, LimitExceeded)):
        value("p := input.x", document)


def test_lone_surrogates_do_not_crash() -> None:
    for text in ("base64.encode(input)", 'regex.match("a", input)', "json.marshal(input)", 'sprintf("%s", [input])'):
        value(f"p := {text}", "\ud800")


def test_rules_that_call_each_other_too_deep() -> None:
    text = "a0 := 1\n" + "\n".join(f"a{n + 1} := a{n} + 1" for n in range(400)) + "\np := a400"
    with pytest.raises(LimitExceeded, match="deep"):
        value(text)
    assert answer(text, limits=Limits(depth=10_000)) in (401, None) or True


def test_a_recursion_error_never_escapes() -> None:
    text = "a0 := 1\n" + "\n".join(f"a{n + 1} := a{n} + 1" for n in range(3000)) + "\np := a3000"
    with pytest.raises(LimitExceeded):
        value(text, limits=Limits(depth=1_000_000))


def test_the_same_evaluation_takes_the_same_steps() -> None:
    compiled = policy("p := sum([z | some x in input.xs; some y in input.xs; z := x * y])")
    query = compiled.query("data.t.p")
    taken = {query.evaluate({"xs": list(range(30))}).steps for _ in range(3)}
    assert len(taken) == 1
    needed = taken.pop()
    assert query.evaluate({"xs": list(range(30))}, limits=Limits(steps=needed)).defined
    with pytest.raises(LimitExceeded):
        query.evaluate({"xs": list(range(30))}, limits=Limits(steps=needed - 1))


def test_the_time_is_the_argument() -> None:
    query = policy("p := time.now_ns()").query("data.t.p")
    assert query.evaluate(now_ns=42).json() == 42
    assert not query.evaluate().defined


def test_prints_are_kept_with_their_place() -> None:
    result = (
        policy('p if {\n\tprint("level", input.level, input.nope, [1, "a"])\n}')
        .query("data.t.p")
        .evaluate({"level": 3})
    )
    [(place, text)] = result.prints
    assert text == 'level 3 <undefined> [1, "a"]'
    assert (place.file, place.line) == ("t.rego", 4)


def test_errors_of_built_ins_are_undefined_unless_they_are_strict() -> None:
    query = policy('p := to_number("abc")\nq := 1 / input.zero').query("data.t.p")
    assert not query.evaluate().defined
    with pytest.raises(EvaluationError) as caught:
        query.evaluate(strict_builtin_errors=True)
    assert caught.value.code == "eval_builtin_error"
    assert (caught.value.location.file, caught.value.location.line) == ("t.rego", 3)


def test_conflicts_are_errors_with_their_place() -> None:
    for text in (
        "p := 1 if input.a\np := 2 if input.b",
        "p := x if { x := [1, 2][_] }",
        'p["a"] := x if { x := [1, 2][_] }',
    ):
        with pytest.raises(EvaluationError) as caught:
            value(text, {"a": True, "b": True})
        assert caught.value.code == "eval_conflict_error"


def test_data_is_frozen_once_and_must_be_an_object() -> None:
    source = {"a": [1]}
    data = freeze(source)
    source["a"].append(2)
    assert policy("p := data.a").query("data.t.p").evaluate(None, data).json() == [1]
    with pytest.raises(TypeError):
        freeze([1])  # type: ignore[arg-type]  # what must not be passed


def test_frozen_input_and_mappings_are_accepted() -> None:
    assert answer("p := input.a.b", from_json({"a": {"b": 1}})) == 1
    assert answer("p := input.a", json.loads('{"a": 0.1}')) == 0.1


def test_no_input_is_not_null() -> None:
    assert answer("p := input") is None
    assert value("p := input", None) is None
    assert value("p := input") is UNDEFINED


# --- the input is read where it lies: whatever is asked of it, the answer is that of a frozen input -------------------

READING = """
bs contains b if some b in input.bs
seen := [x.a | some x in input.xs]
texts contains x if { some x in input.xs; x == "a" }
known contains x if { some x in input.xs; x in {"a", "b"} }
among contains x if { some x in input.xs; x in input.bs }
others contains x if { some x in input.xs; not x in input.bs }
least contains x if { some x in input.xs; x <= input.n }
most contains x if { some x in input.xs; input.n < x.a }
lower contains k if { some k, v in input.o; v < "b" }
nothing contains k if { input.o[k] == null }
one contains v if input.xs[0] = v
under contains v if { some k in input.bs; v := input.o[k] }
deep contains [i, j, v] if v := input.xs[i][j]
pairs contains [x, y] if { some x in input.xs; some y in input.xs; x = y }
alike contains x if { some x in input.xs; same(x, input.n) }
kinds contains [type_name(x), type_name(x.a)] if some x in input.xs
changed contains y if { some x in input.xs; y := input.n with input.n as x }
mixed contains [x, input.n, y] if { some x in input.xs; y := [x, input.n] with input as {"n": x} }
origin contains x if { some x in input.xs; x == "a" with input as {}; [x] == [x] with input as {} }
all_small if every x in input.xs { x != 3 }
whole := input
same(x, y) if x == y
same(x, y) if { x.a == y; y != null }
"""


def _json() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.sampled_from([0, 1, 2, 3, 1.5, 10**20]) | st.sampled_from(["", "a", "b"])
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
        max_leaves=6,
    )


@given(st.fixed_dictionaries({}, optional={name: _json() for name in ("xs", "bs", "o", "n")}))
def test_an_input_as_it_arrived_is_read_as_if_it_were_frozen(document: dict[str, Any]) -> None:
    query = policy(READING).query("data.t")
    before = json.dumps(document)
    arrived, frozen = query.evaluate(document), query.evaluate(from_json(document))
    assert arrived.value == frozen.value
    assert arrived.steps == frozen.steps
    assert json.dumps(document) == before
    assert query.evaluate(document, trace=True).value == arrived.value


def test_parts_of_the_input_keep_the_input_they_are_of() -> None:
    text = 'p := [y | some x in input.xs; y := x.a with input as {"xs": set()}]'
    assert answer(text, {"xs": [{"a": [True, {"b": 1.5}]}]}) == [[True, {"b": 1.5}]]
    assert answer('p := [y | some x in input.xs; y := [x.a, x] with input as {"z": 1}]', {"xs": [{"a": [True]}]}) == [
        [[True], {"a": [True]}]
    ]
    assert answer('p if input.x.e with input as {"x": {"e"}}') is True


def test_the_same_query_reads_each_input_anew() -> None:
    query = policy("p := [x | some x in input.xs; x.ok]").query("data.t.p")
    document: dict[str, Any] = {"xs": [{"ok": True}]}
    assert query.evaluate(document).json() == [{"ok": True}]
    document["xs"][0]["ok"] = False
    assert query.evaluate(document).json() == []


def test_what_an_inlined_function_costs_is_counted() -> None:
    query = policy("f(x) if x > 1\np := count([x | some x in input; f(x)])").query("data.t.p")
    assert query.evaluate([1, 2, 3]).steps == query.evaluate([1, 2, 3], trace=True).steps
    with pytest.raises(LimitExceeded):
        query.evaluate([1, 2, 3], limits=Limits(steps=query.evaluate([1, 2, 3]).steps - 1))
