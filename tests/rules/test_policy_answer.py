"""Only a well-formed answer of a policy is an answer."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.access import Outcome
from watchkey.rules.policy_answer import PolicyAnswer, kind_of, not_an_object, parse_ttl, read_answer

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def test_a_yes_and_a_no_are_read_with_what_they_say_besides() -> None:
    assert read_answer(True, "5m", ["on call"]) == PolicyAnswer(Outcome.YES, timedelta(minutes=5), ("on call",))
    assert read_answer(False, None, []) == PolicyAnswer(Outcome.NO)


@given(JSON, JSON, JSON)
def test_nothing_but_true_is_a_yes(allow: Any, ttl: Any, reasons: Any) -> None:
    answer = read_answer(allow, ttl, reasons)
    assert (answer.outcome is Outcome.YES) <= (allow is True)
    assert (answer.outcome is Outcome.NO) <= (allow is False)
    assert bool(answer.detail) is (answer.outcome is Outcome.MALFORMED)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "nothing"), (True, "a boolean"), (1, "a number"), (1.5, "a number"), ("x", "a text"), ([], "an array")],
)
def test_what_is_no_object_is_malformed_and_named(value: object, kind: str) -> None:
    assert kind_of(value) == kind
    answer = not_an_object(value)
    assert answer.outcome is Outcome.MALFORMED
    assert kind in answer.detail


@pytest.mark.parametrize(
    ("ttl", "seconds"),
    [
        (60, 60.0), (0.5, 0.5), ("60s", 60.0), ("1h30m", 5400.0), ("250ms", 0.25), ("1.5h", 5400.0), (-1, -1.0),
        ("", None), ("60", None), ("s", None), ("-1s", None), ("1d", None), ("1e3s", None), (True, None), (None, None),
        (float("nan"), None), (float("inf"), None), ("9" * 40 + "s", None), (10**400, None), ("٣s", None),
    ],
)  # fmt: skip
def test_ttl(ttl: object, seconds: float | None) -> None:
    assert parse_ttl(ttl) == (None if seconds is None else timedelta(seconds=seconds))
