"""An HTTP server on loopback that answers exactly what it is told, byte for byte, and remembers what it was asked."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from queue import Queue
from threading import Thread

HANG = b""
"""In the place of an answer: take the request and say nothing."""


@dataclass(slots=True)
class Scripted:
    """What came in so far."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def targets(self) -> list[str]:
        """Path and query of each request."""
        return [request.split(b" ", 2)[1].decode() for request in self.requests]

    @property
    def asked(self) -> list[str]:
        """What told the requests apart for `replying`: the target and, where there is one, the body behind a space."""
        return [_asked(*request.split(b"\r\n\r\n", 1)) for request in self.requests]


def answer(status: int = 200, body: bytes = b"{}", headers: str = "") -> bytes:
    """A whole answer with its length."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n" % (status, len(body), headers.encode()) + body


@asynccontextmanager
async def scripted(answers: Sequence[bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Give the answers in turn; the last one again and again."""
    seen = Scripted()
    async with _serving(seen, lambda _: answers[min(len(seen.requests), len(answers) - 1)], tls):
        yield seen


@asynccontextmanager
async def replying(reply: Callable[[str], bytes]) -> AsyncIterator[Scripted]:
    """Answer each request by its target (path and query), and by its body behind a space when it has one."""
    seen = Scripted()
    async with _serving(seen, reply, None):
        yield seen


@asynccontextmanager
async def _serving(seen: Scripted, reply_to: Callable[[str], bytes], tls: ssl.SSLContext | None) -> AsyncIterator[None]:
    """Serve until the block ends; a hanging connection ends with it."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
                )
                body = await reader.readexactly(length)
                reply = reply_to(_asked(head, body))
                seen.requests.append(head + body)
                writer.write(reply)
                await writer.drain()
                if not _is_whole(reply):
                    if b"Connection: close" not in reply:
                        await over.wait()
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    seen.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0)


def _asked(head: bytes, body: bytes) -> str:
    target = head.split(b" ", 2)[1].decode()
    return f"{target} {body.decode()}" if body else target


def _is_whole(reply: bytes) -> bool:
    head, separator, body = reply.partition(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
    return bool(separator) and lengths == [len(body)]


@contextmanager
def scripted_aside(answers: Sequence[bytes]) -> Iterator[str]:
    """The same in a thread of its own, for commands that run a loop of theirs; gives the URL."""
    urls: Queue[str] = Queue()
    over = asyncio.Event()
    loops: Queue[asyncio.AbstractEventLoop] = Queue()

    async def serve() -> None:
        async with scripted(answers) as server:
            loops.put(asyncio.get_running_loop())
            urls.put(server.url)
            await over.wait()

    thread = Thread(target=asyncio.run, args=(serve(),), name="scripted")
    thread.start()
    try:
        yield urls.get(timeout=10)
    finally:
        loops.get(timeout=10).call_soon_threadsafe(over.set)
        thread.join()
