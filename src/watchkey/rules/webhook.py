"""Whether a PagerDuty v3 webhook was sent by who knows the key: HMAC-SHA-256 over the bytes as they came."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from watchkey.model.secret import Secret

_VERSION: Final = "v1="
_SIGNATURES_MAX: Final = 8
"""One a key; the bound keeps a long header from costing time."""


def verify(raw_body: bytes, header: str, keys: Iterable[Secret]) -> bool:
    """Return whether any signature of the header (`v1=<hex>[,v1=<hex>]`) is made with any of the keys.

    Two keys, and two signatures, stand while a key is being replaced. All pairs are compared, each in constant time.
    """
    given = [part.strip() for part in header.split(",")[:_SIGNATURES_MAX]]
    signatures = [part.removeprefix(_VERSION).lower() for part in given if part.startswith(_VERSION)]
    is_genuine = False
    for key in keys:
        expected = hmac.new(key.reveal().encode(), raw_body, hashlib.sha256).hexdigest()
        for signature in signatures:
            is_genuine |= hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    return is_genuine
