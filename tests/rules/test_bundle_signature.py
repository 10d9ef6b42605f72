"""The signature of a bundle: what its key signed and nothing else."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from watchkey.model.errors import Malformed, Refused
from watchkey.rules.bundle_signature import ALGORITHMS, BundleKey, public_pem, sign_claims, verify_token

CLAIMS = {"files": [{"name": "p.rego", "hash": "00", "algorithm": "SHA-256"}], "scope": "é"}
SECRET = "a shared secret of more than 32 bytes, as text"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = {
    "RS": RSA, "PS": RSA, "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()), "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}  # fmt: skip


def pem(private: object) -> str:
    return private.private_bytes(  # type: ignore[attr-defined, no-any-return]  # each kind of key has it
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def signing_key(algorithm: str) -> BundleKey:
    if algorithm.startswith("HS"):
        return BundleKey(id="k1", algorithm=algorithm, material=SECRET)
    private = PRIVATE.get(algorithm) or PRIVATE[algorithm[:2]]
    return BundleKey(id="k1", algorithm=algorithm, material=pem(private))


def verifying_key(key: BundleKey) -> BundleKey:
    if key.algorithm.startswith("HS"):
        return key
    return BundleKey(id=key.id, algorithm=key.algorithm, material=public_pem(key))


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_signed_verifies_and_a_changed_byte_does_not(algorithm: str) -> None:
    key = signing_key(algorithm)
    token = sign_claims(CLAIMS, key)
    keys = {"k1": verifying_key(key)}
    assert verify_token(token, keys) == CLAIMS
    header, _, signature = token.split(".")
    with pytest.raises(Refused, match="not genuine"):
        verify_token(f"{header}.{encoded({'files': []})}.{signature}", keys)
    with pytest.raises(Refused, match="not genuine"):
        verify_token(token.rpartition(".")[0] + ".AAAA", keys)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if not name.startswith("PS")])
def test_equal_claims_have_equal_signatures(algorithm: str) -> None:
    assert sign_claims(CLAIMS, signing_key(algorithm)) == sign_claims(CLAIMS, signing_key(algorithm))


def test_the_algorithm_is_that_of_the_key() -> None:
    public = verifying_key(signing_key("RS256"))
    forged = sign_claims(CLAIMS, BundleKey(id="k1", algorithm="HS256", material=public.material))
    with pytest.raises(Refused, match="another algorithm"):
        verify_token(forged, {"k1": public})
    header = encoded({"alg": "none", "kid": "k1"})
    with pytest.raises(Refused, match="another algorithm"):
        verify_token(f"{header}.{encoded(CLAIMS)}.", {"k1": public})


def test_an_unknown_key_is_refused_and_a_named_one_wins() -> None:
    key = signing_key("HS256")
    token = sign_claims(CLAIMS, key)
    with pytest.raises(Refused, match="not configured"):
        verify_token(token, {})
    with pytest.raises(Refused, match="not configured"):
        verify_token(token, {"k1": key}, key_id="k2")
    assert verify_token(token, {"k2": key}, key_id="k2") == CLAIMS


def test_extensions_are_refused() -> None:
    key = signing_key("HS256")
    token = sign_claims(CLAIMS, key)
    header = encoded({"alg": "HS256", "kid": "k1", "crit": ["b64"]})
    with pytest.raises(Refused, match="extensions"):
        verify_token(f"{header}.{token.partition('.')[2]}", {"k1": key})


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c.d", "é.b.c", f"{encoded([])}.{encoded({})}.x", "e30.e3.x", "*.*.*"]
)
def test_what_is_no_token_is_malformed(token: str) -> None:
    with pytest.raises(Malformed):
        verify_token(token, {"k1": signing_key("HS256")})


def test_a_key_that_does_not_fit_is_refused() -> None:
    for algorithm, material in (
        ("HS256", "short"),
        ("RS256", pem(PRIVATE["ES256"])),
        ("ES256", pem(PRIVATE["ES384"])),
        ("EdDSA", pem(RSA)),
        ("ES256", "not PEM"),
        ("RS256", pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))),  # noqa: S505 -- the point of it
    ):
        with pytest.raises(Refused):
            sign_claims(CLAIMS, BundleKey(id="k", algorithm=algorithm, material=material))


def test_a_secret_has_no_public_half_and_shows_in_no_text() -> None:
    key = signing_key("HS256")
    with pytest.raises(Refused, match="no public half"):
        public_pem(key)
    assert SECRET not in repr(key)
