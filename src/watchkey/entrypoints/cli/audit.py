"""`watchkey audit`: verify, prove, follow and export the audit log; no private key is needed for any of it.

`verify` and `verify-proof` have exit codes of their own: 0 as it was signed, 2 tampered, 3 rolled back, 4 gap,
1 it could not be checked.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Final

import click

from watchkey import wiring
from watchkey.entrypoints.cli.audit_ocsf import export_ocsf
from watchkey.entrypoints.cli.audit_values import find_value
from watchkey.entrypoints.cli.output import (
    EXIT_OK,
    Globals,
    bad,
    emit,
    examples,
    faint,
    good,
    json_option,
    pass_globals,
    printable,
    progress,
)
from watchkey.model.errors import Malformed, PortError, Refused
from watchkey.rules.audit_check import Damage, Finding, KnownNote, Report, StoredEntry, check_log
from watchkey.rules.checkpoint import (
    VerifyingKey,
    format_proof,
    parse_checkpoint_unverified,
    parse_proof_unverified,
    parse_verifying_key,
    verify_proof,
)
from watchkey.settings import ConfigError
from watchkey.settings.load import load_settings

EXIT_UNCHECKED: Final = 1
EXIT_CODES: Final = {Damage.TAMPERED: 2, Damage.ROLLED_BACK: 3, Damage.GAP: 4}
_CHECKPOINT_LINE: Final = b'{"checkpoint":'
_POLL_SECONDS: Final = 0.3
_SMALL_FILE_MAX: Final = 8 * 1024 * 1024


class CheckCommand(click.Command):
    """A command whose exit code 2 means *tampered*: a wrong option must not look like that."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the options; misuse ends with EXIT_UNCHECKED."""
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            click.echo(f"watchkey: {error.format_message()}", err=True)
            raise click.exceptions.Exit(EXIT_UNCHECKED) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run; what could not be checked ends with EXIT_UNCHECKED."""
        try:
            return super().invoke(ctx)
        except (PortError, ConfigError, OSError) as error:
            click.echo(f"watchkey: not checked: {error}", err=True)
            raise click.exceptions.Exit(EXIT_UNCHECKED) from error


_path = click.Path(path_type=Path, dir_okay=False)
_db_option = click.option(
    "--db", type=_path, metavar="FILE", help="The database; that of the configuration if left out."
)
_key_option = click.option("--key", "key_text", metavar="KEY", help="The log's public key, or a file that holds it.")


@examples(
    ("watchkey audit verify", "exit code 0 ok, 2 tampered, 3 rolled back, 4 gap"),
    ("watchkey audit tail -f", "follow the decisions as they are made"),
    ("watchkey audit prove 17 > 17.tlog-proof", "one entry, provable without the log"),
)
@click.group()
def audit() -> None:
    """Verify, prove, follow and export the audit log."""


audit.add_command(find_value)


def _database(globals_: Globals, db: Path | None) -> Path:
    return db or load_settings(globals_.config, are_secrets_read=False).storage.path


def _key(given: str | None, beside: str | None) -> VerifyingKey:
    """The public key: as given, from the file that was given, or from beside the log, which is said aloud.

    Raises Refused: a wrong key says nothing about the log.
    """
    if given is not None:
        return _parsed_key(_small_text(Path(given)) if _is_file(given) else given)
    if beside is None:
        raise Refused("no public key: give it with --key")
    click.echo(
        "watchkey: using the public key that lies beside the log; whoever can write there could have exchanged both. "
        "Keep the key elsewhere and give it with --key",
        err=True,
    )
    return _parsed_key(beside)


def _parsed_key(text: str) -> VerifyingKey:
    try:
        return parse_verifying_key(text)
    except Malformed as error:
        raise Refused(f"--key: {error}") from error


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a text that can be no file's name
        return False


def _small_text(path: Path) -> str:
    if path.stat().st_size > _SMALL_FILE_MAX:
        raise Refused(f"{path} is too large")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not text") from error


# -- verify --------------------------------------------------------------------------------------------------------


@examples(
    ("watchkey audit verify --key watchkey.vkey", "the configured database, also while the service runs"),
    ("watchkey audit verify --export audit.jsonl --key watchkey.vkey", "an export, without the database"),
    ("watchkey audit verify --since monday.checkpoint", "also: everything up to that checkpoint is still there"),
)
@audit.command(cls=CheckCommand)
@_db_option
@click.option("--export", "export_file", type=_path, metavar="FILE", help="Check an export in place of a database.")
@_key_option
@click.option("--since", type=_path, multiple=True, metavar="FILE", help="A checkpoint that was kept elsewhere.")
@json_option
@pass_globals
def verify(
    globals_: Globals,
    db: Path | None,
    export_file: Path | None,
    key_text: str | None,
    since: tuple[Path, ...],
    *,
    as_json: bool,
) -> None:
    """Check every entry and every signature of the log.

    Exit code: 0 the log is as it was signed, 2 it was tampered with, 3 it was rolled back to an older state, 4 entries
    in it are missing, 1 it could not be checked.
    """
    if db is not None and export_file is not None:
        raise Refused("--db and --export exclude each other")
    kept = [KnownNote(where=f"{path}", note=_kept_note(path)) for path in since]
    if export_file is not None:
        report = _check_export(export_file, _key(key_text, None), kept)
    else:
        report = _check_database(_database(globals_, db), key_text, kept)
    emit(_report_json(report), as_json=as_json, text=lambda: _report_text(report))
    code = EXIT_OK if report.verdict is None else EXIT_CODES[report.verdict]
    click.get_current_context().exit(code)


def _kept_note(path: Path) -> str:
    """A checkpoint as `anchor` wrote it, in either of its forms."""
    text = _small_text(path)
    return _note_in(text.encode()) if text.startswith("{") else text


def _check_database(database: Path, key_text: str | None, kept: list[KnownNote]) -> Report:
    try:
        with wiring.open_audit_reader(database) as reader:
            key = _key(key_text, reader.public_key_text())
            remembered = reader.remembered()
            if remembered is None and not kept:
                click.echo(
                    "watchkey: no checkpoint is remembered outside the database, so a log that was cut back together "
                    "with its checkpoints looks whole; give a checkpoint that you kept with --since",
                    err=True,
                )
            notes = [*reader.notes(), *([remembered] if remembered else []), *kept]
            with progress("verifying", reader.size()) as step:
                return check_log(reader.entries(), notes, key, progress=step)
    except Malformed as error:  # SQLite cannot make sense of the file any more
        finding = Finding(damage=Damage.TAMPERED, seq=None, text=str(error))
        return Report(size=0, root=b"", newest=None, findings=(finding,))


def _check_export(file: Path, key: VerifyingKey, kept: list[KnownNote]) -> Report:
    with file.open("rb") as lines:
        notes = [KnownNote(where="the export's checkpoint", note=_note_in(line)) for line in lines if _is_note(line)]
        lines.seek(0)
        return check_log(_entries_in(lines), [*notes, *kept], key, is_closed=True)


def _is_note(line: bytes) -> bool:
    return line.startswith(_CHECKPOINT_LINE)


def _note_in(line: bytes) -> str:
    try:
        note = json.loads(line)["checkpoint"]
    except (ValueError, KeyError, TypeError):
        return ""
    return note if isinstance(note, str) else ""


def _entries_in(lines: BinaryIO) -> Iterator[StoredEntry]:
    """The entries of an export; a line that does not say which one it is counts as the one that belongs there."""
    expected = 0
    for line in lines:
        if _is_note(line):
            continue
        body = line.removesuffix(b"\n")
        said = _decoded(body).get("seq")
        seq = said if isinstance(said, int) else expected
        expected = seq + 1
        yield StoredEntry(seq, body)


def _decoded(body: bytes) -> dict[str, Any]:
    """An entry's fields; empty for bytes that are not an entry."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _report_json(report: Report) -> dict[str, Any]:
    return {
        "verdict": report.verdict or "ok",
        "entries": report.size,
        "root": report.root.hex(),
        "covered": report.newest.size if report.newest else 0,
        "uncovered": report.uncovered,
        "findings": [{"damage": f.damage, "seq": f.seq, "text": f.text} for f in report.findings],
    }


def _report_text(report: Report) -> str:
    lines = [f"{bad(f.damage.replace('_', ' ').upper())}  {printable(f.text)}" for f in report.findings]
    if not lines and report.newest is not None:
        lines = [f"{good('ok')}  {report.size:,} entries are as they were signed by {printable(report.newest.origin)}"]
    if report.uncovered and report.newest is not None:
        lines.append(
            faint(
                f"{report.uncovered:,} at the end are not signed yet, so nothing vouches for them; "
                "a running service signs them within its checkpoint interval"
            )
        )
    return "\n".join(lines)


# -- prove and verify-proof ----------------------------------------------------------------------------------------


@examples(("watchkey audit prove 17 > 17.tlog-proof", "one file for an auditor, to be checked without the log"))
@audit.command()
@click.argument("seq", type=click.IntRange(min=0))
@_db_option
@_key_option
@pass_globals
def prove(globals_: Globals, seq: int, db: Path | None, key_text: str | None) -> None:
    """Print a proof that entry SEQ is in the log, in the C2SP form `.tlog-proof`; the entry is inside."""
    with wiring.open_audit_reader(_database(globals_, db)) as reader:
        beside = reader.public_key_text()
        key = _parsed_key(beside) if key_text is None and beside else _key(key_text, beside)
        proof = reader.prove(seq, key)
    verify_proof(proof, key)  # never hand out a proof that does not hold
    click.echo(format_proof(proof), nl=False)


@examples(("watchkey audit verify-proof 17.tlog-proof --key watchkey.vkey", "no database and no service needed"))
@audit.command("verify-proof", cls=CheckCommand)
@click.argument("file", type=_path)
@click.option("--key", "key_text", required=True, metavar="KEY", help="The log's public key, or a file that holds it.")
@json_option
def verify_proof_command(file: Path, key_text: str, *, as_json: bool) -> None:
    """Check a proof and print the entry that it proves. Exit code: 0 it holds, 2 it does not, 1 not checked."""
    key = _key(key_text, None)
    raw = _small_text(file)
    try:
        proof = parse_proof_unverified(raw)
        checkpoint = verify_proof(proof, key)
    except Malformed as error:
        emit({"verdict": Damage.TAMPERED, "text": str(error)}, as_json=as_json, text=f"{bad('WRONG')}  {error}")
        click.get_current_context().exit(EXIT_CODES[Damage.TAMPERED])
    fields = _decoded(proof.entry)
    emit(
        {"verdict": "ok", "seq": proof.index, "size": checkpoint.size, "entry": fields},
        as_json=as_json,
        text=lambda: f"{good('ok')}  entry {proof.index} of {printable(checkpoint.origin)}\n{entry_line(fields)}",
    )


# -- tail, export, anchor ------------------------------------------------------------------------------------------


@examples(
    ("watchkey audit tail -n 50", "the last fifty entries"),
    ("watchkey audit tail -f --json | jq 'select(.outcome==\"deny\")'", "follow, one JSON document a line"),
)
@audit.command()
@_db_option
@click.option("-n", "count", type=click.IntRange(min=0), default=20, show_default=True, help="How many to begin with.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new entries until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="The entries as they are stored, one a line.")
@pass_globals
def tail(globals_: Globals, db: Path | None, count: int, *, follow: bool, as_json: bool) -> None:
    """Show the last entries of the log; nothing is verified."""
    database = _database(globals_, db)
    start: int | None = None
    while True:
        with wiring.open_audit_reader(database) as reader:
            size = reader.size()
            for entry in reader.entries(max(0, size - count) if start is None else start):
                click.echo(entry.body if as_json else entry_line(_decoded(entry.body)))
        start = size
        if not follow:
            return
        sys.stdout.flush()
        time.sleep(_POLL_SECONDS)


def entry_line(fields: dict[str, Any]) -> str:
    """One entry for a person: when, number, what, who, on what, why."""
    at = f"{fields.get('at', '')}"[:19].replace("T", " ")
    head = f"{at}Z  {fields.get('seq', '?')!s:>7}  "
    if fields.get("kind") != "decision":
        return printable(head + _event_text(fields))
    outcome = f"{fields.get('outcome')}".upper()
    until = f"{fields.get('until', '')}"[11:16]
    words = [
        f"{fields.get('subject')} {fields.get('privilege')} {fields.get('resource')}",
        f"until {until}Z" if until else "",
        f"{fields.get('reason')}: {fields.get('sentence')}",
    ]
    if fields.get("clock_stepped_back"):
        words.append("(the clock had stepped back)")
    paint = good if outcome == "ALLOW" else bad
    return f"{printable(head)}{paint(printable(outcome).ljust(5))}  {printable('  '.join(filter(None, words)))}"


def _event_text(fields: dict[str, Any]) -> str:
    """An entry that is no decision: its kind, then its fields as they are."""
    kind = f"{fields.get('what') or fields.get('kind') or 'not an entry'}"
    rest = {name: value for name, value in fields.items() if name not in {"at", "seq", "kind", "what"}}
    if isinstance(rest.get("fields"), dict):
        rest |= rest.pop("fields")
    words = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in rest.items())
    return "  ".join([kind, *words])


@examples(
    ("watchkey audit export -o audit.jsonl", "everything that is signed, and the checkpoint as the last line"),
    ("watchkey audit export --format ocsf --statements statements.jsonl", "sessions and statements, for a collector"),
)
@audit.command()
@_db_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "ocsf"]),
    default="jsonl",
    show_default=True,
    help="ocsf: sessions as Authentication, statements as Datastore Activity; nothing else, and no checkpoint.",
)
@click.option("--statements", type=_path, multiple=True, metavar="FILE", help="With ocsf: a statement log as well.")
@click.option("-o", "--output", type=_path, metavar="FILE", help="Write there; to standard output if left out.")
@pass_globals
def export(globals_: Globals, db: Path | None, output: Path | None, *, form: str, statements: tuple[Path, ...]) -> None:
    """Write the log as JSON lines, up to its newest checkpoint, which is the last line.

    Check the result with `watchkey audit verify --export`, or with `tools/verify_audit.py` alone.
    """
    if statements and form != "ocsf":
        raise click.UsageError("--statements goes with --format ocsf")
    if form == "ocsf":
        export_ocsf(_database(globals_, db), statements, output)
        return
    with wiring.open_audit_reader(_database(globals_, db)) as reader, ExitStack() as stack:
        note = reader.newest_note()
        covered = parse_checkpoint_unverified(note.rpartition("\n\n")[0] + "\n").size
        stream: BinaryIO = sys.stdout.buffer
        if output is not None:
            stream = stack.enter_context(output.open("wb"))
        for entry in reader.entries(0, covered):
            stream.write(entry.body + b"\n")
        stream.write(_CHECKPOINT_LINE + json.dumps(note, ensure_ascii=False).encode() + b"}\n")
        stream.flush()
        left = reader.size() - covered
    rest = f"; {left} at the end are not signed yet and were left out" if left else ""
    click.echo(f"{covered} entries and their checkpoint{rest}", err=True)


@examples(
    ("watchkey audit anchor > monday.checkpoint", "keep it where the log's owner cannot write"),
    ("watchkey audit anchor --json | logger -t watchkey", "or send it to a log server, as one line"),
)
@audit.command()
@_db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document on one line.")
@pass_globals
def anchor(globals_: Globals, db: Path | None, *, as_json: bool) -> None:
    """Print the newest signed checkpoint; with it, `verify --since` finds a log that was cut back or forked."""
    with wiring.open_audit_reader(_database(globals_, db)) as reader:
        note = reader.newest_note()
    click.echo(json.dumps({"checkpoint": note}, ensure_ascii=False) if as_json else note, nl=as_json)


@examples(("watchkey audit accept-rollback", "after a loss, when no newer copy of the database exists"))
@audit.command("accept-rollback")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_globals
def accept_rollback(globals_: Globals, *, yes: bool) -> None:
    """Go on with an older copy of the database after a loss; the log says so for ever.

    Only when no newer copy exists: checkpoints that others hold of the lost entries will no longer verify.
    """
    store = wiring.audit_store(load_settings(globals_.config))
    try:
        store.open()
    except Refused as error:
        click.echo(f"{error}", err=True)
    else:
        store.close()
        click.echo("nothing to accept: the database is the newest state of the log")
        return
    if not yes:
        click.confirm("Go on with this copy?", abort=True, err=True)
    store.open(accept_rollback=True)
    store.close()
    click.echo(f"accepted; the log goes on from entry {store.stats().entries - 1}, which says what is missing")
