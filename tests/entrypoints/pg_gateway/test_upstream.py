"""Reaching a server: what is refused, what is unreachable, what binds."""

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest

from tests.live.conftest import certificate, server, tls_server
from watchkey.entrypoints.pg_gateway.upstream import open_server, send_cancel
from watchkey.model.errors import Refused, Unavailable
from watchkey.ports import Endpoint
from watchkey.simulator.postgres_server import PostgresServer

__all__ = ["certificate", "server", "tls_server"]


def reach(endpoint: Endpoint) -> bytes | None:
    async def work() -> bytes | None:
        transport, _, binding = await open_server(endpoint, asyncio.Protocol)
        transport.abort()
        await asyncio.sleep(0.01)
        return binding

    return asyncio.run(work())


def at(server: PostgresServer, **changes: object) -> Endpoint:
    fields: dict[str, object] = {"host": server.host, "port": server.port, "database": "orders", "is_tls": False}
    return Endpoint(**(fields | changes))  # type: ignore[arg-type]  the fields of an Endpoint


def test_in_clear_on_loopback_and_by_the_socket_nothing_binds(server: PostgresServer) -> None:
    assert reach(at(server)) is None
    assert reach(at(server, host=str(server.folder))) is None


def test_in_tls_the_certificate_is_verified_and_its_hash_binds(
    tls_server: PostgresServer, certificate: tuple[Path, Path]
) -> None:
    binding = reach(at(tls_server, host="localhost", is_tls=True, ca_file=str(certificate[0])))
    assert binding == hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate[0].read_text())).digest()
    with pytest.raises(Refused, match="certificate of localhost does not hold"):
        reach(at(tls_server, host="localhost", is_tls=True))


def test_a_server_without_tls_is_refused_where_tls_is_wanted(server: PostgresServer) -> None:
    with pytest.raises(Refused, match="offers no TLS"):
        reach(at(server, is_tls=True))


def test_a_server_that_is_not_there_is_unavailable(server: PostgresServer) -> None:
    for endpoint in (at(server, port=1), at(server, host="/nowhere"), at(server, host="no-such-host.invalid")):
        with pytest.raises(Unavailable, match="cannot be reached"):
            reach(endpoint)


def test_a_cancel_for_nobody_is_taken_in_silence(server: PostgresServer) -> None:
    asyncio.run(send_cancel(at(server), 1, b"\0\0\0\0"))
