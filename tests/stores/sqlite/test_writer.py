"""The writer when things go wrong: a full disk (P6), failed commits, a database that others change, a flood."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.audit_cases import AT, allow, deny
from tests.fakes.clock import DrivenClock
from tests.stores.sqlite.conftest import MakeStore, on_a_loop
from watchkey.model.audit import Noted
from watchkey.model.errors import Unavailable
from watchkey.rules.audit_entry import make_entry
from watchkey.rules.merkle import hash_leaf
from watchkey.stores.sqlite import AuditReader, SqliteStore
from watchkey.stores.sqlite.writer import WAITING_MAX

ROOT = Path(__file__).parents[3]


def bodies(database: Path) -> list[dict[str, Any]]:
    with AuditReader(database) as reader:
        return [json.loads(entry.body) for entry in reader.entries()]


def in_child(script: str, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, sys.executable, "-m", f"tests.stores.sqlite.{script}", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def no_more_pages(store: SqliteStore) -> None:
    """Make SQLite itself say that the disk is full, until the writer opens the file again."""
    connection = store._writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def until_refused(store: SqliteStore) -> list[int]:
    given: list[int] = []
    while True:
        try:
            given.append(store.append_and_block(allow(len(given))))
        except Unavailable as error:
            assert "full" in str(error)  # noqa: PT017 - what comes before the error is wanted too
            return given


def wait_until_signed(store: SqliteStore, size: int) -> None:
    """Signing comes after the answer, so a test that depends on it waits for it."""
    while store.stats().signed != size:
        time.sleep(0.001)


def test_on_a_full_disk_no_allow_is_given_and_endings_still_are_written(
    make_store: MakeStore, database: Path, clock: DrivenClock
) -> None:
    store = make_store()
    store.open()
    no_more_pages(store)
    given = until_refused(store)
    assert store.stats().is_disk_full
    assert not Path(f"{database}.reserve").exists()
    with pytest.raises(Unavailable, match="full"):
        store.append_and_block(allow())
    with pytest.raises(Unavailable, match="full"):
        store.append_and_block(deny())
    ended = store.append_and_block(Noted(at=AT, what="session.ended"))
    assert ended == len(given)

    clock.advance(timedelta(seconds=2))
    store.append_and_block(Noted(at=AT, what="later"))
    store.append_and_block(allow(77))
    assert not store.stats().is_disk_full
    assert Path(f"{database}.reserve").stat().st_size == 1024 * 1024
    store.close()
    notes = [(body["what"], body["fields"]) for body in bodies(database) if body["kind"] == "noted"]
    assert [what for what, _ in notes] == ["session.ended", "later", "audit.not_recorded"]
    assert {k: v for k, v in notes[2][1].items() if k != "since"} == {"allow": 2, "deny": 1}


def test_an_entry_that_met_the_full_disk_first_is_still_written_when_it_ends_access(
    make_store: MakeStore, database: Path
) -> None:
    store = make_store()
    store.open()
    no_more_pages(store)
    for number in range(200):
        assert store.append_and_block(Noted(at=AT, what="session.ended", fields={"number": number})) == number
    store.close()
    assert len(bodies(database)) == 200


def test_a_really_full_disk(tmp_path: Path) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    run = in_child("full_disk", str(tmp_path), before=("unshare", "-Urm"))
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip(f"no mount namespace here: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["is_disk_full"] is True
    assert "full" in told["allow"]
    assert "full" in told["deny"]
    assert told["ending"] == "ok"
    assert told["after"] == "ok"
    assert told["allows"] == told["given"] + 1
    (gap,) = [fields for what, fields in told["notes"] if what == "audit.not_recorded"]
    assert gap["allow"] >= 2
    assert gap["deny"] == 1


def test_a_write_that_the_system_refuses_fails_its_callers_and_nothing_else(database: Path) -> None:
    run = in_child("limited_file", str(database))
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["given"] > 50
    assert told["errors"] == 3
    assert told["is_kept"] is True
    assert told["verdict"] is None
    assert sum(fields["allow"] for fields in told["told"]) == 3


def change(database: Path, *statements: str) -> None:
    """What somebody with access to the file can do while the service runs."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DROP TRIGGER IF EXISTS entries_are_not_changed")
        connection.execute("DROP TRIGGER IF EXISTS entries_are_not_removed")
        for statement in statements:
            connection.execute(statement)
        connection.commit()


CHANGE = "UPDATE entries SET body = CAST(replace(body, 'allow', 'grant') AS BLOB) WHERE seq = 1"
REMOVE = "DELETE FROM entries WHERE seq = 1"
REPLACE = "UPDATE entries SET (body, leaf) = (SELECT body, leaf FROM entries WHERE seq = 0) WHERE seq = 1"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (CHANGE, "entry 1 of the audit log was changed"),
        (REMOVE, "entry 1 of the audit log is missing"),
        (REPLACE, "entries 1 to 2 are not those that were written"),
    ],
)
def test_nothing_is_signed_over_entries_that_somebody_changed(
    make_store: MakeStore, database: Path, clock: DrivenClock, statement: str, said: str
) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    wait_until_signed(store, 1)  # the next signature is due in a second of the driven clock
    store.append_and_block(allow(1))
    change(database, statement)
    clock.advance(timedelta(seconds=2))
    store.append_and_block(allow(2))
    with pytest.raises(Unavailable, match=said):
        store.append_and_block(allow(3))
    with pytest.raises(Unavailable, match=said):
        store.append_and_block(Noted(at=AT, what="session.ended"))
    assert said in store.stats().broken
    assert store.stats().signed == 1


def test_a_database_that_was_put_in_place_of_ours_stops_the_log(
    make_store: MakeStore, database: Path, clock: DrivenClock, tmp_path: Path
) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    wait_until_signed(store, 1)
    database.rename(tmp_path / "moved")
    clock.advance(timedelta(seconds=2))
    store.append_and_block(allow(1))
    with pytest.raises(Unavailable, match="there is no database"):
        store.append_and_block(allow(2))


def test_what_a_failed_commit_left_on_disk_is_learnt_before_the_next(make_store: MakeStore, database: Path) -> None:
    """A commit may fail after its data reached the disk: then the entry is there though nobody was told."""
    store = make_store()
    store.open()
    store.append_and_block(allow(0))

    def reach_the_disk_and_fail(connection: sqlite3.Connection) -> None:
        entry = make_entry(allow(1), seq=1, high_water=None)
        connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (1, entry.body, hash_leaf(entry.body)))
        connection.execute("COMMIT")
        raise sqlite3.OperationalError("interrupted")

    with pytest.raises(Unavailable, match="interrupted"):
        store._writer.submit_and_block(reach_the_disk_and_fail)
    assert store.append_and_block(allow(2)) == 3
    store.close()
    assert [body.get("what", body.get("sentence")) for body in bodies(database)] == [
        "allow 0",
        "allow 1",
        "audit.not_recorded",
        "allow 2",
    ]
    make_store().open()


@pytest.mark.parametrize("statement", [REMOVE, REPLACE])
def test_what_was_acknowledged_and_is_gone_after_a_failure_stops_the_log(
    make_store: MakeStore, database: Path, statement: str
) -> None:
    store = make_store()
    store.open()
    store.append_and_block(allow(0))
    wait_until_signed(store, 1)
    store.append_and_block(allow(1))

    def change_and_fail(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TRIGGER entries_are_not_changed")
        connection.execute("DROP TRIGGER entries_are_not_removed")
        connection.execute(statement)
        connection.execute("COMMIT")
        raise sqlite3.OperationalError("interrupted")

    with pytest.raises(Unavailable, match="interrupted"):
        store._writer.submit_and_block(change_and_fail)
    with pytest.raises(Unavailable, match="no longer holds the 2 entries that were written to it"):
        store.append_and_block(allow(2))
    assert store.stats().broken


def test_after_a_failed_fsync_nothing_is_written_any_more(make_store: MakeStore) -> None:
    """The system may have dropped the data and report success the next time."""
    store = make_store()
    store.open()

    def fail(_connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with pytest.raises(Unavailable, match="failed to store data; check it and start again"):
        store._writer.submit_and_block(fail)
    with pytest.raises(Unavailable, match="failed to store data; check it and start again"):
        store.append_and_block(allow())


@on_a_loop
async def test_a_failed_commit_fails_all_that_shared_it_and_the_tree_stays(
    make_store: MakeStore, database: Path
) -> None:
    async with make_store() as store:
        gate = threading.Event()

        def fail(_connection: sqlite3.Connection) -> None:
            gate.wait(10)
            raise sqlite3.OperationalError("no")

        first = asyncio.ensure_future(store._writer.submit(fail))
        together = [asyncio.ensure_future(store.append(allow(number))) for number in range(5)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(first, *together, return_exceptions=True)
        assert isinstance(results[0], Unavailable)
        good = [result for result in results[1:] if isinstance(result, int)]
        assert all(isinstance(result, Unavailable) for result in results[1:] if result not in good)
        await store.append(allow(9))
    sentences = [body.get("sentence") for body in bodies(database) if body["kind"] == "decision"]
    assert len(sentences) == len(good) + 1


@on_a_loop
async def test_a_flood_is_turned_away_and_counted(make_store: MakeStore, database: Path) -> None:
    async with make_store() as store:
        gate = threading.Event()
        running = threading.Event()

        def block(_connection: sqlite3.Connection) -> None:
            running.set()
            gate.wait(30)

        blocker = asyncio.ensure_future(store._writer.submit(block))
        await asyncio.to_thread(running.wait, 10)
        asks = [asyncio.ensure_future(store.append(deny(number))) for number in range(WAITING_MAX + 5)]
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*asks, return_exceptions=True)
        await blocker
        refused = [result for result in results if isinstance(result, Unavailable)]
        assert len(refused) == 5
        assert refused[0].retry_after == 1
    gaps = [body["fields"] for body in bodies(database) if body.get("what") == "audit.not_recorded"]
    assert sum(gap["deny"] for gap in gaps) == 5


def test_a_writer_that_breaks_lets_nobody_wait(make_store: MakeStore) -> None:
    store = make_store()
    store.open()

    def wrong(_connection: sqlite3.Connection) -> None:
        raise LookupError("a mistake of ours")

    with pytest.raises(Unavailable, match="writer failed"):
        store._writer.submit_and_block(wrong)
    with pytest.raises(Unavailable, match="LookupError"):
        store.append_and_block(allow())


def test_checkpoints_are_thinned_but_the_first_of_each_stretch_and_the_last_stay(
    make_store: MakeStore, database: Path, clock: DrivenClock
) -> None:
    store = make_store()
    store.open()
    for number in range(30):
        store.append_and_block(allow(number))
        clock.advance(timedelta(seconds=2))
    store.close()
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT size FROM checkpoints ORDER BY size").fetchall() == [(0,), (1,), (30,)]
