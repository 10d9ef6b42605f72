"""What the statement log says of bound parameters, on real drivers."""

import asyncio
import json
from collections.abc import Callable

import asyncpg
import psycopg
import pytest
from click.testing import CliRunner

from tests.live.house import ALICE, ORDERS, LiveHouse
from tests.live.test_sessions_end import until
from watchkey.entrypoints.cli.audit_values import find_value
from watchkey.entrypoints.pg_gateway.gateway import Database
from watchkey.model.ids import ResourceId
from watchkey.rules.bound_values import Parameters


@pytest.mark.in_workers
def test_an_auditor_finds_a_known_value_among_hashed_parameters_and_nobody_reads_it(
    open_house: Callable[..., LiveHouse],
) -> None:
    house = open_house(parameters=Parameters.HASHED)
    house.watch.allow(ALICE, "read")

    async def ask() -> None:
        db = await asyncpg.connect(
            host=house.host, port=house.port, user="alice", password=house.token(ALICE), database="orders", ssl=False
        )
        assert await db.fetchval("SELECT $1::int + 1", 424242) == 424243
        await db.close()

    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        db.execute("SELECT %s::text", ["canary of the parameter"])
        db.execute("SELECT 'canary of the text'")
    asyncio.run(ask())
    assert until(lambda: len(house.noted("session.ended")) == 2)
    assert "canary of the parameter" not in house.statements()
    assert "canary of the text" in house.statements()  # as the documentation says
    words = ["--key-file", str(house.folder / "statements.jsonl.key"), *map(str, house.statement_files)]
    for value, form in (("canary of the parameter", "text"), ("424242", "int4")):
        found = CliRunner().invoke(find_value, words, input=value + "\n", catch_exceptions=False)
        assert found.exit_code == 0
        (line,) = found.stdout.splitlines()
        assert json.loads(line)["matched"] == [form]
    assert CliRunner().invoke(find_value, words, input="else").exit_code == 1


@pytest.mark.in_workers
def test_what_one_resource_records_is_not_recorded_of_its_neighbour(open_house: Callable[..., LiveHouse]) -> None:
    billing = Database(resource=ResourceId("billing-db"), parameters=Parameters.FULL)
    house = open_house(gateway={"databases": {"orders": Database(resource=ORDERS), "billing": billing}})
    house.watch.allow(ALICE, "read")
    with psycopg.connect(house.dsn(ALICE), autocommit=True) as db:
        db.execute("SELECT %s::text", ["canary"])
    assert until(lambda: bool(house.noted("session.ended")))
    assert "canary" not in house.statements()
