"""GoAlert: steps from 0, one document, cursors that must move."""

from datetime import UTC, datetime
from typing import Any

import graphql
import pytest

from tests.contracts.answers import json
from tests.contracts.vendors.goalert import WORLD, build, reply
from tests.sources.reading import facts, read
from watchkey.model.errors import Malformed, Refused
from watchkey.model.oncall import Roster
from watchkey.sources import goalert


def fetched(**world: Any) -> tuple[Roster, tuple[str, ...]]:
    roster, source, _ = read(build, reply(WORLD | world))
    return roster, source.notes


def test_step_0_is_level_1() -> None:
    roster, notes = fetched()
    nine, six = datetime(2026, 7, 1, 7, tzinfo=UTC), datetime(2026, 7, 1, 16, tzinfo=UTC)
    assert ("u1", "e1", 1, "s1", nine, six) in facts(roster.shifts)
    assert ("u3", "e1", 2, None, None, None) in facts(roster.shifts)
    assert [(s.id, s.policy) for s in roster.services] == [("sv1", "e1")]
    assert notes == ()


def test_a_rotation_that_is_paged_directly_opens_nothing_and_is_noted() -> None:
    policy = {"id": "e1", "name": "P", "steps": [{"stepNumber": 0, "targets": [{"id": "r1", "type": "rotation"}]}]}
    roster, notes = fetched(policies=[policy])
    assert {s.policy for s in roster.shifts} == {None}
    assert "level 1: a rotation" in notes[0]


def test_the_document_is_graphql_with_a_cursor_for_each_list() -> None:
    [operation] = graphql.parse(goalert.DOCUMENT).definitions
    assert isinstance(operation, graphql.OperationDefinitionNode)
    names = {each.variable.name.value for each in operation.variable_definitions}
    assert names == {"since", "until", "services", "policies", "schedules", "users"}


def test_a_list_that_goes_on_without_moving_is_malformed() -> None:
    stuck = {"nodes": [], "pageInfo": {"hasNextPage": True, "endCursor": "1"}}

    def answer(target: str) -> bytes:
        del target
        return json({"data": dict.fromkeys(WORLD, stuck)})

    with pytest.raises(Malformed, match="cursor does not"):
        read(build, answer)


def test_errors_in_an_answer_refuse_it() -> None:
    with pytest.raises(Refused, match="GraphQL error"):
        read(build, lambda _: json({"data": None, "errors": [{"message": "access denied"}]}))
