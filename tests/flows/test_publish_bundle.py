"""A fleet's bundle is made when something changed, grows in number over restarts, and is handed out without delay."""

import asyncio
import io
import json
import tarfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import HOUR, NOW, SOURCE, index, links, resource, shift
from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.memory import DictMemory
from watchkey.flows.publish_bundle import Fleet, Handout, Kind, PublishBundle
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, Unavailable
from watchkey.model.ids import CallerId, ResourceId, SubjectId
from watchkey.rules.directory import Directory
from watchkey.rules.fleet_bundle import FleetPolicy
from watchkey.rules.roster import RosterIndex
from watchkey.stores.memory import MemoryRosters

POLICY = FleetPolicy(hash="p1", modules={"watchkey/access.rego": "package watchkey.access\n"}, roots=("watchkey",))
FLEET = Fleet(name="prod", callers=frozenset({CallerId("opa")}), deltas=True)
MANY = tuple(
    shift(f"P{i}", starts_at=NOW - timedelta(minutes=i * 7 % 59), ends_at=NOW + timedelta(minutes=i * 13 % 61 + 1))
    for i in range(150)
)


class House:
    """Everything that a publisher leans on, kept over a restart."""

    def __init__(self, *shifts: Any, fleet: Fleet = FLEET) -> None:
        self.clock = DrivenClock()
        self.rosters = MemoryRosters()
        self.memory = DictMemory()
        self.audit = MemoryAudit()
        self.fleet = fleet
        self.policy: FleetPolicy | Exception = POLICY
        self.directory = Directory(resources={ResourceId("orders-db"): resource()}, links=links())
        if shifts:
            self.read(*shifts)

    def read(self, *shifts: Any) -> RosterIndex:
        found = index(*shifts)
        self.rosters.swap(found, read_at=self.clock.monotonic())
        return found

    def start(self) -> PublishBundle:
        def policy() -> FleetPolicy:
            if isinstance(self.policy, Exception):
                raise self.policy
            return self.policy

        return PublishBundle(
            fleet=self.fleet, clock=self.clock, rosters=self.rosters, directory=lambda: self.directory,
            policy=policy, sign=None, memory=self.memory, audit=self.audit,
        )  # fmt: skip

    def published(self) -> list[Any]:
        return [event.fields for event in self.audit.events if isinstance(event, Noted)]


def files_of(archive: bytes) -> dict[str, Any]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        found = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]  # files
    return {name: json.loads(body) if name.endswith((".json", ".manifest")) else body for name, body in found.items()}


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_a_bundle_holds_policy_roster_and_configuration() -> None:
    async def scenario() -> None:
        house = House(shift())
        house.directory = replace(house.directory, groups={SubjectId("alice"): frozenset({"dba"})})
        publisher = house.start()
        assert await publisher.renew()
        files = files_of((await publisher.pull([])).body)
        assert files[".manifest"] == {"revision": "1", "roots": ["watchkey"], "rego_version": 1}
        assert list(files["watchkey/roster/pager/data.json"]["shifts"]) == ["PALICE"]
        data = files["watchkey/data.json"]
        assert data["bundle"] == {
            "fleet": "prod",
            "revision": 1,
            "built_ns": 1782907200000000000,
            "trusts_groups": False,
        }
        assert data["freshness"] == {"pager": {"read_ns": 1782907200000000000, "taken_ns": 1782907200000000000}}
        assert data["links"]["alice"] == {"pager": {"person": "PALICE"}}
        assert data["groups"] == {"alice": ["dba"]}
        assert list(data["resources"]) == ["orders-db"]

    run(scenario)


def test_nothing_is_handed_out_before_there_is_a_roster() -> None:
    async def scenario() -> None:
        house = House()
        publisher = house.start()
        assert not await publisher.renew()
        assert publisher.problem == "no complete roster yet of pager"
        with pytest.raises(Unavailable, match="no complete roster yet of pager"):
            await publisher.pull([])
        house.read(shift())
        assert await publisher.renew()
        assert publisher.problem is None
        assert (await publisher.pull([])).kind is Kind.SNAPSHOT

    run(scenario)


def test_without_a_change_it_is_renewed_in_its_time_only() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        await publisher.renew()
        house.clock.advance(timedelta(seconds=30))
        house.read(shift())
        assert not await publisher.renew(), "a read that agreed is not worth a bundle yet"
        house.clock.advance(timedelta(seconds=90))
        assert await publisher.renew()
        freshness = files_of((await publisher.pull([])).body)["watchkey/data.json"]["freshness"]["pager"]
        assert freshness["read_ns"] == 1782907230000000000, "as old as the last read was, not as the bundle is"
        assert len(house.published()) == 1, "that it is fresh is no new content"
        assert (publisher.current.revision if publisher.current else 0) == 2

    run(scenario)


def test_a_read_after_a_long_silence_is_told_at_once() -> None:
    async def scenario() -> None:
        house = House(shift(), fleet=replace(FLEET, renew_every=timedelta(minutes=5)))
        publisher = house.start()
        house.clock.advance(timedelta(minutes=9))
        await publisher.renew()
        house.clock.advance(timedelta(seconds=1))
        house.read(shift())
        assert await publisher.renew(), "the provider is back: OPAs must not go on taking the roster for stale"

    run(scenario)


@pytest.mark.parametrize("what", ["roster", "policy", "directory"])
def test_each_change_makes_a_revision_at_once_and_is_logged(what: str) -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        await publisher.renew()
        if what == "roster":
            house.read(shift("PBOB"))
        elif what == "policy":
            house.policy = replace(POLICY, hash="p2")
        else:
            house.directory = replace(house.directory, groups={SubjectId("alice"): frozenset({"dba"})})
        assert await publisher.renew()
        assert [entry["revision"] for entry in house.published()] == [1, 2]
        assert publisher.content_of("1") == 1
        assert publisher.content_of("2") == publisher.content_revision == 2

    run(scenario)


def test_what_goes_wrong_leaves_the_last_good_one() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        await publisher.renew()
        house.policy = Malformed("it does not compile")
        house.read(shift("PBOB"))
        assert not await publisher.renew()
        assert publisher.problem == "it does not compile"
        assert publisher.current is not None
        assert publisher.current.revision == 1

    run(scenario)


# -- revisions


def test_revisions_grow_over_restarts_and_no_older_bundle_comes_back() -> None:
    async def scenario() -> None:
        house = House(shift())
        first = house.start()
        await first.renew()
        house.read(shift("PBOB"))
        await first.renew()
        old = await first.pull([])
        again = house.start()
        with pytest.raises(Unavailable):
            await again.pull([old.etag])
        await again.renew()
        new = await again.pull([old.etag])
        assert new.kind is Kind.SNAPSHOT, "what the last run handed out is not remembered, so there is no delta from it"
        assert files_of(new.body)[".manifest"]["revision"] == "3"
        assert again.content_revision == 2, "the same content as before the restart"
        assert again.content_of("2") == 2
        assert len(house.published()) == 2

    run(scenario)


def test_the_revision_is_kept_before_anybody_sees_it() -> None:
    async def scenario() -> None:
        house = House(shift())
        seen: list[int] = []

        class Watching(DictMemory):
            async def remember(self, name: str, value: Any) -> None:
                seen.append(0 if publisher.current is None else publisher.current.revision)
                await super().remember(name, value)

        house.memory = Watching()
        publisher = house.start()
        await publisher.renew()
        assert seen == [0]
        assert house.memory.recall("bundle/prod")["revision"] == 1

    run(scenario)


def test_a_disk_that_fails_keeps_no_change_from_the_opas() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        await publisher.renew()
        house.memory.fails = house.audit.fails = True
        house.read(shift("PBOB"))
        assert await publisher.renew(), "the newer roster may be the one that takes access away"
        assert (publisher.current.revision if publisher.current else 0) == 2

    run(scenario)


def test_what_is_known_of_revisions_that_are_none() -> None:
    publisher = House(shift()).start()
    for text in ("", "x", "-1", "9" * 40, "١"):
        assert publisher.content_of(text) == 0


# -- handing out


def test_an_opa_that_has_it_is_told_so() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        assert await publisher.pull([etag]) == Handout(kind=Kind.UNCHANGED, etag=etag)
        assert (await publisher.pull(['"another"'])).kind is Kind.SNAPSHOT

    run(scenario)


async def waiting(publisher: PublishBundle, etags: list[str], *, deltas: bool = True) -> "asyncio.Task[Handout]":
    task = asyncio.create_task(publisher.pull(etags, wait=30.0, takes_deltas=deltas))
    for _ in range(5):
        await asyncio.sleep(0)
    assert publisher.waiting == 1
    return task


def test_an_opa_that_waits_gets_the_change_as_it_happens() -> None:
    async def scenario() -> None:
        house = House(*MANY)
        publisher = house.start()
        await publisher.renew()
        task = await waiting(publisher, [(await publisher.pull([])).etag])
        house.read(*MANY, shift("PBOB"))
        await publisher.renew()
        handout = await task
        assert handout.kind is Kind.DELTA
        files = files_of(handout.body)
        assert files[".manifest"] == {"revision": "2", "roots": ["watchkey"]}
        paths = [operation["path"] for operation in files["patch.json"]["data"]]
        assert "/watchkey/roster/pager/shifts/PBOB" in paths
        assert not any("/shifts/P1" in path for path in paths)
        assert publisher.waiting == 0

    run(scenario)


def test_an_opa_that_waits_for_the_first_bundle_gets_it() -> None:
    async def scenario() -> None:
        house = House()
        publisher = house.start()
        task = await waiting(publisher, [])
        house.read(shift())
        await publisher.renew()
        assert (await task).kind is Kind.SNAPSHOT

    run(scenario)


def test_nobody_waits_longer_than_he_asked_for() -> None:
    async def scenario() -> None:
        publisher = House(shift()).start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        assert (await publisher.pull([etag], wait=0.01)).kind is Kind.UNCHANGED
        assert publisher.waiting == 0

    run(scenario)


def test_a_delta_is_for_who_asks_knows_a_remembered_revision_and_may() -> None:
    async def scenario() -> None:
        house = House(*MANY)
        publisher = house.start()
        await publisher.renew()
        first = (await publisher.pull([])).etag
        house.read(*MANY, shift("PBOB"))
        await publisher.renew()
        second = (await publisher.pull([])).etag
        house.read(*MANY)
        await publisher.renew()
        for etag in (first, second):
            assert (await publisher.pull([etag], takes_deltas=True)).kind is Kind.DELTA
            assert (await publisher.pull([etag])).kind is Kind.SNAPSHOT
        assert (await publisher.pull(['"0-x"'], takes_deltas=True)).kind is Kind.SNAPSHOT
        assert (await publisher.pull([], takes_deltas=True)).kind is Kind.SNAPSHOT
        signed = House(*MANY, fleet=replace(FLEET, deltas=False))
        publisher = signed.start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        signed.read(*MANY, shift("PBOB"))
        await publisher.renew()
        assert (await publisher.pull([etag], takes_deltas=True)).kind is Kind.SNAPSHOT

    run(scenario)


def test_a_changed_policy_is_never_a_delta() -> None:
    async def scenario() -> None:
        house = House(*MANY)
        publisher = house.start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        house.policy = replace(POLICY, hash="p2")
        await publisher.renew()
        assert (await publisher.pull([etag], takes_deltas=True)).kind is Kind.SNAPSHOT

    run(scenario)


def test_too_many_that_wait_are_turned_away() -> None:
    async def scenario() -> None:
        publisher = House(shift(), fleet=replace(FLEET, waiting_max=1)).start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        task = await waiting(publisher, [etag])
        with pytest.raises(Unavailable, match="wait already"):
            await publisher.pull([etag], wait=5.0)
        assert publisher.counts.turned_away == 1
        assert (await publisher.pull([etag])).kind is Kind.UNCHANGED, "asking without waiting is always possible"
        publisher.release()
        await task

    run(scenario)


def test_those_who_wait_are_let_go_when_the_service_stops() -> None:
    async def scenario() -> None:
        publisher = House(shift()).start()
        await publisher.renew()
        etag = (await publisher.pull([])).etag
        task = await waiting(publisher, [etag])
        publisher.release()
        assert (await task).kind is Kind.UNCHANGED
        assert (await publisher.pull([etag], wait=30.0)).kind is Kind.UNCHANGED, "and nobody waits any more"

    run(scenario)


def test_it_looks_when_it_is_told_to() -> None:
    async def scenario() -> None:
        house = House(shift())
        publisher = house.start()
        task = asyncio.create_task(publisher.run())
        await house.clock.run(timedelta(seconds=0))
        assert publisher.current is not None
        house.read(shift("PBOB"))
        publisher.look(SOURCE, "a change")
        await house.clock.run(timedelta(seconds=0))
        assert publisher.current.revision == 2
        task.cancel()

    run(scenario)


def test_a_large_roster_is_made_beside_the_loop() -> None:
    async def scenario() -> None:
        turns = [
            shift(f"P{i % 40}", starts_at=NOW + i * HOUR, ends_at=NOW + (i + 1) * HOUR, schedule=f"s{i % 40}")
            for i in range(2100)
        ]
        publisher = House(*turns).start()
        await publisher.renew()
        data = files_of((await publisher.pull([])).body)["watchkey/roster/pager/data.json"]
        assert sum(len(mine) for mine in data["shifts"].values()) == 2100

    run(scenario)
