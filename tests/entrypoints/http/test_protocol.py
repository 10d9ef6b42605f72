"""Hostile bytes on a raw socket: each gets a clear refusal or a closed connection, and the next client is served."""

import contextlib
import socket
from collections.abc import Iterator
from time import monotonic, sleep

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.entrypoints.http.house import ASK, Got, House, answers, call, exchange, parsed, request_bytes
from watchkey.entrypoints.http.limits import Limits

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def connect(house: House) -> socket.socket:
    return socket.create_connection(("127.0.0.1", house.port), timeout=10)


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def still_serves(house: House) -> None:
    assert call(house, "POST", "/v1/decide", ASK).json["allow"] is True


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x00" * 100, 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (head("GET / HTTP/9.9", "Host: x"), 400),
        (head("GET /health HTTP/0.9", "Host: x"), 505),
        (head("GET /health HTTP/1.1"), 400),
        (head("GET /health HTTP/1.1", "Host: x", "Host: y"), 400),
        (head("GET /a b HTTP/1.1", "Host: x"), 400),
        (head("GET /\xff HTTP/1.1", "Host: x"), 400),
        (head("GET /health HTTP/1.1", "Host : x"), 400),
        (head("GET /health HTTP/1.1", "Host: x", " folded"), 400),
        (head("GET /health HTTP/1.1", "Host: x", "A: b\x00c"), 400),
        (head("GET /health HTTP/1.1", "Host: x", "Authorization: Bearer a", "authorization: Bearer b"), 400),
        (head("GET /" + "a" * 9000 + " HTTP/1.1", "Host: x"), 414),
        (head("GET /health HTTP/1.1", "Host: x", "A: " + "a" * 17_000), 431),
        (head("GET /health HTTP/1.1", "Host: x", *[f"A{n}: b" for n in range(101)]), 431),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 200_000, 431),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 65537"), 413),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 99999999999999999999999"), 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: -1"), 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"), 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 1, 1"), 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 1", "Transfer-Encoding: chunked"), 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: gzip, chunked"), 501),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"FFFFFFFFFFFFFFFFFF\r\n", 400),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
        (
            head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"20000\r\n" + b"x" * 0x20000,
            413,
        ),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"1;" + b"e" * 2_000_000, 413),
        (head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 400_000, 413),
    ],
    ids=lambda value: repr(value[:70]) if isinstance(value, bytes) else str(value),
)
def test_what_is_no_good_request_is_refused_and_the_connection_closed(house: House, raw: bytes, status: int) -> None:
    (got,) = exchange(house, raw)
    assert got.status == status
    assert got.headers["connection"] == "close"
    assert got.json["allow"] is False
    still_serves(house)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_never_gets_an_allow_nor_stops_the_service(house: House, data: st.DataObject) -> None:
    raw = bytearray(request_bytes("POST", "/v1/decide", b'{"subject":{"id":"carol"},"privilege":"write"}'))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        if not raw:
            raw = bytearray(b"\r\n")
    with connect(house) as sock:
        sock.sendall(bytes(raw))
        sock.shutdown(socket.SHUT_WR)
        got = answers(sock)
    assert all(each.status != 500 and b'"allow":true' not in each.body for each in got)
    assert call(house, "GET", "/health", who=None).status == 200


def test_a_request_in_single_bytes_is_a_request(house: House) -> None:
    with connect(house) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request_bytes("POST", "/v1/decide", b"{}", house.bearer("trusted")):
            sock.sendall(bytes([byte]))
        (got,) = answers(sock)
    assert got.json["error"]["code"] == "malformed"


def test_pipelined_requests_are_answered_in_their_order(house: House) -> None:
    many = 300
    raw = b"".join(
        request_bytes("GET", "/health", headers={"X-Request-Id": f"n{n}"}, close=n == many - 1) for n in range(many)
    )
    got = exchange(house, raw)
    assert [each.headers["x-request-id"] for each in got] == [f"n{n}" for n in range(many)]


def test_an_answer_that_is_owed_comes_before_the_end_of_a_broken_connection(house: House) -> None:
    slow = request_bytes("POST", "/v1/decide", b'{"subject":{"id":"carol"},"privilege":"write","resource":"orders-db"}',
                         house.bearer("plain"), close=False)  # fmt: skip
    (got,) = exchange(house, slow + b"garbage\r\n\r\n")
    assert (got.status, got.body, got.headers["connection"]) == (200, b'{"allow":false}', "close")


def test_a_client_that_stops_sending_still_gets_its_answer(house: House) -> None:
    with connect(house) as sock:
        sock.sendall(request_bytes("POST", "/v1/decide", b'{"subject":{"id":"x"},"privilege":"w","resource":"r"}',
                                   house.bearer("plain"), close=False))  # fmt: skip
        sock.shutdown(socket.SHUT_WR)
        (got,) = answers(sock)
    assert got.body == b'{"allow":false}'


def test_trailers_are_not_headers(house: House) -> None:
    token = house.caller_tokens["trusted"].reveal()
    raw = head("POST /v1/decide HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "Connection: close")
    (got,) = exchange(house, raw + f"2\r\n{{}}\r\n0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert got.status == 401


def test_an_upgrade_is_answered_as_plain_http_and_ends_the_connection(house: House) -> None:
    raw = head("GET /health HTTP/1.1", "Host: x", "Upgrade: h2c", "Connection: Upgrade") + b"PRI * HTTP/2.0\r\n\r\n"
    (got,) = exchange(house, raw)
    assert (got.status, got.headers["connection"]) == (200, "close")


def test_http_1_0_gets_one_answer(house: House) -> None:
    (got,) = exchange(house, b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert got.headers["connection"] == "close"


def test_who_asks_whether_to_go_on_is_told(house: House) -> None:
    with connect(house) as sock:
        sock.sendall(head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 2", "Expect: 100-continue"))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    (got,) = exchange(
        house, head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 99999", "Expect: 100-continue")
    )
    assert got.status == 413


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [("abc-1.2_X", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("a,b", False), ("\xe9", False)],
)
def test_a_harmless_request_id_is_echoed_and_any_other_replaced(house: House, sent: str, *, is_kept: bool) -> None:
    got = call(house, "GET", "/health", who=None, headers={"X-Request-Id": sent})
    assert (got.headers["x-request-id"] == sent) is is_kept


QUICK = Limits(head_s=0.3, body_s=0.3, answer_s=0.3, idle_s=0.3, write_s=0.3, drain_s=1.0)


@pytest.fixture
def quick() -> Iterator[House]:
    with House(QUICK).open() as opened:
        yield opened


def drip(house: House, begin: bytes, piece: bytes) -> list[Got]:
    """Send the beginning, then pieces without end, until the server has had enough."""
    raw, give_up = b"", monotonic() + 30
    with connect(house) as sock:
        sock.sendall(begin)
        sock.settimeout(0.02)
        while monotonic() < give_up:
            with contextlib.suppress(TimeoutError):
                chunk = sock.recv(65536)
                if not chunk:
                    return parsed(raw)
                raw += chunk
            with contextlib.suppress(ConnectionError, TimeoutError):
                sock.sendall(piece)
    raise AssertionError("the server went along with it")


def test_a_head_that_drips_is_ended(quick: House) -> None:
    (got,) = drip(quick, b"GET /health HTTP/1.1\r\nHost: x\r\nA: ", b"a")
    assert (got.status, got.json["error"]["code"]) == (408, "too_slow")


def test_a_body_that_drips_is_ended(quick: House) -> None:
    begin = head("POST /v1/decide HTTP/1.1", "Host: x", "Content-Length: 5000")
    (got,) = drip(quick, begin, b"a")
    assert got.status == 408


def test_a_second_request_that_drips_after_a_good_one_is_ended(quick: House) -> None:
    first, second = drip(quick, HEALTH + b"GET /health HT", b"")
    assert (first.status, second.status) == (200, 408)


def test_a_connection_without_a_word_and_one_at_rest_are_closed(quick: House) -> None:
    with connect(quick) as silent, connect(quick) as resting:
        resting.sendall(HEALTH)
        assert answers(silent) == []
        assert [got.status for got in answers(resting)] == [200]


def send_without_reading(sock: socket.socket, raw: bytes, pause_s: float) -> None:
    give_up = monotonic() + 30
    while monotonic() < give_up:
        with contextlib.suppress(TimeoutError):
            sock.sendall(raw)
        sleep(pause_s)


@pytest.mark.parametrize(("at_once", "pause_s"), [(50, 0.0), (1, 0.001)])
def test_a_client_that_does_not_read_is_cut_off(quick: House, at_once: int, pause_s: float) -> None:
    with connect(quick) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        with pytest.raises(ConnectionError):
            send_without_reading(sock, request_bytes("GET", "/openapi.json", close=False) * at_once, pause_s)
    assert call(quick, "GET", "/health", who=None).status == 200


def test_a_client_that_reads_late_gets_all_answers_in_their_order(house: House) -> None:
    many = 600  # more answers than the sockets' buffers hold, so that the server has to wait for the reader
    with connect(house) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for first in range(0, many, 3):
            three = [
                request_bytes("GET", "/openapi.json", headers={"X-Request-Id": f"n{n}"}, close=n == many - 1)
                for n in range(first, first + 3)
            ]
            sock.sendall(b"".join(three))
            sleep(0.001)
        got = answers(sock)
    assert [each.headers["x-request-id"] for each in got] == [f"n{n}" for n in range(many)]


def test_too_many_connections_make_the_longest_idle_one_go() -> None:
    with House(Limits(connections_max=3, drain_s=1.0)).open() as house, contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(house)) for _ in range(3))
        for sock in (first, second, third):
            sock.sendall(HEALTH)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        assert call(house, "GET", "/health", who=None).status == 200
        assert first.recv(10) == b""
        second.sendall(LAST)
        assert answers(second)[0].status == 200


def test_when_none_is_idle_the_new_connection_is_refused() -> None:
    with House(Limits(connections_max=2, drain_s=1.0)).open() as house, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(house)).sendall(b"GET /he")
        # The server reads the beginnings before it accepts the next one only by chance, so wait until it has.
        house.on_loop(lambda: None)
        (got,) = exchange(house, LAST)
        assert (got.status, got.json["error"]["code"]) == (503, "too_many_connections")
        assert house.server is not None
        assert house.server.connections.refused == 1
