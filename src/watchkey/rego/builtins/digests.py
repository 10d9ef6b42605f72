"""Built-ins of message digests: MD5, SHA-1, SHA-256, and HMAC with each of them and SHA-512."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import md5, sha1, sha256

from watchkey.rego.builtins import builtin
from watchkey.rego.types import BOOLEAN, STRING
from watchkey.rego.values import Boolean, boolean

_TEXT = (STRING,)
_TEXT_AND_KEY = (STRING, STRING)


@builtin("crypto.md5", _TEXT, STRING)
def digest_md5(text: str) -> str:
    """MD5, in hexadecimal; a checksum, no protection."""
    return md5(text.encode(), usedforsecurity=False).hexdigest()


@builtin("crypto.sha1", _TEXT, STRING)
def digest_sha1(text: str) -> str:
    """SHA-1, in hexadecimal; a checksum, no protection."""
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


@builtin("crypto.sha256", _TEXT, STRING)
def digest_sha256(text: str) -> str:
    """SHA-256, in hexadecimal."""
    return sha256(text.encode()).hexdigest()


def _keyed(digest: str) -> Callable[[str, str], str]:
    def compute(message: str, key: str) -> str:
        return hmac.new(key.encode(), message.encode(), digest).hexdigest()

    return compute


for _digest in ("md5", "sha1", "sha256", "sha512"):
    builtin(f"crypto.hmac.{_digest}", _TEXT_AND_KEY, STRING)(_keyed(_digest))


@builtin("crypto.hmac.equal", _TEXT_AND_KEY, BOOLEAN)
def hmac_equal(left: str, right: str) -> Boolean:
    """Whether two codes are the same; takes the same time for any codes of one length."""
    return boolean(hmac.compare_digest(left.encode(), right.encode()))
