"""Shifts are half-open, scopes have one written form, resolved incidents are closed."""

from datetime import timedelta

from tests.builders import HOUR, NOW, SERVICE, incident, shift
from watchkey.model.oncall import EndKind, IncidentStatus

TICK = timedelta(microseconds=1)


def test_a_shift_covers_its_first_instant_and_not_its_last() -> None:
    turn = shift(starts_at=NOW, ends_at=NOW + HOUR)
    assert [turn.covers(NOW + at) for at in (-TICK, timedelta(0), HOUR - TICK, HOUR)] == [False, True, True, False]


def test_missing_borders_mean_ever() -> None:
    turn = shift(starts_at=None, ends_at=None, end_kind=EndKind.PERMANENT)
    assert turn.covers(NOW - 10_000 * HOUR)
    assert turn.covers(NOW + 10_000 * HOUR)


def test_a_scope_is_written_as_source_kind_and_id() -> None:
    assert str(SERVICE) == "pager/service/orders"


def test_only_a_resolved_incident_is_closed() -> None:
    assert [incident(status=status).is_open for status in IncidentStatus] == [True, True, False]
