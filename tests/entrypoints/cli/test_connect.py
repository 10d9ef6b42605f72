"""`watchkey connect`: what it refuses. The whole way is in tests/live/test_whole_service.py."""

import pytest
from click.testing import CliRunner

from watchkey.entrypoints.cli.connect import connect


@pytest.mark.parametrize("gateway", ["here", "here:", ":6432", "here:port"])
def test_a_gateway_is_a_host_and_a_port(gateway: str) -> None:
    words = ["orders-db", "--as", "alice", "--server", "http://127.0.0.1:1", "--gateway", gateway]
    result = CliRunner().invoke(connect, words, env={"WATCHKEY_TOKEN": "x"})
    assert result.exit_code == 2
    assert "HOST:PORT" in result.output


def test_it_needs_to_know_who_asks() -> None:
    result = CliRunner().invoke(
        connect, ["orders-db", "--server", "http://127.0.0.1:1"], env={"WATCHKEY_TOKEN": "x", "WATCHKEY_SUBJECT": None}
    )
    assert result.exit_code == 2
    assert "--as" in result.output
