"""The completion scripts, and that the shell gets our commands from them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from watchkey.entrypoints.cli.main import watchkey


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(watchkey, ["completion", shell], prog_name="watchkey")
    assert result.exit_code == 0
    assert f"_WATCHKEY_COMPLETE={shell}_complete" in result.output


def test_the_shell_is_given_our_commands() -> None:
    environment = {
        **os.environ,
        "_WATCHKEY_COMPLETE": "bash_complete",
        "COMP_WORDS": "watchkey comp",
        "COMP_CWORD": "1",
    }
    result = subprocess.run(
        [sys.executable, "-m", "watchkey"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.stdout == "plain,completion\n"


def test_another_shell_is_misuse() -> None:
    result = CliRunner().invoke(watchkey, ["completion", "tcsh"], prog_name="watchkey")
    assert result.exit_code == 2


def proposals(config: Path, typed: str) -> list[str]:
    words = f"watchkey --config {config} {typed}"
    environment = {
        **os.environ,
        "_WATCHKEY_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    result = subprocess.run(
        [sys.executable, "-m", "watchkey"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    return [line.removeprefix("plain,") for line in result.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("check ", ["alice", "bob", "carol"]),
        ("check alice w", ["write"]),
        ("check alice write o", ["orders-db"]),
        ("who ", ["dashboards", "orders-db"]),
    ],
)
def test_names_of_the_configuration_are_proposed(tmp_path: Path, typed: str, proposed: list[str]) -> None:
    assert CliRunner().invoke(watchkey, ["init", str(tmp_path)]).exit_code == 0
    assert proposals(tmp_path / "watchkey.yaml", typed) == proposed


def test_without_a_configuration_nothing_is_proposed_and_nothing_breaks(tmp_path: Path) -> None:
    assert proposals(tmp_path / "none.yaml", "who ") == []
