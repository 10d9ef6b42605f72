"""The running service: its parts, and the order in which they start and stop."""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Final, Self

from watchkey import __version__
from watchkey.engines import opa
from watchkey.flows.confirm_shift import ConfirmationRules, ConfirmShift
from watchkey.flows.keep_confirmations import KeepConfirmations
from watchkey.flows.keep_roster import KeepRoster, Restored
from watchkey.flows.login_tokens import LoginTokens
from watchkey.flows.request_access import RequestAccess
from watchkey.flows.shadow_policy import ShadowPolicy
from watchkey.flows.swap_policy import SwapPolicy, older
from watchkey.flows.sync_roster import SyncRoster
from watchkey.flows.watch_links import WatchLinks
from watchkey.model.access import Resource
from watchkey.model.audit import Noted, PolicySwapped, ServiceStarted, ServiceStopped
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import ResourceId, SourceName
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Clock, HeldRoster, IdentityVerifier, PolicyEngine, RosterStore, Source
from watchkey.rules.provenance import Sightings
from watchkey.rules.roster import GuardLimits
from watchkey.settings import Settings
from watchkey.stores import memory
from watchkey.stores.sqlite import SqliteStore
from watchkey.wiring.adapters import audit_store, directory_of, sources_of, verifier_of
from watchkey.wiring.candidates import candidate
from watchkey.wiring.clocks import SystemClock
from watchkey.wiring.fleets import FleetParts, Surroundings, fleet_parts
from watchkey.wiring.policies import Engine, content_hash, engines_of, footprint, policy_names

POLICIES_EVERY: Final = 5.0
"""Seconds between two looks at whether a policy's file changed."""


REPEATS_EVERY: Final = 10.0
"""Seconds between two writings of the counts of repeated answers."""


log = logging.getLogger("watchkey.wiring")


@dataclass(kw_only=True)
class Service:
    """Everything a way in needs. `async with` opens the log, brings back what was kept, and starts reading."""

    settings: Settings
    clock: Clock
    audit: SqliteStore
    rosters: RosterStore
    request_access: RequestAccess
    sync: SyncRoster
    verifier: IdentityVerifier
    webhook_keys: Mapping[SourceName, Sequence[Secret]]
    engines: Mapping[str, PolicyEngine]
    policies: SwapPolicy
    shadow: ShadowPolicy | None
    tokens: LoginTokens
    confirm_shift: ConfirmShift
    watch_links: WatchLinks
    fleets: FleetParts
    _footprints: dict[str, object]
    _look_now: asyncio.Event = field(default_factory=asyncio.Event)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def resources(self) -> Mapping[ResourceId, Resource]:
        """What is protected."""
        return self.request_access.directory.resources

    @property
    def source_names(self) -> Sequence[SourceName]:
        """All configured sources."""
        return tuple(self.settings.sources)

    async def __aenter__(self) -> Self:
        """Record the start, then read. The log is open already: building needed its memory."""
        await self.audit.append(ServiceStarted(at=self.clock.now(), version=__version__))
        await _note_policies(self)
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self.sync.run(), name="sync"))
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self._write_repeats(), name="repeats"))
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self.watch_links.run(), name="links"))
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self._follow_policies(), name="policies"))
        if self.shadow is not None:
            self._stack.push_async_callback(_cancelled, asyncio.create_task(self.shadow.run(), name="shadow"))
        for publisher in self.fleets.publishers.values():
            self.sync.listeners.append(publisher.look)
            self._stack.push_async_callback(_cancelled, asyncio.create_task(publisher.run(), name="bundles"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading, write the last counts, record the stop, give the log back."""
        await self._stack.aclose()
        try:
            await self.request_access.write_repeats()
            await self.audit.append(ServiceStopped(at=self.clock.now()))
        except PortError as failure:
            log.error("audit.unavailable", extra={"error": str(failure)})  # noqa: TRY400 -- the text says it all
        finally:
            await asyncio.to_thread(self.audit.close)

    async def _write_repeats(self) -> None:
        while True:
            await self.clock.sleep(REPEATS_EVERY)
            with suppress(PortError):  # the counts are kept and written when the log is back
                await self.request_access.write_repeats()

    def reload_policies(self) -> None:
        """Look at the files of all policies now, changed or not; for a signal handler."""
        self._look_now.set()

    async def _follow_policies(self) -> None:
        """Take changed policies over, soon after their files change and at once when told to."""
        while True:
            is_told = True
            try:
                await asyncio.wait_for(self._look_now.wait(), POLICIES_EVERY)
            except TimeoutError:
                is_told = False
            self._look_now.clear()
            for name in self.engines:
                policy = self.settings.policies.get(name)
                if policy is not None and policy.remote is not None:
                    if is_told:
                        log.info("policy.elsewhere", extra={"policy": name, "url": policy.remote.url})
                    continue
                now = footprint(self.settings.policies.get(name))
                if is_told or now != self._footprints[name]:
                    self._footprints[name] = now
                    await self.policies.look(name)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@dataclass(frozen=True, kw_only=True)
class _Left:
    """What the last run left, and who keeps it."""

    kept: KeepRoster
    restored: Mapping[SourceName, Restored]
    words: KeepConfirmations


def _left(settings: Settings, audit: SqliteStore, clock: Clock) -> _Left:
    kept = KeepRoster(memory=audit, clock=clock)
    words = KeepConfirmations(memory=audit, audit=audit, clock=clock)
    return _Left(kept=kept, restored=_restored(kept, settings), words=words.recall())


def build(settings: Settings) -> Service:
    """Put the service together and open its log.

    Raises `ConfigError` for an adapter's section, `Malformed` for a policy, `Refused` when another process has the log
    or when it is not the log that was signed, `Unavailable` when the disk does not let us.
    """
    clock = SystemClock()
    read_from, webhook_keys = sources_of(settings, clock)
    footprints = {name: footprint(settings.policies.get(name)) for name in policy_names(settings)}
    built = engines_of(settings, is_kept_open=True)
    audit = audit_store(settings)
    audit.open()
    try:
        engines: dict[str, PolicyEngine] = {name: _numbered(name, engine, audit) for name, engine in built.items()}
        shadow = None
        if settings.shadows:
            shadow = ShadowPolicy(shadows=settings.shadows, engines=engines, audit=audit, zone=settings.zone)
        left = _left(settings, audit, clock)
        rosters = memory.build(_held(left.restored, clock))
        access = _request_access(settings, clock, rosters, engines, audit, shadow)
        sync = _sync(settings, clock, read_from, rosters, audit, left)
        service = Service(
            settings=settings,
            clock=clock,
            audit=audit,
            rosters=rosters,
            request_access=access,
            sync=sync,
            verifier=verifier_of(settings, clock),
            webhook_keys=webhook_keys,
            engines=engines,
            policies=SwapPolicy(
                engines=engines, prepare=partial(candidate, settings), audit=audit, memory=audit, clock=clock
            ),
            shadow=shadow,
            watch_links=_watch_links(settings, rosters, audit, clock, sync),
            tokens=LoginTokens(audit=audit, clock=clock, new_secret=partial(secrets.token_urlsafe, 32)),
            confirm_shift=_confirm_shift(settings, clock, sync, access, audit, left.words),
            fleets=_fleets(settings, clock, rosters, audit, engines, access),
            _footprints=footprints,
        )
    except BaseException:
        audit.close()
        raise
    for engine in built.values():
        if isinstance(engine, opa.OpaEngine):
            service._stack.push_async_callback(engine.close)  # noqa: SLF001 -- its own maker
    service.sync.listeners.append(lambda name, _change: service.request_access.roster_changed(name))
    for source in read_from:
        service._stack.push_async_callback(source.close)  # noqa: SLF001 -- its own maker
    return service


def _request_access(
    settings: Settings,
    clock: Clock,
    rosters: RosterStore,
    engines: Mapping[str, PolicyEngine],
    audit: SqliteStore,
    shadow: ShadowPolicy | None,
) -> RequestAccess:
    return RequestAccess(
        clock=clock,
        rosters=rosters,
        engines=engines,
        audit=audit,
        directory=directory_of(settings),
        zone=settings.zone,
        time_floor=audit.high_water,
        observe=None if shadow is None else shadow.watch,
    )


def _fleets(
    settings: Settings,
    clock: Clock,
    rosters: RosterStore,
    audit: SqliteStore,
    engines: Mapping[str, PolicyEngine],
    access: RequestAccess,
) -> FleetParts:
    surroundings = Surroundings(
        clock=clock,
        rosters=rosters,
        audit=audit,
        memory=audit,
        engines=engines,
        directory=lambda: access.directory,
    )
    return fleet_parts(settings, surroundings)


def _confirm_shift(
    settings: Settings,
    clock: Clock,
    sync: SyncRoster,
    access: RequestAccess,
    audit: SqliteStore,
    words: KeepConfirmations,
) -> ConfirmShift:
    rules = ConfirmationRules(
        groups=frozenset(settings.confirmations.groups), lasts_max=settings.confirmations.lasts_max
    )
    return ConfirmShift(
        clock=clock,
        reads=sync,
        known=lambda: access.directory,
        audit=audit,
        words=words,
        sources=tuple(settings.sources),
        rules=rules,
    )


def _watch_links(
    settings: Settings, rosters: RosterStore, audit: SqliteStore, clock: Clock, sync: SyncRoster
) -> WatchLinks:
    watch = WatchLinks(
        links=settings.links,
        others=tuple(settings.groups),
        rosters=rosters,
        memory=audit,
        audit=audit,
        clock=clock,
    )
    sync.listeners.append(watch.roster_changed)
    return watch


def _sync(
    settings: Settings,
    clock: Clock,
    read_from: Sequence[Source],
    rosters: RosterStore,
    audit: AuditLog,
    left: _Left,
) -> SyncRoster:
    return SyncRoster(
        clock=clock,
        sources=read_from,
        rosters=rosters,
        audit=audit,
        memory=left.kept,
        sightings=_sightings(left.restored),
        limits=GuardLimits(shrink_share_max=settings.sync.shrink_share_max),
        window=settings.sync.window,
        poll_every=settings.sync.poll,
        words=left.words,
    )


def _restored(kept: KeepRoster, settings: Settings) -> dict[SourceName, Restored]:
    """What the last run left of each source; what cannot be used is left, with a line in the log."""
    found: dict[SourceName, Restored] = {}
    for name in settings.sources:
        try:
            restored = kept.restore(name)
        except PortError as error:
            log.warning("roster.not_restored", extra={"source": name, "error": str(error)})
            continue
        if restored is not None:
            found[name] = restored
    return found


def _held(restored: Mapping[SourceName, Restored], clock: Clock) -> dict[SourceName, HeldRoster]:
    ticks = clock.monotonic()
    return {
        name: HeldRoster(index=one.index, revision=one.revision, read_at=ticks - one.age.total_seconds())
        for name, one in restored.items()
    }


def _sightings(restored: Mapping[SourceName, Restored]) -> dict[SourceName, Sightings]:
    return {name: one.sightings for name, one in restored.items() if one.sightings is not None}


def _numbered(name: str, engine: Engine, audit: SqliteStore) -> Engine:
    """The policy with its revision: the last one's when its content is the same, else the next.

    Raises `Refused` when it says of itself that it is older than the one that decided last.
    """
    known = audit.recall(f"policy/{name}") or {"revision": 0, "hash": ""}
    is_new = known["hash"] != content_hash(engine)
    is_here = not isinstance(engine, opa.OpaEngine)  # an OPA counts its own revisions, in words of its own
    if is_new and is_here and (why := older(known, engine.declared_revision)) is not None:
        raise Refused(f"policy {name}: {why}")
    return engine.numbered(int(known["revision"]) + is_new)


async def _note_policies(service: Service) -> None:
    """Record each policy that is not the one of the last run."""
    for name, engine in service.engines.items():
        known = service.audit.recall(f"policy/{name}") or {"revision": 0, "hash": ""}
        content = content_hash(engine)
        if known["hash"] != content:
            now, revision = service.clock.now(), int(known["revision"]) + 1
            await service.audit.append(PolicySwapped(at=now, name=name, revision=revision, policy_hash=content))
            declared = getattr(engine, "declared_revision", None)
            if isinstance(engine, opa.OpaEngine):
                fields = {"policy": name, "asked": engine.asked, "hash": content}
                await service.audit.append(Noted(at=now, what="policy.elsewhere", fields=fields))
                declared = known.get("declared")  # a policy that comes back from there is still no older one
            note = {"revision": revision, "hash": content, "declared": declared}
            await service.audit.remember(f"policy/{name}", note)
