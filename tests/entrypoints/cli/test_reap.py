"""`watchkey reap`: how a database is named. What it does is in tests/live/test_whole_service.py."""

import asyncio

import pytest

from tests.fakes.clock import DrivenClock
from tests.fakes.target import MemoryTarget
from watchkey.entrypoints.cli.reap import _reap, _words
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.lease import Ending
from watchkey.model.secret import Secret
from watchkey.targets.postgres import config_of


def test_a_database_by_its_url() -> None:
    config = config_of("postgresql://man%40ager@db.example.com:6000/orders?ca_file=/etc/ca.pem", Secret("p"))
    assert (config.manager, config.host, config.port, config.database) == ("man@ager", "db.example.com", 6000, "orders")
    assert (config.tls, config.ca_file) == (True, "/etc/ca.pem")
    assert config_of("postgresql://m@/orders?host=/run/postgresql&tls=off", Secret("p")).host == "/run/postgresql"


@pytest.mark.parametrize(
    "url",
    [
        "orders", "mysql://m@db/orders", "postgresql://db/orders", "postgresql://m@db", "postgresql://m:secret@db/orders",
        "postgresql://m@db/orders?tls=maybe", "postgresql://m@db/orders?sslmode=disable", "postgresql://m@db:port/orders",
    ],
)  # fmt: skip
def test_other_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(Refused) as refused:
        config_of(url, Secret("p"))
    assert "secret" not in str(refused.value)


def test_the_table_says_what_is_left_and_why() -> None:
    gone = Ending(account="wk_a_1", is_gone=True, sessions_left=0)
    left = Ending(account="wk_b_2", is_gone=False, sessions_left=0, blocked_by="it owns code")
    assert "nothing outlived its lease" in _words([])
    assert all(word in _words([gone, left]) for word in ("wk_a_1", "gone", "wk_b_2", "left", "it owns code"))


def test_a_database_that_does_not_answer_keeps_nothing_alive_on_the_others() -> None:
    silent, answering = MemoryTarget(DrivenClock()), MemoryTarget(DrivenClock())
    silent.fails["reap"] = Unavailable("planted")
    _, errors = asyncio.run(_reap([silent, answering]))
    assert [str(error) for error in errors] == ["planted"]
    assert answering.calls == ["reap", "close"]
    assert silent.calls == ["reap", "close"]
