"""The policy's document: its golden form, its schema, and that nothing but typed values gets in."""

import json
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

import jsonschema
from hypothesis import given, settings

from tests.builders import NOW, POLICY, SCHEDULE, SERVICE, incident, question, request, resource, responder, shift
from tests.rules.test_decide import turns
from watchkey.model.access import Needs
from watchkey.model.oncall import EndKind, Involvement, Shift
from watchkey.rules.evidence import Question, find_evidence
from watchkey.rules.policy_input import nanoseconds, policy_document

GOLDEN = Path(__file__).parent.parent / "golden" / "policy_input.json"
SCHEMA = json.loads(files("watchkey").joinpath("policies", "input.schema.json").read_text())


def document(asked: Question) -> dict[str, object]:
    return policy_document(asked, find_evidence(asked))


def test_the_policy_sees_how_far_an_escalation_has_come() -> None:
    asked = question(
        shift(level=2),
        about=resource(max_level=2, level_follows_escalation=True),
        facts={"incidents": (incident(escalation_level=3),)},
    )
    told = document(asked)
    jsonschema.validate(told, SCHEMA)
    [fact] = told["on_call"]  # type: ignore[misc]  # a list, as the schema says
    assert (fact["incident"], fact["escalated_to"], fact["is_vetted"]) == ("Q1", 3, True)


def golden_question() -> Question:
    return question(
        shift(),
        shift(level=2, schedule="orders-secondary"),
        shift(end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None, schedule=None, level=3),
        asks=request(context={"client": "203.0.113.7"}),
        about=resource(labels={"tier": "0"}),
        facts={
            "incidents": (
                incident(responder(), responder("PALICE", Involvement.ROLE, role="incident_commander", since=NOW)),
            )
        },
    )


def test_the_document_is_the_golden_one() -> None:
    """To change it on purpose: write the new form, and raise VERSION when a field changes its meaning."""
    assert document(golden_question()) == json.loads(GOLDEN.read_text())


def test_the_golden_document_follows_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document(golden_question()), SCHEMA)


@settings(max_examples=200, deadline=None)
@given(turns.filter(lambda turn: turn.starts_at < turn.ends_at))
def test_every_document_follows_the_schema(turn: Shift) -> None:
    for scope in (SERVICE, POLICY, SCHEDULE):
        jsonschema.validate(document(question(turn, about=resource(scopes=(scope,), needs=Needs.EITHER))), SCHEMA)


def test_facts_that_the_decision_objects_to_are_in_it_too() -> None:
    facts = document(golden_question())["on_call"]
    assert isinstance(facts, list)
    assert [fact["level"] for fact in facts] == [1, 2, 3]


def test_somebody_elses_facts_are_not() -> None:
    told = document(question(shift("PBOB")))
    assert told["on_call"] == []
    assert "PBOB" not in json.dumps(told)


def test_a_stale_roster_says_so() -> None:
    assert document(question(shift(), age=timedelta(hours=1)))["is_stale"] is True


def test_nanoseconds_are_exact() -> None:
    assert nanoseconds(NOW) == 1_782_907_200_000_000_000
    assert nanoseconds(NOW + timedelta(microseconds=1)) == 1_782_907_200_000_001_000
    assert nanoseconds(None) is None
