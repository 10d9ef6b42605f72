"""The protocol by its bytes: building, the first packet, and walking a stream cut anywhere."""

import hashlib
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_messages import ProtocolViolation

NAMES = st.binary(max_size=6).filter(lambda name: 0 not in name)
TEXTS = st.one_of(
    st.binary(max_size=40).filter(lambda text: 0 not in text),
    st.integers(pg.TEXT_MAX - 3, pg.TEXT_MAX + 3).map(lambda size: b"x" * size),
)


def query(text: bytes) -> bytes:
    return pg.message(b"Q", text + b"\0")


def parse(name: bytes, text: bytes) -> bytes:
    return pg.message(b"P", name + b"\0" + text + b"\0" + pack(">h", 0))


def bind(portal: bytes, statement: bytes, *values: bytes | None) -> bytes:
    body = portal + b"\0" + statement + b"\0" + pack(">hh", 0, len(values))
    for value in values:
        body += pack(">i", -1) if value is None else pack(">i", len(value)) + value
    return pg.message(b"B", body + pack(">h", 0))


def execute(portal: bytes) -> bytes:
    return pg.message(b"E", portal + b"\0" + pack(">i", 0))


CLIENT = st.one_of(
    st.builds(query, TEXTS),
    st.builds(parse, NAMES, TEXTS),
    st.builds(bind, NAMES, NAMES, st.one_of(st.none(), st.binary(max_size=9))),
    st.builds(execute, NAMES),
    st.builds(lambda data: pg.message(b"d", data), st.binary(max_size=30)),
    st.builds(lambda name: pg.message(b"C", b"S" + name + b"\0"), NAMES),
    st.sampled_from([pg.message(b"S"), pg.message(b"H"), pg.message(b"c"), pg.message(b"D", b"P\0")]),
    st.just(pg.message(b"F", pack(">ih", 1, 0))),
)
SERVER = st.one_of(
    st.builds(lambda data: pg.message(b"D", data), st.binary(max_size=60)),
    st.builds(lambda tag: pg.message(b"C", tag + b"\0"), st.sampled_from([b"SELECT 3", b"INSERT 0 1", b"BEGIN"])),
    st.sampled_from([pg.message(b"Z", b"I"), pg.message(b"Z", b"T"), pg.message(b"s"), pg.message(b"I")]),
    st.builds(lambda code: pg.report(severity="ERROR", code=code, text="no"), st.sampled_from(["42501", "57014"])),
    st.builds(lambda data: pg.message(b"A", data), st.binary(max_size=20)),
)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts})
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@settings(deadline=None)
@given(st.lists(CLIENT, max_size=6), st.lists(st.integers(0, 200_000), max_size=12))
def test_any_split_of_a_clients_stream_gives_the_same_events(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    whole = pg.ClientWalker(wants_values=True).feed(stream)
    walker = pg.ClientWalker(wants_values=True)
    assert [event for piece in pieces(stream, cuts) for event in walker.feed(piece)] == whole
    # and every message that is told is there: an oracle that does not walk
    told = [message for message in messages if message[:1] in b"QPBECFSX"]
    assert len(whole) == len(told)


@given(st.lists(CLIENT.filter(lambda message: len(message) < 300), max_size=6))
def test_a_byte_at_a_time_is_a_split_too(messages: list[bytes]) -> None:
    stream = b"".join(messages)
    walker = pg.ClientWalker()
    assert [e for byte in stream for e in walker.feed(bytes([byte]))] == pg.ClientWalker().feed(stream)


RUN_UNNAMED = st.builds(
    lambda statement, more, tail: b"".join([bind(b"", statement, None), more, tail]),
    st.one_of(NAMES, st.just(b"")),
    st.sampled_from([b"", pg.message(b"D", b"P\0"), pg.message(b"D", b"P"), pg.message(b"H")]),
    st.sampled_from(
        [execute(b"") + pg.message(b"S"), pg.message(b"S"), execute(b""), execute(b"p") + pg.message(b"S")]
    ),
)


@settings(deadline=None)
@given(st.one_of(RUN_UNNAMED, st.builds(query, st.binary(max_size=30)), st.binary(max_size=40)), st.booleans())
def test_the_short_way_tells_what_the_long_way_tells(data: bytes, wants_values: bool) -> None:  # noqa: FBT001  a case
    def told(pieces_: list[bytes]) -> tuple[list[pg.ClientEvent], str]:
        walker, events = pg.ClientWalker(wants_values=wants_values), list[pg.ClientEvent]()
        for piece in pieces_:
            try:
                events += walker.feed(piece)
            except ProtocolViolation:
                return events, "violation"
        return events, ""

    short, long = told([data]), told([data[:1], data[1:]])
    # a violation behind good messages of one buffer takes those with it: nothing of that buffer is passed on
    assert short == long or short[1] == long[1] == "violation"


ROWS = st.builds(
    lambda length, count, kind: pg.message(kind, b"x" * length) * count,
    st.integers(0, 20), st.integers(1, 90), st.sampled_from([b"D", b"d"]),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.one_of(ROWS, SERVER), max_size=6), st.lists(st.integers(0, 4000), max_size=6))
def test_a_run_of_equal_rows_is_passed_over_as_one_by_one(messages: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(messages)
    slow, fast = pg.ServerWalker(), pg.ServerWalker()
    for piece in pieces(stream, cuts):
        expected = [event for byte in piece for event in slow.feed(bytes([byte]))]
        assert fast.feed(piece) == expected
        assert (fast.left, fast._head) == (slow.left, slow._head)


@given(st.integers(1, 40), st.integers(1, 300), st.integers(0, 4), st.integers(0, 255))
def test_a_run_ends_at_the_first_header_that_differs(length: int, count: int, place: int, other: int) -> None:
    row = pg.message(b"D", b"D\0\0" * length)
    odd = bytearray(row)
    odd[place] = other
    tail = bytes(odd) + row * 9
    stop = pg._past_run(row * count + tail, 0, len(row))
    same = bytes(odd) == row
    assert stop == (count + 10 if same else count) * len(row)


@settings(deadline=None)
@given(st.lists(SERVER, max_size=8), st.lists(st.integers(0, 2000), max_size=12))
def test_any_split_of_a_servers_stream_gives_the_same_events_and_boundaries(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(messages)
    borders = {sum(map(len, messages[:count])) for count in range(len(messages) + 1)}
    walker, seen, events = pg.ServerWalker(), 0, []
    for piece in pieces(stream, cuts):
        expected_rest = min((border for border in borders if border >= seen), default=seen) - seen
        assert walker.stop_of_current(piece) == (0 if walker.is_at_boundary else min(len(piece), expected_rest)) or (
            walker._head
        )
        events += walker.feed(piece)
        seen += len(piece)
        assert walker.is_at_boundary == (seen in borders)
    assert events == pg.ServerWalker().feed(stream)


@given(st.lists(SERVER, max_size=6), st.lists(st.integers(0, 2000), max_size=8))
def test_the_reader_gives_whole_messages_whatever_the_split(messages: list[bytes], cuts: list[int]) -> None:
    reader = pg.MessageReader()
    got = [m for piece in pieces(b"".join(messages), cuts) for m in reader.feed(piece)]
    assert got == [(message[0], message[5:]) for message in messages]
    assert reader.rest == b""


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_events_or_a_violation_and_nothing_else(data: bytes) -> None:
    for feed in (pg.ClientWalker(wants_values=True).feed, pg.ServerWalker().feed, pg.MessageReader().feed):
        try:
            feed(data)
        except ProtocolViolation:
            continue


@given(st.binary(min_size=8, max_size=200))
def test_an_arbitrary_first_packet_is_understood_or_a_violation(data: bytes) -> None:
    try:
        pg.read_first_packet(data)
    except ProtocolViolation:
        return


def test_a_long_text_is_kept_cut_with_its_size_and_the_hash_of_its_message() -> None:
    text = b"select '" + b"x" * (2 * pg.TEXT_MAX) + b"'"
    for stream in (query(text), parse(b"p1", text)):
        (event,) = pg.ClientWalker().feed(stream)
        assert isinstance(event, pg.Query | pg.Parse)
        assert text.startswith(event.sql.kept)
        assert pg.TEXT_MAX - 10 <= len(event.sql.kept) <= pg.TEXT_MAX
        assert event.sql.sha256 == hashlib.sha256(stream[5:]).hexdigest()


@pytest.mark.parametrize(
    "stream",
    [
        pg.message(b"p", b"secret\0"),  # a password after the login
        pg.message(b"R", b"\0\0\0\0"),  # a server's message
        b"Q\0\0\0\3",  # shorter than its own length word
        b"Q\x7f\xff\xff\xff",  # longer than PostgreSQL takes
        pg.message(b"S", b"x"),  # Sync has no body
        pg.message(b"X", b"x"),
        pg.message(b"Q", b"select 1"),  # no end
        pg.message(b"B", b"portal"),
        pg.message(b"C", b"S"),
        b"\0\0\0\x08\x04\xd2\x16\x2f",  # an SSLRequest in mid-session
    ],
)
def test_what_postgresql_would_not_take_is_a_violation(stream: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        pg.ClientWalker().feed(stream)


def test_a_value_that_runs_past_its_message_is_a_violation() -> None:
    body = b"\0\0" + pack(">hhi", 0, 1, 99) + b"x"
    with pytest.raises(ProtocolViolation):
        pg.ClientWalker(wants_values=True).feed(pg.message(b"B", body))


def test_bound_values_are_told_only_when_asked_for() -> None:
    stream = bind(b"", b"s1", b"42", None)
    assert pg.ClientWalker(wants_values=True).feed(stream) == [pg.Bind(b"", b"s1", (b"42", None))]
    assert pg.ClientWalker().feed(stream) == [pg.Bind(b"", b"s1", None)]


@pytest.mark.parametrize(
    ("packet", "meaning"),
    [
        (pg.ssl_request(), pg.SslRequest()),
        (pack(">ii", 8, pg.GSSENC_REQUEST), pg.GssEncRequest()),
        (pg.cancel_request(7, b"abcd"), pg.CancelRequest(7, b"abcd")),
        (
            pg.startup_message({"user": "alice", "database": "orders"}),
            pg.Startup(0, {"user": "alice", "database": "orders"}),
        ),
    ],
)
def test_first_packets(packet: bytes, meaning: pg.FirstPacket) -> None:
    assert pg.first_packet_length(packet) == len(packet)
    assert pg.read_first_packet(packet) == meaning


@pytest.mark.parametrize(
    "body",
    [
        b"user\0alice\0",  # no end
        b"user\0alice\0user\0root\0\0",  # twice: which one would the server take?
        b"user\0\0",  # a name without a value
        b"\0x\0\0",
        b"user\0\xff\xfe\0\0",
    ],
)
def test_startup_parameters_that_are_not_clear_are_a_violation(body: bytes) -> None:
    packet = pack(">ii", len(body) + 8, pg.PROTOCOL_3) + body
    with pytest.raises(ProtocolViolation):
        pg.read_first_packet(packet)


@pytest.mark.parametrize(
    "packet", [pack(">iii", 12, pg.SSL_REQUEST, 0), pack(">ii", 8, pg.CANCEL_REQUEST), pack(">ii", 8, 2 << 16)]
)
def test_other_first_packets_are_a_violation(packet: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        pg.read_first_packet(packet)


@pytest.mark.parametrize("head", [pack(">i", 7), pack(">i", pg.STARTUP_MAX + 1), b"GET "])
def test_a_first_packet_out_of_bounds_is_a_violation(head: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        pg.first_packet_length(head)


def test_a_text_cannot_end_a_field_early() -> None:
    said = pg.report(severity="FATAL", code="57P01", text="a\0M forged", detail="d", hint="h")
    assert pg.read_fields(said[5:]) == {
        "S": "FATAL", "V": "FATAL", "C": "57P01", "M": "a�M forged", "D": "d", "H": "h",
    }  # fmt: skip
