"""crypto.md5, sha1, sha256 and crypto.hmac.*."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rego.builtins.calling import call
from watchkey.rego.errors import BuiltinError
from watchkey.rego.values import FALSE, TRUE


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("crypto.md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ("crypto.sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("crypto.sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ],
)
def test_digests_of_nothing(name: str, wanted: Any) -> None:
    assert call(name, "") == wanted


def test_text_is_utf_8() -> None:
    assert call("crypto.sha256", "\u00fc") == "607474ca475a9724d7360aba71a56d5df77e61350e3f724cfa1f46e857e2d85f"
    assert call("crypto.md5", "\u00fc") != call("crypto.md5", "u")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("crypto.hmac.md5", "750c783e6ab0b503eaa86e310a5db738"),
        ("crypto.hmac.sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        ("crypto.hmac.sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    ],
)
def test_codes_of_rfc_2202_and_4231(name: str, wanted: Any) -> None:
    assert call(name, "what do ya want for nothing?", "Jefe") == wanted


def test_sha512_code_of_rfc_4231() -> None:
    code = call("crypto.hmac.sha512", "what do ya want for nothing?", "Jefe")
    assert code.startswith("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554")


def test_equality() -> None:
    assert call("crypto.hmac.equal", "ab", "ab") is TRUE
    assert call("crypto.hmac.equal", "ab", "ac") is FALSE
    assert call("crypto.hmac.equal", "ab", "abc") is FALSE


def test_a_lone_surrogate_is_an_error() -> None:
    with pytest.raises(BuiltinError, match="cannot be encoded"):
        call("crypto.md5", "\ud800")
