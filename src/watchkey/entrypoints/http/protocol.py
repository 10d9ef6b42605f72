"""HTTP/1.1 on one connection: bytes to whole requests and answers to bytes, with every bound enforced on the way.

The parser is llhttp (`httptools`). General servers over it neither bound the head of a request nor the time it takes,
and cost more than the decision itself; `benchmarks/bench_http.py` measures this one.
"""

import asyncio
import re
from collections import deque
from enum import Enum
from http import HTTPStatus
from itertools import count
from typing import Any, Final, Protocol, cast

import httptools

from watchkey.entrypoints.http.exchange import Fault, Request, Response
from watchkey.entrypoints.http.limits import Limits

_SAFE_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ONCE: Final = frozenset({b"authorization", b"host", b"content-type", b"content-encoding", b"x-pagerduty-signature"})
"""Headers that decide something: two of them are a question of which one counts, so neither does."""
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus if status >= 200
}
_LINGER_S: Final = 2.0
_STANDING_HEADERS: Final = b"cache-control: no-store\r\nx-content-type-options: nosniff\r\n"


class Site(Protocol):
    """What a connection needs of the application."""

    @property
    def limits(self) -> Limits:
        """The bounds."""
        ...

    @property
    def id_prefix(self) -> str:
        """Starts the request ids of this process."""
        ...

    def body_bytes(self, path: str) -> int:
        """How long a body may be for that path."""
        ...

    def fault(self, path: str, fault: Fault) -> Response:
        """The answer to a request that never became one, in the dialect of its path."""
        ...

    async def answer(self, request: Request) -> Response:
        """The answer. Never raises, except `CancelledError` when it took too long."""
        ...


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    CLOSED = "closed"


class Connections:
    """All connections of the process: how many there may be, which are too slow, and how they end."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.open: set[Connection] = set()
        self.emptied = asyncio.Event()
        """Set while draining, once the last connection has ended."""
        self.date_line = b""
        self.is_draining = False
        self.refused = 0
        self.timed_out = 0
        self.ids = count()
        self.rests = count()

    def admit(self, connection: "Connection") -> bool:
        """Take a new connection in; the longest idle one makes room when all places are taken."""
        if len(self.open) >= self.site.limits.connections_max:
            idle = [other for other in self.open if other.phase is Phase.IDLE and other.served]
            if not idle:
                self.refused += 1
                return False
            min(idle, key=lambda other: other.rests_since).abort()
        self.open.add(connection)
        return True

    def leave(self, connection: "Connection") -> None:
        """Forget a connection that has ended."""
        self.open.discard(connection)
        if self.is_draining and not self.open:
            self.emptied.set()

    def sweep(self, now: float) -> None:
        """End what is past its deadline. One sweep a second is cheaper than a timer for each request."""
        for connection in [each for each in self.open if each.deadline < now]:
            self.timed_out += connection.phase is not Phase.IDLE
            connection.expire()

    def drain(self) -> None:
        """From now on each connection closes after the answer under way; idle ones close at once."""
        self.is_draining = True
        for connection in list(self.open):
            if connection.phase is Phase.IDLE:
                connection.abort()
        if not self.open:
            self.emptied.set()


class Connection(asyncio.Protocol):
    """One connection. Requests are answered one at a time, in their order; later ones wait parsed."""

    def __init__(self, connections: Connections, loop: asyncio.AbstractEventLoop) -> None:
        self.phase = Phase.IDLE
        self.served = 0
        self.rests_since = 0
        """Grows from rest to rest over all connections; the loop's clock is too coarse to tell who rests longest."""
        self.deadline = 0.0
        self._connections = connections
        self._site = connections.site
        self._limits = connections.site.limits
        self._loop = loop
        # httptools calls back the methods below named on_*; its stub wants a protocol with all of them.
        self._parser = httptools.HttpRequestParser(cast("Any", self))
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._peer = ""
        self._closes = False
        self._is_ended = False
        self._is_clogged = False
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_count = 0
        self._head_fed = 0
        self._body_fed = 0
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_max = 0
        self._path = ""
        self._is_in_head = False
        self._is_in_body = False

    # --- the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or turn it away when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else "unix"
        self.deadline = self._loop.time() + self._limits.head_s
        if not self._connections.admit(self):
            self._refuse(Fault(503, "too_many_connections", "too many connections; try again"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything; an answer that nobody waits for is not worked out further."""
        del exc
        self.phase = Phase.CLOSED
        self._transport = None
        self._waiting.clear()
        self._connections.leave(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and hold what it sees to the bounds."""
        if self._is_ended:
            return
        if self.phase is Phase.IDLE:
            self._wait(Phase.HEAD, self._limits.head_s)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The request itself is complete and gets its answer; another protocol is not spoken afterwards.
            self._is_ended = self._closes = True
            return
        except httptools.HttpParserError as error:
            # What a callback raised arrives as the context of an error of the parser's own.
            cause = error.__context__
            self._refuse(cause if isinstance(cause, Fault) else Fault(400, "bad_request", "this is not HTTP/1.1"))
            return
        self._bound_fed(len(data))

    def eof_received(self) -> bool:
        """The client sends no more: answers under way still go out, then the connection closes."""
        self._is_ended = self._closes = True
        # True keeps the writing half open.
        return self._task is not None and self._transport is not None and self._transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client does not read: it has `write_s` to begin."""
        self._is_clogged = True
        self.deadline = self._loop.time() + self._limits.write_s

    def resume_writing(self) -> None:
        """The client reads again."""
        self._is_clogged = False
        self._go_on()

    # --- the parser calls

    def on_message_begin(self) -> None:
        """A request starts."""
        self._reset()
        self._is_in_head = True

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._url += url
        if len(self._url) > self._limits.url_bytes:
            raise Fault(414, "url_too_long", f"the request target is longer than {self._limits.url_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Trailers of a chunked body come here too and count for nothing."""
        if not self._is_in_head:
            return
        self._header_count += 1
        self._head_fed += len(name) + len(value)
        if self._header_count > self._limits.headers_max or self._head_fed > self._limits.head_bytes:
            raise Fault(431, "headers_too_large", "the headers are too many or too long")
        name = name.lower()
        before = self._headers.get(name)
        if before is None:
            self._headers[name] = value
        elif name in _ONCE:
            raise Fault(400, "repeated_header", f"the header {name.decode('ascii')} stands twice")
        else:
            self._headers[name] = before + b", " + value

    def on_headers_complete(self) -> None:
        """The head is whole: refuse here what need not be read to its end."""
        self._is_in_head = False
        self._is_in_body = True
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise Fault(505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        if version == "1.1" and b"host" not in self._headers:
            raise Fault(400, "bad_request", "an HTTP/1.1 request names its host")
        if self._headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise Fault(501, "transfer_encoding", "the only transfer encoding taken is chunked")
        target = self._url.partition(b"?")[0]
        try:
            self._path = target.decode("ascii")
        except UnicodeDecodeError:
            raise Fault(400, "bad_request", "the request target is not ASCII") from None
        self._body_max = self._site.body_bytes(self._path)
        if int(self._headers.get(b"content-length", b"0")) > self._body_max:
            raise self._too_large()
        if self.phase is Phase.HEAD:
            self._wait(Phase.BODY, self._limits.body_s)
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport and self._task is None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_size += len(body)
        if self._body_size > self._body_max:
            raise self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_in_body = False
        sent_id = self._headers.get(b"x-request-id")
        if sent_id is not None and _SAFE_ID.fullmatch(sent_id):
            request_id = sent_id.decode("ascii")
        else:
            request_id = f"{self._site.id_prefix}{next(self._connections.ids):x}"
        request = Request(
            method=self._parser.get_method().decode("ascii"),
            path=self._path,
            query=self._url.partition(b"?")[2].decode("ascii", "replace"),
            headers=self._headers,
            body=self._body[0] if len(self._body) == 1 else b"".join(self._body),
            id=request_id,
            peer=self._peer,
            arrived_at=self._loop.time(),
        )
        keeps = self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
        if self._task is None and not self._is_clogged:
            self._start(request, keeps)
            return
        self._waiting.append((request, keeps))
        if len(self._waiting) >= self._limits.pipeline_max and self._transport is not None:
            self._transport.pause_reading()

    # --- ourselves

    def _bound_fed(self, size: int) -> None:
        # What llhttp keeps to itself (a header that never ends, chunk extensions) shows only in the bytes fed to it.
        if self._is_in_head:
            self._body_fed += size
            if self._body_fed > self._limits.head_bytes + size:
                self._refuse(Fault(431, "headers_too_large", "the headers are too many or too long"))
        elif self._is_in_body:
            self._body_fed += size
            if self._body_fed > self._limits.head_bytes + 8 * self._body_max + size:
                self._refuse(self._too_large())

    def _too_large(self) -> Fault:
        return Fault(413, "body_too_large", f"the body is longer than {self._body_max} bytes")

    def _start(self, request: Request, keeps: bool) -> None:  # noqa: FBT001 - llhttp's own word for the connection
        self.phase = Phase.ANSWER
        self.deadline = self._loop.time() + self._limits.answer_s
        self._task = self._loop.create_task(self._serve(request, keeps))

    async def _serve(self, request: Request, keeps: bool) -> None:  # noqa: FBT001 - see above
        try:
            response = await self._site.answer(request)
        except asyncio.CancelledError:
            if self._transport is None:
                raise
            response = self._site.fault(request.path, Fault(503, "timed_out", "no answer in time"))
            keeps = False
        self._task = None
        if self._transport is None:
            return
        self.served += 1
        is_last = not keeps or self._connections.is_draining or (self._closes and not self._waiting)
        self._write(response, request, is_last=is_last)
        if is_last:
            self._close()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Turn to the next request, or wait for one; not before the client has read what it was sent."""
        if self._task is not None or self._is_clogged or self._transport is None or self.phase is Phase.CLOSED:
            return
        if self._waiting:
            self._start(*self._waiting.popleft())
            if len(self._waiting) < self._limits.pipeline_max:
                self._transport.resume_reading()
        elif self._is_in_head:
            self._wait(Phase.HEAD, self._limits.head_s)
        elif self._is_in_body:
            self._wait(Phase.BODY, self._limits.body_s)
        else:
            self._wait(Phase.IDLE, self._limits.idle_s)
            self.rests_since = next(self._connections.rests)

    def _wait(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.deadline = self._loop.time() + seconds

    def _write(self, response: Response, request: Request | None, *, is_last: bool) -> None:
        if self._transport is None:
            return
        parts = [
            _STATUS_LINES[response.status],
            self._connections.date_line,
            _STANDING_HEADERS,
            b"content-type: %b\r\ncontent-length: %d\r\n" % (response.content_type, len(response.body)),
        ]
        if request is not None:
            parts.append(b"x-request-id: %b\r\n" % request.id.encode("ascii"))
        parts.extend(b"%b: %b\r\n" % header for header in response.headers)
        if is_last:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if request is None or request.method != "HEAD":
            parts.append(response.body)
        self._transport.write(b"".join(parts))

    def _refuse(self, fault: Fault) -> None:
        """Answer what never became a request, after the answers that are still owed, and close."""
        self._is_ended = True
        if self._task is not None:
            # The client's earlier questions are good; the broken rest just ends the connection after them.
            self._closes = True
            return
        self._write(self._site.fault(self._path, fault), None, is_last=True)
        self.phase = Phase.CLOSED
        self.deadline = self._loop.time() + _LINGER_S
        if self._transport is not None and self._transport.can_write_eof():
            # Closing with unread bytes resets the connection, and the client would never see why. So say that we are
            # done, and throw away what still comes for a moment.
            self._transport.write_eof()
        else:
            self._close()

    def expire(self) -> None:
        """Time is up: a request that is under way gets told so."""
        if self._task is not None and not self._is_clogged:
            self.deadline = self._loop.time() + self._limits.write_s
            self._task.cancel()
        elif self.phase in {Phase.HEAD, Phase.BODY} and not self._is_clogged:
            self._refuse(Fault(408, "too_slow", "the request took too long to arrive"))
        else:
            self.abort()

    def _close(self) -> None:
        self.phase = Phase.CLOSED
        self.deadline = self._loop.time() + self._limits.write_s
        self._is_ended = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End it now, whatever is under way."""
        self._connections.leave(self)
        if self._transport is not None:
            self._transport.abort()
