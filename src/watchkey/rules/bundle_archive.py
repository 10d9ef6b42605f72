"""Takes a bundle's `.tar.gz` apart: plain files by their names, within bounds, and nothing that leads anywhere else.

Reads what OPA and the usual tar programs write: ustar (POSIX.1-1988), pax (POSIX.1-2001) and GNU's long names. A link,
a device, a name that leads out, a name that stands twice, a byte too many or too few: the whole archive is refused.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from watchkey.model.errors import Malformed
from watchkey.rules.bundle import BundleFile

_BLOCK: Final = 512
_GZIP: Final = 31
"""`wbits` of zlib for a gzip frame, with its check sum."""
_FILE: Final = frozenset({b"0", b"\0"})
_FOLDER: Final = b"5"
_PAX: Final = b"x"
_PAX_GLOBAL: Final = b"g"
_GNU_NAME: Final = b"L"
_PAX_PASSED_OVER: Final = frozenset(
    {"mtime", "atime", "ctime", "uid", "gid", "uname", "gname", "comment", "LIBARCHIVE.creationtime"}
)
_PAX_RECORD: Final = re.compile(rb"([0-9]{1,6}) ([^=\n]+)=")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What an archive may cost at most, before anything in it is looked at."""

    packed_bytes: int = 32 * 1024 * 1024
    bytes: int = 128 * 1024 * 1024
    """Unpacked, headers included."""
    files: int = 10_000
    """Files and folders."""
    name_bytes: int = 1024


def unpack(archive: bytes, limits: ArchiveLimits = ArchiveLimits()) -> tuple[BundleFile, ...]:
    """The files of an archive in its order, their names without a leading `/` or `./`.

    Raises `Malformed` for anything that is not exactly such an archive.
    """
    found: dict[str, BundleFile] = {}
    for name, body in _members(_unzipped(archive, limits), limits):
        clean = _clean(name, limits)
        if clean in found:
            raise Malformed(f"the bundle has {clean!r} twice")
        found[clean] = BundleFile(name=clean, body=body)
    return tuple(found.values())


def _unzipped(archive: bytes, limits: ArchiveLimits) -> bytes:
    if len(archive) > limits.packed_bytes:
        raise Malformed(f"the bundle is larger than {limits.packed_bytes} bytes")
    unzip = zlib.decompressobj(_GZIP)
    try:
        data = unzip.decompress(archive, limits.bytes + 1)
    except zlib.error:
        raise Malformed("the bundle is no gzipped tar archive, or it is damaged") from None
    if len(data) > limits.bytes:
        raise Malformed(f"the bundle unpacks to more than {limits.bytes} bytes")
    if not unzip.eof:
        raise Malformed("the bundle is cut off")
    if unzip.unused_data:
        raise Malformed("something stands behind the bundle's archive")
    return data


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    size: int
    kind: bytes


def _members(tar: bytes, limits: ArchiveLimits) -> Iterator[tuple[str, bytes]]:
    """Every plain file with its name as it is written."""
    at = entries = 0
    long_name: str | None = None
    while True:
        block = tar[at : at + _BLOCK]
        if not any(block):
            _check_end(tar, at, block)
            return
        header = _header(block)
        body = _body(tar, at + _BLOCK, header.size)
        at += _BLOCK + -(-header.size // _BLOCK) * _BLOCK
        entries += 1
        if entries > limits.files:
            raise Malformed(f"the bundle has more than {limits.files} files")
        if header.kind == _PAX:
            long_name = _pax_name(body) or long_name
        elif header.kind == _PAX_GLOBAL:
            if _pax_name(body) is not None:
                raise Malformed("the bundle names all its files alike")
        elif header.kind == _GNU_NAME:
            long_name = _text(body.rstrip(b"\0"))
        else:
            name = header.name if long_name is None else long_name
            long_name = None
            if _is_file(header, name):
                yield name, body


def _is_file(header: _Header, name: str) -> bool:
    """Whether it is a file; False for a folder, which means nothing here."""
    is_folder = header.kind == _FOLDER or (header.kind in _FILE and name.endswith("/"))
    if is_folder and header.size == 0:
        return False
    if header.kind not in _FILE or is_folder:
        raise Malformed(f"the bundle has {name[:100]!r}, which is no plain file: links and devices are refused")
    return True


def _check_end(tar: bytes, at: int, block: bytes) -> None:
    """Behind the end there are zeros and nothing else; at least two blocks, so that a cut is seen."""
    if len(block) < _BLOCK or len(tar) - at < 2 * _BLOCK:
        raise Malformed("the bundle's archive is cut off")
    if tar.count(0, at) != len(tar) - at:
        raise Malformed("something stands behind the bundle's archive")


def _header(block: bytes) -> _Header:
    if len(block) < _BLOCK:
        raise Malformed("the bundle's archive is cut off")
    plain = block[:148] + b"        " + block[156:]
    if _octal(block[148:156]) != sum(plain):
        raise Malformed("the bundle's archive is damaged: a header has another check sum")
    name = _text(block[:100].split(b"\0", 1)[0])
    if block[257:263] == b"ustar\0" and (prefix := block[345:500].split(b"\0", 1)[0]):
        name = f"{_text(prefix)}/{name}"
    return _Header(name, _octal(block[124:136]), block[156:157])


def _body(tar: bytes, start: int, size: int) -> bytes:
    if start + size > len(tar):
        raise Malformed("the bundle's archive is cut off")
    return tar[start : start + size]


def _octal(field: bytes) -> int:
    """A number as tar writes it; the binary form for huge sizes is none of a bundle's."""
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{1,12}", text):
        raise Malformed("the bundle's archive is damaged: a header has no number where one belongs")
    return int(text, 8)


def _pax_name(body: bytes) -> str | None:
    """The name that a pax header gives to the next file. Any key that would change what a file is is refused."""
    at, name = 0, None
    while at < len(body):
        record = _PAX_RECORD.match(body, at)
        end = at + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(body) or body[end - 1 : end] != b"\n":
            raise Malformed("the bundle's archive is damaged: a pax header cannot be read")
        key = _text(record[2])
        if key == "path":
            name = _text(body[record.end() : end - 1])
        elif key not in _PAX_PASSED_OVER and not key.startswith(("SCHILY.xattr.", "LIBARCHIVE.xattr.")):
            raise Malformed(f"the bundle's archive has a pax header {key[:60]!r}, which is not taken")
        at = end
    return name


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("the bundle has a file whose name is not UTF-8") from None


def _clean(name: str, limits: ArchiveLimits) -> str:
    """The name without `/` or `./` before it; raises for one that leads anywhere but down."""
    clean = name.lstrip("/")
    while clean.startswith("./"):
        clean = clean[2:].lstrip("/")
    if len(clean.encode()) > limits.name_bytes:
        raise Malformed(f"the bundle has a name of more than {limits.name_bytes} bytes")
    if _UNPRINTABLE.search(clean) or any(part in {"", ".", ".."} for part in clean.split("/")):
        raise Malformed(f"the bundle has {name[:100]!r}, which is no path inside it")
    return clean
