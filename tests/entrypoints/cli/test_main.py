"""The program as a whole: start-up, help, failures in one line, exit codes."""

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.golden_files import agrees
from watchkey.entrypoints.cli import main as program
from watchkey.entrypoints.cli.main import COMMANDS, LazyGroup, main, watchkey
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.secret import Secret
from watchkey.rules.located import load

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
HEAVY = (
    "cryptography",
    "httpx",
    "jsonschema",
    "msgspec",
    "starlette",
    "uvicorn",
    "yaml",
    "sqlite3",
    "asyncio",
    "logging",
)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "watchkey", *words], capture_output=True, text=True, check=False, timeout=60
    )


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `watchkey completion` fail with this error."""

    @click.command()
    def completion() -> None:
        raise error

    monkeypatch.setattr(LazyGroup, "get_command", lambda _self, _ctx, _name: completion)


def leave(words: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as left:
        main(words)
    return left.value.code


def test_help_imports_nothing_heavy() -> None:
    """What keeps `watchkey --help` quick; a clock in a test would measure the machine instead."""
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "before = set(sys.modules)\n"
        "from watchkey.entrypoints.cli.main import watchkey\n"
        "assert CliRunner().invoke(watchkey, ['--help']).exit_code == 0\n"
        "print(' '.join(sorted(set(sys.modules) - before)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "watchkey.entrypoints.cli.main" in result.stdout.split()
    assert not {name.partition(".")[0] for name in result.stdout.split()} & set(HEAVY)


def test_every_command_in_the_table_that_is_there_can_be_called() -> None:
    group = click.Context(watchkey)
    names = watchkey.list_commands(group)
    assert "completion" in names
    for name in names:
        command = watchkey.get_command(group, name)
        assert command is not None
        assert command.name == name
        assert command.help


def _all_commands(command: click.Command, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += _all_commands(child, (*path, name))
    return found


def test_every_command_has_examples() -> None:
    without = [
        " ".join(path)
        for path, command in _all_commands(watchkey, ("watchkey",))
        if "Examples:" not in (command.epilog or "")
    ]
    assert without == []


@pytest.mark.parametrize("words", [("config",), ("config", "check"), ("config", "schema"), ("init",), ("completion",)])
def test_help_texts(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(watchkey, [*words, "--help"], prog_name="watchkey", terminal_width=100)
    assert result.exit_code == 0
    agrees(GOLDEN / f"help-{'-'.join(words)}.txt", result.output)


def test_the_listing_shows_sections_and_only_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_is_there", lambda entry: entry.module in {"config", "completion"})
    result = CliRunner().invoke(watchkey, ["--help"], prog_name="watchkey", terminal_width=100)
    agrees(GOLDEN / "help.txt", result.output)


def test_a_command_whose_module_is_absent_is_unknown() -> None:
    missing = program.Entry(module="no_such_module", attribute="x", help="")
    assert not program._is_there(missing)
    assert all(
        entry.help.endswith(".") or entry.help.endswith("?") for part in COMMANDS.values() for entry in part.values()
    )


def test_an_unknown_command_names_the_nearest() -> None:
    result = run("confg")
    assert result.returncode == 2
    assert result.stderr == "watchkey: there is no command 'confg'; did you mean 'config'? (see `watchkey --help`)\n"


def test_an_unknown_option_is_one_line_and_misuse() -> None:
    result = run("completion", "--wat")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("watchkey: no such option")


def test_a_global_option_in_the_wrong_place_is_put_right() -> None:
    result = run("completion", "bash", "--config", "x")
    assert result.returncode == 2
    assert result.stderr == "watchkey: --config stands before the command: watchkey --config … COMMAND\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Unavailable("the service did not answer"), 3, "watchkey: the service did not answer\n"),
        (Refused("no such schedule"), 3, "watchkey: no such schedule\n"),
        (
            FileNotFoundError(2, "No such file or directory", "x.yaml"),
            3,
            "watchkey: x.yaml: No such file or directory\n",
        ),
        (click.ClickException("Bad thing."), 2, "watchkey: bad thing\n"),
        (KeyboardInterrupt(), 130, "watchkey: interrupted\n"),
    ],
)
def test_failures_are_a_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    failing(monkeypatch, error)
    assert leave(["completion"]) == code
    assert capsys.readouterr().err.lstrip("\n") == line


def test_every_error_of_a_configuration_is_a_line_and_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    located = load("a: 1\nb: 2\n", "w.yaml")
    error = located.error(("a",), "first")
    error.others = (located.error(("b",), "second"),)
    failing(monkeypatch, error)
    assert leave(["completion"]) == 2
    assert capsys.readouterr().err == "watchkey: w.yaml:1:4: a: first\nwatchkey: w.yaml:2:4: b: second\n"


def test_nothing_to_do_is_answered_with_the_help() -> None:
    result = run()
    assert result.returncode == 2
    assert result.stderr.startswith("Usage: watchkey [OPTIONS] COMMAND")


def test_a_message_of_several_lines_becomes_one() -> None:
    result = run("completion")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "bash, zsh, fish" in result.stderr


def test_an_unforeseen_error_tells_its_kind_but_not_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, RuntimeError(f"connect with {Secret('canary-17').reveal()}"))
    assert leave(["completion"]) == 3
    said = capsys.readouterr().err
    assert said == "watchkey: internal error (RuntimeError); `watchkey -vv …` shows where\n"


def test_only_two_v_show_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    failing(monkeypatch, RuntimeError("deep down"))
    assert leave(["-v", "completion"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert leave(["-vv", "completion"]) == 3
    assert "deep down" in capsys.readouterr().err


def test_a_deny_is_exit_code_one(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.pass_context
    def by_exit(ctx: click.Context) -> None:
        ctx.exit(1)

    @click.command()
    def by_value() -> int:
        return 1

    for command in (by_exit, by_value):
        monkeypatch.setattr(LazyGroup, "get_command", lambda _self, _ctx, _name, found=command: found)
        assert leave(["completion"]) == 1


def test_a_reader_that_went_away_is_not_success() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "watchkey", "completion", "zsh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 141
    assert said == b""


@pytest.mark.parametrize(
    ("words", "variable", "colour"),
    [([], "", None), (["--no-color"], "", False), ([], "1", False)],
)
def test_no_colour_when_asked(
    monkeypatch: pytest.MonkeyPatch, words: list[str], variable: str, *, colour: bool | None
) -> None:
    seen: list[bool | None] = []

    @click.command()
    @click.pass_context
    def completion(ctx: click.Context) -> None:
        seen.append(ctx.find_root().color)

    monkeypatch.setattr(LazyGroup, "get_command", lambda _self, _ctx, _name: completion)
    monkeypatch.setenv("NO_COLOR", variable)
    assert leave([*words, "completion"]) == 0
    assert seen == [colour]
