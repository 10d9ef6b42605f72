"""The script and the configuration of docs/how-to/postgres-gateway.md do what the page says."""

import re
from pathlib import Path

import psycopg
import pytest

from tests.live.conftest import servers
from tests.live.house import ALICE, SETUP_ORDERS, LiveHouse
from watchkey.model.secret import Secret
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "postgres-gateway.md").read_text()


@pytest.mark.parametrize("version", list(servers()) or ["none"])
def test_the_script_for_the_dba_is_all_that_is_needed(tmp_path: Path, version: str) -> None:
    (script,) = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    try:
        with PostgresServer(binaries=servers().get(version)) as server:
            server.sql(script)
            server.sql("CREATE DATABASE orders")
            server.sql(SETUP_ORDERS, "orders")
            server.sql("GRANT CREATE ON SCHEMA public TO watchkey_leftovers", "orders")
            with LiveHouse(
                server, tmp_path, manager_password=Secret("change me"), reassign_to="watchkey_leftovers"
            ) as house:
                house.watch.allow(ALICE, "read", "write")
                with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
                    db.execute("CREATE TABLE scratch ()")
            assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'wk\\_%'") == "0"
            assert (
                server.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'scratch'", "orders")
                == "watchkey_leftovers"
            )
    except NoPostgres as error:
        pytest.skip(f"live tests need a PostgreSQL server: {error}")
