"""Every seam on one page: what the flows may ask of the world, and what each answer promises.

Only `Unavailable`, `Refused` and `Malformed` (`watchkey.model.errors`) come out of a port.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from watchkey.model.access import Caller, Verdict
from watchkey.model.audit import AuditEvent
from watchkey.model.ids import SourceName
from watchkey.model.lease import Ending, Holding, Lease, LeaseId, Residue
from watchkey.model.oncall import Roster
from watchkey.rules.roster import RosterIndex
from watchkey.wire.scram import ScramKeys, ScramPassword


class Clock(Protocol):
    """Time. The only way to learn it below the edges."""

    def now(self) -> datetime:
        """The wall clock: aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, unaffected by the wall clock; for ages and time-outs."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Come back after that many seconds of `monotonic`."""
        ...


class Source(Protocol):
    """Where rosters come from."""

    @property
    def name(self) -> SourceName:
        """The configured name; every value it returns carries it."""
        ...

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """Read everything in scope from `now` to `now + window`, all pages, or raise.

        A roster that comes back is complete. An object that the configuration names and the provider does not
        know is `Refused`; an answer against the contract is `Malformed`; anything transient is `Unavailable`.
        """
        ...

    async def close(self) -> None:
        """Give back connections. Calling it twice is fine."""
        ...


class PolicyEngine(Protocol):
    """What judges a policy document."""

    @property
    def policy_hash(self) -> str:
        """What the policy is known by now; when it changes, answers that rest on it are made anew.

        For files that are here: SHA-256 over them, hexadecimal; the same text has the same hash everywhere. A policy
        that lives elsewhere is known by what its engine is asked for and by what it last said of itself.
        """
        ...

    async def evaluate(self, document: Mapping[str, Any], *, now: datetime) -> Verdict:
        """Judge one document, in the shape of `policies/input.schema.json`.

        Total: failures are outcomes, never exceptions.
        """
        ...


class IdentityVerifier(Protocol):
    """Who is asking."""

    async def verify(self, credentials: str) -> Caller:
        """Turn a bearer credential into a caller.

        Raises `Refused` for any credential that does not prove one, without saying which part was wrong, in the same
        time whether the caller exists or not.
        """
        ...


class AuditLog(Protocol):
    """The memory that cannot be edited unseen."""

    async def append(self, event: AuditEvent) -> int:
        """Store the event and return its sequence number (from 0, without gaps) once it is durable on disk.

        Raises `Unavailable` when it could not be made durable; then the event did not happen.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoster:
    """The roster that decisions use now, for one source."""

    index: RosterIndex
    revision: int
    """Grows by one with each swap to different content; equal revisions mean equal content."""
    read_at: float
    """`Clock.monotonic` at the end of the last complete read that agreed with this content."""


class RosterStore(Protocol):
    """The current roster of each source: whole, immutable, swapped at once."""

    def held(self) -> Mapping[SourceName, HeldRoster]:
        """All rosters as they are now; the mapping does not change under the reader."""
        ...

    def swap(self, index: RosterIndex, *, read_at: float) -> HeldRoster:
        """Make this the roster of its source. Same digest as before: only `read_at` moves, the revision stays."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a database server listens. `host` is a name, an address, or the folder of a Unix socket."""

    host: str
    port: int
    database: str
    is_tls: bool = True
    ca_file: str | None = None
    """Who vouches for the server's certificate; None: the system's list. The name in it is always compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The account that a lease has on its target, and how to log in as it. It can do what the lease says, no more."""

    name: str
    keys: ScramKeys | ScramPassword
    endpoint: Endpoint
    is_shared: bool = False
    """Others have it too: then it may be able to do more than the lease says, and it does not end with it."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings to begin a session with, where they do not stand with the account."""


class Target(Protocol):
    """Where access exists. Every call may be repeated: granting twice is granting once, revoking nothing is fine.

    The lease and its end are kept on the target itself, so that `reap` can do its work when all else is lost.
    """

    async def grant(self, lease: Lease) -> Account:
        """Make the lease's own account with exactly its privileges and its end, at once or not at all."""
        ...

    async def extend(self, lease: Lease) -> None:
        """Let the account carry the lease's present end."""
        ...

    async def entered(self, lease: LeaseId, process_id: int) -> None:
        """A session of the lease runs in that process of the server; told of accounts that are shared.

        Refused when it does not, or when the lease is over; then the session is ended.
        """
        ...

    async def shut(self, leases: Sequence[LeaseId]) -> int:
        """The urgent part of an ending, for many in one go: sessions end, nobody logs in. Returns how many ended."""
        ...

    async def revoke(self, lease: LeaseId) -> Ending:
        """End the lease on the target: rights, sessions, left-overs as configured, account; then look again."""
        ...

    async def residue(self, lease: LeaseId) -> tuple[Residue, ...]:
        """What the lease left behind or owns, as seen now; changes nothing."""
        ...

    async def observe(self) -> tuple[Holding, ...]:
        """All accounts that carry our mark, as they are now; complete or Unavailable."""
        ...

    async def reap(self) -> tuple[Ending, ...]:
        """Revoke every account whose end has passed by the target's own clock. Knows only the target and the marks."""
        ...

    async def close(self) -> None:
        """Give back connections. Calling it twice is fine."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterRevision:
    """Which roster a source had from `at` on; `digest` names its content."""

    source: SourceName
    revision: int
    at: datetime
    digest: str


class Memory(Protocol):
    """What must outlive a restart besides the audit log. All calls raise `Unavailable` when the disk fails."""

    async def remember(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name, in place of what was there; returns when it is on disk."""
        ...

    def recall(self, name: str) -> Any:
        """What `remember` kept under that name; None when nothing."""
        ...

    async def keep_roster(self, revision: RosterRevision, content: bytes) -> None:
        """Keep a roster's content, so that decisions can be replayed with the roster as it was."""
        ...

    def kept_roster(self, source: SourceName, revision: int) -> bytes | None:
        """The content of a revision; None when it was never kept or was forgotten."""
        ...
