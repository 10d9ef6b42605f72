"""`watchkey residue`: the table for people. What it finds is in tests/live/test_whole_service.py."""

from datetime import UTC, datetime

from watchkey.entrypoints.cli.residue import _json, _words
from watchkey.model.ids import ResourceId, SubjectId
from watchkey.model.lease import Holding, LeaseId, Residue, ResidueKind

HOLDING = Holding(
    account="wk_alice_1", lease=LeaseId("1"), subject=SubjectId("alice"), resource=ResourceId("orders-db"),
    ends_at=datetime(2026, 7, 1, 18, tzinfo=UTC), can_log_in=False, sessions=0,
)  # fmt: skip
VIEW = Residue(kind=ResidueKind.VIEW, database="orders", name="view public.window")


def test_each_thing_that_is_left_is_a_line() -> None:
    text = _words([(HOLDING, (VIEW,))])
    assert all(
        word in text for word in ("wk_alice_1", "closed", "2026-07-01 18:00:00", "view", "orders: view public.window")
    )
    assert "wk_alice_1" in _words([(HOLDING, ())])
    assert "no account" in _words([])


def test_the_same_in_json() -> None:
    assert _json(HOLDING, (VIEW,))["residue"][0]["name"] == "view public.window"
