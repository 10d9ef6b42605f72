"""Built-ins of X.509 and of private keys: what a certificate, a request or a key says, and whether a chain is valid."""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from watchkey.rego.builtins import BuiltinError, CallContext, builtin, operand_error
from watchkey.rego.builtins.armour import decode_base64, pem_blocks
from watchkey.rego.builtins.keys import go_value, load_private, private_jwk, private_keys
from watchkey.rego.builtins.x509 import Certificate, base64_text, parse_certificates, parse_request
from watchkey.rego.builtins.x509_chain import SERVER_AUTH, NotTrusted, Wanted, verified_chain
from watchkey.rego.types import ANY, BOOLEAN, STRING, array_of, object_of, tuple_of
from watchkey.rego.values import FALSE, TRUE, Object, Set, integer_of

_FIELDS: Final = object_of(STRING, ANY)
_VERIFIED: Final = tuple_of(BOOLEAN, array_of(_FIELDS))
_SIGNATURE_STEPS: Final = 1000
"""Steps that checking one signature costs."""

_USAGES: Final = {
    "KeyUsage" + name: number
    for number, name in enumerate(
        (
            "Any", "ServerAuth", "ClientAuth", "CodeSigning", "EmailProtection", "IPSECEndSystem", "IPSECTunnel",
            "IPSECUser", "TimeStamping", "OCSPSigning", "MicrosoftServerGatedCrypto", "NetscapeServerGatedCrypto",
            "MicrosoftCommercialCodeSigning", "MicrosoftKernelCodeSigning",
        )
    )
}  # fmt: skip


def _from_pem(text: str) -> list[Certificate]:
    content = b""
    for kind, data, _ in pem_blocks(text):
        if kind != "CERTIFICATE":
            raise BuiltinError(f"PEM block type is '{kind}', expected CERTIFICATE")
        content += data
    return parse_certificates(content)


def _certificates(text: str) -> list[Certificate]:
    """Certificates from PEM, or from the base64 of PEM or DER."""
    if text.startswith("-----BEGIN"):
        return _from_pem(text)
    data = decode_base64(text)
    if data.startswith(b"-----BEGIN"):
        return _from_pem(data.decode("latin-1"))
    return parse_certificates(data)


@builtin("crypto.x509.parse_certificates", (STRING,), array_of(_FIELDS))
def parse(text: str) -> tuple[Object, ...]:
    """Every certificate of the text, with Go's field names."""
    return tuple([each.value(uri_strings=True) for each in _certificates(text)])


def _verify(ctx: CallContext, text: str, wanted: Wanted | None, *, uri_strings: bool) -> tuple[Any, ...]:
    try:
        certificates = _certificates(text)
        ctx.spend(len(certificates) * _SIGNATURE_STEPS)
        chain = verified_chain(certificates, wanted) if len(certificates) > 1 and wanted else []
    except (BuiltinError, NotTrusted):
        chain = []
    if not chain:
        return (FALSE, ())
    return (TRUE, tuple([each.value(uri_strings=uri_strings) for each in chain]))


@builtin("crypto.x509.parse_and_verify_certificates", (STRING,), _VERIFIED, context=True)
def parse_and_verify(ctx: CallContext, text: str) -> tuple[Any, ...]:
    """``[valid, chain]`` of certificates from the root to the leaf, at the `now` of the evaluation."""
    wanted = None if ctx.now_ns is None else Wanted(now_ns=ctx.now_ns)
    return _verify(ctx, text, wanted, uri_strings=True)


@builtin("crypto.x509.parse_and_verify_certificates_with_options", (STRING, _FIELDS), _VERIFIED, context=True)
def parse_and_verify_with_options(ctx: CallContext, text: str, options: Object) -> tuple[Any, ...]:
    """The same with DNSName, CurrentTime, KeyUsages and MaxConstraintComparisons to choose."""
    try:
        _certificates(text)
    except BuiltinError:
        return (FALSE, ())
    wanted = _wanted(ctx, options)
    return _verify(ctx, text, wanted, uri_strings=False)


def _wanted(ctx: CallContext, options: Object) -> Wanted | None:
    name, now_ns = "", ctx.now_ns
    usages: tuple[int, ...] = (SERVER_AUTH,)
    for key, option in options.pairs():
        match key:
            case "DNSName":
                if type(option) is not str:
                    raise BuiltinError("'DNSName' should be a string")
                name = option.strip('"')
            case "CurrentTime":
                now_ns = _whole("CurrentTime", "a valid int64 number", option)
            case "MaxConstraintComparisons":
                _whole("MaxConstraintComparisons", "a valid number", option)
            case "KeyUsages":
                usages = _usages(option) or (SERVER_AUTH,)
            case _ if type(key) is str:
                raise BuiltinError("invalid key option")
    return None if now_ns is None else Wanted(now_ns=now_ns, name=name, usages=usages)


def _whole(name: str, what: str, option: Any) -> int:
    if type(option) is str or not hasattr(option, "as_integer_ratio"):
        raise BuiltinError(f"'{name}' should be a number")
    number = integer_of(option)
    if number is None or number.bit_length() > 63:
        raise BuiltinError(f"'{name}' should be {what}")
    return number


def _usages(option: Any) -> tuple[int, ...]:
    if type(option) not in (tuple, Set):
        raise BuiltinError("'KeyUsages' should be an Array or Set")
    names = [each.strip('"') for each in (option if type(option) is tuple else option.ordered()) if type(each) is str]
    unknown = [name for name in names if name not in _USAGES]
    if unknown:
        raise BuiltinError(f"invalid entries for 'KeyUsages' found: [{' '.join(unknown)}]")
    return tuple([_USAGES[name] for name in names])


@builtin("crypto.x509.parse_certificate_request", (STRING,), _FIELDS)
def parse_certificate_request(text: str) -> Object:
    """A certificate signing request in PEM, or in the base64 of PEM or DER."""
    is_pem = text.startswith("-----BEGIN CERTIFICATE REQUEST-----")
    data = text.encode() if is_pem else decode_base64(text)
    block = next(pem_blocks(data.decode("latin-1")), None)
    if block is not None:
        if block[0] != "CERTIFICATE REQUEST":
            raise BuiltinError("invalid PEM-encoded certificate signing request")
        data = block[1]
    return parse_request(data)


def _pem_text(text: str, kind: str) -> list[tuple[str, bytes]]:
    """The blocks of PEM, of the base64 of PEM, or one block made of the base64 of DER."""
    if text.startswith("-----BEGIN "):
        return [(name, content) for name, content, _ in pem_blocks(text)]
    data = decode_base64(text)
    if data.startswith(b"-----BEGIN"):
        return [(name, content) for name, content, _ in pem_blocks(data.decode("latin-1"))]
    return [(kind, data)]


@builtin("crypto.x509.parse_keypair", (STRING, STRING), _FIELDS, operands=((), ()))
def parse_keypair(certificate: Any, key: Any) -> Object:
    """A certificate (chain) and its private key, as Go's ``tls.Certificate``; an error where they do not fit."""
    for text in (certificate, key):
        if type(text) is not str:
            raise operand_error(1, text, "string")
    contents = [content for kind, content in _pem_text(certificate, "CERTIFICATE") if kind == "CERTIFICATE"]
    if not contents:
        raise BuiltinError("tls: failed to find any PEM data in certificate input")
    secrets = [content for kind, content in _pem_text(key, "PRIVATE KEY") if kind.endswith("PRIVATE KEY")]
    if not secrets:
        raise BuiltinError("tls: failed to find any PEM data in key input")
    leaf = parse_certificates(contents[0])[0]
    try:
        secret = load_private(secrets[0])
    except BuiltinError:
        raise BuiltinError("tls: failed to parse private key") from None
    public = secret.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public != leaf.key_info:
        raise BuiltinError("tls: private key does not match public key")
    return Object(
        {
            "Certificate": tuple([base64_text(content) for content in contents]),
            "PrivateKey": go_value(secret),
            "SupportedSignatureAlgorithms": None,
            "OCSPStaple": None,
            "SignedCertificateTimestamps": None,
            "Leaf": leaf.value(uri_strings=False),
        }
    )


def _key_text(text: str) -> str:
    """The text, or what it is the base64 of."""
    try:
        return decode_base64(text).decode("latin-1")
    except BuiltinError:
        return text


@builtin("crypto.parse_private_keys", (STRING,), array_of(_FIELDS))
def parse_private_keys(text: str) -> Any:
    """Every private key in the PEM, as Go's JSON shows them; null for the empty text."""
    if not text:
        return None
    return tuple([go_value(key) for key in private_keys(_key_text(text))])


@builtin("crypto.x509.parse_rsa_private_key", (STRING,), _FIELDS)
def parse_rsa_private_key(text: str) -> Any:
    """The first private key in the PEM as a JSON Web Key; null where there is none."""
    if not text:
        raise BuiltinError("input PEM data was empty")
    if not text.startswith("-----BEGIN"):
        text = decode_base64(text).decode("latin-1")
    keys = private_keys(_key_text(text))
    return private_jwk(keys[0]) if keys else None
