"""Which files make the policy that a `watchkey policy` command is about: those named, or those of the configuration."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from watchkey import wiring
from watchkey.entrypoints.cli.output import Globals, printable
from watchkey.flows.check_policy import DIALECTS
from watchkey.rules.located import load
from watchkey.rules.policy_bundle import PolicyBundle, merge_data, prefix_of
from watchkey.settings import PolicySettings, load_settings
from watchkey.settings.load import ENTRYPOINTS

_DATA_SUFFIXES: Final = (".json", ".yaml", ".yml")
_CASES_SUFFIXES: Final = (".yaml", ".yml")
_DATA_NAMES: Final = frozenset({"data.json", "data.yaml", "data.yml"})

dialect_option = click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="What the named files are written in: v1 (also when left out), v0, or cyral, which is v0 with the input and "
    "result of Cyral's policies.",
)
"""Decorator: the common `--dialect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFiles:
    """The texts of one policy, by the path that is shown to people."""

    name: str
    dialect: str
    entrypoint: str
    modules: Mapping[str, str]
    data_texts: Mapping[str, str] = field(default_factory=dict)
    prefixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where a data file stands under `data`: a `data.json` in a folder stands at that folder's path, as with OPA."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    cases: tuple[Path, ...] = ()
    """YAML files of cases."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The language of single modules, where a bundle says so."""
    is_verified: bool = True
    """False for a bundle that was named: its signature was not looked at."""
    settings: PolicySettings | None = None
    """The policy of the configuration, or the named bundle; cases are about it where they name no other."""

    def data(self) -> dict[str, Any]:
        """The data document. Raises `ConfigError` for a file that is no JSON or YAML, UsageError for a clash."""
        document: dict[str, Any] = {}
        for name, text in self.data_texts.items():
            value = json_or_yaml(text, name)
            if not isinstance(value, dict):
                raise click.UsageError(f"{name}: a data file holds an object")
            for step in reversed(self.prefixes.get(name, ())):
                value = {step: value}
            clash = merge_data(document, value)
            if clash is not None:
                raise click.UsageError(f"{name}: {clash!r} stands in another data file already")
        if self.parameters:
            document["policyparams"] = dict(self.parameters)
        return document


def policies_of(globals_: Globals, files: Sequence[Path], dialect: str | None) -> list[PolicyFiles]:
    """One policy of all named files, or every policy of the configuration (the one that ships, when it has none).

    One of the files may be a bundle. Raises port errors for one that cannot be read.
    """
    if files:
        return [_named(files, dialect or "v1")]
    if dialect is not None:
        raise click.UsageError("--dialect is about files that are named; a policy of the configuration has its own")
    configured = load_settings(globals_.config, are_secrets_read=False).policies
    away = [wiring.elsewhere(name, policy.remote) for name, policy in configured.items() if policy.remote is not None]
    here = [_configured(policy) for policy in configured.values() if policy.remote is None]
    if away and not here:
        raise click.UsageError("; ".join(away))
    for why in away:
        click.echo(f"watchkey: {printable(why)}", err=True)
    return here or [shipped()]


def shipped() -> PolicyFiles:
    """The policy that ships, with its tests."""
    names = ("default.rego", "default_test.rego")
    return PolicyFiles(
        name="default",
        dialect="v1",
        entrypoint=ENTRYPOINTS["v1"],
        modules={name: wiring.shipped_policy(name) for name in names},
    )


def _configured(policy: PolicySettings) -> PolicyFiles:
    tests = _sorted_out(policy.tests)
    if policy.bundle is not None:
        return _with_bundle(policy, wiring.open_bundle(policy.bundle, policy.verification), tests, is_verified=True)
    return PolicyFiles(
        name=policy.name,
        dialect=policy.dialect,
        entrypoint=policy.entrypoint,
        modules={shown(path): read(path) for path in (*policy.files, *tests.rego) if path.suffix == ".rego"},
        data_texts={shown(path): read(path) for path in (*policy.files, *tests.data) if path.suffix in _DATA_SUFFIXES},
        parameters=policy.parameters,
        cases=tests.cases,
        settings=policy,
    )


def _named(files: Sequence[Path], dialect: str) -> PolicyFiles:
    bundles = [path for path in files if is_bundle(path)]
    found = _sorted_out([path for path in files if path not in bundles])
    if bundles:
        return _named_bundle(bundles, found, dialect)
    return PolicyFiles(
        name="files",
        dialect=dialect,
        entrypoint=ENTRYPOINTS[dialect],
        modules={shown(path): read(path) for path in found.rego},
        data_texts={shown(path): read(path) for path in found.data},
        prefixes={shown(path): prefix for path, prefix in found.data.items()},
        cases=found.cases,
    )


def _named_bundle(bundles: Sequence[Path], others: "_Sorted", dialect: str) -> PolicyFiles:
    if len(bundles) > 1:
        raise click.UsageError("one bundle at a time: each is a whole policy")
    path = bundles[0]
    bundle = wiring.open_bundle(path, is_verified=False)
    if bundle.is_signed:
        why = "its signature is not looked at here; a policy of the configuration with `verification` is verified"
        click.echo(f"watchkey: {printable(str(path))}: {why}", err=True)
    policy = PolicySettings(
        name="files", files=(), dialect=dialect, entrypoint=ENTRYPOINTS[dialect], parameters={}, bundle=path
    )
    return _with_bundle(policy, bundle, others, is_verified=False)


def _with_bundle(policy: PolicySettings, bundle: PolicyBundle, others: "_Sorted", *, is_verified: bool) -> PolicyFiles:
    """The policy in a bundle, with files that stand beside it: tests, cases, data."""
    place = shown(policy.bundle or Path())
    more = {shown(path): read(path) for path in others.data}
    data = {f"{place}/{name}": text for name, text in bundle.data_texts.items()}
    return PolicyFiles(
        name=policy.name,
        dialect=policy.dialect,
        entrypoint=policy.entrypoint,
        modules={f"{place}/{name}": text for name, text in bundle.modules.items()}
        | {shown(path): read(path) for path in others.rego},
        data_texts=data | more,
        prefixes={f"{place}/{name}": prefix_of(name) for name in bundle.data_texts}
        | {shown(path): prefix for path, prefix in others.data.items()},
        parameters=policy.parameters,
        cases=others.cases,
        versions={f"{place}/{name}": version for name, version in wiring.versions_of(bundle).items()},
        is_verified=is_verified,
        settings=policy,
    )


def is_bundle(path: Path) -> bool:
    """Whether a file is an OPA bundle, by its name."""
    return path.name.endswith((".tar.gz", ".tgz")) and path.is_file()


@dataclass(slots=True)
class _Sorted:
    rego: list[Path]
    data: dict[Path, tuple[str, ...]]
    cases: tuple[Path, ...] = ()


def _sorted_out(paths: Sequence[Path]) -> _Sorted:
    found = _Sorted([], {})
    files = list(_expanded(paths))
    found.cases = tuple(path for path, _ in files if path.suffix in _CASES_SUFFIXES and is_cases(path))
    # A policy that cases bring along is theirs, and not a part of what stands in the same folder.
    theirs = {policy for path in found.cases for policy in _policy_files(path)}
    for path, prefix in files:
        is_wanted = prefix is None or path.resolve() not in theirs
        if path.suffix == ".rego":
            found.rego += [path] if is_wanted else []
        elif path.suffix in _DATA_SUFFIXES:
            if path not in found.cases and is_wanted and (prefix is None or path.name in _DATA_NAMES):
                found.data[path] = prefix or ()
        elif prefix is None:
            raise click.UsageError(f"{path}: not a .rego, .json, .yaml or .tar.gz file")
    return found


def _policy_files(cases: Path) -> Iterator[Path]:
    policy = load(read(cases), str(cases)).data.get("policy")
    files = policy.get("files") if isinstance(policy, dict) else None
    if isinstance(files, list):
        yield from ((cases.parent / str(file)).resolve() for file in files)


def _expanded(paths: Sequence[Path]) -> Iterator[tuple[Path, tuple[str, ...] | None]]:
    """Every file, folders searched; with its folder below the named one, None for a file that was named itself."""
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                below = file.relative_to(path)
                if file.is_file() and not any(part.startswith(".") for part in below.parts):
                    yield file, below.parts[:-1]
        else:
            yield path, None


def is_cases(path: Path) -> bool:
    """Whether a YAML file holds policy cases rather than data."""
    value = load(read(path), str(path)).data
    return isinstance(value, dict) and "cases" in value and "resources" in value


def read(path: Path) -> str:
    """The text of a file, its line ends as they are. Raises OSError, or UsageError when it is no text."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: not UTF-8 at byte {error.start}") from None


def json_or_yaml(text: str, name: str) -> Any:
    """The value of a text; JSON is read as JSON, whose numbers may be longer. Raises `ConfigError`."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return load(text, name).data
    except RecursionError:
        raise click.UsageError(f"{name}: it is nested too deeply") from None


def shown(path: Path) -> str:
    """The path as people read it: from here, when it is below here."""
    return os.path.relpath(path) if path.is_absolute() and path.is_relative_to(Path.cwd()) else str(path)
