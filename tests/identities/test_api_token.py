"""Tokens prove their caller and nobody else, and every refusal is the same."""

import asyncio
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import DrivenClock
from watchkey.identities.api_token import Config, build, hash_token, make_token
from watchkey.model.access import Caller
from watchkey.model.errors import Refused
from watchkey.model.ids import CallerId
from watchkey.model.secret import Secret
from watchkey.ports import IdentityVerifier

GATEWAY = Caller(id=CallerId("gateway"), is_trusted=True)
PROXY = Caller(id=CallerId("proxy"))
FIRST, SECOND, THIRD = make_token(), make_token(), make_token()


def verifier() -> IdentityVerifier:
    callers = ((GATEWAY, (hash_token(FIRST), hash_token(SECOND))), (PROXY, (hash_token(THIRD),)))
    return build(Config(callers=callers), name="callers", clock=DrivenClock())


@pytest.mark.parametrize(("token", "caller"), [(FIRST, GATEWAY), (SECOND, GATEWAY), (THIRD, PROXY)])
def test_each_token_proves_its_caller(token: Secret, caller: Caller) -> None:
    assert asyncio.run(verifier().verify(token.reveal())) == caller


@given(st.text() | st.sampled_from([FIRST, THIRD]).flatmap(lambda t: _near(t.reveal())))
def test_anything_else_is_refused_in_the_same_words(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        asyncio.run(verifier().verify(text))
    assert str(refusal.value) == "the credentials do not prove a known caller"


def _near(token: str) -> st.SearchStrategy[str]:
    return st.sampled_from(
        [token[:-1], token + "=", token + " ", " " + token, token.swapcase(), token[3:], token + "\n"]
    )


def test_the_hash_itself_is_no_credential() -> None:
    with pytest.raises(Refused):
        asyncio.run(verifier().verify(hash_token(FIRST)))


def test_surrogates_from_a_header_are_refused_and_not_an_error() -> None:
    with pytest.raises(Refused):
        asyncio.run(verifier().verify("wk_\udcff"))


def test_without_callers_nobody_is_let_in() -> None:
    with pytest.raises(Refused):
        asyncio.run(build(Config(), name="callers", clock=DrivenClock()).verify(FIRST.reveal()))


def test_one_token_for_two_callers_is_refused_at_the_start() -> None:
    callers = ((GATEWAY, (hash_token(FIRST),)), (PROXY, (hash_token(FIRST),)))
    with pytest.raises(Refused, match=r"proxy.*already in use"):
        build(Config(callers=callers), name="callers", clock=DrivenClock())


@pytest.mark.parametrize("text", ["sha256:", "sha256:" + "0" * 63, "sha256:" + "G" * 64, "md5:" + "0" * 64, "0" * 64])
def test_a_hash_of_another_form_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(Refused, match="64 hexadecimal digits"):
        build(Config(callers=((GATEWAY, (text,)),)), name="callers", clock=DrivenClock())


def test_tokens_are_long_and_never_the_same() -> None:
    tokens = {make_token().reveal() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(token.startswith("wk_") and len(token) == 46 for token in tokens)


def test_the_hash_is_the_plain_sha256_so_that_any_tool_can_make_it() -> None:
    assert hash_token(FIRST) == "sha256:" + hashlib.sha256(FIRST.reveal().encode()).hexdigest()


@pytest.mark.parametrize("text", ["", "hunter2", "wk_", "wk_short", "x" * 46])
def test_a_password_is_not_made_into_a_token(text: str) -> None:
    with pytest.raises(Refused, match="not a token"):
        hash_token(Secret(text))


def test_a_new_token_does_not_show_itself() -> None:
    token = make_token()
    assert token.reveal() not in f"{token} {token!r}"
