"""From asks and answers to one record for each statement."""

from hypothesis import given
from hypothesis import strategies as st

from tests.wire.test_pg_messages import bind, execute, parse, pieces, query
from watchkey.wire import pg_messages as pg
from watchkey.wire.pg_messages import (
    Bind,
    ClientEvent,
    CloseName,
    Completed,
    Execute,
    Failed,
    FunctionCall,
    Parse,
    Query,
    Ready,
    ServerEvent,
    SqlText,
    Suspended,
    Sync,
)  # fmt: skip
from watchkey.wire.pg_statements import PREPARED_BYTES_MAX, Outcome, StatementLedger, StatementRecord


def sql(text: str) -> SqlText:
    return SqlText(text.encode(), len(text))


def talk(*turns: ClientEvent | ServerEvent) -> list[tuple[str, str, int | None, str]]:
    ledger, out = StatementLedger(), []
    for tick, turn in enumerate(turns):
        if isinstance(turn, ServerEvent):
            out += ledger.answered([turn], float(tick))
        else:
            ledger.asked([turn], float(tick))
    return [summary(record) for record in out + ledger.abandoned(99.0)]


def summary(record: StatementRecord) -> tuple[str, str, int | None, str]:
    return (record.sql.kept.decode(), record.outcome, record.rows, record.sqlstate)


def test_a_simple_query_is_over_when_the_server_is_ready() -> None:
    assert talk(Query(sql("select 1")), Completed("SELECT 1"), Ready("I")) == [("select 1", "done", 1, "")]


def test_several_statements_in_one_query_add_up() -> None:
    text = "insert a; insert b"
    turns = (Query(sql(text)), Completed("INSERT 0 2"), Completed("INSERT 0 3"), Ready("I"))
    assert talk(*turns) == [(text, "done", 5, "")]


def test_a_failed_query_carries_its_sqlstate() -> None:
    assert talk(Query(sql("x")), Failed("42601", "syntax"), Ready("E")) == [("x", "failed", None, "42601")]


def test_the_extended_protocol_finds_the_text_by_its_names() -> None:
    assert talk(
        Parse(b"s", sql("select $1")), Bind(b"p", b"s", (b"7",)), Execute(b"p"), Sync(),
        Completed("SELECT 1"), Ready("I"),
        Bind(b"", b"s", None), Execute(b""), Sync(), Suspended(), Ready("I"),
    ) == [("select $1", "done", 1, ""), ("select $1", "suspended", None, "")]  # fmt: skip


def test_an_error_in_a_pipeline_skips_to_its_sync_and_no_further() -> None:
    assert talk(
        Parse(b"", sql("a")), Bind(b"", b"", None), Execute(b""),
        Parse(b"", sql("b")), Bind(b"", b"", None), Execute(b""),
        Parse(b"", sql("c")), Bind(b"", b"", None), Execute(b""), Sync(),
        Parse(b"", sql("d")), Bind(b"", b"", None), Execute(b""), Sync(),
        Completed("SELECT 1"), Failed("23505", "twice"), Ready("I"), Completed("SELECT 4"), Ready("I"),
    ) == [("a", "done", 1, ""), ("b", "failed", None, "23505"), ("c", "skipped", None, ""),
          ("d", "done", 4, "")]  # fmt: skip


def test_a_statement_that_cannot_even_be_parsed_is_recorded() -> None:
    assert talk(Parse(b"", sql("selekt")), Sync(), Failed("42601", "syntax"), Ready("I")) == [
        ("selekt", "failed", None, "42601")
    ]


def test_a_function_call_is_a_statement() -> None:
    assert talk(FunctionCall(715), Ready("I")) == [("function call 715", "done", None, "")]


def test_what_was_never_answered_is_unknown() -> None:
    assert talk(Query(sql("select pg_sleep(9)"))) == [("select pg_sleep(9)", "unknown", None, "")]


def test_a_cursor_that_was_declared_in_sql_is_named_as_such() -> None:
    assert talk(Execute(b"c1"), Sync(), Completed("SELECT 2"), Ready("T")) == [
        ("(a cursor of this session)", "done", 2, "")
    ]


def test_a_closed_name_is_forgotten() -> None:
    (record,) = talk(
        Parse(b"s", sql("old")), CloseName(ord("S"), b"s"), Bind(b"", b"s", None), Execute(b""), Sync(),
        Failed("26000", "no such statement"), Ready("I"),
    )  # fmt: skip
    assert record == ("", "failed", None, "26000")


def test_the_state_of_the_transaction_is_known() -> None:
    ledger = StatementLedger()
    ledger.answered([Ready("T")], 0.0)
    assert ledger.status == "T"


def test_times_are_those_of_the_ask_and_the_answer() -> None:
    ledger = StatementLedger()
    ledger.asked([Query(sql("x"))], 1.0)
    assert ledger.is_busy
    assert ledger.running == sql("x")
    (record,) = ledger.answered([Completed("SELECT 0"), Ready("I")], 3.5)
    assert (record.asked_at, record.ended_at, record.outcome) == (1.0, 3.5, Outcome.DONE)
    assert not ledger.is_busy


def test_prepared_texts_are_bounded() -> None:
    ledger = StatementLedger()
    for number in range(200):
        text = b"x" * 60_000
        ledger.asked([Parse(str(number).encode(), SqlText(text, len(text)))], 0.0)
    kept = sum(len(known.kept) for known in ledger._prepared.values())
    assert kept <= PREPARED_BYTES_MAX
    assert len(ledger._prepared) == 200


def test_an_answer_out_of_the_blue_is_no_statement() -> None:
    assert talk(Completed("SELECT 1"), Ready("I"), Suspended(), Failed("57P01", "bye")) == []


TURNS = st.sampled_from(
    [
        (query(b"SELECT 1"), pg.message(b"D", b"row") * 40 + pg.message(b"C", b"SELECT 40\0") + pg.message(b"Z", b"I")),
        (query(b"x"), pg.report(severity="ERROR", code="42601", text="no") + pg.message(b"Z", b"E")),
        (
            parse(b"s", b"SELECT $1") + bind(b"", b"s", b"7") + execute(b"") + pg.message(b"S"),
            pg.message(b"1") + pg.message(b"2") + pg.message(b"C", b"SELECT 1\0") + pg.message(b"Z", b"T"),
        ),
        (
            bind(b"", b"s", None) + pg.message(b"D", b"P\0") + execute(b"") + pg.message(b"S"),
            pg.message(b"2") + pg.message(b"s") + pg.message(b"Z", b"I"),
        ),
        (query(b""), pg.message(b"I") + pg.message(b"Z", b"I")),
    ]
)


@given(st.lists(st.tuples(TURNS, st.lists(st.integers(0, 500), max_size=4), st.lists(st.integers(0, 500), max_size=4))))
def test_any_split_of_a_conversation_gives_the_same_records(
    turns: list[tuple[tuple[bytes, bytes], list[int], list[int]]],
) -> None:
    def recorded(*, is_split: bool) -> list[StatementRecord]:
        client, server, ledger, out = pg.ClientWalker(), pg.ServerWalker(), StatementLedger(), list[StatementRecord]()
        for tick, ((ask, answer), ask_cuts, answer_cuts) in enumerate(turns):
            for piece in pieces(ask, ask_cuts) if is_split else [ask]:
                ledger.asked(client.feed(piece), float(tick))
            for piece in pieces(answer, answer_cuts) if is_split else [answer]:
                out += ledger.answered(server.feed(piece), float(tick) + 0.5)
        return out

    assert recorded(is_split=True) == recorded(is_split=False)
    assert len(recorded(is_split=True)) == len(turns)
