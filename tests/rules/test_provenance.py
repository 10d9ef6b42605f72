"""Grades from creator facts, and from when time was first seen, against an hour-by-hour bookkeeping."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.builders import NOW, roster, shift
from watchkey.model.errors import Malformed
from watchkey.model.ids import PersonId
from watchkey.model.oncall import EndKind, Provenance, Roster, Shift
from watchkey.rules.provenance import Sightings, dump_sightings, grade_by_sight, grade_override, load_sightings

HOUR = timedelta(hours=1)
START = datetime(2026, 7, 1, tzinfo=UTC)
ALICE, BOB, CAROL, EVE = (PersonId(name) for name in ("alice", "bob", "carol", "eve"))
MEMBERS = frozenset({ALICE, BOB, CAROL})


@pytest.mark.parametrize(
    ("beneficiary", "creator", "replaced", "grade"),
    [
        (BOB, None, ALICE, Provenance.UNKNOWN),
        (BOB, BOB, ALICE, Provenance.SELF_OVERRIDE),
        (BOB, BOB, None, Provenance.SELF_OVERRIDE),
        (BOB, ALICE, ALICE, Provenance.SWAP),
        (BOB, CAROL, ALICE, Provenance.OTHER_OVERRIDE),
        (BOB, ALICE, None, Provenance.OTHER_OVERRIDE),
        (EVE, ALICE, ALICE, Provenance.OTHER_OVERRIDE),  # eve is no member of the rota
        (BOB, EVE, EVE, Provenance.OTHER_OVERRIDE),  # nor is it a swap when eve, on by another override, gives away
    ],
)
def test_an_override_is_graded_by_who_made_it(
    beneficiary: PersonId, creator: PersonId | None, replaced: PersonId | None, grade: Provenance
) -> None:
    assert grade_override(beneficiary=beneficiary, creator=creator, replaced=replaced, members=MEMBERS) is grade


# -- by sight ----------------------------------------------------------------------------------------------------


def unknown(**changes: Any) -> Shift:
    return shift(**({"provenance": Provenance.UNKNOWN} | changes))


def look(before: Sightings | None, hours: float, *members: Shift) -> tuple[list[Shift], Sightings]:
    """Read a roster so many hours after NOW, with the default notice of a day."""
    graded, after = grade_by_sight(roster(*members), before, NOW + hours * HOUR)
    return sorted(graded.shifts, key=lambda one: one.starts_at or NOW), after


def grades(members: list[Shift]) -> list[Provenance]:
    return [one.provenance for one in members]


def test_the_first_complete_read_is_the_baseline() -> None:
    found, _ = look(None, 0, unknown())
    assert found == [shift(provenance=Provenance.ROTA)]


@pytest.mark.parametrize(("hours", "grade"), [(24, Provenance.ROTA), (23.999, Provenance.UNKNOWN)])
def test_time_must_be_seen_the_notice_before_it_begins(hours: float, grade: Provenance) -> None:
    _, seen = look(None, 0)
    found, _ = look(seen, 1, unknown(starts_at=NOW + (1 + hours) * HOUR, ends_at=NOW + 100 * HOUR))
    assert grades(found) == [grade]


def test_an_unknown_shift_stays_unknown_however_often_it_is_read() -> None:
    _, seen = look(None, 0)
    late = unknown(starts_at=NOW + 5 * HOUR, ends_at=NOW + 60 * HOUR)
    for hours in (1, 2, 20, 50):
        found, seen = look(seen, hours, late)
        assert grades(found) == [Provenance.UNKNOWN]


def test_prolonging_a_shift_does_not_spoil_its_published_part() -> None:
    _, seen = look(None, 0, unknown(ends_at=NOW + 5 * HOUR))
    found, _ = look(seen, 1, unknown(ends_at=NOW + 9 * HOUR, end_kind=EndKind.TRUNCATED))
    assert [(one.ends_at, one.end_kind, one.provenance) for one in found] == [
        (NOW + 5 * HOUR, EndKind.EXACT, Provenance.ROTA),
        (NOW + 9 * HOUR, EndKind.TRUNCATED, Provenance.UNKNOWN),
    ]
    assert found[1].starts_at == NOW + 5 * HOUR


def test_the_moving_window_does_not_turn_a_sudden_shift_into_rota() -> None:
    _, seen = look(None, 0)
    for hours in range(1, 100, 10):
        endless = unknown(starts_at=NOW + HOUR, ends_at=NOW + (hours + 72) * HOUR, end_kind=EndKind.TRUNCATED)
        found, seen = look(seen, hours, endless)
        assert grades(found) == [Provenance.UNKNOWN]


def test_the_moving_window_keeps_a_published_shift_whole() -> None:
    seen: Sightings | None = None
    for hours in range(0, 100, 10):
        endless = unknown(starts_at=NOW, ends_at=NOW + (hours + 72) * HOUR, end_kind=EndKind.TRUNCATED)
        found, seen = look(seen, hours, endless)
        assert found == [shift(starts_at=NOW, ends_at=NOW + (hours + 72) * HOUR, end_kind=EndKind.TRUNCATED)]


def test_taking_back_an_override_restores_the_rota() -> None:
    whole = unknown(ends_at=NOW + 9 * HOUR)
    _, seen = look(None, 0, whole)
    over = unknown(person="PBOB", starts_at=NOW + 2 * HOUR, ends_at=NOW + 3 * HOUR)
    rest = unknown(ends_at=NOW + 2 * HOUR), unknown(starts_at=NOW + 3 * HOUR, ends_at=NOW + 9 * HOUR)
    found, seen = look(seen, 1, over, *rest)
    assert {one.person: one.provenance for one in found} == {"PALICE": Provenance.ROTA, "PBOB": Provenance.UNKNOWN}
    found, _ = look(seen, 2, whole)
    assert found == [shift(ends_at=NOW + 9 * HOUR)]


def test_what_was_gone_for_longer_than_the_notice_is_news() -> None:
    later = unknown(starts_at=NOW + 49 * HOUR, ends_at=NOW + 60 * HOUR)
    _, seen = look(None, 0, later)
    _, seen = look(seen, 24)
    back, _ = look(seen, 47.9, later)
    assert grades(back) == [Provenance.ROTA]
    back, _ = look(seen, 48, later)
    assert grades(back) == [Provenance.UNKNOWN]


def test_a_permanent_target_is_permanent_and_other_knowledge_of_the_source_stands() -> None:
    permanent = unknown(starts_at=None, ends_at=None, end_kind=EndKind.PERMANENT)
    told = shift("PBOB", provenance=Provenance.SELF_OVERRIDE)
    by_somebody = unknown(person="PCAROL", created_by=EVE)
    found, seen = look(None, 0, permanent, told, by_somebody)
    assert sorted(grades(found)) == [Provenance.PERMANENT, Provenance.SELF_OVERRIDE, Provenance.UNKNOWN]
    assert seen == Sightings()


def test_a_duty_that_is_over_is_forgotten() -> None:
    _, seen = look(None, 0, unknown())
    assert seen.known
    _, seen = look(seen, 1)
    _, seen = look(seen, 26)
    assert not seen.known


def test_an_unchanged_duty_is_carried_as_it_is() -> None:
    _, seen = look(None, 0, unknown())
    _, after = look(seen, 0.1, unknown())
    (old,), (new,) = seen.known.values(), after.known.values()
    assert new is old


def test_sightings_survive_a_restart() -> None:
    _, seen = look(None, 0, unknown(starts_at=None), unknown(person="PBOB", ends_at=None, end_kind=EndKind.UNKNOWN))
    _, seen = look(seen, 1, unknown(person="PCAROL", level=None, policy=None))
    assert load_sightings(dump_sightings(seen)) == seen


@pytest.mark.parametrize("stored", [b"", b"{", b"{}", b"[[1, 2]]", b"\xff", b"null"])
def test_stored_sightings_that_are_damaged_are_refused(stored: bytes) -> None:
    with pytest.raises(Malformed, match="stored sightings"):
        load_sightings(stored)


# -- the oracle: hour by hour ------------------------------------------------------------------------------------

NOTICE = 3


class Bookkeeping:
    """Keeps, for each hour of one duty, whether it counts as rota and since when it has been gone."""

    def __init__(self) -> None:
        self.settled: dict[int, bool] = {}
        self.gone: dict[int, int] = {}
        self.is_first = True

    def read(self, shown: set[int], now: int) -> dict[int, bool]:
        for number in [one for one, since in self.gone.items() if since <= now - NOTICE]:
            del self.gone[number], self.settled[number]
        doubtful = {one for one, ok in self.settled.items() if not ok and one in shown}
        news = shown - self.settled.keys()
        for first in sorted(one for one in news if one - 1 not in news):
            run = [first]
            while run[-1] + 1 in news:
                run.append(run[-1] + 1)
            prolongs = first - 1 in doubtful or run[-1] + 1 in doubtful
            for one in run:
                self.settled[one] = self.is_first or (first >= now + NOTICE and not prolongs)
        for one in self.settled:
            if one in shown:
                self.gone.pop(one, None)
            else:
                self.gone.setdefault(one, now)
        self.is_first = False
        return {one: self.settled[one] for one in shown}


def test_each_hour_has_the_grade_that_the_bookkeeping_says() -> None:
    reached: set[str] = set()
    interval = st.tuples(st.integers(0, 20), st.integers(1, 6))
    reads = st.lists(st.tuples(st.integers(1, 3), st.lists(interval, max_size=3)), min_size=1, max_size=6)

    @settings(max_examples=300)
    @given(reads=reads)
    def check(reads: list[tuple[int, list[tuple[int, int]]]]) -> None:
        book, seen, now = Bookkeeping(), None, 0
        for step, intervals in reads:
            now += step
            shown = {hour for start, length in intervals for hour in range(start, start + length)}
            read = Roster(
                source=roster().source,
                taken_at=START,
                window_ends_at=START + 99 * HOUR,
                shifts=tuple(
                    unknown(starts_at=START + start * HOUR, ends_at=START + (start + length) * HOUR)
                    for start, length in intervals
                ),
            )
            graded, seen = grade_by_sight(read, seen, START + now * HOUR, NOTICE * HOUR)
            for hour, is_settled in book.read(shown, now).items():
                grade = Provenance.ROTA if is_settled else Provenance.UNKNOWN
                assert {one.provenance for one in graded.shifts if one.covers(START + hour * HOUR)} == {grade}
                reached.add(grade)
                event(grade)
            assert all(
                any(one.covers(START + hour * HOUR) for one in graded.shifts) == (hour in shown) for hour in range(30)
            )

    check()
    assert reached == {Provenance.ROTA, Provenance.UNKNOWN}
