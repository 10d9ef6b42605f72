"""Adapters by name: sources, targets, the audit log and its keys, callers."""

import importlib
import logging
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from watchkey import sources, targets
from watchkey.identities import api_token
from watchkey.identities.api_token import hash_token, make_token
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock, IdentityVerifier, Source, Target
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Links
from watchkey.rules.located import ConfigError, Located
from watchkey.settings import Settings
from watchkey.stores import sqlite
from watchkey.stores.sqlite import AuditReader, SqliteStore
from watchkey.wiring.clocks import SystemClock

log = logging.getLogger("watchkey.wiring")


def source_configs() -> Mapping[str, type[msgspec.Struct]]:
    """The `Config` of every kind of source there is; a kind is the name of its file under `sources/`."""
    return {kind: _source_module(kind).Config for kind in source_kinds()}


def source_kinds() -> Sequence[str]:
    """The kinds of sources: the files under `sources/`."""
    return sorted(module.name for module in pkgutil.iter_modules(sources.__path__) if not module.name.startswith("_"))


def _source_module(kind: str) -> Any:
    if kind not in source_kinds():
        raise Refused(f"there is no kind of source {kind!r}; there is {', '.join(source_kinds())}")
    return importlib.import_module(f"{sources.__name__}.{kind}")


def build_source(settings: Settings, name: SourceName, clock: Clock) -> Source:
    """One configured source. Raises `ConfigError` for its section, `Refused` for an unknown kind."""
    return _source(settings, name, clock)[0]


def _source(settings: Settings, name: SourceName, clock: Clock) -> tuple[Source, Sequence[Secret]]:
    section = settings.sources[name]
    module = _source_module(section.kind)
    config = settings.convert(section.section, module.Config)
    source: Source = module.build(config, name=name, clock=clock)
    return source, tuple(getattr(config, "webhook_keys", ()))


def sources_of(settings: Settings, clock: Clock) -> tuple[list[Source], dict[SourceName, Sequence[Secret]]]:
    """All configured sources, and the keys of those that send webhooks. Raises as `build_source`."""
    built = {name: _source(settings, name, clock) for name in settings.sources}
    return [source for source, _ in built.values()], {name: keys for name, (_, keys) in built.items() if keys}


def target_kinds() -> Sequence[str]:
    """The kinds of targets: the files under `targets/`."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__) if not module.name.startswith("_"))


def build_targets(settings: Settings, clock: Clock) -> dict[ResourceId, Target]:
    """The target of every resource that has a `target` section; connects to none yet. Raises `ConfigError`."""
    built: dict[ResourceId, Target] = {}
    for name, resource in settings.resources.items():
        section = settings.target(name)
        if section is None or not resource.target:
            continue
        built[name] = _target(settings, name, resource.kind, section, clock)
    return built


def target_problems(settings: Settings, clock: Clock) -> tuple[ConfigError, ...]:
    """Why targets could not be built, with the place in the file."""
    problems: list[ConfigError] = []
    for name, resource in settings.resources.items():
        section = settings.target(name)
        if section is None or not resource.target:
            continue
        try:
            _target(settings, name, resource.kind, section, clock)
        except ConfigError as error:
            problems += error.all
        except Refused as error:
            problems.append(section.error((), str(error)))
    return tuple(problems)


def _target(settings: Settings, name: ResourceId, kind: str, section: Located, clock: Clock) -> Target:
    if kind not in target_kinds():
        raise Refused(f"{name}: there is no kind of target {kind!r}; there is {', '.join(target_kinds())}")
    module: Any = importlib.import_module(f"{targets.__name__}.{kind}")
    target: Target = module.build(settings.convert(section, module.Config), name=name, clock=clock)
    return target


def bare_postgres_target(url: str, password: Secret, clock: Clock) -> Target:
    """A database by its URL alone, without configuration: enough to look and to reap. Raises `Refused`."""
    from watchkey.targets import postgres  # noqa: PLC0415 -- the driver takes 60 ms that no other command must pay

    return postgres.build(postgres.config_of(url, password), name="reaper", clock=clock)


def verifier_of(settings: Settings, clock: Clock) -> IdentityVerifier:
    """Who may ask, by their tokens."""
    callers = tuple((entry.caller, entry.token_hashes) for entry in settings.callers.values())
    return api_token.build(api_token.Config(callers=callers), name="callers", clock=clock)


def directory_of(settings: Settings) -> Directory:
    """Resources, links and groups; a link that is ambiguous leaves a line in the log and links nobody."""
    links = Links(settings.links)
    for problem in links.problems:
        log.warning("link.ambiguous", extra={"why": problem.why})
    return Directory(resources=settings.resources, links=links, groups=settings.groups, dependents=settings.dependents)


def audit_store(settings: Settings) -> SqliteStore:
    """The configured store, not yet open. Raises port errors."""
    storage = settings.storage
    config = sqlite.Config(
        path=str(storage.path),
        key=sqlite.read_key(storage.key_file),
        checkpoint="" if storage.checkpoint is None else str(storage.checkpoint),
        checkpoint_interval=storage.section.checkpoint_interval,
        reserve_mib=storage.section.reserve_mib,
    )
    return sqlite.build(config, name="sqlite", clock=SystemClock())


def open_audit_reader(database: Path) -> AuditReader:
    """A view of an audit log that cannot change it. Raises port errors."""
    return AuditReader(database)


def create_audit_key(path: Path, origin: str) -> None:
    """Make the key that signs the log `origin`, in a new file of mode 0600. Raises port errors."""
    sqlite.create_key(path, origin)


def make_caller_token() -> tuple[Secret, str]:
    """A new token for a caller, and the hash that the configuration keeps of it."""
    token = make_token()
    return token, hash_token(token)
