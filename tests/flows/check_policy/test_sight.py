"""What a name stands for, and how deep hostile policies may nest their names."""

from watchkey.flows.check_policy.sight import ANY, see
from watchkey.rego.ast import Ref
from watchkey.rego.parse_modules import parse_module


def paths(body: str) -> list[tuple[str | int, ...]]:
    sight = see([parse_module("p.rego", f"package p\nimport data.policyparams as params\nr if {{ {body} }}", "v1")])
    (scene,) = sight.scenes
    return [scene.path(expr.node.term) for expr in scene.exprs if isinstance(getattr(expr.node, "term", None), Ref)]


def test_names_are_followed_to_where_their_value_comes_from() -> None:
    assert paths("some s in input.on_call; s.level") == [("input", "on_call", ANY, "level")]
    assert paths("a := input.x; b := a.y; b[0]") == [("input", "x", "y", 0)]
    assert paths("params.max") == [("data", "policyparams", "max")]
    assert paths("u := http.send({}).body.users; u[0].id") == [("http.send", "body", "users", 0, "id")]
    assert paths("f(x)[1]") == [("f", 1)]


def test_a_name_bound_to_itself_ends() -> None:
    assert paths("a = b; b = a; a.x")[0][-1] == "x"


def test_a_long_chain_ends() -> None:
    chain = "; ".join(f"x{i + 1} := x{i}" for i in range(2000))
    assert paths(f"x0 := input.a; {chain}; x2000.b")[0][-1] == "b"
