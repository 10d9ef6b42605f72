"""Trusted callers get the whole decision, all others what they need to act and nothing besides."""

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import HOUR, NOW, SERVICE, request
from watchkey.entrypoints.http.answer import DecisionAnswer, answer
from watchkey.model.access import Allow, Caller, Deny, Evidence, FactKind, Ground, OnCallInstead, Reason
from watchkey.model.ids import CallerId, PersonId, SourceName
from watchkey.model.oncall import EndKind

TRUSTED = Caller(id=CallerId("t"), is_trusted=True)
PLAIN = Caller(id=CallerId("p"))
FACT = Evidence(
    kind=FactKind.ON_CALL, person=PersonId("PALICE"), scope=SERVICE, until=NOW + HOUR, end_kind=EndKind.EXACT, level=1
)
ALLOW = Allow(
    request=request(),
    decided_at=NOW,
    until=NOW + HOUR,
    reason=Reason.ON_CALL,
    sentence="alice is on call",
    evidence=(FACT,),
    grounds=(Ground(source=SourceName("pager"), revision=7, age=timedelta(seconds=12)),),
    policy_hash="abc",
)
DENY = Deny(
    request=request(),
    decided_at=NOW,
    reason=Reason.NOT_ON_CALL,
    sentence="carol is not on call",
    instead=(OnCallInstead(name="alice", level=1, until=NOW + HOUR),),
    next_shift_at=NOW + 2 * HOUR,
    evidence=(FACT,),
)


def shown(given_answer: DecisionAnswer) -> dict[str, object]:
    return dict(json.loads(msgspec.json.encode(given_answer)))


def test_a_trusted_caller_gets_everything_of_an_allow() -> None:
    got = shown(answer(ALLOW, 5, TRUSTED, NOW))
    assert got["allow"] is True
    assert (got["until"], got["ttl_s"], got["seq"]) == ("2026-07-01T13:00:00Z", 3600, 5)
    assert got["evidence"] == [
        {
            "kind": "on_call",
            "person": "PALICE",
            "scope": "pager/service/orders",
            "end_kind": "exact",
            "until": "2026-07-01T13:00:00Z",
            "level": 1,
            "provenance": "rota",
        }
    ]
    assert got["grounds"] == [{"source": "pager", "revision": 7, "age_s": 12.0}]


def test_a_trusted_caller_gets_everything_of_a_denial() -> None:
    got = shown(answer(DENY, 6, TRUSTED, NOW))
    assert got["allow"] is False
    assert (got["reason"], got["sentence"]) == ("not_on_call", "carol is not on call")
    assert got["instead"] == [{"name": "alice", "level": 1, "until": "2026-07-01T13:00:00Z"}]
    assert got["next_shift_at"] == "2026-07-01T14:00:00Z"


@pytest.mark.parametrize("reason", Reason)
def test_an_untrusted_caller_learns_no_and_nothing_else_whatever_the_reason(reason: Reason) -> None:
    assert shown(answer(replace(DENY, reason=reason), 6, PLAIN, NOW)) == {"allow": False}


def test_an_untrusted_caller_gets_an_allow_with_its_end_only() -> None:
    assert set(shown(answer(ALLOW, 5, PLAIN, NOW))) == {"allow", "until", "ttl_s"}


@given(st.timedeltas(min_value=timedelta(0), max_value=2 * HOUR), st.sampled_from([TRUSTED, PLAIN]))
def test_an_allow_never_outlasts_its_end_by_the_way_it_is_told(later: timedelta, caller: Caller) -> None:
    now = NOW + later
    got = answer(ALLOW, 5, caller, now)
    assert got.allow is (now < ALLOW.until)
    if got.allow:
        assert got.ttl_s is not None
        assert now + timedelta(seconds=got.ttl_s) <= ALLOW.until < now + timedelta(seconds=got.ttl_s + 1)
    else:
        assert got.until is None
        assert got.ttl_s is None
