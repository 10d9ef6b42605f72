"""The demo's scene, played on real gateways and a real roster; and that it notices when something goes wrong."""

import asyncio
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from tests.builders import CALLER, SOURCE, index, shift
from tests.entrypoints.pg_gateway.test_running import CLOCK, Service, section
from tests.live.house import ORDERS, target_config
from watchkey.entrypoints.pg_gateway.demo import Stage, Surprise, play, prepare
from watchkey.entrypoints.pg_gateway.running import Gateways
from watchkey.model.access import Subject
from watchkey.model.ids import SubjectId
from watchkey.model.secret import Secret
from watchkey.simulator.postgres_server import NoPostgres, PostgresServer
from watchkey.targets.postgres import PostgresTarget


async def scene(server: PostgresServer, folder: Path, *, coming: str) -> list[str]:
    said: list[str] = []
    service = Service()
    now = CLOCK.now()
    handoff = now + timedelta(seconds=2)
    hour = timedelta(hours=1)
    shifts = (
        shift("PALICE", starts_at=now - hour, ends_at=handoff),
        shift("PBOB", starts_at=handoff, ends_at=handoff + hour),
    )
    service.rosters.swap(index(*shifts, taken_at=now), read_at=CLOCK.monotonic())
    assert SOURCE in service.rosters.held()
    target = PostgresTarget(target_config(server, manager_password=Secret("demo")), resource=ORDERS, clock=CLOCK)
    async with Gateways(service, [section(folder, notices=(timedelta(seconds=1),))], {ORDERS: target}) as gateways:

        async def token(subject: str) -> Secret:
            return (await service.tokens.issue(Subject(id=SubjectId(subject)), caller=CALLER)).token

        host, _, port = gateways.addresses[0].removeprefix("postgresql://").rpartition(":")
        await play(
            Stage(
                server=server, host=host, port=int(port), token=token, leaving="alice", coming=coming,
                handoff_at=handoff,
                statements=folder / "statements.jsonl", clock=CLOCK, say=said.append,
            )
        )  # fmt: skip
    return said


def test_the_scene_shows_what_it_promises_and_notices_when_it_does_not(tmp_path: Path) -> None:
    try:
        with PostgresServer() as server:
            prepare(server)
            text = "\n".join(asyncio.run(scene(server, tmp_path, coming="bob")))
            for words in (
                "role of their own: wk_alice_",
                "notice",
                "ms after the planned",
                "committed: 0",
                "again: FATAL",
                "wk_bob_",
                "mended",
            ):
                assert words in text
            server.sql("DELETE FROM orders", "orders")
            with pytest.raises((Surprise, asyncpg.PostgresError), match=r"on call|committed"):
                asyncio.run(scene(server, tmp_path, coming="carol"))
    except NoPostgres as error:
        pytest.skip(f"live tests need a PostgreSQL server: {error}")
