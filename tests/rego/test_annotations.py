"""Metadata blocks: where they belong, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.evaluating import errors
from watchkey.rego.parse_modules import parse_module


def test_blocks_find_what_they_describe() -> None:
    text = (
        "# METADATA\n# title: A\npackage t\n\n"
        "# METADATA\n# scope: document\n# custom: {a: [1]}\np := 1\n\n# not one\nq := 2\n"
    )
    first, second = parse_module("f", text).annotations
    assert (first.scope, first.content["title"]) == ("package", "A")
    assert (second.scope, second.content["custom"]) == ("document", {"a": [1]})
    assert text[second.target :].startswith("p := 1")


def test_an_entrypoint_is_a_document() -> None:
    module = parse_module("f", "package t\n# METADATA\n# entrypoint: true\np := 1")
    assert module.annotations[0].scope == "document"


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ("# METADATA\n# scope: nonsense\np := 1", "invalid scope"),
        ("# METADATA\n# a: [\np := 1", "not valid YAML"),
        ("# METADATA\n# just text\np := 1", "not a YAML mapping"),
        ("# METADATA\np := 1", "found whitespace"),
        ("# METADATA\n# scope: package\np := 1", "must be applied to package"),
        ("p := 1\n# METADATA\n# scope: rule\n", "must be applied to rule"),
    ],
)
def test_what_is_refused(block: Any, part: Any) -> None:
    assert part in errors(block)[0]


def test_a_block_ends_where_the_comment_does() -> None:
    module = parse_module("f", "package t\n# METADATA\n# title: A\n\n# title: B\np := 1")
    assert module.annotations[0].content == {"title": "A"}
