"""The group `watchkey policy`."""

from click import Command

from tests.entrypoints.cli.policy_house import run
from watchkey.entrypoints.cli.policy import policy


def test_every_command_of_the_table_is_there_and_has_help() -> None:
    help_text = run("--help").output
    names = policy.list_commands(None)  # type: ignore[arg-type]  # the table needs no context
    assert {"check", "test", "eval", "explain", "coverage", "fmt-check", "diff"} <= set(names)
    for name in names:
        assert name in help_text
        assert isinstance(policy.get_command(None, name), Command)  # type: ignore[arg-type]  # same
        assert "Examples:" in run(name, "--help").output


def test_an_unknown_command_is_misuse() -> None:
    assert run("chekc").exit_code == 2
