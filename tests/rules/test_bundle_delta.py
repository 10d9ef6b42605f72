"""A delta turns exactly its predecessor into what came after."""

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.bundle_delta import patch_operations

keys = st.sampled_from(["a", "b", "c/d", "e~1f", "%41", "é x", "", "0"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(2, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=14,
)
documents = st.dictionaries(keys.filter(bool), values, max_size=4)


def applied(document: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """What OPA makes of it: parts of a path are unescaped as of a URL first, then as of a JSON pointer."""
    found: dict[str, Any] = copy.deepcopy(document)
    for operation in operations:
        parts = [
            unquote(part).replace("~1", "/").replace("~0", "~") for part in operation["path"].strip("/").split("/")
        ]
        place = found
        for part in parts[:-1]:
            place = place[part]
        if operation["op"] == "remove":
            del place[parts[-1]]
        else:
            place[parts[-1]] = operation["value"]
    return found


@given(documents, documents)
def test_it_leads_from_the_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    operations = patch_operations(before, after)
    assert json.dumps(applied(before, operations), sort_keys=True) == json.dumps(after, sort_keys=True)
    assert (operations == []) is (json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True))


def test_one_persons_change_is_one_operation() -> None:
    before = {"watchkey": {"roster": {"pd": {"shifts": {"PA": [1], "PB": [2]}, "people": {}}}, "links": {}}}
    after = {"watchkey": {"roster": {"pd": {"shifts": {"PA": [1], "PB": [3]}, "people": {}}}, "links": {}}}
    assert patch_operations(before, after) == [{"op": "upsert", "path": "/watchkey/roster/pd/shifts/PB", "value": [3]}]


def test_true_and_one_are_different() -> None:
    assert patch_operations({"a": 1}, {"a": True}) == [{"op": "upsert", "path": "/a", "value": True}]


def test_deep_differences_replace_the_part() -> None:
    def nested(leaf: int) -> dict[str, Any]:
        return {"a": {"b": {"c": {"d": {"e": {"f": leaf}}}}}}

    assert patch_operations(nested(1), nested(2)) == [{"op": "upsert", "path": "/a/b/c/d/e", "value": {"f": 2}}]


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")
def test_opa_understands_the_escapes(tmp_path: Path) -> None:
    # `opa build` has no deltas; what can be asked of it without a server is that its own patch reads a pointer alike.
    (operation,) = patch_operations({"a": {"c/d": 1, "k": 1}}, {"a": {"c/d": 2, "k": 1}})
    pointer = unquote(operation["path"])
    query = f'json.patch({{"a": {{"c/d": 1}}}}, [{{"op": "replace", "path": "{pointer}", "value": 2}}])'
    run = subprocess.run(["opa", "eval", "--format", "raw", query], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == {"a": {"c/d": 2}}
