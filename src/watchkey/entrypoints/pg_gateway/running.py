"""The configured gateways, put together on the running service: one place for sessions and endings."""

import asyncio
import gc
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Final, Protocol, Self

from watchkey.entrypoints.pg_gateway.config import DatabaseSection, GatewaySection, rules_of
from watchkey.entrypoints.pg_gateway.gateway import Gateway
from watchkey.entrypoints.pg_gateway.workers import Workers
from watchkey.flows.guard_session import Deciding, GuardRules, GuardSessions, Protected
from watchkey.flows.login_tokens import LoginTokens
from watchkey.flows.request_access import RequestAccess
from watchkey.model.access import AccessRequest, Caller, Decision, Resource
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import CallerId, ResourceId, SourceName
from watchkey.model.lease import LeaseState
from watchkey.ports import AuditLog, Clock, RosterStore, Target
from watchkey.rules.roster import RosterChange

log = logging.getLogger("watchkey.pg_gateway")

CALLER: Final = Caller(id=CallerId("pg-gateway"), resources=None, is_trusted=True)
"""In whose name the gateway asks: it is part of the service, and has proven who the person is."""


class Sync(Protocol):
    """Who reads the sources, and tells of each swap that changed something."""

    listeners: list[Callable[[SourceName, RosterChange], None]]


class Served(Protocol):
    """What the gateways need of the wired service."""

    @property
    def request_access(self) -> RequestAccess:
        """The use case that decides."""
        ...

    @property
    def resources(self) -> Mapping[ResourceId, Resource]:
        """What is protected."""
        ...

    @property
    def rosters(self) -> RosterStore:
        """The rosters that decisions use now."""
        ...

    @property
    def tokens(self) -> LoginTokens:
        """The tokens of people: what they log in with."""
        ...

    @property
    def audit(self) -> AuditLog:
        """The memory."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...

    @property
    def sync(self) -> Sync:
        """Who reads the sources."""
        ...


class Gateways:
    """All gateways of a process; `async with` starts and ends them. Targets are closed with it."""

    def __init__(
        self, service: Served, sections: Sequence[GatewaySection], targets: Mapping[ResourceId, Target]
    ) -> None:
        """Raises Refused for a section that cannot be served."""
        self._service = service
        self._targets = targets
        self.gateways: list[Gateway | Workers] = []
        self._guards: list[GuardSessions] = []
        self._stack = AsyncExitStack()
        for section in sections:
            self._add(section)

    async def __aenter__(self) -> Self:
        """Close what an earlier life left open, then listen."""
        # young objects by the thousand are the normal case here, and looking at all old ones each time stops everybody
        gc.set_threshold(20_000, 50, 100)
        for target in self._targets.values():
            self._stack.push_async_callback(target.close)
        for gateway in self.gateways:
            await gateway.start()
            self._stack.push_async_callback(gateway.close)
        self._service.sync.listeners.append(self._roster_changed)
        self._stack.callback(self._service.sync.listeners.remove, self._roster_changed)
        self._reaping = asyncio.create_task(self._reap())
        self._stack.push_async_callback(_cancelled, self._reaping)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every session and take every account back."""
        await self._stack.aclose()

    async def drain(self) -> None:
        """Refuse new sessions everywhere; return when the last one has left, or as each gateway's `drain_max` says."""
        await asyncio.gather(*(gateway.drain() for gateway in self.gateways))

    @property
    def addresses(self) -> Sequence[str]:
        """Where they listen."""
        return [gateway.address for gateway in self.gateways]

    # --- the desk ----------------------------------------------------------------------------------------------------

    def sessions(self) -> list[dict[str, Any]]:
        """Who is in, as JSON values."""
        return [asdict(view) for gateway in self.gateways for view in gateway.sessions()]

    def endings(self) -> list[dict[str, Any]]:
        """Leases that are being taken back, and what keeps them."""
        return [
            {
                "lease": held.lease.id,
                "subject": held.lease.subject,
                "resource": held.lease.resource,
                "state": held.state.value,
                "account": held.account.name,
                "blocked_by": held.ending.blocked_by if held.ending else "",
                "residue": [asdict(item) for item in held.ending.residue] if held.ending else [],
            }
            for guard in self._guards
            for held in guard.held
            if held.state in {LeaseState.ENDING, LeaseState.STUCK}
        ]

    def end(self, session: str, *, by: str, why: str) -> bool:
        """End one session. Returns whether there was one."""
        return any(gateway.end_session(session, by=by, why=why) for gateway in self.gateways)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _roster_changed(self, source: SourceName, change: RosterChange) -> None:
        """What a swap took away is looked for at the swap; the guards' own look is the net below."""
        del source, change
        for guard in self._guards:
            guard.roster_changed()

    def _add(self, section: GatewaySection) -> None:
        service = self._service
        rules = rules_of(section)
        guard = GuardSessions(
            deciding=Deciding(
                decide=service.request_access.decide, foresee=self._foresee, judge=self._judge, caller=CALLER
            ),
            protected={ResourceId(one.resource): self._protected(one) for one in section.databases.values()},
            audit=service.audit,
            clock=service.clock,
            new_id=lambda: secrets.token_hex(8),
            rosters=service.rosters,
            rules=GuardRules(
                notices=section.notices,
                sessions_per_person_max=section.sessions_per_person_max,
                sessions_max=section.sessions_max,
                reserve=section.reserve,
            ),
        )
        self._guards.append(guard)
        parts: Any = {
            "guard": guard, "tokens": service.tokens, "audit": service.audit, "clock": service.clock,
            "caller": CALLER.id,
        }  # fmt: skip
        self.gateways.append(Workers(section, **parts) if section.workers else Gateway(rules, **parts))

    def _protected(self, database: DatabaseSection) -> Protected:
        resource = ResourceId(database.resource)
        known, target = self._service.resources.get(resource), self._targets.get(resource)
        if known is None or target is None:
            raise Refused(f"a gateway names the resource {resource!r}, which is not there or has no `target`")
        return Protected(
            target=target,
            privileges=known.privileges,
            sessions_max=database.sessions_max,
            reserve=database.reserve,
        )

    async def _foresee(self, request: AccessRequest, at: Any) -> Decision:
        return (await self._service.request_access.explain(request, at=at)).decision

    async def _judge(self, request: AccessRequest) -> Decision:
        return (await self._service.request_access.explain(request)).decision

    async def _reap(self) -> None:
        """What an earlier life of the gateway left, once at the start and then every minute."""
        while True:
            for target in self._targets.values():
                await _reap_quietly(target)
            await self._service.clock.sleep(60)


async def _reap_quietly(target: Target) -> None:
    try:
        for ending in await target.reap():
            log.warning("account.reaped", extra={"account": ending.account, "blocked_by": ending.blocked_by})
    except PortError as error:
        log.error("reap.failed", extra={"error": str(error)})  # noqa: TRY400  the text says it all


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
