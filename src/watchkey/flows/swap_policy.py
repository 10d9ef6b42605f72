"""Take over a changed policy while the service runs: whole, if it compiles and passes its tests, never an older one.

Whatever is wrong with the new one, the last good one goes on deciding, and log, audit log and `problems` say so.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from watchkey.model.audit import Noted, PolicySwapped
from watchkey.model.errors import PortError
from watchkey.ports import AuditLog, Clock, Memory, PolicyEngine

log = logging.getLogger("watchkey.swap_policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A policy as its files say it now, compiled and tested."""

    policy_hash: str
    declared: int | None
    """The revision that the policy says of itself; None when it says none."""
    failures: Sequence[str]
    """What each of its tests that did not pass says."""
    engine: Callable[[int], PolicyEngine]
    """Makes its engine with the revision that it gets."""


class SwapPolicy:
    """The use case for all policies. `engines` is what decisions look into; an entry of it is replaced at once."""

    def __init__(
        self,
        *,
        engines: MutableMapping[str, PolicyEngine],
        prepare: Callable[[str], Awaitable[Candidate]],
        audit: AuditLog,
        memory: Memory,
        clock: Clock,
    ) -> None:
        self.problems: dict[str, str] = {}
        """Policy -> why its files are not what decides now."""
        self._engines = engines
        self._prepare = prepare
        self._audit = audit
        self._memory = memory
        self._clock = clock

    async def look(self, name: str) -> bool:
        """Take over what the files of a policy say now, if that is something else and fit. Returns whether it did."""
        try:
            candidate = await self._prepare(name)
            if candidate.policy_hash == self._engines[name].policy_hash:
                self.problems.pop(name, None)
                return False
            why = self._objection(name, candidate)
            if why is not None:
                await self._keep(name, why, candidate.policy_hash)
                return False
            await self._swap(name, candidate)
        except PortError as error:
            await self._keep(name, str(error), "")
            return False
        return True

    def _objection(self, name: str, candidate: Candidate) -> str | None:
        if candidate.failures:
            return f"{len(candidate.failures)} of its tests failed, the first: {candidate.failures[0]}"
        return older(self._known(name), candidate.declared)

    async def _swap(self, name: str, candidate: Candidate) -> None:
        """Record, then replace: no decision stands on a policy that the log does not have."""
        revision = int(self._known(name)["revision"]) + 1
        engine = candidate.engine(revision)
        await self._audit.append(
            PolicySwapped(at=self._clock.now(), name=name, revision=revision, policy_hash=candidate.policy_hash)
        )
        note = {"revision": revision, "hash": candidate.policy_hash, "declared": candidate.declared}
        await self._memory.remember(f"policy/{name}", note)
        self._engines[name] = engine
        self.problems.pop(name, None)
        log.warning("policy.swapped", extra={"policy": name, "revision": revision, "hash": candidate.policy_hash})

    async def _keep(self, name: str, why: str, policy_hash: str) -> None:
        """Go on with the last good one, and say so once for each reason."""
        if self.problems.get(name) == why:
            return
        self.problems[name] = why
        log.error("policy.kept", extra={"policy": name, "error": why})
        fields = {"policy": name, "why": why[:2000], "hash": policy_hash, "stays": self._engines[name].policy_hash}
        try:
            await self._audit.append(Noted(at=self._clock.now(), what="policy.kept", fields=fields))
        except PortError as error:
            log.warning("audit.unavailable", extra={"error": str(error)})

    def _known(self, name: str) -> dict[str, Any]:
        known = self._memory.recall(f"policy/{name}")
        return known if isinstance(known, dict) else {"revision": 0, "hash": ""}


def older(known: dict[str, Any], declared: int | None) -> str | None:
    """Why a policy that says `declared` of itself must not follow the one that is known; None when it may.

    A policy that once counted its revisions must go on: one without a number could be any old one.
    """
    running = known.get("declared")
    if running is None:
        return None
    if declared is None:
        return f"it does not say its revision, and the running one is its revision {running}"
    if declared < running:
        return f"it is its revision {declared}, older than the running revision {running}"
    return None
