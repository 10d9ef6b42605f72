"""Take what the OPAs of a fleet report into the audit log: each decision once, a status when it says something new.

A report is answered only when all of it is durable; OPA sends it again otherwise. The log itself is what remembers
which decisions are in it, so that nothing can be lost or doubled between two stores.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from watchkey.model.audit import Noted, OpaDecision
from watchkey.model.errors import Unavailable
from watchkey.model.ids import CallerId
from watchkey.ports import AuditLog, Clock
from watchkey.rules.opa_reports import EVENT_BYTES_MAX, DecisionReport, StatusReport

REMEMBERED_MAX: Final = 200_000
"""Decision ids that are remembered; a decision that is reported again later than so many others is logged twice."""
OPAS_MAX: Final = 10_000
"""OPAs of a fleet whose last status is remembered."""

Key = tuple[str, str]
"""Fleet and decision id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of the events of one report."""

    new: int
    known: int


class ReceiveDecisions:
    """The use case for decision logs. `seen` are the decisions that the log has already, oldest first."""

    def __init__(self, *, clock: Clock, audit: AuditLog, seen: Iterable[Key] = ()) -> None:
        self.new = 0
        self.known = 0
        self._clock = clock
        self._audit = audit
        self._seen: OrderedDict[Key, None] = OrderedDict.fromkeys(seen)
        self._writing: dict[Key, asyncio.Task[None]] = {}
        self._forget()

    async def take(self, fleet: str, caller: CallerId, reports: Sequence[DecisionReport]) -> Taken:
        """Log what is new of a report. Raises `Unavailable` when not all of it could be made durable."""
        waiting: dict[Key, asyncio.Task[None]] = {}
        new = 0
        for report in reports:
            key = (fleet, report.decision_id)
            if key in self._seen or key in waiting:
                continue
            task = self._writing.get(key)
            if task is None:
                new += 1
                task = self._writing[key] = asyncio.create_task(self._write(key, self._event(fleet, caller, report)))
            waiting[key] = task
        # Shielded: a client that hangs up must not leave a decision half-known.
        outcomes = await asyncio.shield(asyncio.gather(*waiting.values(), return_exceptions=True))
        failures = [one for one in outcomes if isinstance(one, BaseException)]
        if failures:
            raise Unavailable(f"{len(failures)} of {len(reports)} decisions could not be recorded") from failures[0]
        self.new += new
        self.known += len(reports) - new
        return Taken(new=new, known=len(reports) - new)

    async def _write(self, key: Key, event: OpaDecision) -> None:
        try:
            await self._audit.append(event)
            self._seen[key] = None
            self._forget()
        finally:
            del self._writing[key]

    def _forget(self) -> None:
        while len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)

    def _event(self, fleet: str, caller: CallerId, report: DecisionReport) -> OpaDecision:
        raw = report.text.encode()
        return OpaDecision(
            at=self._clock.now(),
            caller=caller,
            fleet=fleet,
            decision_id=report.decision_id,
            opa=report.opa,
            decided_at=report.decided_at,
            path=report.path,
            revision=report.revision_of(fleet),
            outcome=report.outcome,
            event=report.text if len(raw) <= EVENT_BYTES_MAX else None,
            digest=sha256(raw).hexdigest(),
        )


@dataclass(slots=True)
class OpaState:
    """What is known of one OPA."""

    report: StatusReport
    told_at: float
    """Seconds of the monotonic clock."""


class ReceiveStatus:
    """The use case for the status of one fleet's OPAs."""

    def __init__(self, *, fleet: str, clock: Clock, audit: AuditLog, content_of: Callable[[str], int]) -> None:
        """`content_of` says which content a revision has: those that only say that a roster is fresh share one."""
        self.opas: OrderedDict[str, OpaState] = OrderedDict()
        self.received = 0
        self._fleet = fleet
        self._clock = clock
        self._audit = audit
        self._content_of = content_of

    async def take(self, caller: CallerId, report: StatusReport) -> bool:
        """Keep what an OPA says, and log it when it says something new. Returns whether it did.

        Raises `Unavailable` when it could not be logged; then the OPA's next report is new again.
        """
        before = self.opas.get(report.opa)
        is_new = before is None or self._gist(before.report) != self._gist(report)
        if is_new:
            fields = {
                "fleet": self._fleet,
                "opa": report.opa,
                "version": report.version,
                "revision": report.revision,
                "code": report.code,
                "message": report.message,
                "plugins": dict(report.plugins),
            }
            await self._audit.append(Noted(at=self._clock.now(), what="opa.status", caller=caller, fields=fields))
        self.received += 1
        self.opas.pop(report.opa, None)
        self.opas[report.opa] = OpaState(report=report, told_at=self._clock.monotonic())
        while len(self.opas) > OPAS_MAX:
            self.opas.popitem(last=False)
        return is_new

    def _gist(self, report: StatusReport) -> tuple[object, ...]:
        return report.version, self._content_of(report.revision), report.code, report.message, dict(report.plugins)
