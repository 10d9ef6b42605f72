"""The decision, in numbered steps; total, and every doubt is a denial.

 1. The question makes sense: the resource has that privilege.
 2. Facts: at least one fact holds now, from a roster that counts, for a person who is unambiguously the subject
    (`rules/evidence` finds them and says what speaks against each), unless the resource needs none.
 3. Eligibility: the subject is in one of the resource's reviewed groups, where it names some.
 4. The policy spoke, and said yes.
 5. The end: `until = min(now + ttl, ttl_max, end of the longest accepted fact)`, and it lies in the future.

The policy can narrow what the facts allow, never widen it. Facts come before the policy so that a denial says what is
missing in the world rather than that "the policy" did not like it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from watchkey.model.access import (
    Allow,
    Decision,
    Evidence,
    FactKind,
    Ground,
    Needs,
    Outcome,
    Reason,
    Verdict,
)
from watchkey.model.oncall import EndKind
from watchkey.rules.evidence import UNKNOWN_END_TTL, Findings, Question
from watchkey.rules.sentences import allow_sentence, denial

NEAREST_FIRST: Final = (
    # Facts were found and fall short: the person is closest to yes here.
    Reason.INCIDENT_UNVETTED,
    Reason.OUTSIDE_BLAST_RADIUS,
    Reason.PROVENANCE_TOO_WEAK,
    Reason.LEVEL_TOO_HIGH,
    Reason.LEVEL_UNKNOWN,
    Reason.ESCALATION_UNKNOWN,
    Reason.NOT_ESCALATED,
    Reason.ONLY_PERMANENT,
    Reason.SOURCES_DISAGREE,
    Reason.SECOND_SOURCE_SILENT,
    # We cannot tell: saying "not on call" would be a lie.
    Reason.ROSTER_STALE,
    Reason.NO_ROSTER,
    Reason.CLOCK_DOUBTFUL,
    Reason.SCOPE_UNKNOWN,
    # Who is asking?
    Reason.IDENTITY_AMBIGUOUS,
    Reason.PERSON_INACTIVE,
    Reason.PERSON_UNKNOWN,
    Reason.NOT_LINKED,
    # Plainly not.
    Reason.NOT_RESPONDING,
    Reason.NOT_ON_CALL,
)
"""Which of several reasons a denial names: the first in this order."""

_POLICY_REASONS: Final = {
    Outcome.NO: Reason.POLICY_DENIED,
    Outcome.UNDEFINED: Reason.POLICY_UNDEFINED,
    Outcome.MALFORMED: Reason.POLICY_MALFORMED,
    Outcome.FAILED: Reason.POLICY_FAILED,
    Outcome.OVER_BUDGET: Reason.POLICY_OVER_BUDGET,
    Outcome.UNREACHABLE: Reason.POLICY_UNREACHABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Yes:
    """What steps 1 to 4 let through."""

    evidence: tuple[Evidence, ...]
    reason: Reason


def decide(question: Question, findings: Findings, verdict: Verdict, *, zone: tzinfo) -> Decision:
    """Answer the question. `zone` is for the sentence only; nothing is decided by it."""
    answer = _facts_allow(question, findings)
    if isinstance(answer, Reason):
        return denial(question, findings, answer, verdict, zone=zone)
    if verdict.outcome is not Outcome.YES:  # 4
        return denial(question, findings, _POLICY_REASONS[verdict.outcome], verdict, zone=zone)
    until = _until(question, answer.evidence, verdict)  # 5
    if until <= question.now:
        return denial(question, findings, Reason.NO_TIME_LEFT, verdict, zone=zone)
    return Allow(
        request=question.request,
        decided_at=question.now,
        until=until,
        reason=answer.reason,
        sentence=allow_sentence(question, answer.evidence, until, zone=zone),
        evidence=answer.evidence,
        grounds=grounds(question),
        policy_hash=verdict.policy_hash,
        policy_revision=verdict.policy_revision,
    )


def _facts_allow(question: Question, findings: Findings) -> Reason | _Yes:
    resource = question.resource
    if question.request.privilege not in resource.privileges:  # 1
        return Reason.UNKNOWN_PRIVILEGE
    accepted = () if resource.needs is Needs.NOTHING else findings.accepted
    if not accepted and resource.needs is not Needs.NOTHING:  # 2
        return _nearest(question, findings)
    if resource.eligible_groups and resource.eligible_groups.isdisjoint(question.request.subject.groups):  # 3
        return Reason.NOT_ELIGIBLE
    return _Yes(evidence=accepted, reason=_why(accepted))


def _nearest(question: Question, findings: Findings) -> Reason:
    """The reason nearest to yes among everything that was in the way; without anything, plainly not."""
    reasons = {finding.objection for finding in findings.facts} | set(findings.doubts)
    plain = Reason.NOT_RESPONDING if question.resource.needs is Needs.RESPONDING else Reason.NOT_ON_CALL
    return next((reason for reason in NEAREST_FIRST if reason in reasons), plain)


def _why(accepted: tuple[Evidence, ...]) -> Reason:
    if not accepted:
        return Reason.NO_FACT_NEEDED
    kinds = {evidence.kind for evidence in accepted}
    if FactKind.ON_CALL in kinds:
        return Reason.ON_CALL
    return Reason.RESPONDING if FactKind.RESPONDING in kinds else Reason.GRACE


def _until(question: Question, accepted: tuple[Evidence, ...], verdict: Verdict) -> datetime:
    now, cap = question.now, question.resource.ttl_max
    ttl = cap if verdict.ttl is None else min(cap, max(verdict.ttl, timedelta(0)))
    if not accepted:
        return now + ttl
    return min(now + ttl, max(_end(evidence, now, now + cap) for evidence in accepted))


def _end(evidence: Evidence, now: datetime, cap: datetime) -> datetime:
    """Until when one fact can be counted on: its own end, or a short time when nobody knows its end."""
    if evidence.until is not None:
        return evidence.until
    if evidence.kind is FactKind.ON_CALL and evidence.end_kind is EndKind.UNKNOWN:
        return now + UNKNOWN_END_TTL
    return cap


def grounds(question: Question) -> tuple[Ground, ...]:
    """The rosters that the decision stands on: those of the resource's scopes, and of those that must agree."""
    return tuple(
        Ground(source=name, revision=question.views[name].revision, age=question.views[name].age)
        for name in question.resource.sources
        if name in question.views
    )
