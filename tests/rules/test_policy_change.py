"""Every pair of decisions has exactly the difference that a person would name."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import NOW, request
from watchkey.model.access import Allow, Decision, Deny, Reason
from watchkey.rules.policy_change import Change, change_between

YES = Allow(
    request=request(), decided_at=NOW, until=NOW + timedelta(hours=1), reason=Reason.ON_CALL, sentence="", evidence=()
)
SOONER = replace(YES, until=NOW + timedelta(minutes=1))
NO = Deny(request=request(), decided_at=NOW, reason=Reason.POLICY_DENIED, sentence="")
OTHERWISE = replace(NO, reason=Reason.POLICY_FAILED)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (YES, replace(YES, sentence="else", policy_hash="x"), None),
        (YES, SOONER, Change.SHORTER),
        (SOONER, YES, Change.LONGER),
        (YES, NO, Change.LOSES),
        (NO, YES, Change.GAINS),
        (NO, replace(NO, sentence="else"), None),
        (NO, OTHERWISE, Change.REASON),
    ],
)
def test_the_difference(before: Decision, after: Decision, change: Change | None) -> None:
    assert change_between(before, after) is change
