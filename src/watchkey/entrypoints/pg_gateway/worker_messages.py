"""What the service and its gateway's worker processes say to each other, over a pair of sockets that only they have.

Each message is four bytes of length and MessagePack. The pair is made before the worker is, has no name in any file
system, and nobody else can come between.
"""

import asyncio
import socket
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from watchkey.entrypoints.pg_gateway.config import GatewaySection
from watchkey.entrypoints.pg_gateway.gateway import SessionView
from watchkey.model.access import AccessRequest, Allow, Reason, Statement, Subject
from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import Lease, LeaseId
from watchkey.model.secret import Secret
from watchkey.ports import Account, Endpoint
from watchkey.wire.scram import ScramKeys, ScramPassword

MESSAGE_MAX: Final = 4 * 1024 * 1024
"""Bytes of one message; both ends are ours, so more is a fault."""
WAITING_MAX: Final = 16 * 1024 * 1024
"""Bytes that may wait for a peer that does not read; then it is given up."""


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


# --- from the service ------------------------------------------------------------------------------------------------


class Setup(_Message, frozen=True):
    """The first message: serve this, as that number, in this caller's name."""

    section: GatewaySection
    number: int
    caller: str


class Proven(_Message, frozen=True):
    """The password is that subject's, by the word of that caller."""

    request: int
    subject: str
    groups: tuple[str, ...]
    issuer: str


class Welcome(_Message, frozen=True):
    """The session may begin, under this lease and with this account."""

    request: int
    lease: "LeaseCopy"
    account: "AccountCopy"


class Away(_Message, frozen=True):
    """It may not."""

    request: int
    sentence: str
    reason: str
    is_fault: bool


class Done(_Message, frozen=True):
    """It is recorded, as that entry."""

    request: int
    entry: int


class Judged(_Message, frozen=True):
    """Why a statement is refused; None lets it pass."""

    request: int
    refusal: str | None


class Failed(_Message, frozen=True):
    """It could not be done; `is_refused` when it must not."""

    request: int
    error: str
    is_refused: bool


class EndLease(_Message, frozen=True):
    """Close every session of the lease, now."""

    lease: str
    sentence: str


class WarnLease(_Message, frozen=True):
    """Tell every session of the lease."""

    lease: str
    sentence: str


class RenewLease(_Message, frozen=True):
    """The lease has this end, and these are the words for it."""

    lease: str
    ends_at: datetime
    words: str


class EndSession(_Message, frozen=True):
    """A person has ended one session."""

    session: str
    by: str
    why: str


class Drain(_Message, frozen=True):
    """Tell who is in that the gateway is going down."""


class GoDown(_Message, frozen=True):
    """End everything in order, and then yourself."""


# --- from a worker ---------------------------------------------------------------------------------------------------


class Listening(_Message, frozen=True):
    """It serves."""

    port: int


class Prove(_Message, frozen=True):
    """Whose password is this?"""

    request: int
    password: str


class Admit(_Message, frozen=True):
    """Somebody who was proven, by that caller's word, wants in."""

    request: int
    subject: str
    issuer: str
    resource: str
    privileges: tuple[str, ...] | None
    client: str


class Record(_Message, frozen=True):
    """Into the audit log, please; answered when it is durable there."""

    request: int
    what: str
    fields: dict[str, Any]


class Entered(_Message, frozen=True):
    """A session of the lease runs in that process of the server."""

    request: int
    lease: str
    process_id: int


class Judge(_Message, frozen=True):
    """May this statement run under the lease?"""

    request: int
    lease: str
    statement: Statement


class Left(_Message, frozen=True):
    """One session of the lease is over."""

    lease: str


class Seen(_Message, frozen=True):
    """Sessions that changed, and such as are gone."""

    changed: list[SessionView]
    gone: list[str]


class Said(_Message, frozen=True):
    """An event for the operator's log."""

    level: int
    logger: str
    event: str
    fields: dict[str, str]


# --- both ways -------------------------------------------------------------------------------------------------------


class PassCancel(_Message, frozen=True):
    """A request to cancel came to a process that does not have the session."""

    process_id: int
    key: bytes


Answer = Proven | Welcome | Away | Done | Judged | Failed
FromService = Setup | Answer | EndLease | WarnLease | RenewLease | EndSession | Drain | GoDown | PassCancel
Question = Prove | Admit | Record | Entered | Judge
FromWorker = Listening | Question | Left | Seen | Said | PassCancel


class LeaseCopy(msgspec.Struct, frozen=True, array_like=True):
    """As much of a lease as a worker needs. It is made by the service only, from a lease that it holds."""

    id: str
    subject: str
    resource: str
    privileges: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    reason: str
    sentence: str

    @classmethod
    def of(cls, lease: Lease) -> Self:
        """Copy it."""
        return cls(
            lease.id, lease.subject, lease.resource, tuple(lease.privileges), lease.starts_at, lease.ends_at,
            lease.grounds[0].reason.value, lease.sentence,
        )  # fmt: skip

    def lease(self, caller: CallerId) -> Lease:
        """The lease, with as much of its grounds as crossed."""
        subject, resource = Subject(id=SubjectId(self.subject)), ResourceId(self.resource)
        privileges = tuple(PrivilegeName(name) for name in self.privileges)
        requests = [
            AccessRequest(subject=subject, privilege=privilege, resource=resource, caller=caller)
            for privilege in privileges
        ]
        return Lease(
            id=LeaseId(self.id), subject=subject.id, resource=resource, privileges=privileges,
            starts_at=self.starts_at, ends_at=self.ends_at,
            grounds=tuple(
                Allow(request=request, decided_at=self.starts_at, until=self.ends_at, reason=Reason(self.reason),
                      sentence=self.sentence, evidence=())
                for request in requests
            ),
        )  # fmt: skip


class AccountCopy(msgspec.Struct, frozen=True, array_like=True):
    """An account, and how to log in as it: three keys, or the password of an account that is not of our making."""

    name: str
    keys: tuple[bytes, bytes, bytes] | None
    password: str
    endpoint: Endpoint
    is_shared: bool
    settings: dict[str, str]

    @classmethod
    def of(cls, account: Account) -> Self:
        """Copy it."""
        keys = account.keys
        if isinstance(keys, ScramPassword):
            parts, password = None, keys.password.reveal()
        else:
            parts, password = (keys.client_key, keys.server_key, keys.salt), ""
        return cls(account.name, parts, password, account.endpoint, account.is_shared, dict(account.settings))

    def account(self) -> Account:
        """The account."""
        keys: ScramKeys | ScramPassword = ScramPassword(password=Secret(self.password))
        if self.keys is not None:
            keys = ScramKeys(client_key=self.keys[0], server_key=self.keys[1], salt=self.keys[2])
        return Account(
            name=self.name, keys=keys, endpoint=self.endpoint, is_shared=self.is_shared, settings=self.settings
        )


def _written(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _read(wanted: type, value: object) -> object:
    if wanted is Path:
        return Path(str(value))
    raise NotImplementedError(wanted)


_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_written)
FROM_SERVICE: Final = msgspec.msgpack.Decoder(FromService, dec_hook=_read)
FROM_WORKER: Final = msgspec.msgpack.Decoder(FromWorker, dec_hook=_read)


class Link:
    """One end of the pair. `M` is what comes from the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: Any) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder

    @classmethod
    async def over(cls, sock: socket.socket, decoder: Any) -> Self:
        """Take over that end."""
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=MESSAGE_MAX)
        return cls(reader, writer, decoder)

    def post(self, message: msgspec.Struct) -> None:
        """Send without waiting. Raises Unavailable when the other end is gone, or does not read any more."""
        if self._writer.is_closing():
            raise Unavailable("the other process is gone")
        data = _ENCODER.encode(message)
        self._writer.write(len(data).to_bytes(4) + data)
        if self._writer.transport.get_write_buffer_size() > WAITING_MAX:
            self._writer.transport.abort()
            raise Unavailable("the other process does not read")

    async def send(self, message: msgspec.Struct) -> None:
        """Send, and wait until the other end keeps up. Raises Unavailable."""
        self.post(message)
        try:
            await self._writer.drain()
        except OSError as error:
            raise Unavailable("the other process is gone") from error

    async def receive(self) -> Any:
        """The next message; None when the other end is gone. Raises Malformed for what is none."""
        try:
            size = int.from_bytes(await self._reader.readexactly(4))
            if size > MESSAGE_MAX:
                raise Malformed(f"a message of {size} bytes from the other process")
            return self._decoder.decode(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, OSError):
            return None
        except msgspec.MsgspecError as error:
            raise Malformed(f"a message from the other process that makes no sense: {error}") from error

    def close(self) -> None:
        """Let go of this end."""
        self._writer.transport.abort()
