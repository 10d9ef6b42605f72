"""Whether a certificate is vouched for by a root: signatures, validity, authority, usages, names and constraints.

The steps are those of Go's ``Certificate.Verify`` with one root. Where a chain asks for what is not checked here
(explicit policies, critical extensions that are not understood), it is not valid.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.uris import split_url
from watchkey.rego.builtins.x509 import Certificate
from watchkey.rego.values import TRUE

_SIGNATURE_CHECKS: Final = 100
_ANY_USAGE: Final = 0
SERVER_AUTH: Final = 1
_CERTIFICATE_SIGN: Final = 32
_ALTERNATIVE_NAMES: Final = (2, 5, 29, 17)

_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class NotTrusted(Exception):
    """No chain leads from the certificate to the root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the certificate must be good for: a name (any if empty), usages in Go's numbers, a time."""

    now_ns: int
    name: str = ""
    usages: tuple[int, ...] = (SERVER_AUTH,)


def verified_chain(certificates: list[Certificate], wanted: Wanted) -> list[Certificate]:
    """The chain from the last certificate to the first, by way of those between; raises NotTrusted."""
    root, leaf = certificates[0], certificates[-1]
    _check_valid(leaf, [], wanted)
    if wanted.name and not _has_name(leaf, wanted.name):
        raise NotTrusted
    if leaf.raw == root.raw:
        chains: Iterable[list[Certificate]] = [[leaf]]
    else:
        chains = _Search(root, certificates[1:-1], wanted).chains([leaf])
    for chain in chains:
        if _usages_fit(chain, wanted.usages) and not _asks_for_policies(chain) and _constraints_hold(chain):
            return chain
    raise NotTrusted


class _Search:
    """Builds chains, with a limit on the signatures that are checked."""

    def __init__(self, root: Certificate, between: list[Certificate], wanted: Wanted) -> None:
        self._root = root
        self._between = between
        self._wanted = wanted
        self._checks = 0

    def chains(self, chain: list[Certificate]) -> Iterator[list[Certificate]]:
        """Every chain that goes on from this one, the root first."""
        child = chain[-1]
        for candidate, is_root in [(self._root, True), *[(each, False) for each in self._between]]:
            if candidate.fields["RawSubject"] != child.fields["RawIssuer"] or _in_chain(candidate, chain):
                continue
            self._checks += 1
            if self._checks > _SIGNATURE_CHECKS:
                raise NotTrusted
            try:
                _check_signed_by(child, candidate)
                _check_valid(candidate, chain, self._wanted)
            except NotTrusted:
                continue
            if is_root:
                yield [*chain, candidate]
            elif candidate.fields["BasicConstraintsValid"] is TRUE and candidate.fields["IsCA"] is TRUE:
                yield from self.chains([*chain, candidate])


def _in_chain(candidate: Certificate, chain: list[Certificate]) -> bool:
    return any(
        each.fields["RawSubject"] == candidate.fields["RawSubject"]
        and each.key_info == candidate.key_info
        and each.extensions.get(_ALTERNATIVE_NAMES) == candidate.extensions.get(_ALTERNATIVE_NAMES)
        for each in chain
    )


def _check_valid(certificate: Certificate, chain: list[Certificate], wanted: Wanted) -> None:
    if certificate.fields["UnhandledCriticalExtensions"]:
        raise NotTrusted
    if not certificate.valid_from <= wanted.now_ns <= certificate.valid_until:
        raise NotTrusted
    longest = certificate.fields["MaxPathLen"]
    if certificate.fields["BasicConstraintsValid"] is TRUE and 0 <= longest < len(chain) - 1:
        raise NotTrusted


def _check_signed_by(child: Certificate, parent: Certificate) -> None:
    constrained, authority = (parent.fields[name] is TRUE for name in ("BasicConstraintsValid", "IsCA"))
    if (parent.fields["Version"] == 3 and not constrained) or (constrained and not authority):
        raise NotTrusted
    usage = parent.fields["KeyUsage"]
    if usage and not usage & _CERTIFICATE_SIGN:
        raise NotTrusted
    try:
        key: Any = load_der_public_key(parent.key_info)
        _check_signature(key, child.fields["SignatureAlgorithm"], child.signature, child.signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        raise NotTrusted from None


def _check_signature(key: Any, algorithm: int, signature: bytes, signed: bytes) -> None:
    """Algorithms in Go's numbers; those over MD5 and SHA-1, and DSA, are not accepted."""
    if isinstance(key, rsa.RSAPublicKey) and 4 <= algorithm <= 6:
        key.verify(signature, signed, padding.PKCS1v15(), _HASHES[algorithm - 4]())
    elif isinstance(key, rsa.RSAPublicKey) and 13 <= algorithm <= 15:
        digest = _HASHES[algorithm - 13]()
        scheme = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        key.verify(signature, signed, scheme, digest)
    elif isinstance(key, ec.EllipticCurvePublicKey) and 10 <= algorithm <= 12:
        key.verify(signature, signed, ec.ECDSA(_HASHES[algorithm - 10]()))
    elif isinstance(key, ed25519.Ed25519PublicKey) and algorithm == 16:
        key.verify(signature, signed)
    else:
        raise InvalidSignature


def _usages_fit(chain: list[Certificate], usages: tuple[int, ...]) -> bool:
    """Whether some wanted usage is allowed by every certificate that limits usages."""
    if _ANY_USAGE in usages:
        return True
    left = set(usages)
    for certificate in chain:
        known = certificate.fields["ExtKeyUsage"] or ()
        if (known or certificate.fields["UnknownExtKeyUsage"]) and _ANY_USAGE not in known:
            left &= set(known)
    return bool(left)


def _asks_for_policies(chain: list[Certificate]) -> bool:
    names = ("RequireExplicitPolicy", "RequireExplicitPolicyZero")
    return any(each.fields[names[0]] or each.fields[names[1]] is TRUE for each in chain)


# --- names -----------------------------------------------------------------------------------------------------------


def _has_name(certificate: Certificate, name: str) -> bool:
    plain = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return str(ip_address(plain)) in (certificate.fields["IPAddresses"] or ())
    except ValueError:
        pass
    wanted = name.lower().removesuffix(".").split(".")
    patterns = certificate.fields["DNSNames"] or ()
    return all(wanted) and any(_matches(pattern.lower().removesuffix(".").split("."), wanted) for pattern in patterns)


def _matches(pattern: list[str], labels: list[str]) -> bool:
    if len(pattern) != len(labels) or not all(pattern):
        return False
    return pattern[1:] == labels[1:] and pattern[0] in ("*", labels[0])


def _constraints_hold(chain: list[Certificate]) -> bool:
    """Whether each authority's name constraints hold for the names of everything below it."""
    for position, authority in enumerate(chain[1:], start=1):
        limits = [authority.fields[side + kind] for side in ("Permitted", "Excluded") for kind in _KINDS]
        if any(limits) and not all(_names_allowed(authority, below) for below in chain[:position]):
            return False
    return True


_KINDS: Final = {
    "DNSDomains": "DNSNames",
    "EmailAddresses": "EmailAddresses",
    "URIDomains": "URIStrings",
    "IPRanges": "IPAddresses",
}


def _names_allowed(authority: Certificate, below: Certificate) -> bool:
    for kind, names_field in _KINDS.items():
        permitted, excluded = authority.fields["Permitted" + kind], authority.fields["Excluded" + kind] or ()
        for name in below.fields[names_field] or ():
            if any(_within(kind, name, limit, excluding=True) for limit in excluded):
                return False
            if permitted and not any(_within(kind, name, limit) for limit in permitted):
                return False
    return True


def _within(kind: str, name: str, limit: Any, *, excluding: bool = False) -> bool:
    """Whether a name lies within a constraint; one that cannot be read is within every exclusion, no permission."""
    if kind == "IPRanges":
        return _in_range(name, limit)
    if kind == "EmailAddresses":
        mailbox, at, host = name.rpartition("@")
        if "@" in limit:
            box, _, domain = limit.rpartition("@")
            return bool(mailbox == box and host.lower() == domain.lower())
        return _in_domain(host, limit) if at else excluding
    if kind == "URIDomains":
        host = _uri_host(name)
        return _in_domain(host, limit) if host else excluding
    if excluding and name.startswith("*.") and (limit.lower().removeprefix(".") + ".").endswith(name[1:].lower() + "."):
        return True
    return _in_domain(name, limit)


def _uri_host(text: str) -> str:
    try:
        host = split_url(text).host.rpartition("@")[2].partition(":")[0]
    except BuiltinError:
        return ""
    try:
        ip_address(host)
    except ValueError:
        return "" if host.startswith("[") else host
    return ""


def _in_domain(name: str, limit: str) -> bool:
    name, limit = name.lower().removesuffix("."), limit.lower()
    if not limit:
        return True
    if limit.startswith("."):
        return name.endswith(limit)
    return name == limit or name.endswith("." + limit)


def _in_range(name: str, limit: Any) -> bool:
    address, base = ip_address(name), ip_address(limit["IP"])
    mask = int.from_bytes(b64decode(limit["Mask"]), "big")
    return address.version == base.version and int(address) & mask == int(base) & mask
