"""Listening sockets, TLS and the orderly end: the frame around the connections."""

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Sequence
from email.utils import format_datetime
from pathlib import Path
from typing import Final

import msgspec

from watchkey.entrypoints.http.protocol import Connection, Connections, Site
from watchkey.model.errors import Refused
from watchkey.ports import Clock

_SWEEP_S: Final = 1.0
_BACKLOG: Final = 1024


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files of a certificate with its chain, its key, and of the authority whose clients are let in at all."""

    certificate: str
    key: str
    client_ca: str | None = None


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen: a Unix socket when `unix_socket` is given, otherwise host and port (0 takes a free one)."""

    host: str = "127.0.0.1"
    port: int = 8181
    unix_socket: str | None = None
    tls: Tls | None = None
    insecure: bool = False

    def refuse_unsafe(self) -> None:
        """Raise `Refused` when tokens would travel in clear text over a network and nobody said that this is wanted."""
        if self.unix_socket or self.tls or self.insecure or _is_loopback(self.host):
            return
        raise Refused(
            f"plain HTTP on {self.host} would show tokens and decisions to the network; configure TLS "
            "(listen.http.tls), listen on 127.0.0.1, or allow it expressly (listen.http.insecure: true)"
        )


class HttpServer:
    """The running server. `urls` says where it listens; `connections` is what it serves."""

    def __init__(self, site: Site, clock: Clock, *, sweep_s: float = _SWEEP_S) -> None:
        self.connections = Connections(site)
        self.urls: tuple[str, ...] = ()
        self._clock = clock
        self._sweep_s = sweep_s
        self._servers: list[asyncio.Server] = []

    @contextlib.asynccontextmanager
    async def serving(self, listeners: Sequence[Listener]) -> AsyncIterator["HttpServer"]:
        """Listen until the block is left, then let the requests under way end, within `drain_s`.

        Raises `Refused` for a listener that is unsafe or cannot be had.
        """
        for listener in listeners:
            listener.refuse_unsafe()
        loop = asyncio.get_running_loop()
        sweeper: asyncio.Task[None] | None = None
        try:
            self.urls = tuple([await self._listen(loop, listener) for listener in listeners])
            self._tick(loop)
            sweeper = loop.create_task(self._sweep(loop))
            yield self
        finally:
            for server in self._servers:
                server.close()
            await self._drain()
            if sweeper is not None:
                sweeper.cancel()
            for listener in listeners:
                if listener.unix_socket:
                    _unlink_socket(listener.unix_socket)

    async def _listen(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> str:
        context = _tls_context(listener.tls) if listener.tls else None
        handshake_s = self.connections.site.limits.head_s if context else None

        def factory() -> Connection:
            return Connection(self.connections, loop)

        try:
            if listener.unix_socket:
                _unlink_socket(listener.unix_socket)
                server = await loop.create_unix_server(
                    factory, listener.unix_socket, ssl=context, ssl_handshake_timeout=handshake_s, backlog=_BACKLOG
                )
                _restrict_socket(listener.unix_socket)
                self._servers.append(server)
                return f"unix:{listener.unix_socket}"
            server = await loop.create_server(
                factory,
                listener.host,
                listener.port,
                ssl=context,
                ssl_handshake_timeout=handshake_s,
                backlog=_BACKLOG,
                reuse_address=True,
            )
        except OSError as error:
            place = listener.unix_socket or f"{listener.host}:{listener.port}"
            raise Refused(f"cannot listen on {place}: {os.strerror(error.errno or 0)}") from None
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        return f"{'https' if context else 'http'}://{host}:{port}"

    async def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            await asyncio.sleep(self._sweep_s)
            self._tick(loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self.connections.date_line = f"date: {format_datetime(self._clock.now(), usegmt=True)}\r\n".encode("ascii")
        self.connections.sweep(loop.time())

    async def _drain(self) -> None:
        self.connections.drain()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.connections.emptied.wait(), self.connections.site.limits.drain_s)
        for connection in list(self.connections.open):
            connection.abort()
        await asyncio.sleep(0)  # the transports report their end in the next turn of the loop


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise Refused(
            f"cannot use the TLS files {tls.certificate}, {tls.key}: {error.strerror or type(error).__name__}"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _restrict_socket(path: str) -> None:
    # Whoever may write to the socket may try tokens; the owner's group is where the reverse proxy usually is.
    Path(path).chmod(0o660)


def _unlink_socket(path: str) -> None:
    """Remove a socket that an earlier run left behind, and nothing that is not a socket or still answers."""
    try:
        if not stat.S_ISSOCK(Path(path).lstat().st_mode):
            raise Refused(f"{path} exists and is not a socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.connect(path)
        raise Refused(f"{path} is in use by another program")
    Path(path).unlink(missing_ok=True)
