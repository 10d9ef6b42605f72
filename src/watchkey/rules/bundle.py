"""OPA bundles as values: manifest, files and their hashes, what a signature says of them, and the archive.

Forms: OPA's `docs/management-bundles` and `v1/bundle` (manifest, `hash.go`, `verify.go`) in its repository. Equal input
gives equal bytes, and a file that the signature does not name, or that it names and is not there, is `Refused`.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from watchkey.model.errors import Malformed, Refused
from watchkey.rules.bundle_yaml import go_number, read_yaml

MANIFEST: Final = ".manifest"
SIGNATURES: Final = ".signatures.json"
PATCH: Final = "patch.json"
DATA_FILES: Final = frozenset({"data.json", "data.yaml", "data.yml"})
"""The only names from which OPA reads data; the folder is the path below `data`."""

HASHES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "SHA-256": lambda data: hashlib.sha256(data).digest(),
    "SHA-384": lambda data: hashlib.sha384(data).digest(),
    "SHA-512": lambda data: hashlib.sha512(data).digest(),
}
"""What OPA calls the hashes that are taken here; it knows weaker ones, and a signature that rests on those is none."""

YAML_ENDINGS: Final = (".yaml", ".yml")

DEPTH_MAX: Final = 200
"""How deeply a data file may nest."""
_BLOCK: Final = 512
_GZIP: Final = 31
"""`wbits` of zlib for a gzip frame; it carries no time and no name."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile:
    """One file: its path without a leading slash, and its bytes."""

    name: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself. `roots` are the paths below `data` that it owns; `("",)` is everything."""

    revision: str = ""
    roots: tuple[str, ...] = ("",)
    rego_version: int | None = None
    """0 or 1; None leaves it to the reader's default."""
    file_rego_versions: Mapping[str, int] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The text of `.manifest`."""
        document: dict[str, Any] = {"revision": self.revision, "roots": list(self.roots)}
        if self.rego_version is not None:
            document["rego_version"] = self.rego_version
        if self.file_rego_versions:
            document["file_rego_versions"] = dict(self.file_rego_versions)
        if self.metadata:
            document["metadata"] = dict(self.metadata)
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def read_manifest(body: bytes) -> Manifest:
    """Read `.manifest`. Raises `Malformed`; keys that are not known are left, as OPA leaves them."""
    _parse(body, MANIFEST)  # refuses what is no JSON
    document = json.loads(body.decode("utf-8-sig"))
    if not isinstance(document, dict):
        raise Malformed(f"{MANIFEST}: not an object")
    roots = document.get("roots")
    found = Manifest(
        revision=_typed(document, "revision", str, ""),
        roots=("",) if roots is None else tuple(_texts(roots, "roots")),
        rego_version=_version(document.get("rego_version"), "rego_version"),
        file_rego_versions={
            name: version
            for name, value in _typed(document, "file_rego_versions", dict, {}).items()
            if (version := _version(value, name)) is not None
        },
        metadata=_typed(document, "metadata", dict, {}),
    )
    roots_given = [root.strip("/") for root in found.roots]
    for i, root in enumerate(roots_given):
        for other in roots_given[i + 1 :]:
            if owns(root, other) or owns(other, root):
                raise Malformed(f"{MANIFEST}: the roots {root!r} and {other!r} overlap")
    return found


def owns(root: str, path: str) -> bool:
    """Whether a path (parts divided by `/`) lies at or below a root."""
    wanted = [part for part in root.split("/") if part]
    return [part for part in path.split("/") if part][: len(wanted)] == wanted


# -- hashes --------------------------------------------------------------------------------------------------------


def is_structured(name: str) -> bool:
    """Whether OPA hashes the meaning of the file and not its bytes."""
    base = name.rpartition("/")[2]
    return base in DATA_FILES or base == MANIFEST


def file_digest(name: str, body: bytes, algorithm: str = "SHA-256") -> str:
    """The hash of one file as a signature names it, hexadecimal.

    Raises `Malformed` for a structured file that is no JSON (nor YAML, where its name says so), `Refused` for an
    unknown algorithm.
    """
    hashed = HASHES.get(algorithm)
    if hashed is None:
        raise Refused(f"{name}: there is no hash {algorithm!r} here; there is {', '.join(HASHES)}")
    return hashed(walked(_document(body, name)) if is_structured(name) else body).hex()


def _document(body: bytes, name: str) -> Any:
    """A structured file: JSON, also under the name of YAML, as OPA has it; else YAML, where the name says so."""
    try:
        return _parse(body, name)
    except Malformed:
        if not name.endswith(YAML_ENDINGS):
            raise
    return _numbered(read_yaml(body, name))


def _numbered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _numbered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_numbered(inner) for inner in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _Number(go_number(value)) if is_number else value


@dataclass(frozen=True, slots=True)
class _Number:
    """A number as it is written in the file, since that is how OPA hashes it."""

    text: str


def walked(value: Any) -> bytes:
    """The text that OPA hashes in place of a structured file: sorted keys, no blanks, numbers as they were written."""
    parts: list[str] = []
    _walk(value, parts.append, DEPTH_MAX)
    return _SURROGATE.sub("\ufffd", "".join(parts)).encode()


def _walk(value: Any, write: Callable[[str], None], depth: int) -> None:
    if depth == 0:
        raise Malformed(f"a data file nests deeper than {DEPTH_MAX}")
    if isinstance(value, dict):
        mark = "{"
        for key in sorted(value):
            write(f"{mark}{_scalar(key)}:")
            _walk(value[key], write, depth - 1)
            mark = ","
        write("{}" if mark == "{" else "}")
    elif isinstance(value, list | tuple):
        mark = "["
        for item in value:
            write(mark)
            _walk(item, write, depth - 1)
            mark = ","
        write("[]" if mark == "[" else "]")
    else:
        write(_scalar(value))


def _scalar(value: Any) -> str:
    if isinstance(value, _Number):
        return value.text
    text = json.dumps(value, ensure_ascii=False)
    # Go's encoder escapes these two even where it leaves all other text alone.
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _parse(body: bytes, name: str) -> Any:
    """Read JSON with its numbers as they are written."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        text = body.decode("utf-8-sig")
        return json.loads(text, parse_int=_Number, parse_float=_Number, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{name}: not JSON: {error}") from error


# -- what is signed ------------------------------------------------------------------------------------------------


def signature_claims(
    files: Iterable[BundleFile],
    *,
    digests: Mapping[str, str] | None = None,
    scope: str = "",
    issued_at: int | None = None,
) -> dict[str, Any]:
    """What is signed: the hash of each file. `digests` are those that are known already, by name.

    `issued_at` in seconds since 1970. OPA looks at `files` and `scope` only.
    """
    known = digests or {}
    listed = [
        {"name": file.name, "hash": known.get(file.name) or file_digest(file.name, file.body), "algorithm": "SHA-256"}
        for file in sorted(files, key=lambda one: one.name)
    ]
    claims: dict[str, Any] = {"files": listed}
    if scope:
        claims["scope"] = scope
    if issued_at is not None:
        claims["iat"] = issued_at
    return claims


def signatures_file(token: str) -> BundleFile:
    """The file that carries the signature."""
    return BundleFile(name=SIGNATURES, body=json.dumps({"signatures": [token]}, separators=(",", ":")).encode())


def read_signatures(body: bytes) -> str:
    """The one token of `.signatures.json`. Raises `Malformed`; none and several are as wrong as no JSON."""
    document = _parse(body, SIGNATURES)
    tokens = document.get("signatures") if isinstance(document, dict) else None
    if not isinstance(tokens, list) or len(tokens) != 1 or not isinstance(tokens[0], str):
        raise Malformed(f"{SIGNATURES}: exactly one signature is wanted")
    return tokens[0]


def check_files(claims: Mapping[str, Any], files: Iterable[BundleFile], *, scope: str = "") -> None:
    """Hold the files of a bundle (the signature's own left out) against verified claims.

    Raises `Refused` for a file too many, one too few, another hash or another scope, `Malformed` for claims without
    the form that OPA gives them.
    """
    if claims.get("scope", "") != scope:
        raise Refused("the signature is for another scope")
    expected = _expected(claims)
    for file in files:
        if file.name == SIGNATURES:
            continue
        name = file.name.removeprefix("/")
        if name not in expected:
            raise Refused(f"{name}: not in the signature, or twice in the bundle")
        wanted, algorithm = expected.pop(name)
        if bytes.fromhex(file_digest(name, file.body, algorithm)) != wanted:
            raise Refused(f"{name}: not what was signed")
    if expected:
        raise Refused(f"signed, but not in the bundle: {', '.join(sorted(expected))}")


def _expected(claims: Mapping[str, Any]) -> dict[str, tuple[bytes, str]]:
    listed = claims.get("files")
    if not isinstance(listed, list):
        raise Malformed("the signature names no files")
    expected: dict[str, tuple[bytes, str]] = {}
    for one in listed:
        match one:
            case {"name": str(name), "hash": str(digest), "algorithm": str(algorithm)} if _HEX.match(digest):
                if name in expected:
                    raise Malformed(f"the signature names {name!r} twice")
                expected[name] = (bytes.fromhex(digest), algorithm)
            case _:
                raise Malformed("the signature names a file without name, hash or algorithm")
    return expected


# -- the archive ---------------------------------------------------------------------------------------------------


def pack(files: Sequence[BundleFile]) -> bytes:
    """The files as a gzipped tar archive, byte for byte the same for the same files: no times, owners or order.

    Raises `Malformed` for a name that occurs twice, leads out of the bundle, or does not fit a tar header.
    """
    ordered = sorted(files, key=lambda one: one.name)
    names = [file.name for file in ordered]
    if len(set(names)) < len(names):
        raise Malformed("a file stands twice in the bundle")
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    parts: list[bytes] = []
    for file in ordered:
        parts.append(packer.compress(_header(file)))
        parts.append(packer.compress(file.body))
        parts.append(packer.compress(bytes(-len(file.body) % _BLOCK)))
    parts.append(packer.compress(bytes(2 * _BLOCK)))
    parts.append(packer.flush())
    return b"".join(parts)


def _header(file: BundleFile) -> bytes:
    """A ustar header (POSIX.1-1988) of a plain file with mode 0644."""
    if any(part in {"", ".", ".."} for part in file.name.split("/")):
        raise Malformed(f"{file.name!r} is no path inside a bundle")
    prefix, name = _split(file.name)
    fields = (
        name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", b"%011o\0" % len(file.body),
        b"00000000000\0", b"        ", b"0", bytes(100), b"ustar\x0000", bytes(32), bytes(32), b"0000000\0",
        b"0000000\0", prefix.ljust(155, b"\0"), bytes(12),
    )  # fmt: skip
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def _split(name: str) -> tuple[bytes, bytes]:
    raw = name.encode()
    if len(raw) <= 100:
        return b"", raw
    cut = raw.rfind(b"/", 0, 156)
    if cut > 0 and len(raw) - cut - 1 <= 100:
        return raw[:cut], raw[cut + 1 :]
    raise Malformed(f"{name[:60]}…: too long a name for a bundle")


# -- reading -------------------------------------------------------------------------------------------------------


def _typed(document: Mapping[str, Any], key: str, kind: type[Any], missing: Any) -> Any:
    value = document.get(key, missing)
    if value is None:
        return missing
    if not isinstance(value, kind):
        raise Malformed(f"{MANIFEST}: {key} has the wrong type")
    return value


def _texts(value: Any, key: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Malformed(f"{MANIFEST}: {key} is a list of texts")
    return value


def _version(value: Any, what: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value not in {0, 1}:
        raise Malformed(f"{MANIFEST}: {what}: the Rego version is 0 or 1")
    return value
