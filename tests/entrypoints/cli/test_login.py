"""`watchkey login`: its password file, and what it needs. The whole way is in tests/live/test_whole_service.py."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from watchkey.entrypoints.cli.login import host_and_port, keep_in_pgpass, login


def test_the_password_file_keeps_other_lines_and_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    path.write_text("# mine\nother:5432:*:alice:x\n127.0.0.1:6432:*:bob:y\n")
    path.chmod(0o644)
    keep_in_pgpass(path, ("127.0.0.1", "6432"), "alice", "first")
    keep_in_pgpass(path, ("127.0.0.1", "6432"), "alice", "second")
    assert path.read_text().splitlines() == [
        "# mine", "other:5432:*:alice:x", "127.0.0.1:6432:*:bob:y", "127.0.0.1:6432:*:alice:second",
    ]  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["pgpass"]


def test_colons_and_backslashes_are_escaped_as_libpq_wants(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    keep_in_pgpass(path, ("::1", "6432"), "iss:a\\b", "t")
    assert path.read_text() == "\\:\\:1:6432:*:iss\\:a\\\\b:t\n"


def test_a_person_may_come_in_by_either_name(tmp_path: Path) -> None:
    path = tmp_path / "pgpass"
    for token in ("first", "second"):
        keep_in_pgpass(path, ("gw", "6432"), "alice@example.com", token)
    assert path.read_text() == "gw:6432:*:alice@example.com:second\ngw:6432:*:alice:second\n"


@pytest.mark.parametrize(
    ("gateway", "place"),
    [("gw:6432", ("gw", "6432")), ("[::1]:6432", ("::1", "6432")), ("::1:6432", None), ("[]:1", None), ("gw", None)],
)
def test_where_the_gateway_is(gateway: str, place: tuple[str, str] | None) -> None:
    if place is None:
        with pytest.raises(click.UsageError):
            host_and_port(gateway)
    else:
        assert host_and_port(gateway) == place


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["alice"], {"WATCHKEY_TOKEN": "x"}, "--server"),
        (["alice", "--server", "http://127.0.0.1:1"], {"WATCHKEY_TOKEN": ""}, "WATCHKEY_TOKEN is empty"),
        (["alice", "--server", "http://127.0.0.1:1", "--ttl", "0"], {"WATCHKEY_TOKEN": "x"}, "--ttl"),
    ],
)
def test_what_is_missing_is_named(words: list[str], environment: dict[str, str], said: str) -> None:
    result = CliRunner().invoke(login, words, env={"WATCHKEY_SERVER": None, **environment})
    assert result.exit_code == 2
    assert said in result.output
