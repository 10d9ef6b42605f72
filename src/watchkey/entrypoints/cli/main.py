"""The program `watchkey`: finds the command, turns every failure into one line and an exit code; does nothing else."""

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from watchkey import __version__
from watchkey.entrypoints.cli.completion import VARIABLE, propose_names
from watchkey.entrypoints.cli.output import EXIT_MISUSE, EXIT_OK, EXIT_UNKNOWN, Globals, examples
from watchkey.model.errors import PortError

_EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""
_EXIT_PIPE: Final = 141
"""128 + SIGPIPE: the reader went away, so an answer may not have arrived and 0 would be a lie."""
_TRACEBACK_FROM: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a command lives, loaded when it is called, and the line that `watchkey --help` has for it."""

    module: str
    """Below `watchkey.entrypoints.cli`."""
    attribute: str
    help: str


def _entry(where: str, text: str) -> Entry:
    module, attribute = where.split(":")
    return Entry(module=module, attribute=attribute, help=text)


COMMANDS: Final[Mapping[str, Mapping[str, Entry]]] = {
    "Start": {
        "init": _entry("init:init", "Write a configuration that works at once."),
        "demo": _entry("demo:demo", "Watch access follow the pager, in one minute."),
        "serve": _entry("serve:serve", "Answer over HTTP."),
    },
    "Ask": {
        "check": _entry("decisions:check", "May this subject do this, now?"),
        "who": _entry("decisions:who", "Who holds the pager of a resource, now and next."),
        "when": _entry("decisions:when", "When a subject is on call."),
        "explain": _entry("decisions:explain", "Why a decision is as it is, step by step."),
    },
    "Connect": {
        "login": _entry("login:login", "Get a short-lived token."),
        "connect": _entry("connect:connect", "Open a session on a resource through the gateway."),
        "sessions": _entry("sessions:sessions", "Who is in, through which fact, until when."),
    },
    "Set up": {
        "config": _entry("config:config", "Check the configuration; print its JSON Schema."),
        "policy": _entry("policy:policy", "Check, test and try policies."),
        "source": _entry("source:source", "Try an on-call source; add one."),
        "link": _entry("link:link", "Which subject is which person of a source."),
        "readiness": _entry("readiness:readiness", "Find what will go wrong on a coming shift."),
        "drill": _entry("drill:drill", "Play an outage of the provider through."),
        "bundle": _entry("bundle:bundle", "Bundles for a fleet of OPAs: a key, a file, the OPAs' configuration."),
        "confirm": _entry("confirm:confirm", "Vouch for somebody else's shift."),
    },
    "Prove": {
        "audit": _entry("audit:audit", "Verify, prove, follow and export the audit log."),
        "reap": _entry("reap:reap", "Close what outlived its lease, without the service."),
        "residue": _entry("residue:residue", "What sessions left behind on a target."),
    },
    "Shell": {
        "completion": _entry("completion:completion", "Print a completion script for your shell."),
    },
}
"""Every command there can be, by section. One whose module is not installed is not listed."""

_ENTRIES: Final[Mapping[str, Entry]] = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class LazyGroup(click.Group):
    """A group that imports a command's module when that command is called, so that --help stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """The names of all commands whose module is there, in the order of the table."""
        return [name for name, entry in _ENTRIES.items() if _is_there(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import and return one command; None when there is none of that name."""
        entry = _ENTRIES.get(cmd_name)
        if entry is None or not _is_there(entry):
            return None
        command = getattr(importlib.import_module(_full_name(entry)), entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{_full_name(entry)}.{entry.attribute} is no command")
        if VARIABLE in os.environ:
            propose_names(command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that went away is told apart here, because click would make exit code 1 of it."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.exceptions.Exit(_EXIT_PIPE) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        if args and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "`watchkey --help` lists the commands"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- same
        """Write the sections of the table; no command is imported for that."""
        width = max(len(name) for name in _ENTRIES)
        for title, section in COMMANDS.items():
            rows = [(name.ljust(width), entry.help) for name, entry in section.items() if _is_there(entry)]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _full_name(entry: Entry) -> str:
    return f"watchkey.entrypoints.cli.{entry.module}"


def _is_there(entry: Entry) -> bool:
    return importlib.util.find_spec(_full_name(entry)) is not None


@examples(
    ("watchkey init", "write watchkey.yaml and a roster to play with"),
    ("watchkey demo", "see it work, without any set-up"),
    ("watchkey check alice write orders-db", "exit code 0 allow, 1 deny, 2 misuse, 3 cannot tell"),
)
@click.group(
    cls=LazyGroup,
    name="watchkey",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    invoke_without_command=False,
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="WATCHKEY_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="The configuration; ./watchkey.yaml when not given.",
)
@click.option("--no-color", is_flag=True, help="No colours; so does NO_COLOR in the environment.")
@click.option("-v", "--verbose", count=True, help="Say more; twice: log everything, and show tracebacks.")
@click.version_option(__version__, prog_name="watchkey", message="%(prog)s %(version)s")
@click.pass_context
def watchkey(ctx: click.Context, *, config: Path | None, no_color: bool, verbose: int) -> None:
    """Access follows the pager: privileged access exactly while somebody is on call."""
    ctx.obj = Globals(config=config, verbosity=verbose)
    # https://no-color.org: any value that is not empty counts. None lets click look whether the output is a terminal.
    ctx.color = False if no_color or os.environ.get("NO_COLOR") else None
    if verbose:
        _log_to_stderr(verbose)


def _log_to_stderr(verbose: int) -> None:
    import logging  # noqa: PLC0415 -- not needed, and not paid for, without -v

    level = logging.DEBUG if verbose >= _TRACEBACK_FROM else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the program and leave with its exit code; only -vv lets a traceback out."""
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = watchkey.main(args=words, prog_name="watchkey", standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:  # noqa: BLE001 -- the outermost edge: every failure becomes a line and an exit code
        code = _failed(error, words)
    sys.exit(code if isinstance(code, int) else EXIT_OK)


def _failed(error: Exception, words: Sequence[str]) -> int:
    """Say what went wrong in one line and return the exit code for it."""
    if isinstance(error, BrokenPipeError):
        # Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _EXIT_PIPE
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return EXIT_MISUSE
    if isinstance(error, click.Abort):
        click.echo("watchkey: interrupted", err=True)
        return _EXIT_INTERRUPTED
    from watchkey.rules.located import ConfigError  # noqa: PLC0415 -- imported on the way out only

    if isinstance(error, ConfigError):
        for problem in error.all:
            click.echo(f"watchkey: {problem}", err=True)
        return EXIT_MISUSE
    if _wants_traceback(words) and not isinstance(error, click.ClickException):
        sys.excepthook(type(error), error, error.__traceback__)
    click.echo(f"watchkey: {_line(error)}", err=True)
    return EXIT_MISUSE if isinstance(error, click.ClickException) else EXIT_UNKNOWN


def _wants_traceback(words: Sequence[str]) -> bool:
    count = 0
    for word in words:
        if not word.startswith("-"):
            break
        count += word.count("v") if word.strip("-v") == "" else word == "--verbose"
    return count >= _TRACEBACK_FROM


def _line(error: Exception) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in _GLOBAL_OPTIONS:
        return f"{error.option_name} stands before the command: watchkey {error.option_name} … COMMAND"
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "watchkey"
        return f"{_decapitalised(error.format_message())} (see `{where} --help`)"
    if isinstance(error, click.ClickException):
        return _decapitalised(error.format_message())
    if isinstance(error, PortError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    # The text of an unforeseen error may quote anything, a secret too: only its kind is shown.
    return f"internal error ({type(error).__name__}); `watchkey -vv …` shows where"


_GLOBAL_OPTIONS: Final = frozenset({"--config", "--no-color", "-v", "--verbose", "--version"})


def _decapitalised(text: str) -> str:
    """One line that can follow `watchkey: `."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
