"""Certificates and requests as Rego objects."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rego.builtins import making
from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.armour import pem_blocks
from watchkey.rego.builtins.x509 import parse_certificates, parse_request
from watchkey.rego.values import FALSE, TRUE


def content(pem: str) -> bytes:
    return next(pem_blocks(pem))[1]


def fields(pem: str) -> dict:
    return parse_certificates(content(pem))[0].fields


def test_names_serial_and_times() -> None:
    found = fields(making.root())
    assert found["Subject"]["CommonName"] == "root"
    assert found["Subject"]["Organization"] == ("Org",)
    assert found["Subject"]["Country"] is None
    assert found["SerialNumber"] == 2**70 + 5
    assert (found["NotBefore"], found["NotAfter"]) == ("2020-01-01T00:00:00Z", "2049-01-01T00:00:00Z")
    assert found["Version"] == 3


def test_keys_and_signatures_in_go_numbers() -> None:
    found = fields(making.root())
    assert (found["PublicKeyAlgorithm"], found["SignatureAlgorithm"]) == (3, 10)
    assert found["PublicKey"]["X"] == making.key("p384").public_key().public_numbers().x
    assert fields(making.intermediate())["PublicKey"]["N"] == making.key("rsa").public_key().public_numbers().n


def test_alternative_names() -> None:
    found = fields(making.leaf())
    assert found["DNSNames"] == ("db.example.com", "*.w.example.com")
    assert found["EmailAddresses"] == ("me@example.com",)
    assert found["IPAddresses"] == ("10.1.2.3",)
    assert found["URIStrings"] == ("spiffe://example.com/db",)
    assert (found["URIs"][0]["Host"], found["URIs"][0]["Path"]) == ("example.com", "/db")


def test_constraints() -> None:
    found = fields(making.intermediate())
    assert (found["IsCA"], found["MaxPathLen"], found["MaxPathLenZero"]) == (TRUE, 0, TRUE)
    assert fields(making.root())["MaxPathLen"] == -1
    limited = fields(making.intermediate(making.authority(), making.within([making.network("10.0.0.0/8")])))
    assert limited["PermittedIPRanges"][0]["IP"] == "10.0.0.0"
    assert limited["PermittedDNSDomainsCritical"] is TRUE


def test_usages() -> None:
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, x509.ObjectIdentifier("1.2.3.4")])
    found = fields(making.leaf((usages, False)))
    assert (found["ExtKeyUsage"], found["UnknownExtKeyUsage"]) == ((2,), ((1, 2, 3, 4),))


def test_a_critical_extension_that_is_not_understood_is_listed() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.9"), b"\x05\x00")
    assert fields(making.leaf((unknown, True)))["UnhandledCriticalExtensions"] == ((1, 2, 3, 9),)
    assert fields(making.leaf((unknown, False)))["UnhandledCriticalExtensions"] is None


def test_several_in_a_row_and_uri_strings_only_where_wanted() -> None:
    both = parse_certificates(content(making.root()) + content(making.leaf()))
    assert len(both) == 2
    assert "URIStrings" in both[1].value(uri_strings=True)
    assert "URIStrings" not in both[1].value(uri_strings=False)


@pytest.mark.parametrize("data", [b"badstring", b"\x30\x00", b"\x30\x03\x02\x01\x01"])
def test_what_is_no_certificate(data: Any) -> None:
    with pytest.raises(BuiltinError, match="malformed certificate"):
        parse_certificates(data)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_certificate_is_read_or_refused(data: Any) -> None:
    raw = bytearray(content(making.leaf()))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    complaint = ""
    try:
        parse_certificates(bytes(raw))
    except BuiltinError as problem:
        complaint = str(problem)
    assert complaint in ("", "x509: malformed certificate") or complaint.startswith("parsing time")


def test_requests() -> None:
    builder = (
        x509.CertificateSigningRequestBuilder().subject_name(making.name("want")).add_extension(making.NAMES, False)
    )
    request = parse_request(builder.sign(making.key("rsa"), hashes.SHA256()).public_bytes(Encoding.DER))
    assert request["Subject"]["CommonName"] == "want"
    assert request["DNSNames"] == ("db.example.com", "*.w.example.com")
    assert request["Version"] == 0
    assert request["Attributes"][0]["Type"] == (1, 2, 840, 113549, 1, 9, 14)
    assert request["Extensions"][0]["Critical"] is FALSE


def test_what_is_no_request() -> None:
    with pytest.raises(BuiltinError, match="asn1: structure error"):
        parse_request(b"badstring")
