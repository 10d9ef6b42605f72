"""A policy out of an OPA bundle: its signature verified, its files put where OPA puts them, its limits kept.

What OPA would carry out and this cannot (a delta, wasm, plans) is refused, so that a bundle never means less here than
in the fleet. So is what OPA lets pass and nobody needs: an unsigned file that is read, because a list excludes it.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from watchkey.model.errors import Malformed, Refused
from watchkey.rules.bundle import (
    DATA_FILES,
    DEPTH_MAX,
    MANIFEST,
    PATCH,
    SIGNATURES,
    BundleFile,
    Manifest,
    check_files,
    owns,
    read_manifest,
    read_signatures,
)
from watchkey.rules.bundle_archive import unpack
from watchkey.rules.bundle_signature import BundleKey, verify_token
from watchkey.rules.bundle_yaml import read_yaml

REGO: Final = ".rego"
_OTHER_PROGRAMS: Final = frozenset({"policy.wasm", "plan.json", "plan.pb"})
_ONLY_KEY: Final = "configured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a bundle's signature is held against; without `key_id` the one key counts, whatever the token calls it."""

    algorithm: str
    key: str = field(repr=False)
    """PEM of a public key or a certificate; for HS… the shared secret."""
    key_id: str = ""
    scope: str = ""
    exclude: tuple[str, ...] = ()
    """Patterns of files that need no signature, `*` and `?` as in a shell; never a file that is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyBundle:
    """What a policy has of a bundle. All names are paths inside it, without a leading slash."""

    manifest: Manifest
    modules: Mapping[str, str]
    data_texts: Mapping[str, str]
    data: Mapping[str, Any]
    is_signed: bool
    """There is a signature; it was verified unless the caller passed over that."""

    @property
    def declared(self) -> int | None:
        """The manifest's revision where it is a whole number, and so one that can be older than another."""
        revision = self.manifest.revision
        return int(revision) if re.fullmatch(r"[0-9]{1,18}", revision, re.ASCII) else None


def read_policy_bundle(archive: bytes, verification: Verification | None, *, is_verified: bool = True) -> PolicyBundle:
    """Read a bundle. `is_verified` False passes over its signature: for looking at it, never for deciding by it.

    Raises `Refused` for a signature that is missing, not genuine, or without a key to verify it with; for a file that
    it does not cover, and for one that it covers and that is not there. Raises `Malformed` for all else that is wrong.
    """
    files = unpack(archive)
    _refuse_strange(files)
    by_name = {file.name: file for file in files}
    if is_verified:
        _verify(files, by_name.get(SIGNATURES), verification)
    manifest = _manifest(by_name.get(MANIFEST))
    texts = {file.name: _text(file) for file in files if file.name.endswith(REGO) or _base(file.name) in DATA_FILES}
    data: dict[str, Any] = {}
    for name in texts:
        if not name.endswith(REGO):
            _place(data, by_name[name])
    _check_roots(data, manifest.roots)
    return PolicyBundle(
        manifest=manifest,
        modules={name: text for name, text in texts.items() if name.endswith(REGO)},
        data_texts={name: text for name, text in texts.items() if not name.endswith(REGO)},
        data=data,
        is_signed=SIGNATURES in by_name,
    )


def prefix_of(name: str) -> tuple[str, ...]:
    """Where a data file stands below `data`: the path of its folder."""
    # As OPA has it, dots before the first name are no part of the path.
    folder = name.rpartition("/")[0].lstrip("/.")
    return tuple(folder.split("/")) if folder else ()


def owned(roots: Iterable[str], path: Sequence[str]) -> bool:
    """Whether a path below `data` lies in what the manifest says that the bundle owns."""
    return any(owns(root, "/".join(path)) for root in roots)


# -- inside --------------------------------------------------------------------------------------------------------


def _manifest(file: BundleFile | None) -> Manifest:
    if file is None:
        return Manifest()
    manifest = read_manifest(file.body)
    if json.loads(file.body.decode("utf-8-sig")).get("wasm"):
        raise Malformed(f"{MANIFEST}: compiled policies are not taken; build the bundle without `--target`")
    return manifest


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _text(file: BundleFile) -> str:
    try:
        return file.body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"{file.name}: not UTF-8 at byte {error.start}") from None


def _refuse_strange(files: Iterable[BundleFile]) -> None:
    for name in (file.name for file in files):
        base = _base(name)
        if base == PATCH:
            raise Malformed(f"{name}: this is a delta bundle, which changes one that is loaded; a whole one is wanted")
        if base in _OTHER_PROGRAMS or base.endswith(".wasm"):
            raise Malformed(f"{name}: compiled policies are not taken; build the bundle without `--target`")
        if base.endswith((MANIFEST, f"{MANIFEST}.pb")) and name != MANIFEST:
            raise Malformed(f"{name}: the manifest is `{MANIFEST}` at the top")
        if base == SIGNATURES and name != SIGNATURES:
            raise Malformed(f"{name}: the signature is `{SIGNATURES}` at the top")


def _verify(files: Sequence[BundleFile], signature: BundleFile | None, verification: Verification | None) -> None:
    if verification is None:
        if signature is not None:
            raise Refused("the bundle is signed, and there is no key to verify it with; set `verification`")
        return
    if signature is None:
        raise Refused("the bundle is not signed, and `verification` demands a signature")
    name = verification.key_id or _ONLY_KEY
    key = BundleKey(id=name, algorithm=verification.algorithm, material=verification.key)
    claims = verify_token(read_signatures(signature.body), {name: key}, key_id=name)
    excluded = {file.name for file in files if _is_excluded(file.name, verification.exclude)} - {SIGNATURES}
    for one in sorted(excluded):
        if one == MANIFEST or one.endswith(REGO) or _base(one) in DATA_FILES:
            raise Refused(f"{one} is excluded from the signature, and it is read")
    listed = claims.get("files")
    if excluded and isinstance(listed, list):
        kept = [one for one in listed if not (isinstance(one, dict) and one.get("name") in excluded)]
        claims = {**claims, "files": kept}
    check_files(claims, [file for file in files if file.name not in excluded], scope=verification.scope)


def _is_excluded(name: str, patterns: Iterable[str]) -> bool:
    return any(re.fullmatch(_translated(pattern), name) for pattern in patterns)


def _translated(pattern: str) -> str:
    steps = {"*": "[^/]*", "?": "[^/]"}
    return "".join(steps.get(char) or re.escape(char) for char in pattern)


def _place(data: dict[str, Any], file: BundleFile) -> None:
    """Put a data file where its folder says, beside what is there already."""
    value = _value(file)
    if not isinstance(value, dict) and not prefix_of(file.name):
        raise Malformed(f"{file.name}: at the top stands an object")
    for step in reversed(prefix_of(file.name)):
        value = {step: value}
    clash = merge_data(data, value)
    if clash is not None:
        raise Malformed(f"{file.name}: {clash!r} stands in another data file of the bundle already")


def merge_data(into: dict[str, Any], value: Mapping[str, Any]) -> str | None:
    """Put one data document into another; the first key that both have and that is no object in both, or None."""
    for key, inner in value.items():
        there = into.get(key)
        if isinstance(there, dict) and isinstance(inner, dict):
            clash = merge_data(there, inner)
            if clash is not None:
                return clash
        elif key in into:
            return key
        else:
            into[key] = inner
    return None


def _value(file: BundleFile) -> Any:
    value = _decoded(file)
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
    if level:
        raise Malformed(f"{file.name}: nested deeper than {DEPTH_MAX}")
    return value


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _decoded(file: BundleFile) -> Any:
    try:
        text = file.body.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if file.name.endswith(".json"):
            raise Malformed(f"{file.name}: not JSON: {error}") from error
    return read_yaml(file.body, file.name)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _check_roots(data: Mapping[str, Any], roots: Sequence[str]) -> None:
    """Refuse data outside what the manifest says that the bundle owns: it would be in another bundle's place."""
    pending: list[tuple[tuple[str, ...], Any]] = [((key,), value) for key, value in data.items()]
    while pending:
        path, value = pending.pop()
        if owned(roots, path):
            continue
        text = "/".join(path)
        if isinstance(value, dict) and any(owns(text, root) for root in roots):
            pending += [((*path, key), inner) for key, inner in value.items()]
            continue
        raise Malformed(f"data/{text} is outside the roots that {MANIFEST} names: {', '.join(map(repr, roots))}")
