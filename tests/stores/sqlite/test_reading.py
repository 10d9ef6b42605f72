"""Reading a log: proofs, a view that does not move, and every flipped byte of the file found or harmless (P7)."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.audit_cases import KEY, allow
from tests.stores.sqlite.conftest import MakeStore
from watchkey.model.errors import Malformed, PortError, Refused
from watchkey.rules.audit_check import StoredEntry, check_log
from watchkey.rules.checkpoint import SigningKey, verify_proof
from watchkey.rules.merkle import hash_leaf, root_of
from watchkey.stores.sqlite.reading import AuditReader

COUNT = 40


@pytest.fixture
def log(make_store: MakeStore, database: Path) -> Path:
    """A log of COUNT entries whose writer is gone and whose file is complete."""
    store = make_store()
    store.open()
    for number in range(COUNT):
        store.append_and_block(allow(number))
    store.close()
    return database


def test_entries_and_roots_are_as_they_were_written(log: Path) -> None:
    with AuditReader(log) as reader:
        entries = list(reader.entries())
        assert [entry.seq for entry in entries] == list(range(COUNT))
        assert [entry.seq for entry in reader.entries(3, 6)] == [3, 4, 5]
        assert reader.size() == COUNT
        assert reader.root_of(5, 17) == root_of(hash_leaf(entry.body) for entry in entries[5:17])


def test_every_entry_can_be_proven(log: Path) -> None:
    with AuditReader(log) as reader:
        for seq in range(COUNT):
            proof = reader.prove(seq, KEY.verifying)
            assert verify_proof(proof, KEY.verifying).size == COUNT
            assert f"allow {seq}".encode() in proof.entry


def test_what_cannot_be_proven_is_said(log: Path) -> None:
    with AuditReader(log) as reader:
        with pytest.raises(Refused, match="there is no entry 40; the log has 40"):
            reader.prove(COUNT, KEY.verifying)
        with pytest.raises(Malformed, match="not signed by"):
            reader.prove(0, SigningKey(KEY.name, bytes(32)).verifying)
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("INSERT INTO entries VALUES (40, x'00', ?)", (hash_leaf(b"\x00"),))
        connection.execute("DROP TRIGGER entries_are_not_changed")
        connection.execute("UPDATE entries SET body = x'00' WHERE seq = 3")
        connection.commit()
    with AuditReader(log) as reader:
        with pytest.raises(Refused, match="entry 40 is not signed yet: the newest checkpoint covers 40"):
            reader.prove(40, KEY.verifying)
        with pytest.raises(Refused, match="entry 3 was changed"):
            reader.prove(3, KEY.verifying)


def test_a_view_does_not_move_while_the_service_writes(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    with AuditReader(database) as reader:
        for number in range(1, 10):
            store.append_and_block(allow(number))
        assert reader.size() == 1
        assert len(list(reader.entries())) == 1
        report = check_log(reader.entries(), reader.notes(), KEY.verifying)
        assert report.verdict is None
    with AuditReader(database) as reader:
        assert reader.size() == 10


def test_a_log_without_a_checkpoint_has_none_to_show(log: Path) -> None:
    with closing(sqlite3.connect(log)) as connection:
        connection.execute("DELETE FROM checkpoints")
        connection.commit()
    with AuditReader(log) as reader, pytest.raises(Refused, match="no signed checkpoint yet"):
        reader.newest_note()


def judged(database: Path) -> tuple[bool, list[StoredEntry] | None]:
    """Whether verification is content, and what it then read."""
    try:
        with AuditReader(database) as reader:
            remembered = reader.remembered()
            notes = [*reader.notes(), *([remembered] if remembered else [])]
            entries = list(reader.entries())
            return check_log(entries, notes, KEY.verifying).verdict is None, entries
    except PortError:
        return False, None


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_flipped_byte_of_the_file_changes_an_entry_unseen(log: Path, data: st.DataObject) -> None:
    copy = log.with_name("flipped.db")
    raw = bytearray(log.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    _, original = judged(log)
    copy.write_bytes(raw)
    shutil.copy(f"{log}.checkpoint", f"{copy}.checkpoint")
    is_content, entries = judged(copy)
    assert not is_content or entries == original  # a byte that nothing uses may be anything


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 60_000))
def test_no_cut_of_the_file_goes_unseen(log: Path, size: int) -> None:
    raw = log.read_bytes()
    copy = log.with_name("cut.db")
    copy.write_bytes(raw[: size % len(raw)])
    shutil.copy(f"{log}.checkpoint", f"{copy}.checkpoint")
    assert judged(copy)[0] is False
