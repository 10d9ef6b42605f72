"""From asks and answers to one record for each statement."""

import pytest
from hypothesis import given, settings
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
    Took,
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
        Took(), Took(), Failed("26000", "no such statement"), Ready("I"),
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


@pytest.mark.parametrize("is_answered", [True, False])
def test_prepared_texts_are_bounded_and_none_is_forgotten_before_it_is_recorded(*, is_answered: bool) -> None:
    ledger, out = StatementLedger(), list[StatementRecord]()
    for number in range(200):
        text = f"{number} ".encode() * 20_000
        ledger.asked([Parse(str(number).encode(), SqlText(text, len(text)))], 0.0)
        if is_answered:
            out += ledger.answered([Took()], 0.0)
    waiting = sum(len(item.sql.kept) for item in ledger._pending if isinstance(item, Parse))
    assert waiting + sum(len(known.kept) for known in ledger._prepared.values()) <= 2 * PREPARED_BYTES_MAX
    out += ledger.answered([Took()] * 200, 0.0)
    assert len(ledger._prepared) == 200
    whole = {record.sql.sha256: record.sql for record in out if record.outcome is Outcome.PREPARED}
    for name, known in ledger._prepared.items():
        if known.sha256:
            full = whole[known.sha256].kept
            assert full == name.split()[0] + b" " + full[len(name) + 1 :]
            assert full.startswith(known.kept)
            assert len(full) == known.size


def test_many_portals_are_bounded_and_their_texts_recorded() -> None:
    ledger = StatementLedger()
    text = "select " + "x" * 300
    ledger.asked([Parse(b"", sql(text)), *(Bind(str(number).encode(), b"", None) for number in range(2000))], 0.0)
    out = ledger.answered([Took()] * 2001, 0.0)
    assert len(ledger._portals) <= 1024
    assert out[0].sql.kept.decode() == text


# --- what a name stands for is what the server says, whatever was asked for --------------------------------------


def test_a_parse_that_is_refused_changes_no_name() -> None:
    """A name is taken until it is closed; the record must not show the text of the refused one."""
    assert talk(
        Parse(b"s", sql("the one that runs")), Sync(), Took(), Ready("I"),
        Parse(b"s", sql("a harmless one")), Sync(), Failed("42P05", "exists"), Ready("I"),
        Bind(b"", b"s", None), Execute(b""), Sync(), Took(), Completed("DELETE 7"), Ready("I"),
    ) == [("a harmless one", "failed", None, "42P05"), ("the one that runs", "done", 7, "")]  # fmt: skip


def test_what_is_skipped_after_an_error_changes_no_name() -> None:
    error = (Bind(b"", b"nothing", None), CloseName(ord("S"), b"s"), Parse(b"s", sql("a harmless one")), Sync())
    run = (Bind(b"", b"s", None), Execute(b""), Sync())
    assert talk(
        Parse(b"s", sql("the one that runs")), Sync(), Took(), Ready("I"),
        *error, *run, Failed("26000", "no such"), Ready("I"), Took(), Completed("DELETE 7"), Ready("I"),
    )[1:] == [("the one that runs", "done", 7, "")]  # fmt: skip


def test_a_portal_that_is_there_already_keeps_its_statement() -> None:
    assert talk(
        Query(sql("begin")), Completed("BEGIN"), Ready("T"),
        Parse(b"", sql("the one that runs")), Bind(b"p", b"", None), Sync(), Took(), Took(), Ready("T"),
        Query(sql("savepoint a")), Completed("SAVEPOINT"), Ready("T"),
        Parse(b"", sql("a harmless one")), Bind(b"p", b"", None), Sync(), Took(), Failed("42P03", "exists"), Ready("E"),
        Query(sql("rollback to a")), Completed("ROLLBACK"), Ready("T"),
        Execute(b"p"), Sync(), Completed("DELETE 7"), Ready("T"),
    )[-1] == ("the one that runs", "done", 7, "")  # fmt: skip


def test_a_query_that_the_server_skips_is_recorded_as_skipped_and_the_next_ones_right() -> None:
    assert talk(
        Parse(b"", sql("bad")), Failed("42601", "syntax"),
        Query(sql("never run")), Execute(b""), Sync(), Ready("I"),
        Query(sql("run")), Completed("SELECT 1"), Ready("I"),
    ) == [("bad", "failed", None, "42601"), ("never run", "skipped", None, ""),
          ("(a cursor of this session)", "skipped", None, ""), ("run", "done", 1, "")]  # fmt: skip


def test_an_error_when_the_transaction_ends_is_recorded() -> None:
    assert talk(
        Parse(b"s", sql("insert")), Sync(), Took(), Ready("I"),
        Bind(b"", b"s", None), Execute(b""), Sync(), Took(), Completed("INSERT 0 1"),
        Failed("23503", "late"), Ready("I"),
    ) == [("insert", "done", 1, ""), ("insert", "failed", None, "23503")]  # fmt: skip


def test_a_session_that_ends_without_an_answer_shows_both_texts_that_a_name_may_have() -> None:
    (*_, last) = talk(
        Parse(b"s", sql("the one that runs")), Sync(), Took(), Ready("I"),
        Parse(b"s", sql("a harmless one")), Sync(), Bind(b"", b"s", None), Execute(b""),
    )  # fmt: skip
    assert all(text in last[0] for text in ("the one that runs", "a harmless one"))


class TinyServer:
    """PostgreSQL's rules for names and errors, and nothing else. `ran` is what was really run."""

    def __init__(self) -> None:
        self.statements: dict[bytes, bytes] = {}
        self.portals: dict[bytes, bytes] = {}
        self.is_skipping = False
        self.ran: list[bytes] = []

    def take(self, event: ClientEvent) -> list[ServerEvent]:
        if isinstance(event, Sync):
            self.is_skipping = False
            self.portals.clear()
            return [Ready("I")]
        if self.is_skipping:
            return []
        if isinstance(event, Query):
            failed = b"bad" in event.sql.kept
            if not failed:
                self.ran.append(event.sql.kept)
            self.portals.clear()  # they end with the transaction, and this is one of its own
            return [Failed("XX000", "bad") if failed else Completed("SELECT 1"), Ready("I")]
        answer = self._extended(event)
        self.is_skipping = isinstance(answer, Failed)
        return [answer]

    def _extended(self, event: ClientEvent) -> ServerEvent:
        match event:
            case Parse(name, text) if b"bad" not in text.kept and (not name or name not in self.statements):
                self.statements[name] = text.kept
            case Bind(portal, statement) if statement in self.statements and (not portal or portal not in self.portals):
                self.portals[portal] = self.statements[statement]
            case CloseName(kind, name):
                (self.portals if kind == ord("P") else self.statements).pop(name, None)
            case Execute(portal) if portal in self.portals:
                self.ran.append(self.portals[portal])
                return Completed("SELECT 1")
            case _:
                return Failed("XX000", "no")
        return Took()


NAMES = st.sampled_from([b"", b"a"])
TEXTS = st.integers(0, 9).map(lambda n: SqlText(f"{'bad' if n > 8 else 'text'} {n}".encode(), 6))
PARSES, BINDS, SYNCS = st.builds(Parse, NAMES, TEXTS), st.builds(Bind, NAMES, NAMES, st.none()), st.just(Sync())
STEPS = st.one_of(
    st.tuples(PARSES),
    st.tuples(PARSES, SYNCS),
    st.tuples(BINDS),
    st.tuples(NAMES, NAMES).map(lambda names: (Bind(names[0], names[1], None), Execute(names[0]), Sync())),
    st.tuples(st.builds(Execute, NAMES)),
    st.tuples(st.builds(CloseName, st.sampled_from([ord("S"), ord("P")]), NAMES)),
    st.tuples(st.builds(Query, TEXTS)),
    st.tuples(SYNCS),
)


@settings(max_examples=500)
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=20))
def test_the_records_of_what_is_done_are_what_the_server_ran(
    turns: list[tuple[tuple[ClientEvent, ...], bool]],
) -> None:
    """The answers come at once or any time later; the names and errors are whatever they are."""
    server, ledger, waiting, out = TinyServer(), StatementLedger(), list[ServerEvent](), list[StatementRecord]()
    for events, is_answered in [*turns, ((Sync(),), True)]:
        for event in events:
            ledger.asked([event], 0.0)
            waiting += server.take(event)
        if is_answered:
            out += ledger.answered(waiting, 0.0)
            waiting = []
    assert [record.sql.kept for record in out if record.outcome is Outcome.DONE] == server.ran
    assert ledger.abandoned(0.0) == []


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
