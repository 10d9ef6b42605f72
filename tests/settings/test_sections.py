"""Sections of adapters: where paths start, where secrets come from, and that no secret is ever said."""

from pathlib import Path

import msgspec
import pytest

from watchkey.model.secret import Secret
from watchkey.rules.located import ConfigError, load
from watchkey.settings.sections import SECRET_BYTES_MAX, Surroundings, environment, raise_all


class Config(msgspec.Struct, frozen=True, kw_only=True):
    path: str = ""
    ca_file: str | None = None
    folder: Path | None = None
    host: str = "h"
    token: Secret | None = None


def convert(text: str, around: Surroundings) -> Config:
    return around.convert(load(text, "w"), Config)


def test_paths_start_at_the_folder_of_the_file() -> None:
    config = convert("{path: a/b, ca_file: /etc/ca.pem, folder: c, host: d}", Surroundings(directory=Path("/wk")))
    assert config == Config(path="/wk/a/b", ca_file="/etc/ca.pem", folder=Path("/wk/c"), host="d")


def test_a_path_that_is_no_text_is_an_error_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"w:1:10: folder: expected a path"):
        convert("{folder: 5}", Surroundings(directory=Path("/wk")))


def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("from-file\n")
    around = Surroundings(directory=tmp_path, environ={"T": "from-env"})
    assert convert("{token: {env: T}}", around).token == Secret("from-env")
    assert convert("{token: {file: t}}", around).token == Secret("from-file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{token: {env: U}}", "w:1:9: token: the environment variable U is not set"),
        ("{token: {env: E}}", "w:1:9: token: the environment variable E is empty"),
        ("{token: {file: none}}", "none: No such file or directory"),
        ("{token: {file: empty}}", "w:1:9: token: the file empty is empty"),
        ("{token: {file: .}}", "Is a directory"),
        ("{token: {file: large}}", "larger than 64 KiB, so hardly a secret"),
        ("{token: {file: binary}}", "binary: not UTF-8 text"),
        ("{token: canary-x}", "expected {env: NAME} or {file: PATH}; a secret itself never stands in a file"),
        ("{token: {env: T, file: t}}", "expected {env: NAME} or {file: PATH}"),
        ("{token: {envv: T}}", "not a reference to a secret"),
    ],
)
def test_a_secret_that_cannot_be_read_is_an_error_that_says_why(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "large").write_text("x" * (SECRET_BYTES_MAX + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        convert(text, Surroundings(directory=tmp_path, environ={"T": "canary-t", "E": ""}))
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


def test_unread_secrets_are_not_looked_for() -> None:
    around = Surroundings(directory=Path("/nowhere"), are_secrets_read=False)
    assert convert("{token: {env: U}}", around).token is not None


def test_the_surroundings_do_not_show_the_environment() -> None:
    assert "canary" not in repr(Surroundings(directory=Path("/"), environ={"T": "canary"}))


def test_the_environment_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHKEY_TEST_VALUE", "7")
    assert environment()["WATCHKEY_TEST_VALUE"] == "7"


def test_errors_are_raised_together_in_the_order_of_the_file() -> None:
    located = load("a: 1\nb: 2\nc: 3\n", "w")
    with pytest.raises(ConfigError) as caught:
        raise_all([located.error((name,), name) for name in "cab"])
    assert [error.message for error in caught.value.all] == ["a", "b", "c"]
    raise_all([])
