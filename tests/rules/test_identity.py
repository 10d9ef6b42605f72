"""Names that may be taken for one another are found; nothing but an exact, unique link makes a person."""

import unicodedata

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from tests.builders import SOURCE, index
from watchkey.model.access import Link
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.model.oncall import Person
from watchkey.rules.identity import (
    AlikeNames,
    Ambiguous,
    Likeness,
    Links,
    canonical_email,
    canonical_name,
    find_alike,
    mixed_scripts,
    propose_links,
)

OTHER = SourceName("other")


def likeness(one: str, other: str) -> Likeness | None:
    return next((alike.kind for alike in find_alike([one, other])), None)


def subject(text: str) -> SubjectId:
    return SubjectId(text)


def link(who: str, person: str, source: SourceName = SOURCE) -> Link:
    return Link(subject=subject(who), source=source, person=PersonId(person))


# -- forms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Alice@Example.com", "alice@example.com"),
        (" alice@example.com\n", "alice@example.com"),
        ("ALICE＠ＥＸＡＭＰＬＥ．ＣＯＭ", "alice@example.com"),
        ("straße@example.com", "STRASSE@example.com"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "a@XN--BCHER-KVA.EXAMPLE"),
        ("e\u0301@example.com", "\u00e9@example.com"),
    ],
)
def test_spellings_of_one_address_have_one_form(one: str, other: str) -> None:
    assert canonical_email(one) == canonical_email(other)
    assert likeness(one, other) is Likeness.SAME_FORM


@pytest.mark.parametrize(
    "address", ["a@xn--\u00e9.example", "a@xn--99999999999999.example", "a@xn--", "@", "", "a@b@c"]
)
def test_an_address_that_encodes_nothing_is_left_alone(address: str) -> None:
    assert canonical_email(canonical_email(address)) == canonical_email(address)


def test_the_form_is_stable_for_every_character() -> None:
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) not in {"Cs", "Cn", "Co"}:
            form = canonical_name(character)
            assert form == canonical_name(form)
            assert form == canonical_name(character.casefold())


@given(text=st.text(max_size=20))
def test_the_form_is_stable_for_texts(text: str) -> None:
    for form in (canonical_name, canonical_email):
        assert form(form(text)) == form(text)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("alice@example.com", "\u0430lice@example.com", Likeness.LOOK_ALIKE),  # Cyrillic a
        ("mike@github.com", "m\u0131ke@github.com", Likeness.LOOK_ALIKE),  # dotless i, as in GitHub's reset of 2016
        ("MIKE@github.com", "m\u0131ke@github.com", Likeness.LOOK_ALIKE),
        ("m\u0130ke@github.com", "mike@github.com", Likeness.LOOK_ALIKE),  # dotted capital I
        ("pay@paypal.com", "pay@p\u0430yp\u0430l.com", Likeness.LOOK_ALIKE),
        ("pay@paypal.com", "pay@xn--pypl-53dc.com", Likeness.LOOK_ALIKE),  # the same, encoded
        ("alice", "ali\u200bce", Likeness.LOOK_ALIKE),
        ("alice@example.com", "alice+ops@example.com", Likeness.PLUS_TAG),
        ("Alice+a@example.com", "alice+b@example.com", Likeness.PLUS_TAG),
        ("alice@example.com", "bob@example.com", None),
        ("alice@example.com", "alice@example.org", None),
        ("alice@example.com", "alice@example.com", None),
    ],
)
def test_names_are_alike_or_not(one: str, other: str, kind: Likeness | None) -> None:
    assert likeness(one, other) is kind
    assert likeness(other, one) is kind


def test_alike_names_are_found_in_a_crowd() -> None:
    names = ["bob", "alice", "Alice", "\u0430lice", "carol+x@example.com", "carol@example.com", "alice"]
    assert find_alike(names) == (
        AlikeNames(kind=Likeness.SAME_FORM, names=("Alice", "alice")),
        AlikeNames(kind=Likeness.LOOK_ALIKE, names=("Alice", "alice", "\u0430lice")),
        AlikeNames(kind=Likeness.PLUS_TAG, names=("carol+x@example.com", "carol@example.com")),
    )
    assert find_alike(["alice", "bob"]) == ()


@pytest.mark.parametrize(
    ("name", "scripts"),
    [
        ("alice@example.com", set()),
        ("\u0430lice@example.com", {"CYRILLIC", "LATIN"}),
        ("алиса@example.com", set()),  # each word is of one script
        ("josé.o'neil@example.com", set()),
        ("東京タワーabc@example.com", set()),
        ("αlice", {"GREEK", "LATIN"}),
        ("a1_2b", set()),
    ],
)
def test_a_word_that_mixes_scripts_is_found(name: str, scripts: set[str]) -> None:
    assert mixed_scripts(name) == scripts


# -- links -------------------------------------------------------------------------------------------------------


def test_a_linked_subject_is_that_person_in_that_source_only() -> None:
    links = Links([link("alice", "P1"), link("alice", "P9", OTHER), link("bob", "P2"), link("bob", "P2")])
    assert links.problems == ()
    assert links.person_of(subject("alice"), SOURCE) == "P1"
    assert links.person_of(subject("alice"), OTHER) == "P9"
    assert links.person_of(subject("bob"), OTHER) is None
    assert links.person_of(subject("Alice"), SOURCE) is None
    assert links.subject_of(PersonId("P2"), SOURCE) == "bob"
    assert links.subject_of(PersonId("P3"), SOURCE) is None


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([("alice", "P1"), ("alice", "P2")], "linked to several people"),
        ([("alice", "P1"), ("bob", "P1")], "linked to several subjects"),
        ([("alice", "P1"), ("Alice", "P2")], "look the same"),
        ([("alice", "P1"), ("\u0430lice", "P2")], "look the same"),
    ],
)
def test_a_contradiction_denies_everybody_in_it_and_nobody_else(pairs: list[tuple[str, str]], why: str) -> None:
    links = Links([*(link(*pair) for pair in pairs), link("carol", "P3"), link("alice", "P1", OTHER)])
    for who, person in pairs:
        found = links.person_of(subject(who), SOURCE)
        assert isinstance(found, Ambiguous)
        assert why in found.why
        assert links.subject_of(PersonId(person), SOURCE) is None
    assert links.person_of(subject("carol"), SOURCE) == "P3"
    assert links.person_of(subject("alice"), OTHER) == "P1"
    assert [problem.why for problem in links.problems if why in problem.why]


def test_a_look_alike_is_named_so_that_the_difference_can_be_seen() -> None:
    (problem,) = Links([link("alice", "P1"), link("\u0430lice", "P2")]).problems
    assert r"'\u0430lice'" in problem.why


NAMES = st.text(st.sampled_from("aAаαıiIİ+@. ｅeß\u200b"), min_size=1, max_size=4)


@given(pairs=st.lists(st.tuples(NAMES, st.sampled_from(["P1", "P2", "P3"])), max_size=6))
def test_no_two_subjects_are_one_person_nor_one_subject_two(pairs: list[tuple[str, str]]) -> None:
    links = Links([link(*pair) for pair in pairs])
    resolved = {who: links.person_of(subject(who), SOURCE) for who, _ in pairs}
    persons = [one for one in resolved.values() if isinstance(one, str)]
    event("resolved" if persons else "nobody")
    assert len(persons) == len(set(persons))
    for who, person in resolved.items():
        assert person is not None
        if isinstance(person, str):
            assert {other for name, other in pairs if name == who} == {person}
    clear = [who for who, person in resolved.items() if isinstance(person, str)]
    assert all(
        likeness(one, other) not in {Likeness.SAME_FORM, Likeness.LOOK_ALIKE} for one in clear for other in clear
    )


# -- proposals ---------------------------------------------------------------------------------------------------


def people(*rows: tuple[str, str]) -> tuple[Person, ...]:
    return tuple(Person(id=PersonId(i), name=i, emails=(email,)) for i, email in rows)


def test_an_address_proposes_a_link_whatever_its_case() -> None:
    roster = index(people=people(("P1", "Alice@Example.com"), ("P2", "bob@example.com")))
    alice, nobody = propose_links([subject("alice@example.com"), subject("zoe@example.com")], roster)
    assert alice.link == link("alice@example.com", "P1")
    assert nobody.link is None
    assert "nobody in pager" in nobody.why_not


@pytest.mark.parametrize(
    ("subjects", "rows", "why"),
    [
        (["a@x.io"], [("P1", "a@x.io"), ("P2", "A@x.io")], "several people"),
        (["a@x.io", "A@x.io"], [("P1", "a@x.io")], "other subjects may be the same"),
        (["a@x.io", "\u0430@x.io"], [("P1", "a@x.io")], "other subjects may be the same"),
        (["\u0430b@x.io"], [("P1", "\u0430b@x.io")], "mixes scripts"),
    ],
)
def test_doubt_proposes_nothing(subjects: list[str], rows: list[tuple[str, str]], why: str) -> None:
    first, *_ = propose_links([subject(one) for one in subjects], index(people=people(*rows)))
    assert first.link is None
    assert why in first.why_not


@pytest.mark.parametrize("active", [False, None])
def test_who_is_not_known_to_be_active_is_not_proposed(*, active: bool | None) -> None:
    person = Person(id=PersonId("P1"), name="A", emails=("a@x.io",), active=active)
    (proposal,) = propose_links([subject("a@x.io")], index(people=(person,)))
    assert proposal.link is None
    assert "active" in proposal.why_not
    assert proposal.candidates == (person,)


@given(subjects=st.lists(NAMES, max_size=5), rows=st.lists(st.tuples(st.sampled_from(["P1", "P2"]), NAMES), max_size=4))
def test_what_is_proposed_contradicts_nothing(subjects: list[str], rows: list[tuple[str, str]]) -> None:
    assume(len({person for person, _ in rows}) == len(rows))
    proposals = propose_links([subject(one) for one in subjects], index(people=people(*rows)))
    proposed = [one.link for one in proposals if one.link is not None]
    assert Links(proposed).problems == ()
    event("proposed" if proposed else "nothing")
