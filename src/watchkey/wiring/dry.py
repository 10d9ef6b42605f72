"""The decision without a service: on given rosters, recording nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from watchkey.flows.request_access import RequestAccess
from watchkey.model.audit import AuditEvent
from watchkey.model.errors import Unavailable
from watchkey.ports import HeldRoster, PolicyEngine
from watchkey.rules.directory import Directory
from watchkey.rules.provenance import Sightings
from watchkey.rules.roster import RosterIndex
from watchkey.stores import memory
from watchkey.wiring.clocks import StoppedClock


class NoLog:
    """The log of a desk: nothing happens there that would have to be recorded."""

    async def append(self, event: AuditEvent) -> int:
        """Refuse decisions by failing them; a desk only explains."""
        raise Unavailable(f"nothing is recorded here, not even {type(event).__name__}")


class Forgetful:
    """The memory of a desk."""

    async def keep(self, held: HeldRoster, sightings: Sightings, *, age: timedelta = timedelta(0)) -> None:
        """Keep nothing."""


def dry_access(
    rosters: Sequence[tuple[RosterIndex, int, timedelta]],
    engines: Mapping[str, PolicyEngine],
    directory: Directory,
    *,
    at: datetime,
    zone: tzinfo,
) -> RequestAccess:
    """The decision on given rosters (content, revision, age) at one instant; it can only explain."""
    held = {
        index.source: HeldRoster(index=index, revision=revision, read_at=-age.total_seconds())
        for index, revision, age in rosters
    }
    return RequestAccess(
        clock=StoppedClock(at=at),
        rosters=memory.build(held),
        engines=engines,
        audit=NoLog(),
        directory=directory,
        zone=zone,
    )
