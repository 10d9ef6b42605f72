"""SCRAM-SHA-256 as a client (RFC 5802, RFC 7677, channel binding RFC 5929), without sockets and without dice.

Where the account is ours, its keys are made from random bytes instead of a password: nobody, ourselves included, knows
a password that opens it, and the expensive derivation is never run.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from typing import Final

from watchkey.model.secret import Secret

SCRAM: Final = "SCRAM-SHA-256"
SCRAM_PLUS: Final = "SCRAM-SHA-256-PLUS"
_ITERATIONS: Final = 4096
_ITERATIONS_MAX: Final = 100_000
"""A server may ask for more rounds of a password that is not of our making; each 10,000 hold the gateway for 5 ms."""


class ScramError(Exception):
    """The server did not follow the exchange, or did not prove that it knows the account."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ScramKeys:
    """What stands for a password: two keys for ourselves, a verifier for the server."""

    client_key: bytes
    server_key: bytes
    salt: bytes

    @classmethod
    def derive(cls, *, salted_password: bytes, salt: bytes) -> "ScramKeys":
        """Make the keys from 32 random bytes in the place of a salted password, and 16 random bytes of salt."""
        if len(salted_password) != 32 or len(salt) < 16:
            raise ValueError("SCRAM keys need 32 bytes of secret and at least 16 of salt")
        return cls(
            client_key=_hmac(salted_password, b"Client Key"),
            server_key=_hmac(salted_password, b"Server Key"),
            salt=salt,
        )

    @property
    def verifier(self) -> str:
        """What PostgreSQL stores: proves a login, cannot be used to log in."""
        stored = hashlib.sha256(self.client_key).digest()
        return f"{SCRAM}${_ITERATIONS}:{_text(self.salt)}${_text(stored)}:{_text(self.server_key)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScramPassword:
    """The password of an account that is not of our making; the server says with which salt its keys are derived."""

    password: Secret

    def keys(self, salt: str, iterations: str) -> ScramKeys:
        """The keys by RFC 5802, section 3. Raises ScramError for a derivation that is too weak or too dear."""
        text = self.password.reveal()
        if not text.isascii() or not text.isprintable():
            raise ScramError("the account's password has characters that would need SASLprep: use printable ASCII")
        if not iterations.isdecimal() or not _ITERATIONS <= int(iterations) <= _ITERATIONS_MAX:
            raise ScramError(
                f"the server wants {iterations[:20]} rounds of SCRAM, not {_ITERATIONS} to {_ITERATIONS_MAX}"
            )
        try:
            raw = b64decode(salt, validate=True)
        except Base64Error as error:
            raise ScramError("the server's salt makes no sense") from error
        salted = hashlib.pbkdf2_hmac("sha256", text.encode(), raw, int(iterations))
        return ScramKeys(client_key=_hmac(salted, b"Client Key"), server_key=_hmac(salted, b"Server Key"), salt=raw)


@dataclass(slots=True, kw_only=True)
class ScramClient:
    """One login. `binding` is the hash of the server's certificate when the connection is TLS, else None."""

    keys: ScramKeys | ScramPassword
    nonce: str
    """At least 18 random bytes as printable text without commas."""
    offered: frozenset[str]
    binding: bytes | None = None
    _first_bare: str = field(default="", init=False)
    _auth_message: bytes = field(default=b"", init=False)
    _used: ScramKeys | None = field(default=None, init=False)

    @property
    def mechanism(self) -> str:
        """The strongest mechanism that both sides can do."""
        if self.binding is not None and SCRAM_PLUS in self.offered:
            return SCRAM_PLUS
        if SCRAM in self.offered:
            return SCRAM
        raise ScramError(f"the server offers {', '.join(sorted(self.offered)) or 'nothing'}, not {SCRAM}")

    def first(self) -> bytes:
        """Open the exchange."""
        self._first_bare = f"n=,r={self.nonce}"
        return (self._gs2_header() + self._first_bare).encode()

    def final(self, server_first: bytes) -> bytes:
        """Answer the server's challenge with the proof."""
        fields = _fields(server_first)
        nonce, salt = fields.get("r", ""), fields.get("s", "")
        if not nonce.startswith(self.nonce) or len(nonce) == len(self.nonce):
            raise ScramError("the server's nonce does not continue ours")
        keys = self._keys(salt, fields.get("i", ""))
        header = self._gs2_header().encode()
        bound = header + (self.binding or b"") if self.mechanism == SCRAM_PLUS else header
        without_proof = f"c={_text(bound)},r={nonce}"
        self._auth_message = f"{self._first_bare},{server_first.decode()},{without_proof}".encode()
        stored_key = hashlib.sha256(keys.client_key).digest()
        signature = _hmac(stored_key, self._auth_message)
        proof = bytes(a ^ b for a, b in zip(keys.client_key, signature, strict=True))
        return f"{without_proof},p={_text(proof)}".encode()

    def check(self, server_final: bytes) -> None:
        """Demand the server's proof: a server that does not know the account is not our server."""
        claimed = _fields(server_final).get("v", "")
        try:
            signature = b64decode(claimed, validate=True)
        except Base64Error:
            signature = b""
        keys = self._used
        if keys is None or not hmac.compare_digest(signature, _hmac(keys.server_key, self._auth_message)):
            raise ScramError("the server did not prove that it knows the account")

    def _keys(self, salt: str, iterations: str) -> ScramKeys:
        if isinstance(self.keys, ScramPassword):
            self._used = self.keys.keys(salt, iterations)
        elif salt != _text(self.keys.salt) or iterations != str(_ITERATIONS):
            raise ScramError("the server knows another password for this account")
        else:
            self._used = self.keys
        return self._used

    def _gs2_header(self) -> str:
        if self.mechanism == SCRAM_PLUS:
            return "p=tls-server-end-point,,"
        # `y`: we could bind, and the server did not offer it; a server that did offer it then sees the tampering
        return "n,," if self.binding is None else "y,,"


def _fields(message: bytes) -> dict[str, str]:
    try:
        parts = message.decode("ascii").split(",")
    except UnicodeDecodeError as error:
        raise ScramError("the server's SCRAM message is not ASCII") from error
    return {part[0]: part[2:] for part in parts if len(part) > 1 and part[1] == "="}


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _text(data: bytes) -> str:
    return b64encode(data).decode()
