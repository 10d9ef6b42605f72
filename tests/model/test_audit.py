"""Audit events are frozen values with instants of their own."""

import dataclasses
from typing import get_args

import pytest

from tests.builders import NOW
from watchkey.model.audit import AuditEvent, DecisionMade, ServiceStarted


def test_every_event_is_frozen_and_has_an_instant() -> None:
    for kind in get_args(AuditEvent):
        names = {field.name for field in dataclasses.fields(kind)}
        assert names & {"at", "decision"}, kind
        assert kind.__dataclass_params__.frozen
    assert DecisionMade in get_args(AuditEvent)


def test_an_event_cannot_be_edited() -> None:
    event = ServiceStarted(at=NOW, version="1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.version = "2"  # type: ignore[misc]  # that is the point
