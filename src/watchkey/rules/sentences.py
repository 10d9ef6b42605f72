"""What a decision says to a person at 3 a.m.: what is missing, who is on call instead, when their next shift starts."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from watchkey.model.access import (
    AccessRequest,
    Deny,
    Evidence,
    FactKind,
    OnCallInstead,
    Reason,
    Resource,
    Verdict,
)
from watchkey.model.ids import PersonId
from watchkey.model.oncall import EndKind, Provenance, Scope, ScopeKind, Shift
from watchkey.rules.evidence import Findings, Question, View

_REASONS_MAX: Final = 5
_REASON_MAX: Final = 100
"""How many reasons of a policy a sentence gives, and how many characters of each."""

_GRADE_WORDS: Final = {
    Provenance.ROTA: "the rota",
    Provenance.SWAP: "a swap",
    Provenance.OTHER_OVERRIDE: "an override made by somebody else",
    Provenance.SELF_OVERRIDE: "an override that they made themselves",
    Provenance.PERMANENT: "a permanent assignment",
    Provenance.UNKNOWN: "a change made at short notice by an unknown hand",
}

_PLAIN: Final = {
    Reason.CALLER_NOT_ALLOWED: (
        "This caller may not ask about {resource}; an operator can add it to the caller's resources."
    ),
    Reason.UNKNOWN_RESOURCE: "There is no resource {resource} in the configuration.",
    Reason.NO_ROSTER: (
        "No complete roster has been read yet for {resource}, so nobody can be let in; see /ready for the "
        "source and its error."
    ),
    Reason.CLOCK_DOUBTFUL: (
        "The clocks of this service and its on-call source disagree by more than a minute, so no new access "
        "is given; an operator has to set the clock right."
    ),
    Reason.SCOPE_UNKNOWN: (
        "{resource} names a pager that its on-call source does not know; an operator has to correct the configuration."
    ),
    Reason.NOT_LINKED: "{subject} is not linked to anybody in the on-call tool; an operator can add the link.",
    Reason.IDENTITY_AMBIGUOUS: (
        "{subject} is linked to more than one person, or shares one with somebody else; both are denied "
        "until an operator decides."
    ),
    Reason.PERSON_UNKNOWN: "The person whom {subject} is linked to is not in the on-call tool any more.",
    Reason.PERSON_INACTIVE: "The person whom {subject} is linked to is deactivated in the on-call tool.",
    Reason.NOT_ELIGIBLE: "{subject} is not in a group that may hold {resource}, on call or not.",
    Reason.POLICY_UNDEFINED: "The policy of {resource} has no answer for this question, which counts as no.",
    Reason.POLICY_MALFORMED: (
        "The policy of {resource} gave an answer of the wrong shape, which counts as no: {detail}"
    ),
    Reason.POLICY_FAILED: "The policy of {resource} failed, which counts as no: {detail}",
    Reason.POLICY_OVER_BUDGET: "The policy of {resource} took too long, which counts as no: {detail}",
    Reason.POLICY_UNREACHABLE: "The policy of {resource} could not be asked, which counts as no: {detail}",
    Reason.NO_TIME_LEFT: "The fact that would let {subject} into {resource} ends this very moment.",
    Reason.AUDIT_UNAVAILABLE: (
        "The audit log cannot be written, and without its record no access is given; running sessions keep their end."
    ),
    Reason.INTERNAL_ERROR: (
        "The decision failed inside the service, which counts as no; an operator finds the cause in its log."
    ),
}


def allow_sentence(question: Question, accepted: tuple[Evidence, ...], until: datetime, *, zone: tzinfo) -> str:
    """Say an allow: `alice is on call (level 1) for orders-db: write until Tue 18:00 UTC.`."""
    request = question.request
    what = f"{request.privilege} until {clock_words(until, question.now, zone)}"
    if not accepted:
        return f"{request.resource} needs no on-call fact: {request.subject.id} may {what}."
    return f"{request.subject.id} is {_fact_words(accepted[0])} for {request.resource}: {what}."


def _fact_words(evidence: Evidence) -> str:
    if evidence.kind is FactKind.RESPONDING:
        through = f" of {evidence.path[0]}, by way of {' > '.join(evidence.path)}" if evidence.path else ""
        return f"responding to incident {evidence.incident} ({evidence.involvement}){through}"
    if evidence.kind is FactKind.GRACE:
        return f"in the time of grace after incident {evidence.incident} ({evidence.involvement})"
    if evidence.level is None:
        return "on call"
    reached = f", to which incident {evidence.incident} has escalated" if evidence.escalated_to is not None else ""
    return f"on call (level {evidence.level}{reached})"


def denial(question: Question, findings: Findings, reason: Reason, verdict: Verdict, *, zone: tzinfo) -> Deny:
    """A denial with everything that helps: the sentence, who is on call instead, the subject's next shift."""
    instead = tuple(_on_call_instead(question))
    next_shift_at = _next_shift_at(question)
    parts = [_missing(question, findings, reason, verdict, zone)]
    if reason not in _PLAIN or reason is Reason.NO_TIME_LEFT:
        parts.extend(_help(question, instead, next_shift_at, zone))
    return Deny(
        request=question.request,
        decided_at=question.now,
        reason=reason,
        sentence=" ".join(parts),
        instead=instead,
        next_shift_at=next_shift_at,
        evidence=tuple(finding.evidence for finding in findings.facts),
        policy_hash=verdict.policy_hash,
        policy_revision=verdict.policy_revision,
    )


def plain_denial(request: AccessRequest, reason: Reason, now: datetime, *, detail: str = "") -> Deny:
    """A denial that needs no facts: an unknown resource, a caller out of bounds, a failure of our own."""
    return Deny(request=request, decided_at=now, reason=reason, sentence=_plain(request, reason, detail))


def _plain(request: AccessRequest, reason: Reason, detail: str) -> str:
    words = _PLAIN[reason].format(resource=request.resource, subject=request.subject.id, detail=detail)
    return words.removesuffix(": ")


def _missing(  # noqa: PLR0911 -- a table of sentences
    question: Question, findings: Findings, reason: Reason, verdict: Verdict, zone: tzinfo
) -> str:
    if reason in _PLAIN:
        return _look_alike(question, reason) or _plain(question.request, reason, verdict.detail)
    request, resource = question.request, question.resource
    subject = request.subject.id
    evidence = next((finding.evidence for finding in findings.facts if finding.objection is reason), None)
    match reason:
        case Reason.UNKNOWN_PRIVILEGE:
            return f"{resource.id} has no privilege {request.privilege}; it has {_list(resource.privileges)}."
        case Reason.LEVEL_TOO_HIGH | Reason.LEVEL_UNKNOWN | Reason.NOT_ESCALATED | Reason.ESCALATION_UNKNOWN if (
            evidence is not None
        ):
            return _wrong_level(question, evidence, reason)
        case Reason.ONLY_PERMANENT:
            return (
                f"{subject} is a permanent escalation target of {resource.id}, which never ends and therefore "
                f"does not open {request.privilege}."
            )
        case Reason.PROVENANCE_TOO_WEAK if evidence is not None:
            return _weak_provenance(question, evidence)
        case Reason.INCIDENT_UNVETTED if evidence is not None:
            return (
                f"Nobody but {subject} stands behind incident {evidence.incident} yet; once somebody else "
                f"acknowledges it, it opens {request.privilege} on {resource.id}."
            )
        case Reason.OUTSIDE_BLAST_RADIUS if evidence is not None:
            return (
                f"{subject} is responding to incident {evidence.incident} of {evidence.path[0]}, which depends on "
                f"{evidence.path[-1]}; that opens {_list(sorted(resource.blast_opens))} on {resource.id}, and not "
                f"{request.privilege}."
            )
        case Reason.ROSTER_STALE:
            return _stale(question)
        case Reason.SOURCES_DISAGREE | Reason.SECOND_SOURCE_SILENT:
            return _second_source(question, reason)
        case Reason.POLICY_DENIED:
            because = f": {_list(_some(verdict.reasons))}" if verdict.reasons else ""
            return f"The facts would do, but the policy of {resource.id} says no{because}."
        case Reason.NOT_RESPONDING:
            roles = _list(sorted(resource.incident_roles), "or")
            return f"{subject} is not responding to an open incident of {resource.id} as {roles}."
        case _:
            return _not_on_call(question, zone)


def _wrong_level(question: Question, evidence: Evidence, reason: Reason) -> str:
    resource = question.resource
    words = f"{question.request.subject.id} is on call for {resource.id}"
    if reason is Reason.LEVEL_UNKNOWN:
        return f"{words}, but the source cannot tell at which level."
    if reason is Reason.LEVEL_TOO_HIGH:
        return f"{words} at level {evidence.level}, and it opens at level {_levels(resource)} only."
    words = f"{words} at level {evidence.level}, which opens only while an incident has escalated to it"
    if reason is Reason.NOT_ESCALATED:
        return f"{words}, and no open one has."
    return f"{words}, and the source cannot tell how far the open ones have."


def _weak_provenance(question: Question, evidence: Evidence) -> str:
    request, resource = question.request, question.resource
    opens = sorted(resource.opens.get(evidence.provenance, frozenset()))
    gives = f"opens only {_list(opens)}" if opens else "opens nothing"
    return (
        f"{request.subject.id} is on call for {resource.id} through {_GRADE_WORDS[evidence.provenance]}, which {gives} "
        f"there; {request.privilege} needs the published rota, a swap, an override made by somebody else, or a second "
        "person's word (`watchkey confirm`)."
    )


def _stale(question: Question) -> str:
    sources = {scope.source for scope in question.resource.scopes}
    ages = [view.age for name, view in question.views.items() if name in sources]
    age = _length(max(ages, default=timedelta(0)))
    return (
        f"The on-call source of {question.resource.id} has not been read for {age}, longer than the "
        f"{_length(question.resource.age_max)} that count as fresh, so nobody new is let in "
        f"({question.resource.stale_mode} mode)."
    )


def _look_alike(question: Question, reason: Reason) -> str:
    """What to say of a subject who is nobody and is written like somebody; empty for any other."""
    subject = question.request.subject.id
    other = question.links.looks_like(subject) if reason is Reason.NOT_LINKED else None
    if other is None:
        return ""
    return (
        f"{subject!a} is linked to nobody, and looks like {other!a}, who is: a name written in another way, or "
        "somebody who poses as them."
    )


def _second_source(question: Question, reason: Reason) -> str:
    resource, subject = question.resource, question.request.subject.id
    first = _list(list(dict.fromkeys(scope.source for scope in resource.scopes)))
    second = _list(list(dict.fromkeys(scope.source for scope in resource.second_scopes)), "or")
    words = f"{first} has {subject} on duty for {resource.id}, but {second}, which must agree,"
    if reason is Reason.SOURCES_DISAGREE:
        return f"{words} does not; one of them is wrong, and until they agree nobody is let in on it."
    return f"{words} cannot tell: it was not read lately, or knows nobody who is linked to {subject}."


def _not_on_call(question: Question, zone: tzinfo) -> str:
    request, now = question.request, question.now
    words = f"{request.subject.id} is not on call for {request.resource}"
    ended = [
        shift.ends_at
        for view, scope, person in _linked_scopes(question)
        if (shift := view.index.last_shift_of(person, scope, now, _ceiling(question, scope.kind))) and shift.ends_at
    ]
    return f"{words} since {clock_words(max(ended), now, zone)}." if ended else f"{words} now."


def _help(
    question: Question, instead: tuple[OnCallInstead, ...], next_shift_at: datetime | None, zone: tzinfo
) -> Iterator[str]:
    for other in instead[:2]:
        level = "" if other.level is None else f"level {other.level}"
        until = "" if other.until is None else f"until {clock_words(other.until, question.now, zone)}"
        details = ", ".join(part for part in (level, until) if part)
        yield f"{other.name} is on call now{f' ({details})' if details else ''}."
    if question.resource.scopes and _is_nobody_on_call(question):
        yield "Nobody is on call for it now."
    if next_shift_at is not None:
        yield f"Your next shift starts {clock_words(next_shift_at, question.now, zone)}."


def _on_call_instead(question: Question) -> Iterator[OnCallInstead]:
    seen: set[PersonId] = set()
    own = {person for _, _, person in _linked_scopes(question)}
    for scope in question.resource.scopes:
        view = question.views.get(scope.source)
        if view is None:
            continue
        for shift in _within_ceiling(question, scope.kind, view.index.on_call(scope, question.now)):
            person = view.index.person(shift.person)
            if person is not None and shift.person not in seen | own:
                seen.add(shift.person)
                until = shift.ends_at if shift.end_kind is EndKind.EXACT else None
                yield OnCallInstead(name=person.name, level=shift.level, until=until)


def _is_nobody_on_call(question: Question) -> bool:
    """Whether every scope can tell and has nobody on call, the subject included."""
    views = [(question.views.get(scope.source), scope) for scope in question.resource.scopes]
    return all(
        view is not None and not any(_within_ceiling(question, scope.kind, view.index.on_call(scope, question.now)))
        for view, scope in views
    )


def _within_ceiling(question: Question, kind: ScopeKind, shifts: Iterable[Shift]) -> Iterator[Shift]:
    ceiling = _ceiling(question, kind)
    for shift in shifts:
        if shift.end_kind is not EndKind.PERMANENT and (
            ceiling is None or (shift.level is not None and shift.level <= ceiling)
        ):
            yield shift


def _next_shift_at(question: Question) -> datetime | None:
    starts = [
        shift.starts_at
        for view, scope, person in _linked_scopes(question)
        if (shift := view.index.next_shift_of(person, scope, question.now, _ceiling(question, scope.kind)))
        and shift.starts_at
    ]
    return min(starts, default=None)


def _linked_scopes(question: Question) -> Iterator[tuple[View, Scope, PersonId]]:
    for scope in question.resource.scopes:
        view = question.views.get(scope.source)
        person = question.links.person_of(question.request.subject.id, scope.source)
        if view is not None and isinstance(person, str):
            yield view, scope, PersonId(person)


def _ceiling(question: Question, kind: ScopeKind) -> int | None:
    return None if kind is ScopeKind.SCHEDULE else question.resource.max_level


def _levels(resource: Resource) -> str:
    return "1" if resource.max_level == 1 else f"1 to {resource.max_level}"


def clock_words(instant: datetime, now: datetime, zone: tzinfo) -> str:
    """An instant as a person says it: `18:00 UTC` today, `Tue 18:00 UTC` within six days, else with the date."""
    local, today = instant.astimezone(zone), now.astimezone(zone)
    name = local.tzname() or "UTC"
    seconds = f":{local.second:02}" if local.second else ""
    time = f"{local.hour:02}:{local.minute:02}{seconds} {name}"
    if local.date() == today.date():
        return time
    if abs(local.date() - today.date()) <= timedelta(days=6):
        return f"{local:%a} {time}"
    return f"{local:%a %Y-%m-%d} {time}"


def _length(span: timedelta) -> str:
    """A length as a person says it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = int(span.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 172800:
        hours, minutes = seconds // 3600, seconds % 3600 // 60
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def _some(reasons: Sequence[str]) -> Iterator[str]:
    """The first reasons of a policy, each cut: the sentence is kept in the audit log for good."""
    for reason in reasons[:_REASONS_MAX]:
        yield reason if len(reason) <= _REASON_MAX else f"{reason[: _REASON_MAX - 1]}…"
    if len(reasons) > _REASONS_MAX:
        yield f"{len(reasons) - _REASONS_MAX} more"


def _list(words: Iterable[str], joint: str = "and") -> str:
    items = list(words)
    return f" {joint} ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items) or "nothing"
