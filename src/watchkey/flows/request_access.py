"""May this subject do this here, now? The one use case behind every way in.

It takes one instant and one view of the rosters, finds the facts, asks the policy, decides, and makes the decision
durable in the audit log before anybody learns an allow. It touches no network, unless the policy is elsewhere.

An allow that is asked for again before its end, on the same rosters and the same policy, is the same allow: it refers
to the first entry and is counted, so that a proxy which asks on every request does not write a row on each. A denial
is always decided anew, because time may have turned it into an allow, but an equal one within a minute is counted too.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Final

from watchkey.model.access import (
    AccessRequest,
    Allow,
    Caller,
    Decision,
    Deny,
    Evidence,
    FactKind,
    Outcome,
    Reason,
    Resource,
    Subject,
    Verdict,
)
from watchkey.model.audit import DecisionMade, DecisionsRepeated
from watchkey.model.errors import PortError
from watchkey.model.ids import CallerId, PrivilegeName, ResourceId, SourceName, SubjectId
from watchkey.ports import AuditLog, Clock, HeldRoster, PolicyEngine, RosterStore
from watchkey.rules.decide import decide, grounds
from watchkey.rules.directory import Directory
from watchkey.rules.evidence import Findings, Question, View, find_evidence
from watchkey.rules.grace import GRACE_MAX, Parting, is_at_it, partings
from watchkey.rules.policy_input import policy_document
from watchkey.rules.sentences import plain_denial

log = logging.getLogger("watchkey.request_access")

DENIALS_COUNTED_FOR: Final = timedelta(seconds=60)
"""How long an equal denial is counted instead of written."""

REMEMBERED_MAX: Final = 100_000
"""How many answers are remembered for counting; the oldest is forgotten first, which only costs a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with everything that led to it; made by the same steps as the real one, and recorded nowhere."""

    decision: Decision
    findings: Findings
    document: Mapping[str, object]
    verdict: Verdict


@dataclass(slots=True)
class Answered:
    """A recorded answer and how often it was given again since its count was last written."""

    decision: Decision
    seq: int
    basis: tuple[object, ...]
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The incident facts of an allow that was given at `since` and holds until `until`."""

    facts: tuple[Evidence, ...]
    since: datetime
    until: datetime


_Held = tuple[SubjectId, PrivilegeName, ResourceId]
_Key = tuple[SubjectId, frozenset[str], PrivilegeName, ResourceId, CallerId]


Observe = Callable[[Question, Findings, Mapping[str, object], Decision], None]
"""Told of every decision that a policy had a part in. It must return at once, never raise, and change nothing."""


class RequestAccess:
    """The use case, with its collaborators given once."""

    def __init__(  # noqa: PLR0913 -- one argument a collaborator, all by name
        self,
        *,
        clock: Clock,
        rosters: RosterStore,
        engines: Mapping[str, PolicyEngine],
        audit: AuditLog,
        directory: Directory,
        zone: tzinfo,
        time_floor: datetime | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._clock = clock
        self._rosters = rosters
        self._engines = engines
        self._audit = audit
        self.directory = directory
        self._zone = zone
        self._time_floor = time_floor
        self._observe = observe
        self._answered: OrderedDict[_Key, Answered] = OrderedDict()
        self._parts: OrderedDict[_Held, _Parts] = OrderedDict()
        """What the last allow rests on of incidents, where their end has a time of grace."""
        self._partings: dict[_Held, tuple[Parting, ...]] = {}

    async def decide(self, request: AccessRequest, caller: Caller) -> Decision:
        """Decide, record, answer. Never raises for a reason of its own: a failure inside is a denial."""
        return (await self.answer(request, caller)).decision

    async def answer(self, request: AccessRequest, caller: Caller) -> Answered:
        """The decision with the sequence number of the audit entry that it rests on; -1 when none could be written."""
        now = self._clock.now()
        key = (request.subject.id, request.subject.groups, request.privilege, request.resource, caller.id)
        known = self._answered.get(key)
        try:
            if known is not None and self._still_holds(known, request, now):
                known.repeats += 1
                return known
            asked = request if request.caller == caller.id else replace(request, caller=caller.id)
            decision, basis = await self._decide(asked, caller, now)
            return await self._record(key, decision, basis, known)
        except Exception:
            log.exception("decision.failed", extra={"resource": request.resource})
            return Answered(decision=plain_denial(request, Reason.INTERNAL_ERROR, now), seq=-1, basis=())

    async def explain(
        self, request: AccessRequest, *, at: datetime | None = None, is_escalated: bool = False
    ) -> Explanation:
        """The decision as it would be now, or at a coming instant, with its inputs; recorded nowhere.

        `is_escalated`: as if an incident had escalated to the subject's level. An unknown resource gives a denial with
        an empty document.
        """
        now = self._clock.now() if at is None else at
        question = self._question(request, now)
        if question is None:
            unknown = plain_denial(request, Reason.UNKNOWN_RESOURCE, now)
            return Explanation(
                decision=unknown, findings=Findings(), document={}, verdict=Verdict(outcome=Outcome.UNDEFINED)
            )
        if is_escalated:
            question = replace(question, resource=replace(question.resource, level_follows_escalation=False))
        findings = find_evidence(question)
        document = policy_document(question, findings)
        verdict = await self._engines[question.resource.policy].evaluate(document, now=now)
        decision = decide(question, findings, verdict, zone=self._zone)
        return Explanation(decision=decision, findings=findings, document=document, verdict=verdict)

    def roster_changed(self, source: SourceName) -> None:
        """A source has another roster: note whose part in an incident has ended, as long as he still holds an allow.

        To be called right after the swap. What is not noted, over a restart for instance, has no grace.
        """
        held = self._rosters.held().get(source)
        now = self._clock.now()
        self._partings = {key: kept for key, ended in self._partings.items() if (kept := _not_over(ended, now))}
        if held is None:
            return
        for key, parts in list(self._parts.items()):
            ended = tuple(partings(parts.facts, held.index, now)) if parts.since <= now < parts.until else ()
            facts = tuple(fact for fact in parts.facts if fact.scope.source != source or is_at_it(fact, held.index))
            if facts and now < parts.until:
                self._parts[key] = replace(parts, facts=facts)
            else:
                del self._parts[key]
            if ended:
                self._partings[key] = (
                    *(one for one in self._partings.get(key, ()) if not _is_of_any(one, ended)),
                    *ended,
                )

    async def write_repeats(self) -> None:
        """Write the counts of repeated answers; called now and then, and at the end."""
        for known in [known for known in self._answered.values() if known.repeats]:
            await self._write_count(known)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _still_holds(self, known: Answered, request: AccessRequest, now: datetime) -> bool:
        """Whether an allow given before is the answer again; `context` must be the same, as a policy may judge it."""
        decision = known.decision
        return (
            isinstance(decision, Allow)
            and decision.decided_at <= now < decision.until
            and decision.request.context == request.context
            and known.basis == self._basis(decision.request.resource)
        )

    def _basis(self, resource_id: ResourceId) -> tuple[object, ...]:
        """What an answer rests on besides time: when any of it changes, the answer is made anew."""
        resource = self.directory.resources[resource_id]
        held = self._rosters.held()
        revisions = tuple(held[name].revision if name in held else None for name in resource.sources)
        return (self.directory, self._engines[resource.policy].policy_hash, revisions)

    async def _decide(
        self, request: AccessRequest, caller: Caller, now: datetime
    ) -> tuple[Decision, tuple[object, ...]]:
        if not caller.may_ask_about(request.resource):
            return plain_denial(request, Reason.CALLER_NOT_ALLOWED, now), ()
        question = self._question(request, now, is_trusted=caller.is_trusted)
        if question is None:
            return plain_denial(request, Reason.UNKNOWN_RESOURCE, now), ()
        basis = self._basis(request.resource)
        findings = find_evidence(question)
        document = policy_document(question, findings)
        verdict = await self._engines[question.resource.policy].evaluate(document, now=now)
        decision = decide(question, findings, verdict, zone=self._zone)
        if self._observe is not None:
            self._observe(question, findings, document, decision)
        if isinstance(decision, Deny):
            self._note_look_alike(decision)
            decision = replace(decision, grounds=grounds(question))
        return decision, basis

    def _question(self, request: AccessRequest, now: datetime, *, is_trusted: bool = True) -> Question | None:
        resource = self.directory.resources.get(request.resource)
        if resource is None:
            return None
        subject = request.subject
        reviewed = self.directory.groups.get(subject.id, frozenset())
        groups = reviewed | subject.groups if is_trusted else reviewed
        if groups != subject.groups:
            request = replace(request, subject=Subject(id=subject.id, groups=groups))
        return Question(
            request=request,
            resource=resource,
            now=now,
            views=self._views(resource),
            links=self.directory.links,
            time_floor=self._time_floor,
            dependents=self.directory.dependents,
            partings=self._partings.get((subject.id, request.privilege, resource.id), ()),
        )

    def _note_look_alike(self, decision: Deny) -> None:
        """Tell the operator of a subject who is nobody and is written like somebody; the caller is told in words."""
        if decision.reason is not Reason.NOT_LINKED:
            return
        subject = decision.request.subject.id
        if (other := self.directory.links.looks_like(subject)) is not None:
            log.warning("identity.look_alike", extra={"why": f"{subject!a} looks like {other!a}"})

    def _views(self, resource: Resource) -> dict[SourceName, View]:
        held = self._rosters.held()
        ticks = self._clock.monotonic()
        return {name: _view(held[name], ticks) for name in resource.sources if name in held}

    async def _record(
        self, key: _Key, decision: Decision, basis: tuple[object, ...], known: Answered | None
    ) -> Answered:
        """Make the decision durable, or count it when it only repeats; an allow that cannot be recorded is a denial."""
        if known is not None:
            if _repeats(known, decision, basis):
                known.repeats += 1
                return known
            if known.repeats:
                await self._count_quietly(known)
        try:
            seq = await self._audit.append(DecisionMade(decision=decision))
        except PortError as error:
            log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  # the text says it all
            self._answered.pop(key, None)
            self._parts.pop(_held_key(decision), None)
            if isinstance(decision, Deny):
                return Answered(decision=decision, seq=-1, basis=())
            denied = plain_denial(decision.request, Reason.AUDIT_UNAVAILABLE, decision.decided_at)
            return Answered(decision=denied, seq=-1, basis=())
        answered = Answered(decision=decision, seq=seq, basis=basis)
        self._remember(key, answered)
        self._note_parts(decision, basis)
        return answered

    def _note_parts(self, decision: Decision, basis: tuple[object, ...]) -> None:
        """Remember what an allow rests on of incidents; a denial forgets it, as nothing is held any more.

        When the roster has changed while the decision was written, its end was not seen, and there is no grace.
        """
        request = decision.request
        resource = self.directory.resources.get(request.resource)
        key = _held_key(decision)
        self._parts.pop(key, None)
        if resource is None or not resource.incident_grace or not isinstance(decision, Allow):
            return
        facts = tuple(fact for fact in decision.evidence if fact.kind is FactKind.RESPONDING)
        if facts and basis == self._basis(request.resource):
            self._parts[key] = _Parts(facts=facts, since=decision.decided_at, until=decision.until)
            if len(self._parts) > REMEMBERED_MAX:
                self._parts.popitem(last=False)

    def _remember(self, key: _Key, answered: Answered) -> None:
        self._answered.pop(key, None)
        self._answered[key] = answered
        if len(self._answered) > REMEMBERED_MAX:
            self._answered.popitem(last=False)

    async def _count_quietly(self, known: Answered) -> None:
        """Write the count of an answer that is about to be replaced; a count that is lost must not lose the answer."""
        try:
            await self._write_count(known)
        except PortError as error:
            log.warning("audit.count_lost", extra={"error": str(error), "seq": known.seq, "count": known.repeats})

    async def _write_count(self, known: Answered) -> None:
        count, known.repeats = known.repeats, 0
        try:
            await self._audit.append(DecisionsRepeated(at=self._clock.now(), seq=known.seq, count=count))
        except PortError:
            known.repeats += count
            raise


def _view(held: HeldRoster, ticks: float) -> View:
    return View(index=held.index, revision=held.revision, age=timedelta(seconds=max(0.0, ticks - held.read_at)))


def _held_key(decision: Decision) -> _Held:
    request = decision.request
    return request.subject.id, request.privilege, request.resource


def _not_over(ended: tuple[Parting, ...], now: datetime) -> tuple[Parting, ...]:
    return tuple(one for one in ended if now < one.until(GRACE_MAX))


def _is_of_any(one: Parting, others: tuple[Parting, ...]) -> bool:
    return any((one.was.incident, one.was.involvement) == (each.was.incident, each.was.involvement) for each in others)


def _repeats(known: Answered, decision: Decision, basis: tuple[object, ...]) -> bool:
    """Whether a denial says what was said within the last minute."""
    return (
        isinstance(decision, Deny)
        and isinstance(known.decision, Deny)
        and known.decision.reason is decision.reason
        and known.basis == basis
        and timedelta(0) <= decision.decided_at - known.decision.decided_at < DENIALS_COUNTED_FOR
    )
