"""Regular expressions and globs; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.builtins import BuiltinError, OperandError
from watchkey.rego.builtins.patterns import MAX_PATTERN
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("name", "args", "wanted"),
    [
        ("regex.match", ["^a.c$", "abc"], True),
        ("regex.match", ["b", "abc"], True),
        ("regex.match", [r"\bfoo\b", "a foo"], True),
        ("re_match", ["x", "abc"], False),
        ("regex.is_valid", ["("], False),
        ("regex.is_valid", ["(?i)a"], True),
        ("regex.is_valid", ["(?=a)"], False),
        ("regex.is_valid", [1], False),
        ("regex.match", ["^ñ.$", "ñ\U0001f600"], True),
        ("regex.split", [",", "a,b"], ["a", "b"]),
        ("regex.split", ["a*", "baac"], ["b", "c"]),
        ("regex.split", ["", "añc"], ["a", "ñ", "c"]),
        ("regex.split", ["x", ""], [""]),
        ("regex.find_n", ["a*", "baac", -1], ["", "aa", ""]),
        ("regex.find_n", ["a.", "abacad", 2], ["ab", "ac"]),
        ("regex.find_n", ["a", "aaa", 0], []),
        ("regex.find_all_string_submatch_n", ["(a)(b)?", "ab a", -1], [["ab", "a", "b"], ["a", "a", ""]]),
        ("regex.replace", ["aaa", "a*", "b"], "b"),
        ("regex.replace", ["foo bar", r"(\w+) (\w+)", "$2 ${1}x $3 $$"], "bar foox  $"),
        ("regex.replace", ["foo", "^[a-z]", "F"], "Foo"),
        ("regex.replace", ["ab", "(?P<n>a)", "<${n}$n>"], "<aa>b"),
        ("regex.replace", ["ab", "a", "$"], "$b"),
        ("regex.replace", ["ab", "", "-"], "-a-b-"),
        ("regex.template_match", ["urn:{.*}:x", "urn:foo:x", "{", "}"], True),
        ("regex.template_match", ["a.c<b+>", "aXcb", "<", ">"], False),
    ],
)
def test_regular_expressions(name: Any, args: Any, wanted: Any) -> None:
    assert call(name, *args) == rego(wanted)


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("regex.match", ["(", "a"], "error parsing regexp"),
        ("regex.split", ["[", "a"], "error parsing regexp"),
        ("regex.template_match", ["a{", "a", "{", "}"], "unbalanced braces"),
        ("regex.template_match", ["a}", "a", "{", "}"], "unbalanced braces"),
        ("regex.template_match", ["a", "a", "{{", "}"], "exactly one character"),
        ("glob.match", ["{a", [], "a"], "unclosed"),
        ("glob.match", ["[a", [], "a"], "unexpected end"),
        ("glob.match", ["[b-a]", [], "a"], "out of order"),
        ("glob.match", ["a\\", [], "a"], "trailing backslash"),
        ("regex.globs_match", ["a]", "a"], "set-close"),
        ("regex.globs_match", ["*", "a"], "must be preceded"),
        ("regex.globs_match", ["[a", "a"], "without matching"),
    ],
)
def test_broken_patterns(name: Any, args: Any, text: Any) -> None:
    with pytest.raises(BuiltinError) as caught:
        call(name, *args)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "delimiters", "text", "wanted"),
    [
        ("*.com", [], "a.com", TRUE),
        ("*", [], "a.b", FALSE),
        ("**", [], "a.b", TRUE),
        ("*", None, "a.b", TRUE),
        ("a:*:c", [":"], "a:b:c", TRUE),
        ("a:*", [":"], "a:b:c", FALSE),
        ("a?c", [], "abc", TRUE),
        ("a?c", [], "a.c", FALSE),
        ("[a-c]x", [], "bx", TRUE),
        ("[!a]x", [], "ax", FALSE),
        ("[ab]", [], "b", TRUE),
        ("{x,y*}z", [], "yaz", TRUE),
        ("{a,{b,c}}", [], "c", TRUE),
        ("\\*", [], "*", TRUE),
        ("\\*", [], "a", FALSE),
        ("a.c", [], "abc", FALSE),
        ("(a)+", [], "(a)+", TRUE),
        ("ñ?", [], "ñ\U0001f600", TRUE),
        ("a\nb", [], "a\nb", TRUE),
        ("}", [], "}", TRUE),
    ],
)
def test_globs(pattern: Any, delimiters: Any, text: Any, wanted: Any) -> None:
    assert call("glob.match", pattern, delimiters, text) is wanted


def test_glob_details() -> None:
    assert call("glob.quote_meta", "a*[{?\\b") == "a\\*\\[\\{\\?\\\\b"
    assert call("glob.match", call("glob.quote_meta", "a*[b]{c}?\\"), [], "a*[b]{c}?\\") is TRUE
    for delimiters in ([1], ["ab"]):
        with pytest.raises(OperandError):
            call("glob.match", "*", delimiters, "a")
    with pytest.raises(BuiltinError):
        call("glob.match", "{" * 100, [], "a")


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ("a.*", ".b", TRUE),
        ("[a-d]+", "[e-h]+", FALSE),
        ("a*", "b*", FALSE),
        ("a*b", ".*", TRUE),
        ("a\\.b", "a.b", TRUE),
        ("ab", "abc", FALSE),
        ("[a-z]+[0-9]*", "b5", TRUE),
        ("", "", FALSE),
        (".+", "", FALSE),
        ("a*b*", "b", TRUE),
    ],
)
def test_patterns_that_meet(left: Any, right: Any, wanted: Any) -> None:
    assert call("regex.globs_match", left, right) is wanted
    assert call("regex.globs_match", right, left) is wanted


def test_bounds() -> None:
    with pytest.raises(LimitExceeded, match="longer"):
        call("regex.match", "a" * (MAX_PATTERN + 1), "a")
    with pytest.raises(LimitExceeded, match="longer"):
        call("glob.match", "a" * (MAX_PATTERN + 1), [], "a")
    with pytest.raises(LimitExceeded):
        call("regex.replace", "a" * 1000, "", "b" * 100, ctx=Context(max_size=5000))
    with pytest.raises(LimitExceeded):
        call("regex.globs_match", "a*" * 2000, "a*" * 2000 + "b", ctx=Context(steps=100_000))
    assert call("regex.match", "(a+)+$", "a" * 26_000 + "b") is FALSE
