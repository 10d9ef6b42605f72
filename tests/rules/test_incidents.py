"""What an open incident proves: that somebody else has seen it, and how far it has escalated."""

import pytest

from tests.builders import incident, responder
from watchkey.model.access import Reason
from watchkey.model.ids import PersonId
from watchkey.model.oncall import Incident, Involvement, Responder
from watchkey.rules.incidents import Escalated, escalation, is_vetted

ALICE = PersonId("PALICE")


@pytest.mark.parametrize(
    ("parts", "vetted"),
    [
        ([], False),
        ([responder()], False),
        ([responder(), responder("PBOB")], True),
        ([responder(), responder("PBOB", Involvement.JOINED)], True),
        ([responder(), responder("PBOB", Involvement.ASSIGNED)], False),
        ([responder(), responder("PBOB", Involvement.REQUESTED)], False),
        ([responder(), responder("PBOB", Involvement.DECLINED)], False),
        ([responder(), responder("PBOB", Involvement.ROLE, role="incident_commander")], False),
        ([responder(involvement=Involvement.ASSIGNED), responder("PBOB", Involvement.ASSIGNED)], False),
    ],
)
@pytest.mark.parametrize("opener", ["PALICE", None])
def test_an_opener_that_nobody_knows_may_be_the_one_who_profits(
    parts: list[Responder], opener: str | None, *, vetted: bool
) -> None:
    assert is_vetted(incident(*parts, opened_by=opener), ALICE) is vetted


def test_a_machine_and_somebody_else_are_believed() -> None:
    assert is_vetted(incident(responder(), opened_by=None, is_opened_by_machine=True), ALICE)
    assert is_vetted(incident(responder(), opened_by="PBOB"), ALICE)
    assert not is_vetted(Incident(id="Q", title="", service=None, status="triggered"), ALICE)  # type: ignore[arg-type]


def escalated(*levels: int | None, level: int = 2) -> Escalated | Reason:
    return escalation(
        [incident(id=f"Q{i}", escalation_level=reached) for i, reached in enumerate(levels)], level, ALICE
    )


def test_an_escalation_counts_from_its_level_on() -> None:
    assert escalated(2) == Escalated(level=2, incident="Q0", is_vetted=True)  # type: ignore[arg-type]  # short
    assert escalated(1, 3) == Escalated(level=3, incident="Q1", is_vetted=True)  # type: ignore[arg-type]  # short
    assert escalated(2, level=3) is Reason.NOT_ESCALATED
    assert escalated() is Reason.NOT_ESCALATED
    assert escalated(1) is Reason.NOT_ESCALATED


def test_a_level_that_nobody_can_tell_is_none() -> None:
    assert escalated(None) is Reason.ESCALATION_UNKNOWN
    assert escalated(1, None) is Reason.ESCALATION_UNKNOWN
    assert isinstance(escalated(None, 2), Escalated)


def test_an_incident_that_others_stand_behind_goes_before_a_higher_one_of_ones_own() -> None:
    own = incident(id="QOWN", escalation_level=3, opened_by="PALICE")
    theirs = incident(id="QTHEIRS", escalation_level=2)
    found = escalation([own, theirs], 2, ALICE)
    assert isinstance(found, Escalated)
    assert (found.incident, found.is_vetted) == ("QTHEIRS", True)
    found = escalation([own], 2, ALICE)
    assert isinstance(found, Escalated)
    assert not found.is_vetted
