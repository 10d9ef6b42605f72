"""Makes keys and certificates for the tests: a root, intermediates and leaves, and what is wrong with them."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW_NS = 1_700_000_000 * 10**9
CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
NAMES = x509.SubjectAlternativeName(
    [
        x509.DNSName("db.example.com"),
        x509.DNSName("*.w.example.com"),
        x509.RFC822Name("me@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/db"),
        x509.IPAddress(ip_address("10.1.2.3")),
    ]
)


@cache
def key(kind: str) -> Any:
    """One key of each kind: rsa, p256, p384, p521, p256k1, ed25519."""
    curves = {
        "p256": ec.SECP256R1,
        "p384": ec.SECP384R1,
        "p521": ec.SECP521R1,
        "p256k1": ec.SECP256K1,
        "leaf": ec.SECP256R1,
    }
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(curves[kind]())


def private_pem(kind: str, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """The key's PEM."""
    return str(key(kind).private_bytes(Encoding.PEM, form, NoEncryption()).decode())


def public_pem(kind: str) -> str:
    """The public key's PEM."""
    return str(key(kind).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def name(common: str) -> x509.Name:
    """A name with an organization and a common name."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Org"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def authority(length: int | None = None) -> tuple[x509.ExtensionType, bool]:
    """Basic constraints of an authority."""
    return x509.BasicConstraints(ca=True, path_length=length), True


def within(permitted: list[Any] | None = None, excluded: list[Any] | None = None) -> tuple[x509.ExtensionType, bool]:
    """Name constraints."""
    return x509.NameConstraints(permitted, excluded), True


def certificate(
    subject: str,
    issuer: str,
    keys: tuple[str, str],
    *extensions: tuple[x509.ExtensionType, bool],
    until: int = 2049,
) -> str:
    """PEM of a certificate; `keys` are its own and its issuer's."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key(keys[0]).public_key())
        .serial_number(2**70 + 5)
        .not_valid_before(datetime(2020, 1, 1))  # noqa: DTZ001 - the library takes times as UTC
        .not_valid_after(datetime(until, 1, 1))  # noqa: DTZ001 - same
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key(keys[1]), hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def root() -> str:
    """A root that signs with P-384."""
    return certificate("root", "root", ("p384", "p384"), authority())


def intermediate(*extensions: tuple[x509.ExtensionType, bool], until: int = 2049) -> str:
    """Signed by the root; an authority unless other extensions are given."""
    return certificate("int", "root", ("rsa", "p384"), *(extensions or (authority(0),)), until=until)


def leaf(*extensions: tuple[x509.ExtensionType, bool]) -> str:
    """Signed by the intermediate."""
    return certificate("leaf", "int", ("leaf", "rsa"), *(extensions or ((NAMES, False),)))


def network(text: str) -> x509.IPAddress:
    """A range of addresses for name constraints."""
    return x509.IPAddress(ip_network(text))
