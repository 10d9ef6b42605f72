"""`watchkey audit find-value`: was a value that an auditor knows among the hashed parameters of a statement log?"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from watchkey.entrypoints.cli.output import EXIT_DENY, EXIT_OK, examples
from watchkey.model.errors import Malformed
from watchkey.rules.bound_values import parse_key, value_hash, wire_forms

_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@examples(
    ("watchkey audit find-value --key-file statements.jsonl.key statements*.jsonl", "asks for the value, unseen"),
    ("watchkey audit find-value --key-file statements.jsonl.key < value.txt", "its hashes, to search elsewhere"),
)
@click.command("find-value")
@click.option("--key-file", type=_file, required=True, help="The key of the statement log, beside it by the name .key.")
@click.argument("logs", type=_file, nargs=-1)
def find_value(key_file: Path, logs: Sequence[Path]) -> None:
    """Print the lines of statement logs that have this value among their hashed parameters; without logs, its hashes.

    The value comes from standard input or a prompt, never from the command line, which others may read. It is looked
    for in the forms in which drivers send text, integers, floating point numbers, booleans and UUIDs; a value that was
    written into the text of a statement is no parameter and stands there. Exit code 1 when no line has it.
    """
    key = _key(key_file)
    value = click.prompt("value", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\n")
    hashes = {value_hash(key, sent): form for form, sent in wire_forms(value).items()}
    if not logs:
        for digest, form in hashes.items():
            click.echo(f"{digest}  {form}")
        return
    is_found = False
    for log in logs:
        for line in _lines_with(log, hashes):
            is_found = True
            click.echo(line)
    raise click.exceptions.Exit(EXIT_OK if is_found else EXIT_DENY)


def _key(path: Path) -> bytes:
    try:
        return parse_key(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise Malformed(f"{path} holds no key of a statement log: {error}") from error


def _lines_with(log: Path, hashes: Mapping[str, str]) -> Iterator[str]:
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            fields: Any = json.loads(line)
            found = sorted({hashes[one] for one in fields.get("value_hashes") or () if one in hashes})
            if found:
                yield json.dumps({**fields, "matched": found}, ensure_ascii=False)
