"""What the configuration says is replaced as a whole, and says nothing that it was not told."""

from dataclasses import FrozenInstanceError

import pytest

from tests.builders import links, resource
from watchkey.rules.directory import Directory


def test_groups_and_dependents_are_none_until_they_are_told() -> None:
    about = resource()
    directory = Directory(resources={about.id: about}, links=links())
    assert (dict(directory.groups), dict(directory.dependents)) == ({}, {})
    assert Directory(resources={}, links=links()).groups is not directory.groups


def test_it_is_replaced_and_never_changed() -> None:
    directory = Directory(resources={}, links=links())
    with pytest.raises(FrozenInstanceError):
        directory.groups = {}  # type: ignore[misc]  # that it cannot be is the point
