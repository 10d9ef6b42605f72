"""The tree over the audit log: RFC 6962 hashing, appending, and proofs of inclusion and of consistency.

A leaf is hashed with a leading 0x00, a node with 0x01, so that neither can be passed off as the other. Nothing here
knows what an entry means or where it is kept.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

HASH_SIZE: Final = 32
"""Bytes of one hash."""

EMPTY_ROOT: Final = sha256(b"").digest()
"""The root of a tree without leaves."""

RootOf = Callable[[int, int], bytes]
"""The root over the leaves `[start, stop)`; whoever keeps the leaves provides it."""


def hash_leaf(entry: bytes) -> bytes:
    """The leaf of one entry."""
    return sha256(b"\x00" + entry).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """The node above two subtrees."""
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that is needed to append to it and to know its root.

    `peaks` are the roots of the perfect subtrees from left to right, one for each bit that is set in `size`. The value
    never changes, so whoever fails to store new leaves simply keeps the old one.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has not {len(self.peaks)} peaks")

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The frontier after these leaves."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaves:
            node, rest = leaf, size
            while rest & 1:
                node = sha256(b"\x01" + peaks.pop() + node).digest()
                rest >>= 1
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks))

    def root(self) -> bytes:
        """The root over all leaves so far."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = hash_node(peak, root)
        return root

    def packed(self) -> bytes:
        """The peaks as bytes; `unpack` with the same size gives the frontier back."""
        return b"".join(self.peaks)

    @staticmethod
    def unpack(size: int, packed: bytes) -> "Frontier":
        """Read what `packed` wrote. Raises ValueError when the length does not fit the size."""
        if len(packed) % HASH_SIZE:
            raise ValueError("packed peaks are not whole hashes")
        return Frontier(size, tuple(packed[at : at + HASH_SIZE] for at in range(0, len(packed), HASH_SIZE)))


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over these leaves."""
    return Frontier().extend(leaves).root()


def _split(count: int) -> int:
    """The largest power of two below `count` (at least 2): where RFC 6962 parts a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_proof(index: int, size: int, roots: RootOf) -> tuple[bytes, ...]:
    """The hashes that lead from leaf `index` to the root of a tree of `size` leaves, the leaf's sibling first.

    RFC 6962 section 2.1.1. Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    siblings: list[tuple[int, int]] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            siblings.append((middle, stop))
            stop = middle
        else:
            siblings.append((start, middle))
            start = middle
    return tuple(roots(low, high) for low, high in reversed(siblings))


def consistency_proof(old: int, new: int, roots: RootOf) -> tuple[bytes, ...]:
    """The hashes that show that the tree of `new` leaves begins with the tree of `old` leaves.

    RFC 6962 section 2.1.2. Empty when `old` is 0 or equals `new`. Raises ValueError when `old > new`.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves cannot begin with {old} leaves")
    if old in {0, new}:
        return ()
    parts: list[tuple[int, int]] = []
    start, stop = 0, new
    while old != stop:
        middle = start + _split(stop - start)
        if old <= middle:
            parts.append((middle, stop))
            stop = middle
        else:
            parts.append((start, middle))
            start = middle
    if start:  # the old tree is not itself a node of the new one: name the node where both paths meet
        parts.append((start, stop))
    return tuple(roots(low, high) for low, high in reversed(parts))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `leaf` stands at `index` in the tree of `size` leaves with this root. RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    node, low, high = leaf, index, size - 1
    for sibling in proof:
        if high == 0:
            return False
        if low & 1 or low == high:
            node = hash_node(sibling, node)
            while low and not low & 1:
                low, high = low >> 1, high >> 1
        else:
            node = hash_node(node, sibling)
        low, high = low >> 1, high >> 1
    return high == 0 and node == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree `(new, new_root)` begins with the tree `(old, old_root)`. RFC 9162 section 2.1.4.2."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof) if old & (old - 1) else [old_root, *proof]  # a perfect old tree is its own first node
    if not path:
        return False
    low, high = old - 1, new - 1
    while low & 1:
        low, high = low >> 1, high >> 1
    before = after = path[0]
    for node in path[1:]:
        if high == 0:
            return False
        if low & 1 or low == high:
            before, after = hash_node(node, before), hash_node(node, after)
            while low and not low & 1:
                low, high = low >> 1, high >> 1
        else:
            after = hash_node(after, node)
        low, high = low >> 1, high >> 1
    return high == 0 and before == old_root and after == new_root
