"""A second person's word raises exactly the shift that was there to be seen, for a time, and nothing else."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import HOUR, NOW, SOURCE, roster, shift
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance
from watchkey.rules.confirmation import (
    LASTS_MAX,
    apply_confirmations,
    confirmation_of,
    is_doubtful,
    lapsed,
    shift_id,
    still_needed,
    take_back,
)

DOUBTFUL = shift(provenance=Provenance.SELF_OVERRIDE, starts_at=NOW, ends_at=NOW + HOUR)
WORD = confirmation_of(DOUBTFUL, SOURCE, SubjectId("bob"), NOW)
LONG = shift(provenance=Provenance.UNKNOWN, starts_at=NOW - HOUR, ends_at=NOW + timedelta(days=3))
CHANGES = [
    {"person": "PBOB"},
    {"level": 2},
    {"policy": "other"},
    {"schedule": "other"},
    {"starts_at": NOW - HOUR},
    {"ends_at": NOW + 2 * HOUR},
    {"ends_at": NOW + HOUR / 2},
    {"end_kind": EndKind.TRUNCATED},
    {"created_by": PersonId("PCAROL")},
]


def graded(*shifts: object, words: object = (WORD,)) -> list[tuple[object, object, object]]:
    after = apply_confirmations(roster(*shifts), words)  # type: ignore[arg-type]  # short
    return [(one.starts_at, one.ends_at, one.provenance) for one in after.shifts]


def test_the_confirmed_shift_counts_as_made_by_somebody_else() -> None:
    assert graded(DOUBTFUL) == [(NOW, NOW + HOUR, Provenance.OTHER_OVERRIDE)]
    assert lapsed([DOUBTFUL], [WORD]) == ()


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_of_it_nobody_has_vouched_for_and_the_word_lapses(change: dict[str, object]) -> None:
    other = shift(**({"provenance": Provenance.SELF_OVERRIDE, "starts_at": NOW, "ends_at": NOW + HOUR} | change))
    assert graded(other) == [(other.starts_at, other.ends_at, Provenance.SELF_OVERRIDE)]
    assert lapsed([other], [WORD]) == (WORD,)
    assert shift_id(SOURCE, other) != WORD.shift


def test_a_shift_that_needs_no_word_any_more_ends_it() -> None:
    assert lapsed([shift(starts_at=NOW, ends_at=NOW + HOUR)], [WORD]) == (WORD,)


def test_another_source_and_better_grades_are_left_alone() -> None:
    elsewhere = confirmation_of(DOUBTFUL, SourceName("other"), SubjectId("bob"), NOW)
    assert graded(DOUBTFUL, words=(elsewhere,)) == [(NOW, NOW + HOUR, Provenance.SELF_OVERRIDE)]
    assert take_back(roster(DOUBTFUL), [elsewhere], []).shifts == (DOUBTFUL,)
    before = roster(shift())
    assert apply_confirmations(before, (WORD,)) is before
    assert not is_doubtful(shift(end_kind=EndKind.PERMANENT, ends_at=None, provenance=Provenance.UNKNOWN))


def test_a_long_shift_is_vouched_for_until_the_word_ends_and_not_after() -> None:
    word = confirmation_of(LONG, SOURCE, SubjectId("bob"), NOW)
    assert word.until == NOW + LASTS_MAX
    assert graded(LONG, words=(word,)) == [
        (LONG.starts_at, word.until, Provenance.OTHER_OVERRIDE),
        (word.until, LONG.ends_at, Provenance.UNKNOWN),
    ]
    first, _ = apply_confirmations(roster(LONG), (word,)).shifts
    assert first.end_kind is EndKind.EXACT
    later = confirmation_of(LONG, SOURCE, SubjectId("carol"), NOW + HOUR)
    assert graded(LONG, words=(word, later))[0][1] == later.until


def test_a_word_for_a_coming_shift_lasts_from_its_start() -> None:
    coming = shift(provenance=Provenance.UNKNOWN, starts_at=NOW + 9 * HOUR, ends_at=NOW + timedelta(days=9))
    assert confirmation_of(coming, SOURCE, SubjectId("bob"), NOW, HOUR).until == NOW + 10 * HOUR


def test_an_end_that_nobody_knows_is_vouched_for_until_the_word_ends() -> None:
    endless = shift(provenance=Provenance.UNKNOWN, end_kind=EndKind.UNKNOWN, ends_at=None)
    word = confirmation_of(endless, SOURCE, SubjectId("bob"), NOW)
    assert graded(endless, words=(word,)) == [
        (endless.starts_at, NOW + LASTS_MAX, Provenance.OTHER_OVERRIDE),
        (NOW + LASTS_MAX, None, Provenance.UNKNOWN),
    ]


def test_where_the_window_cuts_a_shift_off_is_no_change_of_it() -> None:
    cut = [
        shift(provenance=Provenance.UNKNOWN, end_kind=EndKind.TRUNCATED, ends_at=NOW + days * timedelta(days=1))
        for days in (2, 3)
    ]
    word = confirmation_of(cut[0], SOURCE, SubjectId("bob"), NOW)
    assert lapsed([cut[1]], [word]) == ()
    assert word.shift == shift_id(SOURCE, cut[1])


def test_a_word_ends_with_its_time() -> None:
    assert WORD.until == NOW + HOUR
    assert still_needed((WORD,), NOW + HOUR - timedelta(microseconds=1)) == (WORD,)
    assert still_needed((WORD,), NOW + HOUR) == ()


def test_what_a_word_raised_in_a_kept_roster_is_taken_back_whole() -> None:
    word = confirmation_of(LONG, SOURCE, SubjectId("bob"), NOW)
    kept = apply_confirmations(roster(LONG, shift("PBOB")), (word,))
    after = take_back(kept, [word], [])
    assert [one.provenance for one in after.shifts] == [Provenance.UNKNOWN, Provenance.UNKNOWN, Provenance.ROTA]
    assert take_back(kept, [], []) is kept
    assert take_back(roster(LONG), [word], []).shifts == (LONG,)


def test_what_a_word_that_stands_has_raised_stays_when_another_is_taken_back() -> None:
    gone = confirmation_of(LONG, SOURCE, SubjectId("bob"), NOW)
    stands = confirmation_of(LONG, SOURCE, SubjectId("carol"), NOW + timedelta(minutes=1))
    kept = apply_confirmations(roster(LONG), (gone, stands))
    assert take_back(kept, [gone], [stands]) is kept
    for other in (
        {"until": stands.until - timedelta(minutes=1)},
        {"starts_at": NOW - 2 * HOUR},
        {"source": SourceName("other")},
        {"level": 2},
        {"created_by": PersonId("PBOB")},
    ):
        assert take_back(kept, [gone], [replace(stands, **other)]).shifts[0].provenance is Provenance.UNKNOWN, other
