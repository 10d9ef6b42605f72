"""Settings as values: frozen, and asked by small questions."""

import dataclasses
from pathlib import Path

import pytest

from watchkey.model.ids import ResourceId, SubjectId
from watchkey.settings import Settings, Surroundings, parse_settings

TEXT = """\
sources: {pd: {kind: x}}
resources:
  with: {kind: pg, privileges: [read], opened_by: [{source: pd, service: S}], target: {host: db}}
  without: {kind: pg, privileges: [read], opened_by: [{source: pd, service: S}]}
groups: {sre: [ann]}
"""


@pytest.fixture
def settings() -> Settings:
    return parse_settings(TEXT, file=Path("w"), surroundings=Surroundings(directory=Path("/wk")))


def test_nothing_changes_after_reading(settings: Settings) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.links = ()  # type: ignore[misc]  # the point of the test


def test_a_target_has_its_places_and_may_be_absent(settings: Settings) -> None:
    target = settings.target(ResourceId("with"))
    assert target is not None
    assert target.mark("host").line == 3
    assert settings.target(ResourceId("without")) is None
    assert settings.target(ResourceId("unheard-of")) is None


def test_groups_are_asked_by_subject(settings: Settings) -> None:
    assert settings.groups_of(SubjectId("ann")) == {"sre"}
    assert settings.groups_of(SubjectId("bob")) == frozenset()


def test_the_directory_is_where_relative_paths_start(settings: Settings) -> None:
    assert settings.directory == Path("/wk")
    assert settings.storage.key_file == Path("/wk/audit.key")
