"""From YAML to typed values: what is wrong is told with its place, all of it, and without repeating secrets."""

import enum
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, NewType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.secret import Secret
from watchkey.rules.located import ConfigError, Located, Mark, load

Id = NewType("Id", str)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1


class Cat(msgspec.Struct, frozen=True, kw_only=True, tag="cat", tag_field="kind"):
    lives: int = 9


class Dog(msgspec.Struct, frozen=True, kw_only=True, tag="dog", tag_field="kind"):
    name: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    starts: int = msgspec.field(name="from")
    ends: int = msgspec.field(name="to", default=100)

    def __post_init__(self) -> None:
        if self.ends <= self.starts:
            raise ValueError("the span ends before it starts")


class Everything(msgspec.Struct, frozen=True, kw_only=True):
    id: Id
    ttl: timedelta = timedelta(0)
    token: Secret | None = None
    colour: Colour = Colour.RED
    word: Literal["one", "two"] = "one"
    ratio: float = 0.5
    flag: bool = False
    names: tuple[str, ...] = ()
    some: Annotated[list[str], msgspec.Meta(min_length=1)] = []
    groups: frozenset[str] = frozenset()
    inner: Inner | None = None
    inners: Mapping[str, Inner] = {}
    either: Sequence[Inner] | Inner | str = ""
    pet: Cat | Dog | None = None
    span: Span | None = None
    anything: Any = None
    number_or_word: int | Literal["all"] = 0


def read(text: str, **options: Any) -> Everything:
    return load(text, "f.yaml").convert(Everything, **options)


def errors(text: str, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, **options)
    return [str(one).removeprefix("f.yaml:") for one in caught.value.all]


def test_everything_is_read_into_its_type() -> None:
    text = """
id: '007'
ttl: 90s
token: {env: TOKEN}
colour: green
word: two
ratio: 1
flag: true
names: [a, b]
some: [x]
groups: [g]
inner: {name: n, size: 9}
inners: {k: {name: m}}
either: [{name: z}]
pet: {kind: dog, name: rex}
span: {from: 1, to: 2}
anything: {a: [1, ~]}
number_or_word: all
"""
    assert read(text, secrets=lambda kind, name: Secret(f"{kind}:{name}")) == Everything(
        id=Id("007"),
        ttl=timedelta(seconds=90),
        token=Secret("env:TOKEN"),
        colour=Colour.GREEN,
        word="two",
        ratio=1.0,
        flag=True,
        names=("a", "b"),
        some=["x"],
        groups=frozenset({"g"}),
        inner=Inner(name="n", size=9),
        inners={"k": Inner(name="m")},
        either=(Inner(name="z"),),
        pet=Dog(name="rex"),
        span=Span(starts=1, ends=2),
        anything={"a": [1, None]},
        number_or_word="all",
    )


def test_defaults_fill_what_is_not_there_and_null_is_nothing() -> None:
    assert read("id: a\ntoken:\ninner: null\npet: ~") == Everything(id=Id("a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "1:1: id is missing; expected id: text"),
        ("[]", "1:1: this is a list; expected a mapping"),
        ("", "1:1: nothing stands here; expected a mapping"),
        ("id: 7", "1:5: id: this is 7; expected text; put it in quotes"),
        ("id: true", "1:5: id: this is true; expected text; put it in quotes"),
        ("id:", "1:4: id: nothing stands here; expected text"),
        ("id: a\nflga: true", "2:1: flga: unknown key; expected one of ttl, "),
        ("id: a\nflga: true", "did you mean flag?"),
        ("id: a\nflag: yes", "2:7: flag: this is text; expected true or false"),
        ("id: a\nratio: x", "2:8: ratio: this is text; expected a number"),
        ("id: a\nttl: 90", "2:6: ttl: this is 90; expected a duration such as 90s, 15m, 12h or 3d"),
        ("id: a\nttl: PT1S", "2:6: ttl: 'PT1S' is no duration"),
        ("id: a\ncolour: gren", "2:9: colour: 'gren' is not known; expected one of red, green; did you mean green?"),
        ("id: a\nword: three", "2:7: word: 'three' is not known; expected one of one, two"),
        ("id: a\nnames: b", "2:8: names: this is text; expected a list"),
        ("id: a\nnames: [b, {c: d}]", "2:12: names[1]: this is a mapping; expected text"),
        ("id: a\nsome: []", "2:7: some: a list of the wrong length; expected array of length >= 1"),
        ("id: a\ninner: {name: b, size: 10}", "2:24: inner.size: this is 10; expected int <= 9"),
        ("id: a\ninner: {size: 1}", "2:8: inner: name is missing; expected name: text"),
        ("id: a\ninner: b", "2:8: inner: this is text; expected a mapping"),
        ("id: a\ninners: {k: {name: 1}}", "2:20: inners.k.name: this is 1; expected text"),
        (
            "id: a\neither: [{nam: b}]",
            "2:11: either[0].nam: unknown key; expected one of name, size; did you mean name?",
        ),
        ("id: a\nlist: 1", "2:1: list: unknown key"),
        ("id: a\npet: {lives: 1}", "2:6: pet: kind is missing; expected kind: one of cat, dog"),
        ("id: a\npet: {kind: dgo}", "2:13: pet.kind: 'dgo' is not known; expected one of cat, dog; did you mean dog?"),
        ("id: a\npet: {kind: [cat]}", "2:13: pet.kind: \"['cat']\" is not known"),
        ("id: a\npet: [cat]", "2:6: pet: this is a list; expected a mapping"),
        ("id: a\nspan: {from: 2, to: 1}", "2:7: span: the span ends before it starts"),
        ("id: a\nnumber_or_word: some", "2:17: number_or_word: this is text; expected "),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_was_expected(text: str, message: str) -> None:
    assert any(message in one for one in errors(text))


def test_what_only_describes_a_value_bounds_nothing_and_words_stand_for_a_pattern() -> None:
    class Described(msgspec.Struct):
        names: Annotated[list[str], msgspec.Meta(description="some names")] = []
        code: Annotated[str, msgspec.Meta(pattern="^[a-z]+$", extra={"expected": "small letters"})] = "a"

    assert load("names: []", "f").convert(Described).names == []
    with pytest.raises(ConfigError, match="f:1:7: code: this is text; expected small letters"):
        load("code: A", "f").convert(Described)


def test_all_errors_are_told_in_the_order_of_the_file() -> None:
    assert [
        one.split(": ")[0] for one in errors("flag: 1\ninners:\n  a: {name: 1}\n  b: {size: 0}\nxyz: 1\nttl: q")
    ] == [
        "1:1",  # id is missing
        "1:7",
        "3:13",
        "4:6",
        "4:13",
        "5:1",
        "6:6",
    ]


def test_a_key_that_is_not_text_to_the_type_is_told() -> None:
    with pytest.raises(ConfigError, match="f:1:1: blue: 'blue' is not known; expected one of red, green"):
        load("blue: 1", "f").convert(dict[Colour, int])
    assert load("red: 1", "f").convert(dict[Colour, int]) == {Colour.RED: 1}


# -- secrets -----------------------------------------------------------------------------------------------------

CANARY = "hunter2-canary"


@pytest.mark.parametrize(
    "text",
    [
        f"token: {CANARY}",
        f"token: [{CANARY}]",
        f"token: {{value: {CANARY}}}",
        f"token: {{env: {CANARY}, file: {CANARY}}}",
        f"token: {{env: [{CANARY}]}}",
        f"ratio: {CANARY}",
        f"flag: {CANARY}",
        f"names: {CANARY}",
        f"inner: {CANARY}",
        f"number_or_word: {CANARY}",
    ],
)
def test_text_in_the_wrong_place_is_not_repeated(text: str) -> None:
    for one in errors(f"id: a\n{text}", secrets=lambda _, name: Secret(name)):
        assert CANARY not in one
        assert one.startswith("2:")


def test_a_secret_comes_from_where_the_caller_reads_it() -> None:
    asked = []

    def secrets(kind: str, name: str) -> Secret:
        asked.append((kind, name))
        return Secret(CANARY)

    found = read("id: a\ntoken: {file: /run/token}", secrets=secrets)
    assert asked == [("file", "/run/token")]
    assert found.token is not None
    assert found.token.reveal() == CANARY
    assert CANARY not in repr(found)


@pytest.mark.parametrize(
    "error", [KeyError("the variable TOKEN is not set"), ValueError("it is empty"), FileNotFoundError("no such file")]
)
def test_a_secret_that_cannot_be_read_is_an_error_at_its_place(error: Exception) -> None:
    def secrets(_: str, __: str) -> Secret:
        raise error

    assert errors("id: a\ntoken: {env: TOKEN}", secrets=secrets) == [f"2:8: token: {error.args[0]}"]


def test_without_a_reader_a_secret_is_refused() -> None:
    assert errors("id: a\ntoken: {env: TOKEN}") == ["2:8: token: no secret can be read here"]


def test_a_hook_reads_a_type_of_the_caller_s() -> None:
    class Even(int):
        pass

    def even(value: Any) -> Even:
        if not isinstance(value, int) or value % 2:
            raise ValueError("not even")
        return Even(value)

    class Holder(msgspec.Struct):
        number: Even

    hooks = {Even: even}
    assert load("number: 2", "f").convert(Holder, hooks=hooks).number == 2
    with pytest.raises(ConfigError, match="f:1:9: number: not even"):
        load("number: 3", "f").convert(Holder, hooks=hooks)


# -- parts and places --------------------------------------------------------------------------------------------


@pytest.fixture
def document() -> Located:
    return load("a:\n  - b: 1\n    c: two\nd: {e: f}\n", "f")


def test_each_value_and_key_has_its_place(document: Located) -> None:
    assert document.mark() == Mark(1, 1)
    assert document.mark("a", 0, "c") == Mark(3, 8)
    assert document.mark("a", 0, "c", at_key=True) == Mark(3, 5)
    assert document.mark("a", 0) == Mark(2, 5)
    assert document.mark("a", 7, "c") == Mark(2, 3)  # the nearest that exists
    assert document.mark("d", "e", "x") == Mark(4, 8)


def test_a_part_is_a_document_of_its_own_that_knows_where_it_stands(document: Located) -> None:
    part = document.at("a", 0)
    assert part.data == {"b": 1, "c": "two"}
    with pytest.raises(ConfigError, match=r"f:2:8: a\[0\].b: this is 1; expected text"):
        part.convert(dict[str, str])
    with pytest.raises(KeyError, match=r"a\[1\]"):
        document.at("a", 1)
    with pytest.raises(KeyError, match=r"d\.e\.x"):
        document.at("d", "e", "x")


def test_keys_that_somebody_else_reads_are_left_out(document: Located) -> None:
    assert document.without("a", "zzz").data == {"d": {"e": "f"}}
    assert document.at("a").without("b").data == [{"b": 1, "c": "two"}]


def test_an_error_can_be_made_for_any_place(document: Located) -> None:
    error = document.at("d").error(("e",), "wrong", expected="right", suggestion="good", at_key=True)
    assert str(error) == "f:4:5: d.e: wrong; expected right; did you mean good?"


LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3)
KEYS = st.sampled_from(["id", "ttl", "pet", "kind", "inner", "name", "either", "span", "from"])


@given(
    data=st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_data_is_a_value_or_an_error(data: Any) -> None:
    located = load(msgspec.json.encode(data), "f")
    try:
        value = located.convert(Everything)
    except ConfigError:
        value = None
    try:
        msgspec.convert(data, Inner)
        is_inner = True
    except msgspec.ValidationError:
        is_inner = False
    assert value is None or isinstance(value, Everything)
    if is_inner and set(data) <= {"name", "size"}:
        assert located.convert(Inner) == msgspec.convert(data, Inner)
