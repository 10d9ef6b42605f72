"""The composition root: the only module that knows adapters by name, and the order in which they start and stop."""

import asyncio
import importlib
import logging
import pkgutil
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from importlib.resources import files
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import msgspec

from watchkey import __version__, sources, targets
from watchkey.engines import rego
from watchkey.flows.check_policy import host_functions, rego_dialect
from watchkey.flows.keep_roster import KeepRoster, Restored, stored_roster
from watchkey.flows.replay_decisions import LoggedDecision
from watchkey.flows.request_access import Directory, RequestAccess
from watchkey.flows.shadow_policy import ShadowPolicy
from watchkey.flows.swap_policy import Candidate, SwapPolicy, older
from watchkey.flows.sync_roster import NotSynced, SyncRoster
from watchkey.flows.test_policy import Case, Result, Status, rego_tests, run_case, run_rego_test
from watchkey.identities import api_token
from watchkey.identities.api_token import hash_token, make_token
from watchkey.model.access import Decision, Link, Resource
from watchkey.model.audit import AuditEvent, PolicySwapped, ServiceStarted, ServiceStopped
from watchkey.model.errors import Malformed, PortError, Refused, Unavailable
from watchkey.model.ids import PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Roster
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Clock, HeldRoster, IdentityVerifier, PolicyEngine, RosterStore, Source, Target
from watchkey.rego import RegoErrors, compile_modules, freeze
from watchkey.rules.identity import Links
from watchkey.rules.located import ConfigError, load
from watchkey.rules.provenance import Sightings
from watchkey.rules.roster import GuardLimits, RosterIndex, index_roster
from watchkey.settings import PolicySettings, Settings
from watchkey.settings.cases import SOURCE as CASES
from watchkey.settings.cases import CaseFile, load_cases
from watchkey.sources import roster_file
from watchkey.stores import memory, sqlite
from watchkey.stores.sqlite import AuditReader, SqliteStore

log = logging.getLogger("watchkey.wiring")

POLICIES_EVERY: Final = 5.0
"""Seconds between two looks at whether a policy's file changed."""

REPEATS_EVERY: Final = 10.0
"""Seconds between two writings of the counts of repeated answers."""


REPLAY_ROSTERS: Final = 8
"""Rosters that a replay keeps in memory; decisions come in the order of time, and so do their rosters."""

CASE_WINDOW: Final = timedelta(days=14)
"""How far ahead the rosters of policy cases are rendered: enough for a sentence to name one's own next shift."""


class SystemClock:
    """The real time: the one clock that everything else is handed."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)  # noqa: TID251 -- this is that clock

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Come back later."""
        await asyncio.sleep(seconds)


# --- the running service -------------------------------------------------------------------------------------------


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
        self._stack.push_async_callback(_cancelled, asyncio.create_task(self._follow_policies(), name="policies"))
        if self.shadow is not None:
            self._stack.push_async_callback(_cancelled, asyncio.create_task(self.shadow.run(), name="shadow"))
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
                footprint = _footprint(self.settings.policies.get(name))
                if is_told or footprint != self._footprints[name]:
                    self._footprints[name] = footprint
                    await self.policies.look(name)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def build(settings: Settings) -> Service:
    """Put the service together and open its log.

    Raises `ConfigError` for an adapter's section, `Malformed` for a policy, `Refused` when another process has the log
    or when it is not the log that was signed, `Unavailable` when the disk does not let us.
    """
    clock = SystemClock()
    read_from, webhook_keys = _sources(settings, clock)
    footprints = {name: _footprint(settings.policies.get(name)) for name in _policy_names(settings)}
    configs = _policy_configs(settings)
    audit = audit_store(settings)
    audit.open()
    try:
        engines: dict[str, PolicyEngine] = {
            name: _numbered(name, rego.build(config), audit) for name, config in configs.items()
        }
        shadow = None
        if settings.shadows:
            shadow = ShadowPolicy(shadows=settings.shadows, engines=engines, audit=audit, zone=settings.zone)
        kept = KeepRoster(memory=audit, clock=clock)
        restored = _restored(kept, settings)
        rosters = memory.build(_held(restored, clock))
        service = Service(
            settings=settings,
            clock=clock,
            audit=audit,
            rosters=rosters,
            request_access=_request_access(settings, clock, rosters, engines, audit, shadow),
            sync=_sync(settings, clock, read_from, rosters, audit, kept, _sightings(restored)),
            verifier=_verifier(settings, clock),
            webhook_keys=webhook_keys,
            engines=engines,
            policies=SwapPolicy(
                engines=engines, prepare=partial(_candidate, settings), audit=audit, memory=audit, clock=clock
            ),
            shadow=shadow,
            _footprints=footprints,
        )
    except BaseException:
        audit.close()
        raise
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
        directory=_directory(settings),
        zone=settings.zone,
        time_floor=audit.high_water,
        observe=None if shadow is None else shadow.watch,
    )


def _sync(
    settings: Settings,
    clock: Clock,
    read_from: Sequence[Source],
    rosters: RosterStore,
    audit: AuditLog,
    kept: KeepRoster,
    sightings: Mapping[SourceName, Sightings],
) -> SyncRoster:
    return SyncRoster(
        clock=clock,
        sources=read_from,
        rosters=rosters,
        audit=audit,
        memory=kept,
        sightings=sightings,
        limits=GuardLimits(shrink_share_max=settings.sync.shrink_share_max),
        window=settings.sync.window,
        poll_every=settings.sync.poll,
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


def _directory(settings: Settings) -> Directory:
    links = Links(settings.links)
    for problem in links.problems:
        log.warning("link.ambiguous", extra={"why": problem.why})
    return Directory(resources=settings.resources, links=links, groups=settings.groups)


def _numbered(name: str, engine: rego.RegoEngine, audit: SqliteStore) -> rego.RegoEngine:
    """The policy with its revision: the last one's when its content is the same, else the next.

    Raises `Refused` when it says of itself that it is older than the one that decided last.
    """
    known = audit.recall(f"policy/{name}") or {"revision": 0, "hash": ""}
    is_new = known["hash"] != engine.policy_hash
    if is_new and (why := older(known, engine.declared_revision)) is not None:
        raise Refused(f"policy {name}: {why}")
    return engine.numbered(int(known["revision"]) + is_new)


async def _note_policies(service: Service) -> None:
    """Record each policy that is not the one of the last run."""
    for name, engine in service.engines.items():
        known = service.audit.recall(f"policy/{name}") or {"revision": 0, "hash": ""}
        if known["hash"] != engine.policy_hash:
            swapped = PolicySwapped(
                at=service.clock.now(),
                name=name,
                revision=int(known["revision"]) + 1,
                policy_hash=engine.policy_hash,
            )
            await service.audit.append(swapped)
            declared = getattr(engine, "declared_revision", None)
            note = {"revision": swapped.revision, "hash": engine.policy_hash, "declared": declared}
            await service.audit.remember(f"policy/{name}", note)


# --- asking without a service --------------------------------------------------------------------------------------


class _NoLog:
    """The log of a desk: nothing happens there that would have to be recorded."""

    async def append(self, event: AuditEvent) -> int:
        """Refuse decisions by failing them; a desk only explains."""
        raise Unavailable(f"nothing is recorded here, not even {type(event).__name__}")


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The configured sources, read once, and the decision as the service would make it; it can only explain."""

    clock: Clock
    zone: tzinfo
    rosters: RosterStore
    request_access: RequestAccess
    failures: Mapping[SourceName, str]
    settings: Settings

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


async def open_desk(settings: Settings, *, window: timedelta | None = None) -> Desk:
    """Read every source once. One that cannot be read is missing from the rosters; `failures` says why.

    `window` is how far ahead to read; None: as the service does.
    """
    clock = SystemClock()
    read_from, _ = _sources(settings, clock)
    rosters = memory.build()
    no_log = _NoLog()
    sync = SyncRoster(
        clock=clock,
        sources=read_from,
        rosters=rosters,
        audit=no_log,
        memory=_Forgetful(),
        sightings={},
        limits=GuardLimits(),
        window=window or settings.sync.window,
        poll_every=settings.sync.poll,
    )
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines=_engines(settings),
        audit=no_log,
        directory=_directory(settings),
        zone=settings.zone,
    )
    logging.getLogger("watchkey.sync_roster").disabled = True  # failures are in the answer; there is no log to miss
    outcomes = await asyncio.gather(*(sync.sync(source.name) for source in read_from))
    for source in read_from:
        await source.close()
    failures = {
        source.name: outcome.why
        for source, outcome in zip(read_from, outcomes, strict=True)
        if isinstance(outcome, NotSynced)
    }
    return Desk(
        clock=clock, zone=settings.zone, rosters=rosters, request_access=access, failures=failures, settings=settings
    )


class _Forgetful:
    """The memory of a desk."""

    async def keep(self, held: HeldRoster, sightings: Sightings, *, age: timedelta = timedelta(0)) -> None:
        """Keep nothing."""


# --- an outage, played through --------------------------------------------------------------------------------------


class VirtualClock:
    """A clock that stands until it is moved; both times go together, so that ages are exact."""

    def __init__(self, at: datetime) -> None:
        self._began_at = self._at = at

    def now(self) -> datetime:
        """The virtual instant."""
        return self._at

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return (self._at - self._began_at).total_seconds()

    def move_to(self, instant: datetime) -> None:
        """Let time pass until then; it never goes back."""
        self._at = max(self._at, instant)

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.move_to(self._at + timedelta(seconds=seconds))


class _Replayed:
    """A source that says what was read just before; one that is down says it once."""

    def __init__(self, roster: Roster, *, is_down: bool) -> None:
        self._roster = roster
        self._is_down = is_down
        self._was_read = False

    @property
    def name(self) -> SourceName:
        """The configured name."""
        return self._roster.source

    async def fetch(self, *, now: datetime, window: timedelta) -> Roster:
        """The same roster as ever, read now; or nothing any more."""
        del window
        if self._is_down and self._was_read:
            raise Unavailable(f"{self.name}: the outage that is being played")
        self._was_read = True
        return replace(self._roster, taken_at=now + self._roster.clock_skew)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The real flows on a virtual clock, with rosters read once; `failures` are sources that could not be read."""

    clock: VirtualClock
    zone: tzinfo
    rosters: RosterStore
    sync: SyncRoster
    request_access: RequestAccess
    sources: Sequence[SourceName]
    failures: Mapping[SourceName, str]
    settings: Settings


async def open_stage(settings: Settings, *, down: Collection[SourceName], lasting: timedelta) -> Stage:
    """Read each source once. From then on those that are `down` fail, and the others say the same again and again."""
    real = SystemClock()
    read_from, _ = _sources(settings, real)
    began_at = real.now()
    rosters_read: list[Roster] = []
    failures: dict[SourceName, str] = {}
    for source in read_from:
        # What stays up would be read again and again; its later windows are read at once.
        window = settings.sync.window if source.name in down else max(settings.sync.window, lasting)
        try:
            rosters_read.append(await source.fetch(now=began_at, window=window))
        except PortError as error:
            failures[source.name] = str(error)
        finally:
            await source.close()
    clock, rosters, no_log = VirtualClock(began_at), memory.build(), _NoLog()
    sync = SyncRoster(
        clock=clock,
        sources=[_Replayed(roster, is_down=roster.source in down) for roster in rosters_read],
        rosters=rosters,
        audit=no_log,
        memory=_Forgetful(),
        sightings={},
        limits=GuardLimits(),
        window=settings.sync.window,
        poll_every=settings.sync.poll,
    )
    access = RequestAccess(
        clock=clock,
        rosters=rosters,
        engines=_engines(settings),
        audit=no_log,
        directory=_directory(settings),
        zone=settings.zone,
    )
    logging.getLogger("watchkey.sync_roster").disabled = True  # the failures are the point of it
    for roster in rosters_read:
        if isinstance(outcome := await sync.sync(roster.source), NotSynced):
            failures[roster.source] = outcome.why
    return Stage(
        clock=clock,
        zone=settings.zone,
        rosters=rosters,
        sync=sync,
        request_access=access,
        sources=[roster.source for roster in rosters_read],
        failures=failures,
        settings=settings,
    )


# --- policies apart from the service -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class StoppedClock:
    """A clock that stands at one instant, so that ages are exact where the past is asked about."""

    at: datetime

    def now(self) -> datetime:
        """That instant."""
        return self.at

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Do not wait: nothing would come."""


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
        audit=_NoLog(),
        directory=directory,
        zone=zone,
    )


def policy_engine(policy: PolicySettings | None) -> PolicyEngine:
    """The engine of a policy (None: the one that ships). Raises `Malformed`."""
    return rego.build(policy_config(policy))


class CaseBench:
    """Answers the cases of one file as the service would, on the rosters that stand in it."""

    def __init__(self, file: CaseFile, policy: rego.Config | None = None) -> None:
        """`policy` is the one to try where the file names none; left out, the one that ships. Raises `ConfigError`."""
        self._file = file
        self._config = policy_config(file.policy) if policy is None or file.policy is not None else policy
        self._engines: dict[str, PolicyEngine] = {}
        self._texts = {name: roster_file.read_located_roster(located) for name, located in file.rosters.items()}

    async def ask(self, case: Case) -> Decision:
        """Decide one case. Raises `Malformed` when its parameters do not fit the policy."""
        rosters = [] if case.roster is None else [(self._index(case, case.roster), 1, case.read_ago)]
        links = self._file.links
        if links is None:
            people = [person for index, _, _ in rosters for person in index.roster.people]
            links = tuple(Link(subject=SubjectId(one.id), source=CASES, person=one.id) for one in people)
        policy = {resource.policy for resource in self._file.resources.values()}
        access = dry_access(
            rosters,
            dict.fromkeys(policy, self._engine(case)),
            Directory(resources=self._file.resources, links=Links(links), groups=self._file.groups),
            at=case.at,
            zone=self._file.zone,
        )
        return (await access.explain(case.request)).decision

    def _index(self, case: Case, name: str) -> RosterIndex:
        read_at = case.at - case.read_ago
        roster = roster_file.make_roster(self._texts[name], source=CASES, now=read_at, window=CASE_WINDOW)
        shifts = (*roster.shifts, *case.more_shifts)
        return index_roster(replace(roster, shifts=shifts, taken_at=case.taken_at or read_at))

    def _engine(self, case: Case) -> PolicyEngine:
        key = msgspec.json.encode(case.parameters, order="deterministic").decode()
        if key not in self._engines:
            parameters = {**self._config.parameters, **case.parameters}
            self._engines[key] = rego.build(msgspec.structs.replace(self._config, parameters=parameters))
        return self._engines[key]


class ReplayBench:
    """Makes decisions of the log again: rosters of then, resources and links of the configuration as it is now."""

    def __init__(self, settings: Settings, database: Path) -> None:
        self._settings = settings
        self._database = database
        self._directory = _directory(settings)
        self._indexes: dict[tuple[SourceName, int], RosterIndex] = {}

    def asker(self, engine: PolicyEngine) -> Callable[[LoggedDecision], Awaitable[Decision]]:
        """How one policy would have decided. Raises `Refused` for what cannot be asked again, and port errors."""
        engines = dict.fromkeys((resource.policy for resource in self._settings.resources.values()), engine)

        async def ask(logged: LoggedDecision) -> Decision:
            resource = self._settings.resources.get(logged.request.resource)
            if resource is None:
                raise Refused(f"there is no resource {logged.request.resource!r} any more")
            rosters = [(self._index(source, revision), revision, age) for source, revision, age in logged.grounds]
            access = dry_access(rosters, engines, self._directory, at=logged.at, zone=self._settings.zone)
            return (await access.explain(logged.request)).decision

        return ask

    def _index(self, source: SourceName, revision: int) -> RosterIndex:
        key = (source, revision)
        if key not in self._indexes:
            content = sqlite.kept_roster(self._database, source, revision)
            if content is None:
                raise Refused(f"a roster of {source} is not kept any more")
            if len(self._indexes) >= REPLAY_ROSTERS:
                del self._indexes[next(iter(self._indexes))]
            self._indexes[key] = index_roster(stored_roster(content, source))
        return self._indexes[key]


# --- adapters by name ----------------------------------------------------------------------------------------------


def source_configs() -> Mapping[str, type[msgspec.Struct]]:
    """The `Config` of every kind of source there is; a kind is the name of its file under `sources/`."""
    return {kind: _source_module(kind).Config for kind in source_kinds()}


def source_kinds() -> Sequence[str]:
    """The kinds of sources: the files under `sources/`."""
    return sorted(module.name for module in pkgutil.iter_modules(sources.__path__) if not module.name.startswith("_"))


def _source_module(kind: str) -> Any:
    if kind not in source_kinds():
        raise Refused(f"there is no kind of source {kind!r}; there is {', '.join(source_kinds())}")
    return importlib.import_module(f"{sources.__name__}.{kind}")


def build_source(settings: Settings, name: SourceName, clock: Clock) -> Source:
    """One configured source. Raises `ConfigError` for its section, `Refused` for an unknown kind."""
    return _source(settings, name, clock)[0]


def _source(settings: Settings, name: SourceName, clock: Clock) -> tuple[Source, Sequence[Secret]]:
    section = settings.sources[name]
    module = _source_module(section.kind)
    config = settings.convert(section.section, module.Config)
    source: Source = module.build(config, name=name, clock=clock)
    return source, tuple(getattr(config, "webhook_keys", ()))


def _sources(settings: Settings, clock: Clock) -> tuple[list[Source], dict[SourceName, Sequence[Secret]]]:
    built = {name: _source(settings, name, clock) for name in settings.sources}
    return [source for source, _ in built.values()], {name: keys for name, (_, keys) in built.items() if keys}


def _policy_names(settings: Settings) -> Sequence[str]:
    """Every policy that decides, and every one that stands beside it."""
    return tuple(
        dict.fromkeys([*(resource.policy for resource in settings.resources.values()), *settings.shadows.values()])
    )


def _policy_configs(settings: Settings) -> dict[str, rego.Config]:
    return {name: policy_config(settings.policies.get(name)) for name in _policy_names(settings)}


def _engines(settings: Settings) -> dict[str, PolicyEngine]:
    return {name: rego.build(config) for name, config in _policy_configs(settings).items()}


def policy_config(policy: PolicySettings | None) -> rego.Config:
    """What the engine is given: the files of a policy of the configuration, or the one that ships (None)."""
    if policy is None:
        return rego.Config(modules={"default.rego": shipped_policy("default.rego")})
    modules: dict[str, str] = {}
    data: dict[str, Any] = {}
    for path in policy.files:
        text = _text(path)
        if path.suffix == ".json":
            data |= _json_object(path, text)
        elif path.suffix in {".yaml", ".yml"}:
            data |= _yaml_object(path, text)
        else:
            modules[path.name if path.name not in modules else str(path)] = text
    return rego.Config(
        modules=modules,
        dialect=cast("Literal['v1', 'v0', 'cyral']", policy.dialect),  # checked against the same words by settings
        entrypoint=policy.entrypoint,
        parameters=policy.parameters,
        data=data,
    )


def shipped_policy(name: str) -> str:
    """A file of `policies/` as it ships."""
    return files("watchkey").joinpath("policies", name).read_text("utf-8")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Malformed(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"{path}: not UTF-8 at byte {error.start}") from error


def _json_object(path: Path, text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Malformed(f"{path}: {error}") from error


def _yaml_object(path: Path, text: str) -> dict[str, Any]:
    try:
        value = load(text, str(path)).data
    except ConfigError as error:
        raise Malformed(str(error)) from error
    if not isinstance(value, dict):
        raise Malformed(f"{path}: a data file holds a mapping")
    return value


def _footprint(policy: PolicySettings | None) -> object:
    """What changes when a file of the policy does; None for the policy that ships."""
    if policy is None:
        return None
    found: list[object] = []
    for path in (*policy.files, *policy.tests):
        try:
            status = path.stat()
            found.append((str(path), status.st_size, status.st_mtime_ns, status.st_ino))
        except OSError as error:
            found.append((str(path), error.strerror))
    return found


async def _candidate(settings: Settings, name: str) -> Candidate:
    """A policy as its files are now, compiled and tested aside from the loop. Raises port errors."""
    return await asyncio.to_thread(_compiled_candidate, settings.policies.get(name))


def _compiled_candidate(policy: PolicySettings | None) -> Candidate:
    config = policy_config(policy)
    engine = rego.build(config)
    tests = () if policy is None else policy.tests
    return Candidate(
        policy_hash=engine.policy_hash,
        declared=engine.declared_revision,
        failures=tuple(_failures(config, tests)),
        engine=engine.numbered,
    )


def _failures(config: rego.Config, tests: Sequence[Path]) -> Iterator[str]:
    """What the tests of a policy say that do not pass. Raises `Malformed` when they cannot be run."""
    clock = SystemClock()
    results: list[Result] = []
    try:
        modules = {str(path): _text(path) for path in tests if path.suffix == ".rego"}
        if modules:
            ready = compile_modules(
                {**config.modules, **modules},
                dialect=rego_dialect(config.dialect),
                host_functions=host_functions(config.dialect),
            )
            data = freeze({**config.data, "policyparams": dict(config.parameters)})
            results += [run_rego_test(ready, test, data, clock) for test in rego_tests(ready.modules)]
        for path in tests:
            if path.suffix in {".yaml", ".yml"}:
                bench, cases = CaseBench(file := load_cases(path), config), file.cases
                results += asyncio.run(_case_results(bench, cases, clock))
    except RegoErrors as error:
        raise Malformed(f"its tests: {error}") from error
    except ConfigError as error:
        raise Malformed(f"its tests: {error}") from error
    yield from (f"{one.name}: {one.message}" for one in results if one.status in {Status.FAILED, Status.ERROR})


async def _case_results(bench: "CaseBench", cases: Sequence[Case], clock: Clock) -> list[Result]:
    return [await run_case(case, bench.ask, clock) for case in cases]


def _verifier(settings: Settings, clock: Clock) -> IdentityVerifier:
    callers = tuple((entry.caller, entry.token_hashes) for entry in settings.callers.values())
    return api_token.build(api_token.Config(callers=callers), name="callers", clock=clock)


def target_kinds() -> Sequence[str]:
    """The kinds of targets: the files under `targets/`."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__) if not module.name.startswith("_"))


def build_targets(settings: Settings, clock: Clock) -> dict[ResourceId, Target]:
    """The target of every resource that has a `target` section; connects to none yet. Raises `ConfigError`."""
    built: dict[ResourceId, Target] = {}
    for name, resource in settings.resources.items():
        section = settings.target(name)
        if section is None or not resource.target:
            continue
        if resource.kind not in target_kinds():
            raise Refused(f"{name}: there is no kind of target {resource.kind!r}; there is {', '.join(target_kinds())}")
        module: Any = importlib.import_module(f"{targets.__name__}.{resource.kind}")
        built[name] = module.build(settings.convert(section, module.Config), name=name, clock=clock)
    return built


def bare_postgres_target(url: str, password: Secret, clock: Clock) -> Target:
    """A database by its URL alone, without configuration: enough to look and to reap. Raises `Refused`."""
    from watchkey.targets import postgres  # noqa: PLC0415 -- the driver takes 60 ms that no other command must pay

    return postgres.build(postgres.config_of(url, password), name="reaper", clock=clock)


# --- the audit log and its keys ------------------------------------------------------------------------------------


def audit_store(settings: Settings) -> SqliteStore:
    """The configured store, not yet open. Raises port errors."""
    storage = settings.storage
    config = sqlite.Config(
        path=str(storage.path),
        key=sqlite.read_key(storage.key_file),
        checkpoint="" if storage.checkpoint is None else str(storage.checkpoint),
        checkpoint_interval=storage.section.checkpoint_interval,
        reserve_mib=storage.section.reserve_mib,
    )
    return sqlite.build(config, name="sqlite", clock=SystemClock())


def open_audit_reader(database: Path) -> AuditReader:
    """A view of an audit log that cannot change it. Raises port errors."""
    return AuditReader(database)


def create_audit_key(path: Path, origin: str) -> None:
    """Make the key that signs the log `origin`, in a new file of mode 0600. Raises port errors."""
    sqlite.create_key(path, origin)


def make_caller_token() -> tuple[Secret, str]:
    """A new token for a caller, and the hash that the configuration keeps of it."""
    token = make_token()
    return token, hash_token(token)
