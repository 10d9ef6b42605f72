"""`watchkey config`: find what is wrong in the configuration before the service does; print its schema."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from watchkey import wiring
from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_OK,
    EXIT_UNKNOWN,
    Globals,
    bad,
    emit,
    examples,
    good,
    json_option,
    pass_globals,
    printable,
    to_json,
)
from watchkey.rules.shared_account import warnings_of
from watchkey.settings import ConfigError, Settings, find, load_settings
from watchkey.settings.against import check_against, check_files
from watchkey.settings.schema import configuration_schema


@examples(
    ("watchkey config check", "everything that is wrong in watchkey.yaml, with its place"),
    ("watchkey config schema > watchkey.schema.json", "for the editor"),
)
@click.group()
def config() -> None:
    """Check the configuration; print its JSON Schema."""


@examples(
    ("watchkey config check", "the file, and every pager and person in it against the sources"),
    ("watchkey config check --offline", "the file alone, e.g. in a build that has no secrets"),
    ("watchkey --config staging.yaml config check --json", "as JSON, for an editor or a bot"),
)
@config.command()
@click.option(
    "--offline", is_flag=True, help="Ask no source and read no secret: only what can be known from the files here."
)
@json_option
@pass_globals
@click.pass_context
def check(ctx: click.Context, globals_: Globals, *, offline: bool, as_json: bool) -> None:
    """Find everything that is wrong in the configuration.

    Exit code 0 nothing, 1 something, 3 a source could not be read, so that not everything was looked at.
    """
    file = find(globals_.config)
    settings: Settings | None = None
    problems: tuple[ConfigError, ...] = ()
    unread: Mapping[str, str] = {}
    try:
        settings = load_settings(file, source_configs=wiring.source_configs(), are_secrets_read=not offline)
    except ConfigError as error:
        problems = error.all
    if settings is not None and not offline:
        problems, unread = asyncio.run(_against_sources(settings))
    if settings is not None:
        problems = (*problems, *wiring.target_problems(settings, wiring.SystemClock()))
    if settings is not None and settings.gateways:
        problems = (*problems, *_gateway_problems(settings, are_files_read=not offline))
    answer = {
        "file": str(file),
        "ok": not problems and not unread,
        "problems": [_problem_json(problem) for problem in problems],
        "unread_sources": unread,
        "risks": _risks(settings),
    }
    emit(answer, as_json=as_json, text=lambda: _words(file, settings, problems, unread))
    ctx.exit(EXIT_DENY if problems else EXIT_UNKNOWN if unread else EXIT_OK)


async def _against_sources(settings: Settings) -> tuple[tuple[ConfigError, ...], Mapping[str, str]]:
    desk = await wiring.open_desk(settings)
    rosters = {name: held.index for name, held in desk.rosters.held().items()}
    problems = (*check_files(settings), *check_against(settings, rosters))
    return problems, {str(name): str(why) for name, why in desk.failures.items()}


def _gateway_problems(settings: Settings, *, are_files_read: bool) -> tuple[ConfigError, ...]:
    # the gateway's module takes a while to load, and most services have none
    from watchkey.entrypoints.pg_gateway.config import problems_of  # noqa: PLC0415 -- same

    return problems_of(settings, are_files_read=are_files_read)


def _problem_json(problem: ConfigError) -> Mapping[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "expected": problem.expected or None,
        "suggestion": problem.suggestion,
    }


def _risks(settings: Settings | None) -> Sequence[str]:
    """What is allowed, and worth a second thought; it does not change the exit code."""
    return () if settings is None else warnings_of({name: one.target for name, one in settings.resources.items()})


def _words(file: Path, settings: Settings | None, problems: Sequence[ConfigError], unread: Mapping[str, str]) -> str:
    lines = [printable(str(problem)) for problem in problems]
    lines += [f"{bad('risk')}: {printable(risk)}" for risk in _risks(settings)]
    lines += [
        f"{bad('cannot tell')}: source {name} could not be read: {printable(why)}" for name, why in unread.items()
    ]
    if problems:
        lines.append(f"{bad('wrong')}: {_count(len(problems), 'problem')} in {file}")
    elif settings is not None and not unread:
        counts = (
            (len(settings.sources), "source"),
            (len(settings.resources), "resource"),
            (len(settings.callers), "caller"),
            (len(settings.links), "link"),
        )
        lines.append(f"{good('fine')}: {file} ({', '.join(_count(number, word) for number, word in counts)})")
    return "\n".join(lines)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@examples(
    ("watchkey config schema > watchkey.schema.json", ""),
    ("# yaml-language-server: $schema=./watchkey.schema.json", "as the first line of watchkey.yaml"),
)
@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check while one types."""
    click.echo(to_json(configuration_schema(wiring.source_configs())))
