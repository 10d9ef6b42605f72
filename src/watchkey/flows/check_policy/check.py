"""Find everything that is wrong with a policy before it decides: what the compiler says, and this domain's traps."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from watchkey.flows.check_policy.findings import Finding
from watchkey.flows.check_policy.sight import see
from watchkey.flows.check_policy.traps_answers import answer_traps
from watchkey.flows.check_policy.traps_facts import fact_traps
from watchkey.flows.check_policy.traps_requests import data_secrets, request_traps
from watchkey.rego import (
    UNDEFINED,
    Dialect,
    HostFunction,
    Location,
    RegoError,
    RegoErrors,
    compile_modules,
    normalise_spaces,
)
from watchkey.rego.ast import Module
from watchkey.rego.parse_modules import parse_module
from watchkey.rego.source import Source, is_odd_space
from watchkey.rules.located import ConfigError, load

DIALECTS: Final = ("v1", "v0", "cyral")
RULES: Final = (
    "level-floor", "level-negated", "cross-type", "text-time", "closed-end", "mail-identity", "mail-case", "first-only",
    "permanent-on-call", "no-responders", "no-scope", "network", "get-body", "no-accept", "one-page", "status-unread",
    "secret-in-data", "default-allow", "ttl-constant", "v0-syntax", "no-provenance", "one-answer", "no-reason",
)  # fmt: skip
"""The names of all traps."""

_SILENCED: Final = re.compile(r"#\s*watchkey: allow ([a-z0-9-]+(?:, [a-z0-9-]+)*): \S")
"""`# watchkey: allow first-only: the source gives at most one`, in the line or in the one before. It needs a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a check found, each in the order of the files."""

    errors: tuple[RegoError, ...]
    """The policy cannot be used because of these."""
    findings: tuple[Finding, ...]
    odd_spaces: Mapping[str, int]
    """File -> how many blanks it has that Rego does not know, such as no-break spaces."""


def check_policy(
    modules: Mapping[str, str],
    *,
    dialect: str = "v1",
    versions: Mapping[str, str] | None = None,
    is_strict: bool = False,
    input_schema: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    ignored: Collection[str] = (),
) -> Report:
    """Check the modules of one policy, given by file name; `data` are its data files as text.

    `dialect` is one of DIALECTS, `versions` those of single modules that differ, by name. `input_schema` is a JSON
    Schema of the input, by which references that it does not have become errors. `ignored` are names of traps. A file
    with odd blanks is an error, and its traps are reported all the same, as they would be with ordinary ones.
    """
    odd = {name: count for name, text in modules.items() if (count := normalise_spaces(text)[1])}
    languages = rego_dialects(modules, dialect, versions or {})
    errors = _compile_errors(modules, dialect, languages, input_schema, is_strict=is_strict)
    errors = [*(_space_error(name, modules[name], count) for name, count in odd.items()), *_without(errors, odd)]
    parsed = list(_parsed({name: normalise_spaces(text)[0] for name, text in modules.items()}, languages))
    sight = see(parsed)
    found = [*fact_traps(sight), *request_traps(sight), *answer_traps(sight, parsed)]
    for name, text in (data or {}).items():
        data_errors, data_findings = _data(name, text)
        errors += data_errors
        found += data_findings
    kept = [one for one in found if one.rule not in ignored and not _is_silenced(one, modules)]
    order = {name: i for i, name in enumerate([*modules, *(data or {})])}
    kept.sort(key=lambda one: (order[one.location.file], one.location.line, one.location.column))
    return Report(errors=tuple(errors), findings=tuple(kept), odd_spaces=odd)


def host_functions(dialect: str) -> Mapping[str, HostFunction]:
    """What a policy of that dialect may call besides the built-ins; nothing answers here."""
    return {"http.send": HostFunction(function=lambda *_: UNDEFINED)} if dialect == "cyral" else {}


def rego_dialect(dialect: str) -> Dialect:
    """The version of the language that a dialect is written in."""
    return Dialect.V1 if dialect == "v1" else Dialect.V0


def rego_dialects(modules: Iterable[str], dialect: str, versions: Mapping[str, str]) -> dict[str, Dialect]:
    """The version of the language of each module, by name."""
    return {name: rego_dialect(versions.get(name, dialect)) for name in modules}


def _compile_errors(
    modules: Mapping[str, str],
    dialect: str,
    languages: Mapping[str, Dialect],
    input_schema: Mapping[str, Any] | None,
    *,
    is_strict: bool,
) -> list[RegoError]:
    try:
        compile_modules(
            modules,
            dialect=languages,
            strict=is_strict,
            host_functions=host_functions(dialect),
            input_schema=input_schema,
        )
    except RegoErrors as problem:
        return list(problem.errors)
    return []


def _without(errors: list[RegoError], odd: Mapping[str, int]) -> Iterator[RegoError]:
    """The errors without those about blanks, which one line for each file says better."""
    return (error for error in errors if error.file not in odd or error.code != "rego_parse_error")


def _space_error(name: str, text: str, count: int) -> RegoError:
    source = Source(name, text)
    at = next(i for i, char in enumerate(text) if is_odd_space(char))
    places = "1 blank is" if count == 1 else f"{count} blanks are"
    return source.error(
        "rego_parse_error",
        f"{places} not a plain space, the first being U+{ord(text[at]):04X}, as text copied from a web page has them",
        at,
        hint="`watchkey policy fmt-check --normalise FILE` writes a copy with plain spaces",
    )


def _parsed(modules: Mapping[str, str], languages: Mapping[str, Dialect]) -> Iterator[Module]:
    """What can be parsed; the compiler tells of the rest."""
    for name, text in modules.items():
        for version in (languages[name], Dialect.V0):
            try:
                yield parse_module(name, text, str(version))
            except RegoErrors:
                continue
            break


def _data(name: str, text: str) -> tuple[list[RegoError], list[Finding]]:
    try:
        return [], list(data_secrets(load(text, name)))
    except ConfigError as error:
        if _is_json(text):  # which our YAML is stricter than: its numbers may be longer
            return [], []
        place = Location(file=name, line=error.line, column=error.column)
        return [RegoError(code="data_error", message=error.message, location=place)], []


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_silenced(finding: Finding, modules: Mapping[str, str]) -> bool:
    lines = modules.get(finding.location.file, "").split("\n")
    near = lines[max(0, finding.location.line - 2) : finding.location.line]
    return any(finding.rule in found[1].split(", ") for line in near if (found := _SILENCED.search(line)))
