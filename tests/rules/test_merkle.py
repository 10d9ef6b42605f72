"""The tree against RFC 6962's own recursive definition, exhaustively for small sizes, and against mutations."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    hash_leaf,
    hash_node,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)

SIZES = range(71)
ENTRIES = [f"entry {number}".encode() for number in SIZES]
LEAVES = [hash_leaf(entry) for entry in ENTRIES]


# The oracle: section 2.1 of RFC 6962, word for word, over the data itself.


def largest_power_below(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(data: Sequence[bytes]) -> bytes:
    if not data:
        return sha256(b"").digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = largest_power_below(len(data))
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    if len(data) == 1:
        return []
    k = largest_power_below(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], is_complete: bool) -> list[bytes]:  # noqa: FBT001 - the RFC's own signature
    if m == len(data):
        return [] if is_complete else [mth(data)]
    k = largest_power_below(len(data))
    if m <= k:
        return [*subproof(m, data[:k], is_complete), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def roots(start: int, stop: int) -> bytes:
    return root_of(LEAVES[start:stop])


@pytest.mark.parametrize("size", SIZES)
def test_the_root_is_that_of_the_definition(size: int) -> None:
    assert root_of(LEAVES[:size]) == mth(ENTRIES[:size])


def test_the_known_roots_of_the_reference_implementation() -> None:
    # The eight inputs and the roots of the Certificate Transparency project's own test of its tree.
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [hash_leaf(bytes.fromhex(text)) for text in inputs]
    assert root_of(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert root_of(leaves[:2]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert root_of(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert root_of([]) == EMPTY_ROOT


@pytest.mark.parametrize("size", SIZES)
def test_extending_in_two_steps_is_extending_at_once(size: int) -> None:
    whole = Frontier().extend(LEAVES[:size])
    for cut in range(size + 1):
        assert Frontier().extend(LEAVES[:cut]).extend(LEAVES[cut:size]) == whole
    assert Frontier.unpack(size, whole.packed()) == whole


@pytest.mark.parametrize("size", [size for size in SIZES if size])
def test_every_inclusion_proof_is_that_of_the_definition_and_verifies(size: int) -> None:
    root = roots(0, size)
    for index in range(size):
        proof = inclusion_proof(index, size, roots)
        assert list(proof) == path(index, ENTRIES[:size])
        assert verify_inclusion(LEAVES[index], index, size, proof, root)


@pytest.mark.parametrize("new", SIZES)
def test_every_consistency_proof_is_that_of_the_definition_and_verifies(new: int) -> None:
    for old in range(new + 1):
        proof = consistency_proof(old, new, roots)
        assert list(proof) == ([] if old == 0 else subproof(old, ENTRIES[:new], True))
        assert verify_consistency(old, roots(0, old), new, roots(0, new), proof)


@pytest.mark.parametrize("size", range(1, 40))
def test_a_proof_holds_for_its_own_leaf_place_size_and_root_only(size: int) -> None:
    root = roots(0, size)
    for index in range(size):
        proof = inclusion_proof(index, size, roots)
        assert not verify_inclusion(hash_leaf(b"another"), index, size, proof, root)
        assert not verify_inclusion(LEAVES[index], index, size, proof, roots(0, size + 1))
        assert not verify_inclusion(LEAVES[index], index, size, (*proof, EMPTY_ROOT), root)
        assert not any(
            verify_inclusion(LEAVES[index], other, size, proof, root) for other in range(size) if other != index
        )
        assert not (proof and verify_inclusion(LEAVES[index], index, size, proof[1:], root))
        assert not (proof and verify_inclusion(LEAVES[index], index, size, proof[:-1], root))
    assert not verify_inclusion(LEAVES[0], -1, size, (), root)
    assert not verify_inclusion(LEAVES[0], size, size, (), root)


@pytest.mark.parametrize("new", range(1, 40))
def test_consistency_with_another_history_is_never_shown(new: int) -> None:
    new_root = roots(0, new)
    for old in range(1, new):
        proof = consistency_proof(old, new, roots)
        old_root = roots(0, old)
        forged = root_of([*LEAVES[: old - 1], hash_leaf(b"forged")])
        assert not verify_consistency(old, forged, new, new_root, proof)
        assert not verify_consistency(old, old_root, new, forged, proof)
        assert not verify_consistency(old, old_root, new, new_root, proof[:-1])
        assert not verify_consistency(old, old_root, new, new_root, (*proof, EMPTY_ROOT))
        assert not verify_consistency(old, old_root, new, new_root, ())
    assert not verify_consistency(new, new_root, new, EMPTY_ROOT, ())
    assert not verify_consistency(new, new_root, new, new_root, (EMPTY_ROOT,))
    assert not verify_consistency(0, new_root, new, new_root, ())
    assert not verify_consistency(0, EMPTY_ROOT, new, new_root, (EMPTY_ROOT,))
    assert not verify_consistency(new + 1, new_root, new, new_root, ())


def test_an_entry_that_looks_like_a_node_is_not_one() -> None:
    # Without the prefixes a leaf made of two hashes would have the root of the two leaves.
    left, right = LEAVES[:2]
    assert hash_leaf(left + right) != hash_node(left, right)


@given(st.lists(st.binary(max_size=8), max_size=300))
def test_large_and_odd_trees_agree_with_the_definition(entries: list[bytes]) -> None:
    assert root_of(map(hash_leaf, entries)) == mth(entries)


@given(st.integers(1, 70), st.data())
def test_no_changed_hash_in_a_proof_goes_unnoticed(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = list(inclusion_proof(index, size, roots))
    if not proof:
        return
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    changed = bytearray(proof[at])
    changed[bit // 8] ^= 1 << bit % 8
    proof[at] = bytes(changed)
    assert not verify_inclusion(LEAVES[index], index, size, proof, roots(0, size))


def test_what_cannot_be_asked_is_an_error() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_proof(3, 3, roots)
    with pytest.raises(ValueError, match="no leaf -1"):
        inclusion_proof(-1, 3, roots)
    with pytest.raises(ValueError, match="cannot begin with 4"):
        consistency_proof(4, 3, roots)
    with pytest.raises(ValueError, match="peaks"):
        Frontier(3, (EMPTY_ROOT,))
    with pytest.raises(ValueError, match="whole hashes"):
        Frontier.unpack(1, b"short")
