"""One link more in the text, and not a byte of anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.access import Link
from watchkey.model.errors import Refused
from watchkey.model.ids import PersonId, SourceName, SubjectId
from watchkey.rules.located import load
from watchkey.settings.link_lines import link_lines, with_link


def link(subject: str = "ann", source: str = "pager", person: str = "P1") -> Link:
    return Link(subject=SubjectId(subject), source=SourceName(source), person=PersonId(person))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: 1\n", "a: 1\n\nlinks:\n  ann: {pager: P1}\n"),
        ("a: 1", "a: 1\n\nlinks:\n  ann: {pager: P1}\n"),
        ("links:\n  bob: {pager: P2} # DBA\nz: 1\n", "links:\n  ann: {pager: P1}\n  bob: {pager: P2} # DBA\nz: 1\n"),
        ("links:\n  # them\n  bob:\n    pager: P2\n", "links:\n  # them\n  ann: {pager: P1}\n  bob:\n    pager: P2\n"),
        ("links:\n  ann: {other: X} # both\n", "links:\n  ann: {pager: P1, other: X} # both\n"),
        ("links:\n    ann:\n        other: X\n", "links:\n    ann:\n        pager: P1\n        other: X\n"),
        ("links:\n  ann: {}\n", "links:\n  ann: {pager: P1}\n"),
        ("links:\n  ann:\n  bob: {pager: P2}\n", "links:\n  ann:\n    pager: P1\n  bob: {pager: P2}\n"),
        ("links: {}\nz: 1\n", "links: {ann: {pager: P1}}\nz: 1\n"),
        ("links: {bob: {pager: P2}}\n", "links: {ann: {pager: P1}, bob: {pager: P2}}\n"),
        ("links:\nz: 1\n", "links:\n  ann: {pager: P1}\nz: 1\n"),
        ("links: # none yet", "links: # none yet\n  ann: {pager: P1}\n"),
        ("links:\r\n  bob: {pager: P2}\r\n", "links:\r\n  ann: {pager: P1}\r\n  bob: {pager: P2}\r\n"),
        ("links:\n  ann: {pager: P1}\n", "links:\n  ann: {pager: P1}\n"),
    ],
)  # fmt: skip
def test_the_link_is_put_where_a_person_would_put_it(before: str, after: str) -> None:
    assert with_link(before, "w.yaml", link()) == after


def test_a_subject_that_is_somebody_else_is_refused() -> None:
    with pytest.raises(Refused, match="ann is P2 of pager already"):
        with_link("links: {ann: {pager: P2}}\n", "w.yaml", link())


@pytest.mark.parametrize("text", ["{a: 1}\n", "{links: 1}\n", "- a\n", "links: [a]\n", "links: {ann: [a]}\n"])
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        with_link(text, "w.yaml", link())


LETTERS = st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_categories=["Cc"])
ODD = ("true", "No", "null", "~", "1e5", "12", "0x1F", "- a", "a: b", "#x", "{x}", "a@b.example", "iss|sub", '"', "\\")
names = st.text(LETTERS, min_size=1) | st.sampled_from(ODD)
FILES = ("a: 1\n", "links:\n  bob: {pager: P2}\n", "links: {bob: {pager: P2}}\n", "links:\n", "links: {}\n")


@given(names.filter(lambda name: name != "bob"), names, st.sampled_from(FILES))
def test_any_name_comes_back_as_it_was_and_the_rest_as_it_stood(subject: str, person: str, text: str) -> None:
    try:
        edited = with_link(text, "w.yaml", link(subject, person=person))
    except Refused:
        raise AssertionError(f"{subject!r} {person!r} could not be put into {text!r}") from None
    before, after = load(text, "w.yaml").data, load(edited, "w.yaml").data
    assert after["links"].pop(subject) == {"pager": person}
    assert (after["links"] or None) == (before.get("links") or None)
    assert load(link_lines(link(subject, person=person)), "w.yaml").data == {"links": {subject: {"pager": person}}}
