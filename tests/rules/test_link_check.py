"""Leavers, look-alikes, changed addresses, and names that pass from one person to another."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.builders import SOURCE, index
from watchkey.model.access import Link
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import Person
from watchkey.rules.link_check import LinkTrouble, SeenLink, check_links, look_again
from watchkey.rules.roster import RosterIndex


def link(subject: str = "alice", person: str = "PALICE", source: str = SOURCE) -> Link:
    return Link(subject=SubjectId(subject), source=SourceName(source), person=PersonId(person))


def seen(subject: str = "alice", person: str = "PALICE", *emails: str) -> SeenLink:
    known = emails or ("alice@example.com",)
    return SeenLink(subject=SubjectId(subject), source=SOURCE, person=PersonId(person), emails=known)


def person(name: str = "alice", *emails: str, active: bool | None = True) -> Person:
    return Person(id=PersonId(f"P{name.upper()}"), name=name, emails=emails or (f"{name}@example.com",), active=active)


def people(*them: Person) -> dict[SourceName, RosterIndex]:
    return {SOURCE: index(people=them or (person(), person("bob")))}


def troubles(
    *links: Link,
    others: Sequence[str] = (),
    rosters: dict[SourceName, RosterIndex] | None = None,
    before: Sequence[SeenLink] = (),
) -> list[LinkTrouble]:
    found = check_links(links, [SubjectId(one) for one in others], people() if rosters is None else rosters, before)
    return [one.trouble for one in found]


def test_links_in_order_give_no_finding() -> None:
    assert troubles(link(), link("bob", "PBOB"), before=[seen()]) == []


@pytest.mark.parametrize("links", [(link(), link(person="PBOB")), (link(), link("bob"))])
def test_links_are_unique_both_ways(links: tuple[Link, ...]) -> None:
    assert LinkTrouble.AMBIGUOUS in troubles(*links)


def test_subjects_that_look_the_same_are_found_once_and_across_groups_too() -> None:
    cyrillic = "аlice"
    assert troubles(link(), link(cyrillic, "PBOB")).count(LinkTrouble.AMBIGUOUS) == 1
    assert LinkTrouble.LOOK_ALIKE not in troubles(link(), link(cyrillic, "PBOB"))
    assert LinkTrouble.LOOK_ALIKE in troubles(link(), others=[cyrillic])
    assert LinkTrouble.LOOK_ALIKE in troubles(link(), others=["Alice"])
    assert LinkTrouble.MIXED_SCRIPTS in troubles(link(), others=[cyrillic])


def test_leavers_are_found_whether_deleted_or_deactivated() -> None:
    assert troubles(link(), rosters=people(person("bob"))) == [LinkTrouble.GONE]
    for active in (False, None):
        assert troubles(link(), rosters=people(person(active=active))) == [LinkTrouble.INACTIVE]


def test_an_address_of_two_people_is_found() -> None:
    assert troubles(link(), rosters=people(person(), person("bob", "ALICE@example.com"))) == [LinkTrouble.SHARED_EMAIL]


def test_a_changed_address_is_found_and_another_spelling_is_no_change() -> None:
    assert troubles(link(), before=[seen("alice", "PALICE", "old@example.com")]) == [LinkTrouble.EMAIL_CHANGED]
    assert troubles(link(), rosters=people(person("alice", "Alice@Example.com")), before=[seen()]) == []


def test_a_name_that_passes_to_somebody_else_is_found_even_after_the_link_was_taken_out() -> None:
    tombstone = replace(seen("carol", "PCAROL", "carol@example.com"), is_retired=True)
    assert troubles(link("carol", "PBOB"), before=[tombstone]) == [LinkTrouble.PASSED_ON]
    assert troubles(link("bob", "PALICE"), before=[seen()]) == [LinkTrouble.PASSED_ON]


def test_what_could_not_be_read_is_not_judged() -> None:
    assert troubles(link(), rosters={}) == []


def test_a_first_check_remembers_and_a_second_has_nothing_to_say() -> None:
    links = (link(), link("bob", "PBOB"))
    remembered = look_again(links, people(), (), accept=False)
    assert [(one.subject, one.emails) for one in remembered] == [
        ("alice", ("alice@example.com",)),
        ("bob", ("bob@example.com",)),
    ]
    assert look_again(links, people(), remembered, accept=False) == remembered


def test_what_changed_is_reported_until_somebody_accepts_it() -> None:
    old = (seen("alice", "PALICE", "old@example.com"),)
    assert look_again((link(),), people(), old, accept=False) == old
    assert look_again((link(),), people(), old, accept=True) == (seen(),)
    other = (link(person="PBOB"),)
    assert look_again(other, people(), (seen(),), accept=False) == (seen(),)
    accepted = look_again(other, people(), (seen(),), accept=True)
    assert [one.person for one in accepted] == ["PBOB"]


def test_a_link_that_is_taken_out_leaves_a_tombstone_that_outlives_acceptance() -> None:
    for accept in (False, True):
        assert look_again((), people(), (seen(),), accept=accept) == (replace(seen(), is_retired=True),)
    back = look_again((link(),), people(), (replace(seen(), is_retired=True),), accept=False)
    assert back == (seen(),)


def test_addresses_are_learnt_late_and_never_forgotten_when_somebody_vanishes() -> None:
    unknown = SeenLink(subject=SubjectId("alice"), source=SOURCE, person=PersonId("PALICE"))
    assert look_again((link(),), people(), (unknown,), accept=False) == (seen(),)
    assert look_again((link(),), people(person("bob")), (seen(),), accept=True) == (seen(),)
