"""Callers that prove themselves with a bearer token of 256 random bits, of which only the hash is kept."""

import hashlib
import re
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from watchkey.model.access import Caller
from watchkey.model.errors import Refused
from watchkey.model.secret import Secret
from watchkey.ports import Clock, IdentityVerifier

PREFIX: Final = "wk_"
"""Starts every token, so that scanners for leaked secrets can find it."""
_TOKEN_LENGTH: Final = len(PREFIX) + 43

_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask: each caller with the hashes of its tokens. Two hashes let a token be replaced without a gap."""

    callers: tuple[tuple[Caller, tuple[str, ...]], ...] = ()


class ApiTokens:
    """Knows callers by the SHA-256 of their token."""

    def __init__(self, callers: Mapping[bytes, Caller]) -> None:
        self._key = secrets.token_bytes(32)
        self._callers = MappingProxyType({self._place(digest): caller for digest, caller in callers.items()})

    async def verify(self, credentials: str) -> Caller:
        """Turn a token into its caller.

        The look-up goes by a hash that is keyed with randomness of this process: nobody outside can choose or know
        where a guess falls, so its time says nothing about the stored hashes, and a known token and an unknown one
        take the same steps.

        Raises `Refused` for anything that is not the token of a caller, always with the same text.
        """
        digest = hashlib.sha256(credentials.encode("utf-8", "surrogatepass")).digest()
        caller = self._callers.get(self._place(digest))
        if caller is None:
            raise Refused("the credentials do not prove a known caller")
        return caller

    def _place(self, digest: bytes) -> bytes:
        return hashlib.blake2b(digest, key=self._key, digest_size=32).digest()


def build(config: Config, *, name: str, clock: Clock) -> IdentityVerifier:
    """Make the verifier. Raises `Refused` for a hash that is none, and when a token would prove two callers."""
    del name, clock  # a token knows neither time nor place
    by_digest: dict[bytes, Caller] = {}
    for caller, token_hashes in config.callers:
        for token_hash in token_hashes:
            if not _HASH.fullmatch(token_hash):
                raise Refused(f"caller {caller.id!r} has a token hash that is not sha256: and 64 hexadecimal digits")
            digest = bytes.fromhex(token_hash.removeprefix("sha256:"))
            if digest in by_digest:
                raise Refused(f"caller {caller.id!r} has a token that is already in use; make a new one")
            by_digest[digest] = caller
    return ApiTokens(by_digest)


def make_token() -> Secret:
    """Make a new token from 256 bits of the operating system's randomness. Show it once; keep `hash_token` of it."""
    return Secret(PREFIX + secrets.token_urlsafe(32))


def hash_token(token: Secret) -> str:
    """Return what the configuration keeps of a token: `sha256:` and 64 hexadecimal digits.

    Raises `Refused` for a text that `make_token` cannot have made: a chosen password must not become a token.
    """
    text = token.reveal()
    if not text.startswith(PREFIX) or len(text) != _TOKEN_LENGTH:
        raise Refused(f"not a token: it starts with {PREFIX!r} and has {_TOKEN_LENGTH} characters")
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
