"""The two transports between which bytes pass. This is the hot path: nothing here waits, allocates or looks twice.

Server to client is passed on as it arrived; client to server likewise, after its headers were walked. When one side
does not take what the other sends, the other is not read from.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from watchkey.wire.pg_messages import ClientEvent, ProtocolViolation, ServerEvent
from watchkey.wire.pg_session import Session
from watchkey.wire.pg_statements import StatementRecord

BUFFER_HIGH = 256 * 1024
"""Bytes that wait for one side before the other is no longer read from."""


class Owner(Protocol):
    """What the two sides tell the connection that they belong to."""

    def client_sent(self, data: bytes) -> None:
        """Outside of relaying."""

    def server_sent(self, data: bytes) -> None:
        """Outside of relaying."""

    def client_lost(self) -> None:
        """The client is gone."""

    def server_lost(self) -> None:
        """The server is gone."""

    def violated(self, violation: ProtocolViolation) -> None:
        """A peer broke the protocol while relaying."""

    def recorded(self, records: list[StatementRecord]) -> None:
        """Statements ended."""


class Side(asyncio.Protocol):
    """What the client's and the server's side have in common: a transport, and the other side's to slow down."""

    __slots__ = ("_owner", "is_relaying", "other", "transport")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.is_relaying = False
        self.transport: asyncio.Transport | None = None
        self.other: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports are not asyncio's classes, only their likeness
        stream = cast("asyncio.Transport", transport)
        stream.set_write_buffer_limits(high=BUFFER_HIGH)
        self.transport = stream

    def pause_writing(self) -> None:
        """This side does not take more: stop reading from the other."""
        if self.other is not None and not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """This side takes more again."""
        if self.other is not None and not self.other.is_closing():
            self.other.resume_reading()


class ClientSide(Side):
    """Towards the client."""

    __slots__ = ("_asked", "_now", "_walk", "_write")

    def relay_to(self, server: asyncio.Transport, session: Session, now: Callable[[], float]) -> None:
        """From here on pass bytes to that server."""
        self.other = server
        self._write = server.write
        self._walk: Callable[[bytes], list[ClientEvent]] = session.client_walker.feed
        self._asked = session.ledger.asked if session.ledger is not None else None
        self._now = now
        self.is_relaying = True

    def data_received(self, data: bytes) -> None:
        """Walk, pass on."""
        if not self.is_relaying:
            self._owner.client_sent(data)
            return
        try:
            events = self._walk(data)
        except ProtocolViolation as violation:
            self._owner.violated(violation)
            return
        if events and self._asked is not None:
            self._asked(events, self._now())
        self._write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        del exc
        self._owner.client_lost()


class ServerSide(Side):
    """Towards the server."""

    __slots__ = ("_answered", "_now", "_walk", "_write")

    def relay_to(self, client: asyncio.Transport, session: Session, now: Callable[[], float]) -> None:
        """From here on pass bytes to that client."""
        self.other = client
        self._write = client.write
        self._walk: Callable[[bytes], list[ServerEvent]] = session.server_walker.feed
        self._answered = session.ledger.answered if session.ledger is not None else None
        self._now = now
        self.is_relaying = True

    def data_received(self, data: bytes) -> None:
        """Pass on, walk."""
        if not self.is_relaying:
            self._owner.server_sent(data)
            return
        self._write(data)
        try:
            events = self._walk(data)
        except ProtocolViolation as violation:
            self._owner.violated(violation)
            return
        if events and self._answered is not None:
            records = self._answered(events, self._now())
            if records:
                self._owner.recorded(records)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner."""
        del exc
        self._owner.server_lost()
