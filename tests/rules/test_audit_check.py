"""Judging a log: whatever is done to it below a checkpoint is found, and what is found is named rightly."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit_cases import KEY, Log, make_log, note_at
from watchkey.rules.audit_check import FINDINGS_MAX, Damage, KnownNote, Report, StoredEntry, check_log
from watchkey.rules.checkpoint import SigningKey
from watchkey.rules.merkle import hash_leaf

LOG = make_log(12, signed=(0, 4, 8, 12))
ANCHOR = KnownNote(where="the auditor's checkpoint", note=note_at(LOG.entries, 12))
THIEF = SigningKey(KEY.name, bytes(32))


def check(entries: tuple[StoredEntry, ...], notes: tuple[KnownNote, ...] = LOG.notes) -> Report:
    return check_log(entries, notes, KEY.verifying)


def rehashed(entry: StoredEntry, body: bytes) -> StoredEntry:
    """Changed by somebody who knows where the hash is."""
    return replace(entry, body=body, leaf=hash_leaf(body))


def test_a_log_as_it_was_signed_is_whole() -> None:
    report = check(LOG.entries)
    assert (report.verdict, report.findings, report.size, report.uncovered) == (None, (), 12, 0)
    assert report.newest is not None
    assert report.newest.root == report.root


@pytest.mark.parametrize("size", range(71))
def test_logs_of_every_size_are_whole_with_a_checkpoint_at_each(size: int) -> None:
    log = make_log(size, signed=tuple(range(size + 1)))
    assert check(log.entries, log.notes).verdict is None


def test_entries_after_the_last_checkpoint_are_counted_not_vouched_for() -> None:
    log = make_log(12, signed=(0, 4))
    report = check(log.entries, log.notes)
    assert (report.verdict, report.uncovered) == (None, 8)
    closed = check_log(log.entries, log.notes, KEY.verifying, is_closed=True)
    assert closed.verdict is Damage.TAMPERED
    assert closed.findings[0].text == "8 entries at the end are not covered by any checkpoint"


def test_a_changed_entry_is_named() -> None:
    entries = list(LOG.entries)
    entries[5] = replace(entries[5], body=entries[5].body.replace(b"write", b"erase"))
    report = check(tuple(entries))
    assert report.verdict is Damage.TAMPERED
    assert [(f.seq, f.text) for f in report.findings] == [
        (5, "entry 5 was changed: it does not have the hash that was stored")
    ]


def test_a_changed_entry_with_a_new_hash_is_placed_between_two_checkpoints() -> None:
    entries = list(LOG.entries)
    entries[5] = rehashed(entries[5], entries[5].body.replace(b"write", b"erase"))
    report = check(tuple(entries))
    assert report.verdict is Damage.TAMPERED
    assert [f.text for f in report.findings] == [
        "entries 4 to 7 are not those that were signed: the root differs from that in checkpoint 8"
    ]


def test_a_missing_entry_is_a_gap() -> None:
    report = check(LOG.entries[:6] + LOG.entries[7:])
    assert report.verdict is Damage.GAP
    assert [f.text for f in report.findings] == ["entry 6 is missing"]
    assert check(LOG.entries[3:]).findings[0].text == "entries 0 to 2 are missing"


def test_a_cut_end_is_a_rollback() -> None:
    report = check(LOG.entries[:9])
    assert report.verdict is Damage.ROLLED_BACK
    assert [f.text for f in report.findings] == [
        "entries 9 to 11 are missing at the end: checkpoint 12 covers 12 entries"
    ]
    assert check((), LOG.notes).verdict is Damage.ROLLED_BACK


def test_an_end_that_was_cut_together_with_its_checkpoint_is_found_by_one_kept_elsewhere() -> None:
    cut = make_log(8, signed=(0, 4, 8))
    assert check(cut.entries, cut.notes).verdict is None
    report = check(cut.entries, (*cut.notes, ANCHOR))
    assert report.verdict is Damage.ROLLED_BACK
    assert "the auditor's checkpoint covers 12" in report.findings[0].text


def test_a_log_without_any_right_checkpoint_is_not_vouched_for() -> None:
    assert check(LOG.entries, ()).verdict is Damage.TAMPERED
    assert "nothing vouches" in check(LOG.entries, ()).findings[-1].text


def test_a_log_rebuilt_with_another_key_is_found() -> None:
    forged = make_log(12, signed=(0, 4, 8, 12), key=THIEF)
    report = check(forged.entries, forged.notes)
    assert report.verdict is Damage.TAMPERED
    assert "not signed by" in report.findings[0].text


def test_two_checkpoints_of_one_size_that_differ_are_a_fork() -> None:
    other = list(LOG.entries)
    other[0] = rehashed(other[0], other[0].body.replace(b"write", b"erase"))
    fork = KnownNote(where="the other story", note=note_at(tuple(other), 12))
    report = check(LOG.entries, (*LOG.notes, fork))
    assert report.verdict is Damage.TAMPERED
    assert "a forked log" in report.findings[0].text


def test_an_entry_that_says_another_number_is_found_though_the_tree_fits() -> None:
    bodies = [entry.body for entry in LOG.entries]
    bodies[3], bodies[4] = bodies[4], bodies[3]
    entries = tuple(StoredEntry(seq, body, hash_leaf(body)) for seq, body in enumerate(bodies))
    report = check(entries, (KnownNote(where="signed", note=note_at(entries, 12)),))
    assert [f.text for f in report.findings] == [
        "entry 3 was changed: it says that it is number 4",
        "entry 4 was changed: it says that it is number 3",
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"seq":"3"}', b'{"seq":3', b"\xff", b'{"seq":1e400}'])
def test_bytes_that_are_no_entry_are_found(body: bytes) -> None:
    entries = (*LOG.entries[:3], StoredEntry(3, body, hash_leaf(body)), *LOG.entries[4:])
    assert check(entries).findings[0].text == "entry 3 was changed: it is not an entry"


def test_the_gravest_damage_is_the_verdict() -> None:
    entries = list(LOG.entries[:10])
    entries[2] = replace(entries[2], body=b"{}")
    assert {f.damage for f in check(tuple(entries)).findings} == {Damage.TAMPERED, Damage.ROLLED_BACK}
    assert check(tuple(entries)).verdict is Damage.TAMPERED
    del entries[5]
    assert check(tuple(entries)).verdict is Damage.TAMPERED


def test_a_log_full_of_damage_is_not_worth_endless_words() -> None:
    log = make_log(3 * FINDINGS_MAX, signed=(0, 3 * FINDINGS_MAX))
    report = check(tuple(replace(entry, body=b"x") for entry in log.entries), log.notes)
    assert len(report.findings) == FINDINGS_MAX


def test_progress_is_told_up_to_the_end() -> None:
    seen: list[int] = []
    check_log(LOG.entries, LOG.notes, KEY.verifying, progress=seen.append)
    assert seen == [4, 8, 12]


# P7: any change, deletion, insertion, reordering or truncation below a checkpoint that the verifier holds.

Mutation = Callable[[st.DataObject, Log], tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]]


def renumbered(entries: list[StoredEntry]) -> tuple[StoredEntry, ...]:
    return tuple(replace(entry, seq=seq) for seq, entry in enumerate(entries))


def change(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    entries = list(log.entries)
    at = data.draw(st.integers(0, len(entries) - 1))
    body = bytearray(entries[at].body)
    where, value = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(1, 255))
    body[where] ^= value
    is_careful = data.draw(st.booleans())
    entries[at] = rehashed(entries[at], bytes(body)) if is_careful else replace(entries[at], body=bytes(body))
    return tuple(entries), log.notes


def delete(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    entries = list(log.entries)
    del entries[data.draw(st.integers(0, len(entries) - 1))]
    return renumbered(entries) if data.draw(st.booleans()) else tuple(entries), log.notes


def insert(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    entries = list(log.entries)
    at = data.draw(st.integers(0, len(entries) - 1))
    extra = rehashed(entries[at], data.draw(st.sampled_from([entries[at].body, b"{}", b'{"seq":%d}' % at])))
    entries.insert(at, extra)
    return renumbered(entries) if data.draw(st.booleans()) else tuple(entries), log.notes


def reorder(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    entries = data.draw(st.permutations(log.entries).filter(lambda order: tuple(order) != log.entries))
    return renumbered(entries) if data.draw(st.booleans()) else tuple(entries), log.notes


def truncate(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    size = data.draw(st.integers(0, len(log.entries) - 1))
    kept = tuple(note for note in log.notes if data.draw(st.booleans()))
    return log.entries[:size], kept


def rebuild(data: st.DataObject, log: Log) -> tuple[tuple[StoredEntry, ...], tuple[KnownNote, ...]]:
    """Everything anew, in perfect form, as only somebody without the key has to."""
    entries, _ = data.draw(st.sampled_from([change, delete, insert, reorder]))(data, log)
    anew = tuple(rehashed(entry, entry.body) for entry in renumbered(list(entries)))
    key = data.draw(st.sampled_from([THIEF, SigningKey("another.example", bytes(32))]))
    return anew, tuple(KnownNote(where="forged", note=note_at(anew, size, key)) for size in range(len(anew) + 1))


@pytest.mark.parametrize(
    "mutation", [change, delete, insert, reorder, truncate, rebuild], ids=lambda each: each.__name__
)
@given(st.data(), st.integers(2, 40))
def test_nothing_below_a_held_checkpoint_changes_unseen(mutation: Mutation, data: st.DataObject, size: int) -> None:
    signed = tuple(sorted({0, size, *data.draw(st.sets(st.integers(0, size), max_size=4))}))
    log = make_log(size, signed=signed)
    held = KnownNote(where="held", note=note_at(log.entries, size))
    entries, notes = mutation(data, log)
    assert entries != log.entries
    report = check_log(entries, (*notes, held), KEY.verifying)
    assert report.verdict is not None
    assert report.findings
