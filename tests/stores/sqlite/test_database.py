"""The database file: made for its owner, recognised, locked; network file systems refused; the reserve."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.stores.sqlite import database as module
from watchkey.stores.sqlite.database import (
    Reserve,
    WriterLock,
    connect,
    connect_read_only,
    file_system_of,
    prepare,
)


def test_a_new_database_is_durable_private_and_ours(database: Path) -> None:
    prepare(database)
    prepare(database)
    assert database.stat().st_mode & 0o777 == 0o600
    with closing(connect(database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: a commit waits for its fsync
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_entries_are_neither_changed_nor_removed_by_accident(database: Path) -> None:
    prepare(database)
    with closing(connect(database)) as connection:
        connection.execute("INSERT INTO entries VALUES (0, x'00', x'00')")
        for statement in ("UPDATE entries SET body = x'01'", "DELETE FROM entries"):
            with pytest.raises(sqlite3.IntegrityError, match="only grows"):
                connection.execute(statement)


def test_a_foreign_database_is_left_alone(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    with pytest.raises(Refused, match="is not a database of Watchkey"):
        prepare(database)
    with pytest.raises(Refused, match="is not a database of Watchkey"):
        connect_read_only(database)


def test_a_newer_schema_is_left_alone(database: Path) -> None:
    prepare(database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(Refused, match="has schema 2; this version of Watchkey reads schema 1"):
        prepare(database)


def test_a_file_that_is_no_database_is_damaged(database: Path) -> None:
    database.write_bytes(b"not a database" * 100)
    with pytest.raises(Unavailable, match="file is not a database"):
        prepare(database)
    with pytest.raises(Malformed, match="is damaged"):
        connect_read_only(database)


def test_a_database_that_is_not_there_is_not_made_by_reading(database: Path) -> None:
    with pytest.raises(Refused, match="there is no database"):
        connect_read_only(database)
    assert not database.exists()


def test_a_reader_cannot_write(database: Path) -> None:
    prepare(database)
    with closing(connect_read_only(database)) as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO remembered VALUES ('x', x'00')")


def test_a_copy_in_a_folder_that_cannot_be_written_is_read(database: Path) -> None:
    prepare(database)
    Path(f"{database}-shm").unlink(missing_ok=True)
    code = (
        "import os, sys; os.getuid() or os.setuid(65534);"
        "from pathlib import Path; from watchkey.stores.sqlite.database import connect_read_only;"
        "print(connect_read_only(Path(sys.argv[1])).execute('SELECT count(*) FROM entries').fetchone())"
    )
    for folder in (database.parent, *database.parent.parents[:3]):
        folder.chmod(0o555 if folder == database.parent else folder.stat().st_mode | 0o055)
    database.chmod(0o644)
    run = subprocess.run([sys.executable, "-c", code, str(database)], capture_output=True, text=True, check=False)
    database.parent.chmod(0o755)
    if "Permission denied" in run.stderr or "ModuleNotFoundError" in run.stderr:
        pytest.skip("another account cannot read this Python installation")
    assert run.stdout == "(0,)\n", run.stderr


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(database: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(module, "file_system_of", lambda _folder: kind)
    with pytest.raises(Refused, match=rf"network file system \({kind}\)"):
        prepare(database)
    assert not database.exists()


def test_the_kind_of_file_system_is_known_on_linux() -> None:
    if not Path("/proc/self/mounts").exists():
        assert file_system_of(Path("/")) == ""
        return
    assert file_system_of(Path("/proc/self")) == "proc"
    assert file_system_of(Path("/")) != ""


def test_the_lock_says_who_has_it_and_goes_with_its_holder(database: Path) -> None:
    with WriterLock(database), pytest.raises(Refused, match=f"in use by process {os.getpid()}"):
        WriterLock(database).acquire()
    again = WriterLock(database)
    again.acquire()
    again.release()
    again.release()


def test_the_lock_of_a_killed_process_is_free(database: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from watchkey.stores.sqlite.database import WriterLock;"
        "WriterLock(Path(sys.argv[1])).acquire(); os.kill(os.getpid(), 9)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(database)], capture_output=True, check=False)
    assert run.returncode == -9
    WriterLock(database).acquire()


def test_the_reserve_is_real_room_and_can_be_given_back(database: Path) -> None:
    reserve = Reserve(database, 300_000)
    assert reserve.fill()
    assert reserve.fill()
    path = Path(f"{database}.reserve")
    assert path.stat().st_size == 300_000
    assert path.stat().st_blocks * 512 >= 300_000  # not a hole
    reserve.release()
    reserve.release()
    assert not path.exists()


def test_a_reserve_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    assert not Reserve(tmp_path / "no such folder" / "x.db", 10).fill()
    assert not Reserve(tmp_path / "x.db", 1 << 60).fill()
    assert list(tmp_path.iterdir()) == []
