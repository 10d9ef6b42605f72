"""What an OPA is given: what the pagers of the resources touch, without addresses, in bytes that hash as they are."""

import hashlib
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    HOUR,
    NOW,
    POLICY,
    SCHEDULE,
    SERVICE,
    SOURCE,
    incident,
    index,
    links,
    resource,
    responder,
    shift,
)
from watchkey.model.access import Agreement
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import IncidentStatus, Involvement, Scope, ScopeKind
from watchkey.rules.bundle import file_digest, walked
from watchkey.rules.fleet_data import (
    HeldFacts,
    bundle_document,
    canonical_data,
    freshness_document,
    groups_document,
    linked_people,
    links_document,
    resource_document,
    roster_document,
    shared,
    span_ns,
)
from watchkey.rules.roster import RosterIndex


def held(roster: RosterIndex) -> HeldFacts:
    return HeldFacts(index=roster, revision=3, read_at=NOW)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_the_bytes_are_what_opa_hashes(value: object) -> None:
    body = canonical_data(value)
    assert body == walked(value)
    assert hashlib.sha256(body).hexdigest() == file_digest("data.json", body)


def test_separators_are_written_as_go_escapes_them() -> None:
    assert canonical_data({"a": "x\u2028y\u2029"}) == b'{"a":"x\\u2028y\\u2029"}'


def test_only_what_the_scopes_touch_is_told() -> None:
    facts = index(
        shift(),
        shift("PBOB", policy="another", schedule="another"),
        incidents=(
            incident(responder(), responder("PBOB", Involvement.REQUESTED)),
            incident(responder("PCAROL"), id="Q2", service="another"),
            incident(responder("PCAROL"), id="Q3", status=IncidentStatus.RESOLVED),
        ),
    )
    told = roster_document(held(facts), [SERVICE])
    assert list(told["shifts"]) == ["PALICE"]
    assert told["responding"] == {
        "PALICE": [
            {
                "incident": "Q1", "service": "orders", "policy": "orders-policy", "involvement": "acknowledged",
                "since_ns": None, "is_vetted": True,
            }
        ]
    }  # fmt: skip
    assert told["people"] == {"PALICE": {"name": "alice", "active": True}}
    assert told["scopes"] == {"service": {"orders": "orders-policy"}, "escalation_policy": {}, "schedule": {}}
    assert b"example.com" not in canonical_data(told)
    assert b"slow" not in canonical_data(told)


def test_what_stays_the_same_is_the_same_object() -> None:
    old = roster_document(held(index(shift(), shift("PBOB", schedule="b"))), [SERVICE])
    changed = index(shift(), shift("PBOB", schedule="b", level=2))
    new = shared(roster_document(held(changed), [SERVICE]), old)
    assert new == roster_document(held(changed), [SERVICE])
    assert new["shifts"]["PALICE"] is old["shifts"]["PALICE"]
    assert new["shifts"]["PBOB"][0]["level"] == 2


def test_a_linked_person_without_a_shift_is_told_too() -> None:
    told = roster_document(held(index()), [SERVICE], [PersonId("PBOB")])
    assert list(told["people"]) == ["PBOB"]


def test_scopes_of_other_sources_and_unknown_ones_are_left_out() -> None:
    others = [Scope(SourceName("other"), ScopeKind.SERVICE, "orders"), Scope(SOURCE, ScopeKind.SERVICE, "none")]
    told = roster_document(held(index(shift())), [*others, POLICY, SCHEDULE])
    assert told["scopes"] == {
        "service": {},
        "escalation_policy": {"orders-policy": "orders-policy"},
        "schedule": {"orders-primary": "orders-primary"},
    }
    assert told["shifts"]["PALICE"][0]["starts_ns"] == 1_782_903_600_000_000_000


def test_a_role_is_told_by_its_name() -> None:
    facts = index(incidents=(incident(responder(involvement=Involvement.ROLE, role="incident_commander")),))
    assert roster_document(held(facts), [SERVICE])["responding"]["PALICE"][0]["involvement"] == "incident_commander"


def test_shifts_are_told_first_paged_first() -> None:
    facts = index(shift(level=None), shift(level=3, schedule="b"), shift(level=2, schedule="a"))
    assert [one["level"] for one in roster_document(held(facts), [SERVICE])["shifts"]["PALICE"]] == [2, 3, None]


def test_how_old_a_roster_is_stands_apart() -> None:
    assert freshness_document(held(index())) == {"read_ns": 1782907200000000000, "taken_ns": 1782907200000000000}


def test_a_link_that_contradicts_another_names_nobody() -> None:
    table = links(("alice", "PALICE"), ("bob", "PBOB"), ("bob", "PCAROL"))
    assert links_document(table, [SOURCE]) == {
        "alice": {"pager": {"person": "PALICE"}},
        "bob": {"pager": {"ambiguous": True}},
    }
    assert links_document(table, []) == {}
    assert linked_people(table, SOURCE) == {"PALICE"}
    assert linked_people(table, SourceName("other")) == frozenset()


def test_a_resource_is_told_without_how_it_is_reached() -> None:
    told = resource_document(resource(target={"host": "db.internal"}, labels={"env": "prod"}))
    assert "target" not in told
    assert told["ttl_max_ns"] == span_ns(HOUR) == 3_600_000_000_000
    assert told["opens"]["self_override"] == ["read"]
    assert told["scopes"] == [{"source": "pager", "kind": "service", "id": "orders"}]


def test_what_an_opa_knows_nothing_of_opens_nothing_there() -> None:
    second = (Scope(SourceName("calendar"), ScopeKind.SCHEDULE, "feed"),)
    told = resource_document(resource(second_scopes=second, agreement=Agreement.ALWAYS))
    assert (set(map(tuple, told["opens"].values())), told["incident_roles"]) == ({()}, [])
    when_stale = resource_document(resource(second_scopes=second))
    assert when_stale["opens"] == resource_document(resource())["opens"]
    assert resource_document(resource(max_level=3, level_follows_escalation=True))["max_level"] == 1


def test_groups_and_the_bundle_itself() -> None:
    assert groups_document({SubjectId("alice"): frozenset({"b", "a"})}) == {"alice": ["a", "b"]}
    assert bundle_document(fleet="prod", revision=2, built_at=NOW + timedelta(seconds=1)) == {
        "fleet": "prod",
        "revision": 2,
        "built_ns": 1782907201000000000,
        "trusts_groups": False,
    }


def test_a_level_that_follows_the_escalation_is_not_handed_out_as_a_plain_one() -> None:
    assert resource_document(resource(max_level=2))["max_level"] == 2
    assert resource_document(resource(max_level=2, level_follows_escalation=True))["max_level"] == 1
