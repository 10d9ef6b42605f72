"""Which facts are found, in which scope, and what speaks against each."""

from datetime import timedelta

import pytest

from tests.builders import HOUR, NOW, SCHEDULE, SERVICE, incident, question, request, resource, responder, shift
from watchkey.model.access import Evidence, FactKind, Needs, Reason, StaleMode
from watchkey.model.ids import SourceName
from watchkey.model.oncall import IncidentStatus, Involvement, Person, Provenance, Scope, ScopeKind
from watchkey.rules.evidence import Question, find_evidence


def objections(asked: Question) -> list[Reason | None]:
    return [finding.objection for finding in find_evidence(asked).facts]


def accepted(asked: Question) -> tuple[Evidence, ...]:
    return find_evidence(asked).accepted


def test_any_scope_suffices_and_each_fact_says_through_which() -> None:
    asked = question(shift(), about=resource(scopes=(SERVICE, SCHEDULE)))
    assert [evidence.scope for evidence in accepted(asked)] == [SERVICE, SCHEDULE]


def test_a_scope_that_cannot_tell_is_a_doubt_beside_the_facts_of_another() -> None:
    elsewhere = Scope(SourceName("other"), ScopeKind.SERVICE, "orders")
    found = find_evidence(question(shift(), about=resource(scopes=(elsewhere, SERVICE))))
    assert found.doubts == (Reason.NO_ROSTER,)
    assert len(found.accepted) == 1


@pytest.mark.parametrize("active", [False, None])
def test_who_is_inactive_or_may_be_is_out_even_when_listed(active: bool | None) -> None:  # noqa: FBT001  # a table
    people = (Person(id="PALICE", name="alice", active=active),)  # type: ignore[arg-type]  # short
    assert find_evidence(question(shift(), facts={"people": people})).doubts == (Reason.PERSON_INACTIVE,)


@pytest.mark.parametrize(
    ("involvement", "role", "counts"),
    [
        (Involvement.ACKNOWLEDGED, None, True),
        (Involvement.JOINED, None, True),
        (Involvement.ASSIGNED, None, False),
        (Involvement.ROLE, "incident_commander", True),
        (Involvement.ROLE, "scribe", False),
    ],
)
def test_responding_counts_in_the_roles_that_the_resource_accepts(
    involvement: Involvement,
    role: str | None,
    counts: bool,  # noqa: FBT001  # a table
) -> None:
    asked = question(facts={"incidents": (incident(responder(involvement=involvement, role=role)),)})
    assert objections(asked) == [None if counts else Reason.NOT_RESPONDING]


@pytest.mark.parametrize("involvement", [Involvement.REQUESTED, Involvement.DECLINED])
def test_being_asked_or_declining_is_no_fact(involvement: Involvement) -> None:
    assert objections(question(facts={"incidents": (incident(responder(involvement=involvement)),)})) == []


def test_a_resolved_incident_gives_nothing() -> None:
    resolved = incident(responder(), status=IncidentStatus.RESOLVED)
    assert objections(question(facts={"incidents": (resolved,)})) == []


def test_somebody_elses_incident_gives_nothing() -> None:
    assert objections(question(facts={"incidents": (incident(responder("PBOB")),)})) == []
    other = incident(responder(), service="checkout")
    assert objections(question(facts={"incidents": (other,)})) == []


@pytest.mark.parametrize(
    ("others", "privilege", "objection"),
    [
        ((), "write", Reason.INCIDENT_UNVETTED),
        ((), "read", None),
        ((responder("PBOB"),), "write", None),
        ((responder("PBOB", Involvement.JOINED),), "write", None),
        ((responder("PBOB", Involvement.ASSIGNED),), "write", Reason.INCIDENT_UNVETTED),
        ((responder("PBOB", Involvement.REQUESTED),), "write", Reason.INCIDENT_UNVETTED),
    ],
)
def test_an_incident_opened_by_its_beneficiary_needs_somebody_else(
    others: tuple[object, ...], privilege: str, objection: Reason | None
) -> None:
    opened = incident(responder(), *others, opened_by="PALICE")  # type: ignore[arg-type]  # a table
    asked = question(asks=request(privilege=privilege), facts={"incidents": (opened,)})
    assert objections(asked) == [objection]


def test_needs_decides_which_kind_of_fact_counts() -> None:
    facts = {"incidents": (incident(responder()),)}
    by_need = {
        need: [evidence.kind for evidence in accepted(question(shift(), about=resource(needs=need), facts=facts))]
        for need in (Needs.ON_CALL, Needs.RESPONDING, Needs.EITHER)
    }
    assert by_need == {
        Needs.ON_CALL: [FactKind.ON_CALL],
        Needs.RESPONDING: [FactKind.RESPONDING],
        Needs.EITHER: [FactKind.ON_CALL, FactKind.RESPONDING],
    }


@pytest.mark.parametrize(
    ("mode", "minutes", "objection"),
    [
        (StaleMode.INCUMBENT, 10, None),
        (StaleMode.INCUMBENT, 11, None),
        (StaleMode.INCUMBENT, 59, None),
        (StaleMode.INCUMBENT, 60, Reason.ROSTER_STALE),
        (StaleMode.FORECAST, 59, None),
        (StaleMode.STRICT, 11, Reason.ROSTER_STALE),
        (StaleMode.SECOND_SOURCE, 11, Reason.ROSTER_STALE),
    ],
)
def test_a_responder_of_a_stale_roster_counts_as_long_as_a_lease_of_that_time(
    mode: StaleMode, minutes: int, objection: Reason | None
) -> None:
    asked = question(
        about=resource(stale_mode=mode),
        age=timedelta(minutes=minutes),
        facts={"incidents": (incident(responder()),)},
    )
    assert objections(asked) == [objection]
    if objection is None and minutes > 10:
        assert accepted(asked)[0].until == NOW - timedelta(minutes=minutes) + HOUR


def test_the_longest_of_two_shifts_carries_and_a_weaker_one_stands_beside() -> None:
    asked = question(shift(), shift(schedule="cover", ends_at=NOW + 3 * HOUR, provenance=Provenance.SELF_OVERRIDE))
    found = find_evidence(asked)
    assert sorted(str(finding.objection) for finding in found.facts) == ["None", "provenance_too_weak"]
    assert found.accepted[0].until == NOW + HOUR / 2
