"""A second person's word raises exactly the time that was there to be seen, of that duty, and nothing else."""

from datetime import timedelta

import pytest

from tests.builders import HOUR, NOW, SOURCE, roster, shift
from watchkey.model.ids import SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance
from watchkey.rules.confirmation import (
    UNKNOWN_END_MAX,
    apply_confirmations,
    confirmation_of,
    is_doubtful,
    still_needed,
)

DOUBTFUL = shift(provenance=Provenance.SELF_OVERRIDE, starts_at=NOW, ends_at=NOW + HOUR)
WORD = confirmation_of(DOUBTFUL, SOURCE, SubjectId("bob"), NOW)


def graded(*shifts: object, words: object = (WORD,)) -> list[tuple[object, object, object]]:
    after = apply_confirmations(roster(*shifts), words)  # type: ignore[arg-type]  # short
    return [(one.starts_at, one.ends_at, one.provenance) for one in after.shifts]


def test_the_confirmed_time_counts_as_made_by_somebody_else() -> None:
    assert graded(DOUBTFUL) == [(NOW, NOW + HOUR, Provenance.OTHER_OVERRIDE)]


def test_what_was_added_afterwards_is_not_vouched_for() -> None:
    longer = shift(provenance=Provenance.SELF_OVERRIDE, starts_at=NOW - HOUR, ends_at=NOW + 2 * HOUR)
    assert graded(longer) == [
        (NOW - HOUR, NOW, Provenance.SELF_OVERRIDE),
        (NOW, NOW + HOUR, Provenance.OTHER_OVERRIDE),
        (NOW + HOUR, NOW + 2 * HOUR, Provenance.SELF_OVERRIDE),
    ]


@pytest.mark.parametrize("change", [{"person": "PBOB"}, {"level": 2}, {"policy": "other"}, {"schedule": "other"}])
def test_another_duty_is_not_vouched_for(change: dict[str, object]) -> None:
    other = shift(**({"provenance": Provenance.SELF_OVERRIDE, "starts_at": NOW, "ends_at": NOW + HOUR} | change))
    assert graded(other) == [(NOW, NOW + HOUR, Provenance.SELF_OVERRIDE)]


def test_another_source_and_better_grades_are_left_alone() -> None:
    elsewhere = confirmation_of(DOUBTFUL, SourceName("other"), SubjectId("bob"), NOW)
    assert graded(DOUBTFUL, words=(elsewhere,)) == [(NOW, NOW + HOUR, Provenance.SELF_OVERRIDE)]
    before = roster(shift())
    assert apply_confirmations(before, (WORD,)) is before
    assert not is_doubtful(shift(end_kind=EndKind.PERMANENT, ends_at=None, provenance=Provenance.UNKNOWN))


def test_twice_is_once() -> None:
    once = apply_confirmations(roster(DOUBTFUL), (WORD,))
    assert apply_confirmations(once, (WORD, WORD)) is once


def test_a_word_ends_with_its_time_and_an_unknown_end_after_a_day() -> None:
    assert still_needed((WORD,), NOW + HOUR - timedelta(microseconds=1)) == (WORD,)
    assert still_needed((WORD,), NOW + HOUR) == ()
    endless = shift(provenance=Provenance.UNKNOWN, end_kind=EndKind.UNKNOWN, ends_at=None)
    assert confirmation_of(endless, SOURCE, SubjectId("bob"), NOW).ends_at == NOW + UNKNOWN_END_MAX
