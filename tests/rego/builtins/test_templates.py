"""strings.render_template."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import Context, call
from watchkey.rego.errors import BuiltinError, LimitExceeded

DATA = {
    "a": 1,
    "f": 1.5,
    "s": "x<y>",
    "l": [1, "b", None, {"k": "v"}],
    "m": {"z": 1, "y": [2], "n": None},
    "t": True,
    "e": "",
}


@pytest.mark.parametrize(
    ("template", "wanted"),
    [
        ("plain", "plain"),
        ("{{.a}} {{.f}} {{.t}}", "1 1.5 true"),
        ("{{.m}}", "map[n:<nil> y:[2] z:1]"),
        ("{{.l}}", "[1 b <nil> map[k:v]]"),
        ("{{.gone}}|{{.gone.deeper}}|{{.m.n}}", "<undefined>|<undefined>|<undefined>"),
        ("{{if .e}}y{{else if .t}}t{{else}}n{{end}}", "t"),
        ("{{with .m}}{{.z}}{{$.a}}{{end}}", "11"),
        ("{{range $i, $x := .l}}{{if $i}},{{end}}{{$i}}={{$x}}{{end}}", "0=1,1=b,2=<undefined>,3=map[k:v]"),
        ("{{range .gone}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range .l}}{{break}}{{end}}{{range $i, $_ := .l}}{{if eq $i 1}}{{continue}}{{end}}{{$i}}{{end}}", "023"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
        ('{{len .l}} {{len .s}} {{index .l 3 "k"}} {{slice .s 1 2}}', "4 4 v <"),
        ('{{print 1 2}} {{print "a" 1}} {{println .a}}', "1 2 a1 1\n"),
        ('{{printf "%v-%s-%d" .a .s 3}}', "1-x<y>-3"),
        ("{{.s | html}} {{js .s}} {{urlquery .s}}", "x&lt;y&gt; x\\u003Cy\\u003E x%3Cy%3E"),
        ('{{eq .a "1"}} {{eq 1 2 1}} {{ne 1 2}} {{lt 1 2}} {{ge "b" "a"}}', "true true true true true"),
        ("{{and .t .a}} {{or .e .a}} {{not .e}}", "1 1 true"),
        ("a {{- .a -}} b {{/* c */}}c", "a1b c"),
        ('{{define "T"}}[{{.}}]{{end}}{{template "T" .a}}{{block "B" .m}}<{{.z}}>{{end}}', "[1]<1>"),
        ("{{`raw\\n`}} {{\"\\u00e9\\n\"}} {{'a'}} {{0x1F}} {{1e3}}", "raw\\n \u00e9\n 97 31 1000"),
        ("{{(index .l 3).k}} {{(len .l) | print}}", "v 4"),
    ],
)
def test_templates(template: str, wanted: Any) -> None:
    assert call("strings.render_template", template, DATA) == wanted


@pytest.mark.parametrize(
    "template",
    [
        "{{",
        "{{}}",
        "{{end}}",
        "{{if .a}}x",
        "{{if}}x{{end}}",
        "{{foo}}",
        "{{$y}}",
        "{{.s.r}}",
        "{{index .l 9}}",
        "{{eq .a 1}}",
        "{{lt true false}}",
        "{{len .n}}",
        "{{nil}}",
        "{{1 | 2}}",
        "{{.a 1}}",
        "{{break}}",
        '{{template "T"}}',
        "{{range .s}}x{{end}}",
        "{{$x = 1}}",
        "{{not}}",
        "{{printf 1}}",
        "{{.}}{{.-}}",
        "{{'ab'}}",
        '{{"\\q"}}',
        "{{1_}}x{{09_}}{{0x}}",
        "{{99999999999999999999}}",
        "{{with $x := .a}}{{end}}{{$x}}",
        "{{slice .l 2 1}}",
        "{{range $a, $b, $c := .l}}{{end}}",
    ],
)
def test_templates_that_fail(template: str) -> None:
    with pytest.raises(BuiltinError):
        call("strings.render_template", template, DATA)


def test_zero_in_the_data_is_a_text_and_so_true() -> None:
    assert call("strings.render_template", "{{if .z}}y{{else}}n{{end}}", {"z": 0}) == "y"


@pytest.mark.parametrize(
    "template",
    [
        "{{range .l}}{{range $.l}}{{range $.l}}{{range $.l}}x{{end}}{{end}}{{end}}{{end}}",
        "{{range .l}}{{range $.l}}{{range $.l}}{{$.s}}{{end}}{{end}}{{end}}",
    ],
)
def test_loops_end_in_the_budget(template: str) -> None:
    with pytest.raises(LimitExceeded):
        call("strings.render_template", template, {"l": list(range(200)), "s": "x"}, ctx=Context(steps=100_000))


def test_a_long_range_of_numbers_ends_in_the_budget() -> None:
    with pytest.raises(LimitExceeded):
        call("strings.render_template", "{{range 1000000000}}{{end}}", {}, ctx=Context(steps=100_000))


def test_output_is_bounded() -> None:
    with pytest.raises(LimitExceeded):
        call(
            "strings.render_template",
            "{{range .l}}{{$.s}}{{end}}",
            {"l": [1] * 100, "s": "x" * 1000},
            ctx=Context(max_size=50_000),
        )


def test_templates_that_call_themselves_and_deep_nesting_end() -> None:
    with pytest.raises(BuiltinError, match="maximum template depth"):
        call("strings.render_template", '{{define "T"}}{{template "T"}}{{end}}{{template "T"}}', {})
    for template in ("{{if 1}}" * 5000 + "{{end}}" * 5000, "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}"):
        with pytest.raises(BuiltinError, match="too many nested"):
            call("strings.render_template", template, {})


@given(st.text(alphabet="{}.$ax-|()\"'`: \n1rangeifd", max_size=25))
def test_any_text_is_a_template_or_an_error(template: str) -> None:
    try:
        outcome = call("strings.render_template", template, DATA)
    except BuiltinError as problem:
        outcome = str(problem).removeprefix("strings.render_template: ")
        assert outcome != str(problem)  # noqa: PT017 - an error is one of two good outcomes
    assert isinstance(outcome, str)
