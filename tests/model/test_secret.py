"""A secret hides itself in every printed form."""

import copy
import pickle
import traceback

import pytest

from watchkey.model.secret import Secret

CANARY = "canary-7f3a"


def test_no_printed_form_shows_it() -> None:
    secret = Secret(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", repr([secret]), repr({"token": secret})]
    assert all(CANARY not in text for text in shown)
    assert secret.reveal() == CANARY


def test_a_traceback_that_prints_it_does_not_show_it() -> None:
    with pytest.raises(ValueError, match="Secret") as caught:
        raise ValueError(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_it_cannot_be_pickled_or_copied_out() -> None:
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(Secret(CANARY))


def test_equality_and_hash_do_not_reveal_it() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("another")
    assert Secret(CANARY) != CANARY
    assert hash(Secret(CANARY)) == hash(Secret("another"))
    assert not hasattr(Secret(CANARY), "__dict__")
