"""Puts the bundle of a fleet together: policy, rosters and configuration as files, packed, and signed with a key.

A bundle has one file of data for each roster, made once for each revision of it, and one small file for the rest,
because the rest changes whenever a roster is read again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from watchkey.rules.bundle import (
    MANIFEST,
    PATCH,
    BundleFile,
    Manifest,
    owns,
    pack,
    signature_claims,
    signatures_file,
)
from watchkey.rules.bundle_delta import patch_operations
from watchkey.rules.fleet_data import canonical_data

ROOT: Final = "watchkey"
"""Where below `data` everything of ours stands."""

Sign = Callable[[Mapping[str, Any]], str]
"""Turns claims into a signature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPolicy:
    """The policy of a fleet and the library that asks it: what a bundle has besides the roster."""

    hash: str
    modules: Mapping[str, str]
    """Text by path in the bundle."""
    roots: tuple[str, ...]
    rego_versions: Mapping[str, int] = field(default_factory=dict)
    """0 for files in the old dialect, by path; all others are 1."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the policy finds below `data`, outside of ROOT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """One file of data: the value it holds, its bytes and their hash."""

    path: tuple[str, ...]
    """Below `data`."""
    value: Mapping[str, Any]
    body: bytes
    digest: str


def data_part(path: Sequence[str], value: Mapping[str, Any]) -> DataPart:
    """Write a value once; the bytes are what OPA hashes."""
    body = canonical_data(value)
    return DataPart(path=tuple(path), value=value, body=body, digest=sha256(body).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBundle:
    """One revision of a fleet's bundle. `snapshot` is the archive; `document` is what is below `data`."""

    revision: int
    etag: str
    policy_hash: str
    manifest: Manifest
    document: Mapping[str, Any]
    snapshot: bytes


def put_together(
    policy: FleetPolicy, parts: Sequence[DataPart], *, revision: int, issued_at: int, scope: str, sign: Sign | None
) -> FleetBundle:
    """Make one revision. Equal arguments give equal bytes, as far as the signature's algorithm does."""
    manifest = Manifest(
        revision=str(revision), roots=policy.roots, rego_version=1,
        file_rego_versions={f"/{name}": version for name, version in policy.rego_versions.items()},
    )  # fmt: skip
    data = [*parts, *_policy_parts(policy.data)]
    files = [BundleFile(name=name, body=text.encode()) for name, text in policy.modules.items()]
    files += [BundleFile(name="/".join([*part.path, "data.json"]), body=part.body) for part in data]
    files.append(BundleFile(name=MANIFEST, body=manifest.to_json()))
    if sign is not None:
        digests = {"/".join([*part.path, "data.json"]): part.digest for part in data}
        files.append(signatures_file(sign(signature_claims(files, digests=digests, scope=scope, issued_at=issued_at))))
    snapshot = pack(files)
    return FleetBundle(
        revision=revision,
        etag=f'"{revision}-{sha256(snapshot).hexdigest()[:16]}"',
        policy_hash=policy.hash,
        manifest=manifest,
        document=_document(data),
        snapshot=snapshot,
    )


def _policy_parts(data: Mapping[str, Any]) -> list[DataPart]:
    """The policy's own data: a file for each object, and one for everything at the top that is none."""
    parts = [data_part([key], value) for key, value in sorted(data.items()) if isinstance(value, Mapping)]
    plain = {key: value for key, value in data.items() if not isinstance(value, Mapping)}
    return [*parts, data_part([], plain)] if plain else parts


def _document(parts: Iterable[DataPart]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for part in sorted(parts, key=lambda one: len(one.path)):
        place = document
        for key in part.path:
            below = place.get(key, {})
            place[key] = dict(below)  # never into what a part was given
            place = place[key]
        place.update(part.value)
    return document


def delta_between(before: FleetBundle, after: FleetBundle) -> bytes | None:
    """The delta bundle that leads from the one to the other; None where only a snapshot will do.

    A delta carries no signature and cannot change policies or roots; one that is not much smaller is not worth it.
    """
    if before.policy_hash != after.policy_hash or before.manifest.roots != after.manifest.roots:
        return None
    operations = patch_operations(before.document, after.document)
    if not operations:
        return None  # an empty one would erase everything
    files = [
        BundleFile(name=PATCH, body=canonical_data({"data": operations})),
        BundleFile(
            name=MANIFEST, body=Manifest(revision=after.manifest.revision, roots=after.manifest.roots).to_json()
        ),
    ]
    packed = pack(files)
    return packed if len(packed) < len(after.snapshot) // 2 else None


def roots_of(packages: Iterable[str]) -> tuple[str, ...]:
    """The fewest paths that own all of these (parts divided by `/`), and ROOT among them."""
    roots: list[str] = []
    for path in sorted({ROOT, *packages}, key=lambda one: (one.count("/"), one)):
        if not any(owns(root, path) for root in roots):
            roots.append(path)
    return tuple(sorted(roots))
