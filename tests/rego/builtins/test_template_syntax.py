"""The tree of a Go template."""

from __future__ import annotations

from typing import Any

import pytest

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.template_syntax import Action, Block, Name, Operand, Text, parse_template

FUNCTIONS = frozenset({"print", "len"})


def main(source: str) -> Any:
    return parse_template(source, FUNCTIONS)[""]


def test_text_and_fields() -> None:
    text, action = main("a{{.b.c}}")
    assert text == Text("a")
    assert isinstance(action, Action)
    assert action.pipeline.commands == ((Operand(None, ("b", "c")),),)


def test_pipelines_and_literals() -> None:
    (action,) = main('{{print "x" 1 | len}}')
    first, second = action.pipeline.commands
    assert first == (Operand(Name("print")), Operand("x", is_literal=True), Operand(1, is_literal=True))
    assert second == (Operand(Name("len")),)


def test_declarations() -> None:
    (action, _) = main("{{$x := 1}}{{$x}}")
    assert (action.pipeline.names, action.pipeline.declares) == (("$x",), True)


def test_blocks() -> None:
    (block,) = main("{{if .a}}x{{else if .b}}y{{else}}z{{end}}")
    assert isinstance(block, Block)
    assert block.body == (Text("x"),)
    assert block.otherwise[0].otherwise == (Text("z"),)


def test_definitions_are_apart() -> None:
    found = parse_template('{{define "T"}}x{{end}}y', FUNCTIONS)
    assert found == {"T": (Text("x"),), "": (Text("y"),)}


def test_trimming_and_comments() -> None:
    assert main("a {{- /* x */ -}} b") == (Text("a"), Text("b"))
    assert main("a  {{- 1 -}}  b")[::2] == (Text("a"), Text("b"))


def test_braces_in_quotes_do_not_end_an_action() -> None:
    assert main('{{"}}"}}')[0].pipeline.commands == ((Operand("}}", is_literal=True),),)


@pytest.mark.parametrize(
    "source", ["{{.a", "{{$x}}", "{{if .a}}{{$y := 1}}{{end}}{{$y}}", "{{else}}", "{{.a..b}}", "{{(1}}", "{{|1}}"]
)
def test_what_is_no_template(source: str) -> None:
    with pytest.raises(BuiltinError, match="template: template:"):
        main(source)
