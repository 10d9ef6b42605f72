"""The tree: what its nodes say about themselves."""

from __future__ import annotations

from watchkey.rego.ast import Const, Import, Rule, Var


def test_names() -> None:
    assert Var("_#1", 0, "_").wildcard
    assert not Var("x#1", 0, "x").wildcard
    assert Import(["data", "a", "b"], 0).name == "b"
    assert Import(["data", "a", "b"], 0, "c").name == "c"
    assert Rule(path=[Var("p"), Const("q")], at=0).name == "p"
