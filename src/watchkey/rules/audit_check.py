"""Judges a whole audit log with the public key alone: what was changed, what is missing, and where.

It sees entries and signed checkpoints, wherever they were read from: the database, an export, a copy that an auditor
holds. What it can promise is bounded by the checkpoints it is given; entries after the newest one are counted, not
vouched for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from watchkey.model.errors import Malformed
from watchkey.rules.checkpoint import Checkpoint, VerifyingKey, open_checkpoint
from watchkey.rules.merkle import Frontier, hash_leaf

FINDINGS_MAX: Final = 100
"""After that many the log is not worth more words."""
_CHUNK: Final = 4096


class Damage(StrEnum):
    """What kind of wrong; the first one that occurs in this order is the verdict."""

    TAMPERED = "tampered"
    GAP = "gap"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One wrong thing; `seq` is the first entry concerned, None when it concerns no entry in particular."""

    damage: Damage
    seq: int | None
    text: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it was found; `leaf` is the hash that was stored beside it, None where none is stored."""

    seq: int
    body: bytes
    leaf: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNote:
    """A signed checkpoint from somewhere, and how to name that place to a person."""

    where: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found in a log of `size` entries with this `root`."""

    size: int
    root: bytes
    newest: Checkpoint | None
    """The largest checkpoint whose signature is right."""
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Damage | None:
        """The gravest damage, None for a log that is as it was signed."""
        return next((damage for damage in Damage if any(f.damage is damage for f in self.findings)), None)

    @property
    def uncovered(self) -> int:
        """How many entries at the end no right checkpoint covers."""
        return self.size - min(self.size, self.newest.size if self.newest else 0)


class _Head(msgspec.Struct):
    """The one field of an entry that the tree does not pin by itself: an entry must say its own place."""

    seq: int


_head_decoder: Final = msgspec.json.Decoder(_Head)


@dataclass(slots=True)
class _Findings:
    """Collects findings, up to the bound."""

    items: list[Finding] = field(default_factory=list)

    def add(self, damage: Damage, seq: int | None, text: str) -> None:
        if len(self.items) < FINDINGS_MAX:
            self.items.append(Finding(damage=damage, seq=seq, text=text))


def check_log(
    entries: Iterable[StoredEntry],
    notes: Sequence[KnownNote],
    key: VerifyingKey,
    *,
    is_closed: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Check every entry and every checkpoint.

    1. Each note is a checkpoint of this log, signed by this key, and there is at least one.
    2. Entries follow one another without a gap; each is the bytes whose hash is stored, and says its own number.
    3. At the size of each checkpoint the tree over the entries has the checkpoint's root.
    4. The log is at least as long as the largest checkpoint; with `is_closed` (an export, which ends at a checkpoint)
       it is not longer either.

    `progress` learns the number of entries checked, now and then. Time: about 5 µs for each entry.
    """
    findings = _Findings()
    known = _open_notes(notes, key, findings)  # step 1
    frontier = _walk(iter(entries), known, findings, progress)  # steps 2 and 3
    newest = known[max(known)][0] if known else None
    if newest is not None and newest.size > frontier.size:  # step 4
        where = known[newest.size][1]
        is_one = newest.size - frontier.size == 1
        missing = f"entry {frontier.size} is" if is_one else f"entries {frontier.size} to {newest.size - 1} are"
        text = f"{missing} missing at the end: {where} covers {newest.size} entries"
        if not any(f.damage is Damage.GAP for f in findings.items):
            findings.add(Damage.ROLLED_BACK, frontier.size, text)
    if is_closed and newest is not None and newest.size < frontier.size:
        text = f"{frontier.size - newest.size} entries at the end are not covered by any checkpoint"
        findings.add(Damage.TAMPERED, newest.size, text)
    return Report(size=frontier.size, root=frontier.root(), newest=newest, findings=tuple(findings.items))


def _open_notes(
    notes: Sequence[KnownNote], key: VerifyingKey, findings: _Findings
) -> dict[int, tuple[Checkpoint, str]]:
    """The right checkpoints by size. Two different ones of one size are a forked log."""
    known: dict[int, tuple[Checkpoint, str]] = {}
    for each in notes:
        try:
            checkpoint = open_checkpoint(each.note, key)
        except Malformed as error:
            findings.add(Damage.TAMPERED, None, f"{each.where}: {error}")
            continue
        other, where = known.setdefault(checkpoint.size, (checkpoint, each.where))
        if other != checkpoint:
            text = f"{where} and {each.where} are both signed for {checkpoint.size} entries and differ: a forked log"
            findings.add(Damage.TAMPERED, None, text)
    if not known:
        findings.add(Damage.TAMPERED, None, "no checkpoint signed by this key: nothing vouches for any entry")
    return known


def _walk(
    entries: Iterator[StoredEntry],
    known: dict[int, tuple[Checkpoint, str]],
    findings: _Findings,
    progress: Callable[[int], None],
) -> Frontier:
    """Rebuild the tree over the entries and compare it with each checkpoint on the way."""
    frontier, expected, vouched = Frontier(), 0, 0
    sizes = sorted(known)
    while True:
        is_whole = not findings.items or all(f.seq is None for f in findings.items)
        if is_whole and sizes and sizes[0] == frontier.size:
            checkpoint, where = known[sizes.pop(0)]
            if checkpoint.root != frontier.root():
                last = f"{vouched} to {frontier.size - 1}" if frontier.size - vouched > 1 else f"{vouched}"
                text = f"entries {last} are not those that were signed: the root differs from that in {where}"
                findings.add(Damage.TAMPERED, min(vouched, max(frontier.size - 1, 0)), text)
            vouched = frontier.size
            continue
        stop = sizes[0] - frontier.size if sizes and sizes[0] > frontier.size else _CHUNK
        chunk = list(islice(entries, min(stop, _CHUNK)))
        if not chunk:
            return frontier
        leaves = [hash_leaf(entry.body) for entry in chunk]
        expected = _check_chunk(chunk, leaves, expected, findings)
        frontier = frontier.extend(leaves)
        progress(frontier.size)


def _check_chunk(chunk: list[StoredEntry], leaves: list[bytes], expected: int, findings: _Findings) -> int:
    """Look at each entry by itself and at its place; returns the number that the next chunk must begin with."""
    decode = _head_decoder.decode
    for entry, leaf in zip(chunk, leaves, strict=True):
        seq = entry.seq
        if seq > expected:
            missing = f"entries {expected} to {seq - 1} are" if seq - expected > 1 else f"entry {expected} is"
            findings.add(Damage.GAP, expected, f"{missing} missing")
        elif seq < expected:
            findings.add(Damage.TAMPERED, seq, f"entry {seq} stands where entry {expected} belongs")
        expected = seq + 1
        if entry.leaf is not None and entry.leaf != leaf:
            findings.add(Damage.TAMPERED, seq, f"entry {seq} was changed: it does not have the hash that was stored")
            continue
        try:
            said = decode(entry.body).seq
        except msgspec.MsgspecError:
            findings.add(Damage.TAMPERED, seq, f"entry {seq} was changed: it is not an entry")
            continue
        if said != seq:
            findings.add(Damage.TAMPERED, seq, f"entry {seq} was changed: it says that it is number {said}")
    return expected
