"""Listening safely, TLS, Unix sockets, and an end that answers what is under way."""

import asyncio
import contextlib
import socket
import ssl
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.builders import NOW
from tests.entrypoints.http.house import ASK, House, answers, call, request_bytes
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.questions import Answered, Deciding
from watchkey.entrypoints.http.server import Listener, Tls
from watchkey.model.access import AccessRequest, Caller
from watchkey.model.errors import Refused

# Only to be refused: nothing listens there.
ELSEWHERE = ["0.0.0.0", "::", "10.0.0.1", "watchkey.example.com", "localhost.example.com", ""]  # noqa: S104 - see above


@pytest.mark.parametrize("host", ELSEWHERE)
def test_plain_http_beyond_loopback_is_refused_unless_allowed(host: str) -> None:
    with pytest.raises(Refused, match="insecure: true"):
        Listener(host=host).refuse_unsafe()
    Listener(host=host, insecure=True).refuse_unsafe()
    Listener(host=host, tls=Tls(certificate="c", key="k")).refuse_unsafe()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_plain_http_on_loopback_is_fine(host: str) -> None:
    Listener(host=host).refuse_unsafe()


def test_an_unsafe_listener_never_opens() -> None:
    house = House()
    with pytest.raises(Refused), house.open(Listener(host="0.0.0.0", port=0)):  # noqa: S104 - that it is refused is the test
        pass


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Refused, match=f"cannot listen on 127.0.0.1:{port}"), House().open(Listener(port=port)):
            pass


def certificate(folder: Path) -> Tls:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=3650))
        .not_valid_after(NOW + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Tls(certificate=str(folder / "cert.pem"), key=str(folder / "key.pem"))


def over_tls(house: House, context: ssl.SSLContext) -> bytes:
    raw = request_bytes("POST", "/v1/decide", b"{}", house.bearer("trusted"))
    with (
        socket.create_connection(("127.0.0.1", house.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(raw)
        return sock.recv(65536)


def test_tls_serves_and_plain_text_on_its_port_gets_nothing(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    context = ssl.create_default_context(cafile=tls.certificate)
    with House().open(Listener(port=0, tls=tls)) as house:
        assert house.server is not None
        assert house.server.urls[0].startswith("https://")
        assert over_tls(house, context).startswith(b"HTTP/1.1 400")
        with socket.create_connection(("127.0.0.1", house.port), timeout=10) as sock:
            sock.sendall(request_bytes("GET", "/health"))
            assert answers(sock) == []
        old = ssl.create_default_context(cafile=tls.certificate)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            over_tls(house, old)


def test_with_a_client_authority_a_client_without_a_certificate_is_not_served(tmp_path: Path) -> None:
    tls = certificate(tmp_path)
    both = Tls(certificate=tls.certificate, key=tls.key, client_ca=tls.certificate)
    with House().open(Listener(port=0, tls=both)) as house:
        context = ssl.create_default_context(cafile=tls.certificate)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert over_tls(house, context) == b""
        context.load_cert_chain(tls.certificate, tls.key)
        assert over_tls(house, context).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("content", [None, b"not PEM"])
def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_bytes(content)
    listener = Listener(port=0, tls=Tls(certificate=str(path), key=str(path)))
    with pytest.raises(Refused, match=r"cert\.pem"), House().open(listener):
        pass


def test_a_unix_socket_serves_its_group_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "wk.sock"
    listener = Listener(unix_socket=str(path))
    for _ in range(2):
        with House().open(listener), socket.socket(socket.AF_UNIX) as sock:
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            sock.connect(str(path))
            sock.sendall(request_bytes("GET", "/health"))
            assert answers(sock)[0].status == 200
        assert not path.exists()


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "wk.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with House().open(Listener(unix_socket=str(path))):
        with pytest.raises(Refused, match="in use"), House().open(Listener(unix_socket=str(path))):
            pass
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("content")
    with pytest.raises(Refused, match="not a socket"), House().open(Listener(unix_socket=str(path))):
        pass
    assert path.read_text() == "content"


class Waiting:
    """Decides when told to."""

    def __init__(self, inner: Deciding) -> None:
        self.inner = inner
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    async def answer(self, request: AccessRequest, caller: Caller) -> Answered:
        self.has_begun.set()
        while not self.may_end.is_set():  # noqa: ASYNC110 - an event of another thread
            await asyncio.sleep(0.01)
        return await self.inner.answer(request, caller)


def test_at_the_end_what_is_under_way_is_answered_and_what_rests_is_closed() -> None:
    house = House(Limits(drain_s=10.0))
    waiting = Waiting(house.request_access)
    house.request_access = waiting
    got: list[bool] = []
    with contextlib.ExitStack() as stack:
        with house.open():
            resting = stack.enter_context(socket.create_connection(("127.0.0.1", house.port), timeout=10))
            resting.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert resting.recv(4096).startswith(b"HTTP/1.1 200")
            client = threading.Thread(target=lambda: got.append(call(house, "POST", "/v1/decide", ASK).json["allow"]))
            client.start()
            assert waiting.has_begun.wait(10)
            threading.Timer(0.2, waiting.may_end.set).start()
        assert resting.recv(10) == b""
    client.join(10)
    assert got == [True]


def test_at_the_end_what_never_ends_is_cut_off() -> None:
    house = House(Limits(drain_s=0.2))
    waiting = Waiting(house.request_access)
    house.request_access = waiting
    with socket.socket() as sock:
        sock.settimeout(10)
        with house.open():
            sock.connect(("127.0.0.1", house.port))
            sock.sendall(request_bytes("POST", "/v1/decide", b'{"subject":{"id":"a"},"privilege":"w","resource":"r"}',
                                       house.bearer("trusted")))  # fmt: skip
            assert waiting.has_begun.wait(10)
        assert answers(sock) == []
