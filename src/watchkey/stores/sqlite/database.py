"""The SQLite file itself: how it is opened, its schema, the lock against a second writer, the reserve on disk."""

import errno
import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from watchkey.model.errors import Malformed, Refused, Unavailable

APPLICATION_ID: Final = 0x574B4559
"""`WKEY`, in the file's header: tells our files from other SQLite files."""
SCHEMA_VERSION: Final = 1
BUSY_MS: Final = 5000
READ_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""What reading can raise; the second comes when a damaged schema is quoted in an error's text."""
_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {
        "afs",
        "ceph",
        "cifs",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    }
)
_SCHEMA: Final = """
CREATE TABLE entries (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, leaf BLOB NOT NULL) STRICT;
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL, peaks BLOB NOT NULL) STRICT;
CREATE TABLE remembered (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE roster_contents (digest TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT;
CREATE TABLE roster_revisions (
  source TEXT NOT NULL, revision INTEGER NOT NULL, at TEXT NOT NULL, digest TEXT NOT NULL REFERENCES roster_contents,
  PRIMARY KEY (source, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX roster_revisions_by_time ON roster_revisions (at);
CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
CREATE TRIGGER entries_are_not_removed BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
"""
"""The triggers stop accidents, not attackers; against those stand the signatures."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection for the one writer: WAL, and a commit returns after its fsync. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: a plain fsync leaves the data in the drive's cache
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cell_size_check = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot write, also beside a running writer. Raises Refused, Unavailable or Malformed."""
    if not path.is_file():
        raise Refused(f"there is no database {path}")
    try:
        try:
            return _connect_uri(path, "mode=ro")
        except sqlite3.OperationalError:
            # A copy on a medium where the -wal and -shm files cannot be made; safe only when there is no -wal to miss.
            if Path(f"{path}-wal").exists():
                raise
            return _connect_uri(path, "immutable=1")
    except READ_ERRORS as error:
        raise reading_failed(path, error) from error


def reading_failed(path: Path, error: Exception) -> Unavailable | Malformed:
    """Which port error a failed read is: a damaged file will not get better by waiting."""
    if isinstance(error, sqlite3.OperationalError | sqlite3.ProgrammingError):
        return Unavailable(f"cannot read {path}: {error}")
    return Malformed(f"{path} is damaged: {error}")


def _connect_uri(path: Path, how: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?{how}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000)
    try:
        _check_kind(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_kind(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID:
        raise Refused(f"{path} is not a database of Watchkey")
    if version != SCHEMA_VERSION:
        raise Refused(f"{path} has schema {version}; this version of Watchkey reads schema {SCHEMA_VERSION}")


def prepare(path: Path) -> None:
    """Create the database if there is none, readable by its owner only; check that it is one of ours if there is.

    Raises Refused for a foreign or newer file and for a network file system, where locks and fsync cannot be trusted.
    """
    kind = file_system_of(path.parent)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise Refused(f"{path} lies on a network file system ({kind}); put the database on a local disk")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with closing(connect(path)) as connection:
            if path.stat().st_size == 0 or connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                _create(connection)
            _check_kind(connection, path)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise Unavailable(f"cannot open the database {path}: {error}") from error


def _create(connection: sqlite3.Connection) -> None:
    mark = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {mark} COMMIT;")


def file_system_of(folder: Path) -> str:
    """The type of the file system that a folder lies on; empty where the system does not tell (not Linux)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    real, best, kind = folder.resolve(), Path("/"), ""
    for line in mounts.splitlines():
        parts = line.split(" ")
        mount = Path(parts[1].replace("\\040", " "))
        if real.is_relative_to(mount) and mount.is_relative_to(best):
            best, kind = mount, parts[2]
    return kind


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WriterLock:
    """The exclusive lock beside the database; the system gives it back when the process dies, however it dies."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = Path(f"{database}.lock")
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock. Raises Refused, naming the process that holds it."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"cannot make the lock {self._path}: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if error.errno not in {errno.EAGAIN, errno.EACCES}:
                raise Unavailable(f"cannot lock {self._path}: {error}") from error
            raise Refused(
                f"{self._database} is in use by process {holder}: a log has one writer. "
                "Stop that process, or give this one another database."
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back. Twice is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class Reserve:
    """Room on disk that is set aside, so that a full disk still takes the last important entries."""

    def __init__(self, database: Path, size: int) -> None:
        self._path = Path(f"{database}.reserve")
        self._size = size

    def fill(self) -> bool:
        """Set the room aside; False when the disk has none left."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size < self._size:
                    _allocate(descriptor, self._size)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()  # half a reserve would only take the room that an entry needs
            return False
        return True

    def release(self) -> None:
        """Give the room back to the disk."""
        with suppress(OSError):
            self._path.unlink()


def _allocate(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    block = bytes(64 * 1024)
    for at in range(0, size, len(block)):
        os.pwrite(descriptor, block, at)
    os.fsync(descriptor)
