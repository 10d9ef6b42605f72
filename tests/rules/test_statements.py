"""Labels, and what must not stay in the record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkey.rules.statements import guards_named, kind_of, redacted


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT 1", "read"),
        ("  -- a comment\n/* and another */ (select 1)", "read"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "write"),
        ("with x as (select 1) select * from x", "read"),
        ("Insert into t values (1)", "write"),
        ("COPY t FROM STDIN", "write"),
        ("CREATE TABLE t ()", "schema"),
        ("begin", "session"),
        ("SET x = 1", "session"),
        ("", "other"),
        ("???", "other"),
        ("frobnicate", "other"),
    ],
)
def test_kinds(text: str, kind: str) -> None:
    assert kind_of(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "ALTER ROLE x PASSWORD 'canary'",
        "alter user x with encrypted password E'can\\'t canary'",
        "CREATE ROLE x PASSWORD /* why */ 'canary'",
        "CREATE ROLE x PASSWORD -- why\n 'canary'",
        "CREATE ROLE x PASSWORD $$canary$$",
        "CREATE ROLE x PASSWORD $q$canary$q$ LOGIN",
        "CREATE ROLE x PASSWORD U&'canary'",
        "CREATE ROLE x PASSWORD 'it''s canary'",
        "CREATE ROLE x PASSWORD 'canary",
        "CREATE USER MAPPING FOR x SERVER s OPTIONS (user 'u', password 'canary')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=canary dbname=d' PUBLICATION p",
        "SELECT dblink_connect('host=h password=''canary'' user=u')",
        "SELECT dblink_connect('postgresql://u:canary@h/d')",
        "SET my.secret = 'canary'",
        "SET my.token TO 'canary'",
    ],
)
def test_secrets_do_not_stay(text: str) -> None:
    assert "canary" not in redacted(text)
    assert "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'nothing here'",
        "SELECT password FROM users WHERE id = 7",
        "UPDATE t SET pass = 1",
        "SELECT 'http://x/y'",
    ],
)
def test_the_rest_stays_as_it_was(text: str) -> None:
    assert redacted(text) == text


@given(st.text(max_size=200))
def test_any_text_can_be_labelled_and_redacted(text: str) -> None:
    assert kind_of(text) in {"read", "write", "schema", "session", "other"}
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["password /*", "password $$", "password '", "password\n", "postgres://a:", "/*", "--\n", "("]
)
def test_no_text_of_the_longest_kind_keeps_the_gateway_busy(piece: str) -> None:
    text = piece * (64 * 1024 // len(piece))
    kind_of(text)
    redacted(text)


def test_settings_that_end_what_is_left_running_are_named() -> None:
    assert guards_named("SELECT 1") == ()
    assert guards_named("set Client_Connection_Check_Interval = 0") == ("client_connection_check_interval",)
    both = "SELECT set_config('tcp_keepalives_idle', '0', false), set_config('statement_timeout', '0', true)"
    assert guards_named(both) == ("tcp_keepalives_idle", "statement_timeout")
    assert guards_named("SELECT my_statement_timeout_column FROM t") == ()
