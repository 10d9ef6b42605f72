"""From an OPA bundle on disk to what the embedded engine is given."""

from pathlib import Path
from typing import Any, Final, Literal

from watchkey.engines import rego
from watchkey.model.errors import Malformed, Refused
from watchkey.rego import compile_modules, freeze
from watchkey.rules.bundle import Manifest
from watchkey.rules.policy_bundle import PolicyBundle, Verification, read_policy_bundle
from watchkey.settings import VerificationSettings

BUNDLE_BYTES_MAX: Final = 32 * 1024 * 1024
KEY_BYTES_MAX: Final = 64 * 1024


def open_bundle(
    path: Path, verification: VerificationSettings | None = None, *, is_verified: bool = True
) -> PolicyBundle:
    """Read a bundle. `is_verified` False passes over its signature: for looking at it, never for deciding by it.

    Raises `Malformed` and `Refused` as `read_policy_bundle`, each with the name of the file.
    """
    archive = _bytes_of(path, BUNDLE_BYTES_MAX)
    try:
        return read_policy_bundle(archive, _verification(verification), is_verified=is_verified)
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from error
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def _verification(settings: VerificationSettings | None) -> Verification | None:
    if settings is None:
        return None
    try:
        key = _bytes_of(settings.key_file, KEY_BYTES_MAX).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{settings.key_file}: no key in PEM, and no shared secret as text") from None
    return Verification(
        algorithm=settings.algorithm,
        # Editors and `echo` end a file with a newline that no shared secret has.
        key=key.rstrip("\r\n") if settings.algorithm.startswith("HS") else key,
        key_id=settings.key_id,
        scope=settings.scope,
        exclude=settings.exclude,
    )


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise Malformed(f"{path}: {error.strerror}") from error
    if len(data) > most:
        raise Malformed(f"{path}: larger than {most} bytes")
    return data


def bundle_config(
    path: Path,
    bundle: PolicyBundle,
    *,
    dialect: Literal["v1", "v0", "cyral"],
    entrypoint: str,
    parameters: Any,
    strict_errors: bool = True,
) -> rego.Config:
    """What the engine is given of a bundle; `dialect` is that of files of which the manifest says nothing."""
    names = {name: module_name(path, name) for name in bundle.modules}
    return rego.Config(
        modules={names[name]: text for name, text in bundle.modules.items()},
        dialect=dialect,
        entrypoint=entrypoint,
        parameters=parameters,
        data=bundle.data,
        versions={names[name]: version for name, version in versions_of(bundle).items()},
        bundle=rego.BundleOrigin(
            revision=bundle.manifest.revision, declared=bundle.declared, roots=bundle.manifest.roots
        ),
        strict_errors=strict_errors,
    )


def module_name(path: Path, name: str) -> str:
    """How a file of a bundle is named to people: `policy.tar.gz/authz/p.rego`."""
    return f"{path.name}/{name}"


def versions_of(bundle: PolicyBundle) -> dict[str, Literal["v1", "v0"]]:
    """The language of each module of which the manifest says one: by its pattern, else that of the bundle."""
    found = {name: _version(bundle.manifest, name) for name in bundle.modules}
    return {name: "v0" if version == 0 else "v1" for name, version in found.items() if version is not None}


def _version(manifest: Manifest, name: str) -> int | None:
    """The first pattern in their order that fits, as OPA has it; patterns are OPA's own globs, without delimiters."""
    for pattern, version in sorted(manifest.file_rego_versions.items()):
        fits = _GLOB.evaluate({"pattern": pattern, "path": f"/{name}"}, _NO_DATA)
        if not fits.defined:
            raise Malformed(f".manifest: file_rego_versions: {pattern!r} is no pattern")
        if fits.json():
            return version
    return manifest.rego_version


_NO_DATA: Final = freeze({})
_GLOB: Final = compile_modules({}).query("glob.match(input.pattern, null, input.path)")
