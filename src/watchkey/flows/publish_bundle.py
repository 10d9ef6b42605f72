"""Keep the bundle of one fleet of OPAs current, and hand it out: at once when something changed, else when it does.

A bundle is made when a roster, the policy or the configuration changed, and now and then so that OPAs learn that a
roster has been read again: without that they take it for stale. Revisions only grow, also over restarts. Nothing is
handed out before there is a complete roster of every source: until then each OPA keeps what it has, which ages.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

from watchkey.model.access import Resource
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Unavailable
from watchkey.model.ids import CallerId, ResourceId, SourceName
from watchkey.model.oncall import Scope
from watchkey.ports import AuditLog, Clock, HeldRoster, Memory, RosterStore
from watchkey.rules.directory import Directory
from watchkey.rules.fleet_bundle import (
    ROOT,
    DataPart,
    FleetBundle,
    FleetPolicy,
    Sign,
    data_part,
    delta_between,
    put_together,
)
from watchkey.rules.fleet_data import (
    HeldFacts,
    bundle_document,
    freshness_document,
    groups_document,
    linked_people,
    links_document,
    resource_document,
    roster_document,
    shared,
)
from watchkey.rules.identity import Links
from watchkey.rules.policy_input import nanoseconds

log = logging.getLogger("watchkey.publish_bundle")

LOOK_EVERY: Final = 0.25
"""Seconds between two looks at what changed without telling: reads that agreed, policies."""
REMEMBERED_MAX: Final = 32
"""How many past revisions a delta can start from; whoever is further behind gets a snapshot."""
CONTENTS_MAX: Final = 1_000
"""Contents whose first revision is remembered."""
LARGE: Final = 2_000
"""Shifts from which on a bundle is made beside the event loop: decisions must not wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet of OPAs that share one bundle."""

    name: str
    callers: frozenset[CallerId]
    """Who may pull the bundle and report for the fleet."""
    resources: frozenset[ResourceId] | None = None
    """None: all of them."""
    deltas: bool = False
    """Whether OPAs that ask for deltas get them: they carry no signature."""
    renew_every: timedelta = timedelta(minutes=2)
    trusts_groups: bool = False
    waiting_max: int = 1000
    scope: str = ""
    key_id: str = ""


class Kind(StrEnum):
    """What an OPA got."""

    SNAPSHOT = "snapshot"
    DELTA = "delta"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """An answer to one pull; `body` is empty when nothing changed."""

    kind: Kind
    etag: str
    body: bytes = b""


@dataclass(slots=True)
class Counts:
    """What happened since the start, for the metrics."""

    snapshots: int = 0
    deltas: int = 0
    unchanged: int = 0
    turned_away: int = 0
    published: int = 0


class PublishBundle:
    """The use case for one fleet."""

    def __init__(  # noqa: PLR0913 -- a use case's collaborators, each given once
        self,
        *,
        fleet: Fleet,
        clock: Clock,
        rosters: RosterStore,
        directory: Callable[[], Directory],
        policy: Callable[[], FleetPolicy],
        sign: Sign | None,
        memory: Memory,
        audit: AuditLog,
    ) -> None:
        self.fleet = fleet
        self.counts = Counts()
        self.current: FleetBundle | None = None
        self.problem: str | None = "not made yet"
        """Why there is no newer bundle; None when all is well."""
        self.waiting = 0
        """OPAs that wait for a change now."""
        self._clock = clock
        self._rosters = rosters
        self._directory = directory
        self._policy = policy
        self._sign = sign
        self._memory = memory
        self._audit = audit
        self._past: deque[FleetBundle] = deque(maxlen=REMEMBERED_MAX)
        self._patches: dict[str, bytes | None] = {}
        self._parts: dict[SourceName, tuple[object, DataPart]] = {}
        self._basis: tuple[object, ...] = ()
        self._built_at = 0.0
        self._reads: dict[SourceName, float] = {}
        self._changed = asyncio.Event()
        self._look = asyncio.Event()
        self._is_closing = False
        self._revision, self.content_revision, self._content = self._recalled()
        self._contents = [self.content_revision]

    # -- making ------------------------------------------------------------------------------------------------------

    def look(self, *_: object) -> None:
        """Something changed: look soon. For listeners, whatever they are told; returns at once."""
        self._look.set()

    async def run(self) -> None:
        """Keep the bundle current until cancelled."""
        while True:
            self._look.clear()
            await self.renew()
            waiting = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY))
            looking = asyncio.ensure_future(self._look.wait())
            try:
                await asyncio.wait([waiting, looking], return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                looking.cancel()

    async def renew(self) -> bool:
        """Make a new revision if one is due; whether it was. What goes wrong is in `problem`; the last one stays."""
        try:
            resources = self._resources()
            held = self._held(resources)
            policy = self._policy()
            basis = (policy.hash, self._directory(), *((name, one.revision) for name, one in held.items()))
            if not self._is_due(basis, held):
                return False
            await self._publish(policy, resources, held)
        except PortError as error:
            if self.problem != str(error):
                self.problem = str(error)
                log.warning("bundle.not_made", extra={"fleet": self.fleet.name, "why": str(error)})
            return False
        self._basis, self._built_at, self.problem = basis, self._clock.monotonic(), None
        self._reads = {name: one.read_at for name, one in held.items()}
        return True

    def _is_due(self, basis: tuple[object, ...], held: Mapping[SourceName, HeldRoster]) -> bool:
        if self.current is None or basis != self._basis:
            return True
        every = self.fleet.renew_every.total_seconds()
        is_read_later = any(one.read_at - self._reads[name] >= every for name, one in held.items())
        return is_read_later or self._clock.monotonic() - self._built_at >= every

    def _resources(self) -> list[Resource]:
        known, wanted = self._directory().resources, self.fleet.resources
        return [known[name] for name in sorted(known) if wanted is None or name in wanted]

    def _held(self, resources: Iterable[Resource]) -> dict[SourceName, HeldRoster]:
        held = self._rosters.held()
        names = sorted({scope.source for resource in resources for scope in resource.scopes})
        missing = [name for name in names if name not in held]
        if missing:
            raise Unavailable(f"no complete roster yet of {', '.join(missing)}")
        return {name: held[name] for name in names}

    async def _publish(
        self, policy: FleetPolicy, resources: Sequence[Resource], held: Mapping[SourceName, HeldRoster]
    ) -> None:
        now, ticks = self._clock.now(), self._clock.monotonic()
        facts = [
            HeldFacts(
                index=one.index, revision=one.revision, read_at=now - timedelta(seconds=max(0.0, ticks - one.read_at))
            )
            for one in held.values()
        ]
        is_large = sum(len(one.index.roster.shifts) for one in facts) >= LARGE
        make = asyncio.to_thread if is_large else _at_once
        bundle, content = await make(self._make, policy, resources, facts, now)
        is_new = content != self._content
        content_revision = bundle.revision if is_new else self.content_revision
        if is_new:
            await self._note(bundle, held, now)
        await self._remember(bundle.revision, content_revision, content)
        self._revision, self.content_revision, self._content = bundle.revision, content_revision, content
        if is_new:
            self._contents = [*self._contents[-CONTENTS_MAX:], content_revision]
        self._past.append(bundle)
        self._patches = {}
        self.current = bundle
        self.counts.published += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _make(
        self, policy: FleetPolicy, resources: Sequence[Resource], facts: Sequence[HeldFacts], now: datetime
    ) -> tuple[FleetBundle, str]:
        """One revision, and a hash of what it says besides how fresh it is."""
        directory = self._directory()
        scopes = tuple(scope for resource in resources for scope in resource.scopes)
        rosters = [self._roster_part(one, scopes, directory.links) for one in facts]
        standing = {
            "resources": {resource.id: resource_document(resource) for resource in resources},
            "links": links_document(directory.links, [one.index.source for one in facts]),
            "groups": groups_document(directory.groups),
        }
        digests = [policy.hash, *(part.digest for part in rosters), data_part([], standing).digest]
        content = sha256("\n".join(digests).encode()).hexdigest()
        revision = self._revision + 1
        moving = {
            "bundle": bundle_document(
                fleet=self.fleet.name, revision=revision, built_at=now, trusts_groups=self.fleet.trusts_groups
            ),
            "freshness": {one.index.source: freshness_document(one) for one in facts},
        }
        bundle = put_together(
            policy,
            [*rosters, data_part([ROOT], standing | moving)],
            revision=revision,
            issued_at=(nanoseconds(now) or 0) // 10**9,
            scope=self.fleet.scope,
            sign=self._sign,
        )
        return bundle, content

    def _roster_part(self, facts: HeldFacts, scopes: Sequence[Scope], links: Links) -> DataPart:
        """The file of one roster; the same object as long as nothing in it changed, so that deltas are cheap."""
        source, key = facts.index.source, (facts.index.digest, facts.revision, scopes, links)
        known = self._parts.get(source)
        if known is None or known[0] != key:
            document = roster_document(facts, scopes, linked_people(links, source))
            if known is not None:
                document = shared(document, known[1].value)
            known = self._parts[source] = key, data_part([ROOT, "roster", source], document)
        return known[1]

    def _recalled(self) -> tuple[int, int, str]:
        known = self._memory.recall(f"bundle/{self.fleet.name}")
        match known:
            case {"revision": int(revision), "content_revision": int(content_revision), "content": str(content)}:
                return revision, content_revision, content
            case _:
                return 0, 0, ""

    async def _remember(self, revision: int, content_revision: int, content: str) -> None:
        """Keep the revision before anybody sees it. A disk that fails does not keep a change from the OPAs."""
        note = {"revision": revision, "content_revision": content_revision, "content": content}
        try:
            await self._memory.remember(f"bundle/{self.fleet.name}", note)
        except PortError as error:
            log.error("bundle.not_kept", extra={"fleet": self.fleet.name, "error": str(error)})  # noqa: TRY400 -- the text says it all

    async def _note(self, bundle: FleetBundle, held: Mapping[SourceName, HeldRoster], now: datetime) -> None:
        fields = {
            "fleet": self.fleet.name,
            "revision": bundle.revision,
            "etag": bundle.etag.strip('"'),
            "policy": bundle.policy_hash,
            "rosters": {name: {"revision": one.revision, "digest": one.index.digest} for name, one in held.items()},
            "key": self.fleet.key_id,
        }
        try:
            await self._audit.append(Noted(at=now, what="bundle.published", fields=fields))
        except PortError as error:
            log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400 -- the text says it all

    def content_of(self, revision: str) -> int:
        """The revision that first said what this one says, apart from how fresh it is; 0 when that is not known."""
        if not (revision.isascii() and revision.isdigit()) or len(revision) > 18:
            return 0
        place = bisect_right(self._contents, int(revision))
        return self._contents[place - 1] if place else 0

    # -- handing out -------------------------------------------------------------------------------------------------

    async def pull(self, etags: Sequence[str], *, wait: float = 0.0, takes_deltas: bool = False) -> Handout:
        """The bundle for an OPA that has `etags`, its present one first.

        When it has the current one, or there is none yet, wait up to so many seconds for the next. Raises
        `Unavailable` while there is none, and when too many wait already.
        """
        has_newest = self.current is None or self.current.etag in etags
        if has_newest and wait > 0 and not self._is_closing:
            await self._wait(wait)
        bundle = self._present()
        if bundle.etag in etags:
            self.counts.unchanged += 1
            return Handout(kind=Kind.UNCHANGED, etag=bundle.etag)
        if takes_deltas and self.fleet.deltas and etags:
            patch = self._patch(etags[0], bundle)
            if patch is not None:
                self.counts.deltas += 1
                return Handout(kind=Kind.DELTA, etag=bundle.etag, body=patch)
        self.counts.snapshots += 1
        return Handout(kind=Kind.SNAPSHOT, etag=bundle.etag, body=bundle.snapshot)

    def release(self) -> None:
        """Let everybody go who waits, and nobody wait any more: the service stops."""
        self._is_closing = True
        self._changed.set()

    def _present(self) -> FleetBundle:
        if self.current is None:
            raise Unavailable(f"there is no bundle of {self.fleet.name} yet: {self.problem}", retry_after=1.0)
        return self.current

    async def _wait(self, seconds: float) -> None:
        if self.waiting >= self.fleet.waiting_max:
            self.counts.turned_away += 1
            raise Unavailable(f"{self.waiting} OPAs of {self.fleet.name} wait already", retry_after=1.0)
        self.waiting += 1
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1

    def _patch(self, etag: str, bundle: FleetBundle) -> bytes | None:
        """The delta from a revision that is still remembered; made once for all who have it."""
        if etag not in self._patches:
            before = next((one for one in self._past if one.etag == etag), None)
            if before is None:
                return None
            self._patches[etag] = delta_between(before, bundle)
        return self._patches[etag]


async def _at_once(make: Callable[..., tuple[FleetBundle, str]], *args: object) -> tuple[FleetBundle, str]:
    return make(*args)
