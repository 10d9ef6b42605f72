"""Built-ins of graphs: the nodes that can be reached, and the paths that lead to them."""

from __future__ import annotations

from typing import Any, Final

from watchkey.rego.builtins import CallContext, builtin, operand_error
from watchkey.rego.types import ANY, ARRAY, SET, any_of, array_of, object_of, set_of
from watchkey.rego.values import Object, Set

_NODES: Final = any_of(ARRAY, SET)
_GRAPH: Final = object_of(ANY, _NODES)
_OPERANDS: Final = (("object",), ())


def _elements(nodes: Any) -> tuple[Any, ...]:
    """The neighbours a node lists; a value that is neither array nor set lists none."""
    if type(nodes) is tuple:
        return nodes
    return nodes.ordered() if type(nodes) is Set else ()


def _initial(nodes: Any) -> tuple[Any, ...]:
    if type(nodes) not in (tuple, Set):
        raise operand_error(2, nodes, "{array, set}")
    return _elements(nodes)


@builtin("graph.reachable", (_GRAPH, _NODES), set_of(ANY), context=True, operands=_OPERANDS)
def reachable(ctx: CallContext, graph: Object, initial: Any) -> Set:
    """Nodes of the graph that can be reached from the initial ones, those included."""
    waiting = list(_initial(initial))
    reached: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node in reached or node not in graph:
            continue
        reached.add(node)
        neighbours = _elements(graph[node])
        ctx.spend(1 + len(neighbours))
        waiting.extend(neighbours)
    return Set(reached)


@builtin("graph.reachable_paths", (_GRAPH, _NODES), set_of(array_of(ANY)), context=True, operands=_OPERANDS)
def reachable_paths(ctx: CallContext, graph: Object, initial: Any) -> Set:
    """Every longest path from the initial nodes; one that would come back to itself ends before it does."""
    paths: set[tuple[Any, ...]] = set()
    kept = 0
    waiting: list[tuple[Any, ...]] = [(node,) for node in _initial(initial) if node in graph]
    while waiting:
        path = waiting.pop()
        neighbours = _elements(graph[path[-1]])
        ctx.spend(len(path) * (1 + len(neighbours)))
        ends_here = not neighbours
        for neighbour in neighbours:
            # OPA does not look for a node's edge to itself until the second step.
            if neighbour not in graph or (neighbour in path and len(path) > 1):
                ends_here = True
            else:
                waiting.append((*path, neighbour))
        if ends_here:
            paths.add(path)
            kept += len(path)
            ctx.check_size(kept)
    return Set(paths)
