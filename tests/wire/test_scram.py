"""SCRAM against a server written from the RFC, and against what PostgreSQL demands of a verifier."""

import base64
import hashlib
import hmac

import pytest

from watchkey.model.secret import Secret
from watchkey.wire.scram import SCRAM, SCRAM_PLUS, ScramClient, ScramError, ScramKeys, ScramPassword

KEYS = ScramKeys.derive(salted_password=bytes(range(32)), salt=b"saltsaltsaltsalt")


class Server:
    """The server's side, from RFC 5802 section 3, knowing only the verifier."""

    def __init__(self, verifier: str, binding: bytes | None = None) -> None:
        _, salt_part, key_part = verifier.split("$")
        self.iterations, self.salt = salt_part.split(":")
        self.stored, self.server_key = (base64.b64decode(part) for part in key_part.split(":"))
        self.binding = binding

    def first(self, client_first: bytes) -> bytes:
        self.header, _, self.bare = client_first.decode().partition(",,")
        nonce = self.bare.split("r=")[1]
        self.said = f"r={nonce}SERVER,s={self.salt},i={self.iterations}"
        return self.said.encode()

    def final(self, client_final: bytes) -> bytes:
        without, _, proof = client_final.decode().rpartition(",p=")
        bound = base64.b64decode(without.split(",")[0][2:])
        assert bound == f"{self.header},,".encode() + (self.binding or b"")
        auth = f"{self.bare},{self.said},{without}".encode()
        signature = hmac.digest(self.stored, auth, "sha256")
        client_key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature, strict=True))
        assert hashlib.sha256(client_key).digest() == self.stored
        return b"v=" + base64.b64encode(hmac.digest(self.server_key, auth, "sha256"))


@pytest.mark.parametrize(
    ("offered", "binding", "mechanism", "header"),
    [
        ({SCRAM}, None, SCRAM, b"n,,"),
        ({SCRAM}, b"hash", SCRAM, b"y,,"),
        ({SCRAM, SCRAM_PLUS}, None, SCRAM, b"n,,"),
        ({SCRAM, SCRAM_PLUS}, b"hash", SCRAM_PLUS, b"p=tls-server-end-point,,"),
    ],
)
def test_a_login_goes_through_with_the_strongest_mechanism(
    offered: set[str], binding: bytes | None, mechanism: str, header: bytes
) -> None:
    client = ScramClient(keys=KEYS, nonce="CLIENT", offered=frozenset(offered), binding=binding)
    assert client.mechanism == mechanism
    server = Server(KEYS.verifier, binding if mechanism == SCRAM_PLUS else None)
    first = client.first()
    assert first.startswith(header)
    client.check(server.final(client.final(server.first(first))))


def test_a_password_is_derived_as_the_server_says() -> None:
    # the example of RFC 7677, section 3
    client = ScramClient(
        keys=ScramPassword(password=Secret("pencil")), nonce="rOprNGfwEbeRWgbNEkqO", offered=frozenset({SCRAM})
    )
    client.first()
    client._first_bare = "n=user,r=rOprNGfwEbeRWgbNEkqO"
    first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert client.final(first).endswith(b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    client.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    with pytest.raises(ScramError, match="did not prove"):
        client.check(b"v=" + base64.b64encode(bytes(32)))


@pytest.mark.parametrize(
    ("password", "challenge", "words"),
    [
        ("pencil", "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1", "rounds"),
        ("pencil", "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=999999999", "rounds"),
        ("pencil", "s=W22ZaJ0SNY7soEsUEjb6gQ==", "rounds"), ("pencil", "s=!,i=4096", "salt"),
        ("Bleistift\u00e4", "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "ASCII"),
    ],
)  # fmt: skip
def test_a_derivation_that_is_too_weak_or_too_dear_is_refused(password: str, challenge: str, words: str) -> None:
    client = ScramClient(keys=ScramPassword(password=Secret(password)), nonce="N", offered=frozenset({SCRAM}))
    client.first()
    with pytest.raises(ScramError, match=words):
        client.final(f"r=N1,{challenge}".encode())


def test_without_scram_there_is_no_login() -> None:
    with pytest.raises(ScramError, match="not SCRAM-SHA-256"):
        _ = ScramClient(keys=KEYS, nonce="n", offered=frozenset({"PLAIN"})).mechanism


@pytest.mark.parametrize(
    "server_first",
    [
        b"r=OTHER,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096",  # not our nonce
        b"r=CLIENT,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096",  # nothing added to it
        b"r=CLIENTx,s=AAAA,i=4096",  # another salt
        b"r=CLIENTx,s=c2FsdHNhbHRzYWx0c2FsdA==,i=1",  # a weaker password than ours
        b"\xff",
        b"",
    ],
)
def test_a_server_that_does_not_follow_is_not_answered(server_first: bytes) -> None:
    client = ScramClient(keys=KEYS, nonce="CLIENT", offered=frozenset({SCRAM}))
    client.first()
    with pytest.raises(ScramError):
        client.final(server_first)


@pytest.mark.parametrize("final", [b"v=AAAA", b"v=!", b"e=invalid-proof", b"", b"v=" + base64.b64encode(bytes(32))])
def test_a_server_must_prove_itself(final: bytes) -> None:
    client = ScramClient(keys=KEYS, nonce="CLIENT", offered=frozenset({SCRAM}))
    server = Server(KEYS.verifier)
    client.final(server.first(client.first()))
    with pytest.raises(ScramError, match="did not prove"):
        client.check(final)


def test_a_proof_without_an_exchange_proves_nothing() -> None:
    client = ScramClient(keys=KEYS, nonce="CLIENT", offered=frozenset({SCRAM}))
    empty = b"v=" + base64.b64encode(hmac.digest(KEYS.server_key, b"", "sha256"))
    with pytest.raises(ScramError):
        client.check(empty)


def test_keys_hide_and_need_enough_of_everything() -> None:
    assert "client_key" not in repr(KEYS)
    with pytest.raises(ValueError, match="32 bytes"):
        ScramKeys.derive(salted_password=b"short", salt=b"saltsaltsaltsalt")
