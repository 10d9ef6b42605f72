import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import answer, scripted
from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.model.ids import SourceName
from watchkey.model.oncall import EndKind, Involvement, Provenance, Roster, Shift
from watchkey.model.secret import Secret
from watchkey.simulator import (
    READ_TOKEN,
    WRITE_TOKEN,
    Body,
    CustomShift,
    FlexibleSchedule,
    Layer,
    LayeredSchedule,
    Rotation,
    Rule,
    Simulator,
)
from watchkey.simulator.sample import fill
from watchkey.simulator.world import backdate
from watchkey.sources import pagerduty
from watchkey.sources.pagerduty import Config, PagerDuty, build

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NAME = SourceName("pagerduty-main")


class Rig:
    """A simulator with the sample account (turns of 12 hours, handoffs at noon and midnight), and sources."""

    def __init__(self, sim: Simulator, clock: HastyClock) -> None:
        self.sim, self.world, self.clock = sim, sim.world, clock
        self.sources: list[PagerDuty] = []

    def source(self, token: str = READ_TOKEN, **options: Any) -> PagerDuty:
        config = Config(token=Secret(token), base_url=self.sim.base_url, **options)
        self.sources.append(PagerDuty(config, name=NAME, clock=self.clock))
        return self.sources[-1]

    async def fetch(self, window: timedelta = DAY, **options: Any) -> Roster:
        return await self.source(**options).fetch(now=self.clock.now(), window=window)

    def asked(self, path: str) -> int:
        return sum(1 for each, _ in self.sim.api.requests if each == path)


def play(test: Callable[[Rig], Awaitable[None]], *, empty: bool = False) -> None:
    async def go() -> None:
        async with Simulator(start=NOW) as sim:
            rig = Rig(sim, HastyClock(NOW))
            if not empty:
                fill(sim.world, turn=12 * HOUR)
            try:
                await test(rig)
            finally:
                for source in rig.sources:
                    await source.close()

    asyncio.run(go())


def shifts_of(roster: Roster, person: str, schedule: str | None) -> list[Shift]:
    return [shift for shift in roster.shifts if shift.person == person and shift.schedule == schedule]


def many_policies(rig: Rig, count: int) -> None:
    """One permanent target each: `count` rows of on-calls."""
    for number in range(count):
        rig.world.add_policy(f"E{number}", f"Policy {number}", [Rule(users=["PALICE"])])


def test_the_sample_account_becomes_a_roster() -> None:
    async def test(rig: Rig) -> None:
        roster = await rig.fetch()
        assert roster.source == NAME
        assert roster.taken_at == NOW
        assert roster.window_ends_at == NOW + DAY
        assert {str(person.id): person.emails for person in roster.people}["PALICE"] == ("alice@example.com",)
        assert {service.id: service.policy for service in roster.services} == {"SVORDERS": "EPAY", "SVCHECKOUT": "EPAY"}
        assert roster.policies[0].schedules_by_level == (("SPRIMARY",), ("SSECOND",), ())
        assert {schedule.id for schedule in roster.schedules} == {"SPRIMARY", "SSECOND"}
        now = [shift for shift in roster.shifts if shift.covers(NOW)]
        assert {(shift.person, shift.level) for shift in now} == {("PBOB", 1), ("PALICE", 2), ("PMANAGER", 3)}
        [primary] = shifts_of(roster, "PBOB", "SPRIMARY")
        assert (primary.starts_at, primary.ends_at, primary.end_kind) == (NOW, NOW + 12 * HOUR, EndKind.EXACT)

    play(test)


def test_the_request_is_what_the_contract_asks_for() -> None:
    async def read() -> None:
        async with scripted([answer(403), answer(401)]) as server:
            source = build(Config(token=Secret("tok"), base_url=server.url), name=NAME, clock=HastyClock(NOW))
            with pytest.raises(Refused, match="401"):
                await source.fetch(now=NOW, window=DAY)
            await source.close()
        for request in server.requests:
            assert b"\r\nAuthorization: Token token=tok\r\n" in request
            assert b"\r\nAccept: application/vnd.pagerduty+json;version=2\r\n" in request
        assert server.requests[1].startswith(
            b"GET /oncalls?since=2026-07-01T12%3A00%3A00Z&until=2026-07-02T12%3A00%3A00Z&total=true&limit=100&offset=0 "
        )

    asyncio.run(read())


@pytest.mark.parametrize("rows", [0, 1, 100, 101, 250])
def test_n_on_calls_cost_a_hundredth_of_n_requests(rows: int) -> None:
    async def test(rig: Rig) -> None:
        rig.world.add_user("PALICE", "Alice", "alice@example.com")
        many_policies(rig, rows)
        roster = await rig.fetch()
        assert len(roster.shifts) == rows
        assert rig.asked("/oncalls") == max(1, -(-rows // 100))

    play(test, empty=True)


def test_more_than_ten_thousand_rows_are_an_error_not_a_shorter_list() -> None:
    async def test(rig: Rig) -> None:
        rig.world.add_user("PALICE", "Alice", "alice@example.com")
        many_policies(rig, 10_001)
        with pytest.raises(Malformed, match=r"/oncalls has more than 10000 rows.*narrow"):
            await rig.fetch(allow_writable_token=True)
        assert rig.asked("/oncalls") == 100

    play(test, empty=True)


def test_a_row_that_moves_between_two_pages_is_read_again() -> None:
    async def test(rig: Rig) -> None:
        many_policies(rig, 150)

        def insert_once(path: str, offset: int) -> None:
            if path == "/oncalls" and offset == 100:
                rig.sim.faults.before_answer = None
                rig.world.policies = {
                    "E": rig.world.add_policy("E", "First", [Rule(users=["PBOB"])]),
                    **rig.world.policies,
                }

        rig.sim.faults.before_answer = insert_once
        roster = await rig.fetch()
        assert len({shift.policy for shift in roster.shifts}) == 152
        assert rig.asked("/oncalls") == 4

    play(test)


def test_a_row_that_is_deleted_between_two_pages_hides_nobody() -> None:
    async def test(rig: Rig) -> None:
        many_policies(rig, 150)

        def delete_once(path: str, offset: int) -> None:
            if path == "/oncalls" and offset == 100:
                rig.sim.faults.before_answer = None
                del rig.world.policies["E3"]
                rig.world.version += 1

        rig.sim.faults.before_answer = delete_once
        roster = await rig.fetch()
        assert {shift.policy for shift in roster.shifts} == {"EPAY", *(f"E{n}" for n in range(150) if n != 3)}

    play(test)


def test_an_account_that_never_stands_still_gives_no_roster() -> None:
    async def test(rig: Rig) -> None:
        many_policies(rig, 150)

        def insert(path: str, offset: int) -> None:
            if path == "/oncalls" and offset == 100:
                rig.world.policies = {"N": rig.world.policies["E1"], **rig.world.policies}
                rig.world.add_policy(f"X{len(rig.world.policies)}", "More", [Rule(users=["PBOB"])])

        rig.sim.faults.before_answer = insert
        with pytest.raises(Unavailable, match="changed twice"):
            await rig.fetch()

    play(test)


@pytest.mark.parametrize("reset", [7, None])
def test_a_rate_limit_in_the_middle_of_the_pages_is_waited_for(reset: int | None) -> None:
    async def test(rig: Rig) -> None:
        many_policies(rig, 250)
        rig.sim.faults.rate_limit, rig.sim.faults.rate_limit_reset = 2, reset
        pause = rig.clock.sleep

        async def refill(seconds: float) -> None:
            await pause(seconds)
            rig.sim.faults.refill()

        rig.clock.sleep = refill  # type: ignore[method-assign]  # the minute passes while the source sleeps
        roster = await rig.fetch()
        assert len({shift.policy for shift in roster.shifts}) == 251
        assert all(seconds >= (reset or 0.1) for seconds in rig.clock.slept)
        assert rig.clock.slept

    play(test)


def test_an_endless_rate_limit_is_unavailable_and_says_for_how_long() -> None:
    async def test(rig: Rig) -> None:
        rig.sim.faults.rate_limit, rig.sim.faults.rate_limit_reset = 0, 40
        with pytest.raises(Unavailable) as error:
            await rig.fetch()
        assert error.value.retry_after == 40
        assert rig.asked("/oncalls") <= 3

    play(test)


PATHS = ["/oncalls", "/incidents", "/escalation_policies", "/services", "/schedules", "/v3/schedules", "/users"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"status": 401}, Refused, "not accepted"),
        ({"status": 403}, Refused, "may not read"),
        ({"status": 404}, Refused, "no such thing"),
        ({"status": 503}, Unavailable, "503"),
        ({"body": Body.TRUNCATED}, Malformed, "cut-off JSON"),
        ({"body": Body.HTML}, Malformed, "HTML"),
        ({"body": Body.EMPTY}, Malformed, "nothing"),
        ({"body": Body.UNKNOWN}, Malformed, "unknown shape"),
    ],
)
def test_half_a_sync_is_no_sync(path: str, fault: dict[str, Any], kind: type[PortError], words: str) -> None:
    async def test(rig: Rig) -> None:
        source = rig.source()
        before = await source.fetch(now=NOW, window=DAY)
        rig.sim.faults.only = path
        for name, value in fault.items():
            setattr(rig.sim.faults, name, value)
        with pytest.raises(kind, match=words) as error:
            await source.fetch(now=NOW, window=DAY)
        assert type(error.value) is kind
        assert path in str(error.value)
        assert READ_TOKEN not in str(error.value)
        rig.sim.faults.clear()
        after = await source.fetch(now=NOW, window=DAY)
        assert (after.shifts, after.people, after.services) == (before.shifts, before.people, before.services)

    play(test)


@pytest.mark.parametrize("fault", [{"hang": True}, {"body": Body.ENDLESS}], ids=["no answer", "slow body"])
def test_what_takes_too_long_is_unavailable(fault: dict[str, Any]) -> None:
    async def test(rig: Rig) -> None:
        rig.sim.faults.only, rig.sim.faults.times = "/services", 4
        for name, value in fault.items():
            setattr(rig.sim.faults, name, value)
        with pytest.raises(Unavailable, match=r"/services gave no complete answer within 0\.05 s"):
            await rig.fetch(request_timeout=timedelta(seconds=0.05))

    play(test)


def test_nobody_on_call_is_an_answer() -> None:
    async def test(rig: Rig) -> None:
        roster = await rig.fetch()
        assert (roster.shifts, roster.people, roster.services) == ((), (), ())
        rig.world.add_user("PALICE", "Alice", "alice@example.com")
        gap = LayeredSchedule(
            id="S", name="Gap", layers=[Layer(id="L", users=["PALICE"], start=NOW + 2 * DAY, turn=DAY)]
        )
        rig.world.add_schedule(gap)
        rig.world.add_policy("E", "Gap", [Rule(schedules=["S"])])
        assert (await rig.fetch()).shifts == ()

    play(test, empty=True)


@pytest.mark.parametrize("key", ["schedules", "services", "escalation_policies"])
def test_a_named_object_that_does_not_exist_is_refused_by_name(key: str) -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(Refused, match=rf"{key}.*PNOSUCH"):
            await rig.fetch(DAY, **{key: ("PNOSUCH",)})

    play(test)


def test_a_permanent_target_has_no_end_and_its_own_grade() -> None:
    async def test(rig: Rig) -> None:
        [permanent] = shifts_of(await rig.fetch(), "PMANAGER", None)
        assert (permanent.starts_at, permanent.ends_at, permanent.level) == (None, None, 3)
        assert permanent.end_kind is EndKind.PERMANENT
        assert permanent.provenance is Provenance.PERMANENT

    play(test)


def test_the_end_of_the_window_is_no_end_of_a_shift() -> None:
    async def test(rig: Rig) -> None:
        for window, kind in (
            (11 * HOUR, EndKind.TRUNCATED),
            (12 * HOUR, EndKind.TRUNCATED),
            (13 * HOUR, EndKind.EXACT),
        ):
            [shift] = shifts_of(await rig.fetch(window), "PBOB", "SPRIMARY")
            assert (shift.ends_at, shift.end_kind) == (NOW + 12 * HOUR, kind)

    play(test)


def test_two_reads_of_an_unchanged_rota_are_equal_while_time_passes() -> None:
    async def test(rig: Rig) -> None:
        rig.world.override("SPRIMARY", "PCAROL", NOW - HOUR, NOW + 3 * HOUR)
        first = await rig.fetch(5 * HOUR)
        rig.clock.advance(HOUR)
        rig.sim.clock.advance(HOUR)
        second = await rig.fetch(4 * HOUR)
        assert first.shifts == second.shifts

    play(test)


def test_windows_that_pagerduty_cannot_answer_are_refused() -> None:
    async def test(rig: Rig) -> None:
        for window in (timedelta(0), -HOUR, timedelta(days=91)):
            with pytest.raises(Refused, match="90 days"):
                await rig.fetch(window)
        assert rig.sim.api.requests == []

    play(test)


def test_a_deleted_user_stays_on_call_as_an_inactive_person() -> None:
    async def test(rig: Rig) -> None:
        rig.world.delete_user("PBOB")
        roster = await rig.fetch()
        assert shifts_of(roster, "PBOB", "SPRIMARY")
        assert [person.active for person in roster.people if person.id == "PBOB"] == [False]

    play(test)


def test_ids_of_different_kinds_may_be_the_same() -> None:
    async def test(rig: Rig) -> None:
        world = rig.world
        world.add_user("PX", "Xenia", "x@example.com")
        world.add_schedule(
            LayeredSchedule(id="PX", name="X", layers=[Layer(id="PX", users=["PX"], start=NOW - DAY, turn=DAY)])
        )
        world.add_policy("PX", "X", [Rule(schedules=["PX"], users=["PX"])])
        world.add_service("PX", "X", "PX")
        roster = await rig.fetch()
        mine = [shift for shift in roster.shifts if shift.policy == "PX"]
        assert {(shift.person, shift.schedule) for shift in mine} == {("PX", "PX"), ("PX", None)}
        assert [service.policy for service in roster.services if service.id == "PX"] == ["PX"]
        assert [policy.schedules_by_level for policy in roster.policies if policy.id == "PX"] == [(("PX",),)]

    play(test)


def test_one_level_through_two_schedules_and_two_levels_are_all_kept() -> None:
    async def test(rig: Rig) -> None:
        rig.world.add_policy("E2", "Twice", [Rule(schedules=["SPRIMARY", "SPRIMARY"]), Rule(schedules=["SPRIMARY"])])
        roster = await rig.fetch(HOUR)
        bob = [(shift.policy, shift.level) for shift in roster.shifts if shift.person == "PBOB"]
        assert sorted(bob) == [("E2", 1), ("E2", 2), ("EPAY", 1)]

    play(test)


def test_filters_narrow_what_is_asked_and_what_is_kept() -> None:
    async def test(rig: Rig) -> None:
        rig.world.add_policy("EOTHER", "Other", [Rule(users=["PCAROL"])])
        rig.world.add_service("SVOTHER", "Other", "EOTHER")
        rig.world.trigger("SVORDERS")
        rig.world.trigger("SVOTHER")
        roster = await rig.fetch(escalation_policies=("EOTHER",), services=("SVOTHER",))
        assert [shift.person for shift in roster.shifts] == ["PCAROL"]
        assert [policy.id for policy in roster.policies] == ["EOTHER"]
        assert [service.id for service in roster.services] == ["SVOTHER"]
        assert [incident.service for incident in roster.incidents] == ["SVOTHER"]

    play(test)


# Incidents


def test_only_people_who_took_part_are_responders() -> None:
    async def test(rig: Rig) -> None:
        world = rig.world
        incident = world.trigger("SVORDERS")
        assert incident
        world.acknowledge(incident, "PBOB")
        world.acknowledge(incident, "SVCHECKOUT", kind="service")
        for person, state in (("PALICE", "joined"), ("PCAROL", "declined"), ("PMANAGER", "pending")):
            world.request_responder(incident, person, "PBOB")
            world.answer_request(incident, person, state)  # type: ignore[arg-type]  # the states, spelt out
        [found] = (await rig.fetch()).incidents
        assert {(each.person, each.involvement) for each in found.responders} == {
            ("PBOB", Involvement.ASSIGNED),
            ("PBOB", Involvement.ACKNOWLEDGED),
            ("PALICE", Involvement.JOINED),
            ("PCAROL", Involvement.DECLINED),
            ("PMANAGER", Involvement.REQUESTED),
        }
        assert (found.service, found.policy, found.escalation_level, found.opened_by) == ("SVORDERS", "EPAY", 1, None)

    play(test)


def test_an_incident_ends_with_its_resolution_and_not_with_its_age() -> None:
    async def test(rig: Rig) -> None:
        old = rig.world.trigger("SVORDERS")
        assert old
        backdate(rig.world.incidents[old], timedelta(days=200))
        assert [incident.id for incident in (await rig.fetch()).incidents] == [old]
        rig.world.resolve(old, "PBOB")
        assert (await rig.fetch()).incidents == ()
        assert (await rig.fetch(incidents=False)).incidents == ()
        assert rig.asked("/incidents") == 2

    play(test)


def test_who_opened_an_incident_by_hand_is_known() -> None:
    async def test(rig: Rig) -> None:
        rig.world.trigger("SVORDERS", by="PCAROL")
        [found] = (await rig.fetch()).incidents
        assert found.opened_by == "PCAROL"

    play(test)


def test_the_level_follows_the_escalation_and_not_a_direct_assignment() -> None:
    async def test(rig: Rig) -> None:
        incident = rig.world.trigger("SVORDERS")
        assert incident
        levels = []
        for step in (
            lambda: None,
            lambda: rig.world.escalate(incident),
            lambda: rig.world.reassign(incident, ["PALICE"], "PBOB"),
        ):
            step()
            [found] = (await rig.fetch()).incidents
            levels.append(found.escalation_level)
        assert levels == [1, 2, None]

    play(test)


def test_how_far_an_incident_has_come_outlives_the_handoff_and_not_the_incident() -> None:
    """Who was assigned at level 2 goes off call: nothing in the next read tells the level any more."""

    async def test(rig: Rig) -> None:
        source = rig.source()
        incident = rig.world.trigger("SVORDERS")
        assert incident
        rig.world.escalate(incident)
        levels = []
        for _ in range(2):
            [found] = (await source.fetch(now=rig.clock.now(), window=DAY)).incidents
            levels.append(found.escalation_level)
            rig.world.reassign(incident, ["PALICE"], "PBOB")
        assert levels == [2, 2]
        [anew] = (await rig.fetch()).incidents
        assert anew.escalation_level is None  # a source that has not seen it cannot tell
        rig.world.resolve(incident, "PBOB")
        assert (await source.fetch(now=rig.clock.now(), window=DAY)).incidents == ()
        assert source._reached == {}

    play(test)


def test_somebody_on_two_levels_does_not_count_as_the_higher_one() -> None:
    async def test(rig: Rig) -> None:
        rig.world.add_policy("EBOTH", "Both", [Rule(users=["PBOB"]), Rule(users=["PBOB"]), Rule(users=["PCAROL"])])
        rig.world.add_service("SVBOTH", "Both", "EBOTH")
        rig.world.trigger("SVBOTH")
        [found] = (await rig.fetch()).incidents
        assert found.escalation_level == 1

    play(test)


# Both kinds of schedules, and where a turn comes from


def flexible(rig: Rig) -> None:
    rotations = [
        Rotation(id="R1", members=["PALICE", "PBOB"], start=NOW - DAY, length=DAY, every_days=1),
        Rotation(id="R2", members=[None, "PCAROL"], start=NOW - DAY, length=DAY, every_days=1),
    ]
    custom = [CustomShift(id="C1", members=["PMANAGER"], start=NOW, end=NOW + HOUR)]
    rig.world.add_schedule(FlexibleSchedule(id="SFLEX", name="Flexible", rotations=rotations, custom_shifts=custom))


def test_a_shift_based_schedule_has_several_people_and_its_empty_member_is_nobody() -> None:
    async def test(rig: Rig) -> None:
        flexible(rig)
        rig.world.add_policy("EFLEX", "Flexible", [Rule(schedules=["SFLEX"])])
        rig.world.override("SFLEX", "PMANAGER", NOW + HOUR, NOW + 2 * HOUR, part="R1")
        roster = await rig.fetch(30 * HOUR)
        now = {shift.person for shift in roster.shifts if shift.schedule == "SFLEX" and shift.covers(NOW)}
        assert now == {"PBOB", "PCAROL", "PMANAGER"}
        later = NOW + 90 * timedelta(minutes=1)
        assert {s.person for s in roster.shifts if s.schedule == "SFLEX" and s.covers(later)} == {"PMANAGER", "PCAROL"}
        tomorrow = {s.person for s in roster.shifts if s.schedule == "SFLEX" and s.covers(NOW + 25 * HOUR)}
        assert tomorrow == {"PALICE"}
        assert rig.asked("/v3/schedules/SFLEX") == 0

    play(test)


@pytest.mark.parametrize("kind", ["layer-based", "shift-based"])
def test_a_schedule_without_a_policy_is_read_when_it_is_named(kind: str) -> None:
    async def test(rig: Rig) -> None:
        if kind == "shift-based":
            flexible(rig)
            schedule, people = "SFLEX", {"PBOB", "PCAROL", "PMANAGER"}
        else:
            layers = [Layer(id="L", users=["PCAROL", "PALICE"], start=NOW - HOUR, turn=DAY)]
            rig.world.add_schedule(LayeredSchedule(id="SALONE", name="Alone", layers=layers))
            schedule, people = "SALONE", {"PCAROL"}
        assert not [shift for shift in (await rig.fetch()).shifts if shift.schedule == schedule]
        roster = await rig.fetch(2 * DAY, schedules=(schedule, "SPRIMARY"))
        alone = [shift for shift in roster.shifts if shift.schedule == schedule]
        assert {shift.person for shift in alone if shift.covers(NOW)} == people
        tomorrow = {shift.person for shift in alone if shift.covers(NOW + 25 * HOUR)}
        assert tomorrow == {"PALICE"}
        assert {(shift.policy, shift.level) for shift in alone} == {(None, None)}
        assert len([shift for shift in shifts_of(roster, "PBOB", "SPRIMARY") if shift.covers(NOW)]) == 1

    play(test)


def test_without_overrides_the_source_leaves_the_grade_to_the_difference_of_reads() -> None:
    async def test(rig: Rig) -> None:
        scheduled = [shift for shift in (await rig.fetch()).shifts if shift.schedule]
        assert {(shift.provenance, shift.created_by) for shift in scheduled} == {(Provenance.UNKNOWN, None)}

    play(test)


@pytest.mark.parametrize(
    ("person", "by", "options", "grade"),
    [
        ("PCAROL", "PCAROL", {}, Provenance.SELF_OVERRIDE),
        ("PCAROL", "PMANAGER", {}, Provenance.SELF_OVERRIDE),
        ("PCAROL", "PCAROL", {"audit": True}, Provenance.SELF_OVERRIDE),
        ("PCAROL", "PMANAGER", {"audit": True}, Provenance.OTHER_OVERRIDE),
        ("PCAROL", "PBOB", {"audit": True}, Provenance.UNKNOWN),
        ("PCAROL", None, {"audit": True}, Provenance.SELF_OVERRIDE),
        ("PCAROL", "PMANAGER", {"schedules": ("SPRIMARY",)}, Provenance.OTHER_OVERRIDE),
        ("PALICE", "PBOB", {"schedules": ("SPRIMARY",)}, Provenance.SWAP),
        ("PCAROL", "PBOB", {"schedules": ("SPRIMARY",)}, Provenance.UNKNOWN),
    ],
)
def test_an_override_is_graded_by_who_made_it(
    person: str, by: str | None, options: dict[str, Any], grade: Provenance
) -> None:
    async def test(rig: Rig) -> None:
        rig.world.override("SPRIMARY", person, NOW + HOUR, NOW + 2 * HOUR, by=by)
        roster = await rig.fetch(**options)
        covering = [s for s in roster.shifts if s.schedule == "SPRIMARY" and s.covers(NOW + HOUR)]
        assert [(s.person, s.starts_at, s.ends_at, s.provenance) for s in covering] == [
            (person, NOW + HOUR, NOW + 2 * HOUR, grade)
        ]
        assert covering[0].created_by == (by if options else None)

    play(test)


def test_an_override_next_to_ones_own_turn_does_not_spoil_the_turn() -> None:
    async def test(rig: Rig) -> None:
        midnight = NOW + 12 * HOUR
        rig.world.override("SPRIMARY", "PBOB", midnight, midnight + HOUR, by="PBOB")
        pieces = [
            (s.starts_at, s.ends_at, s.provenance) for s in shifts_of(await rig.fetch(14 * HOUR), "PBOB", "SPRIMARY")
        ]
        assert pieces == [
            (NOW, midnight, Provenance.UNKNOWN),
            (midnight, midnight + HOUR, Provenance.SELF_OVERRIDE),
        ]

    play(test)


def test_an_override_of_a_shift_based_schedule_is_seen_when_the_schedule_is_read() -> None:
    async def test(rig: Rig) -> None:
        flexible(rig)
        rig.world.add_policy("EFLEX", "Flexible", [Rule(schedules=["SFLEX"])])
        rig.world.override("SFLEX", "PMANAGER", NOW + 2 * HOUR, NOW + 3 * HOUR, by="PMANAGER", part="R1")
        for options in ({"schedules": ("SFLEX",)}, {"audit": True}):
            roster = await rig.fetch(**options)
            [taken] = [s for s in shifts_of(roster, "PMANAGER", "SFLEX") if s.covers(NOW + 2 * HOUR)]
            assert (taken.provenance, taken.created_by) == (Provenance.SELF_OVERRIDE, "PMANAGER")

    play(test)


def test_audit_records_that_may_not_be_read_leave_the_creator_unknown() -> None:
    async def test(rig: Rig) -> None:
        rig.world.override("SPRIMARY", "PCAROL", NOW, NOW + HOUR, by="PMANAGER")
        rig.sim.faults.status, rig.sim.faults.only = 403, "/audit"
        source = rig.source(audit=True)
        roster = await source.fetch(now=NOW, window=DAY)
        [shift] = shifts_of(roster, "PCAROL", "SPRIMARY")
        assert shift.provenance is Provenance.SELF_OVERRIDE
        assert "audit records are not readable" in source.notes[0]

    play(test)


@pytest.mark.parametrize(
    ("record", "creator"),
    [
        ({}, "PMANAGER"),
        ({"action": "update"}, None),
        ({"action": "delete"}, None),
        ({"actors": [{"id": "PMANAGER", "type": "user_reference"}, {"id": "PBOB", "type": "user_reference"}]}, None),
        ({"actors": [{"id": "K", "type": "api_key_reference"}]}, None),
        ({"actors": None}, None),
        ({"details": None}, None),
        ({"details": {"resource": {"id": "OTHER", "type": "override_reference"}}}, None),
    ],
)
def test_only_a_record_of_one_persons_making_names_a_creator(record: dict[str, Any], creator: str | None) -> None:
    row = {
        "id": "R",
        "action": "create",
        "root_resource": {"id": "SPRIMARY", "type": "schedule_reference"},
        "actors": [{"id": "PMANAGER", "type": "user_reference"}],
        "details": {"resource": {"id": "QO1", "type": "override_reference"}},
    } | record

    async def test(rig: Rig) -> None:
        creators: dict[str, Any] = {}
        source = rig.source()
        span = pagerduty._Span(since=NOW, until=NOW + DAY)
        reader = pagerduty._Reader(source._config, source._client.operation(), span, creators, {})
        reader._learn(msgspec.convert(row, pagerduty._AuditRow), {"QO1"})
        assert creators.get("QO1") == creator

    play(test)


def test_creators_are_looked_up_once() -> None:
    async def test(rig: Rig) -> None:
        source = rig.source(audit=True)
        rig.world.override("SPRIMARY", "PCAROL", NOW, NOW + HOUR, by="PMANAGER")
        for _ in range(3):
            await source.fetch(now=NOW, window=DAY)
        assert rig.asked("/audit/records") == 1
        assert rig.asked("/schedules/SPRIMARY/overrides") == 3

    play(test)


# The key, the clock, the webhooks


def test_a_key_that_can_write_is_refused_unless_it_is_allowed_by_name() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(Refused, match="allow_writable_token") as error:
            await rig.fetch(token=WRITE_TOKEN)
        assert WRITE_TOKEN not in str(error.value)
        assert rig.asked("/oncalls") == 0
        assert (await rig.fetch(token=WRITE_TOKEN, allow_writable_token=True)).shifts

    play(test)


def test_the_key_is_checked_once_per_start_and_not_believed_when_nobody_can_tell() -> None:
    async def test(rig: Rig) -> None:
        source = rig.source()
        costs = []
        for _ in range(2):
            await source.fetch(now=NOW, window=DAY)
            costs.append(source.requests)
        assert rig.asked("/schedules/preview") == 1
        assert costs == [8, 7]
        rig.sim.faults.status, rig.sim.faults.only = 404, "/schedules/preview"
        with pytest.raises(Refused, match="nobody can tell"):
            await rig.fetch()
        rig.sim.faults.status = 503
        with pytest.raises(Unavailable):
            await rig.fetch()

    play(test)


@pytest.mark.parametrize("skew", [0, 61, -61])
def test_the_providers_clock_is_compared_with_ours(skew: int) -> None:
    async def test(rig: Rig) -> None:
        rig.sim.clock.advance(timedelta(seconds=skew))
        roster = await rig.fetch()
        assert roster.clock_skew == timedelta(seconds=skew - 1 if skew < 0 else skew) or abs(
            roster.clock_skew - timedelta(seconds=skew)
        ) <= timedelta(seconds=1)
        assert roster.taken_at == NOW + roster.clock_skew

    play(test)


def test_a_webhook_subscription_that_is_switched_off_is_found() -> None:
    async def test(rig: Rig) -> None:
        source = rig.source(webhook_keys=(Secret("key"),))

        async def notes() -> tuple[str, ...]:
            await source.fetch(now=rig.clock.now(), window=DAY)
            return source.notes

        [none_at_all] = await notes()
        assert "no webhook subscription" in none_at_all
        subscription = rig.world.subscribe("http://127.0.0.1:1/hook", "key", "main")
        assert await notes() == (none_at_all,)
        rig.clock.advance(timedelta(minutes=5))
        assert await notes() == ()
        rig.world.subscriptions[subscription].disabled_until = rig.clock.now() + HOUR
        rig.clock.advance(timedelta(minutes=5))
        [switched_off] = await notes()
        assert f"webhook subscription {subscription} (main) is switched off" in switched_off
        asked = rig.asked("/webhook_subscriptions")
        assert await notes() == (switched_off,)
        assert rig.asked("/webhook_subscriptions") == asked == 3

    play(test)


@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 503}, {"body": Body.HTML}, {"hang": True}])
def test_webhook_subscriptions_that_cannot_be_read_are_a_note_and_spoil_nothing(
    fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pagerduty, "_WEBHOOKS_SECONDS", 0.3)

    async def test(rig: Rig) -> None:
        rig.sim.faults.only = "/webhook_subscriptions"
        for name, value in fault.items():
            setattr(rig.sim.faults, name, value)
        source = rig.source(webhook_keys=(Secret("key"),))
        roster = await source.fetch(now=rig.clock.now(), window=DAY)
        assert {shift.person for shift in roster.shifts} >= {"PALICE", "PBOB"}
        [note] = source.notes
        assert note.startswith("nobody can tell whether webhook subscriptions deliver: ")

    play(test)


def test_webhook_subscriptions_are_not_read_where_no_webhook_is_expected() -> None:
    async def test(rig: Rig) -> None:
        await rig.fetch()
        assert rig.asked("/webhook_subscriptions") == 0

    play(test)


# Rows as no simulator would send them


def on_calls(*changes: dict[str, Any], drop: str = "") -> bytes:
    rows = []
    for change in changes or ({},):
        row = {
            "user": {"id": "PALICE", "type": "user_reference", "summary": "Alice"},
            "schedule": {"id": "SPRIMARY", "type": "schedule_reference", "summary": "Primary"},
            "escalation_policy": {"id": "EPAY", "type": "escalation_policy_reference", "summary": "Payments"},
            "escalation_level": 1,
            "start": "2026-07-01T08:00:00-04:00",
            "end": "2026-07-01T20:00:00-04:00",
        } | change
        row.pop(drop, None)
        rows.append(row)
    return answer(body=msgspec.json.encode({"oncalls": rows, "limit": 100, "offset": 0, "more": False, "total": None}))


def empty_list(name: str) -> bytes:
    return answer(body=msgspec.json.encode({name: [], "limit": 100, "offset": 0, "more": False, "total": None}))


REST = [empty_list(name) for name in ("escalation_policies", "services", "schedules", "schedules", "users")]


def read_rows(rows: bytes) -> Roster:
    async def read() -> Roster:
        async with scripted([rows, *REST]) as server:
            config = Config(token=Secret("t"), base_url=server.url, allow_writable_token=True, incidents=False)
            source = PagerDuty(config, name=NAME, clock=HastyClock(NOW))
            try:
                return await source.fetch(now=NOW, window=DAY)
            finally:
                await source.close()

    return asyncio.run(read())


def test_offsets_of_time_zones_are_understood() -> None:
    [shift] = read_rows(on_calls()).shifts
    assert (shift.starts_at, shift.ends_at) == (NOW, NOW + 12 * HOUR)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"escalation_level": 0}, "escalation_level"),
        ({"escalation_level": "1"}, "escalation_level"),
        ({"escalation_level": 1.5}, "escalation_level"),
        ({"escalation_level": True}, "escalation_level"),
        ({"escalation_level": None}, "escalation_level"),
        ({"user": {"id": "PALICE", "type": "schedule_reference"}}, "user.type"),
        ({"user": {"id": "", "type": "user_reference"}}, "user.id"),
        ({"user": {"id": "../x", "type": "user_reference"}}, "user.id"),
        ({"user": None}, "user"),
        ({"user": []}, "user"),
        ({"schedule": {"id": "S", "type": "user_reference"}}, "schedule.type"),
        ({"schedule": {}}, "schedule"),
        ({"start": "2026-07-01T08:00:00"}, "start"),
        ({"end": "tomorrow"}, "end"),
        ({"end": 1_800_000_000}, "end"),
        ({"start": "2026-07-02T08:00:00Z", "end": "2026-07-01T20:00:00Z"}, "backwards"),
    ],
)
def test_a_row_of_unknown_shape_is_malformed_and_names_the_place(change: dict[str, Any], path: str) -> None:
    with pytest.raises(Malformed, match=path):
        read_rows(on_calls({}, change))


@pytest.mark.parametrize("key", ["user", "schedule", "escalation_policy", "escalation_level", "start", "end"])
def test_a_missing_key_is_never_taken_for_null(key: str) -> None:
    with pytest.raises(Malformed, match=key):
        read_rows(on_calls(drop=key))


def test_rows_outside_the_window_and_without_length_are_left_out() -> None:
    rows = on_calls(
        {"start": "2026-07-01T00:00:00Z", "end": "2026-07-01T12:00:00Z"},
        {"start": "2026-07-02T12:00:00Z", "end": "2026-07-03T12:00:00Z"},
        {"start": "2026-07-01T13:00:00Z", "end": "2026-07-01T13:00:00Z"},
        {"start": "2026-07-01T11:00:00Z", "end": "2026-07-01T12:00:01Z"},
    )
    assert [shift.ends_at for shift in read_rows(rows).shifts] == [NOW + timedelta(seconds=1)]


def test_the_same_row_twice_is_one_shift() -> None:
    assert len(read_rows(on_calls({}, {})).shifts) == 1


def test_an_end_that_is_null_in_a_schedule_is_permanent() -> None:
    [shift] = read_rows(on_calls({"end": None})).shifts
    assert (shift.end_kind, shift.provenance, shift.starts_at) == (EndKind.PERMANENT, Provenance.PERMANENT, NOW)


def test_a_page_that_does_not_say_whether_it_is_the_last_is_malformed() -> None:
    with pytest.raises(Malformed, match="more"):
        read_rows(answer(body=b'{"oncalls": []}'))


def incident_rows(**changes: Any) -> bytes:
    row = {
        "id": "I1",
        "type": "incident",
        "title": "Fire",
        "status": "acknowledged",
        "created_at": "2026-07-01T10:00:00Z",
        "service": {"id": "SV", "type": "service_reference"},
        "escalation_policy": {"id": "EPAY", "type": "escalation_policy_reference"},
        "assigned_via": "escalation_policy",
        "assignments": None,
        "acknowledgements": None,
        "incidents_responders": None,
        "first_trigger_log_entry": None,
    } | changes
    return answer(body=msgspec.json.encode({"incidents": [row], "more": False, "total": None}))


def read_incidents(**changes: Any) -> Any:
    async def read() -> Roster:
        async with scripted([on_calls(), incident_rows(**changes), *REST]) as server:
            config = Config(token=Secret("t"), base_url=server.url, allow_writable_token=True)
            source = PagerDuty(config, name=NAME, clock=HastyClock(NOW))
            try:
                return await source.fetch(now=NOW, window=DAY)
            finally:
                await source.close()

    return asyncio.run(read()).incidents


def read_incident(**changes: Any) -> Any:
    [incident] = read_incidents(**changes)
    return incident


def acknowledged_by(*people: str) -> list[dict[str, Any]]:
    at = "2026-07-01T11:00:00Z"
    return [{"at": at, "acknowledger": {"id": person, "type": "user_reference"}} for person in people]


def test_an_incident_that_was_resolved_between_two_pages_is_over() -> None:
    assert read_incidents(status="resolved", acknowledgements=acknowledged_by("PALICE")) == ()


@pytest.mark.parametrize("key", ["status", "assignments", "acknowledgements", "service"])
def test_an_incident_without_what_was_asked_for_is_malformed(key: str) -> None:
    with pytest.raises(Malformed, match=key):
        read_incidents(**{key: 7})


def test_arrays_that_are_null_are_empty() -> None:
    incident = read_incident()
    assert (incident.responders, incident.opened_by, incident.escalation_level) == ((), None, None)


def test_an_incident_is_a_machines_only_when_it_says_so() -> None:
    found = read_incident(acknowledgements=acknowledged_by("PALICE"))
    assert (found.opened_by, found.is_opened_by_machine) == (None, False)
    by_machine = {"id": "L", "type": "trigger_log_entry", "agent": {"id": "SV", "type": "service_reference"}}
    found = read_incident(acknowledgements=acknowledged_by("PALICE"), first_trigger_log_entry=by_machine)
    assert (found.opened_by, found.is_opened_by_machine) == (None, True)


def test_a_secret_never_shows() -> None:
    config = Config(token=Secret("canary-token"))
    source = PagerDuty(config, name=NAME, clock=HastyClock(NOW))
    assert "canary" not in repr(config) + repr(source) + str(config) + repr(vars(source))
    asyncio.run(source.close())


def test_the_regions_have_their_own_hosts() -> None:
    for region, host in (("us", "api.pagerduty.com"), ("eu", "api.eu.pagerduty.com")):
        source = PagerDuty(Config(token=Secret("t"), region=region), name=NAME, clock=HastyClock(NOW))  # type: ignore[arg-type]  # the two literals
        assert source._client._base.host == host
        asyncio.run(source.close())


def service_rows(*ids: str) -> bytes:
    rows = [{"id": id_, "type": "service", "name": id_, "escalation_policy": None} for id_ in ids]
    return answer(body=msgspec.json.encode({"services": rows, "more": False, "total": None}))


def depends(*pairs: tuple[str, str], kind: str = "service_reference") -> bytes:
    relationships = [
        {
            "id": f"D{i}",
            "type": "service_dependency",
            "supporting_service": {"id": needed, "type": kind},
            "dependent_service": {"id": service, "type": "service_reference"},
        }
        for i, (service, needed) in enumerate(pairs)
    ]
    return answer(body=msgspec.json.encode({"relationships": relationships}))


def read_services(*answers: bytes, named: tuple[str, ...] = ("SVWEB",)) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    async def read() -> tuple[Roster, list[str]]:
        script = [
            on_calls(), empty_list("escalation_policies"), service_rows("SVWEB", "SVORDERS", "SVSTOCK"), *answers,
            *REST[2:],
        ]  # fmt: skip
        async with scripted(script) as server:
            config = Config(
                token=Secret("t"), base_url=server.url, allow_writable_token=True, incidents=False, dependencies=named
            )
            source = PagerDuty(config, name=NAME, clock=HastyClock(NOW))
            try:
                return await source.fetch(now=NOW, window=DAY), server.targets
            finally:
                await source.close()

    roster, targets = asyncio.run(read())
    return {service.id: service.depends_on for service in roster.services}, targets


def test_dependencies_are_read_from_either_end_and_business_services_lead_nowhere() -> None:
    found, targets = read_services(depends(("SVWEB", "SVORDERS"), ("SVWEB", "SVSTOCK"), ("SVORDERS", "SVWEB")))
    assert found == {"SVWEB": ("SVORDERS", "SVSTOCK"), "SVORDERS": ("SVWEB",), "SVSTOCK": ()}
    assert "/service_dependencies/technical_services/SVWEB" in targets
    found, _ = read_services(depends(("SVWEB", "BUSINESS"), kind="business_service_reference"))
    assert found["SVWEB"] == ()


def test_dependencies_that_cannot_be_read_spoil_the_read() -> None:
    with pytest.raises(Malformed, match="relationships"):
        read_services(answer(body=b"{}"))
    with pytest.raises(Refused, match="403"):
        read_services(answer(403))
    with pytest.raises(Refused, match="SVGONE"):
        read_services(depends(), named=("SVGONE",))
