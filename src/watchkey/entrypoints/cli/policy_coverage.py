"""`watchkey policy coverage`: which lines of a policy its tests run, those in Rego and the cases in YAML."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_MISUSE,
    EXIT_OK,
    Globals,
    bad,
    emit,
    examples,
    json_option,
    pass_globals,
    table,
)
from watchkey.entrypoints.cli.policy_eval import compiled, emit_errors
from watchkey.entrypoints.cli.policy_files import PolicyFiles, dialect_option, policies_of
from watchkey.flows.test_policy import Coverage, Status, coverage_of, rego_tests, renamed, run_case, run_rego_test
from watchkey.rego import RegoErrors, Trace, freeze
from watchkey.settings.cases import CaseFile, load_cases
from watchkey.wiring import CaseBench, SystemClock, policy_config


@examples(
    ("watchkey policy coverage policies/", "each file, with the lines that no test runs"),
    ("watchkey policy coverage --least 100 policies/", "exit code 1 when a line is missed"),
)
@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--least", type=click.FloatRange(0, 100), default=0.0, help="The share of lines, in percent, that must run."
)
@dialect_option
@json_option
@pass_globals
@click.pass_context
def coverage(
    ctx: click.Context, globals_: Globals, files: tuple[Path, ...], *, least: float, dialect: str | None, as_json: bool
) -> None:
    """Run the tests and the cases, and tell which lines of the policy they run.

    Exit code 0 fine, 1 fewer lines than --least or a test failed, 2 the policy cannot be used or has no test.
    """
    traces: list[Trace] = []
    try:
        statuses = [status for one in policies_of(globals_, files, dialect) for status in _run(one, traces)]
    except RegoErrors as problem:
        emit_errors(problem, as_json=as_json)
        ctx.exit(EXIT_MISUSE)
    covered = coverage_of(traces)
    total = Coverage(
        file="",
        lines=frozenset(i for i, _ in enumerate(_each(covered))),
        ran=frozenset(i for i, ran in enumerate(_each(covered)) if ran),
    )
    failed = sum(status not in {Status.PASSED, Status.SKIPPED} for status in statuses)
    answer = {
        "percent": round(total.percent, 2),
        "failed": failed,
        "files": [{"file": one.file, "percent": round(one.percent, 2), "missed": one.missed} for one in covered],
    }

    def words() -> str:
        rows = [(one.file, f"{one.percent:.1f} %", _spans(one.missed)) for one in covered]
        shown = table(("file", "lines run", "missed"), [*rows, ("all", f"{total.percent:.1f} %", "")])
        return shown + (f"\n{bad('wrong')}: {failed} tests failed; `watchkey policy test` says which" if failed else "")

    emit(answer, as_json=as_json, text=words)
    if not statuses:
        ctx.exit(EXIT_MISUSE)
    ctx.exit(EXIT_DENY if failed or total.percent < least else EXIT_OK)


def _run(policy: PolicyFiles, traces: list[Trace]) -> Iterator[Status]:
    ready, data, clock = compiled(policy), freeze(policy.data()), SystemClock()
    for test in rego_tests(ready.modules):
        yield run_rego_test(ready, test, data, clock, trace_into=traces).status
    names = {text: name for name, text in policy.modules.items()}
    for path in policy.cases:
        own: list[Trace] = []
        config = None if policy.settings is None else policy_config(policy.settings, is_verified=policy.is_verified)
        bench = CaseBench(file := load_cases(path), config, traces=own)
        yield from asyncio.run(_answered(bench, file, clock))
        called = {name: names.get(text, name) for name, text in bench.modules.items()}
        traces += [renamed(trace, called) for trace in own]


async def _answered(bench: CaseBench, file: CaseFile, clock: SystemClock) -> list[Status]:
    return [(await run_case(case, bench.ask, clock)).status for case in file.cases]


def _each(covered: Sequence[Coverage]) -> Iterator[bool]:
    for one in covered:
        yield from (line in one.ran for line in sorted(one.lines))


def _spans(lines: Sequence[int]) -> str:
    """`3, 7-9`."""
    spans: list[list[int]] = []
    for line in lines:
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
