"""The roster's lookups against a plain scan, and what the guard lets pass."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.builders import NOW, SOURCE, incident, responder, roster, shift
from watchkey.model.errors import Malformed
from watchkey.model.ids import IncidentId, PersonId, SourceName
from watchkey.model.oncall import (
    EndKind,
    EscalationPolicy,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Roster,
    Schedule,
    Scope,
    ScopeKind,
    Service,
    Shift,
)
from watchkey.rules.roster import (
    Duty,
    GuardLimits,
    Hold,
    RosterIndex,
    Take,
    diff,
    index_roster,
    shrink_guard,
)

HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
START = datetime(2026, 7, 1, tzinfo=UTC)
PEOPLE = tuple(PersonId(name) for name in ("ann", "ben", "cat"))
SCOPES = (
    *(Scope(SOURCE, kind, name) for kind, name in itertools.product(ScopeKind, ("a", "b", "nowhere"))),
    Scope(SourceName("elsewhere"), ScopeKind.SERVICE, "a"),
)


def hour(number: float) -> datetime:
    return START + number * HOUR


# -- generators: few borders, so that they meet ------------------------------------------------------------------


@st.composite
def shifts(draw: st.DrawFn) -> Shift:
    kind = draw(st.sampled_from([EndKind.EXACT] * 5 + [EndKind.TRUNCATED, EndKind.UNKNOWN, EndKind.PERMANENT]))
    starts = draw(st.integers(0, 8) | st.none())
    ends = draw(st.integers(starts or 0, 9))
    is_endless = kind is EndKind.PERMANENT or (kind is EndKind.UNKNOWN and draw(st.booleans()))
    return Shift(
        person=draw(st.sampled_from(PEOPLE)),
        schedule=draw(st.sampled_from(["a", "b", None])),
        policy=draw(st.sampled_from(["a", "b", None])),
        level=draw(st.sampled_from([1, 1, 2, None])),
        starts_at=None if starts is None else hour(starts),
        ends_at=None if is_endless else hour(ends),
        end_kind=kind,
        provenance=draw(st.sampled_from([Provenance.ROTA, Provenance.ROTA, Provenance.UNKNOWN])),
    )


def make(members: Sequence[Shift], **changes: Any) -> Roster:
    fields: dict[str, Any] = {
        "source": SOURCE,
        "taken_at": START,
        "window_ends_at": hour(100),
        "people": tuple(Person(id=one, name=one) for one in PEOPLE),
        "schedules": (Schedule(id="a", name="a"), Schedule(id="b", name="b")),
        "policies": (EscalationPolicy(id="a", name="a"), EscalationPolicy(id="b", name="b")),
        "services": (Service(id="a", name="a", policy="a"), Service(id="b", name="b", policy=None)),
        "shifts": tuple(members),
    }
    return Roster(**(fields | changes))


MANY = st.lists(shifts(), max_size=12)
INSTANTS = st.builds(
    lambda number, off: hour(number) + off * MICROSECOND, st.integers(0, 10), st.sampled_from([-1, 0, 0, 1])
)


def duty(one: Shift) -> Duty:
    return one.person, one.policy, one.level, one.schedule


def in_scope(one: Shift, scope: Scope) -> bool:
    if scope.source != SOURCE:
        return False
    match scope.kind:
        case ScopeKind.SERVICE:
            return scope.id == "a" and one.policy == "a"  # service b pages nobody
        case ScopeKind.ESCALATION_POLICY:
            return one.policy == scope.id
        case ScopeKind.SCHEDULE:
            return one.schedule == scope.id


def covers(one: Shift, instant: datetime) -> bool:
    return (one.starts_at is None or instant >= one.starts_at) and (one.ends_at is None or instant < one.ends_at)


# -- lookups -----------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(members=MANY, instant=INSTANTS, scope=st.sampled_from(SCOPES))
def test_who_is_on_call_is_what_a_scan_finds(members: list[Shift], instant: datetime, scope: Scope) -> None:
    index = index_roster(make(members))
    found = index.on_call(scope, instant)
    expected = [one for one in members if in_scope(one, scope) and covers(one, instant)]
    event("somebody" if expected else "nobody")
    assert {duty(one) for one in found} == {duty(one) for one in expected}
    assert {one.provenance for one in found} <= {one.provenance for one in expected}
    assert [one.level or 99 for one in found] == sorted(one.level or 99 for one in found)
    for person in PEOPLE:
        assert index.on_call_of(person, scope, instant) == tuple(one for one in found if one.person == person)


@given(members=MANY, one=INSTANTS, other=INSTANTS, scope=st.sampled_from(SCOPES))
def test_the_shifts_of_a_span_are_what_a_scan_finds(
    members: list[Shift], one: datetime, other: datetime, scope: Scope
) -> None:
    index = index_roster(make(members))
    start, end = min(one, other), max(one, other)
    found = index.shifts(scope, start, end)
    expected = [
        each
        for each in index.roster.shifts
        if in_scope(each, scope)
        and start < end
        and (each.starts_at is None or each.starts_at < end)
        and (each.ends_at is None or each.ends_at > start)
    ]
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    starts = [each.starts_at or START - HOUR for each in found]
    assert starts == sorted(starts)


@given(members=MANY, instant=INSTANTS, scope=st.sampled_from(SCOPES), max_level=st.sampled_from([None, 1, 2]))
def test_the_next_and_the_last_shift_are_what_a_scan_finds(
    members: list[Shift], instant: datetime, scope: Scope, max_level: int | None
) -> None:
    index = index_roster(make(members))
    for person in PEOPLE:
        mine = [
            one
            for one in index.shifts_of(person)
            if in_scope(one, scope) and (max_level is None or (one.level is not None and one.level <= max_level))
        ]
        starts = [one.starts_at for one in mine if one.starts_at is not None and one.starts_at > instant]
        coming = index.next_shift_of(person, scope, instant, max_level)
        assert (coming and coming.starts_at) == min(starts, default=None)
        ends = [one.ends_at for one in mine if one.ends_at is not None and one.ends_at <= instant]
        gone = index.last_shift_of(person, scope, instant, max_level)
        assert (gone and gone.ends_at) == max(ends, default=None)
        assert all(one is None or (one.person == person and one in mine) for one in (coming, gone))


@settings(max_examples=300)
@given(members=MANY, instant=INSTANTS, scope=st.sampled_from(SCOPES[:6]), ceiling=st.sampled_from([1, 2]))
def test_coverage_ends_where_the_first_uncovered_instant_is(
    members: list[Shift], instant: datetime, scope: Scope, ceiling: int
) -> None:
    def accepts(one: Shift) -> bool:
        return one.level is not None and one.level <= ceiling and one.provenance is Provenance.ROTA

    index = index_roster(make(members))
    for person in PEOPLE:
        mine = [one for one in index.roster.shifts if one.person == person and in_scope(one, scope) and accepts(one)]
        bounded = [one for one in mine if one.ends_at is not None or one.end_kind is EndKind.PERMANENT]
        expected: datetime | None = instant
        # All borders are whole hours: what covers an instant covers the rest of its hour.
        while expected is not None and any(covers(one, expected) for one in bounded):
            whole_hours = (expected - START) // HOUR
            expected = hour(whole_hours + 1) if whole_hours < 20 else None
        if expected == instant and any(covers(one, instant) for one in mine):
            expected = None  # only an unknown end covers it
        event("covered" if expected != instant else "not covered")
        assert index.coverage_end(person, scope, instant, accepts) == expected


def test_at_the_handoff_the_old_one_is_off_and_the_new_one_on() -> None:
    first, second = (
        shift("PALICE", starts_at=hour(0), ends_at=hour(1)),
        shift("PBOB", starts_at=hour(1), ends_at=hour(2)),
    )
    index = index_roster(roster(first, second))
    scope = Scope(SOURCE, ScopeKind.SERVICE, "orders")
    assert index.on_call(scope, hour(1) - MICROSECOND) == (first,)
    assert index.on_call(scope, hour(1)) == (second,)


def test_a_person_with_very_many_shifts_is_still_found() -> None:
    members = [shift(starts_at=hour(2 * i), ends_at=hour(2 * i + 1)) for i in range(200)]
    index = index_roster(roster(*members))
    scope = Scope(SOURCE, ScopeKind.SCHEDULE, "orders-primary")
    for i in (0, 77, 199):
        assert index.on_call_of(PersonId("PALICE"), scope, hour(2 * i)) == (members[i],)
        assert index.on_call_of(PersonId("PALICE"), scope, hour(2 * i + 1)) == ()


def test_nobody_and_no_such_thing_are_different_answers() -> None:
    index = index_roster(make([]))
    assert [scope.id for scope in SCOPES if index.knows(scope)] == ["a", "b"] * 3
    assert index.on_call(Scope(SOURCE, ScopeKind.SERVICE, "b"), START) == ()
    assert index.policy_of("a") == "a"
    assert index.policy_of("b") is None
    assert not index.knows(Scope(SourceName("elsewhere"), ScopeKind.SERVICE, "a"))


def test_a_schedule_that_only_shifts_name_is_known() -> None:
    index = index_roster(make([shift(schedule="unlisted", policy="unlisted")]))
    assert index.knows(Scope(SOURCE, ScopeKind.SCHEDULE, "unlisted"))
    assert index.knows(Scope(SOURCE, ScopeKind.ESCALATION_POLICY, "unlisted"))
    assert not index.knows(Scope(SOURCE, ScopeKind.SERVICE, "unlisted"))


def test_asking_for_what_does_not_exist_keeps_nothing() -> None:
    index = index_roster(make([]))
    for i in range(100):
        assert index.on_call(Scope(SOURCE, ScopeKind.SCHEDULE, f"guess-{i}"), START) == ()
    assert index._timelines == {}


def test_people_with_one_address_in_two_spellings_are_found_together() -> None:
    people = (
        Person(id=PersonId("1"), name="A", emails=("Ann@Example.com",)),
        Person(id=PersonId("2"), name="B", emails=(" ann@example.com", "ben@example.com")),
    )
    index = index_roster(make([], people=people))
    assert index.people_by_email("ann@example.com") == people
    assert index.people_by_email("ben@example.com") == people[1:]
    assert index.people_by_email("nobody@example.com") == ()
    assert index.person(PersonId("1")) == people[0]
    assert index.person(PersonId("3")) is None


# -- coverage: what may be promised ------------------------------------------------------------------------------


def coverage(*members: Shift) -> tuple[datetime | None, EndKind] | None:
    scope = Scope(SOURCE, ScopeKind.SERVICE, "orders")
    found = index_roster(roster(*members)).coverage(PersonId("PALICE"), scope, hour(0), lambda _: True)
    return None if found is None else (found.until, found.end_kind)


def test_back_to_back_shifts_are_one_coverage_and_its_end_is_the_last_one_s() -> None:
    first = shift(starts_at=hour(0), ends_at=hour(1))
    cut = shift(starts_at=hour(1), ends_at=hour(2), end_kind=EndKind.TRUNCATED)
    assert coverage(first) == (hour(1), EndKind.EXACT)
    assert coverage(first, cut) == (hour(2), EndKind.TRUNCATED)
    assert coverage(first, shift(starts_at=hour(1) + MICROSECOND, ends_at=hour(2))) == (hour(1), EndKind.EXACT)


def test_the_window_s_end_is_never_promised() -> None:
    window_end = roster().window_ends_at
    assert coverage(shift(starts_at=hour(0), ends_at=window_end)) == (window_end, EndKind.TRUNCATED)
    beyond = window_end + HOUR
    assert coverage(shift(starts_at=hour(0), ends_at=beyond)) == (beyond, EndKind.EXACT)


def test_two_ends_at_once_are_as_certain_as_the_less_certain() -> None:
    exact = shift(schedule="one", starts_at=hour(0), ends_at=hour(1))
    cut = shift(schedule="two", starts_at=hour(0), ends_at=hour(1), end_kind=EndKind.TRUNCATED)
    assert coverage(exact, cut) == coverage(cut, exact) == (hour(1), EndKind.TRUNCATED)


def test_an_unknown_end_gives_way_to_a_known_one() -> None:
    unknown = shift(schedule="two", starts_at=hour(0), ends_at=None, end_kind=EndKind.UNKNOWN)
    assert coverage(unknown) == (None, EndKind.UNKNOWN)
    assert coverage(unknown, shift(starts_at=hour(0), ends_at=hour(1))) == (hour(1), EndKind.EXACT)


def test_a_permanent_shift_never_ends() -> None:
    permanent = shift(schedule=None, starts_at=None, ends_at=None, end_kind=EndKind.PERMANENT)
    assert coverage(permanent, shift(starts_at=hour(0), ends_at=hour(1))) == (None, EndKind.PERMANENT)


def test_without_cover_there_is_no_coverage() -> None:
    assert coverage(shift(starts_at=hour(1), ends_at=hour(2))) is None


# -- incidents ---------------------------------------------------------------------------------------------------


def test_incidents_are_found_by_service_and_by_policy_while_they_are_open() -> None:
    first = incident(responder(), responder("PBOB", Involvement.DECLINED), responder("PCAROL", Involvement.REQUESTED))
    members = (
        first,
        incident(responder(), id=IncidentId("Q2"), status=IncidentStatus.RESOLVED),
        incident(responder(), id=IncidentId("Q3"), service=None, policy="orders-policy"),
        incident(responder(), id=IncidentId("Q4"), service=None),
        incident(responder(), id=IncidentId("Q5"), policy="another"),
    )
    index = index_roster(roster(incidents=members))

    def ids(found: Sequence[Incident]) -> list[str]:
        return [one.id for one in found]

    assert ids(index.incidents(Scope(SOURCE, ScopeKind.SERVICE, "orders"))) == ["Q1", "Q5"]
    assert ids(index.incidents(Scope(SOURCE, ScopeKind.ESCALATION_POLICY, "orders-policy"))) == ["Q1", "Q3"]
    assert ids(index.incidents(Scope(SOURCE, ScopeKind.ESCALATION_POLICY, "another"))) == ["Q5"]
    assert ids(index.incidents(Scope(SOURCE, ScopeKind.SCHEDULE, "orders-primary"))) == []
    assert ids(index.incidents(Scope(SourceName("elsewhere"), ScopeKind.SERVICE, "orders"))) == []


def test_who_was_asked_or_declined_is_not_at_an_incident() -> None:
    parts = (
        responder("PALICE", Involvement.ACKNOWLEDGED),
        responder("PALICE", Involvement.ROLE, role="incident_commander"),
        responder("PBOB", Involvement.REQUESTED),
        responder("PCAROL", Involvement.DECLINED),
    )
    index = index_roster(roster(incidents=(incident(*parts),)))
    scope = Scope(SOURCE, ScopeKind.SERVICE, "orders")
    assert [part for _, part in index.incidents_of(PersonId("PALICE"), scope)] == list(parts[:2])
    assert index.incidents_of(PersonId("PBOB"), scope) == ()
    assert index.incidents_of(PersonId("PCAROL"), scope) == ()


# -- building ----------------------------------------------------------------------------------------------------


@given(members=MANY, data=st.data())
def test_the_order_and_repetition_of_rows_change_nothing(members: list[Shift], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(members + members[:3]))
    one, other = index_roster(make(members)), index_roster(make(shuffled))
    assert one.digest == other.digest
    assert one.roster.shifts == other.roster.shifts


def test_the_digest_is_of_the_content_not_of_the_reading() -> None:
    base = roster(shift())
    later = replace(base, taken_at=NOW + HOUR, window_ends_at=base.window_ends_at + HOUR, clock_skew=HOUR)
    assert index_roster(base).digest == index_roster(later).digest
    for changed in (
        roster(shift("PBOB")),
        roster(shift(level=2)),
        roster(shift(provenance=Provenance.UNKNOWN)),
        roster(shift(), people=()),
        roster(shift(), incidents=(incident(),)),
        roster(shift(), services=()),
    ):
        assert index_roster(changed).digest != index_roster(base).digest


def merged(*members: Shift) -> tuple[Shift, ...]:
    return index_roster(roster(*members)).roster.shifts


def test_overlapping_rows_of_one_duty_become_one_and_touching_ones_stay_two() -> None:
    first = shift(starts_at=hour(0), ends_at=hour(2))
    assert merged(first, shift(starts_at=hour(1), ends_at=hour(3))) == (shift(starts_at=hour(0), ends_at=hour(3)),)
    touching = shift(starts_at=hour(2), ends_at=hour(3))
    assert merged(first, touching) == (first, touching)
    inner = shift(starts_at=hour(0.5), ends_at=hour(1))
    assert merged(first, inner) == (first,)


def test_one_person_twice_at_a_level_through_two_schedules_is_two_rows() -> None:
    one, other = shift(schedule="one"), shift(schedule="two")
    assert set(merged(one, other)) == {one, other}


def test_of_two_grades_for_one_span_the_weaker_counts() -> None:
    rows = shift(provenance=Provenance.ROTA), shift(provenance=Provenance.UNKNOWN)
    assert merged(*rows) == merged(*reversed(rows)) == (rows[1],)


def test_a_row_that_covers_no_instant_is_left_out() -> None:
    assert merged(shift(starts_at=NOW, ends_at=NOW)) == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (shift(ends_at=None), "has no end"),
        (shift(end_kind=EndKind.PERMANENT), "is permanent, but ends"),
        (shift(starts_at=NOW, ends_at=NOW - HOUR), "ends before it starts"),
        (shift(starts_at=NOW.replace(tzinfo=None)), "no time zone"),
        (shift(level=0), "level 1 is the first"),
    ],
)
def test_a_shift_that_makes_no_sense_is_refused(wrong: Shift, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        index_roster(roster(wrong))


def test_two_people_with_one_id_are_refused() -> None:
    people = Person(id=PersonId("1"), name="A"), Person(id=PersonId("1"), name="B")
    with pytest.raises(Malformed, match="two people have the id '1'"):
        index_roster(roster(people=people))
    assert index_roster(roster(people=people[:1] * 2)).person(PersonId("1")) == people[0]


# -- differences -------------------------------------------------------------------------------------------------


def cells(index: RosterIndex, first: float, last: float) -> set[tuple[object, int]]:
    """Who has what in which hour, by asking for each hour."""
    return {
        ((duty(one), one.provenance), number)
        for number in range(int(first), int(last))
        for one in index.roster.shifts
        if covers(one, hour(number))
    }


@settings(max_examples=200)
@given(old=MANY, new=MANY, now=st.integers(0, 9), windows=st.tuples(st.integers(5, 12), st.integers(5, 12)))
def test_a_difference_is_what_comparing_hour_by_hour_finds(
    old: list[Shift], new: list[Shift], now: int, windows: tuple[int, int]
) -> None:
    one = index_roster(make(old, window_ends_at=hour(windows[0])))
    other = index_roster(make(new, window_ends_at=hour(windows[1])))
    change = diff(one, other, hour(now))
    before, after = (cells(index, now, min(windows)) for index in (one, other))
    assert {(duty(each), each.provenance) for each in change.vanished} == {key for key, _ in before - after}
    assert {(duty(each), each.provenance) for each in change.appeared} == {key for key, _ in after - before}
    ahead = [{key[0] for key, _ in part} for part in (before, after)]  # type: ignore[index]  # keys are pairs
    assert change.lost_ahead == ahead[0] - ahead[1]
    at_now = [{key[0] for key, number in part if number == now} for part in (before, after)]  # type: ignore[index]  # same
    assert change.lost_now == at_now[0] - at_now[1]
    if one.digest != other.digest:
        assert (change.holders_ahead, change.holders_now) == (len(ahead[0]), len(at_now[0]))
    assert change.people == {key[0] for key in (*change.lost_ahead, *change.lost_now)} | {
        each.person for each in (*change.appeared, *change.vanished)
    }
    event("same" if change.is_empty else "different")


def test_the_passing_of_time_is_no_change() -> None:
    old = index_roster(
        roster(shift(starts_at=hour(0), ends_at=hour(1)), shift("PBOB", starts_at=hour(1), ends_at=hour(2)))
    )
    new = index_roster(roster(shift("PBOB", starts_at=hour(1), ends_at=hour(2))))
    assert diff(old, new, hour(1)).is_empty
    assert [one.person for one in diff(old, new, hour(1) - MICROSECOND).vanished] == ["PALICE"]


def test_a_cut_that_moves_into_the_time_compared_is_a_change() -> None:
    def cut(end: float) -> RosterIndex:
        return index_roster(make([shift("ann", ends_at=NOW + end * HOUR, end_kind=EndKind.TRUNCATED)]))

    assert cut(5).digest == cut(1).digest
    assert [one.ends_at for one in diff(cut(5), cut(1), NOW).vanished] == [NOW + 5 * HOUR]
    assert diff(cut(100), cut(101), NOW).is_empty


def test_what_a_longer_look_ahead_shows_is_no_change() -> None:
    old = index_roster(make([], window_ends_at=hour(5)))
    new = index_roster(make([shift("ann", starts_at=hour(5), ends_at=hour(6))], window_ends_at=hour(10)))
    assert diff(old, new, hour(0)).is_empty


@pytest.mark.parametrize("active", [False, None])
def test_a_person_who_is_not_known_to_be_active_loses_what_they_hold(*, active: bool | None) -> None:
    old, new = roster(shift()), roster(shift())
    people = tuple(replace(one, active=active) if one.name == "alice" else one for one in new.people)
    change = diff(index_roster(old), index_roster(replace(new, people=people)), NOW)
    assert {key[0] for key in change.lost_now} == {"PALICE"}
    assert change.people == {"PALICE"}


def test_two_sources_are_not_compared() -> None:
    with pytest.raises(ValueError, match="two sources"):
        diff(index_roster(roster()), index_roster(roster(source=SourceName("other"))), NOW)


# -- the guard ---------------------------------------------------------------------------------------------------


def team(count: int, **changes: Any) -> RosterIndex:
    people = tuple(Person(id=PersonId(f"P{i}"), name=f"{i}") for i in range(20))
    members = (shift(f"P{i}", ends_at=NOW + 10 * HOUR) for i in range(count))
    return index_roster(roster(*members, people=people, **changes))


@pytest.mark.parametrize(
    ("before", "after", "is_taken"),
    [
        (20, 20, True),
        (20, 14, True),  # 30 %
        (20, 13, False),
        (4, 1, True),  # three may always go
        (5, 1, False),
        (1, 20, True),  # growing is no shrinking
    ],
)
def test_a_read_may_take_away_a_bounded_share(before: int, after: int, *, is_taken: bool) -> None:
    verdict = shrink_guard(team(before), team(after), None, NOW)
    assert isinstance(verdict, Take) == is_taken
    if isinstance(verdict, Hold):
        assert f"{before - after} of {before} duties held now" in verdict.why


def test_the_bound_is_configurable() -> None:
    limits = GuardLimits(shrink_max=0, shrink_share_max=0.0)
    assert isinstance(shrink_guard(team(20), team(19), None, NOW, limits), Hold)
    assert isinstance(shrink_guard(team(20), team(1), None, NOW, GuardLimits(shrink_share_max=1.0)), Take)


def test_a_second_read_that_agrees_is_taken_when_it_is_late_enough() -> None:
    first = shrink_guard(team(20), team(5), None, NOW)
    assert isinstance(first, Hold)
    too_early = shrink_guard(team(20), team(5, taken_at=NOW + timedelta(seconds=59)), first.pending, NOW)
    assert isinstance(too_early, Hold)
    assert too_early.pending is first.pending  # the wait counts from the first of them
    late = shrink_guard(team(20), team(5, taken_at=NOW + timedelta(seconds=60)), too_early.pending, NOW)
    assert isinstance(late, Take)
    assert len(late.change.lost_now) == 15


def test_a_second_read_that_takes_away_others_does_not_agree() -> None:
    first = shrink_guard(team(20), team(5), None, NOW)
    assert isinstance(first, Hold)
    second = shrink_guard(team(20), team(4, taken_at=NOW + HOUR), first.pending, NOW)
    assert isinstance(second, Hold)
    assert second.pending is not first.pending


def test_a_second_read_that_moves_others_into_the_future_does_not_agree() -> None:
    def moved(numbers: range, **changes: Any) -> RosterIndex:
        names = {f"P{i}" for i in numbers}
        members = (replace(one, starts_at=NOW + HOUR) if one.person in names else one for one in team(20).roster.shifts)
        return index_roster(roster(*members, people=team(0).roster.people, **changes))

    first = shrink_guard(team(20), moved(range(10)), None, NOW)
    assert isinstance(first, Hold)
    assert isinstance(shrink_guard(team(20), moved(range(5, 15), taken_at=NOW + HOUR), first.pending, NOW), Hold)
    assert isinstance(shrink_guard(team(20), moved(range(10), taken_at=NOW + HOUR), first.pending, NOW), Take)


def test_a_second_read_that_takes_away_less_agrees() -> None:
    first = shrink_guard(team(20), team(5), None, NOW)
    assert isinstance(first, Hold)
    assert isinstance(shrink_guard(team(20), team(6, taken_at=NOW + HOUR), first.pending, NOW), Take)


def test_time_may_take_everything_away() -> None:
    assert isinstance(
        shrink_guard(team(20), index_roster(roster(people=team(0).roster.people)), None, NOW + 10 * HOUR), Take
    )


def test_no_shifts_after_some_is_a_fault_however_often_it_is_read() -> None:
    empty = team(0)
    for pending in (None, empty):
        verdict = shrink_guard(team(1), team(0, taken_at=NOW + HOUR), pending, NOW)
        assert isinstance(verdict, Hold)
        assert "no shifts at all" in verdict.why
        assert verdict.pending is pending


@pytest.mark.parametrize("part", ["people", "schedules", "policies", "services"])
def test_a_part_that_is_empty_after_it_was_not_is_a_fault(part: str) -> None:
    verdict = shrink_guard(index_roster(roster(shift())), index_roster(roster(shift(), **{part: ()})), None, NOW)
    assert isinstance(verdict, Hold)


def test_shifts_that_moved_into_the_future_are_lost_now() -> None:
    moved = [replace(one, starts_at=NOW + HOUR) for one in team(20).roster.shifts]
    verdict = shrink_guard(team(20), index_roster(roster(*moved, people=team(0).roster.people)), None, NOW)
    assert isinstance(verdict, Hold)


def test_services_that_stop_paging_are_guarded_too() -> None:
    services = tuple(Service(id=f"{i}", name=f"{i}", policy="orders-policy") for i in range(10))
    silent = tuple(replace(one, policy=None) for one in services)
    verdict = shrink_guard(team(1, services=services), team(1, services=silent), None, NOW)
    assert isinstance(verdict, Hold)
    assert "10 of 10 services" in verdict.why


@pytest.mark.parametrize(("seconds", "is_taken"), [(60, True), (-60, True), (61, False), (-61, False)])
def test_a_source_whose_clock_is_off_is_not_believed(seconds: int, *, is_taken: bool) -> None:
    for previous in (None, team(5)):
        verdict = shrink_guard(previous, team(5, clock_skew=timedelta(seconds=seconds)), None, NOW)
        assert isinstance(verdict, Take) == is_taken


def test_the_first_roster_is_taken() -> None:
    assert isinstance(shrink_guard(None, team(0), None, NOW), Take)
