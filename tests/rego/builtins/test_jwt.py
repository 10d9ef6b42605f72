"""io.jwt.*: signing, decoding, verifying, and what must never verify."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.rego.builtins import making
from tests.rego.builtins.calling import Context, call, rego
from watchkey.rego.builtins.keys import private_jwk
from watchkey.rego.errors import BuiltinError, LimitExceeded
from watchkey.rego.values import FALSE, TRUE, json_text

SECRET = "s3cret"
UNVERIFIED = rego([False, {}, {}])
KEYS = {"rsa": ("RS", "PS"), "p256": ("ES",), "p384": ("ES",), "p521": ("ES",)}


def part(data: object) -> str:
    raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


def token(header: object, payload: object, secret: str = SECRET) -> str:
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(hmac.new(secret.encode(), signed.encode(), 'sha256').digest())}"


def web_key(kind: str) -> dict:
    return json.loads(json_text(private_jwk(making.key(kind))))


def public_web_key(kind: str) -> dict:
    return {name: value for name, value in web_key(kind).items() if name not in ("d", "p", "q", "dp", "dq", "qi")}


def verified(text: str, **constraints: Any) -> Any:
    return call("io.jwt.decode_verify", text, {"secret": SECRET, **constraints}, ctx=Context(now_ns=100 * 10**9))


# --- decode


def test_decode() -> None:
    header, payload, signature = call("io.jwt.decode", token({"alg": "HS256"}, {"a": 1}))
    assert (header, payload) == (rego({"alg": "HS256"}), rego({"a": 1}))
    assert len(signature) == 64


def test_decode_goes_to_the_innermost() -> None:
    inner = token({"alg": "HS256"}, {"a": 1})
    assert call("io.jwt.decode", token({"cty": "JWT"}, f'"{inner}"'))[1] == rego({"a": 1})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a", "encoded JWT had no period separators"),
        ("a.b", "encoded JWT must have 3 sections, found 2"),
        ("!.b.c", "JWT header had invalid encoding"),
        (token([1], {}), "bad JWT header: decoded JSON type was not an Object"),
        (token("x", {}), "bad JWT header: invalid JSON"),
        (token({"enc": 1}, {}), "JWT is a JWE object, which is not supported"),
        (token({}, "x"), "invalid JSON"),
        (token({}, {}) + "!", "JWT signature had invalid encoding"),
    ],
)
def test_decode_refuses(text: str, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("io.jwt.decode", text)


def test_nesting_is_bounded() -> None:
    text = token({}, {})
    for _ in range(20):
        text = token({"cty": "JWT", "alg": "HS256"}, text)
    with pytest.raises(BuiltinError, match="nested more than"):
        call("io.jwt.decode", text)
    with pytest.raises(BuiltinError, match="nested more than"):
        verified(text)


# --- signatures


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [(kind, f"{family}{bits}") for kind, all_ in KEYS.items() for family in all_ for bits in (256, 384, 512)],
)
def test_what_is_signed_verifies_and_nothing_else(kind: str, algorithm: str) -> None:
    signed = call("io.jwt.encode_sign", {"alg": algorithm}, {"a": 1}, web_key(kind))
    name = f"io.jwt.verify_{algorithm.lower()}"
    assert call(name, signed, making.public_pem(kind)) is TRUE
    assert call(name, signed, json.dumps(public_web_key(kind))) is TRUE
    head, _, signature = signed.split(".")
    assert call(name, f"{head}.{part({'a': 2})}.{signature}", making.public_pem(kind)) is FALSE
    other = "p256" if kind == "p384" else "p384"
    assert call(name, signed, making.public_pem(other)) is FALSE
    assert call("io.jwt.decode_verify", signed, {"cert": making.public_pem(kind)})[0] is TRUE


def test_eddsa() -> None:
    signed = call("io.jwt.encode_sign", {"alg": "EdDSA"}, {}, web_key("ed25519"))
    assert call("io.jwt.verify_eddsa", signed, making.public_pem("ed25519")) is TRUE
    assert call("io.jwt.verify_eddsa", signed, making.public_pem("rsa")) is FALSE
    assert call("io.jwt.decode_verify", signed, {"cert": making.public_pem("ed25519")})[0] is TRUE


@pytest.mark.parametrize("bits", [256, 384, 512])
def test_secrets(bits: int) -> None:
    key = {"kty": "oct", "k": part(SECRET)}
    signed = call("io.jwt.encode_sign", {"alg": f"HS{bits}"}, {}, key)
    assert call(f"io.jwt.verify_hs{bits}", signed, SECRET) is TRUE
    assert call(f"io.jwt.verify_hs{bits}", signed, SECRET + "x") is FALSE
    assert verified(signed)[0] is TRUE


def test_signing_with_an_elliptic_curve_gives_the_same_each_time() -> None:
    arguments = ({"alg": "ES256"}, {"a": 1}, web_key("p256"))
    assert call("io.jwt.encode_sign", *arguments) == call("io.jwt.encode_sign", *arguments)


def test_the_key_that_the_header_names_is_the_one() -> None:
    signed = call("io.jwt.encode_sign", {"alg": "RS256", "kid": "k"}, {}, web_key("rsa"))
    right, wrong = public_web_key("rsa"), public_web_key("p256")
    assert call("io.jwt.verify_rs256", signed, json.dumps({"keys": [wrong, right | {"kid": "k"}]})) is TRUE
    assert call("io.jwt.verify_rs256", signed, json.dumps({"keys": [wrong | {"kid": "k"}, right]})) is FALSE
    assert call("io.jwt.verify_rs256", signed, json.dumps({"keys": [wrong, right]})) is TRUE
    assert call("io.jwt.verify_rs256", signed, json.dumps(right | {"alg": "RS512"})) is FALSE


def test_a_public_key_is_never_a_secret() -> None:
    forged = token({"alg": "HS256"}, {"a": 1}, secret=making.public_pem("rsa"))
    assert call("io.jwt.decode_verify", forged, {"cert": making.public_pem("rsa")}) == UNVERIFIED
    raw = json.loads(json_text(private_jwk(making.key("ed25519"))))["x"]
    forged = token({"alg": "HS256"}, {"a": 1}, secret=raw)
    assert call("io.jwt.decode_verify", forged, {"cert": making.public_pem("ed25519")}) == UNVERIFIED


@pytest.mark.parametrize("algorithm", ["none", "None", "", "hs256", "XX256"])
def test_algorithms_that_never_verify(algorithm: str) -> None:
    assert verified(token({"alg": algorithm}, {})) == UNVERIFIED
    unsigned = f"{part({'alg': algorithm})}.{part({})}."
    assert verified(unsigned) == UNVERIFIED


# --- decode_verify


def test_verified_header_and_payload() -> None:
    assert verified(token({"alg": "HS256"}, {"a": 1})) == rego([True, {"alg": "HS256"}, {"a": 1}])


@pytest.mark.parametrize(
    ("payload", "constraints", "valid"),
    [
        ({"exp": 101}, {}, True),
        ({"exp": 100}, {}, False),
        ({"exp": 100.5}, {}, True),
        ({"exp": 50}, {"time": 49 * 10**9}, True),
        ({"nbf": 100}, {}, True),
        ({"nbf": 101}, {}, False),
        ({"iss": "me"}, {"iss": "me"}, True),
        ({"iss": "me"}, {"iss": "you"}, False),
        ({"iss": 1}, {"iss": "1"}, False),
        ({}, {"iss": "me"}, False),
        ({"aud": "a"}, {"aud": "a"}, True),
        ({"aud": ["b", "a"]}, {"aud": "a"}, True),
        ({"aud": "a"}, {}, False),
        ({"aud": ["b"]}, {"aud": "a"}, False),
        ({}, {"aud": "a"}, False),
        ({"aud": {"a": 1}}, {"aud": "a"}, False),
        ({}, {"alg": "HS256"}, True),
        ({}, {"alg": "RS256"}, False),
    ],
)
def test_constraints(payload: Any, constraints: Any, valid: Any) -> None:
    assert verified(token({"alg": "HS256"}, payload), **constraints)[0] is (TRUE if valid else FALSE)


@pytest.mark.parametrize(
    ("header", "valid"),
    [
        ({"alg": "HS256", "crit": ["x"], "x": 1}, False),
        ({"alg": "HS256", "crit": ["alg"]}, True),
        ({"alg": "HS256", "crit": ["x"]}, True),
        ({"typ": "JWT"}, False),
    ],
)
def test_critical_parameters_must_be_understood(header: Any, valid: Any) -> None:
    assert verified(token(header, {}))[0] is (TRUE if valid else FALSE)


@pytest.mark.parametrize(
    ("constraints", "problem"),
    [
        ({"foo": 1}, "unknown token validation constraint: foo"),
        ({"secret": ""}, "no key constraint"),
        ({"cert": making.public_pem("rsa")}, "duplicate key constraints"),
        ({"time": -1}, "token time constraint: must not be negative"),
        ({"time": "x"}, "token time constraint: must be a number"),
        ({"iss": 1}, "iss constraint: must be a string"),
    ],
)
def test_constraints_that_are_not(constraints: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        verified(token({"alg": "HS256"}, {}), **constraints)


def test_without_a_time_there_is_an_error() -> None:
    with pytest.raises(BuiltinError, match="must be a number"):
        call("io.jwt.decode_verify", token({"alg": "HS256"}, {}), {"secret": SECRET}, ctx=Context(now_ns=None))


@pytest.mark.parametrize("claim", ["exp", "nbf"])
def test_times_that_are_not_numbers_are_errors(claim: str) -> None:
    with pytest.raises(BuiltinError, match=f"{claim} value must be a number"):
        verified(token({"alg": "HS256"}, {claim: "x"}))


def test_the_last_of_two_keys_counts() -> None:
    assert verified(token('{"alg":"HS256","alg":"none"}', {})) == UNVERIFIED


# --- signing


def test_what_is_signed_is_gos_json() -> None:
    signed = call("io.jwt.encode_sign", {"alg": "HS256"}, {"b": "<&>", "a": 1}, {"kty": "oct", "k": "AA"})
    assert signed.split(".")[1] == part('{"a":1,"b":"\\u003c\\u0026\\u003e"}')


@pytest.mark.parametrize(
    ("header", "payload", "key", "problem"),
    [
        ("", "{}", '{"kty": "oct", "k": "AA"}', "cannot parse JSON: cannot parse empty string"),
        ("{", "{}", '{"kty": "oct", "k": "AA"}', "cannot parse JSON"),
        ("{}", "{}", '{"kty": "oct", "k": "AA"}', 'header "alg" not found'),
        ('{"alg": 1}', "{}", '{"kty": "oct", "k": "AA"}', "value doesn't contain string; it contains number"),
        ('{"alg": "x"}', "{}", '{"kty": "oct", "k": "AA"}', "unknown JWS algorithm: x"),
        ('{"alg": "HS256"}', "x", '{"kty": "oct", "k": "AA"}', "type is JWT but payload is not JSON"),
        ('{"alg": "RS256"}', "{}", '{"kty": "oct", "k": "AA"}', "the key cannot sign with RS256"),
        ('{"alg": "HS256"}', "{}", '{"keys": []}', "no keys found in JWK set"),
        ('{"alg": "HS256"}', "{}", "x", "not JSON"),
    ],
)
def test_signing_refuses(header: Any, payload: Any, key: Any, problem: str) -> None:
    with pytest.raises(BuiltinError, match=problem):
        call("io.jwt.encode_sign_raw", header, payload, key)


def test_a_payload_of_another_type_need_not_be_json() -> None:
    assert call("io.jwt.encode_sign_raw", '{"alg":"HS256","typ":"text"}', "x", '{"kty":"oct","k":"AA"}').split(".")[
        1
    ] == part("x")


def test_trying_many_keys_is_paid_for() -> None:
    keys = json.dumps({"keys": [public_web_key("p256")] * 50})
    signed = call("io.jwt.encode_sign", {"alg": "RS256"}, {}, web_key("rsa"))
    with pytest.raises(LimitExceeded):
        call("io.jwt.verify_rs256", signed, keys, ctx=Context(steps=10_000))
