"""The syntax tree as OPA's JSON: forms of every kind, and the same tree from a real OPA."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.rego.evaluating import answer, value
from tests.rego.fuzzing import modules
from tests.rego.real_opa import NO_OPA, OPA, RealOpa, real_opa
from watchkey.rego import UNDEFINED
from watchkey.rego.parse_modules import parse_to_json
from watchkey.rego.values import from_json, json_text

FORMS = """# METADATA
# title: not read here
package a.b["c-d"]

import rego.v1
import data.foo.bar as baz
import future.keywords.and

default allow := false

default f(_) := 1

allow if { input.x == 1; not data.y["z"] }

p contains x if { some x in [1, 2]; x > 1 }

q[k] := v if { some k, v in {"b": 1, "a": 2} }

q["x"] := 1

f(x, [y, _, _]) := z if { z := x + y } else := 3 if { true } else := -4

r := {z | z := input; every k, v in [1] { k == v }}

s if { input.x.y with input.x as {1} with data.t as 3; [a, b] = [1, null]; some i, j; baz[i][j] }

t := $"hi {input.x} there {1}"

u.v.w[x] contains y if { x := 1; y := 1.5e3 }

v := {x: [y, {c, "b", 1, {"k"}}] | x := 1; y := upper("é"); c := x}

w := `raw` if { {input.a; input.b} and input.c }

a.b.f(x) := x if count(x) == 2
"""


def tree(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json_text(from_json(parse_to_json("a.rego", text))))
    return found


def test_the_parts_of_a_module() -> None:
    found = tree("package a\n\n# why\nimport data.b as c\n\nallow if input.x == 1\n")
    assert found["package"] == {"path": [{"type": "var", "value": "data"}, {"type": "string", "value": "a"}]}
    assert found["comments"] == [{"Text": "IHdoeQ==", "Location": {"file": "a.rego", "row": 3, "col": 1}}]
    assert found["imports"][0]["alias"] == "c"
    (rule,) = found["rules"]
    assert rule["head"]["name"] == "allow"
    operator, reference, one = rule["body"][0]["terms"]
    assert operator == {"type": "ref", "value": [{"type": "var", "value": "equal"}]}
    assert reference["value"][1] == {"type": "string", "value": "x"}
    assert one == {"type": "number", "value": 1}


def test_wildcards_are_numbered_and_entries_sorted() -> None:
    rule = tree('package a\n\np := {"b": _, "a": _} if _ = 1\n')["rules"][0]
    entries = rule["head"]["value"]["value"]
    assert [key["value"] for key, _ in entries] == ["a", "b"]
    assert [part["value"] for _, part in entries] == ["$1", "$0"]


def test_the_built_in() -> None:
    assert answer('p := rego.parse_module("a.rego", "package x\\n\\nq := 1").rules[0].head.name') == "q"
    assert value('p := rego.parse_module("a.rego", "package x q")') is UNDEFINED


@pytest.fixture(scope="module")
def opa() -> Iterator[RealOpa]:
    if OPA is None:
        pytest.skip(NO_OPA)
    with real_opa() as running:
        yield running


def theirs(opa: RealOpa, text: str) -> Any:
    return opa.ask('package p\n\nr := rego.parse_module("a.rego", input)\n', text, {}, "p/r").value


def test_every_form_is_as_opa_shows_it(opa: RealOpa) -> None:
    assert tree(FORMS) == theirs(opa, FORMS)
    for path in (Path(__file__).parents[2] / "src").rglob("*.rego"):
        text = path.read_text(encoding="utf-8")
        assert tree(text) == theirs(opa, text), path


@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(text=modules())
def test_random_modules_are_as_opa_shows_them(opa: RealOpa, text: str) -> None:
    assert tree(text) == theirs(opa, text)
