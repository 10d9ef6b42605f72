"""Built-ins of URIs: ``uri.parse`` and ``uri.is_valid``, which split and judge a text as Go's ``net/url`` does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Any, Final

from watchkey.rego.builtins import BuiltinError, builtin
from watchkey.rego.types import BOOLEAN, STRING, object_of
from watchkey.rego.values import Boolean, Object, boolean, quoted

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPES: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_PORT: Final = re.compile(r"(?::[0-9]*)?")
_USER_INFO: Final = re.compile(r"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_HOST: Final = _UNRESERVED | frozenset("!$&'()*+,;=:[]<>\"%")
_PATH: Final = _UNRESERVED | frozenset("$&+,/:;=@")
_FRAGMENT: Final = _PATH | frozenset("?!()*")


def _escape_error(escape: str) -> BuiltinError:
    return BuiltinError(f"invalid URL escape {quoted(escape)}")


def _check_escapes(text: str) -> None:
    bad = _BAD_ESCAPE.search(text)
    if bad:
        raise _escape_error(text[bad.start() : bad.start() + 3])


def _unescaped(text: str) -> str:
    """Percent escapes decoded; bytes that are not UTF-8 become U+FFFD."""
    if "%" not in text:
        return text
    raw = bytearray()
    at = 0
    for run in _ESCAPES.finditer(text):
        raw += text[at : run.start()].encode("utf-8", "surrogatepass")
        raw += bytes.fromhex(run.group().replace("%", ""))
        at = run.end()
    raw += text[at:].encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "replace")


def _escaped(raw: str, plain: frozenset[str]) -> str:
    """The text with every byte escaped that does not belong to the plain characters."""
    if plain.issuperset(raw):
        return raw
    return "".join(
        [c if c in plain else "".join([f"%{byte:02X}" for byte in c.encode("utf-8", "surrogatepass")]) for c in raw]
    )


def _checked_host(text: str, *, zone: bool = False) -> str:
    """A host, decoded; only bytes beyond ASCII may be escaped in it (in a zone: what a host may hold anyway)."""
    index = 0
    while index < len(text):
        character = text[index]
        if character == "%":
            escape = text[index : index + 3]
            _check_escapes(escape if len(escape) == 3 else "%")
            octet = int(escape[1:], 16)
            allowed = octet >= 0x80 or (zone and (chr(octet) in _HOST - {"%"} or octet == 0x20))
            if escape != "%25" and not allowed:
                raise _escape_error(escape)
            index += 3
            continue
        if character < "\x80" and character not in _HOST:
            raise BuiltinError(f"invalid character {quoted(character)} in host name")
        index += 1
    return _unescaped(text)


def _literal_host(host: str) -> str:
    """A host that starts with a bracket: an IPv6 address, perhaps with a zone, perhaps with a port."""
    end = host.rfind("]")
    if end < 0:
        raise BuiltinError("missing ']' in host")
    port = host[end + 1 :]
    if not _PORT.fullmatch(port):
        raise BuiltinError(f"invalid port {quoted(port)} after host")
    name = host[1:end]
    zone_at = name.find("%25")
    if zone_at < 0:
        decoded = _checked_host(name)
    else:
        decoded = _checked_host(name[:zone_at]) + _checked_host(name[zone_at:], zone=True)
    address, percent, zone = decoded.partition("%")
    try:
        IPv6Address(address)
    except AddressValueError:
        if "." in decoded and ":" not in decoded:
            raise BuiltinError("invalid IP-literal") from None
        raise BuiltinError(f"invalid host: ParseAddr({quoted(decoded)}): unable to parse IP") from None
    if percent and not zone:
        raise BuiltinError(f"invalid host: ParseAddr({quoted(decoded)}): zone must be a non-empty string")
    return f"[{decoded}]{port}"


def _host(scheme: str, host: str) -> str:
    """Host and port of an authority, decoded."""
    bracket = host.rfind("[")
    if bracket > 0:
        raise BuiltinError("invalid IP-literal")
    if bracket == 0:
        return _literal_host(host)
    # Lists of hosts with ports are usual in URIs of databases; http allows one colon only.
    colon = host.find(":") if scheme in ("http", "https") else host.rfind(":")
    if colon >= 0 and not _PORT.fullmatch(host[colon:]):
        raise BuiltinError(f"invalid port {quoted(host[colon:])} after host")
    return _checked_host(host)


def _authority(scheme: str, authority: str) -> tuple[str, bool]:
    """Host and port, and whether there is user information before them."""
    user, at, host = authority.rpartition("@")
    found = _host(scheme, host)
    if at:
        if not _USER_INFO.fullmatch(user):
            raise BuiltinError("net/url: invalid userinfo")
        for part in user.split(":", 1):
            _check_escapes(part)
    return found, bool(at)


def _split_port(host: str) -> tuple[str, str]:
    colon = host.rfind(":")
    port = ""
    if colon >= 0 and _PORT.fullmatch(host[colon:]):
        host, port = host[:colon], host[colon + 1 :]
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host, port


@dataclass(slots=True)
class Url:
    """The parts of a URI, with Go's ideas of what they are; a part that is missing is empty."""

    scheme: str = ""
    opaque: str = ""
    has_user: bool = False
    host: str = ""
    path: str = ""
    raw_path: str = ""
    """The path as written, where its usual escaping is another."""
    query: str = ""
    empty_query: bool = False
    omits_host: bool = False
    fragment: str = ""
    raw_fragment: str = ""


def _parsed(text: str) -> Url:
    """The parts of a URI without fragment."""
    if _CONTROL.search(text):
        raise BuiltinError("net/url: invalid control character in URL")
    if text == "*":
        return Url(path="*")
    if text.startswith(":"):
        raise BuiltinError("missing protocol scheme")
    found = _SCHEME.match(text)
    rest, mark, query = text[found.end() if found else 0 :].partition("?")
    url = Url(scheme=found[1].lower() if found else "", query=query, empty_query=bool(mark) and not query)
    if not rest.startswith("/"):
        if url.scheme:
            url.opaque = rest
            return url
        if ":" in rest.partition("/")[0]:
            raise BuiltinError("first path segment in URL cannot contain colon")
    if rest.startswith("//") and (url.scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        url.host, url.has_user = _authority(url.scheme, authority)
        rest = slash + path
    elif url.scheme and rest.startswith("/"):
        url.omits_host = True
    _check_escapes(rest)
    url.path = _unescaped(rest)
    url.raw_path = "" if rest == _reescaped(rest, _PATH) else rest
    return url


def _reescaped(part: str, plain: frozenset[str]) -> str:
    """The part decoded and escaped again, byte by byte, so that it also holds for bytes that are not UTF-8."""
    pieces = []
    at = 0
    for escape in _ESCAPE.finditer(part):
        octet = chr(int(escape[1], 16))
        pieces.append(_escaped(part[at : escape.start()], plain))
        pieces.append(octet if octet in plain else f"%{ord(octet):02X}")
        at = escape.end()
    pieces.append(_escaped(part[at:], plain))
    return "".join(pieces)


def split_url(text: str) -> Url:
    """The parts of a URI; raises BuiltinError in the words of Go's ``net/url``."""
    head, _, fragment = text.partition("#")
    try:
        url = _parsed(head)
    except BuiltinError as problem:
        raise BuiltinError(f"parse {quoted(head)}: {problem}") from None
    try:
        _check_escapes(fragment)
    except BuiltinError as problem:
        raise BuiltinError(f"parse {quoted(text)}: {problem}") from None
    url.fragment = _unescaped(fragment)
    url.raw_fragment = "" if fragment == _reescaped(fragment, _FRAGMENT) else fragment
    return url


@builtin("uri.parse", (STRING,), object_of(STRING, STRING))
def parse(text: str) -> Object:
    """Those of scheme, hostname, port, path, raw_path, raw_query and fragment that the URI has."""
    url = split_url(text)
    hostname, port = _split_port(url.host)
    parts = {
        "scheme": url.scheme,
        "hostname": hostname,
        "port": port,
        "path": url.path,
        "raw_path": url.raw_path or url.path if url.path else "",
        "raw_query": url.query,
        "fragment": url.fragment,
    }
    return Object({name: part for name, part in parts.items() if part})


@builtin("uri.is_valid", (STRING,), BOOLEAN, operands=((),))
def is_valid(text: Any) -> Boolean:
    """Whether the text is a URI; the empty text is not."""
    if type(text) is not str or not text:
        return boolean(held=False)
    try:
        split_url(text)
    except BuiltinError:
        return boolean(held=False)
    return boolean(held=True)
