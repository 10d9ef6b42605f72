"""Rosters are swapped whole; a reader keeps what it has; equal content keeps its revision."""

from tests.builders import SOURCE, index, shift
from watchkey.stores.memory import build


def test_the_first_roster_has_revision_one() -> None:
    store = build()
    assert store.held() == {}
    held = store.swap(index(shift()), read_at=1.0)
    assert (held.revision, held.read_at) == (1, 1.0)
    assert store.held()[SOURCE] is held


def test_equal_content_renews_the_age_and_keeps_the_revision() -> None:
    store = build()
    store.swap(index(shift()), read_at=1.0)
    held = store.swap(index(shift()), read_at=31.0)
    assert (held.revision, held.read_at) == (1, 31.0)


def test_other_content_is_another_revision() -> None:
    store = build()
    store.swap(index(shift()), read_at=1.0)
    assert store.swap(index(shift("PBOB")), read_at=2.0).revision == 2


def test_a_reader_keeps_the_view_that_it_took() -> None:
    store = build()
    store.swap(index(shift()), read_at=1.0)
    view = store.held()
    store.swap(index(shift("PBOB")), read_at=2.0)
    assert view[SOURCE].revision == 1
