"""A second policy beside the first: asked about the same facts, and its differences told, without any effect.

It is asked after the answer was given, from a queue that drops what does not fit: a slow or broken second policy costs
figures, never a decision.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from watchkey.model.access import Decision
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError
from watchkey.model.ids import ResourceId
from watchkey.ports import AuditLog, PolicyEngine
from watchkey.rules.decide import decide
from watchkey.rules.evidence import Findings, Question
from watchkey.rules.policy_change import Change, change_between

log = logging.getLogger("watchkey.shadow_policy")

QUEUE_MAX: Final = 10_000
NOTED_AGAIN: Final = timedelta(hours=1)
"""A difference for one subject on one privilege is told again after this long; in between it is only counted."""
NOTED_MAX: Final = 10_000
"""How many differences are remembered as told; beyond, the oldest may be told once more."""


@dataclass(frozen=True, slots=True)
class _Seen:
    question: Question
    findings: Findings
    document: Mapping[str, object]
    decision: Decision


class ShadowPolicy:
    """The use case. `shadows` says which policy stands beside each resource's own; `engines` may change under it."""

    def __init__(
        self,
        *,
        shadows: Mapping[ResourceId, str],
        engines: Mapping[str, PolicyEngine],
        audit: AuditLog,
        zone: tzinfo,
    ) -> None:
        self.compared = 0
        self.dropped = 0
        self.failed = 0
        self.changes: dict[Change, int] = dict.fromkeys(Change, 0)
        self._shadows = shadows
        self._engines = engines
        self._audit = audit
        self._zone = zone
        self._queue: asyncio.Queue[_Seen] = asyncio.Queue(QUEUE_MAX)
        self._noted: dict[tuple[str, ...], datetime] = {}

    def watch(self, question: Question, findings: Findings, document: Mapping[str, object], decision: Decision) -> None:
        """Take note of a decision, to be compared later; returns at once."""
        if question.resource.id not in self._shadows:
            return
        try:
            self._queue.put_nowait(_Seen(question, findings, document, decision))
        except asyncio.QueueFull:
            self.dropped += 1

    async def run(self) -> None:
        """Compare what was noted, for ever."""
        while True:
            await self.compare_next()

    async def compare_next(self) -> None:
        """Wait for a decision and compare it. Never raises but for being cancelled."""
        seen = await self._queue.get()
        try:
            await self._compare(seen)
        except Exception:
            self.failed += 1
            log.exception("shadow.failed", extra={"resource": seen.question.resource.id})

    async def _compare(self, seen: _Seen) -> None:
        name = self._shadows[seen.question.resource.id]
        verdict = await self._engines[name].evaluate(seen.document, now=seen.question.now)
        would_be = decide(seen.question, seen.findings, verdict, zone=self._zone)
        self.compared += 1
        change = change_between(seen.decision, would_be)
        if change is None:
            return
        self.changes[change] += 1
        if self._is_news(seen, change, would_be):
            await self._tell(name, seen, change, would_be)

    def _is_news(self, seen: _Seen, change: Change, would_be: Decision) -> bool:
        request, now = seen.question.request, seen.question.now
        key = (change, would_be.reason, request.subject.id, request.privilege, request.resource, would_be.policy_hash)
        told = self._noted.get(key)
        if told is not None and timedelta(0) <= now - told < NOTED_AGAIN:
            return False
        self._noted.pop(key, None)
        self._noted[key] = now
        if len(self._noted) > NOTED_MAX:
            del self._noted[next(iter(self._noted))]
        return True

    async def _tell(self, name: str, seen: _Seen, change: Change, would_be: Decision) -> None:
        request = seen.question.request
        fields = {
            "policy": name,
            "policy_hash": would_be.policy_hash,
            "change": change.value,
            "subject": request.subject.id,
            "privilege": request.privilege,
            "resource": request.resource,
            "reason": seen.decision.reason.value,
            "would_be": would_be.reason.value,
        }
        log.warning("shadow.differs", extra=fields)
        try:
            await self._audit.append(Noted(at=seen.question.now, what="policy.shadow_differs", fields=fields))
        except PortError as error:
            log.warning("audit.unavailable", extra={"error": str(error)})
