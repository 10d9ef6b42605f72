"""`watchkey audit find-value`: lines with a known value, its hashes, and what is no key."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from watchkey.entrypoints.cli.audit import audit
from watchkey.model.errors import Malformed
from watchkey.rules.bound_values import KEY_BYTES, value_hash

KEY = bytes(range(KEY_BYTES))


def run(folder: Path, value: str, *logs: Path) -> Result:
    words = ["find-value", "--key-file", str(folder / "key"), *map(str, logs)]
    return CliRunner().invoke(audit, words, input=value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(KEY.hex())
    lines = [
        {"session": "s1", "text": "SELECT $1"},
        {"session": "s2", "value_hashes": [None, value_hash(KEY, b"alice")]},
        {"session": "s3", "value_hashes": [value_hash(KEY, b"\0\0\0\x07")]},
    ]
    (tmp_path / "log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.parametrize(("value", "session", "form"), [("alice\n", "s2", "text"), ("7", "s3", "int4")])
def test_lines_with_the_value_are_printed(folder: Path, value: str, session: str, form: str) -> None:
    result = run(folder, value, folder / "log")
    (line,) = map(json.loads, result.stdout.splitlines())
    assert (result.exit_code, line["session"], line["matched"]) == (0, session, [form])


def test_no_line_is_exit_code_1(folder: Path) -> None:
    result = run(folder, "bob", folder / "log")
    assert (result.exit_code, result.stdout) == (1, "")


def test_without_a_log_the_hashes_are_printed(folder: Path) -> None:
    assert run(folder, "alice").stdout == f"{value_hash(KEY, b'alice')}  text\n"


def test_what_is_no_key_is_said(folder: Path) -> None:
    (folder / "key").write_text("ab")
    assert isinstance(run(folder, "x").exception, Malformed)
