"""What a person reads at 3 a.m.: the whole sentence, for every reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.builders import HOUR, NOW, incident, links, question, request, resource, responder, roster, shift
from watchkey.model.access import Agreement, Link, Needs, Outcome, Reason, StaleMode, Verdict
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import EndKind, Provenance, Schedule, Scope, ScopeKind
from watchkey.rules import sentences
from watchkey.rules.decide import decide
from watchkey.rules.evidence import Question, View, find_evidence
from watchkey.rules.identity import Links
from watchkey.rules.roster import index_roster
from watchkey.rules.sentences import clock_words, plain_denial

YES = Verdict(outcome=Outcome.YES)


def sentence(asked: Question, verdict: Verdict = YES) -> str:
    return decide(asked, find_evidence(asked), verdict, zone=UTC).sentence


def test_on_call() -> None:
    assert sentence(question(shift())) == "alice is on call (level 1) for orders-db: write until 12:30 UTC."


def test_responding() -> None:
    asked = question(facts={"incidents": (incident(responder()),)})
    assert sentence(asked) == "alice is responding to incident Q1 (acknowledged) for orders-db: write until 13:00 UTC."


def test_no_fact_needed() -> None:
    asked = question(about=resource(needs=Needs.NOTHING))
    assert sentence(asked) == "orders-db needs no on-call fact: alice may write until 13:00 UTC."


def test_not_on_call_says_since_when_who_is_instead_and_when_next() -> None:
    asked = question(
        shift(starts_at=NOW - 9 * HOUR, ends_at=NOW - HOUR),
        shift("PBOB", starts_at=NOW - HOUR, ends_at=NOW + 21 * HOUR),
        shift(starts_at=NOW + 45 * HOUR, ends_at=NOW + 53 * HOUR),
    )
    assert sentence(asked) == (
        "alice is not on call for orders-db since 11:00 UTC. bob is on call now (level 1, until Thu 09:00 UTC). "
        "Your next shift starts Fri 09:00 UTC."
    )


def test_never_on_call_and_nobody_else_either() -> None:
    assert sentence(question()) == "alice is not on call for orders-db now. Nobody is on call for it now."


def test_level_too_high() -> None:
    asked = question(shift(level=2), shift("PBOB"))
    assert sentence(asked).startswith("alice is on call for orders-db at level 2, and it opens at level 1 only. bob is")
    asked = question(shift(level=3), about=resource(max_level=2))
    assert "it opens at level 1 to 2 only." in sentence(asked)


def test_a_permanent_target_and_an_unknown_level() -> None:
    permanent = shift(end_kind=EndKind.PERMANENT, starts_at=None, ends_at=None)
    assert "is a permanent escalation target of orders-db, which never ends" in sentence(question(permanent))
    assert "the source cannot tell at which level." in sentence(question(shift(level=None)))


def test_a_self_made_override() -> None:
    asked = question(shift(provenance=Provenance.SELF_OVERRIDE))
    assert sentence(asked).startswith(
        "alice is on call for orders-db through an override that they made themselves, which opens only read there; "
        "write needs the published rota, a swap, an override made by somebody else, or a second person's word "
        "(`watchkey confirm`)."
    )
    asked = question(shift(provenance=Provenance.UNKNOWN), about=resource(opens={}))
    assert "through a change made at short notice by an unknown hand, which opens nothing there" in sentence(asked)


def test_an_unvetted_incident() -> None:
    opened = incident(responder(), opened_by="PALICE")
    asked = question(facts={"incidents": (opened,)})
    assert sentence(asked).startswith("Nobody but alice stands behind incident Q1 yet;")


def test_not_responding() -> None:
    asked = question(about=resource(needs=Needs.RESPONDING))
    assert (
        "alice is not responding to an open incident of orders-db as acknowledged, incident_commander or joined."
        in (sentence(asked))
    )


def test_stale() -> None:
    asked = question(shift(), about=resource(stale_mode=StaleMode.STRICT), age=timedelta(minutes=125))
    assert sentence(asked).startswith(
        "The on-call source of orders-db has not been read for 2 h 5 min, longer than the 10 min that count as fresh, "
        "so nobody new is let in (strict mode)."
    )


def test_two_sources_that_do_not_agree() -> None:
    second = (Scope(SourceName("calendar"), ScopeKind.SCHEDULE, "feed"),)
    asked = question(shift(), about=resource(second_scopes=second, agreement=Agreement.ALWAYS))
    assert sentence(asked).startswith(
        "pager has alice on duty for orders-db, but calendar, which must agree, cannot tell: it was not read lately, "
        "or knows nobody who is linked to alice."
    )
    elsewhere = roster(source=second[0].source, schedules=(Schedule(id="feed", name="Feed"),))
    views = {**asked.views, second[0].source: View(index=index_roster(elsewhere), revision=1, age=timedelta(0))}
    both = [Link(subject=SubjectId("alice"), source=name, person=PersonId("PALICE")) for name in views]
    assert sentence(replace(asked, views=views, links=Links(both))).startswith(
        "pager has alice on duty for orders-db, but calendar, which must agree, does not; one of them is wrong, and "
        "until they agree nobody is let in on it."
    )


def test_the_policy_says_no() -> None:
    denied = Verdict(outcome=Outcome.NO, reasons=("change freeze", "release week"))
    assert "the policy of orders-db says no: change freeze and release week." in sentence(question(shift()), denied)
    endless = Verdict(outcome=Outcome.NO, reasons=("x" * 200_000,) * 1000)
    assert f"says no: {'x' * 99}…, " in sentence(question(shift()), endless)
    assert sentence(question(shift()), endless).endswith("… and 995 more.")
    failed = Verdict(outcome=Outcome.FAILED, detail="two rules disagree")
    assert sentence(question(shift()), failed) == (
        "The policy of orders-db failed, which counts as no: two rules disagree"
    )


def test_unknown_privilege_lists_the_known_ones() -> None:
    assert sentence(question(shift(), asks=request(privilege="own"))) == (
        "orders-db has no privilege own; it has read and write."
    ), "alice herself is on call"
    assert sentence(question(asks=request(privilege="own"))) == (
        "orders-db has no privilege own; it has read and write. Nobody is on call for it now."
    )


def test_a_source_that_cannot_tell_is_not_nobody() -> None:
    asked = question(asks=request(privilege="own"))
    assert "Nobody is on call" not in sentence(replace(asked, views={}))


@pytest.mark.parametrize("reason", list(sentences._PLAIN))
def test_every_plain_reason_has_words_without_holes(reason: Reason) -> None:
    denied = plain_denial(request(), reason, NOW, detail="because")
    assert "{" not in denied.sentence
    assert denied.sentence[0].isupper() or denied.sentence.startswith(("alice", "orders-db"))


@pytest.mark.parametrize("name", ["Alice", "\u0430lice", "al\u200bice", "ALICE "])
def test_somebody_who_is_written_like_another_is_told_apart(name: str) -> None:
    asked = question(shift(), asks=request(name))
    assert "looks like 'alice', who is" in sentence(asked)
    assert "not linked to anybody" in sentence(question(shift(), asks=request("mallory")))


def test_a_plain_denial_names_whom_and_what() -> None:
    assert plain_denial(request(), Reason.NOT_LINKED, NOW).sentence == (
        "alice is not linked to anybody in the on-call tool; an operator can add the link."
    )
    two = question(shift(), linked=links(("alice", "PALICE"), ("bob", "PALICE")))
    assert "more than one person, or shares one with somebody else" in sentence(two)


@pytest.mark.parametrize(
    ("instant", "words"),
    [
        (NOW + timedelta(seconds=5), "12:00:05 UTC"),
        (NOW + 13 * HOUR, "Thu 01:00 UTC"),
        (NOW - 30 * HOUR, "Tue 06:00 UTC"),
        (NOW + timedelta(days=30), "Fri 2026-07-31 12:00 UTC"),
    ],
)
def test_instants_are_said_as_people_say_them(instant: datetime, words: str) -> None:
    assert clock_words(instant, NOW, UTC) == words


def test_the_zone_is_the_readers() -> None:
    assert clock_words(NOW + HOUR, NOW, ZoneInfo("Europe/Berlin")) == "15:00 CEST"
