"""YAML as data, or a clear error with its place, whatever the text."""

import re
from typing import Any

import pytest
import yaml
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from watchkey.rules import yaml_nodes
from watchkey.rules.located import load
from watchkey.rules.yaml_nodes import SIZE_MAX, ConfigError, Mark, nearest, path_text


@pytest.fixture(params=["SafeLoader", "CSafeLoader"])
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers: the one in C, and the one in Python that stands in where it was not built."""
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(yaml_nodes, "_LOADER", getattr(yaml, request.param))


@pytest.mark.usefixtures("_loader")
class TestScalars:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("18:00", "18:00"),  # YAML 1.1 makes 1080 of it
            ("1:30:15", "1:30:15"),
            ("on", "on"),  # and booleans of these
            ("off", "off"),
            ("yes", "yes"),
            ("No", "No"),
            ("y", "y"),
            ("2026-01-05", "2026-01-05"),  # and a date of this
            ("1_000", "1_000"),
            ("0b11", "0b11"),
            ("true", True),
            ("False", False),
            ("null", None),
            ("~", None),
            ("", None),
            ("12", 12),
            ("-12", -12),
            ("007", 7),
            ("0o17", 15),
            ("0x1F", 31),
            ("1.5", 1.5),
            ("1e3", 1000.0),
            (".5", 0.5),
            ("'12'", "12"),
            ('"true"', "true"),
            ("''", ""),
            ("|\n  12\n", "12\n"),
            ("<<", "<<"),
            ("=", "="),
        ],
    )
    def test_plain_scalars_follow_yaml_1_2(self, text: str, value: Any) -> None:
        found = load(f"a: {text}\n", "f").data["a"]
        assert found == value
        assert type(found) is type(value)

    def test_keys_are_text_whatever_they_look_like(self) -> None:
        assert load("on: 1\n7: 2\nnull: 3\n18:00: 4\n", "f").data == {"on": 1, "7": 2, "null": 3, "18:00": 4}

    def test_nothing_is_nothing(self) -> None:
        assert load("", "f").data is None
        assert load("# a comment\n", "f").data is None

    def test_a_byte_order_mark_is_no_content(self) -> None:
        assert load("\ufeffa: 1", "f").data == {"a": 1}
        assert load(b"\xef\xbb\xbfa: 1", "f").data == {"a": 1}


REFUSED = [
    ("a: 1\nb: 2\na: 3\n", "f:3:1: the key 'a' stands here a second time; the first is in line 1"),
    ("x: {a: 1, a: 2}", "f:1:11: x: the key 'a' stands here a second time; the first is in line 1"),
    ("a:\n\t- 1\n", "f:2:1: a tab where YAML counts blanks; expected spaces"),
    ("a:\n  - &x 1\n", "f:2:5: a[0]: &x is an anchor"),
    ("a:\n  - *x\n", "f:2:5: a[0]: *x is an alias"),
    ("a: !!python/object:os.system x", "f:1:4: a: tag:yaml.org,2002:python/object:os.system is a tag"),
    ("a: !x {b: 1}", "f:1:4: a: !x is a tag"),
    ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins here"),
    ("a\0b", "f:1:2: the character U+0000 is not allowed"),
    ("ok: 1\na: \x07", "f:2:4: the character U+0007 is not allowed"),
    ("a: x\u202ey", "f:1:5: the character U+202E is not allowed"),  # text that reads backwards
    (b"ok: 1\na: \xe9\xff", "f:2:4: not UTF-8"),
    (b"\xc3", "f:1:1: not UTF-8"),
    ("? [a]\n: 1\n", "f:1:3: a list or a mapping cannot be a key"),
    ("a: .nan", "f:1:4: a: .nan is not a finite number"),
    ("a: -.inf", "f:1:4: a: -.inf is not a finite number"),
    ("a: 1e999", "f:1:4: a: 1e999 is too large for a number"),
    ("a: " + "9" * 5000, "f:1:4: a: the number 99999999999999999999… is too long"),
    ("a: [1, 2", "not YAML: "),
    ("a: 'x", "not YAML: "),
    ("a: b: c", "not YAML: "),
    ("%YAML 9.9\n---\na", "not YAML: "),
    ("{a: " * 40, "nested deeper than 32 levels"),
    ("[" * 100_000, "nest"),
    ("- " * 100_000, "nest"),
    ("a: " + "x" * SIZE_MAX, "f:1:1: larger than 4 MiB"),
    (b"\xff" * 10_000_000, "f:1:1: larger than 4 MiB"),
]


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(("text", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_this_yaml_leaves_out_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, "f")
    assert message in str(caught.value)
    assert re.match(r"f:\d+:\d+: ", str(caught.value))


def test_a_bomb_of_aliases_does_not_explode() -> None:
    steps = zip("abcdefgh", "bcdefghi", strict=True)
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in steps)
    with pytest.raises(ConfigError, match="anchor"):
        load(bomb, "f")


PIECES = st.sampled_from([*"a1[]{}'\"|>#%?~@`é\n\t\0\u2028\x85\ufeff"]) | st.sampled_from(
    ["b: ", "- ", "\n  ", "\n    ", ", ", ": ", "&a ", "*a", "!t ", "<<: ", "---\n", "...\n"]
)


def read_or_error(text: str | bytes) -> Any:
    try:
        return load(text, "f").data
    except ConfigError as error:
        return error


@settings(max_examples=500)
@given(text=st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=30))
@example(text="\ufeff\ufeff")
@example(text="? ")
@example(text="- - - ? a")
def test_any_text_is_data_or_an_error_with_a_place_inside_it(text: str) -> None:
    found = read_or_error(text)
    event("refused" if isinstance(found, ConfigError) else "read")
    if isinstance(found, ConfigError):
        assert found.column >= 1
        assert 1 <= found.line <= len(re.split("\r\n|[\r\n\x85\u2028\u2029]", text)) + 1
    else:
        assert read_or_error(text.encode()) == found


LEAVES = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text("ab 1:-#'\"{}[],&*!|>%@`~.=\n", max_size=9)
KEYS = st.text("abc:- #'\"", min_size=1, max_size=5)


@given(
    data=st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=12,
    )
)
def test_what_a_yaml_library_writes_reads_back(data: Any) -> None:
    for flow in (True, False):
        assert load(yaml.safe_dump(data, default_flow_style=flow), "f").data == data


def test_an_error_tells_its_parts_and_its_sentence() -> None:
    error = ConfigError(
        "unknown key", file="f", mark=Mark(3, 5), path=("a", 0, "b c"), expected="one of x", suggestion="x"
    )
    assert str(error) == "f:3:5: a[0]['b c']: unknown key; expected one of x; did you mean x?"
    assert (error.file, error.line, error.column, error.path) == ("f", 3, 5, "a[0]['b c']")
    assert error.all == (error,)


def test_a_path_is_written_as_people_read_it() -> None:
    assert path_text(("people", 3, "e-mails", 0)) == "people[3].e-mails[0]"
    assert path_text(()) == ""


def test_the_nearest_name_is_near_or_there_is_none() -> None:
    assert nearest("max_levl", ["max_level", "min_level"]) == "max_level"
    assert nearest("MAX_LEVEL", ["max_level"]) == "max_level"
    assert nearest("zzz", ["max_level"]) is None
    assert nearest("x" * 10**6, ["max_level"]) is None
