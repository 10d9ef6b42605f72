"""Reaching a PostgreSQL server: socket, TLS by its own request, the certificate's hash for channel binding."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256, Hash

from watchkey.model.errors import Refused, Unavailable
from watchkey.ports import Endpoint
from watchkey.wire.pg_messages import cancel_request, ssl_request

CONNECT_MAX: Final = 10.0
"""Seconds until a server must have answered."""

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def open_server(endpoint: Endpoint, make: Callable[[], P]) -> tuple[asyncio.Transport, P, bytes | None]:
    """Connect; returns the transport, the protocol, and the hash for channel binding (None without TLS).

    Raises Unavailable when the server cannot be reached, Refused when it has no TLS or the wrong certificate.
    """
    try:
        async with asyncio.timeout(CONNECT_MAX):
            sock = await _socket(endpoint)
            try:
                return await _transport(endpoint, sock, make)
            except BaseException:
                sock.close()
                raise
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"the certificate of {endpoint.host} does not hold: {error.verify_message}") from error
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the server {endpoint.host}:{endpoint.port} cannot be reached: {error}") from error


async def send_cancel(endpoint: Endpoint, process_id: int, key: bytes) -> None:
    """Ask the server to cancel what that backend runs; it never says whether it did. Raises as `open_server`."""
    transport, _, _ = await open_server(endpoint, asyncio.Protocol)
    transport.write(cancel_request(process_id, key))
    transport.close()


async def _socket(endpoint: Endpoint) -> socket.socket:
    loop = asyncio.get_running_loop()
    if endpoint.host.startswith("/"):
        places: list[tuple[int, Any]] = [(socket.AF_UNIX, f"{endpoint.host}/.s.PGSQL.{endpoint.port}")]
    else:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        places = [(family, address) for family, _, _, _, address in found]
    last: OSError = OSError(f"no address for {endpoint.host}")
    for family, address in places:
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            last = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise last


async def _transport(
    endpoint: Endpoint, sock: socket.socket, make: Callable[[], P]
) -> tuple[asyncio.Transport, P, bytes | None]:
    loop = asyncio.get_running_loop()
    if not endpoint.is_tls:
        if sock.family is socket.AF_UNIX:
            transport, protocol = await loop.create_unix_connection(make, sock=sock)
        else:
            transport, protocol = await loop.create_connection(make, sock=sock)
        return transport, protocol, None
    await loop.sock_sendall(sock, ssl_request())
    # one byte and no more: what follows it in clear must not be taken for something said inside TLS
    if await loop.sock_recv(sock, 1) != b"S":
        raise Refused(f"the server {endpoint.host} offers no TLS")
    transport, protocol = await loop.create_connection(
        make, sock=sock, ssl=_tls(endpoint.ca_file), server_hostname=endpoint.host
    )
    peer: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return transport, protocol, _binding(peer.getpeercert(binary_form=True) or b"")


@lru_cache(maxsize=16)
def _tls(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _binding(certificate: bytes) -> bytes | None:
    """`tls-server-end-point` (RFC 5929, section 4.1); None when the certificate's own hash is not one that can bind."""
    algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    if algorithm is None:
        return None
    digest = Hash(SHA256() if isinstance(algorithm, MD5 | SHA1) else algorithm)
    digest.update(certificate)
    return digest.finalize()
