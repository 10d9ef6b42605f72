"""The time of grace: bounded, for the very part that ended, and never after declining."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.builders import HOUR, NOW, SERVICE, incident, index, question, responder
from watchkey.model.access import Evidence, FactKind
from watchkey.model.ids import SourceName
from watchkey.model.oncall import EndKind, IncidentStatus, Involvement
from watchkey.rules.evidence import find_evidence
from watchkey.rules.grace import GRACE_MAX, Parting, has_declined, incident_scope, is_at_it, partings

[FACT] = find_evidence(question(facts={"incidents": (incident(responder()),)})).accepted


def gone(*incidents: object, held: Evidence = FACT) -> list[Parting]:
    return list(partings([held], index(incidents=incidents), NOW))


def test_a_part_that_is_still_there_has_not_ended() -> None:
    assert gone(incident(responder())) == []


@pytest.mark.parametrize(
    "now_shown",
    [
        (),
        (incident(responder(), status=IncidentStatus.RESOLVED),),
        (incident(),),
        (incident(responder(involvement=Involvement.ASSIGNED)),),
        (incident(responder("PBOB")),),
        (incident(responder(), id="Q2"),),
    ],
)
def test_resolving_unassigning_and_taking_back_end_it(now_shown: tuple[object, ...]) -> None:
    assert gone(*now_shown) == [Parting(was=FACT, ended_at=NOW)]


def test_who_declines_parts_for_good() -> None:
    declined = incident(responder(involvement=Involvement.DECLINED))
    assert gone(declined) == []
    assert has_declined(FACT, index(incidents=(declined,)))
    assert not has_declined(FACT, index(incidents=(incident(responder("PBOB", Involvement.DECLINED)),)))


def test_another_source_and_another_kind_of_fact_say_nothing() -> None:
    elsewhere = replace(FACT, scope=replace(SERVICE, source=SourceName("other")))
    assert gone(held=elsewhere) == []
    for kind in (FactKind.ON_CALL, FactKind.GRACE):
        assert gone(held=replace(FACT, kind=kind)) == []


def test_a_role_is_the_part_that_it_names() -> None:
    commander = replace(FACT, involvement="incident_commander")
    led = incident(responder(involvement=Involvement.ROLE, role="incident_commander"))
    assert is_at_it(commander, index(incidents=(led,)))
    assert not is_at_it(FACT, index(incidents=(led,)))


def test_the_end_is_absolute_and_capped() -> None:
    parting = Parting(was=FACT, ended_at=NOW)
    assert parting.until(timedelta(minutes=15)) == NOW + timedelta(minutes=15)
    assert parting.until(24 * HOUR) == NOW + GRACE_MAX == NOW + timedelta(minutes=30)
    assert parting.until(-HOUR) == NOW
    fact = parting.evidence(SERVICE, timedelta(minutes=15))
    assert (fact.kind, fact.starts_at, fact.until, fact.end_kind) == (
        FactKind.GRACE, NOW, NOW + timedelta(minutes=15), EndKind.EXACT,
    )  # fmt: skip


def test_an_incident_by_way_of_dependencies_is_looked_for_where_it_burns() -> None:
    far = replace(FACT, path=("checkout", "orders"))
    assert incident_scope(far).id == "checkout"
    assert incident_scope(FACT) == SERVICE
    burning = index(incidents=(incident(responder(), service="checkout"),))
    assert is_at_it(far, burning)
    assert not is_at_it(FACT, burning)
