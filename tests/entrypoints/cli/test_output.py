"""What every command prints with: JSON, tables, examples, progress."""

import io
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from watchkey.entrypoints.cli.output import (
    Globals,
    bad,
    emit,
    examples,
    faint,
    good,
    json_option,
    pad,
    pass_globals,
    printable,
    progress,
    table,
    to_json,
    width_of,
)
from watchkey.model.secret import Secret


@dataclass(frozen=True)
class Answer:
    at: datetime
    names: frozenset[str]
    token: Secret


def command() -> click.Command:
    @examples(("say hello", "a greeting"), ("say --json", "the same for a program"))
    @click.command()
    @json_option
    @pass_globals
    def say(globals_: Globals, *, as_json: bool) -> None:
        """Say hello."""
        emit({"word": "hello", "v": globals_.verbosity}, as_json=as_json, text=lambda: good("hello"))

    return say


def test_json_or_text() -> None:
    assert CliRunner().invoke(command(), []).output == "hello\n"
    assert json.loads(CliRunner().invoke(command(), ["--json"]).output) == {"word": "hello", "v": 0}


def test_globals_reach_a_command() -> None:
    result = CliRunner().invoke(command(), ["--json"], obj=Globals(verbosity=2))
    assert json.loads(result.output)["v"] == 2


def test_examples_stand_in_the_help_line_by_line() -> None:
    help_text = CliRunner().invoke(command(), ["--help"]).output
    assert "  Examples:\n    say hello   # a greeting\n    say --json  # the same for a program\n" in help_text


def test_json_is_the_same_each_time_and_hides_secrets() -> None:
    answer = Answer(at=datetime(2026, 1, 2, tzinfo=UTC), names=frozenset("cab"), token=Secret("canary-91"))
    text = to_json(answer)
    assert json.loads(text) == {"at": "2026-01-02T00:00:00Z", "names": ["a", "b", "c"], "token": "Secret(***)"}
    assert "canary-91" not in text


def test_colour_is_for_terminals_only() -> None:
    @click.command()
    def paint() -> None:
        click.echo(good("yes") + bad("no") + faint("perhaps"))

    assert CliRunner().invoke(paint, []).output == "yesnoperhaps\n"
    assert "\x1b[" in CliRunner().invoke(paint, [], color=True).output


def test_a_table_is_as_wide_as_its_content() -> None:
    assert table(["who", "level"], [["ann", 1], ["日本", 12]]) == "who   level\nann   1\n日本  12"


def test_an_empty_table_says_so() -> None:
    assert table(["who"], [], empty="nobody") == "(nobody)"


@given(st.text(max_size=40), st.integers(1, 60))
def test_padding_gives_exactly_that_many_cells(text: str, width: int) -> None:
    assert width_of(pad(printable(text), width)) == width


@given(st.text())
def test_nothing_printable_controls_a_terminal(text: str) -> None:
    assert all(char.isprintable() or char.isspace() for char in printable(text))
    assert not set(printable(text)) & {chr(n) for n in range(32)}


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_draws_on_a_terminal_and_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("verifying", 4) as step:
        step(2)
    assert "verifying  50%" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_progress_writes_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    with progress("verifying", 0) as step:
        step(2)
    assert pipe.getvalue() == ""
