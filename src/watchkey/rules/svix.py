"""Whether a webhook in the Svix (Standard Webhooks) form was sent by who knows the key, and lately."""

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from watchkey.model.secret import Secret

TOLERANCE: Final = timedelta(minutes=5)
"""How far the signed time may be from ours; an older message is a replay."""
_VERSION: Final = "v1,"
_KEY_PREFIX: Final = "whsec_"
_SIGNATURES_MAX: Final = 8
"""One a key; the bound keeps a long header from costing time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headers:
    """The three headers that belong to the signature, as they came; an absent one is empty."""

    message_id: str
    timestamp: str
    signature: str


def verify(raw_body: bytes, headers: Headers, keys: Iterable[Secret], now: datetime) -> bool:
    """Return whether any signature (`v1,<base64>`, several behind spaces) is made with any of the keys, about now.

    What is signed is `id.timestamp.body`. A key is `whsec_` and base64; one that is not matches nothing. All pairs are
    compared, each in constant time.
    """
    signed = f"{headers.message_id}.{headers.timestamp}.".encode("utf-8", "replace") + raw_body
    given = headers.signature.split()[:_SIGNATURES_MAX]
    signatures = [part.removeprefix(_VERSION) for part in given if part.startswith(_VERSION)]
    is_genuine = False
    for key in keys:
        secret = _bytes_of(key)
        if secret is None:
            continue
        expected = b64encode(hmac.new(secret, signed, hashlib.sha256).digest())
        for signature in signatures:
            is_genuine |= hmac.compare_digest(expected, signature.encode("utf-8", "replace"))
    return is_genuine and bool(headers.message_id) and _is_recent(headers.timestamp, now)


def _is_recent(timestamp: str, now: datetime) -> bool:
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 11:
        return False
    return abs(datetime.fromtimestamp(int(timestamp), UTC) - now) <= TOLERANCE


def _bytes_of(key: Secret) -> bytes | None:
    try:
        secret = b64decode(key.reveal().removeprefix(_KEY_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return secret or None  # an empty key would let anybody sign
