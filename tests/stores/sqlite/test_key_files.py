"""The files beside the log: the key is private and never overwritten, small files are replaced whole."""

from pathlib import Path

import pytest

from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.rules.checkpoint import parse_signing_key
from watchkey.stores.sqlite.key_files import create_key, read_key, read_text, replace_text


def test_a_new_key_is_private_and_fits_its_public_half(tmp_path: Path) -> None:
    public = create_key(tmp_path / "audit.key", "example.com/audit")
    assert (tmp_path / "audit.key").stat().st_mode & 0o777 == 0o600
    assert parse_signing_key(read_key(tmp_path / "audit.key").reveal()).verifying == public


def test_two_keys_are_never_the_same(tmp_path: Path) -> None:
    assert create_key(tmp_path / "1", "x").public != create_key(tmp_path / "2", "x").public


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    create_key(tmp_path / "audit.key", "x")
    before = (tmp_path / "audit.key").read_bytes()
    with pytest.raises(Refused, match="exists already and stays"):
        create_key(tmp_path / "audit.key", "x")
    assert (tmp_path / "audit.key").read_bytes() == before


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "audit.key", "x")
    for mode in (0o640, 0o604, 0o620):
        (tmp_path / "audit.key").chmod(mode)
        with pytest.raises(Refused, match=rf"has mode {mode:04o}.*chmod 600"):
            read_key(tmp_path / "audit.key")


def test_a_key_that_is_not_there_or_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"audit\.key.*`watchkey init` makes one"):
        read_key(tmp_path / "audit.key")
    with pytest.raises(Unavailable, match=r"cannot write .*audit\.key"):
        create_key(tmp_path / "no such folder" / "audit.key", "x")


def test_the_text_of_a_key_shows_in_no_printed_form(tmp_path: Path) -> None:
    create_key(tmp_path / "audit.key", "x")
    assert "PRIVATE" not in f"{read_key(tmp_path / 'audit.key')!r}"


def test_a_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "memory"
    for text in ("first", "a longer second", ""):
        replace_text(path, text)
        assert read_text(path) == text
    assert [each.name for each in tmp_path.iterdir()] == ["memory"]


def test_a_draft_that_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "memory.new").write_text("half of someth", encoding="utf-8")
    replace_text(tmp_path / "memory", "whole")
    assert read_text(tmp_path / "memory") == "whole"


def test_what_cannot_be_read_as_a_small_text_is_said(tmp_path: Path) -> None:
    assert read_text(tmp_path / "none") is None
    (tmp_path / "raw").write_bytes(b"\xff")
    with pytest.raises(Malformed, match="not UTF-8"):
        read_text(tmp_path / "raw")
    (tmp_path / "large").write_bytes(b"x" * 100_000)
    with pytest.raises(Malformed, match="longer than"):
        read_text(tmp_path / "large")
    with pytest.raises(Unavailable, match="cannot read"):
        read_text(tmp_path)
