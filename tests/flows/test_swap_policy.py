"""A changed policy: taken over whole, or not at all and loudly."""

import asyncio
from typing import Any

import pytest

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.engine import ScriptedEngine
from tests.fakes.memory import DictMemory
from watchkey.flows.swap_policy import Candidate, SwapPolicy, older
from watchkey.model.access import Outcome, Verdict
from watchkey.model.audit import Noted, PolicySwapped
from watchkey.model.errors import Malformed
from watchkey.ports import PolicyEngine


def engine(policy_hash: str, revision: int = 1) -> PolicyEngine:
    return ScriptedEngine(Verdict(outcome=Outcome.YES, policy_hash=policy_hash, policy_revision=revision))


def candidate(policy_hash: str, *failures: str, declared: int | None = None) -> Candidate:
    return Candidate(
        policy_hash=policy_hash,
        declared=declared,
        failures=failures,
        engine=lambda revision: engine(policy_hash, revision),
    )


class House:
    def __init__(self, **known: Any) -> None:
        self.audit, self.memory = MemoryAudit(), DictMemory()
        asyncio.run(self.memory.remember("policy/own", {"revision": 4, "hash": "old", **known}))
        self.engines = {"own": engine("old", 4)}
        self.files: Candidate | Exception = candidate("old")
        self.swap = SwapPolicy(
            engines=self.engines, prepare=self._prepare, audit=self.audit, memory=self.memory, clock=DrivenClock()
        )

    async def _prepare(self, name: str) -> Candidate:
        assert name == "own"
        if isinstance(self.files, Exception):
            raise self.files
        return self.files

    def look(self, files: Candidate | Exception) -> bool:
        self.files = files
        return asyncio.run(self.swap.look("own"))

    @property
    def decides(self) -> tuple[str, int]:
        found = self.engines["own"]
        assert isinstance(found, ScriptedEngine)
        return found.verdict.policy_hash, found.verdict.policy_revision


def test_a_good_one_is_taken_over_with_the_next_revision() -> None:
    house = House()
    assert house.look(candidate("new"))
    assert house.decides == ("new", 5)
    (event,) = house.audit.events
    assert isinstance(event, PolicySwapped)
    assert (event.name, event.revision, event.policy_hash) == ("own", 5, "new")
    assert house.memory.recall("policy/own")["revision"] == 5
    assert house.look(candidate("newer"))
    assert house.decides == ("newer", 6)


def test_the_same_one_changes_nothing() -> None:
    house = House()
    assert not house.look(candidate("old"))
    assert (house.decides, house.audit.events) == (("old", 4), [])


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (Malformed("p.rego:1:1: nonsense"), "p.rego:1:1: nonsense"),
        (candidate("new", "test_x: it is false", "test_y: …"), "2 of its tests failed, the first: test_x: it is false"),
    ],
)
def test_a_bad_one_is_not_and_that_is_said_once(files: Candidate | Exception, why: str) -> None:
    house = House()
    for _ in range(3):
        assert not house.look(files)
    assert house.decides == ("old", 4)
    assert house.swap.problems == {"own": why}
    (event,) = house.audit.events
    assert isinstance(event, Noted)
    assert (event.what, event.fields["why"], event.fields["stays"]) == ("policy.kept", why, "old")
    assert not house.look(candidate("old"))  # put back as it was
    assert house.swap.problems == {}


def test_without_the_log_nothing_is_taken_over() -> None:
    house = House()
    house.audit.fails = True
    assert not house.look(candidate("new"))
    assert house.decides == ("old", 4)
    house.audit.fails = False
    assert house.look(candidate("new"))
    assert house.decides == ("new", 5)


@pytest.mark.parametrize(
    ("running", "declared", "is_refused"),
    [(None, None, False), (None, 1, False), (3, 3, False), (3, 4, False), (3, 2, True), (3, None, True)],
)
def test_an_older_one_is_refused(running: int | None, declared: int | None, is_refused: bool) -> None:  # noqa: FBT001
    house = House(declared=running)
    assert house.look(candidate("new", declared=declared)) is not is_refused
    assert (older({"declared": running}, declared) is not None) is is_refused
    if not is_refused:
        assert house.memory.recall("policy/own")["declared"] == declared
