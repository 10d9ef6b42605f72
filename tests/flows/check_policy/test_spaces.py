"""White space that nobody sees."""

from hypothesis import given
from hypothesis import strategies as st

from watchkey.flows.check_policy import normalised, space_findings

TEXT = "package p \r\nallow\u00a0if true\n\tx\u2028y\u200b\t\nend"


def test_each_kind_is_told_once_with_its_first_place_and_its_number() -> None:
    found = {one.rule: (one.location.line, one.location.column, one.message) for one in space_findings("a", TEXT)}
    assert found["odd-spaces"][:2] == (2, 6)
    assert found["odd-spaces"][2].startswith("3 ")
    assert found["carriage-returns"][:2] == (1, 11)
    assert found["trailing-blanks"][:2] == (1, 10)
    assert found["last-line"][:2] == (4, 3)


def test_a_clean_text_has_none() -> None:
    assert list(space_findings("a", "package p\n\nallow if {\n\ttrue\n}\n")) == []


@given(st.text(alphabet=st.sampled_from(" \t\r\n\u00a0\u200b\u2028\x85ab{}"), max_size=60))
def test_after_normalising_nothing_is_left_to_find(text: str) -> None:
    clean = normalised(text)
    assert list(space_findings("a", clean)) == []
    assert normalised(clean) == clean
    visible = [char for char in text if char in "ab{}"]
    assert [char for char in clean if char in "ab{}"] == visible
