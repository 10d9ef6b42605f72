"""Compiles and evaluates small policies for the tests of the engine."""

from __future__ import annotations

from typing import Any

from watchkey.rego import UNDEFINED, Dialect, Limits, Policy, RegoErrors, compile_modules, freeze

PACKAGE = "package t\n\n"


def policy(text: str, **options: Any) -> Policy:
    """A policy of one file, in package t."""
    return compile_modules({"t.rego": PACKAGE + text}, **options)


def value(text: str, given: Any = UNDEFINED, data: Any = None, *, query: str = "data.t.p", **options: Any) -> Any:
    """The frozen value of a query, by default of the rule p."""
    limits = options.pop("limits", Limits())
    prepared = policy(text, **options).query(query)
    return prepared.evaluate(given, freeze(data or {}), now_ns=1_700_000_000_000_000_000, limits=limits).value


def answer(text: str, given: Any = UNDEFINED, data: Any = None, **options: Any) -> Any:
    """The value as plain Python; None where it is undefined."""
    from watchkey.rego import to_json

    found = value(text, given, data, **options)
    return None if found is UNDEFINED else to_json(found)


def errors(text: str, *, dialect: Dialect = Dialect.V1, **options: Any) -> list[str]:
    """``line:column code message`` of each error, the package line not counted."""
    try:
        policy(text, dialect=dialect, **options)
    except RegoErrors as problem:
        lines = PACKAGE.count("\n")
        return [f"{each.line - lines}:{each.column} {each.code} {each.message}" for each in problem.errors]
    return []


def codes(text: str, **options: Any) -> list[str]:
    """The codes of all errors, without repetitions."""
    return sorted({each.split(" ")[1] for each in errors(text, **options)})
