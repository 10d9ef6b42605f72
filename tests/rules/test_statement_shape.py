"""What PostgreSQL's grammar finds in a text: every nested statement, every table by the name that it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.model.access import StatementKind
from watchkey.rules.statement_shape import TEXT_MAX, function_call, is_control, read_statement


@pytest.mark.parametrize(
    ("text", "verbs", "kind", "tables", "functions"),
    [
        ("SELECT * FROM Orders o JOIN s.items i ON true WHERE f(o.id)", "select", "read", "orders s.items", "f"),
        ("VALUES (1)", "values", "read", "", ""),
        ("TABLE t", "select", "read", "t", ""),
        ("INSERT INTO a VALUES (1)", "insert", "write", "a", ""),
        ("INSERT INTO a SELECT * FROM b", "insert select", "write", "a b", ""),
        ("MERGE INTO t USING s ON t.i = s.i WHEN MATCHED THEN DELETE", "merge", "write", "s t", ""),
        ("TRUNCATE t", "truncate", "write", "t", ""),
        ("SELECT * FROM t FOR UPDATE", "select lock", "write", "t", ""),
        ("BEGIN; UPDATE t SET a = 1; COMMIT", "begin update commit", "write", "t", ""),
        ("COPY t FROM STDIN", "copy_from", "write", "t", ""),
        ("COPY (DELETE FROM t RETURNING *) TO STDOUT", "copy_to delete", "write", "t", ""),
        ("COPY t TO PROGRAM 'x'", "copy_to copy_program", "other", "t", ""),
        ("EXPLAIN ANALYZE DELETE FROM t", "explain delete", "write", "t", ""),
        ("PREPARE x AS DELETE FROM t", "prepare delete", "write", "t", ""),
        ("DECLARE c CURSOR FOR SELECT * FROM t", "declare select", "read", "t", ""),
        ("EXECUTE x", "execute", "other", "", ""),
        ("DO $$ BEGIN DELETE FROM t; END $$", "do", "other", "", ""),
        ("CALL s.p(1)", "call", "other", "", "s.p"),
        ("CREATE TABLE n AS SELECT * FROM o", "create_table_as select", "schema", "n o", ""),
        ("SELECT * INTO n FROM o", "select create_table_as", "schema", "n o", ""),
        ("DROP TABLE a.b, c", "drop", "schema", "a.b c", ""),
        ("DROP TRIGGER g ON s.t", "drop", "schema", "s.t", ""),
        ("DROP SCHEMA s CASCADE", "drop", "schema", "", ""),
        ("GRANT SELECT ON t TO x", "grant", "schema", "t", ""),
        ("SET ROLE x", "set", "session", "", ""),
        ("COMMIT PREPARED 'x'", "commit_prepared", "other", "", ""),
        ("PREPARE TRANSACTION 'x'", "prepare_transaction", "other", "", ""),
        ("CHECKPOINT", "check_point", "other", "", ""),
        ("", "", "session", "", ""),
    ],
)
def test_shapes(text: str, verbs: str, kind: str, tables: str, functions: str) -> None:
    found = read_statement(text)
    assert found is not None
    assert found.verbs == tuple(verbs.split())
    assert found.kind == kind
    assert (found.tables, found.functions) == (tuple(tables.split()), tuple(functions.split()))


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("WITH x AS (SELECT * FROM b) DELETE FROM c USING x WHERE c.i = x.i", ("b", "c")),
        ("WITH RECURSIVE a AS (SELECT 1 UNION SELECT * FROM a) SELECT * FROM a", ()),
        ("WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM b", ("b",)),
        # a name of WITH hides a table only inside its own statement, never what is written to, never with a schema
        ("SELECT * FROM orders, (WITH orders AS (SELECT 1) SELECT * FROM orders) x", ("orders",)),
        ("WITH orders AS (SELECT 1) INSERT INTO orders SELECT * FROM orders", ("orders",)),
        ("WITH orders AS (SELECT 1) SELECT * FROM public.orders", ("public.orders",)),
        ("WITH orders AS (DELETE FROM orders RETURNING *) SELECT * FROM orders", ("orders",)),
    ],
)
def test_a_with_query_hides_no_table(text: str, tables: tuple[str, ...]) -> None:
    found = read_statement(text)
    assert found is not None
    assert found.tables == tables


@pytest.mark.parametrize(
    "text", ["SELEC 1", "SELECT 1 +", "SELECT " + "(" * 20000, "SELECT 1" + "+1" * 9000, "x" * (TEXT_MAX + 1), "\ud800"]
)
def test_what_the_grammar_does_not_take_is_not_read(text: str) -> None:
    assert read_statement(text) is None


@given(st.text(max_size=200))
def test_nothing_breaks_it(text: str) -> None:
    found = read_statement(text)
    assert found is None or isinstance(found.kind, StatementKind)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN", True),
        ("ROLLBACK TO a; RELEASE a", True),
        ("COMMIT; DELETE FROM t", False),
        ("PREPARE TRANSACTION 'x'", False),
    ],
)
def test_what_only_ends_transactions(text: str, *, expected: bool) -> None:
    found = read_statement(text)
    assert found is not None
    assert is_control(found) is expected


def test_a_call_by_number_is_told_as_one() -> None:
    assert function_call(952).functions == ("oid 952",)
    assert not is_control(function_call(952))
