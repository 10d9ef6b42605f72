"""PROXY headers: what is believed, and all that is not."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.wire.proxy_protocol import HEAD, SIGNATURE, NoProxyHeader, client_of, rest_length


def header(client: str, port: int, *, command: int = 0x21, family: int | None = None, more: bytes = b"") -> bytes:
    address = ipaddress.ip_address(client)
    family = family if family is not None else (0x11 if address.version == 4 else 0x21)
    rest = address.packed + address.packed + port.to_bytes(2) + (6432).to_bytes(2) + more
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2) + rest


def read(data: bytes) -> str | None:
    length = rest_length(data[:HEAD])
    return client_of(data[:HEAD], data[HEAD : HEAD + length])


@pytest.mark.parametrize("client", ["203.0.113.7", "2001:db8::7"])
def test_the_clients_address(client: str) -> None:
    assert read(header(client, 50123)) == f"{client}:50123"
    assert read(header(client, 50123, more=b"\x04\0\x01x")) == f"{client}:50123"


def test_a_balancer_that_speaks_for_itself() -> None:
    assert read(header("203.0.113.7", 1, command=0x20)) is None
    assert read(SIGNATURE + b"\x20\0\0\0") is None


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n", "version 1"),
        (b"\0\0\0\x08\x04\xd2\x16\x2f" + bytes(8), "no PROXY header"),
        (header("203.0.113.7", 1, command=0x11), "version 1 of"),
        (header("203.0.113.7", 1, command=0x22), "command 2"),
        (header("203.0.113.7", 1, family=0x12), "family"),  # UDP
        (header("203.0.113.7", 1, family=0x00), "family"),
        (header("203.0.113.7", 1, family=0x31), "family"),  # a socket file
        (header("203.0.113.7", 1, family=0x21), "cut"),
        (SIGNATURE + b"\x21\x11\xff\xff", "bytes"),
    ],
)
def test_what_is_not_believed(data: bytes, words: str) -> None:
    with pytest.raises(NoProxyHeader, match=words):
        read(data)


@given(st.binary(min_size=HEAD, max_size=80))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    for candidate in (data, SIGNATURE + data):
        try:
            found = read(candidate)
        except NoProxyHeader:
            continue
        assert found is None or ":" in found
