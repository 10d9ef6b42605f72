"""Whatever bytes come, the wire code holds; `make fuzz-wire` goes on where this stops."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.wire.anything import hold
from tests.wire.test_pg_messages import bind, execute, parse, query
from watchkey.wire import pg_messages as pg

GOOD = [
    query(b"SELECT 1"), parse(b"s", b"SELECT $1"), bind(b"", b"s", b"7"), execute(b""), pg.message(b"S"),
    pg.message(b"d", b"row"), pg.message(b"C", b"SELECT 1\0"), pg.message(b"Z", b"I"), pg.message(b"1"),
    pg.report(severity="ERROR", code="42601", text="no"), pg.startup_message({"user": "a", "options": "-c jit=off"}),
    pg.ssl_request(), pg.cancel_request(1, b"abcd"), b"r=nnnnnnnnnnnnnnnnnnnnnnnnxx,s=AAAA,i=4096",
    pg.message(b"p", b"x\0"),
]  # fmt: skip


MIXED = st.lists(st.one_of(st.sampled_from(GOOD), st.binary(max_size=12)), max_size=8).map(b"".join)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.tuples(st.binary(min_size=1, max_size=1), MIXED).map(b"".join)))
@example(b"\0" + b"".join(GOOD))
def test_anything_at_all(data: bytes) -> None:
    hold(data)
