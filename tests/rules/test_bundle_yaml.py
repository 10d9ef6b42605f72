"""YAML in a bundle: what is read as OPA reads it, and what is refused because it would not be."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.real_opa import needs_opa, opa
from watchkey.model.errors import Malformed
from watchkey.rules.bundle import file_digest
from watchkey.rules.bundle_yaml import go_number, read_yaml

ALIKE = """\
integer: 12
signed: -7
hex: 0x1F
octal: 0o17
float: 1.50
exponent: 1e3
zero: -0.0
large: 1e21
just_plain: 1.0e+20
small: 1.5e-7
plain_small: 0.000001
text: "quoted: 0123"
words: yes
switch: on
date: 2020-01-01
clock: 18:00
nothing: ~
truth: TRUE
1: a number as a key is its text
odd: "\\u2028 <b> & é"
block: |
  two
  lines
list: [1, {a: b}, [], {}]
"""


def test_values_are_those_of_yaml_1_2() -> None:
    assert read_yaml(b"a: on\nb: 18:00\nc: 1e3\nd: ~\n", "data.yaml") == {
        "a": "on",
        "b": "18:00",
        "c": 1000.0,
        "d": None,
    }
    assert read_yaml(b"\xef\xbb\xbf- 1\n", "data.yml") == [1]


@pytest.mark.parametrize(
    "text",
    [
        "a: 0123", "a: 00", "a: 08", "a: 1_000", "a: 1__0", "a: 0x1_0", "a: 0b11", "a: 0X1F", "a: 0O17", "a: -0x1F",
        "a: [{b: 0123}]", "1.50: a", "1e3: a", "0x1F: a", "+1: a", "true: a", "TRUE: a", "~: a", "null: a", "<<: a",
        ".5: a", "? ''\n: {01: a}",
    ],
)  # fmt: skip
def test_what_opa_reads_otherwise_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Malformed, match=r"data\.yaml:\d+:\d+: OPA reads"):
        read_yaml(text.encode(), "data.yaml")


@pytest.mark.parametrize(
    "body", [b"a: &x 1", b"a: *x", b"a: !!str 1", b"a: 1\na: 2", b"a: [", b"\xff", b"a: .inf", b"a: 1\n---\nb: 1"]
)
def test_what_our_own_yaml_leaves_out_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match=r"data\.yaml"):
        read_yaml(body, "data.yaml")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"), (10**30, str(10**30)), (5.0, "5"), (-0.0, "-0"), (1.5, "1.5"), (1e20, "100000000000000000000"),
        (1e21, "1e+21"), (1.5e300, "1.5e+300"), (1e-6, "0.000001"), (1.5e-7, "1.5e-7"), (5e-324, "5e-324"),
        (123456.789, "123456.789"), (100.0, "100"),
    ],
)  # fmt: skip
def test_numbers_as_go_writes_them(value: float, text: str) -> None:
    assert go_number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_number_changes_by_being_written(value: float) -> None:
    assert float(go_number(value)) == value


@needs_opa
def test_a_real_opa_hashes_it_alike(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/data.yaml").write_text(ALIKE, encoding="utf-8")
    key = ("--signing-key", "0123456789abcdef0123456789abcdef", "--signing-alg", "HS256")
    opa("sign", *key, "--output-file-path", tmp_path, "--bundle", tmp_path / "in")
    assert [file["hash"] for file in claims_of(tmp_path)] == [file_digest("data.yaml", ALIKE.encode())]


def claims_of(folder: Path) -> list[dict[str, Any]]:
    """What `opa sign` wrote there."""
    (token,) = json.loads((folder / ".signatures.json").read_text())["signatures"]
    files: list[dict[str, Any]] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))["files"]
    return files
