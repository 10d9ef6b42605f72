"""Asking without a service: every source read once, decisions that are only explained."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta, tzinfo

from watchkey.flows.request_access import RequestAccess
from watchkey.flows.sync_roster import NotSynced, SyncRoster
from watchkey.model.access import Resource
from watchkey.model.errors import Refused
from watchkey.model.ids import PersonId, ResourceId, SourceName, SubjectId
from watchkey.ports import Clock, PolicyEngine, RosterStore, Source
from watchkey.rules.roster import GuardLimits
from watchkey.settings import Settings
from watchkey.stores import memory
from watchkey.wiring.adapters import directory_of, sources_of
from watchkey.wiring.clocks import SystemClock
from watchkey.wiring.dry import Forgetful, NoLog
from watchkey.wiring.kept import look_at_kept
from watchkey.wiring.policies import engines_of


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The configured sources, read once, and the decision as the service would make it; it can only explain."""

    clock: Clock
    zone: tzinfo
    rosters: RosterStore
    request_access: RequestAccess
    engines: Mapping[str, PolicyEngine]
    failures: Mapping[SourceName, str]
    settings: Settings
    baseline: str
    """What is not known of when shifts were first seen, and what that means for their grades; empty when all is."""

    def resources(self) -> Sequence[Resource]:
        """All that are configured."""
        return tuple(self.settings.resources.values())

    def resource(self, name: str) -> Resource:
        """One resource. Raises `Refused` with the known names."""
        found = self.settings.resources.get(ResourceId(name))
        if found is None:
            known = ", ".join(sorted(self.settings.resources)) or "none"
            raise Refused(f"there is no resource {name!r} in {self.settings.file}; there is {known}")
        return found

    def person_of(self, subject: SubjectId, source: SourceName) -> PersonId | None:
        """Who a subject is in a source, when that is beyond doubt."""
        person = self.request_access.directory.links.person_of(subject, source)
        return PersonId(person) if isinstance(person, str) else None

    def learn_groups(self, groups: Mapping[SubjectId, frozenset[str]]) -> None:
        """Count these groups besides those of the configuration, as if a trusted caller told them."""
        known = self.request_access.directory
        merged = {
            subject: known.groups.get(subject, frozenset()) | groups.get(subject, frozenset())
            for subject in {*known.groups, *groups}
        }
        self.request_access.directory = replace(known, groups=merged)

    def remarks(self, resource: Resource) -> Sequence[str]:
        """What an answer about this resource leaves open, in sentences for people."""
        policy = self.settings.policies.get(resource.policy)
        if policy is None or policy.remote is None:
            return ()
        remark = (
            f"the policy of {resource.id} is in the OPA at {policy.remote.url}: which rules held is known there only, "
            "and what it says of a coming instant it says as it is now; if it reads its own clock, it means now"
        )
        return (remark,)


@dataclass(frozen=True, kw_only=True)
class DryFlows:
    """Reading and deciding by the configuration, as the service does; nothing is recorded or kept."""

    sync: SyncRoster
    request_access: RequestAccess
    rosters: RosterStore
    engines: Mapping[str, PolicyEngine]
    baseline: str
    """See `wiring.kept.Kept.remark`."""


def dry_flows(settings: Settings, clock: Clock, read_from: Sequence[Source], window: timedelta) -> DryFlows:
    """The flows on the configured policies and links, with what the service has kept of the sources.

    Failures are in the outcomes of the reads, so the log of the reading is silent from here on. Raises as `engines_of`.
    """
    rosters, engines, no_log = memory.build(), engines_of(settings), NoLog()
    kept = look_at_kept(settings, clock)
    sync = SyncRoster(
        clock=clock,
        sources=read_from,
        rosters=rosters,
        audit=no_log,
        memory=Forgetful(),
        sightings=kept.sightings,
        limits=GuardLimits(),
        window=window,
        poll_every=settings.sync.poll,
        words=kept,
    )
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines=engines,
        audit=no_log,
        directory=directory_of(settings),
        zone=settings.zone,
    )
    logging.getLogger("watchkey.sync_roster").disabled = True
    return DryFlows(sync=sync, request_access=access, rosters=rosters, engines=engines, baseline=kept.remark)


async def open_desk(settings: Settings, *, window: timedelta | None = None) -> Desk:
    """Read every source once. One that cannot be read is missing from the rosters; `failures` says why.

    `window` is how far ahead to read; None: as the service does.
    """
    clock = SystemClock()
    read_from, _ = sources_of(settings, clock)
    dry = dry_flows(settings, clock, read_from, window or settings.sync.window)
    outcomes = await asyncio.gather(*(dry.sync.sync(source.name) for source in read_from))
    for source in read_from:
        await source.close()
    failures = {
        source.name: outcome.why
        for source, outcome in zip(read_from, outcomes, strict=True)
        if isinstance(outcome, NotSynced)
    }
    return Desk(
        clock=clock,
        zone=settings.zone,
        rosters=dry.rosters,
        request_access=dry.request_access,
        engines=dry.engines,
        failures=failures,
        settings=settings,
        baseline=dry.baseline,
    )
