"""Private and public keys: read from PEM, DER and JSON Web Keys, and shown as Go's JSON or as JSON Web Keys."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)

from watchkey.rego.builtins import BuiltinError
from watchkey.rego.builtins.armour import decode_base64url, pem_blocks
from watchkey.rego.builtins.x509 import base64_text, parse_certificates
from watchkey.rego.errors import EvaluationError
from watchkey.rego.values import EMPTY_OBJECT, Object, parse_json

ALGORITHMS: Final = frozenset(
    {
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "EdDSA",
    }
)
"""Signature algorithms of JSON Web Tokens that are supported."""

_OTHER_ALGORITHMS: Final = frozenset(
    {
        "none", "ES256K", "dir", "RSA1_5", "RSA-OAEP", "RSA-OAEP-256", "RSA-OAEP-384", "RSA-OAEP-512", "ECDH-ES",
        *[f"A{bits}{mode}" for bits in (128, 192, 256) for mode in ("KW", "GCMKW")],
        *[f"ECDH-ES+A{bits}KW" for bits in (128, 192, 256)],
        "PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW",
    }
)  # fmt: skip
"""Algorithms that a key in a set may be meant for, and that have no part in verifying a token."""

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_GO_CURVES: Final = frozenset({"secp224r1", "secp256r1", "secp384r1", "secp521r1"})
_CURVE_NAMES: Final = {curve.name: name for name, curve in _CURVES.items()}

_PRIVATE_BLOCKS: Final = frozenset({"RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY"})


def load_private(content: bytes) -> Any:
    """A private key of PKCS #1, PKCS #8 or SEC 1; raises BuiltinError."""
    try:
        key: Any = load_der_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BuiltinError("x509: failed to parse private key") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in _GO_CURVES:
        raise BuiltinError("x509: unknown elliptic curve")
    return key


def private_keys(text: str) -> list[Any]:
    """The private keys among the PEM blocks of a text; other blocks are skipped."""
    return [load_private(content) for kind, content, _ in pem_blocks(text) if kind in _PRIVATE_BLOCKS]


# --- as Go shows them ------------------------------------------------------------------------------------------------


def go_value(key: Any) -> Any:
    """A private key as Go's JSON shows its struct."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        precomputed = Object(
            {"Dp": numbers.dmp1, "Dq": numbers.dmq1, "Qinv": numbers.iqmp, "CRTValues": ()},
        )
        public = numbers.public_numbers
        return Object(
            {
                "N": public.n,
                "E": public.e,
                "D": numbers.d,
                "Primes": (numbers.p, numbers.q),
                "Precomputed": precomputed,
            }
        )
    if isinstance(key, ec.EllipticCurvePrivateKey):
        scalars = key.private_numbers()
        point = scalars.public_numbers
        return Object({"Curve": EMPTY_OBJECT, "X": point.x, "Y": point.y, "D": scalars.private_value})
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return base64_text(_raw_private(key) + _raw_public(key.public_key()))
    return EMPTY_OBJECT


def _raw_private(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    return data


def _raw_public(key: Any) -> bytes:
    data: bytes = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return data


# --- JSON Web Keys ---------------------------------------------------------------------------------------------------


def base64url_text(data: bytes) -> str:
    """Base64 for URLs, without padding."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def _number_text(number: int, size: int | None = None) -> str:
    return base64url_text(number.to_bytes(size or (number.bit_length() + 7) // 8, "big"))


def private_jwk(key: Any) -> Object:
    """A private key as a JSON Web Key; raises BuiltinError for kinds that have none."""
    if isinstance(key, rsa.RSAPrivateKey):
        secret = key.private_numbers()
        named = {"d": secret.d, "p": secret.p, "q": secret.q, "dp": secret.dmp1, "dq": secret.dmq1, "qi": secret.iqmp}
        named |= {"n": secret.public_numbers.n, "e": secret.public_numbers.e}
        return Object({"kty": "RSA", **{name: _number_text(number) for name, number in named.items()}})
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVE_NAMES:
        scalars = key.private_numbers()
        point = scalars.public_numbers
        size = (key.key_size + 7) // 8
        named = {"x": point.x, "y": point.y, "d": scalars.private_value}
        shown = {name: _number_text(number, size) for name, number in named.items()}
        return Object({"kty": "EC", "crv": _CURVE_NAMES[key.curve.name], **shown})
    if isinstance(key, ed25519.Ed25519PrivateKey | x25519.X25519PrivateKey):
        curve = "Ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "X25519"
        public = _raw_public(key.public_key())
        return Object({"kty": "OKP", "crv": curve, "x": base64url_text(public), "d": base64url_text(_raw_private(key))})
    raise BuiltinError("jwk.Import: failed to convert the key to a JWK")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebKey:
    """A key with what a key set says of it; `key` is a key of ``cryptography`` or the bytes of a symmetric one."""

    key: Any
    algorithm: str = ""
    name: str = ""


class _MalformedKeyError(Exception):
    """The document is no JSON Web Key."""


def _field(document: Object, name: str) -> bytes:
    text = document.get(name)
    if type(text) is not str or not text:
        raise _MalformedKeyError(f"required field {name} is missing")
    try:
        return decode_base64url(text)
    except BuiltinError:
        raise _MalformedKeyError(f"field {name} is not base64url") from None


def _number(document: Object, name: str) -> int:
    return int.from_bytes(_field(document, name), "big")


def _rsa_key(document: Object) -> Any:
    public = rsa.RSAPublicNumbers(_number(document, "e"), _number(document, "n"))
    if "d" not in document:
        return public.public_key()
    d, p, q = _number(document, "d"), _number(document, "p"), _number(document, "q")
    dmp1, dmq1 = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q)
    return rsa.RSAPrivateNumbers(p, q, d, dmp1, dmq1, rsa.rsa_crt_iqmp(p, q), public).private_key()


def _ec_key(document: Object) -> Any:
    name = document.get("crv")
    curve = _CURVES.get(name) if isinstance(name, str) else None
    if curve is None:
        raise _MalformedKeyError("unknown curve")
    point = ec.EllipticCurvePublicNumbers(_number(document, "x"), _number(document, "y"), curve)
    if "d" in document:
        return ec.EllipticCurvePrivateNumbers(_number(document, "d"), point).private_key()
    return point.public_key()


def _okp_key(document: Object) -> Any:
    curve = document.get("crv")
    if curve not in ("Ed25519", "X25519"):
        raise _MalformedKeyError("unknown curve")
    kinds: Any = ed25519 if curve == "Ed25519" else x25519
    if "d" in document:
        return getattr(kinds, f"{curve}PrivateKey").from_private_bytes(_field(document, "d"))
    return getattr(kinds, f"{curve}PublicKey").from_public_bytes(_field(document, "x"))


_KINDS: Final[dict[str, Callable[[Object], Any]]] = {
    "RSA": _rsa_key,
    "EC": _ec_key,
    "OKP": _okp_key,
    "oct": lambda document: _field(document, "k"),
}


def _web_key(document: Any) -> WebKey:
    if type(document) is not Object:
        raise _MalformedKeyError("a key is not an object")
    kind = document.get("kty")
    read = _KINDS.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise _MalformedKeyError("unknown key type")
    names = [document.get(name, "") for name in ("alg", "kid")]
    if any(type(name) is not str for name in names):
        raise _MalformedKeyError("alg and kid must be strings")
    if names[0] and names[0] not in ALGORITHMS | _OTHER_ALGORITHMS:
        raise _MalformedKeyError("unknown algorithm")
    try:
        return WebKey(key=read(document), algorithm=names[0], name=names[1])
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _MalformedKeyError("the key is not valid") from None


def _listed(document: Any) -> tuple[Any, ...]:
    if type(document) is not Object:
        raise _MalformedKeyError("not an object")
    keys = document.get("keys", (document,))
    if type(keys) is not tuple:
        raise _MalformedKeyError("keys is not an array")
    return keys


def web_keys(text: str, *, prefix: str = "failed to parse a JWK key (set): ") -> list[WebKey]:
    """The keys of a JSON Web Key or key set; raises BuiltinError with the prefix."""
    try:
        return [_web_key(each) for each in _listed(parse_json(text))]
    except EvaluationError:
        raise BuiltinError(f"{prefix}not JSON") from None
    except _MalformedKeyError as problem:
        raise BuiltinError(f"{prefix}{problem}") from None


def verification_keys(text: str) -> list[WebKey]:
    """The keys in a PEM certificate, a PEM public key, or a JSON Web Key (set), for checking signatures with."""
    block = next(pem_blocks(text), None)
    if block is None:
        return [each for each in web_keys(text) if not each.algorithm or each.algorithm in ALGORITHMS]
    kind, content, rest = block
    if rest:
        raise BuiltinError("extra data after a PEM certificate block")
    if kind == "CERTIFICATE":
        try:
            certificates = parse_certificates(content)
        except BuiltinError as problem:
            raise BuiltinError(f"failed to parse a PEM certificate: {problem}") from None
        if len(certificates) != 1:
            raise BuiltinError("failed to parse a PEM certificate: x509: trailing data")
        return [WebKey(key=_public(certificates[0].key_info, "certificate"))]
    if kind == "PUBLIC KEY":
        return [WebKey(key=_public(content, "public key"))]
    raise BuiltinError("failed to extract a Key from the PEM certificate")


def _public(key_info: bytes, what: str) -> Any:
    try:
        key: Any = load_der_public_key(key_info)
    except (ValueError, UnsupportedAlgorithm):
        raise BuiltinError(f"failed to parse a PEM {what}: the key is not valid") from None
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in _GO_CURVES:
        raise BuiltinError(f"failed to parse a PEM {what}: x509: unsupported elliptic curve")
    return key
