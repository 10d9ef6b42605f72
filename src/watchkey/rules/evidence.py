"""Which facts about a subject touch a resource, and what speaks against each of them.

A fact without an objection can carry an allow; a fact with one is kept, because it explains the denial.
The Rego policy sees the same facts without the objections, so that both judge independently.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from watchkey.model.access import AccessRequest, Agreement, Evidence, FactKind, Needs, Reason, Resource, StaleMode
from watchkey.model.ids import PersonId, SourceName
from watchkey.model.oncall import EndKind, Incident, Involvement, Provenance, Responder, Scope, ScopeKind, Shift
from watchkey.rules.dependencies import Dependents, paths_to
from watchkey.rules.grace import Parting, has_declined
from watchkey.rules.identity import Ambiguous, Links
from watchkey.rules.incidents import Escalated, escalation, is_vetted
from watchkey.rules.roster import RosterIndex

CLOCK_TOLERANCE: Final = timedelta(seconds=60)
"""How far a source's clock may be from ours, or our own from its high-water mark, before nothing new is allowed."""

UNKNOWN_END_TTL: Final = timedelta(minutes=5)
"""How long a fact counts whose end nobody knows, before it is looked at again."""

RESPONDING: Final = frozenset({Involvement.ASSIGNED, Involvement.ACKNOWLEDGED, Involvement.JOINED, Involvement.ROLE})
"""How one can be part of an incident that counts as being at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One source's roster as a decision sees it; `age` is the time since its last complete read ended."""

    index: RosterIndex
    revision: int
    age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that a decision may look at, taken at one instant."""

    request: AccessRequest
    resource: Resource
    now: datetime
    views: Mapping[SourceName, View]
    links: Links
    time_floor: datetime | None = None
    """The latest instant ever recorded; a clock far behind it has been set back."""
    dependents: Dependents = field(default_factory=dict)
    partings: Sequence[Parting] = ()
    """Parts in incidents that ended while the subject held this privilege on this resource."""

    def is_stale(self, view: View) -> bool:
        """Whether the roster is older than this resource accepts as fresh."""
        return view.age > self.resource.age_max


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fact, and why it does not suffice (None: it does)."""

    evidence: Evidence
    objection: Reason | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All facts found, and the doubts about scopes that gave none."""

    facts: tuple[Finding, ...] = ()
    doubts: tuple[Reason, ...] = ()

    @property
    def accepted(self) -> tuple[Evidence, ...]:
        """The facts that nothing speaks against."""
        return tuple(finding.evidence for finding in self.facts if finding.objection is None)


def find_evidence(question: Question) -> Findings:
    """Look through every scope of the resource; a scope that cannot tell adds a doubt, never a fact."""
    facts: list[Finding] = []
    doubts: list[Reason] = []
    for scope in question.resource.scopes:
        found = _in_scope(question, scope)
        if isinstance(found, Reason):
            doubts.append(found)
        else:
            facts.extend(found)
    return Findings(facts=tuple(facts), doubts=tuple(doubts))


def _in_scope(question: Question, scope: Scope) -> Reason | list[Finding]:
    view = question.views.get(scope.source)
    if view is None:
        return Reason.NO_ROSTER
    if not view.index.knows(scope):
        return Reason.SCOPE_UNKNOWN
    if _clock_is_doubtful(question, view):
        return Reason.CLOCK_DOUBTFUL
    person = _person(question, view)
    if isinstance(person, Reason):
        return person
    found = list(_on_call_facts(question, view, scope, person))
    found.extend(_responding_facts(question, view, scope, person))
    found.extend(_dependent_facts(question, view, scope, person))
    found.extend(_grace_facts(question, view, scope, person))
    if not found and (question.is_stale(view) or question.now >= view.index.roster.window_ends_at):
        return Reason.ROSTER_STALE  # beyond what was asked for, an empty answer says nothing
    return found


def _clock_is_doubtful(question: Question, view: View) -> bool:
    roster = view.index.roster
    floor = question.time_floor
    return (
        abs(roster.clock_skew) > CLOCK_TOLERANCE
        or roster.taken_at - question.now > CLOCK_TOLERANCE
        or (floor is not None and floor - question.now > CLOCK_TOLERANCE)
    )


def _person(question: Question, view: View) -> PersonId | Reason:
    """Who the subject is in this source; every doubt about it is a reason."""
    linked = question.links.person_of(question.request.subject.id, view.index.source)
    if linked is None:
        return Reason.NOT_LINKED
    if isinstance(linked, Ambiguous):
        return Reason.IDENTITY_AMBIGUOUS
    person = view.index.person(linked)
    if person is None:
        return Reason.PERSON_UNKNOWN
    return person.id if person.active is True else Reason.PERSON_INACTIVE


# --- on call -----------------------------------------------------------------------------------------------------


def _on_call_facts(question: Question, view: View, scope: Scope, person: PersonId) -> Iterator[Finding]:
    bound = _responding_until(question, view)

    def accepts(shift: Shift) -> bool:
        return _shift_objection(question, view, scope, shift) is None

    def stands_alone(shift: Shift) -> bool:
        """Of a stale roster, time that rests on an incident ends before the shift may."""
        return _followed(question, view, scope, shift) is None and accepts(shift)

    for shift in view.index.on_call_of(person, scope, question.now):
        objection = _shift_objection(question, view, scope, shift)
        followed = _followed(question, view, scope, shift)
        until = shift.ends_at
        if objection is None:
            counts = accepts if bound is None or followed is not None else stands_alone
            until = view.index.coverage_end(person, scope, question.now, counts)
            until = _earlier(until, bound) if followed is not None else until
            opinion = _second_opinion(question, view)
            if isinstance(opinion, _Agreed):
                until = _earlier(until, opinion.until)
            elif opinion is not None:
                objection = opinion
        reached = followed if isinstance(followed, Escalated) else None
        yield Finding(evidence=_shift_evidence(scope, shift, until, reached), objection=objection)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Agreed:
    """The second source has the subject on call, or at an incident, until then (None: no end is known)."""

    until: datetime | None


def _second_opinion(question: Question, view: View) -> _Agreed | Reason | None:
    """What the resource's second source says where it is to be asked; None when it is not."""
    resource = question.resource
    if not resource.second_scopes:
        return None
    if resource.agreement is not Agreement.ALWAYS and not question.is_stale(view):
        return None
    if resource.agreement is not Agreement.ALWAYS and resource.stale_mode is not StaleMode.SECOND_SOURCE:
        return None
    said = [_opinion(question, scope) for scope in resource.second_scopes]
    agreed = [one for one in said if isinstance(one, _Agreed)]
    if agreed:
        return max(agreed, key=lambda one: (one.until is None, one.until or question.now))
    return Reason.SOURCES_DISAGREE if Reason.SOURCES_DISAGREE in said else Reason.SECOND_SOURCE_SILENT


def _opinion(question: Question, scope: Scope) -> _Agreed | Reason:
    """What one scope of the second source says of the subject. Old, unknown or doubtful, it says nothing."""
    view, now = question.views.get(scope.source), question.now
    if view is None or not view.index.knows(scope) or _clock_is_doubtful(question, view):
        return Reason.SECOND_SOURCE_SILENT
    if question.is_stale(view) or now >= view.index.roster.window_ends_at:
        return Reason.SECOND_SOURCE_SILENT
    person = _person(question, view)
    if isinstance(person, Reason):
        return Reason.SOURCES_DISAGREE if person is Reason.PERSON_INACTIVE else Reason.SECOND_SOURCE_SILENT
    covered = view.index.coverage(person, scope, now, lambda shift: shift.end_kind is not EndKind.PERMANENT)
    if covered is not None:
        return _Agreed(until=now + UNKNOWN_END_TTL if covered.until is None else covered.until)
    parts = view.index.incidents_of(person, scope)
    is_responding = any(responder.involvement in RESPONDING for _, responder in parts)
    return _Agreed(until=None) if is_responding else Reason.SOURCES_DISAGREE


def _followed(question: Question, view: View, scope: Scope, shift: Shift) -> Escalated | Reason | None:
    """What a shift that counts only after an escalation rests on; None when it needs none."""
    if not question.resource.level_follows_escalation or shift.level is None or shift.level <= 1:
        return None
    return escalation(view.index.incidents(scope), shift.level, shift.person)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((end for end in (one, other) if end is not None), default=None)


def _shift_evidence(scope: Scope, shift: Shift, until: datetime | None, reached: Escalated | None) -> Evidence:
    return Evidence(
        kind=FactKind.ON_CALL,
        person=shift.person,
        scope=scope,
        until=until,
        end_kind=shift.end_kind,
        level=shift.level,
        starts_at=shift.starts_at,
        schedule=shift.schedule,
        policy=shift.policy,
        provenance=shift.provenance,
        incident=None if reached is None else reached.incident,
        escalated_to=None if reached is None else reached.level,
        is_vetted=reached is None or reached.is_vetted,
    )


def _shift_objection(question: Question, view: View, scope: Scope, shift: Shift) -> Reason | None:
    """What speaks against a shift, in the order in which a person would want to hear it."""
    resource = question.resource
    if resource.needs is Needs.RESPONDING:
        return Reason.NOT_RESPONDING
    # A schedule names exactly its people, so levels do not apply; anywhere else an unknown one satisfies nothing.
    if scope.kind is not ScopeKind.SCHEDULE or resource.level_follows_escalation:
        if shift.level is None:
            return Reason.LEVEL_UNKNOWN
        if shift.level > resource.max_level:
            return Reason.LEVEL_TOO_HIGH
    is_permanent = shift.end_kind is EndKind.PERMANENT
    grade = Provenance.PERMANENT if is_permanent else shift.provenance
    if question.request.privilege not in resource.opens.get(grade, frozenset()):
        return Reason.ONLY_PERMANENT if is_permanent else Reason.PROVENANCE_TOO_WEAK
    if question.is_stale(view) and not _stale_shift_counts(question, view, shift):
        return Reason.ROSTER_STALE
    return _escalation_objection(question, view, _followed(question, view, scope, shift))


def _escalation_objection(question: Question, view: View, followed: Escalated | Reason | None) -> Reason | None:
    """What speaks against a shift that counts only after an escalation: it stands on the incident besides."""
    if followed is None or isinstance(followed, Reason):
        return followed
    if not followed.is_vetted and question.request.privilege not in question.resource.unvetted:
        return Reason.INCIDENT_UNVETTED
    until = _responding_until(question, view)
    return Reason.ROSTER_STALE if until is not None and until <= question.now else None


def _stale_shift_counts(question: Question, view: View, shift: Shift) -> bool:
    """Whether a shift from a roster that is too old still counts under the resource's stale mode."""
    read_at = question.now - view.age
    match question.resource.stale_mode:
        case StaleMode.INCUMBENT:
            return shift.covers(read_at)
        case StaleMode.FORECAST:
            return shift.covers(read_at) or view.age <= question.resource.forecast_max
        case StaleMode.SECOND_SOURCE:
            return bool(question.resource.second_scopes)  # and if the second source agrees, which is asked apart
        case StaleMode.STRICT:
            return False


# --- responding --------------------------------------------------------------------------------------------------


def _responding_facts(question: Question, view: View, scope: Scope, person: PersonId) -> Iterator[Finding]:
    for incident, responder in view.index.incidents_of(person, scope):
        if responder.involvement not in RESPONDING:
            continue
        evidence = _incident_evidence(scope, incident, responder, _responding_until(question, view))
        yield Finding(evidence=evidence, objection=_incident_objection(question, view, evidence))


def _dependent_facts(question: Question, view: View, scope: Scope, person: PersonId) -> Iterator[Finding]:
    """Incidents of services that depend on this one, as far as the resource lets them count at all."""
    resource = question.resource
    if scope.kind is not ScopeKind.SERVICE or not resource.blast_opens:
        return
    declared = question.dependents.get(scope.source, {})

    def dependents_of(service: str) -> Iterator[str]:
        yield from view.index.dependents_of(service)
        yield from declared.get(service, ())

    for path in paths_to(scope.id, dependents_of, resource.blast_depth):
        for incident, responder in view.index.incidents_of(person, Scope(scope.source, ScopeKind.SERVICE, path[0])):
            evidence = _incident_evidence(scope, incident, responder, _responding_until(question, view), path)
            yield Finding(evidence=evidence, objection=_incident_objection(question, view, evidence))


def _grace_facts(question: Question, view: View, scope: Scope, person: PersonId) -> Iterator[Finding]:
    """What just ended for this very person; an end that lies ahead, or a grace that is over, is no fact."""
    grace = question.resource.incident_grace
    for parting in question.partings:
        was = parting.was
        is_its = was.scope == scope and was.person == person and parting.ended_at <= question.now
        if is_its and question.now < parting.until(grace) and not has_declined(was, view.index):
            evidence = parting.evidence(scope, grace)
            yield Finding(evidence=evidence, objection=_incident_objection(question, view, evidence))


def _responding_until(question: Question, view: View) -> datetime | None:
    """Incidents have no published end; from a stale roster they count as long as a lease of that time would have."""
    return question.now - view.age + question.resource.ttl_max if question.is_stale(view) else None


def _incident_evidence(
    scope: Scope, incident: Incident, responder: Responder, until: datetime | None, path: tuple[str, ...] = ()
) -> Evidence:
    return Evidence(
        kind=FactKind.RESPONDING,
        person=responder.person,
        scope=scope,
        until=until,
        end_kind=EndKind.UNKNOWN,
        starts_at=responder.since,
        policy=incident.policy,
        incident=incident.id,
        involvement=responder.role if responder.involvement is Involvement.ROLE else str(responder.involvement),
        is_vetted=is_vetted(incident, responder.person),
        path=path,
    )


def _incident_objection(question: Question, view: View, evidence: Evidence) -> Reason | None:
    resource = question.resource
    if resource.needs is Needs.ON_CALL:
        return Reason.NOT_ON_CALL
    if evidence.involvement not in resource.incident_roles:
        return Reason.NOT_RESPONDING
    if evidence.path and question.request.privilege not in resource.blast_opens:
        return Reason.OUTSIDE_BLAST_RADIUS
    if not evidence.is_vetted and question.request.privilege not in resource.unvetted:
        return Reason.INCIDENT_UNVETTED
    if question.is_stale(view):
        mode_counts = resource.stale_mode in (StaleMode.INCUMBENT, StaleMode.FORECAST)
        if not mode_counts or (evidence.until is not None and evidence.until <= question.now):
            return Reason.ROSTER_STALE
    opinion = _second_opinion(question, view)
    return opinion if isinstance(opinion, Reason) else None
