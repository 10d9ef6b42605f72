"""The difference of two data documents as an OPA delta bundle: the operations of `patch.json`.

Form: OPA's `docs/management-bundles`, "Delta Bundles", and `v1/bundle/store.go`. OPA applies them to what it has, so a
delta is for exactly one predecessor. It is never empty: an empty one is read as a snapshot that erases everything.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

DEPTH: Final = 5
"""How deep two documents are compared before a whole part is replaced: down to one person's shifts."""


def patch_operations(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What turns the one document into the other; empty when they are equal.

    Objects are compared key by key down to DEPTH; anything else is replaced whole.
    """
    return list(_operations("", before, after, DEPTH))


def _operations(path: str, before: Mapping[str, Any], after: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    for key in sorted(before.keys() - after.keys()):
        yield {"op": "remove", "path": f"{path}/{_segment(key)}"}
    for key in sorted(after):
        old, new = before.get(key, _MISSING), after[key]
        if old is new or (old == new and type(old) is type(new)):
            continue
        here = f"{path}/{_segment(key)}"
        if depth > 1 and isinstance(old, Mapping) and isinstance(new, Mapping) and can_be_patched(old, new):
            yield from _operations(here, old, new, depth - 1)
        else:
            yield {"op": "upsert", "path": here, "value": new}


_MISSING: Final = object()


def can_be_patched(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether every key can stand in a path; OPA drops empty parts of it."""
    return "" not in before and "" not in after


def _segment(key: str) -> str:
    """One part of a path: escaped as a JSON pointer (RFC 6901), then as a part of a URL, as OPA undoes it."""
    return quote(key.replace("~", "~0").replace("/", "~1"), safe="~")
