"""`watchkey policy check` and `fmt-check`: what is wrong with a policy, each thing with its place and its way out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey import wiring
from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_MISUSE,
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
)
from watchkey.entrypoints.cli.policy_files import PolicyFiles, dialect_option, policies_of, read, shown
from watchkey.flows.check_policy import (
    RULES,
    Finding,
    Report,
    check_policy,
    normalised,
    space_findings,
)
from watchkey.rego import Location, RegoError, normalise_spaces

_FILES: Final = click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
NORMALISED: Final = ".normalised"
"""Stands before the suffix of a copy: `sample.normalised.rego`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A policy with what was found in it."""

    policy: PolicyFiles
    report: Report


@examples(
    ("watchkey policy check", "every policy of the configuration"),
    ("watchkey policy check policies/*.rego", "files that need not be configured"),
    ("watchkey policy check bundle.tar.gz", "an OPA bundle"),
    ("watchkey policy check --dialect cyral sample.rego", "a policy as Cyral runs them"),
    ("watchkey policy check --ignore no-responders a.rego", "without one of the traps"),
)
@click.command()
@_FILES
@dialect_option
@click.option("--strict", is_flag=True, help="Also what `opa check --strict` forbids: unused names, shadowing.")
@click.option("--no-schema", is_flag=True, help="Do not hold references to `input` against Watchkey's input document.")
@click.option(
    "--ignore", "ignored", multiple=True, type=click.Choice(RULES), help="A trap to pass over; may be given repeatedly."
)
@click.option("--fix-spaces", is_flag=True, help="Write FILE.normalised.rego for each file with blanks Rego rejects.")
@json_option
@pass_globals
@click.pass_context
def check(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    files: tuple[Path, ...],
    dialect: str | None,
    *,
    strict: bool,
    no_schema: bool,
    ignored: tuple[str, ...],
    fix_spaces: bool,
    as_json: bool,
) -> None:
    """Find errors in policies, and the traps of this domain, each with a way out.

    FILES are checked together as one policy, folders searched; without any, every policy of the configuration is
    checked. A trap that is meant is silenced in the policy itself, with a reason, in the line or in the one before:
    `# watchkey: allow first-only: the source gives at most one`.

    Exit code 0 fine, 1 traps, 2 not even usable.
    """
    checked = [
        _Checked(policy=one, report=_report(one, ignored, is_strict=strict, has_schema=not no_schema))
        for one in policies_of(globals_, files, dialect)
    ]
    written = [path for one in checked for path in _fixed(one)] if fix_spaces else []
    emit(_json(checked, written), as_json=as_json, text=lambda: "\n".join(_words(checked, written)))
    has_errors = any(one.report.errors for one in checked)
    has_findings = any(one.report.findings for one in checked)
    ctx.exit(EXIT_MISUSE if has_errors else EXIT_DENY if has_findings else EXIT_OK)


def _report(policy: PolicyFiles, ignored: Sequence[str], *, is_strict: bool, has_schema: bool) -> Report:
    is_ours = has_schema and policy.dialect != "cyral"  # Cyral's input is another document
    report = check_policy(
        policy.modules,
        dialect=policy.dialect,
        versions=policy.versions,
        is_strict=is_strict,
        input_schema=input_schema() if is_ours else None,
        data=policy.data_texts,
        ignored=ignored,
    )
    if not report.errors and policy.settings is not None and policy.settings.bundle is not None:
        # What only the whole bundle can tell: a package outside its roots.
        wiring.policy_engine(policy.settings, is_verified=policy.is_verified)
    return report


def input_schema() -> Mapping[str, Any]:
    """The JSON Schema of the document that policies see."""
    return msgspec.json.decode(wiring.shipped_policy("input.schema.json"), type=dict[str, Any])


def _fixed(checked: _Checked) -> Iterator[str]:
    for name in checked.report.odd_spaces:
        if not Path(name).is_file():
            raise click.UsageError(f"{name} is in a bundle: build it anew from files with plain blanks")
        yield _copy(Path(name), normalise_spaces(checked.policy.modules[name])[0])


def _copy(path: Path, text: str) -> str:
    """Write the text beside the file, never over anything else. Raises UsageError when another text stands there."""
    copy = path.with_suffix(f"{NORMALISED}{path.suffix}")
    try:
        with copy.open("x", encoding="utf-8", newline="") as stream:
            stream.write(text)
    except FileExistsError:
        if copy.read_bytes() != text.encode():
            raise click.UsageError(f"{copy} is there already and differs; move it away first") from None
    return str(copy)


# --- fmt-check -----------------------------------------------------------------------------------------------------


@examples(
    ("watchkey policy fmt-check policies/", ""),
    ("watchkey policy fmt-check --normalise pasted.rego", "writes pasted.normalised.rego"),
)
@click.command("fmt-check")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--normalise", is_flag=True, help="Write FILE.normalised.rego beside each file that has something.")
@json_option
@click.pass_context
def fmt_check(ctx: click.Context, files: tuple[Path, ...], *, normalise: bool, as_json: bool) -> None:
    """Find white space that nobody sees: odd blanks, carriage returns, blanks at line ends, a missing last line end.

    How a policy is laid out is a matter for `opa fmt`; this looks only at what changes its meaning or its hash unseen.
    Exit code 0 nothing, 1 something.
    """
    paths = [path for given in files for path in (sorted(given.rglob("*.rego")) if given.is_dir() else [given])]
    texts = {shown(path): read(path) for path in paths}
    found = {name: list(space_findings(name, text)) for name, text in texts.items()}
    written = [_copy(Path(name), normalised(texts[name])) for name, some in found.items() if some and normalise]
    every = [one for some in found.values() for one in some]
    answer = {"ok": not every, "findings": [finding_json(one) for one in every], "written": written}

    def words() -> str:
        lines = [*_placed(every), *(f"wrote {path}" for path in written)]
        return "\n".join([*lines, _summary([], every, len(texts))])

    emit(answer, as_json=as_json, text=words)
    ctx.exit(EXIT_DENY if every else EXIT_OK)


# --- saying it -----------------------------------------------------------------------------------------------------


def _words(checked: Sequence[_Checked], written: Sequence[str]) -> Iterator[str]:
    for one in checked:
        if len(checked) > 1:
            yield faint(f"policy {one.policy.name}")
        yield from (printable_lines(str(error)) for error in one.report.errors)
        yield from _placed(one.report.findings)
    yield from (f"wrote {path}" for path in written)
    yield _summary(
        [error for one in checked for error in one.report.errors],
        [finding for one in checked for finding in one.report.findings],
        sum(len(one.policy.modules) for one in checked),
    )


def _placed(findings: Iterable[Finding]) -> Iterator[str]:
    """The findings, each place shown once."""
    for place, group in groupby(findings, key=lambda finding: finding.location):
        yield str(place)
        yield from (printable_lines(line) for line in source_lines(place))
        for finding in group:
            yield f"  {bad(finding.severity)} {finding.rule}: {printable(finding.message)}"
            yield faint(f"    fix: {printable(finding.fix)}")


def source_lines(place: Location) -> list[str]:
    """The line of a place and a caret under it; empty when the line is not known."""
    return RegoError(code="", message="", location=place).__str__().split("\n")[1:]


def printable_lines(text: str) -> str:
    """The text without anything that moves a cursor; its line ends stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _summary(errors: Sequence[RegoError], findings: Sequence[Finding], files: int) -> str:
    rules = len({finding.rule for finding in findings})
    if errors:
        return f"{bad('wrong')}: {_count(len(errors), 'error')}, {_count(len(findings), 'finding')}"
    if findings:
        return f"{bad('found')}: {_count(len(findings), 'finding')} of {_count(rules, 'kind')}"
    return f"{good('fine')}: {_count(files, 'file')}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _json(checked: Sequence[_Checked], written: Sequence[str]) -> Mapping[str, Any]:
    return {
        "ok": not any(one.report.errors or one.report.findings for one in checked),
        "policies": [
            {
                "name": one.policy.name,
                "dialect": one.policy.dialect,
                "errors": [error_json(error) for error in one.report.errors],
                "findings": [finding_json(finding) for finding in one.report.findings],
            }
            for one in checked
        ],
        "written": list(written),
    }


def error_json(error: RegoError) -> Mapping[str, Any]:
    """A compile error as programs read it."""
    place = {"file": error.file, "line": error.line, "column": error.column}
    return {**place, "code": error.code, "message": error.message, "hint": error.hint or None}


def finding_json(finding: Finding) -> Mapping[str, Any]:
    """A finding as programs read it."""
    place = {"file": finding.location.file, "line": finding.location.line, "column": finding.location.column}
    return {**place, "rule": finding.rule, "severity": finding.severity, "message": finding.message, "fix": finding.fix}
