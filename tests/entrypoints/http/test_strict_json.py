"""JSON that two readers could understand differently is refused."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.errors import Malformed

ANY: StrictDecoder[Any] = StrictDecoder(Any, depth_max=8)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


@given(value=JSON, is_ascii=st.booleans())
def test_plain_json_is_read_as_the_standard_library_reads_it(value: Any, *, is_ascii: bool) -> None:
    try:
        raw = json.dumps(value, ensure_ascii=is_ascii).encode()
    except UnicodeEncodeError:
        return
    if depth(value) > 8 or "\\ud" in raw.decode():
        return
    assert ANY.decode(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1} x',
        b"[1,]",
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\x00"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        b"{'a':1}",
        b"// x\n1",
        b"[" * 9 + b"]" * 9,
        b"[" * 60_000,
        b'{"a":' * 60_000,
    ],
)
def test_broken_or_monstrous_text_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        ANY.decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":1}',
        b'[{"b":{"x":[],"x":[]}}]',
        b'{"a":1, "b":{"a":1}, "a":1}',
    ],
)
def test_a_key_that_stands_twice_is_malformed_however_it_is_written(raw: bytes) -> None:
    with pytest.raises(Malformed, match="twice"):
        ANY.decode(raw)


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = '[{"' * 50
    assert ANY.decode(json.dumps({"a": text}).encode()) == {"a": text}


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert ANY.decode(json.dumps([[]] * 1000).encode()) == [[]] * 1000


def test_numbers_of_many_digits_are_no_error_of_ours() -> None:
    digits = b"9" * 10_000
    with pytest.raises(Malformed):
        StrictDecoder(dict[str, str], depth_max=8).decode(b'{"a":"b","c":' + digits + b"}")
    assert "a" in StrictDecoder(dict[str, msgspec.Raw], depth_max=8).decode(b'{"a":1,"c":' + digits + b"}")


def test_the_text_says_what_was_expected_and_where_and_quotes_nothing() -> None:
    with pytest.raises(Malformed) as error:
        StrictDecoder(dict[str, int], depth_max=8).decode(b'{"a":"s3cret-canary"}')
    assert "Expected `int`, got `str`" in str(error.value)
    assert "s3cret" not in str(error.value)
