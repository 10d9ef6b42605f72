"""Signed checkpoints and proofs of the audit log, in the C2SP text forms, and the keys that sign and verify them.

Forms: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-proof. Keys are written
`name+id+base64` and `PRIVATE+KEY+name+id+base64`, as the note tools of the Go checksum database write them.
Everything that is read may come from somebody who wants to deceive: what does not fit exactly is `Malformed`.
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from watchkey.model.errors import Malformed
from watchkey.rules.merkle import HASH_SIZE, hash_leaf, verify_inclusion

ED25519: Final = b"\x01"
"""The signature type of signed-note for Ed25519 over the note's text."""
NOTE_BYTES_MAX: Final = 64 * 1024
"""A note needs a few hundred; with sixteen post-quantum cosignatures it would need less than this."""
SIGNATURES_MAX: Final = 32
PROOF_BYTES_MAX: Final = 4 * 1024 * 1024
SIZE_MAX: Final = 2**63 - 1
_PRIVATE: Final = "PRIVATE+KEY+"
_PROOF_HEADER: Final = "c2sp.org/tlog-proof@v1"


def _unbase64(text: str, what: str) -> bytes:
    """Decode strictly: one text for each value, so that nothing can be hidden in a spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Malformed(f"{what} is not base64") from error
    if _base64(data) != text:
        raise Malformed(f"{what} is not in the canonical form of base64")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decimal(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and text != "0") or len(text) > 19:
        raise Malformed(f"{what} is not a plain decimal number")
    value = int(text)
    if value > SIZE_MAX:
        raise Malformed(f"{what} is too large")
    return value


def _check_name(name: str) -> str:
    if not name or "+" in name or any(char.isspace() or ord(char) < 0x20 for char in name):
        raise Malformed(f"a log's name must be non-empty, without spaces and without '+': {name!r}")
    return name


def _key_id(name: str, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """The public half: whoever has it can check the log, and nobody can sign with it."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before a signature by this key."""
        return _key_id(self.name, self.public)

    def __str__(self) -> str:
        """`name+id+base64`, the form that `parse_verifying_key` reads."""
        return f"{self.name}+{self.id.hex()}+{_base64(ED25519 + self.public)}"

    def accepts(self, signature: bytes, text: str) -> bool:
        """Whether this key signed that text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """The private half; its printed form hides it, `reveal` is the one way to the text that is kept in a file."""

    __slots__ = ("__private", "__seed", "verifying")

    def __init__(self, name: str, seed: bytes) -> None:
        self.__seed = seed
        self.__private = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifying: Final = VerifyingKey(_check_name(name), self.__private.public_key().public_bytes_raw())

    @property
    def name(self) -> str:
        """The log's name, which is the checkpoint's origin too."""
        return self.verifying.name

    def reveal(self) -> str:
        """`PRIVATE+KEY+name+id+base64`, the form that `parse_signing_key` reads."""
        return f"{_PRIVATE}{self.name}+{self.verifying.id.hex()}+{_base64(ED25519 + self.__seed)}"

    def sign(self, text: str) -> bytes:
        """The signature over a note's text."""
        return self.__private.sign(text.encode())

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r}, ***)"


def _key_parts(text: str, what: str) -> tuple[str, bytes, bytes]:
    parts = text.split("+", 2)  # base64 has '+' of its own, names have none
    if len(parts) != 3:
        raise Malformed(f"{what} must have the form name+id+base64")
    name, identifier, data = _check_name(parts[0]), parts[1], _unbase64(parts[2], what)
    if len(data) != 1 + HASH_SIZE or data[:1] != ED25519:
        raise Malformed(f"{what} is not an Ed25519 key")
    if len(identifier) != 8 or identifier.strip("0123456789abcdef"):
        raise Malformed(f"{what}: the id must be eight hexadecimal digits")
    return name, bytes.fromhex(identifier), data[1:]


def parse_verifying_key(text: str) -> VerifyingKey:
    """Read `name+id+base64`. Raises Malformed; a private key given by mistake is refused without repeating it."""
    text = text.strip()
    if text.startswith(_PRIVATE):
        raise Malformed("this is the private key; give the public one, which has no PRIVATE+KEY in front")
    name, identifier, public = _key_parts(text, "the public key")
    key = VerifyingKey(name, public)
    if key.id != identifier:
        raise Malformed("the public key does not match its own id: was a character lost?")
    return key


def parse_signing_key(text: str) -> SigningKey:
    """Read `PRIVATE+KEY+name+id+base64`. Raises Malformed; no message holds any part of the key."""
    text = text.strip()
    if not text.startswith(_PRIVATE):
        raise Malformed(f"the audit key must begin with {_PRIVATE}")
    name, identifier, seed = _key_parts(text.removeprefix(_PRIVATE), "the audit key")
    key = SigningKey(name, seed)
    if key.verifying.id != identifier:
        raise Malformed("the audit key does not match its own id: was a character lost?")
    return key


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log held at one size: `root` covers the entries `[0, size)` of the log named `origin`."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """The signed note of a checkpoint."""
    signature = _base64(key.verifying.id + key.sign(checkpoint.text))
    return f"{checkpoint.text}\n— {key.name} {signature}\n"


def _split_note(note: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The text and the signatures `(name, id and signature)` of a note."""
    if len(note) > NOTE_BYTES_MAX:
        raise Malformed(f"a checkpoint of more than {NOTE_BYTES_MAX} characters")
    if any(ord(char) < 0x20 and char != "\n" for char in note):
        raise Malformed("a checkpoint with control characters")
    text, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise Malformed("a checkpoint needs its text, an empty line, and signature lines that end with a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise Malformed(f"a checkpoint with more than {SIGNATURES_MAX} signatures")
    signatures = []
    for line in lines:
        dash, _, rest = line.partition(" ")
        name, _, signature = rest.partition(" ")
        if dash != "—":
            raise Malformed("a signature line must begin with an em dash and a space")
        data = _unbase64(signature, "a signature")
        if len(data) < 5:
            raise Malformed("a signature is too short")
        signatures.append((_check_name(name), data))
    return text + "\n", signatures


def parse_checkpoint_unverified(text: str) -> Checkpoint:
    """Read the lines of a checkpoint without looking at any signature. Raises Malformed."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not all(lines[:-1]):
        raise Malformed("a checkpoint needs three non-empty lines: origin, size, root")
    root = _unbase64(lines[2], "the root")
    if len(root) != HASH_SIZE:
        raise Malformed("the root is not a SHA-256 hash")
    return Checkpoint(lines[0], _decimal(lines[1], "the size"), root)


def open_checkpoint(note: str, key: VerifyingKey) -> Checkpoint:
    """The checkpoint of a note that this key signed for its own log. Raises Malformed for anything else.

    Signatures by other keys are passed over; a wrong one by this key spoils the note (signed-note, *Signatures*).
    """
    text, signatures = _split_note(note)
    ours = [data[4:] for name, data in signatures if name == key.name and data[:4] == key.id]
    if not ours:
        raise Malformed(f"the checkpoint is not signed by {key.name} with key {key.id.hex()}")
    if not all(key.accepts(signature, text) for signature in ours):
        raise Malformed(f"the checkpoint's signature by {key.name} is wrong")
    checkpoint = parse_checkpoint_unverified(text)
    if checkpoint.origin != key.name:
        raise Malformed(f"the checkpoint is of the log {checkpoint.origin!r}, not of {key.name!r}")
    return checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """One entry, its place, and the way from it to a signed checkpoint: all that an auditor needs besides the key."""

    index: int
    entry: bytes
    hashes: tuple[bytes, ...]
    note: str


def format_proof(proof: Proof) -> str:
    """The `.tlog-proof` text; the entry itself travels in its `extra` line."""
    lines = [_PROOF_HEADER, f"extra {_base64(proof.entry)}", f"index {proof.index}"]
    return "\n".join([*lines, *map(_base64, proof.hashes), "", proof.note])


def parse_proof_unverified(text: str) -> Proof:
    """Read a `.tlog-proof` text that carries its entry. Raises Malformed; nothing is believed yet."""
    if len(text) > PROOF_BYTES_MAX:
        raise Malformed(f"a proof of more than {PROOF_BYTES_MAX} characters")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or len(lines) < 3 or lines[0] != _PROOF_HEADER:
        raise Malformed(f"a proof begins with {_PROOF_HEADER}, then extra and index, then hashes, then the checkpoint")
    if not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise Malformed("a proof of this log carries its entry in a line 'extra', followed by a line 'index'")
    if len(lines) > 3 + 64:
        raise Malformed("a proof with more hashes than any tree is high")
    hashes = tuple(_unbase64(line, "a hash of the proof") for line in lines[3:])
    if any(len(each) != HASH_SIZE for each in hashes):
        raise Malformed("a hash of the proof is not a SHA-256 hash")
    entry = _unbase64(lines[1].removeprefix("extra "), "the entry")
    return Proof(_decimal(lines[2].removeprefix("index "), "the index"), entry, hashes, note)


def verify_proof(proof: Proof, key: VerifyingKey) -> Checkpoint:
    """The checkpoint that holds the proof's entry. Raises Malformed when the proof does not show that it does."""
    checkpoint = open_checkpoint(proof.note, key)
    leaf = hash_leaf(proof.entry)
    if not verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root):
        raise Malformed(f"the entry is not number {proof.index} of the {checkpoint.size} that the checkpoint covers")
    return checkpoint
