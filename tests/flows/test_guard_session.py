"""Leases in virtual time: a year of handoffs would take a second."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from tests.fakes.target import FUNCTION, MemoryTarget
from tests.fakes.watch import ScriptedWatch
from watchkey.flows.guard_session import (
    Admitted,
    Deciding,
    Entry,
    GuardRules,
    GuardSessions,
    Protected,
    TurnedAway,
)  # fmt: skip
from watchkey.model.access import Caller, Reason, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SubjectId
from watchkey.model.lease import Lease, LeaseId, LeaseState

ALICE, BOB = "alice@example.com", "bob@example.com"
ORDERS, BILLING = ResourceId("orders-db"), ResourceId("billing-db")
SSO = Caller(id=CallerId("sso"), resources=None, is_trusted=True)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Door:
    """Keeps what it was told, with the instant."""

    def __init__(self, clock: DrivenClock) -> None:
        self._clock = clock
        self.ended: list[tuple[LeaseId, str]] = []
        self.ended_at: dict[LeaseId, Any] = {}
        self.warned: list[str] = []
        self.renewals: list[tuple[Lease, str]] = []

    def end(self, lease: LeaseId, sentence: str) -> int:
        self.ended.append((lease, sentence))
        self.ended_at[lease] = self._clock.now()
        return 1

    def renewed(self, lease: Lease, words: str) -> None:
        self.renewals.append((lease, words))

    async def told(self, leases: Sequence[LeaseId]) -> None:
        del leases

    def warn(self, lease: LeaseId, sentence: str) -> None:
        del lease
        self.warned.append(sentence)


class Scene:
    def __init__(self, **rules: Any) -> None:
        self.clock, self.audit = DrivenClock(), MemoryAudit()
        self.watch = ScriptedWatch(self.clock)
        self.target, self.billing = MemoryTarget(self.clock), MemoryTarget(self.clock)
        self.door = Door(self.clock)
        numbers = itertools.count(1)
        both = (PrivilegeName("read"), PrivilegeName("write"))
        self.guard = GuardSessions(
            deciding=Deciding(
                decide=self.watch.decide,
                foresee=self.watch.foresee,
                caller=Caller(id=CallerId("gateway"), resources=None, is_trusted=True),
            ),
            protected={
                ORDERS: Protected(target=self.target, privileges=both),
                BILLING: Protected(target=self.billing, privileges=both),
            },
            audit=self.audit,
            clock=self.clock,
            new_id=lambda: f"{next(numbers):016x}",
            rules=GuardRules(**rules),
        )
        self.guard.door = self.door

    async def enter(
        self,
        subject: str = ALICE,
        *,
        resource: ResourceId = ORDERS,
        privileges: tuple[str, ...] | None = None,
        issuer: Caller = SSO,
    ) -> Admitted | TurnedAway:
        wanted = None if privileges is None else tuple(map(PrivilegeName, privileges))
        return await self.guard.admit(
            Entry(
                subject=Subject(id=SubjectId(subject)),
                issuer=issuer,
                resource=resource,
                privileges=wanted,
                client="127.0.0.1:5",
            )
        )

    async def admitted(self, subject: str = ALICE, **more: Any) -> Admitted:
        answer = await self.enter(subject, **more)
        assert isinstance(answer, Admitted), answer
        return answer

    def notes(self) -> list[str]:
        return [event.what for event in self.audit.events if isinstance(event, Noted)]

    def noted(self, what: str) -> list[Noted]:
        return [event for event in self.audit.events if isinstance(event, Noted) and event.what == what]


def play(story: Callable[[Scene], Coroutine[Any, Any, None]], **rules: Any) -> Scene:
    """Run a story with the guard watching."""
    scene = Scene(**rules)

    async def run() -> None:
        watching = asyncio.create_task(scene.guard.run())
        try:
            await story(scene)
        finally:
            watching.cancel()
            for task in scene.guard._tasks:
                task.cancel()
            await asyncio.gather(watching, *scene.guard._tasks, return_exceptions=True)

    asyncio.run(run())
    return scene


def test_a_caller_says_who_somebody_is_on_its_own_resources_only() -> None:
    narrow = Caller(id=CallerId("billing-sso"), resources=frozenset({BILLING}), is_trusted=True)

    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        answer = await scene.enter(issuer=narrow)
        assert isinstance(answer, TurnedAway)
        assert (answer.reason, answer.is_fault) == (Reason.CALLER_NOT_ALLOWED, False)
        assert "billing-sso" in answer.sentence
        assert "billing-sso" in scene.noted("lease.not_granted")[0].fields["error"]
        assert (scene.watch.asked, scene.target.leases) == ([], {})
        await scene.admitted()  # a lease that is there already opens nothing to it either
        assert isinstance(await scene.enter(issuer=narrow), TurnedAway)
        await scene.admitted(issuer=narrow, resource=BILLING)

    play(story)


def test_nobody_gets_in_without_a_decision_and_nothing_is_made_on_the_target() -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.enter()
        assert isinstance(answer, TurnedAway)
        assert (answer.sentence, answer.reason, answer.is_fault) == (scene.watch.sentence, "not_on_call", False)

    scene = play(story)
    assert scene.target.calls == []
    assert scene.notes() == []


def test_what_is_allowed_is_granted_and_the_intent_is_recorded_before_the_effect() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", "write", until=scene.clock.now() + HOUR)
        seen: list[list[str]] = []
        grant = scene.target.grant

        async def spy(lease: Any) -> Any:
            seen.append(scene.notes())
            return await grant(lease)

        scene.target.grant = spy  # type: ignore[method-assign]  a look at the order, the fake does the work
        admitted = await scene.admitted()
        assert admitted.lease.privileges == ("read", "write")
        assert admitted.lease.ends_at == scene.clock.now() + HOUR
        assert seen == [["lease.granting"]]

    assert play(story).notes() == ["lease.granting", "lease.opened"]


def test_only_the_privileges_that_are_allowed_and_only_to_the_earliest_end() -> None:
    async def story(scene: Scene) -> None:
        now = scene.clock.now()
        scene.watch.allow(ALICE, "read", until=now + HOUR)
        assert (await scene.admitted()).lease.privileges == ("read",)
        scene.watch.allow(ALICE, "write", until=now + MINUTE)
        lease = (await scene.admitted()).lease
        assert (lease.privileges, lease.ends_at) == (("read", "write"), now + MINUTE)

    play(story)


def test_asking_for_named_privileges_is_all_or_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        assert isinstance(await scene.enter(privileges=("read", "write")), TurnedAway)
        assert (await scene.admitted(privileges=("read",))).lease.privileges == ("read",)

    play(story)


def test_sessions_of_one_person_share_a_lease_and_people_never_do() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        scene.watch.allow(BOB, "read")
        one, two, other = await asyncio.gather(scene.admitted(), scene.admitted(), scene.admitted(BOB))
        assert one.lease.id == two.lease.id != other.lease.id
        assert scene.target.calls.count("grant") == 2

    play(story)


def test_a_planned_end_comes_at_its_instant_without_asking_again() -> None:
    async def story(scene: Scene) -> None:
        end = scene.clock.now() + timedelta(minutes=30)
        scene.watch.allow(ALICE, "read", until=end)
        lease = (await scene.admitted()).lease
        await scene.clock.run(timedelta(minutes=30) - timedelta(milliseconds=1))
        assert scene.door.ended == []
        await scene.clock.run(timedelta(milliseconds=1))
        assert scene.door.ended_at == {lease.id: end}
        await scene.clock.run(SECOND)
        assert scene.target.leases == {}
        assert scene.notes()[-2:] == ["lease.ending", "lease.ended"]
        assert scene.guard.held == ()

    scene = play(story)
    assert scene.watch.sentence in scene.door.ended[0][1]


def test_an_allow_that_runs_out_is_renewed_while_the_facts_hold() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + HOUR)
        lease = (await scene.admitted()).lease
        await scene.clock.run(timedelta(minutes=59))
        assert scene.door.ended == []
        assert scene.target.leases[lease.id].ends_at == scene.guard.held[0].lease.ends_at
        assert len(scene.noted("lease.renewed")) >= 5
        await scene.clock.run(MINUTE)
        assert [ended for ended, _ in scene.door.ended] == [lease.id]

    play(story)


def test_the_question_of_a_renewal_is_never_the_one_that_was_answered_before() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + HOUR)
        await scene.admitted(privileges=("read",))
        await scene.clock.run(timedelta(minutes=30))
        contexts = [tuple(sorted(request.context.items())) for request in scene.watch.asked]
        assert len(set(contexts)) == len(contexts) >= 3

    play(story)


def test_an_unplanned_end_comes_with_the_roster_that_says_so() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", "write")
        scene.watch.allow(BOB, "read", "write")
        lease = (await scene.admitted()).lease
        await scene.admitted(BOB)
        scene.watch.take(ALICE)
        await scene.clock.run(MINUTE)
        assert scene.door.ended == []
        scene.guard.roster_changed()
        await scene.clock.run(SECOND)
        assert scene.door.ended == [(lease.id, scene.watch.sentence)]

    play(story)


def test_a_swap_that_is_told_of_ends_sessions_without_waiting_for_the_next_look() -> None:
    scene = Scene()

    async def run() -> None:  # nobody looks: `run` is not running
        scene.watch.allow(ALICE, "read", "write")
        lease = (await scene.admitted()).lease
        scene.watch.take(ALICE)
        scene.guard.roster_changed()
        await asyncio.sleep(0.05)
        assert scene.door.ended == [(lease.id, scene.watch.sentence)]
        await asyncio.gather(*scene.guard._tasks)

    asyncio.run(run())


def test_a_swap_during_a_look_is_looked_at_when_that_look_is_done() -> None:
    scene = Scene()

    async def run() -> None:
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted(privileges=("read",))).lease
        allowed, go_on = scene.watch.decide, asyncio.Event()

        async def slowly(request: Any, caller: Any) -> Any:
            decision = await allowed(request, caller)  # on the old roster
            await go_on.wait()
            return decision

        scene.guard._deciding = replace(scene.guard._deciding, decide=slowly)
        scene.guard.roster_changed()
        await asyncio.sleep(0.01)
        scene.watch.take(ALICE)
        scene.guard.roster_changed()
        go_on.set()
        await asyncio.sleep(0.05)
        assert scene.door.ended == [(lease.id, scene.watch.sentence)]
        await asyncio.gather(*scene.guard._tasks)

    asyncio.run(run())


def test_losing_one_of_two_privileges_ends_the_session() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", "write")
        await scene.admitted()
        del scene.watch.ends[ALICE, "write"]
        scene.guard.roster_changed()
        await scene.clock.run(SECOND)
        assert len(scene.door.ended) == 1

    play(story)


def test_a_check_that_fails_gives_nothing_and_takes_nothing() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted()).lease
        scene.watch.fails = True
        scene.guard.roster_changed()
        await scene.clock.run(timedelta(minutes=10) - SECOND)
        assert scene.door.ended == []
        await scene.clock.run(SECOND)
        assert [ended for ended, _ in scene.door.ended] == [lease.id]

    play(story)


UNANSWERED = [Reason.POLICY_UNREACHABLE, Reason.POLICY_OVER_BUDGET]


@pytest.mark.parametrize("reason", UNANSWERED)
def test_a_policy_that_gives_no_answer_gives_nothing_and_takes_nothing(reason: Reason) -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted()).lease
        scene.watch.unanswered = {"read": reason}
        scene.guard.roster_changed()
        await scene.clock.run(timedelta(minutes=10) - SECOND)
        assert scene.door.ended == []
        assert scene.guard.held[0].lease.ends_at == lease.ends_at
        await scene.clock.run(SECOND)
        assert [ended for ended, _ in scene.door.ended] == [lease.id]

    play(story)


def test_a_policy_that_answers_again_goes_on_deciding() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read")
        scene.watch.allow(BOB, "read")
        lease = (await scene.admitted()).lease
        bobs = (await scene.admitted(BOB)).lease
        scene.watch.unanswered = {"read": Reason.POLICY_UNREACHABLE}
        scene.guard.roster_changed()
        await scene.clock.run(MINUTE)
        scene.watch.unanswered = {}
        scene.watch.take(BOB)
        await scene.clock.run(6 * SECOND)
        assert scene.door.ended == [(bobs.id, scene.watch.sentence)], "it was asked for again without another reason"
        assert next(held for held in scene.guard.held if held.lease.id == lease.id).lease.ends_at > lease.ends_at

    play(story)


@pytest.mark.parametrize("silent", ["read", "write"])
def test_a_fact_that_is_gone_ends_the_session_though_the_policy_is_silent_on_another_privilege(silent: str) -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", "write")
        lease = (await scene.admitted()).lease
        scene.watch.unanswered = {silent: Reason.POLICY_UNREACHABLE}
        del scene.watch.ends[ALICE, "write" if silent == "read" else "read"]
        scene.guard.roster_changed()
        await scene.clock.run(SECOND)
        assert scene.door.ended == [(lease.id, scene.watch.sentence)]

    play(story)


def test_a_policy_that_gives_no_answer_lets_nobody_in() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        scene.watch.unanswered = {"read": Reason.POLICY_UNREACHABLE}
        turned = await scene.enter()
        assert isinstance(turned, TurnedAway)
        assert (turned.reason, turned.is_fault) == (Reason.POLICY_UNREACHABLE, True)

    play(story)


def test_an_end_that_the_target_did_not_learn_does_not_move() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.ttl = timedelta(minutes=10)
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted()).lease
        scene.target.fails["extend"] = Unavailable("down")
        await scene.clock.run(timedelta(minutes=10))
        assert scene.door.ended_at == {lease.id: lease.ends_at}

    play(story)


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_a_sooner_end_counts_although_the_target_cannot_be_told(fault: str) -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted(privileges=("read",))).lease
        if fault == "fails":
            scene.target.fails["extend"] = Unavailable("cut off")
        else:
            scene.target.hangs.add("extend")
        sooner = scene.clock.now() + 5 * SECOND
        scene.watch.allow(ALICE, "read", until=sooner)
        scene.guard.roster_changed()
        await scene.clock.run(timedelta(minutes=1))
        assert scene.door.ended_at == {lease.id: sooner}

    play(story)


def test_a_target_that_cannot_be_told_hears_of_the_sooner_end_when_it_is_back() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted(privileges=("read",))).lease
        scene.target.fails["extend"] = Unavailable("cut off")
        sooner = scene.clock.now() + 10 * MINUTE
        scene.watch.allow(ALICE, "read", until=sooner)
        scene.guard.roster_changed()
        await scene.clock.run(timedelta(minutes=1))
        assert scene.target.leases[lease.id].ends_at == lease.ends_at
        scene.target.fails.clear()
        await scene.clock.run(timedelta(minutes=2))
        assert scene.target.leases[lease.id].ends_at == sooner

    play(story)


def test_a_target_that_does_not_answer_keeps_no_answer_about_others_waiting() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        scene.watch.allow(BOB, "read")
        await scene.admitted(privileges=("read",))
        bobs = (await scene.admitted(BOB, resource=BILLING, privileges=("read",))).lease
        scene.target.hangs.add("extend")
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + 30 * MINUTE)
        scene.watch.take(BOB)
        taken_at = scene.clock.now()
        scene.guard.roster_changed()
        await scene.clock.run(timedelta(seconds=5))
        assert scene.door.ended_at[bobs.id] - taken_at <= SECOND

    play(story)


@pytest.mark.parametrize("step", [-HOUR, -timedelta(days=365)])
def test_putting_the_wall_clock_back_lengthens_no_lease(step: timedelta) -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + timedelta(minutes=30))
        await scene.admitted()
        scene.clock.set_wall(scene.clock.now() + step)
        await scene.clock.run(timedelta(minutes=30))
        assert len(scene.door.ended) == 1

    play(story)


def test_putting_the_wall_clock_forward_ends_what_it_passes() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + timedelta(minutes=30))
        await scene.admitted()
        scene.clock.set_wall(scene.clock.now() + HOUR)
        await scene.clock.run(SECOND)
        assert len(scene.door.ended) == 1

    play(story)


def test_notices_come_before_a_planned_end_and_each_once() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + timedelta(minutes=30))
        await scene.admitted()
        await scene.clock.run(timedelta(minutes=19))
        assert scene.door.warned == []
        await scene.clock.run(2 * MINUTE)
        assert len(scene.door.warned) == 1
        await scene.clock.run(timedelta(minutes=9))
        assert ["in 10 minutes" in scene.door.warned[0], "in 2 minutes" in scene.door.warned[1]] == [True, True]
        assert len(scene.door.warned) == 2

    play(story)


def test_a_target_that_does_not_answer_keeps_no_other_lease_alive() -> None:
    async def story(scene: Scene) -> None:
        end = scene.clock.now() + MINUTE
        scene.watch.allow(ALICE, "read", until=end)
        one = (await scene.admitted()).lease
        two = (await scene.admitted(resource=BILLING)).lease
        scene.target.hangs = {"shut", "revoke"}
        await scene.clock.run(MINUTE)
        assert scene.door.ended_at == {one.id: end, two.id: end}
        await scene.clock.run(SECOND)
        assert scene.billing.leases == {}

    play(story)


def test_taking_back_never_gives_up_and_shows_why() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + MINUTE)
        lease = (await scene.admitted()).lease
        scene.target.fails = {"shut": Unavailable("down"), "revoke": Unavailable("down")}
        await scene.clock.run(HOUR)
        tries = scene.target.calls.count("revoke")
        assert tries >= 60  # once a minute at least
        (held,) = scene.guard.held
        assert held.state is LeaseState.STUCK
        assert len(scene.noted("lease.stuck")) == 1
        scene.target.fails = {}
        scene.target.stuck = (FUNCTION,)
        await scene.clock.run(2 * MINUTE)
        assert "security_definer in orders: function peek()" in scene.noted("lease.stuck")[-1].fields["residue"]
        assert scene.guard.held[0].ending is not None
        scene.target.stuck = ()
        await scene.clock.run(2 * MINUTE)
        assert scene.target.leases == {}
        assert scene.noted("lease.ended")[-1].fields["lease"] == lease.id

    play(story)


def test_a_full_disk_keeps_no_access_alive() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read", until=scene.clock.now() + MINUTE)
        await scene.admitted()
        scene.audit.fails = True
        await scene.clock.run(MINUTE + SECOND)
        assert len(scene.door.ended) == 1
        assert scene.target.leases == {}

    play(story)


@pytest.mark.parametrize("what", ["intent", "grant", "outcome"])
def test_whatever_breaks_on_the_way_in_is_taken_back(what: str) -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        if what == "grant":
            scene.target.fails["grant"] = Refused("no such role")
        append, count = scene.audit.append, itertools.count()

        async def failing(event: Any) -> int:
            number = next(count)
            if (what, number) in {("intent", 0), ("outcome", 1)}:
                raise Unavailable("the disk is full")
            return await append(event)

        scene.audit.append = failing  # type: ignore[method-assign]  a fault at one call, the fake does the rest
        answer = await scene.enter()
        assert isinstance(answer, TurnedAway)
        assert answer.is_fault
        assert "role" not in answer.sentence
        await scene.clock.run(SECOND)
        assert scene.target.leases == {}
        assert scene.guard.held == ()
        if what == "intent":
            assert "grant" not in scene.target.calls

    play(story)


def test_a_lease_without_sessions_goes_after_a_while() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted()).lease
        scene.guard.left(lease.id)
        await scene.clock.run(timedelta(seconds=29))
        assert (await scene.admitted()).lease.id == lease.id
        scene.guard.left(lease.id)
        await scene.clock.run(timedelta(seconds=32))
        assert scene.target.leases == {}
        scene.guard.left(lease.id)  # late news of what is over

    play(story)


def test_a_person_can_end_a_lease() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        lease = (await scene.admitted()).lease
        assert await scene.guard.end(lease.id, by="carol", why="suspicious")
        assert not await scene.guard.end(lease.id, by="carol", why="again")
        await scene.clock.run(SECOND)
        assert scene.door.ended == [(lease.id, "your access to orders-db was ended by carol: suspicious")]

    play(story)


def test_places_are_bounded_and_the_last_ones_are_for_who_is_in() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        scene.watch.allow(BOB, "read")
        await scene.admitted()
        await scene.admitted()
        full = await scene.enter(BOB)
        assert isinstance(full, TurnedAway)
        assert "full" in full.sentence
        await scene.admitted()
        enough = await scene.enter()
        assert isinstance(enough, TurnedAway)
        assert "limit" in enough.sentence

    play(story, sessions_per_person_max=3, sessions_max=4, reserve=2)


def test_a_resource_has_its_own_places_and_keeps_the_last_for_who_is_in() -> None:
    async def story(scene: Scene) -> None:
        protected = scene.guard._protected[ORDERS]
        scene.guard._protected = {**scene.guard._protected, ORDERS: replace(protected, sessions_max=3, reserve=2)}
        scene.watch.allow(ALICE, "read")
        scene.watch.allow(BOB, "read")
        lease = (await scene.admitted()).lease
        refused = await scene.enter(BOB)
        assert isinstance(refused, TurnedAway)
        assert "orders-db has as many sessions" in refused.sentence
        await scene.admitted(BOB, resource=BILLING)
        await scene.admitted()
        await scene.admitted()
        assert isinstance(await scene.enter(), TurnedAway)
        scene.guard.left(lease.id)
        await scene.admitted()

    play(story)


def test_an_orderly_end_takes_everything_back_and_lets_nobody_in() -> None:
    async def story(scene: Scene) -> None:
        scene.watch.allow(ALICE, "read")
        await scene.admitted()
        await scene.guard.close()
        assert scene.target.leases == {}
        turned_away = await scene.enter()
        assert isinstance(turned_away, TurnedAway)
        assert turned_away.reason == "going_down"

    assert "going down" in play(story).door.ended[0][1]


def test_an_unknown_resource_is_no_resource() -> None:
    async def story(scene: Scene) -> None:
        assert isinstance(await scene.enter(resource=ResourceId("nowhere")), TurnedAway)
        assert scene.watch.asked == []

    play(story)


def test_a_thousand_leases_end_in_one_look() -> None:
    async def story(scene: Scene) -> None:
        end = scene.clock.now() + MINUTE
        people = [f"person{number}@example.com" for number in range(1000)]
        for person in people:
            scene.watch.allow(person, "read", until=end)
            await scene.admitted(person)
        await scene.clock.run(MINUTE)
        assert set(scene.door.ended_at.values()) == {end}
        assert len(scene.door.ended) == 1000
        assert scene.target.calls.count("shut") == 1
        await scene.clock.run(MINUTE)
        assert scene.target.leases == {}

    play(story)
