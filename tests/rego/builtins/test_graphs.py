"""graph.reachable and graph.reachable_paths."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.errors import LimitExceeded, OperandError

NODES = st.sampled_from("abcde")
GRAPHS = st.dictionaries(NODES, st.lists(NODES, max_size=4), max_size=5)


def test_reachable() -> None:
    graph = {"a": ["b"], "b": {"c"}, "c": [], "x": ["x"]}
    assert call("graph.reachable", graph, ["a", "gone"]) == rego({"a", "b", "c"})
    assert call("graph.reachable", graph, {"x"}) == rego({"x"})


def test_a_neighbour_outside_the_graph_is_not_reached() -> None:
    assert call("graph.reachable", {"a": ["z"]}, ["a"]) == rego({"a"})


def test_neighbours_that_are_no_collection_are_none() -> None:
    assert call("graph.reachable", {"a": None}, ["a"]) == rego({"a"})


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        ({"a": ["b", "c"], "b": ["c"], "c": []}, {("a", "b", "c"), ("a", "c")}),
        ({"a": ["b"], "b": ["a"]}, {("a", "b")}),
        ({"a": ["z"]}, {("a",)}),
        ({"a": []}, {("a",)}),
        ({"a": ["a"]}, {("a", "a")}),
    ],
)
def test_paths(graph: Any, wanted: Any) -> None:
    assert call("graph.reachable_paths", graph, ["a"]) == rego(wanted)


@given(GRAPHS, st.lists(NODES, max_size=3))
def test_paths_go_along_edges_and_end_in_what_is_reachable(graph: Any, initial: Any) -> None:
    reachable = call("graph.reachable", graph, initial)
    for path in call("graph.reachable_paths", graph, initial):
        assert set(path) <= reachable
        assert all(after in graph[before] for before, after in pairwise(path))


def test_operands() -> None:
    with pytest.raises(OperandError, match=r"operand 2 must be \{array, set\} but got string"):
        call("graph.reachable", {}, "a")


def test_paths_of_a_dense_graph_end_in_the_budget() -> None:
    nodes = [str(number) for number in range(30)]
    with pytest.raises(LimitExceeded):
        call("graph.reachable_paths", dict.fromkeys(nodes, nodes), ["0"], ctx=Context(steps=200_000, max_size=10**12))


def test_a_long_chain_needs_no_recursion() -> None:
    chain = {number: [number + 1] for number in range(2000)}
    assert len(call("graph.reachable", chain, [0])) == 2000
