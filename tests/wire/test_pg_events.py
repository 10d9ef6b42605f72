"""The vocabulary keeps its promises: values, no secret in print, one name for one thing."""

import dataclasses
from typing import get_args

from watchkey.model.secret import Secret
from watchkey.wire import pg_events as ev


def test_every_word_is_a_frozen_value() -> None:
    for word in (*get_args(ev.Event), *get_args(ev.Command)):
        assert word.__dataclass_params__.frozen, word
        assert dataclasses.fields(word) is not None


def test_no_word_is_both_an_event_and_a_command() -> None:
    assert not set(get_args(ev.Event)) & set(get_args(ev.Command))


def test_a_password_does_not_show() -> None:
    assert "wkt_" not in repr(ev.ProveIdentity("alice", Secret("wkt_abc")))
