"""From the files of a policy to an engine, and to one that may take over while the service runs."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from watchkey.engines import rego
from watchkey.model.errors import Malformed
from watchkey.ports import PolicyEngine
from watchkey.rules.located import ConfigError, load
from watchkey.settings import PolicySettings, Settings


def policy_names(settings: Settings) -> Sequence[str]:
    """Every policy that decides, and every one that stands beside it."""
    return tuple(
        dict.fromkeys([*(resource.policy for resource in settings.resources.values()), *settings.shadows.values()])
    )


def policy_configs(settings: Settings) -> dict[str, rego.Config]:
    """What the engine of each policy is given. Raises `Malformed`."""
    return {name: policy_config(settings.policies.get(name)) for name in policy_names(settings)}


def engines_of(settings: Settings) -> dict[str, PolicyEngine]:
    """The engine of each policy, without a number. Raises `Malformed`."""
    return {name: rego.build(config) for name, config in policy_configs(settings).items()}


def policy_engine(policy: PolicySettings | None) -> PolicyEngine:
    """The engine of a policy (None: the one that ships). Raises `Malformed`."""
    return rego.build(policy_config(policy))


def policy_config(policy: PolicySettings | None) -> rego.Config:
    """What the engine is given: the files of a policy of the configuration, or the one that ships (None)."""
    if policy is None:
        return rego.Config(modules={"default.rego": shipped_policy("default.rego")})
    modules: dict[str, str] = {}
    data: dict[str, Any] = {}
    for path in policy.files:
        text = text_of(path)
        if path.suffix == ".json":
            data |= _json_object(path, text)
        elif path.suffix in {".yaml", ".yml"}:
            data |= _yaml_object(path, text)
        else:
            modules[path.name if path.name not in modules else str(path)] = text
    return rego.Config(
        modules=modules,
        dialect=cast("Literal['v1', 'v0', 'cyral']", policy.dialect),  # checked against the same words by settings
        entrypoint=policy.entrypoint,
        parameters=policy.parameters,
        data=data,
    )


def shipped_policy(name: str) -> str:
    """A file of `policies/` as it ships."""
    return files("watchkey").joinpath("policies", name).read_text("utf-8")


def text_of(path: Path) -> str:
    """A file of a policy. Raises `Malformed`."""
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Malformed(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{path}: not UTF-8 at byte {error.start}") from error


def _json_object(path: Path, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"{path}: {error}") from error


def _yaml_object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = load(text, str(path)).data
    except ConfigError as error:
        raise Malformed(str(error)) from error
    if not isinstance(value, dict):
        raise Malformed(f"{path}: a data file holds a mapping")
    return value


def footprint(policy: PolicySettings | None) -> object:
    """What changes when a file of the policy does; None for the policy that ships."""
    if policy is None:
        return None
    found: list[object] = []
    for path in (*policy.files, *policy.tests):
        try:
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
        except OSError as error:
            found.append((str(path), error.strerror))
    return found
