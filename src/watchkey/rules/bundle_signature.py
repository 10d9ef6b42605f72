"""Signs and verifies the claims of an OPA bundle: a compact JWT (RFC 7515) with the algorithms that OPA takes.

The algorithm belongs to the key, never to the token: a token that names another one is refused.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from watchkey.model.errors import Malformed, Refused

TOKEN_BYTES_MAX: Final = 4 * 1024 * 1024
"""A signature names every file of a bundle; the largest bundle that is taken has far fewer than this is room for."""
SECRET_BYTES_MIN: Final = 32
"""A shared secret shorter than its hash can be guessed (RFC 7518, section 3.2)."""
RSA_BITS_MIN: Final = 2048

_HASHES: Final[Mapping[str, Callable[[], hashes.HashAlgorithm]]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
_CURVES: Final = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}
ALGORITHMS: Final = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleKey:
    """A key with its algorithm and the name by which the other side finds it.

    `material` is the text of a shared secret for HS…, as it is written; else PEM, a private key to sign with, a public
    one or a certificate to verify with.
    """

    id: str
    algorithm: str
    material: str = field(repr=False)


def sign_claims(claims: Mapping[str, Any], key: BundleKey) -> str:
    """The token. Equal claims give equal bytes, except with PS…, which is salted. Raises `Refused` for an unfit key."""
    header = {"alg": key.algorithm, "kid": key.id, "typ": "JWT"}
    signed = f"{_encoded(_json(header))}.{_encoded(_json(claims))}"
    return f"{signed}.{_encoded(_sign(signed.encode('ascii'), key))}"


def verify_token(token: str, keys: Mapping[str, BundleKey], *, key_id: str = "") -> dict[str, Any]:
    """The claims of a token that one of the keys has signed; with `key_id`, that one only.

    Raises `Malformed` for what is no token, `Refused` for a signature or a key that is not to be trusted.
    """
    parts = token.split(".") if len(token) <= TOKEN_BYTES_MAX else []
    if len(parts) != 3:
        raise Malformed("the signature is no compact JWT")
    header, claims = _object(parts[0], "header"), _object(parts[1], "claims")
    named = key_id or header.get("kid") or claims.get("keyid")
    key = keys.get(named) if isinstance(named, str) else None
    if key is None:
        raise Refused("the bundle is signed with a key that is not configured")
    if header.get("alg") != key.algorithm:
        raise Refused(f"the bundle is signed with another algorithm than {key.algorithm}, which is that of the key")
    if "crit" in header:
        raise Refused("the signature demands extensions that nobody here knows")
    if not _is_genuine(f"{parts[0]}.{parts[1]}".encode("ascii"), _decoded(parts[2], "signature"), key):
        raise Refused("the signature of the bundle is not genuine")
    return claims


def public_pem(key: BundleKey) -> str:
    """The public half of a private key, as the other side configures it. Raises `Refused` for a shared secret."""
    if key.algorithm.startswith("HS"):
        raise Refused(f"{key.algorithm} has a shared secret and no public half")
    found = _private(key).public_key()
    return found.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


# -- inside --------------------------------------------------------------------------------------------------------


def _sign(data: bytes, key: BundleKey) -> bytes:
    if key.algorithm.startswith("HS"):
        return _mac(data, key)
    private = _private(key)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    digest = _HASHES[key.algorithm[2:]]()
    if isinstance(private, rsa.RSAPrivateKey):
        return private.sign(data, _rsa_padding(key.algorithm, digest), digest)
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(digest, deterministic_signing=True)))
    size = (private.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _is_genuine(data: bytes, signature: bytes, key: BundleKey) -> bool:
    if key.algorithm.startswith("HS"):
        return hmac.compare_digest(_mac(data, key), signature)
    public = _public(key)
    try:
        if isinstance(public, ed25519.Ed25519PublicKey):
            public.verify(signature, data)
            return True
        digest = _HASHES[key.algorithm[2:]]()
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, data, _rsa_padding(key.algorithm, digest), digest)
            return True
        size = (public.curve.key_size + 7) // 8
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        public.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
    except InvalidSignature:
        return False
    return True


def _mac(data: bytes, key: BundleKey) -> bytes:
    secret = key.material.encode()
    if len(secret) < SECRET_BYTES_MIN:
        raise Refused(f"the shared secret {key.id!r} is shorter than {SECRET_BYTES_MIN} bytes")
    return hmac.new(secret, data, getattr(hashlib, f"sha{key.algorithm[2:]}")).digest()


def _rsa_padding(algorithm: str, digest: hashes.HashAlgorithm) -> padding.AsymmetricPadding:
    if algorithm.startswith("PS"):
        return padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
    return padding.PKCS1v15()


_Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_Public = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def _private(key: BundleKey) -> _Private:
    try:
        found = serialization.load_pem_private_key(key.material.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(f"the key {key.id!r} is no private key in PEM without a password") from None
    if not isinstance(found, _Private):
        raise Refused(f"the key {key.id!r} is of a kind that no algorithm here uses")
    _fit(key, found.public_key())
    return found


def _public(key: BundleKey) -> _Public:
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415 -- slow to load, and rarely needed

    material = key.material.encode()
    try:
        if b"BEGIN CERTIFICATE" in material:
            found: Any = load_pem_x509_certificate(material).public_key()
        else:
            found = serialization.load_pem_public_key(material)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(f"the key {key.id!r} is no public key or certificate in PEM") from None
    if not isinstance(found, _Public):
        raise Refused(f"the key {key.id!r} is of a kind that no algorithm here uses")
    _fit(key, found)
    return found


def _fit(key: BundleKey, public: _Public) -> None:
    """Refuse a key that is not one of its algorithm."""
    algorithm = key.algorithm
    if isinstance(public, rsa.RSAPublicKey):
        fits = algorithm in ALGORITHMS and algorithm[:2] in {"RS", "PS"}
        if fits and public.key_size < RSA_BITS_MIN:
            raise Refused(f"the key {key.id!r} has fewer than {RSA_BITS_MIN} bits")
    elif isinstance(public, ec.EllipticCurvePublicKey):
        fits = _CURVES.get(algorithm) == public.curve.name
    else:
        fits = algorithm == "EdDSA"
    if not fits:
        raise Refused(f"the key {key.id!r} is not one for {algorithm}")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decoded(text: str, what: str) -> bytes:
    try:
        raw = text.encode("ascii")
        data = base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed(f"the {what} of the signature is not base64url") from None
    return data


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(text, what))
    except (ValueError, RecursionError):
        raise Malformed(f"the {what} of the signature is not JSON") from None
    if not isinstance(value, dict):
        raise Malformed(f"the {what} of the signature is not an object")
    return value
