"""crypto.x509.* and crypto.parse_private_keys."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from tests.rego.builtins import making
from tests.rego.builtins.calling import Context, call
from watchkey.rego.errors import BuiltinError, LimitExceeded
from watchkey.rego.values import FALSE, TRUE

CHAIN = making.root() + making.intermediate() + making.leaf()


def common_names(found: Any) -> list[str]:
    return [each["Subject"]["CommonName"] for each in found]


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


def context(now_ns: int | None = making.NOW_NS) -> Context:
    return Context(now_ns=now_ns)


@pytest.mark.parametrize("text", [CHAIN, encoded(CHAIN)])
def test_parse(text: str) -> None:
    assert common_names(call("crypto.x509.parse_certificates", text)) == ["root", "int", "leaf"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("foobar", "illegal base64 data at input byte 4"),
        ("YmFkc3RyaW5n", "x509: malformed certificate"),
        (making.private_pem("rsa"), "PEM block type is 'PRIVATE KEY', expected CERTIFICATE"),
    ],
)
def test_parse_refuses(text: str, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("crypto.x509.parse_certificates", text)


def test_verify() -> None:
    valid, chain = call("crypto.x509.parse_and_verify_certificates", CHAIN, ctx=context())
    assert valid is TRUE
    assert common_names(chain) == ["leaf", "int", "root"]


@pytest.mark.parametrize("text", ["", "x", making.root(), making.root() + making.leaf(), CHAIN + making.root()])
def test_what_does_not_verify_is_false_and_empty(text: str) -> None:
    assert call("crypto.x509.parse_and_verify_certificates", text, ctx=context()) == (FALSE, ())


def test_without_a_time_nothing_verifies() -> None:
    assert call("crypto.x509.parse_and_verify_certificates", CHAIN, ctx=context(None)) == (FALSE, ())


@pytest.mark.parametrize(
    ("options", "valid"),
    [
        ({}, TRUE),
        ({"DNSName": "db.example.com"}, TRUE),
        ({"DNSName": "other"}, FALSE),
        ({"CurrentTime": 0}, FALSE),
        ({"KeyUsages": ["KeyUsageClientAuth"]}, TRUE),
        ({"KeyUsages": {"KeyUsageAny"}, "MaxConstraintComparisons": 5}, TRUE),
    ],
)
def test_options(options: Any, valid: Any) -> None:
    found = call("crypto.x509.parse_and_verify_certificates_with_options", CHAIN, options, ctx=context())
    assert found[0] is valid


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"DNSName": 1}, "'DNSName' should be a string"),
        ({"CurrentTime": "x"}, "'CurrentTime' should be a number"),
        ({"CurrentTime": 1.5}, "should be a valid int64 number"),
        ({"KeyUsages": "x"}, "'KeyUsages' should be an Array or Set"),
        ({"KeyUsages": ["x"]}, r"invalid entries for 'KeyUsages' found: \[x\]"),
        ({"foo": 1}, "invalid key option"),
    ],
)
def test_options_that_are_not(options: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("crypto.x509.parse_and_verify_certificates_with_options", CHAIN, options, ctx=context())


def test_keypair() -> None:
    found = call("crypto.x509.parse_keypair", making.intermediate(), encoded(making.private_pem("rsa")))
    assert found["Leaf"]["Subject"]["CommonName"] == "int"
    assert found["PrivateKey"]["N"] == making.key("rsa").public_key().public_numbers().n


@pytest.mark.parametrize(
    ("certificate", "key", "problem"),
    [
        (making.root(), making.private_pem("rsa"), "private key does not match public key"),
        (making.private_pem("rsa"), making.private_pem("rsa"), "failed to find any PEM data in certificate input"),
        (making.root(), making.public_pem("rsa"), "failed to find any PEM data in key input"),
        (making.root(), encoded("junk"), "failed to parse private key"),
    ],
)
def test_keypairs_that_are_not(certificate: Any, key: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("crypto.x509.parse_keypair", certificate, key)


def test_private_keys() -> None:
    both = making.private_pem("rsa") + making.private_pem("p256")
    assert len(call("crypto.parse_private_keys", both)) == 2
    assert len(call("crypto.parse_private_keys", encoded(both))) == 2
    assert call("crypto.parse_private_keys", "nope") == ()
    assert call("crypto.parse_private_keys", "") is None


def test_private_key_as_web_key() -> None:
    assert call("crypto.x509.parse_rsa_private_key", making.private_pem("p256"))["crv"] == "P-256"
    assert call("crypto.x509.parse_rsa_private_key", making.public_pem("rsa")) is None
    with pytest.raises(BuiltinError, match="input PEM data was empty"):
        call("crypto.x509.parse_rsa_private_key", "")


@pytest.mark.parametrize("text", ["foobar", "YmFkc3RyaW5n"])
def test_requests_that_are_not(text: str) -> None:
    with pytest.raises(BuiltinError, match=r"illegal base64|asn1: structure error"):
        call("crypto.x509.parse_certificate_request", text)


def test_verification_is_paid_for() -> None:
    with pytest.raises(LimitExceeded):
        call("crypto.x509.parse_and_verify_certificates", CHAIN, ctx=Context(steps=500, now_ns=making.NOW_NS))
