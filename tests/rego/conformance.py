"""Runs OPA's conformance cases against the engine: as a command that prints a table, and for the test suite.

Usage: ``python -m tests.rego.conformance [--cases PATH] [--failures N]``. PATH (or the environment variable OPA_CASES)
is a ``.jsonl`` file, a folder of them, or a checkout of OPA's YAML test data.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from watchkey.rego import (
    BuiltinError,
    Dialect,
    EvaluationError,
    HostFunction,
    Limits,
    RegoErrors,
    compile_modules,
    freeze,
)
from watchkey.rego.values import UNDEFINED, Object, json_text, parse_json, sort_values

DEFAULT_CASES = Path(__file__).parents[3] / "shared" / "contracts" / "rego"
EXCEPTIONS = Path(__file__).with_name("conformance_exceptions.yaml")
_LIMITS = Limits(steps=20_000_000)


class _Yaml(yaml.SafeLoader):
    """YAML in which `on`, `off`, `yes` and `no` are text, as for OPA."""


_Yaml.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of OPA's, and the dialect of its modules."""

    dialect: Dialect
    content: dict[str, Any]

    @property
    def category(self) -> str:
        """The folder that OPA keeps it in."""
        return str(self.content.get("cat") or self.content["note"].split("/")[0])

    @property
    def identity(self) -> str:
        """Dialect and note; what the list of exceptions names."""
        return f"{self.dialect}:{self.content['note']}"


def load(path: Path) -> list[Case]:
    """Every case in a .jsonl file, a folder of them, or a folder of OPA's YAML files."""
    if path.is_file():
        return list(_from_jsonl(path))
    cases = [case for each in sorted(path.glob("*.jsonl")) for case in _from_jsonl(each)]
    return cases or [case for each in sorted(path.rglob("*.yaml")) for case in _from_yaml(each)]


def _from_jsonl(path: Path) -> Iterator[Case]:
    dialect = Dialect.V0 if "v0" in path.stem else Dialect.V1
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield Case(dialect=dialect, content=json.loads(line))


def _from_yaml(path: Path) -> Iterator[Case]:
    dialect = Dialect.V0 if "v0" in path.parts else Dialect.V1
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Yaml)  # noqa: S506 - a subclass of SafeLoader
    for content in (document or {}).get("cases", []):
        yield Case(dialect=dialect, content={"cat": path.parent.name, **content})


def run(case: Case) -> str:
    """Nothing where the case passes, else what went wrong."""
    content = case.content
    wanted_error = content.get("want_error_code") or content.get("want_error")
    try:
        rows = _evaluate(case)
    except RegoErrors as problem:
        return _judge_error(content, problem.errors[0].code, str(problem), compile_time=True)
    except EvaluationError as problem:
        return _judge_error(content, problem.code, _as_opa_says(problem), compile_time=False)
    except Exception:  # noqa: BLE001 - a crash of the engine is a failed case, and the others must still run
        return "crash: " + traceback.format_exc(limit=-3)
    if wanted_error:
        return f"wanted error {wanted_error}, got {_shown(rows)}"
    wanted = content.get("want_result")
    if wanted is None:
        return ""
    sort = bool(content.get("sort_bindings"))
    got, want = _comparable(rows, sort=sort), _comparable(parse_json(json.dumps(wanted)), sort=sort)
    return "" if got == want else f"wanted {json.dumps(wanted)[:300]}, got {_shown(rows)[:300]}"


def _judge_error(content: dict[str, Any], code: str, message: str, *, compile_time: bool) -> str:
    wanted = content.get("want_error_code")
    if not wanted and not content.get("want_error"):
        return f"{'compile' if compile_time else 'evaluation'} error: {message}"
    if wanted and code != wanted:
        return f"wanted error {wanted}, got {code}: {message}"
    text = content.get("want_error") or ""
    return "" if text in message else f"wanted error text {text!r}, got {message!r}"


def _as_opa_says(problem: EvaluationError) -> str:
    return f"{problem.location.file}:{problem.location.line}: {problem.code}: {problem.message}"


def _absent(*_: object) -> Any:
    message = "the conformance run supplies no host functions"
    raise BuiltinError(message)


_HOSTS = {
    "http.send": HostFunction(function=_absent),
    "opa.runtime": HostFunction(function=lambda _host: {}),
}
"""Supplied where a case replaces these functions; elsewhere they are unknown, as they are to any policy."""


def _evaluate(case: Case) -> tuple[Any, ...]:
    content = case.content
    sources = {f"test-{index}.rego": text for index, text in enumerate(content.get("modules") or [])}
    replaced = {
        name: host for name, host in _HOSTS.items() if any(f"with {name} as" in text for text in sources.values())
    }
    hosts = {**replaced, **({"opa.runtime": _HOSTS["opa.runtime"]} if "as opa.runtime" in str(sources) else {})}
    policy = compile_modules(sources, dialect=case.dialect, host_functions=hosts, seeded=True)
    query = policy.bindings_query(content["query"], dialect=case.dialect)
    document: Any = UNDEFINED
    if "input_term" in content:
        document = policy.evaluate_query("x = " + content["input_term"])[0]["x"]
    elif "input" in content:
        document = parse_json(json.dumps(content["input"]))
    result = query.evaluate(
        document,
        freeze(content.get("data") or {}),
        now_ns=1_764_000_000_000_000_000,
        seed=b"conformance",
        limits=_LIMITS,
        strict_builtin_errors=bool(content.get("strict_error")),
    )
    names = [name for name in query.names if not name.startswith("_")]
    picked = [query.names.index(name) for name in names]
    return tuple(Object({names[n]: row[at] for n, at in enumerate(picked)}) for row in result.value)


def _comparable(rows: Iterable[Any], *, sort: bool) -> Any:
    """The rows as a set of JSON values; with `sort` the arrays bound to variables are sorted."""
    found = set()
    for row in rows:
        document = parse_json(json_text(row))
        if sort:
            document = Object(
                {name: tuple(sort_values(value)) if type(value) is tuple else value for name, value in document.items()}
            )
        found.add(document)
    return found


def _shown(rows: Iterable[Any]) -> str:
    return "[" + ", ".join(json_text(row) for row in rows) + "]"


def exceptions() -> dict[str, str]:
    """The cases that do not pass, each with its reason."""
    if not EXCEPTIONS.exists():
        return {}
    listed = yaml.safe_load(EXCEPTIONS.read_text(encoding="utf-8")) or []
    return {identity: entry["reason"] for entry in listed for identity in entry["cases"]}


def find_cases(argument: str | None) -> Path | None:
    """The cases to run: the argument, OPA_CASES, or the default place; None where there is none."""
    chosen = argument or os.environ.get("OPA_CASES")
    path = Path(chosen) if chosen else DEFAULT_CASES
    return path if path.exists() else None


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a case neither passes nor is listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", help="a .jsonl file, a folder of them, or OPA's YAML test data")
    parser.add_argument("--failures", type=int, default=20, help="how many failures to show")
    parser.add_argument("--only", default="", help="run only categories that contain this text")
    options = parser.parse_args(arguments)
    path = find_cases(options.cases)
    if path is None:
        sys.stdout.write("no conformance cases here; name them with --cases or OPA_CASES\n")
        return 1
    listed = exceptions()
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    excused: Counter[str] = Counter()
    shown = 0
    for case in load(path):
        if options.only not in f"{case.dialect}:{case.category}":
            continue
        problem = run(case)
        if not problem:
            passed[case.category] += 1
        elif case.identity in listed:
            excused[case.category] += 1
        else:
            failed[case.category] += 1
            if shown < options.failures:
                shown += 1
                sys.stdout.write(f"FAIL {case.identity}\n     {problem}\n")
    _print_table(passed, excused, failed)
    return 1 if failed else 0


def _print_table(passed: Counter[str], excused: Counter[str], failed: Counter[str]) -> None:
    sys.stdout.write(f"{'category':40} {'passed':>7} {'listed':>7} {'failed':>7}\n")
    for category in sorted(passed | excused | failed):
        sys.stdout.write(f"{category:40} {passed[category]:7} {excused[category]:7} {failed[category]:7}\n")
    total = passed.total() + excused.total() + failed.total()
    sys.stdout.write(
        f"{total} cases: {passed.total()} passed, {excused.total()} listed as exceptions, {failed.total()} failed\n"
    )


if __name__ == "__main__":
    sys.exit(main())
