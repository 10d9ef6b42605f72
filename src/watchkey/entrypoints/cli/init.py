"""`watchkey init`: a configuration that works at once, with a roster, a key for the audit log and a caller's token."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from watchkey import wiring
from watchkey.entrypoints.cli.output import emit, examples, faint, good, json_option, to_json
from watchkey.model.secret import Secret
from watchkey.settings.schema import configuration_schema

CALLER: Final = "local"
_TOKEN_HASH_MARK: Final = "sha256:TOKEN_HASH"  # noqa: S105 -- a place in the template
_KEY: Final = "audit.key"
_IGNORED: Final = "audit.key\nwatchkey.db*\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What `init` did."""

    directory: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that were there and stay: a signing key is never replaced, because its log could not go on."""
    token: Secret


@examples(
    ("watchkey init", "into the working directory"),
    ("watchkey init /etc/watchkey", "into another one"),
    ("watchkey init --force", "begin anew: configuration, roster and token; the audit key stays"),
)
@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--force", is_flag=True, help="Overwrite the configuration and the roster that are there.")
@json_option
def init(*, directory: Path, force: bool, as_json: bool) -> None:
    """Write a configuration that works at once into DIRECTORY.

    It comes with a roster of three people, a key for the audit log, and a token for a first caller, which is shown
    once and stored hashed.
    """
    done = write_example(directory, is_forced=force)
    shown = {
        "directory": str(done.directory),
        "written": done.written,
        "kept": done.kept,
        "caller": CALLER,
        "token": done.token.reveal(),
    }
    emit(shown, as_json=as_json, text=lambda: _next_steps(done))


def write_example(directory: Path, *, is_forced: bool) -> Written:
    """Write the files. Raises `click.UsageError` when one of them is there already and nothing is forced."""
    token, token_hash = wiring.make_caller_token()
    texts = _texts(token_hash)
    there = [name for name in texts if (directory / name).exists()]
    if there and not is_forced:
        raise click.UsageError(
            f"{', '.join(str(directory / name) for name in there)} exists already; --force overwrites"
        )
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text, encoding="utf-8")
    written, kept = list(texts), []
    if (directory / _KEY).exists():
        kept.append(_KEY)
    else:
        wiring.create_audit_key(directory / _KEY, _log_name(directory))
        written.append(_KEY)
    ignore = directory / ".gitignore"
    if ignore.exists():
        kept.append(ignore.name)
    else:
        ignore.write_text(_IGNORED, encoding="utf-8")
        written.append(ignore.name)
    return Written(directory=directory, written=tuple(written), kept=tuple(kept), token=token)


def _texts(token_hash: str) -> Mapping[str, str]:
    example = files("watchkey.settings") / "example"
    return {
        "watchkey.yaml": (example / "watchkey.yaml").read_text("utf-8").replace(_TOKEN_HASH_MARK, token_hash),
        "roster.yaml": (example / "roster.yaml").read_text("utf-8"),
        "watchkey.schema.json": to_json(configuration_schema(wiring.source_configs())) + "\n",
    }


def _log_name(directory: Path) -> str:
    """A name for the log, which every checkpoint carries; of the folder's name what such a name may hold."""
    return f"watchkey/{re.sub(r'[^A-Za-z0-9._-]', '-', directory.absolute().name) or 'audit'}"


def _next_steps(done: Written) -> str:
    where = "" if done.directory == Path() else f"cd {done.directory} && "
    kept = [f"kept     {name}" for name in done.kept]
    lines = [
        *(good("wrote") + f"    {name}" for name in done.written),
        *kept,
        "",
        f"The token of caller {CALLER!r}, shown this once (only its hash is stored):",
        "",
        f"  {done.token.reveal()}",
        "",
        "Next:",
        f"  {where}watchkey config check",
        "  watchkey who orders-db                  " + faint("# who holds the pager, now and next"),
        "  watchkey check alice write orders-db    " + faint("# exit code 0 yes, 1 no"),
        "  watchkey serve                          " + faint("# and then, with the token in WATCHKEY_TOKEN:"),
        "  watchkey check alice write orders-db --server http://127.0.0.1:8181",
        "",
        "Then put your own source in place of the roster file: docs/reference/configuration.md",
    ]
    return "\n".join(lines)
