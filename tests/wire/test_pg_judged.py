"""The two streams of a judged session: nothing passes unasked, any split is the same, only our errors are reworded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_judged import (
    HELD_MAX,
    AnsweredStream,
    JudgedStream,
    Piece,
    Question,
    denial,
    failing,
    reads_as_written,
)

QUERY = pg.message(b"Q", b"SELECT 1\0")
LONG = pg.message(b"Q", b"x" * (HELD_MAX + 500) + b"\0")
CLIENT = [
    QUERY, pg.message(b"P", b"s\0SELECT $1\0\0\0"), pg.message(b"D", b"Ss\0"), pg.message(b"B", b"\0s\0" + bytes(6)),
    pg.message(b"E", bytes(5)), pg.message(b"S"), pg.message(b"d", b"row"), pg.message(b"c"), LONG,
    pg.message(b"F", bytes(8)), pg.message(b"X"),
]  # fmt: skip
MARKER = "wk_denied_" + "a" * 32


def run(chunks: list[bytes], *, is_passed: bool) -> tuple[bytes, bytes, list[Question]]:
    stream, passed, refused, asked = JudgedStream(), b"", b"", []
    for chunk in chunks:
        stream.feed(chunk)
        while (thing := stream.take()) is not None:
            if isinstance(thing, Question):
                assert stream.take() is None  # it waits
                asked.append(thing)
                thing = stream.settle(is_passed=is_passed)
            if thing.is_passed:
                passed += thing.data
            else:
                refused += thing.data
    return passed, refused, asked


@given(st.lists(st.sampled_from(CLIENT), max_size=6), st.data(), st.booleans())
def test_any_split_gives_the_same_and_only_what_is_asked_about_can_be_refused(
    messages: list[bytes],
    data: st.DataObject,
    is_passed: bool,  # noqa: FBT001  drawn
) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    passed, refused, asked = run(chunks, is_passed=is_passed)
    wanted = [one for one in messages if one[:1] in {b"Q", b"P", b"B", b"F"}]
    assert [question.kind for question in asked] == [one[0] for one in wanted]
    assert [question.is_whole for question in asked] == [one is not LONG for one in wanted]
    assert refused == (b"" if is_passed else b"".join(wanted))
    assert passed == (stream if is_passed else b"".join(one for one in messages if one not in wanted))


def test_a_message_that_makes_no_sense_is_left_to_who_walks_it() -> None:
    passed, _, asked = run([b"Q\0\0\0\1rest"], is_passed=True)
    assert (passed, asked) == (b"Q\0\0\0\1rest", [])


def test_nothing_is_settled_that_was_not_asked() -> None:
    with pytest.raises(ValueError, match="nothing"):
        JudgedStream().settle(is_passed=True)


def test_what_is_still_to_come_is_counted() -> None:
    stream = JudgedStream()
    stream.feed(b"".join([CLIENT[4], CLIENT[0]]))
    assert isinstance(stream.take(), Piece)
    assert (stream.executed, stream.ready_wanted) == (True, 0)
    stream.take()
    stream.settle(is_passed=False)
    assert (stream.executed, stream.ready_wanted) == (False, 1)


OURS = pg.report(severity="ERROR", code="42P01", text=f'relation "{MARKER}" does not exist')
THEIRS = pg.report(severity="ERROR", code="42P01", text='relation "x" does not exist')
SERVER = [
    OURS, THEIRS, pg.message(b"D", b"y" * 300), pg.message(b"Z", b"I"),
    pg.message(b"S", b"client_encoding\0LATIN1\0"),
]  # fmt: skip


@given(st.lists(st.sampled_from(SERVER), max_size=6), st.data())
def test_only_our_error_is_reworded_however_it_comes(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    answered = AnsweredStream({})
    said = denial("DELETE on orders is refused", "ask")
    answered.deny(MARKER, said)
    out = b"".join(answered.feed(stream[a:b]) for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True))
    assert out == stream.replace(OURS, said, 1)
    assert answered.ready == messages.count(SERVER[3])
    assert answered.reported.get("client_encoding") == ("LATIN1" if SERVER[4] in messages else None)


def test_denials_that_were_never_looked_at_are_forgotten() -> None:
    answered = AnsweredStream({})
    answered.deny(MARKER, b"first")
    for number in range(1024):
        answered.deny(f"wk_denied_{number:032x}", b"later")
    assert answered.feed(OURS) == OURS


@pytest.mark.parametrize(("kind", "answer"), [("Q", b"Q"), ("F", b"Q"), ("P", b"P"), ("B", b"P")])
def test_what_fails_in_its_place_is_never_under_the_clients_own_name(kind: str, answer: bytes) -> None:
    message = failing(ord(kind), MARKER)
    (event,) = pg.ClientWalker().feed(message)
    assert message[:1] == answer
    assert isinstance(event, pg.Query | pg.Parse)
    assert MARKER.encode() in event.sql.kept
    assert not isinstance(event, pg.Parse) or event.name == b"watchkey_denied"


USUAL = {"standard_conforming_strings": "on", "client_encoding": "UTF8"}


@pytest.mark.parametrize(
    ("text", "reported", "is_settled", "expected"),
    [
        (b"SELECT 1", {}, False, True),
        (b"SELECT '\\'", USUAL, True, True), (b"SELECT '\\'", USUAL, False, False),
        (b"SELECT '\\'", {**USUAL, "standard_conforming_strings": "off"}, True, False),
        ("SELECT 'ä'".encode(), USUAL, True, True), ("SELECT 'ä'".encode(), USUAL, False, False),
        ("SELECT 'ä'".encode(), {**USUAL, "client_encoding": "SJIS"}, True, False),
        ("SELECT 'ä'".encode(), {}, True, False),
    ],
)  # fmt: skip
def test_text_that_a_session_could_have_the_server_read_otherwise(
    text: bytes,
    reported: dict[str, str],
    is_settled: bool,  # noqa: FBT001  parameters
    expected: bool,  # noqa: FBT001  parameters
) -> None:
    assert reads_as_written(text, reported, is_settled=is_settled) is expected
