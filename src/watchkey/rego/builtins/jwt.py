"""Built-ins of JSON Web Tokens: decoding, verifying and signing."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from watchkey.rego.builtins import BuiltinError, CallContext, builtin, operand_error
from watchkey.rego.builtins.armour import decode_base64url
from watchkey.rego.builtins.go_json import go_json
from watchkey.rego.builtins.keys import ALGORITHMS, WebKey, base64url_text, verification_keys, web_keys
from watchkey.rego.errors import EvaluationError
from watchkey.rego.types import ANY, BOOLEAN, OBJECT, STRING, object_of, tuple_of
from watchkey.rego.values import (
    EMPTY_OBJECT,
    FALSE,
    NUMBER_TYPES,
    TRUE,
    Boolean,
    Object,
    boolean,
    parse_json,
    type_name,
)

_FIELDS: Final = object_of(STRING, ANY)
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_KEY_STEPS: Final = 500
"""Steps that one use of a key costs."""

_MOST_NESTED: Final = 16
_UNVERIFIED: Final = (FALSE, EMPTY_OBJECT, EMPTY_OBJECT)


# --- the parts of a token --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    payload: str
    signature: str

    @property
    def signed(self) -> bytes:
        return f"{self.header}.{self.payload}".encode()


def _split(token: Any) -> _Token:
    if type(token) is not str:
        raise operand_error(1, token, "string")
    parts = token.split(".")
    if len(parts) == 1:
        raise BuiltinError("encoded JWT had no period separators")
    if len(parts) != 3:
        raise BuiltinError(f"encoded JWT must have 3 sections, found {len(parts)}")
    return _Token(*parts)


def _part(text: str, what: str) -> bytes:
    try:
        return decode_base64url(text)
    except BuiltinError as problem:
        raise BuiltinError(f"JWT {what} had invalid encoding: {problem}") from None


def _object(data: bytes) -> Object:
    try:
        document = parse_json(data.decode("utf-8", "replace"))
    except EvaluationError as problem:
        raise BuiltinError(f"invalid JSON: {problem.message}") from None
    if type(document) is not Object:
        raise BuiltinError("decoded JSON type was not an Object")
    return document


def _header(token: _Token) -> Object:
    data = _part(token.header, "header")
    try:
        header = _object(data)
    except BuiltinError as problem:
        raise BuiltinError(f"bad JWT header: {problem}") from None
    if "enc" in header:
        raise BuiltinError("JWT is a JWE object, which is not supported")
    return header


@builtin("io.jwt.decode", (STRING,), tuple_of(OBJECT, OBJECT, STRING))
def decode(text: str) -> tuple[Any, ...]:
    """``[header, payload, signature in hexadecimal]``, nothing verified; of the innermost where tokens nest."""
    for _ in range(_MOST_NESTED):
        token = _split(text)
        header = _header(token)
        payload = _part(token.payload, "payload")
        if header.get("cty") != "JWT":
            return header, _object(payload), _part(token.signature, "signature").hex()
        text = payload.decode("utf-8", "replace").strip("\"'")
    raise BuiltinError(f"JWT is nested more than {_MOST_NESTED} times")


# --- signatures ------------------------------------------------------------------------------------------------------


def _verify_rsa(digest: hashes.HashAlgorithm, *, pss: bool, salt_of_digest: bool = False) -> Callable[..., None]:
    def verify(key: Any, signature: bytes, signed: bytes) -> None:
        if not isinstance(key, rsa.RSAPublicKey):
            raise InvalidSignature
        scheme: Any = padding.PKCS1v15()
        if pss:
            salt = padding.PSS.DIGEST_LENGTH if salt_of_digest else padding.PSS.AUTO
            scheme = padding.PSS(padding.MGF1(digest), salt)
        key.verify(signature, signed, scheme, digest)

    return verify


def _verify_ec(digest: hashes.HashAlgorithm) -> Callable[..., None]:
    def verify(key: Any, signature: bytes, signed: bytes) -> None:
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        half = len(signature) // 2
        r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))

    return verify


def _verify_ed(key: Any, signature: bytes, signed: bytes) -> None:
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise InvalidSignature
    key.verify(signature, signed)


def _holds(verify: Callable[..., None], key: Any, signature: bytes, signed: bytes) -> bool:
    try:
        verify(key, signature, signed)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _any_key_holds(
    ctx: CallContext, keys: list[WebKey], header: dict[str, str], verify: Callable[[WebKey], bool]
) -> bool:
    """Whether the key that the header names verifies, or, where no key has that name, any whose algorithm fits."""
    named = [key for key in keys if header["kid"] and key.name == header["kid"]]
    candidates = named[:1] or [key for key in keys if key.algorithm in ("", header["alg"])]
    for key in candidates:
        ctx.spend(_KEY_STEPS)
        if verify(key):
            return True
    return False


_TEXT_FIELDS: Final = ("alg", "kid", "typ", "cty")


def _known_header(header: Object) -> tuple[dict[str, str], frozenset[str]]:
    """The header's fields that matter here, ``""`` where missing, and the names it says are critical."""
    known = dict.fromkeys(_TEXT_FIELDS, "")
    critical: frozenset[str] = frozenset()
    for name, value in header.pairs():
        if name == "crit":
            critical = _critical(value)
        elif name in known:
            if type(value) is not str:
                raise BuiltinError(f"{name}: must be a string")
            known[name] = value
    return known, critical


def _critical(value: Any) -> frozenset[str]:
    if type(value) is not tuple:
        raise BuiltinError("crit: must be a list")
    names = []
    for name in value:
        if type(name) is not str:
            break
        names.append(name)
    if not names:
        raise BuiltinError("crit: must be a nonempty list")
    return frozenset(names)


def _declare_verify(algorithm: str, verify: Callable[..., None]) -> None:
    def check(ctx: CallContext, text: str, certificate: str) -> Boolean:
        token = _split(text)
        keys = verification_keys(certificate)
        signature = decode_base64url(token.signature)
        header, _ = _known_header(_header(token))
        signed = token.signed
        return boolean(_any_key_holds(ctx, keys, header, lambda key: _holds(verify, key.key, signature, signed)))

    builtin(f"io.jwt.verify_{algorithm}", (STRING, STRING), BOOLEAN, context=True)(check)


def _declare_verify_hmac(bits: str) -> None:
    def check(text: str, secret: str) -> Boolean:
        token = _split(text)
        mac = hmac.new(secret.encode(), token.signed, f"sha{bits}").digest()
        return boolean(hmac.compare_digest(decode_base64url(token.signature), mac))

    builtin(f"io.jwt.verify_hs{bits}", (STRING, STRING), BOOLEAN)(check)


for _bits, _digest in _HASHES.items():
    _declare_verify(f"rs{_bits}", _verify_rsa(_digest, pss=False))
    _declare_verify(f"ps{_bits}", _verify_rsa(_digest, pss=True))
    _declare_verify(f"es{_bits}", _verify_ec(_digest))
    _declare_verify_hmac(_bits)
_declare_verify("eddsa", _verify_ed)


# --- decode and verify -----------------------------------------------------------------------------------------------


def _verifies(algorithm: str, key: Any, signature: bytes, signed: bytes) -> bool:
    """Whether a signature of that algorithm holds; never with a key of another kind than the algorithm's."""
    digest = _HASHES.get(algorithm[2:])
    family = algorithm[:2]
    if isinstance(key, bytes):
        return family == "HS" and digest is not None and _hmac_holds(algorithm[2:], key, signature, signed)
    public = key.public_key() if hasattr(key, "public_key") else key
    if algorithm == "EdDSA":
        return _holds(_verify_ed, public, signature, signed)
    if digest is None:
        return False
    if family in ("RS", "PS"):
        verify = _verify_rsa(digest, pss=family == "PS", salt_of_digest=True)
        return _holds(verify, public, signature, signed)
    return family == "ES" and _holds(_verify_ec(digest), public, signature, signed)


def _hmac_holds(bits: str, key: bytes, signature: bytes, signed: bytes) -> bool:
    return hmac.compare_digest(signature, hmac.new(key, signed, f"sha{bits}").digest())


@dataclass(slots=True)
class _Constraints:
    """What the caller of decode_verify asks for; an empty text asks for nothing."""

    keys: list[WebKey] | None = None
    texts: dict[str, str] | None = None
    time_ns: float = -1.0

    def text(self, name: str) -> str:
        return (self.texts or {}).get(name, "")


def _constraints(ctx: CallContext, wanted: Object) -> _Constraints:
    found = _Constraints(texts={})
    for name, value in wanted.pairs():
        if name in ("secret", "alg", "iss", "aud"):
            if type(value) is not str:
                raise BuiltinError(f"{name} constraint: must be a string")
            found.texts[name] = value  # type: ignore[index]  # made above
        elif name == "cert":
            if type(value) is not str:
                raise BuiltinError("cert constraint: must be a string")
            found.keys = verification_keys(value)
        elif name == "time":
            found.time_ns = _time(value)
        else:
            raise BuiltinError(f"unknown token validation constraint: {name}")
    if found.time_ns == -1.0:
        found.time_ns = _time(ctx.now_ns)
    keys = (found.keys is not None) + bool(found.text("secret"))
    if keys != 1:
        raise BuiltinError("duplicate key constraints" if keys else "no key constraint")
    return found


def _time(value: Any) -> float:
    if type(value) not in NUMBER_TYPES:
        raise BuiltinError("token time constraint: must be a number")
    try:
        number = float(value)
    except OverflowError:
        raise BuiltinError("token time constraint: unvalid float64") from None
    if number < 0:
        raise BuiltinError("token time constraint: must not be negative")
    return number


@builtin(
    "io.jwt.decode_verify", (STRING, _FIELDS), tuple_of(BOOLEAN, OBJECT, OBJECT), context=True, deterministic=False
)
def decode_verify(ctx: CallContext, text: Any, wanted: Object) -> tuple[Any, ...]:
    """``[true, header, payload]`` of a token that is signed and meets the constraints, else ``[false, {}, {}]``."""
    constraints = _constraints(ctx, wanted)
    for _ in range(_MOST_NESTED):
        token = _split(text)
        header = _header(token)
        known, critical = _known_header(header)
        unknown = [name for name in header if name not in known and name != "crit"]
        if not known["alg"] or critical.intersection(unknown):
            return _UNVERIFIED
        if constraints.text("alg") not in ("", known["alg"]):
            return _UNVERIFIED
        signature = decode_base64url(token.signature)
        if not _signed(ctx, constraints, known, signature, token.signed):
            return _UNVERIFIED
        payload = _part(token.payload, "payload")
        if known["cty"].upper() != "JWT":
            claims = _object(payload)
            return (TRUE, header, claims) if _claims_hold(constraints, claims) else _UNVERIFIED
        text = payload.decode("utf-8", "replace")
    raise BuiltinError(f"JWT is nested more than {_MOST_NESTED} times")


def _signed(
    ctx: CallContext, constraints: _Constraints, header: dict[str, str], signature: bytes, signed: bytes
) -> bool:
    algorithm = header["alg"]
    if algorithm not in ALGORITHMS:
        return False
    if constraints.keys is None:
        return _verifies(algorithm, constraints.text("secret").encode(), signature, signed)
    return _any_key_holds(
        ctx, constraints.keys, header, lambda key: _verifies(algorithm, key.key, signature, signed)
    )  # fmt: skip


def _claims_hold(constraints: _Constraints, claims: Object) -> bool:
    issuer, audience = constraints.text("iss"), constraints.text("aud")
    if issuer and claims.get("iss") != issuer:
        return False
    if "aud" in claims or audience:
        said = claims.get("aud")
        if not (audience in said if type(said) is tuple else type(said) is str and said == audience):
            return False
    # Go computes seconds as a float and compares them as decimal numbers.
    now = Decimal(repr(constraints.time_ns / 1e9))
    for name in ("exp", "nbf"):
        if name not in claims:
            continue
        limit = claims[name]
        if type(limit) not in NUMBER_TYPES:
            raise BuiltinError(f"{name} value must be a number")
        if now >= limit if name == "exp" else now < limit:
            return False
    return True


# --- signing ---------------------------------------------------------------------------------------------------------


def _signature(key: Any, algorithm: str, signed: bytes) -> bytes:
    """The signature; raises BuiltinError where the key is of another kind than the algorithm's."""
    digest = _HASHES.get(algorithm[2:])
    family = algorithm[:2]
    if family == "HS" and isinstance(key, bytes):
        return hmac.new(key, signed, f"sha{algorithm[2:]}").digest()
    if family == "RS" and isinstance(key, rsa.RSAPrivateKey) and digest:
        return key.sign(signed, padding.PKCS1v15(), digest)
    if family == "PS" and isinstance(key, rsa.RSAPrivateKey) and digest:
        return key.sign(signed, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    if family == "ES" and isinstance(key, ec.EllipticCurvePrivateKey) and digest:
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest, deterministic_signing=True)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if algorithm == "EdDSA" and isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signed)
    raise BuiltinError(f"the key cannot sign with {algorithm}")


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except EvaluationError:
        return False
    return True


_NUMBER_LIKE: Final = frozenset("0123456789+-.eE")


def _signing_header(text: str) -> Object:
    """The header of a token to sign, which must name an algorithm; complaints are those of OPA's JWT library."""
    complaint = "missing or invalid 'alg' header: "
    try:
        header = parse_json(text)
    except EvaluationError:
        header = EMPTY_OBJECT
        if not text.strip():
            raise BuiltinError(f'{complaint}cannot parse JSON: cannot parse empty string; unparsed tail: ""') from None
        if not _NUMBER_LIKE.issuperset(text.strip()):
            raise BuiltinError(f"{complaint}cannot parse JSON") from None
    if type(header) is not Object or "alg" not in header:
        raise BuiltinError(f'{complaint}jwsbb: header "alg" not found')
    if type(header["alg"]) is not str:
        raise BuiltinError(f"{complaint}value doesn't contain string; it contains {type_name(header['alg'])}")
    return header


def _sign(ctx: CallContext, headers: str, payload: str, key: str) -> str:
    keys = web_keys(key, prefix="")
    if not keys:
        raise BuiltinError("no keys found in JWK set")
    fields = _signing_header(headers)
    algorithm, kind = fields["alg"], fields.get("typ")
    if algorithm not in ALGORITHMS:
        raise BuiltinError(f"unknown JWS algorithm: {algorithm}")
    if (type(kind) is not str or kind == "JWT") and not _is_json(payload):
        raise BuiltinError("type is JWT but payload is not JSON")
    signed = f"{base64url_text(headers.encode())}.{base64url_text(payload.encode())}"
    ctx.spend(_KEY_STEPS)
    try:
        signature = _signature(keys[0].key, algorithm, signed.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise BuiltinError(f"the key cannot sign with {algorithm}") from None
    return f"{signed}.{base64url_text(signature)}"


@builtin("io.jwt.encode_sign_raw", (STRING, STRING, STRING), STRING, context=True, deterministic=False)
def encode_sign_raw(ctx: CallContext, headers: str, payload: str, key: str) -> str:
    """A signed token from the JSON texts of header, payload and key."""
    return _sign(ctx, headers, payload, key)


@builtin("io.jwt.encode_sign", (_FIELDS, _FIELDS, _FIELDS), STRING, context=True, deterministic=False)
def encode_sign(ctx: CallContext, headers: Object, payload: Object, key: Object) -> str:
    """A signed token from header, payload and key as objects."""
    return _sign(ctx, go_json(headers), go_json(payload), go_json(key))
