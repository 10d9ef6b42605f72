"""The store as a whole: durable answers, one writer, and what a restored or changed database does at start (P8)."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.audit_cases import AT, EVENTS, KEY, allow
from tests.fakes.clock import DrivenClock
from tests.stores.sqlite.conftest import MakeStore, on_a_loop
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Memory, RosterRevision
from watchkey.rules.audit_check import Damage, Report, check_log
from watchkey.rules.checkpoint import SigningKey
from watchkey.rules.merkle import hash_leaf
from watchkey.stores.sqlite import AuditReader, Config, build, read_key
from watchkey.stores.sqlite.key_files import create_key


def check(database: Path) -> Report:
    with AuditReader(database) as reader:
        remembered = reader.remembered()
        return check_log(reader.entries(), [*reader.notes(), *([remembered] if remembered else [])], KEY.verifying)


def bodies(database: Path) -> list[dict[str, object]]:
    with AuditReader(database) as reader:
        return [json.loads(entry.body) for entry in reader.entries()]


def save(database: Path, place: Path) -> None:
    """A backup of the database, without the memory of what was signed."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(place)) as target:
        source.backup(target)


def restore(place: Path, database: Path) -> None:
    for tail in ("-wal", "-shm"):
        Path(f"{database}{tail}").unlink(missing_ok=True)
    shutil.copy(place, database)


def test_every_kind_of_event_is_stored_signed_and_verified(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    assert [store.append_and_block(event) for event in EVENTS] == list(range(len(EVENTS)))
    store.close()
    report = check(database)
    assert (report.verdict, report.size, report.uncovered) == (None, len(EVENTS), 0)


def test_it_is_an_audit_log_and_a_memory(make_store: MakeStore) -> None:
    store = make_store()
    log: AuditLog = store  # for the type checker
    memory: Memory = store
    assert (log.append, memory.recall) == (store.append, store.recall)


@on_a_loop
async def test_many_callers_at_once_share_commits_and_lose_nothing(make_store: MakeStore, database: Path) -> None:
    async with make_store() as store:
        numbers = await asyncio.gather(*(store.append(allow(number)) for number in range(500)))
        assert sorted(numbers) == list(range(500))
        assert store.stats().commits < 100
        told = {seq: number for number, seq in enumerate(numbers)}
    assert all(body["sentence"] == f"allow {told[seq]}" for seq, body in enumerate(bodies(database)))
    assert check(database).verdict is None


@on_a_loop
async def test_an_acknowledged_entry_can_be_read_by_others_at_once(make_store: MakeStore, database: Path) -> None:
    async with make_store() as store:
        seq = await store.append(allow(7))
        assert bodies(database)[seq]["sentence"] == "allow 7"


@on_a_loop
async def test_a_caller_that_gives_up_harms_nobody(make_store: MakeStore, database: Path) -> None:
    async with make_store() as store:
        asks = [asyncio.ensure_future(store.append(allow(number))) for number in range(20)]
        await asyncio.sleep(0)
        asks[3].cancel()
        results = await asyncio.gather(*asks, return_exceptions=True)
        assert isinstance(results[3], asyncio.CancelledError)
        assert sum(isinstance(result, int) for result in results) == 19
        await store.append(allow(99))
    assert len(bodies(database)) == 21  # what was queued is written, told or not
    assert check(database).verdict is None


@on_a_loop
async def test_an_event_that_cannot_be_written_fails_alone(make_store: MakeStore, database: Path) -> None:
    async with make_store() as store:
        bad = Noted(at=AT, what="x", fields={"x": float("nan")})
        results = await asyncio.gather(
            store.append(allow(0)), store.append(bad), store.append(allow(1)), return_exceptions=True
        )
        assert [type(result) for result in results] == [int, Malformed, int]
    assert [body["seq"] for body in bodies(database)] == [0, 1]


def test_a_closed_log_takes_nothing(make_store: MakeStore) -> None:
    store = make_store()
    with pytest.raises(Unavailable, match="closed"):
        store.append_and_block(allow())
    store.open()
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        store.append_and_block(allow())


def test_a_log_goes_on_where_it_stopped(make_store: MakeStore, database: Path) -> None:
    for start in range(0, 9, 3):
        store = make_store()
        store.open()
        assert [store.append_and_block(allow(n)) for n in range(3)] == [start, start + 1, start + 2]
        store.close()
    assert check(database).verdict is None


def test_only_one_writer_and_the_other_is_named(make_store: MakeStore, database: Path) -> None:
    make_store().open()
    with pytest.raises(Refused, match=rf"watchkey\.db is in use by process {os.getpid()}: a log has one writer"):
        make_store().open()
    code = (
        "import sys; from pathlib import Path; from watchkey.stores.sqlite.database import WriterLock;"
        "WriterLock(Path(sys.argv[1])).acquire()"
    )
    run = subprocess.run([sys.executable, "-c", code, str(database)], capture_output=True, text=True, check=False)
    assert f"in use by process {os.getpid()}" in run.stderr


def test_the_lock_is_given_back(make_store: MakeStore) -> None:
    first = make_store()
    first.open()
    first.close()
    make_store().open()


# P8: a database that is not the newest state of the log.


def test_a_database_restored_from_a_backup_is_refused_and_says_what_is_missing(
    make_store: MakeStore, database: Path, tmp_path: Path
) -> None:
    store = make_store()
    store.open()
    for number in range(5):
        store.append_and_block(allow(number))
    save(database, tmp_path / "backup")
    for number in range(5, 9):
        store.append_and_block(allow(number))
    store.close()
    restore(tmp_path / "backup", database)
    assert check(database).verdict is Damage.ROLLED_BACK
    with pytest.raises(Refused, match=r"ends before entry 5.* Missing: entries 5 to 8\. Find the newest copy"):
        make_store().open()


def test_an_accepted_rollback_stands_in_the_log(make_store: MakeStore, database: Path, tmp_path: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    save(database, tmp_path / "backup")
    for number in range(1, 4):
        store.append_and_block(allow(number))
    store.close()
    restore(tmp_path / "backup", database)
    store = make_store()
    store.open(accept_rollback=True)
    assert store.append_and_block(allow(1)) == 2
    store.close()
    kinds = [(body["kind"], body.get("what")) for body in bodies(database)]
    assert kinds == [("decision", None), ("noted", "audit.rollback_accepted"), ("decision", None)]
    assert "Missing: entries 1 to 3" in str(bodies(database)[1]["fields"])
    assert check(database).verdict is None
    make_store().open()


def test_an_empty_database_in_place_of_the_log_is_refused(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow())
    store.close()
    database.unlink()
    with pytest.raises(Refused, match="Missing: entry 0"):
        make_store().open()


def test_a_database_whose_memory_is_gone_is_refused(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow())
    store.close()
    Path(f"{database}.checkpoint").unlink()
    with pytest.raises(Refused, match=r"the memory of the last signed checkpoint.*is gone"):
        make_store().open()


def test_another_history_of_the_same_length_is_refused(make_store: MakeStore, database: Path, tmp_path: Path) -> None:
    store = make_store()
    store.open()
    save(database, tmp_path / "backup")
    store.append_and_block(allow(0))
    store.close()
    memory = Path(f"{database}.checkpoint").read_bytes()
    restore(tmp_path / "backup", database)
    fork = make_store()
    fork.open(accept_rollback=True)
    fork.append_and_block(allow(1))
    fork.close()
    Path(f"{database}.checkpoint").write_bytes(memory)
    with pytest.raises(Refused, match="its first 1 entries are not those that were signed"):
        make_store().open()


def test_an_entry_changed_while_the_service_was_down_is_refused(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    store.close()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER entries_are_not_removed")
        connection.execute("DELETE FROM entries")
        connection.commit()
    with pytest.raises(Refused, match="has lost its end: entries 0 to 0 are missing"):
        make_store().open()


def test_another_key_does_not_go_on_with_the_log(make_store: MakeStore, database: Path, clock: DrivenClock) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow())
    store.close()
    other = SigningKey(KEY.name, bytes(32))
    thief = build(Config(path=str(database), key=Secret(other.reveal())), name="sqlite", clock=clock)
    with pytest.raises(Refused, match="not one by the configured key"):
        thief.open()


def test_entries_that_were_never_signed_are_pointed_out_after_a_crash(make_store: MakeStore, database: Path) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    store.close()
    with AuditReader(database) as reader:
        body = next(reader.entries()).body.replace(b'"seq":0', b'"seq":1')
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("INSERT INTO entries VALUES (1, ?, ?)", (body, hash_leaf(body)))
        connection.commit()
    make_store().open()
    assert bodies(database)[2]["what"] == "audit.unsigned_end"
    assert bodies(database)[2]["fields"] == {"first": 1, "last": 1}


def test_time_that_stepped_back_over_a_restart_is_seen(make_store: MakeStore, database: Path) -> None:
    for at in (AT, AT - timedelta(hours=1)):
        store = make_store()
        store.open()
        store.append_and_block(Noted(at=at, what="x"))
        store.close()
    assert [body.get("clock_stepped_back") for body in bodies(database)] == [None, True]


# What must outlive a restart.


@on_a_loop
async def test_values_are_remembered(make_store: MakeStore) -> None:
    async with make_store() as store:
        assert store.recall("baseline") is None
        await store.remember("baseline", {"shift": [1, None, "é"]})
        await store.remember("other", 1)
        await store.remember("baseline", {"shift": [2]})
    async with make_store() as store:
        assert store.recall("baseline") == {"shift": [2]}
        assert store.recall("other") == 1


@on_a_loop
async def test_rosters_are_kept_by_revision_and_pruned(make_store: MakeStore) -> None:
    source = SourceName("pager")
    contents = [b'{"people":[%d]}' % number * 100 for number in range(4)]
    async with make_store() as store:
        for number, content in enumerate(contents, start=1):
            revision = RosterRevision(
                source=source, revision=number, at=AT + timedelta(days=number), digest=f"d{number}"
            )
            await store.keep_roster(revision, content)
        again = RosterRevision(source=source, revision=5, at=AT + timedelta(days=5), digest="d2")
        await store.keep_roster(again, contents[1])
        assert [store.kept_roster(source, number) for number in range(1, 6)] == [*contents, contents[1]]
        assert store.kept_roster(source, 6) is None
        assert store.kept_roster(SourceName("other"), 1) is None
        await store.prune_rosters(before=AT + timedelta(days=3), bytes_max=10_000_000)
        assert [each.revision for each in store.kept_revisions(source)] == [3, 4, 5]
        assert store.kept_roster(source, 5) == contents[1]
        await store.prune_rosters(before=AT, bytes_max=0)
        assert [each.revision for each in store.kept_revisions(source)] == [5]


def test_the_key_of_init_opens_a_store(tmp_path: Path, clock: DrivenClock) -> None:
    public = create_key(tmp_path / "audit.key", "example.com/new")
    config = Config(path=str(tmp_path / "x.db"), key=read_key(tmp_path / "audit.key"))
    store = build(config, name="sqlite", clock=clock)
    store.open()
    store.close()
    assert store.verifying_key == public
    with AuditReader(tmp_path / "x.db") as reader:
        assert reader.public_key_text() == f"{public}\n"


def test_what_is_no_key_is_refused(tmp_path: Path, clock: DrivenClock) -> None:
    with pytest.raises(Malformed, match="audit key"):
        build(Config(path=str(tmp_path / "x.db"), key=Secret("canary")), name="sqlite", clock=clock)


def test_files_of_the_log_are_readable_by_their_owner_only(make_store: MakeStore, database: Path) -> None:
    make_store().open()
    for path in (database, Path(f"{database}-wal"), Path(f"{database}.lock"), Path(f"{database}.reserve")):
        assert path.stat().st_mode & 0o077 == 0
