"""From questions to decisions, for every dialect: quotas, the reserved lane, and a *no* whose time tells nothing."""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Protocol

from watchkey.entrypoints.http.answer import NO, DecisionAnswer, ErrorAnswer, answer
from watchkey.entrypoints.http.exchange import Fault, Request
from watchkey.entrypoints.http.limits import Limits, Quotas
from watchkey.entrypoints.http.live_allows import LiveAllows
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.model.access import AccessRequest, Allow, Caller, Decision
from watchkey.ports import Clock

log = logging.getLogger("watchkey.http")


class Answered(Protocol):
    """A decision and where it is recorded."""

    decision: Decision
    seq: int


class Deciding(Protocol):
    """The use case."""

    async def answer(self, request: AccessRequest, caller: Caller, /) -> Answered:
        """Decide and record; `seq` is the audit entry, -1 when a denial could not be recorded."""
        ...


class Questions:
    """Puts questions on behalf of callers."""

    def __init__(self, deciding: Deciding, clock: Clock, limits: Limits, metrics: Metrics) -> None:
        self._deciding = deciding
        self._clock = clock
        self._limits = limits
        self._metrics = metrics
        self._quotas = Quotas(limits)
        self._live = LiveAllows()

    async def ask(self, access: AccessRequest, caller: Caller, request: Request) -> DecisionAnswer:
        """One decision, shaped for its caller.

        Raises `Fault` 429 when the caller is over its quota and nobody's running allow is at stake, and 500 when
        something unforeseen happens and the caller is trusted to know.
        """
        self._charge(access, caller)
        given = await self._decide(access, caller, request)
        if not given.allow and not caller.is_trusted:
            await self._wait_for_grid(request)
        if given.error is not None:
            raise Fault(500, given.error.code, given.error.message)
        return given

    async def ask_all(
        self, questions: Sequence[AccessRequest], caller: Caller, request: Request
    ) -> tuple[DecisionAnswer, ...]:
        """One answer a question, in their order; what could not be asked says so in its own place."""
        # Together, so that the audit log makes their entries durable in one go.
        answers = await asyncio.gather(*(self._ask_one_of_many(access, caller, request) for access in questions))
        if not caller.is_trusted and not all(each.allow for each in answers):
            await self._wait_for_grid(request)
        return tuple(answers)

    async def _ask_one_of_many(self, access: AccessRequest, caller: Caller, request: Request) -> DecisionAnswer:
        try:
            self._charge(access, caller)
        except Fault as fault:
            return DecisionAnswer(allow=False, error=ErrorAnswer(code=fault.code, message=fault.message))
        return await self._decide(access, caller, request)

    async def _decide(self, access: AccessRequest, caller: Caller, request: Request) -> DecisionAnswer:
        started_at = self._clock.monotonic()
        try:
            answered = await self._deciding.answer(access, caller)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("decision.failed", extra={"request_id": request.id, "caller": caller.id})
            if not caller.is_trusted:
                return NO
            message = f"an internal error; the log has it under request {request.id}"
            return DecisionAnswer(allow=False, error=ErrorAnswer(code="internal_error", message=message))
        self._metrics.count_decision(answered.decision, self._clock.monotonic() - started_at)
        return self._shape(access, answered, caller)

    def _shape(self, access: AccessRequest, answered: Answered, caller: Caller) -> DecisionAnswer:
        decision, now = answered.decision, self._clock.now()
        seq = answered.seq if answered.seq >= 0 else None
        if not isinstance(decision, Allow):
            self._live.forget(access)
            return answer(decision, seq, caller, now)
        given = self._live.answer(access, decision, now)
        if given is None:
            given = answer(decision, seq, caller, now)
            self._live.remember(access, decision, given)
        return given

    def _charge(self, access: AccessRequest, caller: Caller) -> None:
        monotonic = self._clock.monotonic()
        bucket = self._quotas.bucket(caller.id, monotonic)
        if bucket.take(monotonic) or self._live.holds(access, self._clock.now()):
            return
        self._metrics.over_quota += 1
        wait = max(1, math.ceil(bucket.wait_for()))
        raise Fault(
            429,
            "too_many_requests",
            f"the quota of this caller is used up; try again in {wait} s",
            headers=((b"retry-after", b"%d" % wait),),
        )

    async def _wait_for_grid(self, request: Request) -> None:
        # An unknown resource is refused sooner than a known one; on a coarse grid of time both look alike (I2).
        grid = self._limits.refusal_grid_s
        if grid > 0:
            elapsed = max(0.0, asyncio.get_running_loop().time() - request.arrived_at)
            await asyncio.sleep(math.ceil(elapsed / grid) * grid - elapsed)
