"""Our memory in one SQLite file: the audit log as a signed Merkle tree, remembered values, rosters by revision.

`store` is what others use; `writer` commits, `signer` signs, `head` reads back where the log stands, `reading` is for
those who only look, `database` and `key_files` know the files.
"""

from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from watchkey.model.secret import Secret
from watchkey.ports import Clock
from watchkey.rules.checkpoint import parse_signing_key
from watchkey.stores.sqlite.key_files import create_key, read_key
from watchkey.stores.sqlite.reading import AuditReader, memory_of
from watchkey.stores.sqlite.roster_memory import read_roster as kept_roster
from watchkey.stores.sqlite.roster_memory import read_value as recalled
from watchkey.stores.sqlite.store import SqliteStore
from watchkey.stores.sqlite.writer import AuditStats

__all__ = [
    "AuditReader",
    "AuditStats",
    "Config",
    "SqliteStore",
    "build",
    "create_key",
    "kept_roster",
    "read_key",
    "recalled",
]

_MIB: Final = 1024 * 1024


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the database lies, and with which key the log is signed."""

    path: str
    """The database file; on a local disk."""
    key: Secret
    """The signing key, as `watchkey init` wrote it: `{file: audit.key}`."""
    checkpoint: str = ""
    """The file that remembers the last signed checkpoint; empty: beside the database. Put it on another disk, or leave
    it out of the backup of the database, and a restored old database is found."""
    checkpoint_interval: timedelta = timedelta(seconds=1)
    """How long a new entry may wait for a signature; after 1,024 entries it comes sooner."""
    reserve_mib: int = 16
    """Room kept free on the disk for the last important entries."""


def build(config: Config, *, name: str, clock: Clock) -> SqliteStore:
    """The store, not yet open. Raises Malformed when the key is not one."""
    del name  # there is one store, so nothing needs to be told apart
    path = Path(config.path)
    return SqliteStore(
        path=path,
        key=parse_signing_key(config.key.reveal()),
        memory=Path(config.checkpoint) if config.checkpoint else memory_of(path),
        sign_seconds=config.checkpoint_interval.total_seconds(),
        reserve_bytes=config.reserve_mib * _MIB,
        clock=clock,
    )
