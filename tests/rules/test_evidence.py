"""Which facts are found, in which scope, and what speaks against each."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import (
    HOUR,
    NOW,
    POLICY,
    SCHEDULE,
    SERVICE,
    SOURCE,
    incident,
    question,
    request,
    resource,
    responder,
    roster,
    shift,
)
from watchkey.model.access import Agreement, Evidence, FactKind, Link, Needs, Reason, StaleMode
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import (
    EndKind,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Schedule,
    Scope,
    ScopeKind,
    Service,
    Shift,
)
from watchkey.rules.evidence import UNKNOWN_END_TTL, Question, View, find_evidence
from watchkey.rules.grace import Parting
from watchkey.rules.identity import Links
from watchkey.rules.roster import index_roster


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


def follows(
    *levels: int | None, turn: int | None = 2, about: dict[str, object] | None = None, **changes: Any
) -> Question:
    """A shift of that level where levels follow the escalation, with open incidents that have come so far."""
    opener = {"opened_by": changes.pop("opener")} if "opener" in changes else {}
    return question(
        shift(level=turn),
        about=resource(**{"max_level": 3, "level_follows_escalation": True} | (about or {})),
        facts={
            "incidents": tuple(incident(id=f"Q{i}", escalation_level=level, **opener) for i, level in enumerate(levels))
        },
        **changes,
    )


@pytest.mark.parametrize(
    ("turn", "levels", "objection"),
    [
        (1, (), None),
        (1, (None,), None),
        (2, (), Reason.NOT_ESCALATED),
        (2, (1,), Reason.NOT_ESCALATED),
        (2, (None,), Reason.ESCALATION_UNKNOWN),
        (2, (1, None), Reason.ESCALATION_UNKNOWN),
        (2, (2,), None),
        (2, (None, 2), None),
        (2, (3,), None),
        (3, (2,), Reason.NOT_ESCALATED),
        (3, (3,), None),
        (4, (4,), Reason.LEVEL_TOO_HIGH),
        (None, (3,), Reason.LEVEL_UNKNOWN),
    ],
)
def test_a_level_counts_once_an_incident_has_escalated_to_it(
    turn: int | None, levels: tuple[int | None, ...], objection: Reason | None
) -> None:
    assert objections(follows(*levels, turn=turn)) == [objection]


def test_without_the_setting_levels_stand_by_themselves() -> None:
    asked = follows(about={"level_follows_escalation": False})
    assert objections(asked) == [None]
    assert accepted(asked)[0].escalated_to is None


def test_the_fact_names_the_incident_that_it_rests_on() -> None:
    [fact] = accepted(follows(1, 3))
    assert (fact.incident, fact.escalated_to, fact.level) == ("Q1", 3, 2)


def test_a_resolved_incident_and_one_of_another_service_carry_nobody() -> None:
    for change in ({"status": IncidentStatus.RESOLVED}, {"service": "checkout"}):
        over = incident(escalation_level=3, **change)
        asked = question(
            shift(level=2), about=resource(max_level=2, level_follows_escalation=True), facts={"incidents": (over,)}
        )
        assert objections(asked) == [Reason.NOT_ESCALATED]


def test_who_escalates_an_incident_of_his_own_gets_the_unvetted_privileges_only() -> None:
    assert objections(follows(2, opener="PALICE")) == [Reason.INCIDENT_UNVETTED]
    assert objections(follows(2, opener=None)) == [Reason.INCIDENT_UNVETTED]
    assert objections(follows(2, opener="PALICE", asks=request(privilege="read"))) == [None]
    assert objections(follows(2, opener="PBOB")) == [None]


def test_an_escalation_of_a_stale_roster_carries_as_long_as_a_lease_of_that_time() -> None:
    [fact] = accepted(follows(2, age=timedelta(minutes=40)))
    assert fact.until == NOW + timedelta(minutes=20)
    assert objections(follows(2, age=timedelta(minutes=60))) == [Reason.ROSTER_STALE]


def test_a_schedule_has_no_escalation_to_follow() -> None:
    assert objections(follows(2, about={"scopes": (SCHEDULE,)})) == [Reason.NOT_ESCALATED]


# --- by way of dependencies ---------------------------------------------------------------------------------------

CHAIN = (
    Service(id="orders", name="Orders", policy="orders-policy"),
    Service(id="checkout", name="Checkout", policy=None, depends_on=("orders",)),
    Service(id="web", name="Web", policy=None, depends_on=("checkout", "gone")),
)


def far(service: str = "checkout", asks: str = "read", depth: int = 1, **changes: Any) -> Question:
    """A responder to an incident of another service asks about the orders."""
    about = {"blast_opens": frozenset({"read"}), "blast_depth": depth, **changes.pop("about", {})}
    incidents = changes.pop("incidents", (incident(responder(), service=service),))
    return question(
        asks=request(privilege=asks),
        about=resource(**about),
        facts={"services": CHAIN, "incidents": incidents} | changes.pop("facts", {}),
        **changes,
    )


def test_a_responder_reads_what_the_burning_service_depends_on() -> None:
    [fact] = accepted(far())
    assert (fact.kind, fact.path, fact.scope) == (FactKind.RESPONDING, ("checkout", "orders"), SERVICE)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (far(asks="write"), [Reason.OUTSIDE_BLAST_RADIUS]),
        (far(about={"blast_opens": frozenset()}), []),
        (far("web"), []),
        (far("web", depth=2), [None]),
        (far("gone", depth=5), []),
        (far("stock"), []),
        (far(about={"scopes": (POLICY,)}), []),
        (far(incidents=(incident(responder(), service="checkout", status=IncidentStatus.RESOLVED),)), []),
        (far(incidents=(incident(responder(involvement=Involvement.ASSIGNED), service="checkout"),)),
         [Reason.NOT_RESPONDING]),
        (far(about={"needs": Needs.ON_CALL}), [Reason.NOT_ON_CALL]),
        (far(about={"unvetted": frozenset()},
             incidents=(incident(responder(), service="checkout", opened_by="PALICE"),)), [Reason.INCIDENT_UNVETTED]),
        (far(facts={"services": CHAIN[:1]}), []),
        (far(facts={"services": CHAIN[:1]}, dependents={SOURCE: {"orders": ("checkout",)}}), [None]),
        (far(facts={"services": CHAIN[:1]}, dependents={SourceName("other"): {"orders": ("checkout",)}}), []),
        (far(dependents={SOURCE: {"orders": ("checkout",), "checkout": ("orders",)}}), [None]),
        (far("orders", depth=5, dependents={SOURCE: {"web": ("orders",)}}), [None]),
    ],
)  # fmt: skip
def test_the_blast_radius_is_what_the_resource_says_and_no_wider(
    asked: Question, expected: list[Reason | None]
) -> None:
    assert objections(asked) == expected


def test_depending_on_something_opens_nothing_the_other_way() -> None:
    """Who responds to the orders gets nothing on the checkout that depends on them."""
    checkout = Scope(SOURCE, ScopeKind.SERVICE, "checkout")
    asked = far("orders", depth=5, about={"scopes": (checkout,)})
    assert objections(asked) == []


# --- grace ----------------------------------------------------------------------------------------------------------

GRACE = timedelta(minutes=15)


def parted(ago: timedelta = timedelta(minutes=5), grace: timedelta = GRACE, **changes: Any) -> Question:
    """Alice was responding until a while ago, and held `write`."""
    [was] = accepted(question(facts={"incidents": (incident(responder()),)}))
    part = Parting(was=replace(was, **changes.pop("was", {})), ended_at=NOW - ago)
    about = resource(incident_grace=grace, **changes.pop("about", {}))
    return question(about=about, partings=(part,), **changes)


def test_who_was_responding_keeps_it_to_the_end_of_the_grace() -> None:
    [fact] = accepted(parted())
    assert (fact.kind, fact.until) == (FactKind.GRACE, NOW + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (parted(timedelta(0)), [None]),
        (parted(GRACE - timedelta(microseconds=1)), [None]),
        (parted(GRACE), []),
        (parted(grace=timedelta(0)), []),
        (parted(timedelta(minutes=30), grace=24 * HOUR), []),
        (parted(timedelta(minutes=29), grace=24 * HOUR), [None]),
        (parted(-timedelta(seconds=1)), []),
        (parted(was={"person": PersonId("PBOB")}), []),
        (parted(was={"scope": POLICY}), []),
        (parted(was={"involvement": "scribe"}), [Reason.NOT_RESPONDING]),
        (parted(was={"is_vetted": False}), [Reason.INCIDENT_UNVETTED]),
        (parted(was={"path": ("checkout", "orders")}), [Reason.OUTSIDE_BLAST_RADIUS]),
        (parted(about={"needs": Needs.ON_CALL}), [Reason.NOT_ON_CALL]),
        (parted(facts={"incidents": (incident(responder(involvement=Involvement.DECLINED)),)}), []),
        (parted(age=timedelta(minutes=11), about={"stale_mode": StaleMode.STRICT}), [Reason.ROSTER_STALE]),
        (parted(age=timedelta(minutes=11)), [None]),
    ],
)
def test_grace_is_for_the_same_person_and_never_longer(asked: Question, expected: list[Reason | None]) -> None:
    assert objections(asked) == expected


def test_who_has_left_the_company_has_no_grace() -> None:
    people = (Person(id="PALICE", name="alice", active=False),)  # type: ignore[arg-type]  # short
    assert find_evidence(parted(facts={"people": people})).doubts == (Reason.PERSON_INACTIVE,)


# --- a second source ---------------------------------------------------------------------------------------------

OTHER = SourceName("calendar")
SECOND = Scope(OTHER, ScopeKind.SCHEDULE, "feed")
TWO = {
    "second_scopes": (SECOND,),
    "stale_mode": StaleMode.SECOND_SOURCE,
}


def asked_of_two(
    *second: Shift,
    age: timedelta = timedelta(0),
    second_age: timedelta = timedelta(0),
    about: dict[str, Any] | None = None,
    linked: bool = True,
    facts: dict[str, Any] | None = None,
    **changes: Any,
) -> Question:
    """Alice on call in the first source; in the second as said. Both people of the second have an `X` before the id."""
    people = (Person(id=PersonId("XALICE"), name="alice"), Person(id=PersonId("XBOB"), name="bob"))
    fields: dict[str, Any] = {"source": OTHER, "people": people, "schedules": (Schedule(id="feed", name="Feed"),)}
    there = roster(*second, policies=(), services=(), **(fields | (facts or {})))
    first = question(shift(), about=resource(**{**TWO, **(about or {})}), age=age, **changes)
    view = View(index=index_roster(there), revision=1, age=second_age)
    pairs = [Link(subject=SubjectId("alice"), source=SOURCE, person=PersonId("PALICE"))]
    if linked:
        pairs.append(Link(subject=SubjectId("alice"), source=OTHER, person=PersonId("XALICE")))
    return replace(first, views={**first.views, OTHER: view}, links=Links(pairs))


def feed(person: str = "XALICE", **changes: Any) -> Shift:
    return shift(
        person, **({"schedule": "feed", "policy": None, "level": None, "provenance": Provenance.UNKNOWN} | changes)
    )


STALE = timedelta(minutes=11)
ALWAYS = {"agreement": Agreement.ALWAYS}


def test_a_stale_source_counts_while_a_fresh_second_one_agrees_and_no_longer() -> None:
    asked = asked_of_two(feed(ends_at=NOW + HOUR / 4), age=STALE)
    assert objections(asked) == [None]
    assert accepted(asked)[0].until == NOW + HOUR / 4
    assert accepted(asked_of_two(feed(ends_at=NOW + HOUR), age=STALE))[0].until == NOW + HOUR / 2


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ((), Reason.SOURCES_DISAGREE),
        ((feed("XBOB"),), Reason.SOURCES_DISAGREE),
        ((feed(ends_at=NOW),), Reason.SOURCES_DISAGREE),
        ((feed(end_kind=EndKind.PERMANENT, ends_at=None),), Reason.SOURCES_DISAGREE),
    ],
)
@pytest.mark.parametrize(("age", "about"), [(STALE, {}), (timedelta(0), ALWAYS), (STALE, ALWAYS)])
def test_two_sources_that_disagree_let_nobody_in(
    second: tuple[Shift, ...], reason: Reason, age: timedelta, about: dict[str, Any]
) -> None:
    assert objections(asked_of_two(*second, age=age, about=about)) == [reason]


@pytest.mark.parametrize(
    "changes",
    [
        {"second_age": STALE},
        {"linked": False},
        {"facts": {"clock_skew": timedelta(minutes=2)}},
        {"facts": {"window_ends_at": NOW}},
        {"facts": {"schedules": ()}},
        {"facts": {"people": (Person(id=PersonId("XBOB"), name="bob"),)}},
    ],
)
@pytest.mark.parametrize(("age", "about"), [(STALE, {}), (timedelta(0), ALWAYS)])
def test_a_second_source_that_cannot_tell_lets_nobody_in(
    changes: dict[str, Any], age: timedelta, about: dict[str, Any]
) -> None:
    second = () if "facts" in changes else (feed(),)
    assert objections(asked_of_two(*second, age=age, about=about, **changes)) == [Reason.SECOND_SOURCE_SILENT]


def test_somebody_who_left_the_second_source_is_a_contradiction() -> None:
    left = (Person(id=PersonId("XALICE"), name="alice", active=False),)
    assert objections(asked_of_two(feed(), age=STALE, facts={"people": left})) == [Reason.SOURCES_DISAGREE]


def test_a_fresh_source_is_believed_alone_unless_both_must_always_agree() -> None:
    assert objections(asked_of_two()) == [None]
    assert objections(asked_of_two(about=ALWAYS)) == [Reason.SOURCES_DISAGREE]
    assert objections(asked_of_two(feed(), about=ALWAYS)) == [None]


def test_an_end_that_the_second_source_does_not_know_bounds_the_fact() -> None:
    endless = feed(end_kind=EndKind.UNKNOWN, ends_at=None)
    assert accepted(asked_of_two(endless, about=ALWAYS))[0].until == NOW + UNKNOWN_END_TTL


def test_the_second_source_opens_nothing_by_itself() -> None:
    """What only the second one says is no fact: a calendar feed never suffices alone."""
    first = asked_of_two(feed(), age=STALE)
    nobody = replace(first, views={**first.views, SOURCE: View(index=index_roster(roster()), revision=1, age=STALE)})
    assert find_evidence(nobody).facts == ()
    assert find_evidence(nobody).doubts == (Reason.ROSTER_STALE,)


@pytest.mark.parametrize("mode", [StaleMode.STRICT, StaleMode.INCUMBENT])
def test_only_its_mode_asks_the_second_source_about_a_stale_one(mode: StaleMode) -> None:
    expected = Reason.ROSTER_STALE if mode is StaleMode.STRICT else None
    assert objections(asked_of_two(feed(), age=STALE, about={"stale_mode": mode})) == [expected]
    assert objections(asked_of_two(age=STALE, about={"stale_mode": mode})) == [expected]


def test_a_grade_that_is_too_weak_stays_so_however_many_agree() -> None:
    asked = asked_of_two(feed(), age=STALE, about={"opens": {}})
    assert objections(asked) == [Reason.PROVENANCE_TOO_WEAK]


def test_a_responder_needs_the_second_source_where_both_must_always_agree() -> None:
    both = {**ALWAYS, "needs": Needs.RESPONDING}
    first = asked_of_two(about=both)
    view = View(
        index=index_roster(roster(incidents=(incident(responder(), responder("PBOB")),))), revision=1, age=timedelta(0)
    )
    assert objections(replace(first, views={**first.views, SOURCE: view})) == [Reason.SOURCES_DISAGREE]
    agreed = asked_of_two(feed(), about=both)
    assert objections(replace(agreed, views={**agreed.views, SOURCE: view})) == [None]


def test_of_a_stale_roster_a_shift_does_not_run_on_into_one_that_rests_on_an_incident() -> None:
    turns = (shift(), shift(level=2, starts_at=NOW + HOUR / 2, ends_at=NOW + 2 * HOUR))
    about = resource(max_level=2, level_follows_escalation=True)
    burning = {"incidents": (incident(escalation_level=2),)}
    [fresh] = accepted(question(*turns, about=about, facts=burning))
    assert fresh.until == NOW + 2 * HOUR
    [stale] = accepted(question(*turns, about=about, facts=burning, age=timedelta(minutes=55)))
    assert stale.until == NOW + HOUR / 2
