"""The decision at an OPA is Watchkey's own: the same answer, reason and end for any roster, person, time and age."""

import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.builders import (
    ALL_GRADES,
    HOUR,
    NOW,
    POLICY,
    SCHEDULE,
    SERVICE,
    SOURCE,
    incident,
    index,
    links,
    question,
    request,
    resource,
    responder,
    shift,
)
from watchkey.model.access import Allow, Decision, Needs, Outcome, Resource, StaleMode, Subject, Verdict
from watchkey.model.ids import PersonId, PrivilegeName, SubjectId
from watchkey.model.oncall import (
    EndKind,
    Incident,
    IncidentStatus,
    Involvement,
    Person,
    Provenance,
    Responder,
    Scope,
    ScopeKind,
    Shift,
)
from watchkey.rego import compile_modules, freeze
from watchkey.rules.decide import NEAREST_FIRST, decide
from watchkey.rules.evidence import Question, View, find_evidence
from watchkey.rules.fleet_data import (
    HeldFacts,
    bundle_document,
    freshness_document,
    groups_document,
    linked_people,
    links_document,
    resource_document,
    roster_document,
)
from watchkey.rules.policy_input import nanoseconds, policy_document

FOLDER = Path(__file__).parents[2] / "src/watchkey/policies"
FLEET = {path.name: path.read_text() for path in sorted((FOLDER / "fleet").glob("*.rego"))}
MODULES = FLEET | {"default.rego": (FOLDER / "default.rego").read_text()}
COMPILED = compile_modules(MODULES, strict=True)
DECISION = COMPILED.query("data.watchkey.access.decision")
DOCUMENT = COMPILED.query("data.watchkey.access.document")
POLICY_ALONE = COMPILED.query("data.watchkey.decision")


def data_of(asked: Question, **bundle: Any) -> dict[str, Any]:
    """What the bundle would hold for the one resource of a question."""
    fields: dict[str, Any] = {"fleet": "gateway", "revision": 1, "built_at": asked.now} | bundle
    sources = list(asked.views)
    return {
        "watchkey": {
            "bundle": bundle_document(**fields),
            "roster": {
                source: roster_document(held(asked, view), asked.resource.scopes, linked_people(asked.links, source))
                for source, view in asked.views.items()
            },
            "freshness": {source: freshness_document(held(asked, view)) for source, view in asked.views.items()},
            "resources": {asked.resource.id: resource_document(asked.resource)},
            "links": links_document(asked.links, sources),
            "groups": groups_document({asked.request.subject.id: asked.request.subject.groups}),
        }
    }


def held(asked: Question, view: View) -> HeldFacts:
    return HeldFacts(index=view.index, revision=view.revision, read_at=asked.now - view.age)


def input_of(asked: Question) -> dict[str, Any]:
    return {
        "subject": asked.request.subject.id,
        "privilege": asked.request.privilege,
        "resource": asked.request.resource,
    }


def at_opa(asked: Question, *, data: dict[str, Any] | None = None, given: Any = None) -> dict[str, Any]:
    result = DECISION.evaluate(
        input_of(asked) if given is None else given,
        freeze(data_of(asked) if data is None else data),
        now_ns=nanoseconds(asked.now),
    )
    assert result.defined
    found: dict[str, Any] = result.json()
    return found


def inside(asked: Question) -> Decision:
    """Watchkey's own decision under the policy that ships."""
    findings = find_evidence(asked)
    said = POLICY_ALONE.evaluate(policy_document(asked, findings), freeze({}), now_ns=nanoseconds(asked.now)).json()
    outcome = Outcome.YES if said["allow"] else Outcome.NO
    verdict = Verdict(outcome=outcome, ttl=timedelta(seconds=said["ttl"]))
    return decide(asked, findings, verdict, zone=UTC)


def summary(decision: Decision) -> tuple[bool, str, int | None]:
    if isinstance(decision, Allow):
        return True, decision.reason.value, nanoseconds(decision.until)
    return False, decision.reason.value, None


def told(answer: dict[str, Any]) -> tuple[bool, str, int | None]:
    return answer["allow"], answer["reason"], answer.get("until_ns")


# -- any question -------------------------------------------------------------------------------------------------


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The usual value four times of five: what is out of order shows only where the rest is in order."""
    return st.integers(0, 4).flatmap(lambda n: st.sampled_from(others) if n == 4 else st.just(usual))


half_hours = st.integers(-6, 6).map(lambda n: NOW + n * HOUR / 2)
people = st.sampled_from(["PALICE", "PBOB"])
POLICIES = ("orders-policy", "another-policy", None)
SCHEDULES = ("orders-primary", "another", None)


@st.composite
def shifts(draw: st.DrawFn) -> Shift:
    start = draw(half_hours | st.none())
    end = draw(half_hours.filter(lambda end: start is None or end > start) | st.none())
    kinds = [EndKind.PERMANENT, EndKind.UNKNOWN] if end is None else [EndKind.EXACT, EndKind.TRUNCATED, EndKind.UNKNOWN]
    return shift(
        draw(mostly("PALICE", "PBOB")),
        starts_at=start,
        ends_at=end,
        end_kind=draw(st.sampled_from(kinds)),
        level=draw(mostly(1, 2, None)),
        policy=draw(mostly(*POLICIES)),
        schedule=draw(mostly(*SCHEDULES)),
        provenance=draw(mostly(*Provenance)),
    )


@st.composite
def responders(draw: st.DrawFn) -> Responder:
    involvement = draw(st.sampled_from(Involvement))
    role = "incident_commander" if involvement is Involvement.ROLE else None
    return responder(
        draw(mostly("PALICE", "PBOB")), involvement, role=role, since=draw(st.none() | st.just(NOW - HOUR))
    )


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    return incident(
        *draw(st.lists(responders(), max_size=2)),
        id=draw(st.sampled_from(["Q1", "Q2"])),
        service=draw(mostly("orders", "billing", None)),
        policy=draw(mostly(None, *POLICIES)),
        status=draw(mostly(IncidentStatus.ACKNOWLEDGED, *IncidentStatus)),
        opened_by=draw(st.none() | people.map(PersonId)),
    )


resources = st.builds(
    resource,
    scopes=mostly(
        (SERVICE,),
        (POLICY,),
        (SCHEDULE,),
        (SERVICE, SCHEDULE),
        (Scope(SOURCE, ScopeKind.SERVICE, "none"),),
        (),
    ),
    needs=mostly(Needs.EITHER, *Needs),
    max_level=st.sampled_from([1, 2]),
    ttl_max=st.sampled_from([HOUR / 4, HOUR, 24 * HOUR]),
    stale_mode=st.sampled_from(StaleMode),
    forecast_max=st.sampled_from([HOUR, 24 * HOUR]),
    opens=st.sampled_from([ALL_GRADES, {}, ALL_GRADES | {Provenance.PERMANENT: frozenset({PrivilegeName("write")})}]),
    eligible_groups=mostly(frozenset[str](), frozenset({"dba"})),
)


@st.composite
def questions(draw: st.DrawFn) -> Question:
    about: Resource = draw(resources)
    actives = draw(mostly((True, True), (False, True), (None, True)))
    facts = {
        "people": tuple(
            Person(id=PersonId(f"P{name.upper()}"), name=name, active=active)
            for name, active in zip(("alice", "bob"), actives, strict=True)
        ),
        "incidents": tuple(draw(st.lists(incidents(), max_size=2))),
        "window_ends_at": draw(mostly(NOW + 72 * HOUR, NOW - HOUR)),
        "clock_skew": draw(mostly(timedelta(0), timedelta(minutes=5))),
    }
    table = draw(
        mostly(
            links(),
            links(("bob", "PBOB")),
            links(("alice", "PALICE"), ("alice", "PBOB")),
            links(("alice", "PNOBODY")),
        )
    )
    groups = draw(st.sampled_from([frozenset[str](), frozenset({"dba", "sre"})]))
    asks = replace(
        request(privilege=draw(mostly("write", "read", "drop"))),
        subject=Subject(id=SubjectId("alice"), groups=groups),
    )
    return question(
        *draw(st.lists(shifts(), min_size=1, max_size=5)),
        asks=asks,
        about=about,
        now=draw(st.sampled_from([NOW, NOW + timedelta(microseconds=1), NOW + HOUR / 2])),
        age=draw(mostly(timedelta(0), timedelta(minutes=10), HOUR / 2, 2 * HOUR)),
        facts=facts,
        linked=table,
    )


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(questions())
def test_the_answer_is_the_one_inside(asked: Question) -> None:
    assert told(at_opa(asked)) == summary(inside(asked))


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(questions())
def test_the_policy_is_shown_the_same_document(asked: Question) -> None:
    assume(asked.resource.scopes)  # inside Watchkey, a question has the rosters of its scopes only
    wanted = policy_document(asked, find_evidence(asked))
    shown = DOCUMENT.evaluate(input_of(asked), freeze(data_of(asked)), now_ns=nanoseconds(asked.now)).json()
    cap = (nanoseconds(asked.now) or 0) + int(asked.resource.ttl_max.total_seconds()) * 10**9
    for fact in [*wanted["on_call"], *shown["on_call"]]:
        # Beyond the cap, where no answer reaches, coverage is not followed further.
        if fact["until_ns"] is not None and fact["until_ns"] >= cap:
            fact["until"] = fact["until_ns"] = "later than the cap"
    assert shown == wanted


def collected(count: int) -> list[Question]:
    """So many questions, the same each time."""
    found: list[Question] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(questions())
    def collect(asked: Question) -> None:
        found.append(asked)

    collect()
    return found


def test_the_questions_reach_every_reason() -> None:
    seen = Counter(inside(asked).reason.value for asked in collected(600))
    rare = {"incident_unvetted", "level_too_high", "level_unknown", "no_roster"}
    not_told = {"outside_blast_radius", "not_escalated", "escalation_unknown"}
    not_told |= {"sources_disagree", "second_source_silent"}
    assert {reason.value for reason in NEAREST_FIRST} - rare - not_told <= set(seen)
    assert {"on_call", "responding", "no_fact_needed", "unknown_privilege"} <= set(seen)


@pytest.mark.skipif(shutil.which("opa") is None, reason="no opa on PATH")
def test_a_real_opa_gives_the_same_answers(tmp_path: Path) -> None:
    # Most questions are denied at the first step, so every outcome gets its turn.
    by_reason: dict[str, list[Question]] = {}
    for asked in collected(600):
        by_reason.setdefault(inside(asked).reason.value, []).append(asked)
    for asked in [one for several in by_reason.values() for one in several[:2]]:
        (tmp_path / "data.json").write_bytes(msgspec.json.encode(data_of(asked)))
        query = f"data.watchkey.access.decision with time.now_ns as {nanoseconds(asked.now)}"
        command = ["opa", "eval", "--format", "raw", "--stdin-input", "-d", str(tmp_path / "data.json")]
        for modules in ("fleet", "default.rego"):
            command += ["-d", str(FOLDER / modules)]
        run = subprocess.run(
            [*command, query], input=msgspec.json.encode(input_of(asked)), capture_output=True, check=False
        )
        assert run.returncode == 0, run.stderr.decode()
        assert told(msgspec.json.decode(run.stdout)) == summary(inside(asked))


# -- what only an OPA can meet ------------------------------------------------------------------------------------


def without(*path: str) -> dict[str, Any]:
    """The data of the ordinary case with one thing missing."""
    data = data_of(question(shift()))
    place: Any = data["watchkey"]
    for part in path[:-1]:
        place = place[part]
    del place[path[-1]]
    return data


def test_the_ordinary_answer_in_full() -> None:
    answer = at_opa(question(shift()), data=data_of(question(shift()), revision=7))
    assert answer == {
        "allow": True,
        "reason": "on_call",
        "until": "2026-07-01T12:30:00Z",
        "until_ns": nanoseconds(NOW + HOUR / 2),
        "ttl_s": 1800,
        "decided_at": "2026-07-01T12:00:00Z",
        "grounds": {"pager": {"revision": 1, "age_s": 0}},
        "revision": 7,
    }


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (("roster",), "no_roster"),
        (("roster", "pager"), "no_roster"),
        (("freshness",), "no_roster"),
        (("freshness", "pager", "read_ns"), "no_roster"),
        (("resources",), "unknown_resource"),
        (("resources", "orders-db"), "unknown_resource"),
        (("links",), "not_linked"),
        (("links", "alice", "pager", "person"), "identity_ambiguous"),
        (("roster", "pager", "people"), "person_unknown"),
        (("roster", "pager", "people", "PALICE", "active"), "person_inactive"),
        (("roster", "pager", "shifts"), "not_on_call"),
        (("roster", "pager", "scopes"), "scope_unknown"),
    ],
)
def test_data_that_is_missing_is_a_denial_with_its_reason(path: tuple[str, ...], reason: str) -> None:
    assert told(at_opa(question(shift()), data=without(*path))) == (False, reason, None)


def all_paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from all_paths(inner, (*path, key))


@pytest.mark.parametrize("path", sorted(all_paths(data_of(question(shift()))["watchkey"])), ids=".".join)
def test_nothing_that_is_missing_opens_anything(path: tuple[str, ...]) -> None:
    asked = question(shift(level=2), about=resource(eligible_groups=frozenset({"dba"})))
    assert not at_opa(asked, data=data_of(asked))["allow"]
    data = data_of(asked)
    place: Any = data["watchkey"]
    for part in path[:-1]:
        place = place[part]
    place.pop(path[-1], None)
    result = DECISION.evaluate(input_of(asked), freeze(data), now_ns=nanoseconds(NOW))
    assert result.json()["allow"] is False


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"subject": "alice", "resource": "orders-db"},
        {"subject": "alice", "privilege": "write"},
        {"privilege": "write", "resource": "orders-db"},
        {"subject": {"id": 5}, "privilege": "write", "resource": "orders-db"},
        {"subject": "alice", "privilege": ["write"], "resource": "orders-db"},
        {"subject": "alice", "privilege": "write", "resource": ["orders-db"]},
        {"subject": None, "privilege": "write", "resource": "orders-db"},
        [],
        "alice",
    ],
)
def test_an_input_that_is_no_question_is_denied(given: Any) -> None:
    assert at_opa(question(shift()), given=given)["allow"] is False


def test_an_opa_whose_clock_is_behind_allows_nothing() -> None:
    asked = question(shift())
    data = data_of(asked, built_at=NOW + timedelta(seconds=61))
    assert told(at_opa(asked, data=data)) == (False, "clock_doubtful", None)
    assert at_opa(asked, data=data_of(asked, built_at=NOW + timedelta(seconds=60)))["allow"]


def test_where_no_fact_is_needed_an_old_bundle_is_stale() -> None:
    asked = question(shift(), about=resource(needs=Needs.NOTHING))
    assert at_opa(asked)["reason"] == "no_fact_needed"
    data = data_of(asked, built_at=NOW - timedelta(minutes=11))
    assert told(at_opa(asked, data=data)) == (False, "roster_stale", None)
    ahead = data_of(asked, built_at=NOW + timedelta(minutes=2))
    assert told(at_opa(asked, data=ahead)) == (False, "clock_doubtful", None)


def test_groups_of_the_question_count_only_where_the_configuration_says_so() -> None:
    asked = question(shift(), about=resource(eligible_groups=frozenset({"dba"})))
    given = input_of(asked) | {"subject": {"id": "alice", "groups": ["dba", 5]}}
    assert told(at_opa(asked, given=given))[1] == "not_eligible"
    assert at_opa(asked, given=given, data=data_of(asked, trusts_groups=True))["allow"]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("decision := {} if false", "policy_undefined"),
        ("decision := false", "policy_malformed"),
        ("decision := true", "policy_malformed"),
        ('decision := {"allow": "true"}', "policy_malformed"),
        ('decision := {"ttl": 60}', "policy_malformed"),
        ('decision := {"allow": true, "ttl": "soon"}', "policy_malformed"),
        ('decision := {"allow": true, "ttl": "9999999h"}', "policy_malformed"),
        ('decision := {"allow": true, "ttl": true}', "policy_malformed"),
        ('decision := {"allow": true, "reasons": "x"}', "policy_malformed"),
        ('decision := {"allow": true, "reasons": [1]}', "policy_malformed"),
        ('decision := {"allow": false}', "policy_denied"),
        ('decision := {"allow": true, "ttl": 0}', "no_time_left"),
        ('decision := {"allow": true, "ttl": -5}', "no_time_left"),
        ('decision := {"allow": true}', "on_call"),
        ('decision := {"allow": true, "ttl": "1m30s", "reasons": {"x"}}', "on_call"),
        ('decision := {"allow": true, "ttl": null}', "on_call"),
    ],
)
def test_the_policy_can_narrow_and_never_widen(policy: str, reason: str) -> None:
    compiled = compile_modules(FLEET | {"own.rego": f"package watchkey\n\n{policy}\n"})
    asked = question(shift())
    query = compiled.query("data.watchkey.access.decision")
    answer = query.evaluate(input_of(asked), freeze(data_of(asked)), now_ns=nanoseconds(NOW)).json()
    assert answer["reason"] == reason
    assert answer["allow"] is (reason == "on_call")
    if "1m30s" in policy:
        assert answer["ttl_s"] == 90
    off_call = question(shift(level=2))
    refused = query.evaluate(input_of(off_call), freeze(data_of(off_call)), now_ns=nanoseconds(NOW)).json()
    assert refused["allow"] is False


def test_a_handoff_happens_by_time_alone() -> None:
    data = data_of(question(shift(), shift("PBOB", starts_at=NOW + HOUR / 2, ends_at=NOW + 9 * HOUR)))
    given = {"subject": "bob", "privilege": "write", "resource": "orders-db"}
    instant = NOW + HOUR / 2
    data["watchkey"]["freshness"]["pager"]["read_ns"] = nanoseconds(instant)
    for at, alice, bob in ((instant - timedelta(microseconds=1), True, False), (instant, False, True)):
        asked = replace(question(), now=at)
        assert at_opa(asked, data=data)["allow"] is alice
        assert at_opa(asked, data=data, given=given)["allow"] is bob


def test_the_order_of_reasons_is_the_one_inside() -> None:
    order = COMPILED.query("data.watchkey.access.nearest_first").evaluate({}, freeze({})).json()
    assert order == [reason.value for reason in NEAREST_FIRST]


def test_a_person_with_thousands_of_shifts_is_answered_within_the_budget() -> None:
    turns = [shift(starts_at=NOW + n * HOUR, ends_at=NOW + (n + 1) * HOUR) for n in range(2000)]
    assert at_opa(question(shift(), *turns))["until_ns"] == nanoseconds(NOW + HOUR)
    assert index(*turns).roster.shifts
