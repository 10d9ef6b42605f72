"""The types of the file: strict everywhere, and their defaults are the cautious ones."""

import msgspec
import pytest

from watchkey.model.access import Needs, StaleMode
from watchkey.settings import shape
from watchkey.settings.shape import CallerSection, File, HttpSection, ResourceDefaults, Section

SECTIONS = [
    one for one in vars(shape).values() if isinstance(one, type) and issubclass(one, Section) and one is not Section
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: one.__name__)
def test_sections_are_frozen_and_know_all_their_keys(section: type[msgspec.Struct]) -> None:
    assert section.__struct_config__.frozen
    assert section.__struct_config__.forbid_unknown_fields


def test_what_is_left_out_opens_nothing_more() -> None:
    defaults = ResourceDefaults()
    assert (defaults.needs, defaults.max_level, defaults.stale_mode) == (Needs.ON_CALL, 1, StaleMode.INCUMBENT)
    assert defaults.unvetted == defaults.privileges == ()
    caller = CallerSection(token_hashes=("x",))
    assert (caller.resources, caller.trusted) == ((), False)
    assert HttpSection().host == "127.0.0.1"
    assert not HttpSection().insecure
    assert File().resources == {}
