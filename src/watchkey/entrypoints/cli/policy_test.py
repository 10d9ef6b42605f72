"""`watchkey policy test`: Rego tests and YAML cases, in parallel where it pays, again whenever a file changes."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import click

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
from watchkey.entrypoints.cli.policy_check import printable_lines
from watchkey.entrypoints.cli.policy_eval import compiled, emit_errors
from watchkey.entrypoints.cli.policy_files import PolicyFiles, dialect_option, policies_of, shown
from watchkey.entrypoints.cli.policy_junit import junit_xml
from watchkey.flows.test_policy import Case, Result, Status, rego_tests, run_case, run_rego_test
from watchkey.model.errors import Malformed
from watchkey.rego import RegoErrors, freeze
from watchkey.settings.cases import cases_schema, load_cases
from watchkey.wiring import CaseBench, SystemClock, policy_config

PARALLEL_FROM: Final = 300
"""Tests below this number end sooner in one process than another takes to start."""
LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the files with --watch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What to test, and which of it."""

    policies: tuple[PolicyFiles, ...]
    pattern: str = ""
    part: int = 0
    parts: int = 1
    """Only every `parts`-th test, beginning with number `part`: the share of one process."""


@examples(
    ("watchkey policy test", "the policies of the configuration with their `tests`, or the one that ships"),
    ("watchkey policy test policies/ cases/", "Rego and cases in folders"),
    ("watchkey policy test bundle.tar.gz cases.yaml", "an OPA bundle, with cases about it"),
    ("watchkey policy test --run 'level|permanent' policies/", "only tests whose name matches"),
    ("watchkey policy test --junit report.xml policies/", "for a build server"),
    ("watchkey policy test --schema > cases.schema.json", "what a file of cases may hold, for an editor"),
)
@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--run", "pattern", default="", metavar="REGEX", help="Only tests whose name this is found in.")
@click.option(
    "--junit", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML as well."
)
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes; as many as it pays for when not given.")
@click.option("--watch", is_flag=True, help="Run again whenever a file changes, until Ctrl-C.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a file of cases, and do nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Show tests that pass, too.")
@dialect_option
@json_option
@pass_globals
@click.pass_context
def test(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    files: tuple[Path, ...],
    pattern: str,
    junit: Path | None,
    jobs: int | None,
    dialect: str | None,
    *,
    watch: bool,
    schema: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Run the tests of policies.

    A rule `test_…` passes when it is true, as with `opa test`, under which the same files run unchanged. A YAML file of
    cases holds a roster, resources, and which decision each request must get, and why; it is answered by the steps that
    the service takes. FILES are tested as one policy, folders searched.

    Exit code 0 all passed, 1 something failed, 2 something could not be run, or there is no test.
    """
    if schema:
        click.echo(json.dumps(cases_schema(), indent=2, ensure_ascii=False))
        return
    try:
        re.compile(pattern)
    except re.error as error:
        raise click.BadParameter(str(error), param_hint="--run") from None

    def once() -> int:
        work = Work(policies=tuple(policies_of(globals_, files, dialect)), pattern=pattern)
        try:
            results = run(work, jobs)
        except RegoErrors as problem:
            emit_errors(problem, as_json=as_json)
            return EXIT_MISUSE
        if junit is not None:
            junit.write_text(junit_xml(results), encoding="utf-8")
        emit(_json(results), as_json=as_json, text=lambda: "\n".join(_words(results, is_verbose=verbose)))
        return _exit_code(results)

    if watch:
        asyncio.run(_watch(globals_, files, once))
    ctx.exit(once())


def _exit_code(results: Sequence[Result]) -> int:
    statuses = {result.status for result in results}
    if Status.ERROR in statuses or not statuses:
        return EXIT_MISUSE
    return EXIT_DENY if Status.FAILED in statuses else EXIT_OK


# --- running -------------------------------------------------------------------------------------------------------


def run(work: Work, jobs: int | None = None) -> list[Result]:
    """Run everything; the results in the order of the files. Raises RegoErrors and ConfigError before any test runs."""
    first = list(_listed(work))
    parts = jobs or (min(os.cpu_count() or 1, 8) if len(first) >= PARALLEL_FROM else 1)
    if parts == 1:
        return [result for _, result in _run_part(work)]
    shares = [Work(policies=work.policies, pattern=work.pattern, part=part, parts=parts) for part in range(parts)]
    # A fresh process each: threads of this one, if any, must not be forked in the middle of something.
    with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
        found = [numbered for share in pool.map(_run_part, shares) for numbered in share]
    return [result for _, result in sorted(found, key=lambda numbered: numbered[0])]


def _listed(work: Work) -> Iterator[str]:
    """The name of every test; compiles and reads everything, so that nothing runs when something is wrong."""
    for policy in work.policies:
        yield from (test.name for test in rego_tests(compiled(policy).modules) if re.search(work.pattern, test.name))
        for path in policy.cases:
            yield from (case.name for case in load_cases(path).cases if re.search(work.pattern, case.name))


def _run_part(work: Work) -> list[tuple[int, Result]]:
    """The share of one process, each with its number in the whole."""
    clock = SystemClock()
    numbered: list[tuple[int, Result]] = []
    number = -1

    def is_mine(name: str) -> bool:
        nonlocal number
        if re.search(work.pattern, name) is None:
            return False
        number += 1
        return number % work.parts == work.part

    for policy in work.policies:
        ready, data = compiled(policy), freeze(policy.data())
        numbered += [
            (number, run_rego_test(ready, rego_test, data, clock))
            for rego_test in rego_tests(ready.modules)
            if is_mine(rego_test.name)
        ]
        for path in policy.cases:
            numbered += asyncio.run(_run_cases(path, policy, is_mine, lambda: number))
    return numbered


async def _run_cases(
    path: Path, policy: PolicyFiles, is_mine: Callable[[str], bool], number: Callable[[], int]
) -> list[tuple[int, Result]]:
    file, clock = load_cases(path), SystemClock()
    settings = policy.settings
    bench = CaseBench(file, None if settings is None else policy_config(settings, is_verified=policy.is_verified))
    mine = [(number(), case) for case in file.cases if is_mine(case.name)]
    return [(place, await _run_case(case, bench, clock)) for place, case in mine]


async def _run_case(case: Case, bench: CaseBench, clock: SystemClock) -> Result:
    try:
        return await run_case(case, bench.ask, clock)
    except Malformed as error:
        return Result(name=case.name, location=case.location, status=Status.ERROR, message=str(error))


# --- watching ------------------------------------------------------------------------------------------------------


async def _watch(globals_: Globals, files: Sequence[Path], once: Callable[[], int]) -> None:
    """Run, wait for a change, run again. Ends with Ctrl-C."""
    seen: Mapping[str, tuple[int, int]] | None = None
    while True:
        now = footprint(globals_, files)
        if now != seen:
            seen = now
            click.clear()
            try:
                once()
            except (click.ClickException, Malformed, OSError, ValueError) as error:
                click.echo(f"watchkey: {printable_lines(str(error))}", err=True)
            click.echo(faint("waiting for a change; Ctrl-C ends"))
        await SystemClock().sleep(LOOK_EVERY)


def footprint(globals_: Globals, files: Sequence[Path]) -> Mapping[str, tuple[int, int]]:
    """Size and time of change of everything that may matter: the named files, or what lies beside the configuration."""
    roots = list(files) or [(globals_.config or Path("watchkey.yaml")).parent]
    found: dict[str, tuple[int, int]] = {}
    for root in roots:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.suffix in {".rego", ".yaml", ".yml", ".json", ".gz", ".tgz"} and path.is_file():
                status = path.stat()
                found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


# --- saying it -----------------------------------------------------------------------------------------------------

_MARKS: Final = {Status.PASSED: good("passed"), Status.FAILED: bad("FAILED"), Status.ERROR: bad("ERROR")}


def _words(results: Sequence[Result], *, is_verbose: bool) -> Iterator[str]:
    file = None
    for result in results:
        if result.status is Status.PASSED and not is_verbose:
            continue
        if result.location.file != file:
            file = result.location.file
            yield shown(Path(file)) if file else "<query>"
        yield f"  {_MARKS.get(result.status, faint('skipped'))} {result.location.line}: {printable(result.name)}"
        if result.message:
            yield f"    {printable(result.message)}"
        yield from (faint(f"    {printable(line)}") for line in result.prints)
    yield _summary(results)


def _summary(results: Sequence[Result]) -> str:
    counts = {status: sum(result.status is status for result in results) for status in Status}
    parts = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "no test was found"
    is_fine = _exit_code(results) == EXIT_OK
    return f"{good('fine') if is_fine else bad('wrong')}: {parts}"


def _json(results: Sequence[Result]) -> Mapping[str, Any]:
    return {
        "ok": _exit_code(results) == EXIT_OK,
        "results": [
            {
                "name": result.name,
                "file": result.location.file,
                "line": result.location.line,
                "status": result.status,
                "message": result.message,
                "prints": result.prints,
                "seconds": result.seconds,
            }
            for result in results
        ],
    }
