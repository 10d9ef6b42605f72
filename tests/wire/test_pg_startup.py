"""The allow-list of startup parameters."""

import pytest

from watchkey.wire.pg_messages import ProtocolViolation
from watchkey.wire.pg_startup import read_options, read_wish


def test_what_drivers_send_is_passed_on() -> None:
    wish = read_wish(
        {
            "user": "alice", "database": "orders", "client_encoding": "UTF8", "application_name": "psql",
            "DateStyle": "ISO", "TimeZone": "Europe/Berlin", "extra_float_digits": "2", "replication": "false",
        }
    )  # fmt: skip
    assert (wish.user, wish.database, wish.privileges) == ("alice", "orders", None)
    assert wish.passed_on == {
        "client_encoding": "UTF8", "application_name": "psql", "DateStyle": "ISO", "TimeZone": "Europe/Berlin",
        "extra_float_digits": "2",
    }  # fmt: skip


def test_the_database_is_named_like_the_user_when_none_is_named() -> None:
    assert read_wish({"user": "alice"}).database == "alice"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("replication", "database"), ("replication", "true"), ("replication", "1"), ("replication", ""),
        ("search_path", "evil"), ("session_authorization", "postgres"), ("role", "postgres"),
        ("options", "-c session_authorization=postgres"), ("options", "-c role=postgres"),
        ("options", "--role=postgres"),
        ("options", "-crole=postgres"), ("options", "-c  local_preload_libraries=x"), ("options", "-d 5"),
        ("options", "-c"),
        ("options", "-c search_path"), ("options", "-c client_connection_check_interval=0"), ("options", "-W 5"),
        ("options", "-c search_path=x -c \\role=postgres"), ("is_superuser", "on"),
    ],
)  # fmt: skip
def test_whatever_is_not_on_the_list_is_refused(name: str, value: str) -> None:
    with pytest.raises(ProtocolViolation):
        read_wish({"user": "alice", name: value})


def test_no_user_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        read_wish({"database": "orders"})


def test_privileges_can_be_narrowed_and_do_not_reach_the_server() -> None:
    wish = read_wish({"user": "alice", "options": "-c watchkey.privileges=read,write -c search_path=a\\ b"})
    assert wish.privileges == ("read", "write")
    assert wish.passed_on == {"options": "-c search_path=a\\ b"}


@pytest.mark.parametrize("text", ["-c search_path=x", "-csearch_path=x", "--search-path=x", "--search_path=x"])
def test_the_ways_to_write_an_option(text: str) -> None:
    assert read_options(text) == {"search_path": "x"}


def test_an_escaped_word_stays_one_word() -> None:
    assert read_options("-c search_path=a\\ \\\\b\\\\c") == {"search_path": "a \\b\\c"}
