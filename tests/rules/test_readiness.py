"""Turns that should open a resource, and the time that nobody covers."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import ALL_GRADES, HOUR, NOW, SCHEDULE, SOURCE, index, links, resource, shift
from watchkey.model.access import Needs, Reason, Resource
from watchkey.model.ids import PrivilegeName
from watchkey.model.oncall import EndKind, Provenance, Shift
from watchkey.rules.identity import Links
from watchkey.rules.readiness import CheckedTurn, Readiness, Turn, gaps_of, nothing_to_check, turns_of, uncovered

END = NOW + 12 * HOUR
READ, WRITE = PrivilegeName("read"), PrivilegeName("write")


def turns(*shifts: Shift, about: Resource | None = None, linked: Links | None = None) -> list[Turn]:
    return list(turns_of(about or resource(), {SOURCE: index(*shifts)}, linked or links(), NOW, END))


def checked(start: float, end: float, *opens: PrivilegeName) -> CheckedTurn:
    (turn,) = turns(shift(starts_at=NOW + start * HOUR, ends_at=NOW + end * HOUR))
    return CheckedTurn(turn=turn, opens=opens, problem=None if opens else Reason.NOT_ON_CALL)


def test_a_turn_is_cut_to_the_time_that_is_looked_at() -> None:
    (turn,) = turns(shift(starts_at=NOW - HOUR, ends_at=END + HOUR))
    assert (turn.starts_at, turn.ends_at, turn.subject) == (NOW, END, "alice")
    assert turn.shift.starts_at == NOW - HOUR


def test_levels_above_the_ceiling_are_no_turns_and_unknown_ones_are() -> None:
    assert [turn.shift.level for turn in turns(shift(level=2), shift(), shift(level=None))] == [1, None]
    by_schedule = resource(scopes=(SCHEDULE,))
    assert [turn.shift.level for turn in turns(shift(level=2), about=by_schedule)] == [2]


def test_a_permanent_target_is_a_turn_only_where_it_opens_something() -> None:
    always = shift(end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None)
    assert turns(always) == []
    opened = resource(opens={**ALL_GRADES, Provenance.PERMANENT: frozenset({READ})})
    (turn,) = turns(always, about=opened)
    assert (turn.starts_at, turn.ends_at) == (NOW, END)


def test_an_end_that_nobody_knows_covers_nothing() -> None:
    (turn,) = turns(shift(ends_at=None, end_kind=EndKind.UNKNOWN))
    assert turn.starts_at == turn.ends_at == NOW


def test_who_is_not_linked_or_not_clearly_has_no_subject() -> None:
    (alone,) = turns(shift(), linked=links(("bob", "PBOB")))
    assert (alone.subject, alone.unlinked) == (None, Reason.NOT_LINKED)
    (twice,) = turns(shift(), linked=links(("alice", "PALICE"), ("mallory", "PALICE")))
    assert (twice.subject, twice.unlinked) == (None, Reason.IDENTITY_AMBIGUOUS)


def test_a_gap_names_who_has_the_turn_before_and_after() -> None:
    early, late = checked(0, 4, READ, WRITE), checked(6, 12, READ, WRITE)
    (gap,) = gaps_of([READ, WRITE], [early, late], NOW, END)
    assert (gap.starts_at, gap.ends_at, gap.privileges) == (NOW + 4 * HOUR, NOW + 6 * HOUR, (READ, WRITE))
    assert (gap.before, gap.after) == ((early.turn,), (late.turn,))


def test_a_turn_whose_holder_is_turned_away_leaves_a_gap() -> None:
    gaps = gaps_of([WRITE], [checked(0, 4, WRITE), checked(4, 8), checked(8, 12, WRITE)], NOW, END)
    assert [(gap.starts_at, gap.ends_at) for gap in gaps] == [(NOW + 4 * HOUR, NOW + 8 * HOUR)]


def test_a_privilege_that_only_some_get_has_its_own_gap() -> None:
    gaps = gaps_of([READ, WRITE], [checked(0, 8, READ, WRITE), checked(8, 12, READ)], NOW, END)
    assert [(gap.starts_at, gap.privileges) for gap in gaps] == [(NOW + 8 * HOUR, (WRITE,))]


minutes = st.integers(0, 60 * 12).map(lambda count: NOW + timedelta(minutes=count))


@given(st.lists(st.tuples(minutes, minutes).map(lambda pair: (min(pair), max(pair)))))
def test_each_minute_is_either_covered_or_in_one_gap(spans: list[tuple[datetime, datetime]]) -> None:
    holes = list(uncovered(spans, NOW, END))
    for count in range(60 * 12):
        instant = NOW + timedelta(minutes=count)
        is_covered = any(first <= instant < last for first, last in spans)
        assert sum(first <= instant < last for first, last in holes) == (0 if is_covered else 1)


@pytest.mark.parametrize("needs", list(Needs))
def test_what_no_shift_opens_has_no_holes_in_its_rota(needs: Needs) -> None:
    assert bool(nothing_to_check(resource(needs=needs))) is (needs in {Needs.RESPONDING, Needs.NOTHING})


def test_a_hole_is_a_failing_turn_a_gap_or_an_unknown_pager() -> None:
    def made(**fields: object) -> Readiness:
        return Readiness(resource=resource(), starts_at=NOW, ends_at=END, **fields)  # type: ignore[arg-type]  # short

    assert not made(turns=(checked(0, 12, READ),)).has_hole
    assert made(turns=(checked(0, 12),)).has_hole
    assert made(gaps=gaps_of([READ], [], NOW, END)).has_hole
    assert made(unknown=(SCHEDULE,)).has_hole
    assert not made(unread=(SOURCE,)).has_hole
