"""Whether a Rootly webhook is of who knows the key, and of now: HMAC-SHA-256 over its time and the bytes as they came.

The form is in Rootly's documentation of webhooks: `t=<seconds>,v1=<hex>`, made over the time's digits and the body.
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from watchkey.model.secret import Secret

AGE_MAX: Final = timedelta(minutes=5)
"""An older one, or one from further ahead, is no hint that something happens now."""
_DIGITS_MAX: Final = 12
_PARTS_MAX: Final = 8


def verify(raw_body: bytes, header: str, keys: Iterable[Secret], now: datetime) -> bool:
    """Return whether the header has a time of about now and a signature made with any of the keys.

    All signatures are compared with all keys, each in constant time.
    """
    parts = [part.strip().partition("=") for part in header.split(",")[:_PARTS_MAX]]
    times = [value for name, _, value in parts if name == "t"]
    signatures = [value.lower() for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _is_about(times[0], now):
        return False
    is_genuine = False
    for key in keys:
        expected = hmac.new(key.reveal().encode(), times[0].encode() + raw_body, hashlib.sha256).hexdigest()
        for signature in signatures:
            is_genuine |= hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace"))
    return is_genuine


def _is_about(seconds: str, now: datetime) -> bool:
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= _DIGITS_MAX):
        return False
    try:
        at = datetime.fromtimestamp(int(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return False
    return abs(now - at) <= AGE_MAX
