"""The reference page is what the code says now."""

from pathlib import Path

from tests.golden_files import agrees
from watchkey.settings.reference import configuration_page
from watchkey.settings.shape import File, ResourceSection
from watchkey.wiring import source_configs

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_page_in_the_docs_is_written_from_the_code() -> None:
    agrees(PAGE, configuration_page(source_configs()))


def test_every_key_and_every_kind_has_a_row() -> None:
    page = configuration_page(source_configs())
    for key in (*File.__struct_fields__, *ResourceSection.__struct_fields__, "path", "region"):
        assert f"\n| `{key}` |" in page
    for kind in source_configs():
        assert f"## `sources.NAME` with `kind: {kind}`" in page


def test_types_are_said_in_words() -> None:
    page = configuration_page(source_configs())
    assert "| `max_level` | whole number from 1 to 100 | `1` |" in page
    assert "| `shrink_share_max` | number above 0 to 1 | `0.3` |" in page
    assert "| `token` | secret | *required* |" in page
    assert "| `ttl_max` | duration | `1h` |" in page
    assert "| `resources` | list of text or `all` | `[]` |" in page
