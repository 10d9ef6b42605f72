"""Which services depend on which, and so whose incidents touch a service: the blast radius."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from watchkey.model.ids import SourceName

DEPTH_MAX: Final = 5
"""Further away than this nothing is looked for, whatever is configured."""

Dependents = Mapping[SourceName, Mapping[str, Sequence[str]]]
"""Declared in the configuration: source -> service -> the services that depend on it."""


def turned(depends_on: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Turn *depends on* into *is depended on by*."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for service, needed in depends_on.items():
        for one in needed:
            found[one][service] = None
    return {service: tuple(dependents) for service, dependents in found.items()}


def paths_to(service: str, dependents_of: Callable[[str], Iterable[str]], depth: int) -> Iterator[tuple[str, ...]]:
    """Yield the ways on which a service reaches this one, each service once and the nearest first.

    A path names the services from the dependent to this one. Cycles end where they close.
    """
    seen = {service}
    reached: list[tuple[str, ...]] = [(service,)]
    for _ in range(min(depth, DEPTH_MAX)):
        farther: list[tuple[str, ...]] = []
        for path in reached:
            for dependent in dependents_of(path[0]):
                if dependent not in seen:
                    seen.add(dependent)
                    farther.append((dependent, *path))
        yield from farther
        reached = farther
