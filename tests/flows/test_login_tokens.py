"""Short-lived tokens: who may have one, for how long, and that nothing but the text itself opens anything."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from tests.fakes.audit import MemoryAudit
from tests.fakes.clock import DrivenClock
from watchkey.flows.login_tokens import PREFIX, TOKENS_PER_SUBJECT_MAX, TTL_DEFAULT, TTL_MAX, LoginTokens
from watchkey.model.access import Caller, Subject
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId, SubjectId
from watchkey.model.secret import Secret

TRUSTED = Caller(id=CallerId("sso"), resources=None, is_trusted=True)
ALICE = Subject(id=SubjectId("alice@example.com"), groups=frozenset({"oncall"}))


class Desk:
    def __init__(self) -> None:
        self.clock, self.audit = DrivenClock(), MemoryAudit()
        numbers = itertools.count()
        self.tokens = LoginTokens(audit=self.audit, clock=self.clock, new_secret=lambda: f"secret{next(numbers)}")

    def issue(self, subject: Subject = ALICE, caller: Caller = TRUSTED, ttl: timedelta = TTL_DEFAULT) -> Secret:
        return asyncio.run(self.tokens.issue(subject, caller=caller, ttl=ttl)).token

    def is_known(self, token: Secret) -> bool:
        try:
            return self.tokens.recognise(token).subject == ALICE
        except Refused:
            return False


def test_a_token_stands_for_its_subject_until_its_end() -> None:
    desk = Desk()
    token = desk.issue()
    assert token.reveal().startswith(PREFIX)
    assert desk.is_known(token)
    desk.clock.advance(TTL_DEFAULT - timedelta.resolution)
    assert desk.is_known(token)
    desk.clock.advance(timedelta.resolution)
    assert not desk.is_known(token)


def test_putting_the_wall_clock_back_lengthens_nothing() -> None:
    desk = Desk()
    token = desk.issue()
    start = desk.clock.now()
    desk.clock.advance(TTL_DEFAULT)
    desk.clock.set_wall(start)
    assert not desk.is_known(token)


@pytest.mark.parametrize("text", ["", "wkt_", "wkt_secret1", "secret0", "wkt_secret0 ", "\ud800"])
def test_nothing_else_proves_anybody(text: str) -> None:
    desk = Desk()
    desk.issue()
    assert not desk.is_known(Secret(text))


def test_only_a_trusted_caller_says_who_somebody_is() -> None:
    desk = Desk()
    with pytest.raises(Refused, match="not trusted"):
        desk.issue(caller=Caller(id=CallerId("anybody"), resources=None))
    assert desk.audit.events == []


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), TTL_MAX + timedelta.resolution])
def test_a_life_has_bounds(ttl: timedelta) -> None:
    with pytest.raises(Refused):
        Desk().issue(ttl=ttl)


def test_a_token_of_nobody_is_not_made() -> None:
    with pytest.raises(Refused):
        Desk().issue(Subject(id=SubjectId("")))


def test_what_cannot_be_recorded_is_not_issued_and_the_record_has_no_secret() -> None:
    desk = Desk()
    token = desk.issue()
    assert token.reveal() not in repr(desk.audit.events)
    desk.audit.fails = True
    with pytest.raises(Unavailable):
        desk.issue()
    assert not desk.is_known(Secret("wkt_secret1"))


def test_the_memory_holds_hashes_only_and_is_bounded() -> None:
    desk = Desk()
    tokens = [desk.issue() for _ in range(TOKENS_PER_SUBJECT_MAX + 3)]
    assert [desk.is_known(token) for token in tokens] == [False] * 3 + [True] * TOKENS_PER_SUBJECT_MAX
    assert "secret" not in repr(desk.tokens._known)
    desk.clock.advance(TTL_DEFAULT)
    desk.issue()
    assert len(desk.tokens._known) == 1
