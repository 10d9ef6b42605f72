"""Strings; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("contains", ["abc", "b"], TRUE),
        ("startswith", ["abc", "b"], FALSE),
        ("endswith", ["abc", "bc"], TRUE),
        ("strings.any_prefix_match", [["abc", "x"], {"ab"}], TRUE),
        ("strings.any_prefix_match", ["abc", []], FALSE),
        ("strings.any_suffix_match", ["abc", ["z", "bc"]], TRUE),
        ("strings.count", ["aaa", "aa"], 1),
        ("indexof", ["añb", "b"], 2),
        ("indexof", ["abc", "z"], -1),
        ("indexof_n", ["ababa", "aba"], (0, 2)),
        ("substring", ["añb", 1, 1], "ñ"),
        ("substring", ["abc", 1, -1], "bc"),
        ("substring", ["abc", 9, 1], ""),
        ("split", ["a,b,", ","], ("a", "b", "")),
        ("split", ["añ", ""], ("a", "ñ")),
        ("split", ["", ","], ("",)),
        ("strings.split_n", ["a.b.c", ".", 2], ("a", "b")),
        ("strings.split_n", ["a.b.c", ".", -2], ("b", "c")),
        ("strings.split_n", ["a.b", ".", 0], ()),
        ("concat", ["-", {"b", "a"}], "a-b"),
        ("concat", ["-", []], ""),
        ("strings.reverse", ["añ\U0001f600"], "\U0001f600ña"),
        ("replace", ["abc", "", "-"], "-a-b-c-"),
        ("replace", ["aaa", "aa", "b"], "ba"),
        ("strings.replace_n", [{"a": "b", "b": "c"}, "ab"], "bc"),
        ("strings.replace_n", [{"": "-"}, "ab"], "-a-b-"),
        ("trim", ["xxaxx", "x"], "a"),
        ("trim_left", ["xa", ""], "xa"),
        ("trim_right", ["axy", "yx"], "a"),
        ("trim_prefix", ["aab", "a"], "ab"),
        ("trim_suffix", ["abb", "b"], "ab"),
        ("trim_space", ["\u00a0 a\t\u2003"], "a"),
        ("lower", ["ÀÉİ"], "àéi"),
        ("upper", ["straße ǆ"], "STRASSE ǆ".replace("SS", "ß").upper().replace("SS", "ß")),
        ("format_int", [255, 16], "ff"),
        ("format_int", [-5, 2], "-101"),
        ("format_int", [3.9, 10], "3"),
        ("format_int", [-3.9, 8], "-3"),
        ("format_int", [18446744073709551617, 16], "10000000000000001"),
    ],
)
def test_answers(name: Any, args: Any, wanted: Any) -> None:
    assert call(name, *args) == wanted


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("indexof", ["abc", ""], "empty search character"),
        ("indexof_n", ["abc", ""], "empty search character"),
        ("substring", ["abc", -1, 1], "negative offset"),
        ("format_int", [1, 3], "must be one of {2, 8, 10, 16}"),
        ("concat", [",", [1]], "must be array of strings but got array containing number"),
        ("substring", ["abc", 1.5, 1], "must be integer number but got floating-point number"),
        ("strings.any_prefix_match", [["a", 1], "a"], "must be array of strings"),
        ("strings.replace_n", [{"a": 1}, "a"], "non-string value found in pattern object"),
        ("strings.replace_n", [{1: "a"}, "a"], "non-string key found in pattern object"),
        ("upper", [1], "operand 1 must be string but got number"),
    ],
)
def test_errors(name: Any, args: Any, text: Any) -> None:
    with pytest.raises((BuiltinError, OperandError)) as caught:
        call(name, *args)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("concat", ["x" * 100, ["y"] * 100]),
        ("replace", ["a" * 100, "a", "b" * 100]),
        ("strings.replace_n", [{"a": "b" * 100}, "a" * 100]),
        ("replace", ["a" * 100, "", "b" * 100]),
    ],
)
def test_results_are_bounded_before_they_are_built(name: Any, args: Any) -> None:
    with pytest.raises(LimitExceeded):
        call(name, *args, ctx=Context(max_size=2000))


def test_long_arguments_cost_steps() -> None:
    ctx = Context(steps=100)
    call("contains", "a" * 5000, "b", ctx=ctx)
    assert ctx.left < 30
    with pytest.raises(LimitExceeded):
        call("contains", "a" * 5000, "b", ctx=ctx)
