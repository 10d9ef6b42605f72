"""Ways to a gateway: through a load balancer, by host name, and from it to a server whose certificate must hold."""

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.live.house import ALICE, ORDERS, LiveHouse, RealClock, prepare
from tests.live.test_sessions_end import until
from tests.wire.test_proxy_protocol import header
from watchkey.entrypoints.pg_gateway.gateway import Database
from watchkey.entrypoints.pg_gateway.upstream import open_server
from watchkey.model.errors import Refused
from watchkey.model.ids import ResourceId
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer
from watchkey.wire import pg_messages as pg

LOOPBACK = {"proxies": (ip_network("127.0.0.0/8"),)}
PROMPT = pg.authentication_cleartext_password()
STARTUP = pg.startup_message({"user": "alice", "database": "orders"})


def answer(house: LiveHouse, *data: bytes) -> bytes:
    """The first bytes that come back for it, or nothing when the connection is closed."""
    with socket.create_connection((house.host, house.port), timeout=10) as sock:
        for part in data:
            sock.sendall(part)
        try:
            return sock.recv(100)
        except ConnectionResetError:
            return b""


@pytest.mark.in_workers
def test_the_balancers_client_is_who_is_recorded_and_asked_about(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house(gateway=LOOPBACK)
    house.watch.allow(ALICE, "read")
    with socket.create_connection((house.host, house.port), timeout=10) as sock:
        sock.sendall(header("203.0.113.7", 50123)[:20])
        sock.sendall(header("203.0.113.7", 50123)[20:] + STARTUP)
        assert sock.recv(100) == PROMPT
        sock.sendall(pg.message(b"p", house.token(ALICE).encode() + b"\0"))
        assert sock.recv(1) == b"R"
        assert until(lambda: bool(house.noted("session.opened")))
        note = house.noted("session.opened")[0]
        assert note.fields["client"] == "203.0.113.7:50123"
        assert note.fields["proxy"].startswith("127.0.0.1:")
        assert {request.context["client"] for request in house.watch.asked} == {"203.0.113.7:50123"}


@pytest.mark.in_workers
@pytest.mark.in_workers
@pytest.mark.in_workers
@pytest.mark.parametrize(
    "first",
    [
        b"", b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n", pg.ssl_request(), header("203.0.113.7", 1, family=0x12),
        header("203.0.113.7", 1)[:20],
    ],
)  # fmt: skip
def test_a_balancer_must_say_who_its_client_is(open_house: Callable[..., LiveHouse], first: bytes) -> None:
    house = open_house(gateway=LOOPBACK)
    assert PROMPT not in answer(house, first + STARTUP)
    assert not house.noted("lease.granting")


def test_a_balancers_own_look_is_served(open_house: Callable[..., LiveHouse]) -> None:
    house = open_house(gateway=LOOPBACK)
    assert answer(house, header("203.0.113.7", 1, command=0x20) + STARTUP) == PROMPT


@pytest.mark.in_workers
@pytest.mark.parametrize("proxies", [(), (ip_network("192.0.2.0/24"),)])
def test_from_anybody_else_no_address_is_believed(
    open_house: Callable[..., LiveHouse], proxies: tuple[Any, ...]
) -> None:
    house = open_house(gateway={"proxies": proxies})
    assert PROMPT not in answer(house, header("203.0.113.7", 1) + STARTUP)
    assert answer(house, STARTUP) == PROMPT


# --- host names --------------------------------------------------------------------------------------------------


@pytest.fixture
def named(open_house: Callable[..., LiveHouse], certificate: tuple[Path, Path]) -> LiveHouse:
    databases = {"orders": Database(resource=ORDERS), "billing": Database(resource=ResourceId("billing-db"))}
    hosts = {"orders.gw.example": "orders", "billing.gw.example": "billing"}
    house = open_house(tls=certificate, gateway={"databases": databases, "hosts": hosts})
    house.watch.allow(ALICE, "read")
    return house


def by_host(house: LiveHouse, host: str, database: str) -> str:
    dsn = house.dsn(ALICE).replace("host=localhost", f"host={host} hostaddr=127.0.0.1")
    with psycopg.connect(dsn.replace("dbname=orders", f"dbname={database}")) as db:
        return str((db.execute("SELECT current_database()").fetchone() or ("",))[0])


@pytest.mark.parametrize(
    ("host", "database"),
    [
        ("orders.gw.example", "orders"), ("orders.gw.example", "orders-db"), ("ORDERS.gw.example", "whatever"),
        ("else.example", "orders"), ("localhost", "orders"),
    ],
)  # fmt: skip
def test_a_host_name_leads_to_its_database(named: LiveHouse, host: str, database: str) -> None:
    assert by_host(named, host, database) == "orders"


@pytest.mark.parametrize(
    ("host", "database", "words"),
    [
        ("orders.gw.example", "billing", "two different databases"), ("billing.gw.example", "orders", "two different"),
        ("else.example", "whatever", "there is no database"), ("billing.gw.example", "x", "no such database here"),
    ],
)  # fmt: skip
def test_names_that_disagree_or_are_unknown_lead_nowhere(
    named: LiveHouse, host: str, database: str, words: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match=words):
        by_host(named, host, database)
    assert not named.noted("lease.granting")


# --- towards the server ------------------------------------------------------------------------------------------


def signed(names: list[str]) -> tuple[bytes, bytes]:
    """A certificate for these names that vouches for itself, and its key, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    others: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
    ]
    now = RealClock().now()
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(others), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.NoEncryption()
    return made.public_bytes(pem), key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)


@pytest.mark.parametrize(
    ("names", "knows_ca", "is_fine"),
    [(["127.0.0.1"], True, True), (["else.example"], True, False), (["127.0.0.1"], False, False)],
)
def test_name_and_signer_of_the_servers_certificate_must_both_hold(
    tmp_path: Path, *, names: list[str], knows_ca: bool, is_fine: bool
) -> None:
    """For the gateway's own connection as for the management account's, as `sslmode=verify-full` would have it."""
    certificate, key = signed(names)
    ca = tmp_path / "ca.pem"
    ca.write_bytes(certificate if knows_ca else signed(names)[0])
    try:
        made = PostgresServer(settings={"ssl_cert_file": "../cert.pem", "ssl_key_file": "../key.pem"}, is_tls=True)
    except NoPostgres as error:
        pytest.skip(f"live tests need a PostgreSQL server: {error}")
    made.place("cert.pem", certificate)
    made.place("key.pem", key)
    with made as server:
        prepare(server)
        with LiveHouse(server, tmp_path, tls_to_server=True, ca_file=str(ca)) as house:
            house.watch.allow(ALICE, "read")
            if is_fine:
                with psycopg.connect(house.dsn(ALICE)) as db:
                    tls = db.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
                    assert tls == (True,)
            else:
                with pytest.raises(psycopg.OperationalError, match="cannot be prepared"):
                    psycopg.connect(house.dsn(ALICE))
                assert "certificate" in house.noted("lease.not_granted")[0].fields["error"]
                with pytest.raises(Refused, match="does not hold"):
                    house.call(open_server(house.target.endpoint, asyncio.Protocol))
