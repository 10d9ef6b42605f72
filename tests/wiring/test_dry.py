"""The decision on given rosters: of the instant and the age that it is told, and it lets nobody in."""

import asyncio
from datetime import UTC, timedelta

import pytest

from tests.builders import CALLER, NOW, SOURCE, index, links, request, resource, shift
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import Allow, Reason
from watchkey.model.audit import ServiceStopped
from watchkey.model.errors import Unavailable
from watchkey.rules.directory import Directory
from watchkey.wiring import dry_access, policy_engine
from watchkey.wiring.dry import NoLog

ENGINES = {"default": policy_engine(None)}


def asked(age: timedelta = timedelta(0)) -> RequestAccess:
    protected = resource()
    directory = Directory(resources={protected.id: protected}, links=links(("alice", "PALICE")), groups={})
    return dry_access([(index(shift()), 7, age)], ENGINES, directory, at=NOW, zone=UTC)


def test_it_explains_on_the_given_roster_and_does_not_decide() -> None:
    assert isinstance(asyncio.run(asked().explain(request())).decision, Allow)
    assert asyncio.run(asked().decide(request(), CALLER)).reason is Reason.AUDIT_UNAVAILABLE


def test_the_roster_is_as_old_as_it_is_said_to_be() -> None:
    (ground,) = asyncio.run(asked(timedelta(minutes=3)).explain(request())).decision.grounds
    assert (ground.source, ground.revision, ground.age) == (SOURCE, 7, timedelta(minutes=3))


def test_its_log_refuses_everything() -> None:
    with pytest.raises(Unavailable, match="ServiceStopped"):
        asyncio.run(NoLog().append(ServiceStopped(at=NOW)))
