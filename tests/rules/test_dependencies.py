"""Whose incidents touch a service: over how many dependencies, on which way, and without going in circles."""

from collections.abc import Mapping
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.dependencies import DEPTH_MAX, paths_to, turned

NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, max_size=4), max_size=7)


def paths(depends_on: Mapping[str, list[str]], service: str, depth: int) -> list[tuple[str, ...]]:
    dependents = turned(depends_on)
    return list(paths_to(service, lambda one: dependents.get(one, ()), depth))


def test_turning_round_names_each_dependent_once() -> None:
    assert turned({"checkout": ["payments", "payments"], "refunds": ["payments"], "idle": []}) == {
        "payments": ("checkout", "refunds")
    }


def test_one_step_by_default_and_the_path_leads_here() -> None:
    chain = {"web": ["checkout"], "checkout": ["payments"]}
    assert paths(chain, "payments", 1) == [("checkout", "payments")]
    assert paths(chain, "payments", 2) == [("checkout", "payments"), ("web", "checkout", "payments")]
    assert paths(chain, "web", 5) == []
    assert paths(chain, "nowhere", 5) == []


def test_a_circle_ends_where_it_closes() -> None:
    assert paths({"a": ["b"], "b": ["a"]}, "a", 5) == [("b", "a")]
    assert paths({"a": ["a"]}, "a", 5) == []


def test_the_nearest_way_counts() -> None:
    assert paths({"a": ["b", "c"], "b": ["c"]}, "c", 5) == [("a", "c"), ("b", "c")]


def test_nothing_is_looked_for_beyond_the_bound() -> None:
    chain = {str(i): [str(i + 1)] for i in range(20)}
    assert len(paths(chain, "20", 1_000_000)) == DEPTH_MAX


@given(GRAPHS, NAMES, st.integers(0, 6))
def test_agrees_with_the_definition(depends_on: dict[str, list[str]], service: str, depth: int) -> None:
    """A service reaches this one within n steps when one that it depends on does within n - 1."""

    def within(one: str, steps: int) -> bool:
        return one == service or (steps > 0 and any(within(other, steps - 1) for other in depends_on.get(one, ())))

    found = paths(depends_on, service, depth)
    expected = {one for one in "abcdefg" if one != service and within(one, min(depth, DEPTH_MAX))}
    assert {path[0] for path in found} == expected
    assert len(found) == len(expected)
    for path in found:
        assert path[-1] == service
        assert all(there in depends_on[here] for here, there in pairwise(path))
