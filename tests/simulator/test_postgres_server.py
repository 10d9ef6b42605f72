"""The throwaway server starts, keeps strangers out, and leaves nothing behind."""

import subprocess

import pytest

from tests.live.conftest import server
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer, find_binaries

__all__ = ["server"]


def test_it_answers_its_owner_by_the_socket(server: PostgresServer) -> None:
    assert server.sql("SELECT 1 + 1") == "2"
    assert PostgresServer.at(server.folder, server.port).sql("SELECT current_database()", "orders") == "orders"
    with pytest.raises(RuntimeError, match="division by zero"):
        server.sql("SELECT 1/0")


def test_by_the_network_even_the_owner_needs_a_password(server: PostgresServer) -> None:
    done = subprocess.run(
        [find_binaries() / "psql", "-w", f"host={server.host} port={server.port} user=postgres", "-c", "SELECT 1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "no password supplied" in done.stderr


def test_nothing_is_left_behind() -> None:
    try:
        with PostgresServer() as running:
            folder, process = running.folder, running._process
            assert process is not None
        assert not folder.exists()
        assert process.poll() is not None
        running.close()
    except NoPostgres as error:
        pytest.skip(f"live tests need a PostgreSQL server: {error}")


def test_a_server_that_cannot_start_says_why_and_leaves_nothing() -> None:
    broken = PostgresServer(settings={"max_connections": "none"})
    with pytest.raises(NoPostgres, match="max_connections"):
        broken.__enter__()
    assert not broken.folder.exists()
