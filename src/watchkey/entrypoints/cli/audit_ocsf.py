"""`watchkey audit export --format ocsf`: the audit log's sessions and the statement logs as OCSF events, one a line."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from watchkey import __version__, wiring
from watchkey.model.errors import Malformed
from watchkey.rules.checkpoint import parse_checkpoint_unverified
from watchkey.rules.ocsf import session_event, statement_event


def export_ocsf(database: Path, statements: Sequence[Path], output: Path | None) -> None:
    """Write what the newest checkpoint covers of the audit log, then the statement logs. Raises port errors."""
    encode = msgspec.json.Encoder().encode
    clients: dict[str, str] = {}
    count = 0
    with ExitStack() as stack:
        stream: BinaryIO = sys.stdout.buffer if output is None else stack.enter_context(output.open("wb"))
        for event in _events(database, statements, clients):
            stream.write(encode(event) + b"\n")
            count += 1
        stream.flush()
    click.echo(f"{count} events", err=True)


def _events(database: Path, statements: Sequence[Path], clients: dict[str, str]) -> Iterator[dict[str, Any]]:
    with wiring.open_audit_reader(database) as reader:
        covered = parse_checkpoint_unverified(reader.newest_note().rpartition("\n\n")[0] + "\n").size
        for entry in reader.entries(0, covered):
            fields: dict[str, Any] = json.loads(entry.body)
            event = session_event(fields, product_version=__version__)
            if event is None:
                continue
            if fields.get("what") == "session.opened":
                clients[fields["fields"]["session"]] = fields["fields"]["client"]
            yield event
    for path in statements:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    statement: dict[str, Any] = json.loads(line)
                    client = clients.get(statement["session"], "")
                    yield statement_event(statement, client, product_version=__version__)
                except (ValueError, KeyError, TypeError) as error:
                    raise Malformed(f"{path}, line {number}: no line of a statement log: {error!r}") from error
