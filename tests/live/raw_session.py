"""A client without a driver: what is sent is what the test says, and what comes back is there byte by byte."""

import secrets
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.live.house import LiveHouse
from watchkey.wire import pg_messages as pg
from watchkey.wire.scram import ScramClient, ScramKeys


class RawSession:
    """A session on an open socket. `log_in` with a password or with the keys of a SCRAM verifier."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.settimeout(20)
        self._buffer = b""
        self.greeting: list[tuple[bytes, bytes]] = []
        """What the server said between the login and the first ReadyForQuery."""

    @classmethod
    def to(cls, host: str, port: int) -> Self:
        """In clear, and not logged in yet."""
        return cls(socket.create_connection((host, port), timeout=20))

    @classmethod
    def inside_tls(cls, house: LiveHouse, ca: Path) -> Self:
        """To a gateway that talks TLS, and not logged in yet."""
        sock = socket.create_connection((house.host, house.port), timeout=20)
        sock.sendall(pg.ssl_request())
        assert sock.recv(1) == b"S"
        return cls(ssl.create_default_context(cafile=str(ca)).wrap_socket(sock, server_hostname=house.host))

    @classmethod
    def over_tls(cls, house: LiveHouse, ca: Path, *, user: str, password: str) -> Self:
        """Through a gateway that talks TLS, and logged in."""
        session = cls.inside_tls(house, ca)
        session.log_in({"user": user, "database": "orders"}, password=password)
        return session

    def log_in(self, parameters: Mapping[str, str], *, password: str = "", keys: ScramKeys | None = None) -> None:
        """Send the startup packet and prove who we are."""
        self.send(pg.startup_message(dict(parameters)))
        kind, body = self.read()
        assert kind == b"R", (kind, body)
        if keys is None:
            self.send(pg.message(b"p", password.encode() + b"\0"))
        else:
            self._scram(body, keys)
        while True:
            kind, body = self.read()
            assert kind != b"E", pg.read_fields(body)
            if kind == b"Z":
                return
            self.greeting.append((kind, body))

    def send(self, data: bytes) -> None:
        """As it is."""
        self._sock.sendall(data)

    def hang_up(self) -> None:
        """Say nothing more; what the other side says can still be read."""
        self._sock.shutdown(socket.SHUT_WR)

    def read(self) -> tuple[bytes, bytes]:
        """The next message. Raises EOFError when there is none."""
        while len(self._buffer) < 5 or len(self._buffer) < 1 + int.from_bytes(self._buffer[1:5]):
            data = self._sock.recv(65536)
            if not data:
                raise EOFError(self._buffer)
            self._buffer += data
        size = 1 + int.from_bytes(self._buffer[1:5])
        message, self._buffer = self._buffer[:size], self._buffer[size:]
        return message[:1], message[5:]

    def read_until(self, last: bytes) -> list[tuple[bytes, bytes]]:
        """All messages up to one of that kind."""
        out = [self.read()]
        while out[-1][0] != last:
            out.append(self.read())
        return out

    def _scram(self, offered: bytes, keys: ScramKeys) -> None:
        names = frozenset(word.decode() for word in offered[4:].split(b"\0") if word)
        scram = ScramClient(keys=keys, nonce=secrets.token_urlsafe(24), offered=names, binding=None)
        self.send(pg.sasl_initial_response(scram.mechanism, scram.first()))
        kind, body = self.read()
        assert (kind, body[:4]) == (b"R", b"\0\0\0\x0b"), body
        self.send(pg.sasl_response(scram.final(body[4:])))
        kind, body = self.read()
        assert (kind, body[:4]) == (b"R", b"\0\0\0\x0c"), body
        scram.check(body[4:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()
