"""Adapters are found by their file; sections are checked by their adapter."""

from pathlib import Path

import pytest

from tests.wiring.configured import configured
from watchkey import wiring
from watchkey.settings import ConfigError, load_settings
from watchkey.wiring import build, make_caller_token, source_kinds


def test_a_sources_section_is_checked_by_its_adapter(tmp_path: Path) -> None:
    configured(tmp_path)
    text = (tmp_path / "watchkey.yaml").read_text().replace("path: roster.yaml", "pathh: roster.yaml")
    (tmp_path / "watchkey.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"watchkey\.yaml:2:.*path is missing"):
        build(load_settings(tmp_path / "watchkey.yaml", environ={}))


def test_every_kind_of_source_is_found_by_its_file() -> None:
    assert {"pagerduty", "roster_file"} <= set(source_kinds())
    assert set(wiring.source_configs()) == set(source_kinds())


def test_a_callers_token_is_shown_once_and_kept_as_its_hash() -> None:
    token, token_hash = make_caller_token()
    assert token.reveal() not in token_hash
    assert token_hash.startswith("sha256:")
