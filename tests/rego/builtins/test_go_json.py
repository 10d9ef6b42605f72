"""JSON text as Go writes it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.rego.builtins.calling import rego
from watchkey.rego.builtins.go_json import go_json

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3, alphabet="ab<"), inner, max_size=3),
    max_leaves=8,
)


def test_marks_of_html_are_escaped_in_keys_and_texts() -> None:
    assert (
        go_json(rego({"<": "&>\u2028", "a": [1, None, True]}))
        == '{"\\u003c":"\\u0026\\u003e\\u2028","a":[1,null,true]}'
    )


@given(DOCUMENTS)
def test_it_is_json(document: Any) -> None:
    text = go_json(rego(document))
    assert json.loads(text) == document
    assert not set("<>&\u2028\u2029") & set(text)
