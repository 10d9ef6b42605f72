"""The network between the gateway and the database is cut: what runs there does not commit, and all is closed later.

It needs network namespaces, so root on Linux, and half a minute: WATCHKEY_LIVE=all runs it, CI does not need it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.live.conftest import servers
from tests.live.gateway_process import GatewayProcess
from tests.live.house import LiveHouse, prepare
from tests.live.test_sessions_end import accounts, rows, sessions_of_leases, until
from watchkey.simulator.postgres_server import PostgresServer, find_client

CABLE = f"wkdb{os.getpid()}"
HERE = f"198.18.{os.getpid() % 250}"
"""A network that is set aside for tests; .1 is the database's end, .2 the gateway's."""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespace() -> Iterator[str]:
    """A namespace with one cable to ours, whose end here is CABLE."""
    if not sys.platform.startswith("linux") or not shutil.which("ip"):
        pytest.skip("a network that can be cut needs Linux and `ip`")
    name = f"wk{os.getpid()}"
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode(errors='replace').strip()}")
    try:
        ip("link", "add", CABLE, "type", "veth", "peer", "name", "wkgw", "netns", name)
        ip("addr", "add", f"{HERE}.1/30", "dev", CABLE)
        ip("link", "set", CABLE, "up")
        ip("-n", name, "addr", "add", f"{HERE}.2/30", "dev", "wkgw")
        for device in ("wkgw", "lo"):
            ip("-n", name, "link", "set", device, "up")
        yield name
    finally:
        for words in (("link", "del", CABLE), ("netns", "del", name)):
            subprocess.run(["ip", *words], check=False, capture_output=True)


@pytest.mark.skipif(os.environ.get("WATCHKEY_LIVE") != "all", reason="slow: WATCHKEY_LIVE=all runs it")
@pytest.mark.parametrize("version", list(servers()) or ["none"])
def test_what_runs_while_the_network_is_cut_does_not_commit(version: str, tmp_path: Path) -> None:
    with (
        namespace() as name,
        PostgresServer(settings={"listen_addresses": f"127.0.0.1,{HERE}.1"}, binaries=servers().get(version)) as server,
    ):
        prepare(server)
        access = server.folder / "data" / "pg_hba.conf"
        access.write_text(f"{access.read_text()}host all all {HERE}.0/30 scram-sha-256\n")
        server.sql("SELECT pg_reload_conf()")
        inside = ["ip", "netns", "exec", name]
        unplanned, planned = (GatewayProcess(server, ttl=ttl, host=f"{HERE}.1", inside=inside) for ttl in (3600, 8))
        before = rows(server)
        slow = "INSERT INTO orders (what) SELECT 'after the end' FROM pg_sleep(18)"
        way = "host=127.0.0.1 dbname=orders user=alice sslmode=disable"
        clients = [
            subprocess.Popen(
                [*inside, find_client("psql"), "-X", f"{way} port={one.port} password={one.token}", "-c", slow],
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for one in (unplanned, planned)
        ]  # fmt: skip
        assert until(lambda: sessions_of_leases(server) == 2)
        time.sleep(0.5)
        begun = time.monotonic()
        ip("link", "set", CABLE, "down")
        unplanned.ask("end 1")  # somebody else is on call from then on, and the database cannot be told
        planned.kill()
        said = [client.communicate(timeout=60)[1] for client in clients]
        assert "your access to orders-db ended at" in said[0]
        with LiveHouse(server, tmp_path) as beside:
            # on the database's own side `reap` closes the lease whose end was planned, cut or not
            assert until(lambda: any(one.is_gone for one in beside.call(beside.target.reap())), 30)
            assert until(lambda: sessions_of_leases(server) == 0, 30)
            assert time.monotonic() - begun < 18, "too late to tell: the statements would have been over"
            time.sleep(19 - (time.monotonic() - begun))
            assert rows(server) == before
            assert len(accounts(server).split()) == 1
            ip("link", "set", CABLE, "up")
            assert until(lambda: accounts(server) == "", 120)
        unplanned.stop()
