"""`watchkey policy eval` and `explain`: ask policy files something, and learn which rule held or what stopped it."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from watchkey.entrypoints.cli.decisions import read_instant
from watchkey.entrypoints.cli.output import (
    EXIT_DENY,
    EXIT_MISUSE,
    EXIT_OK,
    EXIT_UNKNOWN,
    Globals,
    emit,
    examples,
    faint,
    json_option,
    pass_globals,
    to_json,
)
from watchkey.entrypoints.cli.policy_check import error_json, printable_lines
from watchkey.entrypoints.cli.policy_files import PolicyFiles, dialect_option, json_or_yaml, policies_of, read, shipped
from watchkey.flows.check_policy import host_functions, rego_dialect, rego_dialects
from watchkey.rego import (
    UNDEFINED,
    EvaluationError,
    Limits,
    MalformedValue,
    Policy,
    Query,
    RegoErrors,
    Result,
    Trace,
    compile_modules,
    freeze,
)
from watchkey.rego import to_json as plain
from watchkey.rules.policy_input import nanoseconds
from watchkey.settings.load import DEFAULT_NAME
from watchkey.wiring import SystemClock

LIMITS: Final = Limits(steps=20_000_000)
"""Trying things out may take more than a decision, and still ends."""


_Asked = TypeVar("_Asked", bound=Callable[..., Any])


def asking(function: _Asked) -> _Asked:
    """Decorator: the arguments of a command that evaluates something."""
    for option in (
        json_option,
        dialect_option,
        click.option("--at", "instant", metavar="INSTANT", help="What time.now_ns says, RFC 3339; now if left out."),
        click.option("--policy", "name", metavar="NAME", help="Which policy of the configuration, if it has several."),
        click.option(
            "-d", "--data", "data_files", multiple=True, type=click.Path(exists=True, path_type=Path), help="More data."
        ),
        click.option(
            "-i", "--input", "input_file", metavar="FILE", help="The input, JSON or YAML; - is standard input."
        ),
        click.option(
            "--strict-errors/--lenient-errors",
            "is_strict",
            default=None,
            help="An error of a built-in ends the evaluation, or is undefined; left out: as in a decision.",
        ),
        click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path)),
    ):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of which policy."""

    policy: PolicyFiles
    query: str
    input_file: str | None
    instant: str | None
    is_strict: bool


@examples(
    ("watchkey policy eval data.watchkey.decision --input question.json", "the policy that ships"),
    ("watchkey policy eval data.authz.allow policies/ -i - < input.json", "files, with the input from standard input"),
    ("watchkey policy eval 'x := 1 + 1'", "any query: one line for each solution"),
)
@click.command("eval")
@click.argument("query")
@asking
@pass_globals
@click.pass_context
def eval_(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    query: str,
    files: tuple[Path, ...],
    *,
    input_file: str | None,
    data_files: tuple[Path, ...],
    name: str | None,
    instant: str | None,
    dialect: str | None,
    is_strict: bool | None,
    as_json: bool,
) -> None:
    """Evaluate QUERY against FILES, or against a policy of the configuration.

    Requests that a policy of dialect cyral makes are not answered here; `watchkey explain` and cases answer them.

    Exit code 0 there is a value, 1 it is undefined, 2 query or policy are wrong, 3 the evaluation ended without answer.
    """
    policy = _one(_policies(globals_, (*files, *data_files), dialect), name)
    question = Question(
        policy=policy, query=query, input_file=input_file, instant=instant, is_strict=_strict(policy, is_strict)
    )
    prepared, is_single, result = _evaluated(question, as_json=as_json)
    prints = [f"{where}: {line}" for where, line in result.prints]
    for line in prints:
        click.echo(faint(printable_lines(line)), err=True)
    rows = None if is_single else [dict(zip(prepared.names, map(plain, row), strict=True)) for row in result.value]
    answer = _answer(result.json() if is_single and result.defined else None, rows, is_defined=result.defined)
    click.echo(to_json(answer | {"prints": prints, "steps": result.steps}) if as_json else _words(answer))
    ctx.exit(EXIT_OK if answer["defined"] else EXIT_DENY)


@examples(
    ("watchkey policy explain data.watchkey.decision -i question.json", "why the shipped policy answers as it does"),
    ("watchkey policy explain data.authz.allow policies/ -i input.json --json", "everything, for a program"),
)
@click.command("explain")
@click.argument("rule")
@asking
@pass_globals
@click.pass_context
def explain(  # noqa: PLR0913 -- one argument an option
    ctx: click.Context,
    globals_: Globals,
    rule: str,
    files: tuple[Path, ...],
    *,
    input_file: str | None,
    data_files: tuple[Path, ...],
    name: str | None,
    instant: str | None,
    dialect: str | None,
    is_strict: bool | None,
    as_json: bool,
) -> None:
    """Why RULE, such as data.authz.allow, holds or not.

    Tells the rules that held and, for those that did not, the expression that stopped the nearest one, with the values
    that it saw. Exit codes as `eval`.
    """
    policy = _one(_policies(globals_, (*files, *data_files), dialect), name)
    question = Question(
        policy=policy, query=rule, input_file=input_file, instant=instant, is_strict=_strict(policy, is_strict)
    )
    _, is_single, result = _evaluated(question, as_json=as_json, is_traced=True)
    if not is_single or result.trace is None:
        raise click.UsageError("only a rule can be explained, such as data.authz.allow; `eval` takes any query")
    answer = {
        "defined": result.defined,
        "value": result.json() if result.defined else None,
        "why": [step.json() for step in result.trace.explain(rule)],
        "trace": result.trace.json(),
    }
    emit(answer, as_json=as_json, text="\n".join(_why(rule, result, result.trace)))
    ctx.exit(EXIT_OK if result.defined else EXIT_DENY)


def _strict(policy: PolicyFiles, said: bool | None) -> bool:  # noqa: FBT001 -- an option of three states
    """As the command says; left out, as the service has it."""
    return said if said is not None else policy.settings is None or policy.settings.is_strict


def _why(rule: str, result: Result, trace: Trace) -> Iterator[str]:
    yield f"{rule} is {to_json(result.json())}" if result.defined else f"{rule} is undefined"
    steps = trace.explain(rule)
    others = [one for one in (*trace.held(), *trace.failed()) if one not in steps]
    for step in (*steps, *others):
        yield printable_lines(f"  {step}")


def _evaluated(question: Question, *, as_json: bool, is_traced: bool = False) -> tuple[Query, bool, Result]:
    """Evaluate, or say why not and leave with the exit code for it."""
    at = SystemClock().now() if question.instant is None else read_instant(question.instant)
    try:
        prepared, is_single = _prepared(question.policy, question.query)
        result = prepared.evaluate(
            UNDEFINED if question.input_file is None else _input(question.input_file),
            freeze(question.policy.data()),
            now_ns=nanoseconds(at),
            limits=LIMITS,
            strict_builtin_errors=question.is_strict,
            trace=is_traced,
        )
    except RegoErrors as problem:
        emit_errors(problem, as_json=as_json)
        raise click.exceptions.Exit(EXIT_MISUSE) from None
    except MalformedValue as error:
        raise click.UsageError(str(error)) from None
    except EvaluationError as error:
        click.echo(f"watchkey: {printable_lines(str(error))}", err=True)
        raise click.exceptions.Exit(EXIT_UNKNOWN) from None
    return prepared, is_single, result


def _policies(globals_: Globals, files: Sequence[Path], dialect: str | None) -> list[PolicyFiles]:
    """Of the files or the configuration; where there is neither, the one that ships: a query needs no set-up."""
    if not files and dialect is None and globals_.config is None and not Path(DEFAULT_NAME).exists():
        return [shipped()]
    return policies_of(globals_, files, dialect)


def _one(policies: list[PolicyFiles], name: str | None) -> PolicyFiles:
    if name is None and len(policies) == 1:
        return policies[0]
    names = ", ".join(one.name for one in policies)
    found = next((one for one in policies if one.name == name), None)
    if found is None:
        raise click.UsageError(f"--policy must say which of those that are here: {names}")
    return found


def compiled(policy: PolicyFiles) -> Policy:
    """The policy, ready to be asked. Raises RegoErrors."""
    return compile_modules(
        policy.modules,
        dialect=rego_dialects(policy.modules, policy.dialect, policy.versions),
        host_functions=host_functions(policy.dialect),
    )


def _prepared(policy: PolicyFiles, text: str) -> tuple[Query, bool]:
    """The query, and whether it asks for one value rather than for solutions."""
    ready = compiled(policy)
    try:
        return ready.query(text), True
    except RegoErrors:
        return ready.bindings_query(text, dialect=rego_dialect(policy.dialect)), False


def _input(file: str) -> Any:
    text = sys.stdin.read() if file == "-" else read(Path(file))
    return json_or_yaml(text, "standard input" if file == "-" else file)


def emit_errors(problem: RegoErrors, *, as_json: bool) -> None:
    """Print compile errors."""
    if as_json:
        click.echo(to_json({"errors": [error_json(error) for error in problem.errors]}))
    else:
        click.echo(printable_lines(str(problem)), err=True)


def _answer(value: Any, rows: list[dict[str, Any]] | None, *, is_defined: bool) -> dict[str, Any]:
    if rows is None:
        return {"defined": is_defined, "value": value}
    return {"defined": bool(rows), "solutions": rows}


def _words(answer: Mapping[str, Any]) -> str:
    if not answer["defined"]:
        return "undefined"
    if "value" in answer:
        return to_json(answer["value"])
    return "\n".join(
        ", ".join(f"{name} = {to_json(value)}" for name, value in row.items()) or "true" for row in answer["solutions"]
    )
