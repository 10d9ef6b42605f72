"""The front door of the package, and that planted secrets leave by none of its doors."""

from pathlib import Path

import msgspec
import pytest

import watchkey.settings
from watchkey.entrypoints.cli.output import to_json
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.settings import ConfigError, Settings, load_settings

CANARIES = ("canary-env", "canary-file", "canary-literal")


class Pager(msgspec.Struct, frozen=True, kw_only=True):
    token: Secret
    other: Secret | None = None


def write(directory: Path, source: str) -> Path:
    (directory / "token").write_text("canary-file\n")
    file = directory / "watchkey.yaml"
    file.write_text(f"sources:\n  pager: {{kind: pager, {source}}}\n")
    return file


def read(file: Path) -> Settings:
    return load_settings(file, environ={"TOKEN": "canary-env"}, source_configs={"pager": Pager})


def test_every_name_at_the_door_is_there() -> None:
    assert all(hasattr(watchkey.settings, name) for name in watchkey.settings.__all__)


def test_secrets_arrive_and_show_nowhere(tmp_path: Path) -> None:
    settings = read(write(tmp_path, "token: {env: TOKEN}, other: {file: token}"))
    config = settings.convert(settings.sources[SourceName("pager")].section, Pager)
    assert config == Pager(token=Secret("canary-env"), other=Secret("canary-file"))
    shown = repr(settings) + str(settings) + repr(config) + f"{config}" + to_json(config)
    assert not any(canary in shown for canary in CANARIES)


@pytest.mark.parametrize(
    "source",
    [
        "token: canary-literal",
        "token: [canary-literal]",
        "token: {env: TOKEN, file: canary-literal}",
        "token: {env: TOKEN}, other: canary-literal",
        "token: {literal: canary-literal}",
        "token: {env: TOKEN}, othr: {file: token}",
        "token: {env: [canary-literal]}",
    ],
)
def test_no_error_repeats_a_secret(tmp_path: Path, source: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(write(tmp_path, source))
    shown = "".join(str(error) + repr(error) for error in caught.value.all)
    assert not any(canary in shown for canary in CANARIES)
