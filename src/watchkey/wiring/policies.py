"""From the files of a policy to an engine, and to one that may take over while the service runs."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from watchkey.engines import opa, rego
from watchkey.model.errors import Malformed, Refused
from watchkey.ports import PolicyEngine
from watchkey.rules.located import ConfigError, load
from watchkey.settings import PolicySettings, RemoteOpa, Settings
from watchkey.wiring.bundles import bundle_config, open_bundle
from watchkey.wiring.clocks import SystemClock


def policy_names(settings: Settings) -> Sequence[str]:
    """Every policy that decides, and every one that stands beside it."""
    return tuple(
        dict.fromkeys([*(resource.policy for resource in settings.resources.values()), *settings.shadows.values()])
    )


Engine = rego.RegoEngine | opa.OpaEngine


def engines_of(settings: Settings, *, is_kept_open: bool = False) -> dict[str, Engine]:
    """The engine of each policy, without a number.

    Raises `Malformed` for a policy, `Refused` for the URL and the TLS of a remote one, `ConfigError` for its token.
    `is_kept_open`: connections to a remote OPA stay open between two questions, and whoever says so closes the engine.
    """
    return {name: _engine(settings, name, is_kept_open=is_kept_open) for name in policy_names(settings)}


def _engine(settings: Settings, name: str, *, is_kept_open: bool) -> Engine:
    policy = settings.policies.get(name)
    if policy is None or policy.remote is None:
        return rego.build(policy_config(policy))
    remote = policy.remote
    config = opa.Config(
        url=remote.url,
        path=remote.path,
        token=settings.opa_token(name),
        ca_file=_text(remote.ca_file),
        certificate_file=_text(remote.certificate_file),
        key_file=_text(remote.key_file),
        timeout=remote.timeout,
        strict_errors=policy.is_strict,
        is_kept_open=is_kept_open,
    )
    return opa.build(config, clock=SystemClock())


def policy_engine(policy: PolicySettings | None, *, is_verified: bool = True) -> PolicyEngine:
    """The engine of a policy that is here (None: the one that ships). Raises as `policy_config`."""
    return rego.build(policy_config(policy, is_verified=is_verified))


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def content_hash(engine: PolicyEngine) -> str:
    """What decides whether a policy got a new number: its files, or where is asked what."""
    return engine.asked_hash if isinstance(engine, opa.OpaEngine) else engine.policy_hash


def policy_config(policy: PolicySettings | None, *, is_verified: bool = True) -> rego.Config:
    """What the engine is given: the files of a policy of the configuration, or the one that ships (None).

    `is_verified` False passes over the signature of a bundle: for looking at it, never for deciding by it. Raises
    `Malformed`; `Refused` for a policy that an OPA elsewhere has, and for a signature that is not to be trusted.
    """
    if policy is None:
        return rego.Config(modules={"default.rego": shipped_policy("default.rego")})
    if policy.remote is not None:
        raise Refused(elsewhere(policy.name, policy.remote))
    dialect = cast("Literal['v1', 'v0', 'cyral']", policy.dialect)  # checked against the same words by settings
    if policy.bundle is not None:
        return bundle_config(
            policy.bundle,
            open_bundle(policy.bundle, policy.verification, is_verified=is_verified),
            dialect=dialect,
            entrypoint=policy.entrypoint,
            parameters=policy.parameters,
            strict_errors=policy.is_strict,
        )
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
        dialect=dialect,
        entrypoint=policy.entrypoint,
        parameters=policy.parameters,
        data=data,
        strict_errors=policy.is_strict,
    )


def elsewhere(name: str, remote: RemoteOpa) -> str:
    """Why there is nothing to read, test or swap here for a policy, in words that say what to do instead."""
    return (
        f"policy {name} is in the OPA at {remote.url}, and its text is not here: name the files or the bundle that it "
        "loads"
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
    except RecursionError:
        raise Malformed(f"{path}: it is nested too deeply") from None


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
    read = [*policy.files, *policy.tests, *([] if policy.bundle is None else [policy.bundle])]
    if policy.verification is not None:
        read.append(policy.verification.key_file)
    for path in read:
        try:
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
        except OSError as error:
            found.append((str(path), error.strerror))
    return found
