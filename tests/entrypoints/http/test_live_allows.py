"""Who holds an allow stays in the lane until its end, and is told the seconds that are left, never more."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import HOUR, NOW, request
from watchkey.entrypoints.http.answer import DecisionAnswer, answer
from watchkey.entrypoints.http.live_allows import LiveAllows
from watchkey.model.access import AccessRequest, Allow, Caller, Reason
from watchkey.model.ids import CallerId, ResourceId

CALLER = Caller(id=CallerId("gateway"))
ALLOW = Allow(request=request(), decided_at=NOW, until=NOW + HOUR, reason=Reason.ON_CALL, sentence="yes", evidence=())


def shaped(allow: Allow = ALLOW) -> DecisionAnswer:
    return answer(allow, 0, CALLER, NOW)


def remembering(*requests: AccessRequest, capacity: int = 10) -> LiveAllows:
    live = LiveAllows(capacity)
    for each in requests:
        live.remember(each, ALLOW, shaped())
    return live


def test_an_allow_is_live_until_its_end_and_not_at_it() -> None:
    live = remembering(request())
    assert live.holds(request(), NOW + HOUR - timedelta(microseconds=1))
    assert not live.holds(request(), NOW + HOUR)


@pytest.mark.parametrize(
    "other",
    [
        request("bob"),
        request(privilege="read"),
        request(caller=CallerId("other")),
        request(resource=ResourceId("billing-db")),
    ],
)
def test_an_allow_is_live_for_its_own_question_only(other: AccessRequest) -> None:
    live = remembering(request())
    assert not live.holds(other, NOW)
    assert live.answer(other, ALLOW, NOW) is None


def test_a_denial_ends_it() -> None:
    live = remembering(request())
    live.forget(request())
    assert not live.holds(request(), NOW)
    live.forget(request())


def test_notes_are_bounded_and_the_oldest_goes_first() -> None:
    live = remembering(request("a"), request("b"), request("c"), capacity=2)
    assert [live.holds(request(name), NOW) for name in ("a", "b", "c")] == [False, True, True]


@given(st.timedeltas(min_value=timedelta(0), max_value=2 * HOUR))
def test_an_answer_is_told_again_only_within_its_second(later: timedelta) -> None:
    again = remembering(request()).answer(request(), ALLOW, NOW + later)
    assert again == (shaped() if later == timedelta(0) else None)
    fresh = answer(ALLOW, 0, CALLER, NOW + later)
    live = LiveAllows()
    live.remember(request(), ALLOW, fresh)
    told = live.answer(request(), ALLOW, NOW + later)
    assert told == (fresh if fresh.allow else None)


def test_another_decision_on_the_same_question_is_shaped_anew() -> None:
    assert remembering(request()).answer(request(), replace(ALLOW), NOW) is None
