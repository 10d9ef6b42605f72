#!/usr/bin/env python3
"""Check an export or a proof of Watchkey's audit log, in one file that can be read in ten minutes.

Needs Python >= 3.9 and the package `cryptography`; takes nothing from Watchkey. Two uses:

    verify_audit.py export audit.jsonl  --key watchkey.vkey [--since earlier.checkpoint]
    verify_audit.py proof  17.tlog-proof --key watchkey.vkey [--since earlier.checkpoint]

Exit code: 0 the log is as it was signed, 2 it was changed, 3 its end is missing, 4 entries in it are missing,
1 it could not be checked (no such file, not a key, wrong usage).

How it works. Each line of an export is one entry. A tree of hashes stands over the entries (RFC 6962): a leaf is
SHA-256(0x00 entry), a node SHA-256(0x01 left right). Now and then the log's owner signs a *checkpoint*: the log's
name, the number of entries, and the hash at the top of the tree. Whoever changes, removes, adds or moves an entry
below a checkpoint changes that hash, and without the private key cannot sign another one.

What it cannot see: a log that was cut back *and* whose cut was signed with the real key. Against that, keep a
checkpoint from time to time where the log's owner cannot reach it, and give it with --since.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

OK, UNCHECKED, TAMPERED, ROLLED_BACK, GAP = 0, 1, 2, 3, 4
PROOF_HEADER = "c2sp.org/tlog-proof@v1"


class Finding(Exception):
    """What is wrong, and the exit code for it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Key(NamedTuple):
    """The public key of a log, with the log's name."""

    name: str
    id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    """A signed statement: the first `size` entries have this root."""

    size: int
    root: bytes


# -- keys and checkpoints: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint -------------------------


def unbase64(text: str) -> bytes:
    """Decode strictly, so that one value has one spelling."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 with stray bits")
    return data


def read_key(given: str) -> Key:
    """Read a public key, `name+id+base64`, given as such or as the name of a file that holds it."""
    path = Path(given)
    text = (path.read_text(encoding="utf-8") if path.is_file() else given).strip()
    if text.startswith("PRIVATE+KEY"):
        raise Finding(UNCHECKED, "that is the private key; the public one is wanted")
    try:
        name, key_id, data = text.split("+", 2)
        raw, identifier = unbase64(data), bytes.fromhex(key_id)
    except ValueError:
        raise Finding(UNCHECKED, f"not a public key, nor a file with one: {given}") from None
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if raw[:1] != b"\x01" or len(raw) != 33 or identifier != expected:
        raise Finding(UNCHECKED, "not an Ed25519 key, or a character of it was lost")
    return Key(name, identifier, raw[1:])


def open_checkpoint(note: str, key: Key) -> Checkpoint:
    """Check the signature of a checkpoint; only then read it."""
    text, gap, signatures = note.rpartition("\n\n")
    text += "\n"
    is_signed = False
    for line in signatures.split("\n")[:-1] if gap and signatures.endswith("\n") else []:
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        try:
            data = unbase64(encoded)
        except ValueError:
            raise Finding(TAMPERED, "a checkpoint holds something that is not a signature") from None
        if dash != "—" or name != key.name or data[:4] != key.id:
            continue  # somebody else's signature: a witness, perhaps
        try:
            Ed25519PublicKey.from_public_bytes(key.public).verify(data[4:], text.encode())
        except InvalidSignature:
            raise Finding(TAMPERED, f"a checkpoint's signature by {key.name} is wrong") from None
        is_signed = True
    if not is_signed:
        raise Finding(TAMPERED, f"a checkpoint is not signed by {key.name}")
    lines = text.split("\n")
    if len(lines) < 4 or lines[0] != key.name or str(int(lines[1])) != lines[1]:
        raise Finding(TAMPERED, f"a signed note that is not a checkpoint of {key.name}")
    return Checkpoint(int(lines[1]), unbase64(lines[2]))


# -- the tree: RFC 6962, section 2.1 ------------------------------------------------------------------------------


def hash_leaf(entry: bytes) -> bytes:
    """The leaf of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The node above two nodes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing tree of which only the tops of its full subtrees are kept: (how many leaves, hash), largest first."""

    def __init__(self) -> None:
        self.size = 0
        self.tops: list[tuple[int, bytes]] = []

    def append(self, leaf: bytes) -> None:
        """Add a leaf; two full subtrees of one size become one."""
        self.size += 1
        count, node = 1, leaf
        while self.tops and self.tops[-1][0] == count:
            node = hash_node(self.tops.pop()[1], node)
            count *= 2
        self.tops.append((count, node))

    def root(self) -> bytes:
        """The hash at the top."""
        if not self.tops:
            return hashlib.sha256(b"").digest()
        node = self.tops[-1][1]
        for _, top in reversed(self.tops[:-1]):
            node = hash_node(top, node)
        return node


def root_from_proof(leaf: bytes, index: int, size: int, hashes: list[bytes]) -> bytes:
    """The root that follows from a leaf, its place, and the hashes beside its way up."""
    if size == 1:
        if hashes:
            raise Finding(TAMPERED, "the proof has too many hashes")
        return leaf
    if not hashes:
        raise Finding(TAMPERED, "the proof has too few hashes")
    left_size = 1 << ((size - 1).bit_length() - 1)  # the largest power of two below size
    *below, beside = hashes
    if index < left_size:
        return hash_node(root_from_proof(leaf, index, left_size, below), beside)
    return hash_node(beside, root_from_proof(leaf, index - left_size, size - left_size, below))


# -- the two uses -------------------------------------------------------------------------------------------------


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file without their newlines; never the whole file at once."""
    with path.open("rb") as file:
        for line in file:
            yield line[:-1] if line.endswith(b"\n") else line


def check_export(path: Path, key: Key, known: dict[int, Checkpoint]) -> str:
    """Check every entry of an export against its own checkpoint and those that were kept elsewhere."""
    tree = Tree()
    is_last = False
    for line in lines_of(path):
        if is_last:
            raise Finding(TAMPERED, "there is something after the checkpoint line, which must be the last")
        try:
            value = json.loads(line)
            seq, note = value.get("seq"), value.get("checkpoint")
        except (ValueError, AttributeError, RecursionError):
            raise Finding(TAMPERED, f"the line after {tree.size} entries is not an entry") from None
        if isinstance(note, str) and seq is None:
            remember(open_checkpoint(note, key), known)
            is_last = True
            continue
        if isinstance(seq, int) and seq > tree.size:
            raise Finding(GAP, f"entries {tree.size} to {seq - 1} are missing")
        if seq != tree.size:
            raise Finding(TAMPERED, f"entry {seq} stands where entry {tree.size} belongs")
        check_root(tree, known)
        tree.append(hash_leaf(line))
    check_root(tree, known)
    if not known:
        raise Finding(TAMPERED, "there is no signed checkpoint: nothing vouches for any entry")
    newest = max(known)
    if newest > tree.size:
        raise Finding(ROLLED_BACK, f"entries {tree.size} to {newest - 1} are missing at the end")
    if tree.size > newest:
        raise Finding(TAMPERED, f"entries {newest} to {tree.size - 1} are not covered by any checkpoint")
    return f"ok: {tree.size} entries of {key.name}, root {base64.b64encode(tree.root()).decode()}"


def remember(checkpoint: Checkpoint, known: dict[int, Checkpoint]) -> None:
    """Add a checkpoint to those that are known; two stories about one size are a fork."""
    if known.setdefault(checkpoint.size, checkpoint) != checkpoint:
        raise Finding(TAMPERED, f"two different checkpoints for {checkpoint.size} entries: the log was forked")


def check_root(tree: Tree, known: dict[int, Checkpoint]) -> None:
    """Compare with the checkpoint of this size, if there is one."""
    checkpoint = known.get(tree.size)
    if checkpoint is not None and checkpoint.root != tree.root():
        raise Finding(TAMPERED, f"the first {tree.size} entries are not those that were signed")


def check_proof(path: Path, key: Key, known: dict[int, Checkpoint]) -> str:
    """Check that the entry in a proof stands under a signed checkpoint. Form: https://c2sp.org/tlog-proof."""
    head, _, note = path.read_text(encoding="utf-8").partition("\n\n")
    lines = head.split("\n")
    if len(lines) < 3 or [lines[0], lines[1][:6], lines[2][:6]] != [PROOF_HEADER, "extra ", "index "]:
        raise Finding(TAMPERED, "this is not a proof of one entry")
    entry, index = unbase64(lines[1][6:]), int(lines[2][6:])
    hashes = [unbase64(line) for line in lines[3:]]
    checkpoint = open_checkpoint(note, key)
    if not 0 <= index < checkpoint.size or len(hashes) > 64:
        raise Finding(TAMPERED, f"the checkpoint covers {checkpoint.size} entries, entry {index} is not one of them")
    if root_from_proof(hash_leaf(entry), index, checkpoint.size, hashes) != checkpoint.root:
        raise Finding(TAMPERED, f"this is not entry {index} of {key.name}")
    remember(checkpoint, known)
    return f"ok: entry {index} of {key.name}, under a checkpoint of {checkpoint.size} entries\n{entry.decode()}"


class Parser(argparse.ArgumentParser):
    """Wrong usage is *not checked*, which must not look like *tampered*."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 1."""
        self.exit(UNCHECKED, f"{self.prog}: {message}\n")


def main() -> int:
    """Run, print one line, return the exit code."""
    parser = Parser(description="Check an export or a proof of Watchkey's audit log.")
    parser.add_argument("kind", choices=("export", "proof"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", required=True, help="the log's public key, or a file with it; get it from its owner")
    parser.add_argument("--since", type=Path, action="append", default=[], help="a checkpoint that you kept yourself")
    arguments = parser.parse_args()
    try:
        key = read_key(arguments.key)
        known: dict[int, Checkpoint] = {}
        for path in arguments.since:
            remember(open_checkpoint(path.read_text(encoding="utf-8"), key), known)
        check = check_export if arguments.kind == "export" else check_proof
        code, text = OK, check(arguments.file, key, known)
    except Finding as finding:
        code, text = finding.code, str(finding)
    except OSError as error:
        code, text = UNCHECKED, f"cannot read {error.filename}: {error.strerror}"
    except ValueError as error:  # bytes that are not text, a number that is not one: no such thing was ever signed
        code, text = TAMPERED, f"damaged: {error}"
    sys.stdout.write(f"{text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
