"""The PROXY protocol, version 2, as HAProxy describes it: who the client of a load balancer is. No sockets.

Whoever may write this header may claim any address, so it is read from configured peers only, and from those it is
demanded. Version 1, a line of text, is not read.
"""

import ipaddress
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
HEAD: Final = 16
"""Bytes until the length of the rest is known."""
_REST_MAX: Final = 1024
"""Bytes; addresses take 36 at most, and what else a balancer adds is not looked at."""
_LOCAL: Final = 0
_PROXIED: Final = 1
_FAMILIES: Final = {0x11: (4, ipaddress.IPv4Address), 0x21: (16, ipaddress.IPv6Address)}
"""TCP over IPv4 and IPv6, with the length of an address."""


class NoProxyHeader(Exception):
    """What came is no header of version 2 that may be believed."""


def rest_length(head: bytes) -> int:
    """How many bytes follow the first HEAD. Raises NoProxyHeader."""
    if head[:12] != SIGNATURE:
        what = "version 1 of the PROXY protocol" if head.startswith(b"PROXY ") else "no PROXY header"
        raise NoProxyHeader(f"{what}, where version 2 is demanded")
    if head[12] >> 4 != 2:
        raise NoProxyHeader(f"version {head[12] >> 4} of the PROXY protocol")
    length = int.from_bytes(head[14:16])
    if length > _REST_MAX:
        raise NoProxyHeader(f"a PROXY header of {length} bytes")
    return length


def client_of(head: bytes, rest: bytes) -> str | None:
    """`address:port` of the client; None when the balancer speaks for itself, as for a health check.

    Raises NoProxyHeader for a family that is not TCP over IP and for addresses that are cut.
    """
    command = head[12] & 0x0F
    if command == _LOCAL:
        return None
    if command != _PROXIED:
        raise NoProxyHeader(f"command {command} of the PROXY protocol")
    if head[13] not in _FAMILIES:
        raise NoProxyHeader(f"family {head[13]:#04x} of the PROXY protocol, where TCP over IP is meant")
    size, kind = _FAMILIES[head[13]]
    if len(rest) < 2 * size + 4:
        raise NoProxyHeader("addresses that are cut")
    return f"{kind(rest[:size])}:{int.from_bytes(rest[2 * size : 2 * size + 2])}"
