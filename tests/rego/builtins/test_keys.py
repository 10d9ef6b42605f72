"""Private keys and JSON Web Keys, there and back."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from tests.rego.builtins import making
from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.keys import go_value, private_jwk, private_keys, verification_keys, web_keys
from watchkey.rego.values import json_text

KINDS = ("rsa", "p256", "p384", "p521", "ed25519")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_survives_its_web_key(kind: str) -> None:
    private = private_keys(making.private_pem(kind))[0]
    again = web_keys(json_text(private_jwk(private)))[0].key
    public = making.key(kind).public_key()
    assert again.public_key() == public


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_both_pem_forms(kind: str) -> None:
    assert len(private_keys(making.private_pem(kind) + making.private_pem(kind, PrivateFormat.TraditionalOpenSSL))) == 2


def test_go_shows_numbers() -> None:
    numbers = making.key("rsa").private_numbers()
    shown = go_value(making.key("rsa"))
    assert (shown["D"], shown["Primes"]) == (numbers.d, (numbers.p, numbers.q))
    assert set(go_value(making.key("p256"))) == {"Curve", "X", "Y", "D"}


def test_curves_that_go_does_not_know() -> None:
    with pytest.raises(BuiltinError, match="unknown elliptic curve"):
        private_keys(making.private_pem("p256k1"))
    with pytest.raises(BuiltinError, match="unsupported elliptic curve"):
        verification_keys(making.public_pem("p256k1"))


def test_what_signatures_can_be_checked_with() -> None:
    for text in (making.public_pem("rsa"), making.root(), json_text(private_jwk(making.key("p256")))):
        assert len(verification_keys(text)) == 1
    several = {"keys": [json.loads(json_text(private_jwk(making.key(kind)))) | {"kid": kind} for kind in KINDS]}
    assert [each.name for each in verification_keys(json.dumps(several))] == list(KINDS)


def test_a_key_meant_for_something_else_is_skipped() -> None:
    key = json.loads(json_text(private_jwk(making.key("rsa"))))
    assert verification_keys(json.dumps(key | {"alg": "RSA-OAEP"})) == []
    assert len(verification_keys(json.dumps(key | {"alg": "RS256"}))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"keys": 1}',
        '{"kty": "foo"}',
        '{"kty": 1}',
        '{"kty": "RSA"}',
        '{"kty": "RSA", "n": "", "e": "AQAB"}',
        '{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}',
        '{"kty": "EC", "crv": 1}',
        '{"kty": "OKP", "crv": "Ed25519", "x": "AA"}',
        '{"kty": "oct", "k": "!"}',
        '{"kty": "oct", "k": "AA", "alg": "FOO"}',
        '{"kty": "oct", "k": "AA", "kid": 1}',
    ],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(BuiltinError, match=r"failed to parse a JWK key \(set\)"):
        verification_keys(text)


def test_what_follows_a_certificate_is_an_error() -> None:
    with pytest.raises(BuiltinError, match="extra data after a PEM certificate block"):
        verification_keys(making.public_pem("rsa") + "x")
    with pytest.raises(BuiltinError, match="failed to extract a Key"):
        verification_keys(making.private_pem("rsa"))
