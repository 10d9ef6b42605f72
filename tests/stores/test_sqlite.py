"""The store as wiring makes it: from a section of the configuration to an open log."""

from pathlib import Path

import pytest

from tests.builders import NOW
from tests.fakes.clock import DrivenClock
from watchkey.model.audit import ServiceStarted
from watchkey.model.errors import Malformed
from watchkey.model.secret import Secret
from watchkey.stores import sqlite
from watchkey.stores.sqlite import AuditReader, Config, build, create_key, read_key


def test_a_key_of_init_makes_a_store_that_can_be_read(tmp_path: Path) -> None:
    create_key(tmp_path / "audit.key", "watchkey.example/test")
    config = Config(path=str(tmp_path / "log.db"), key=read_key(tmp_path / "audit.key"), reserve_mib=0)
    store = build(config, name="log", clock=DrivenClock(NOW))
    store.open()
    assert store.append_and_block(ServiceStarted(at=NOW, version="1")) == 0
    store.close()
    with AuditReader(tmp_path / "log.db") as reader:
        assert reader.size() == 1


def test_what_is_no_key_makes_no_store(tmp_path: Path) -> None:
    with pytest.raises(Malformed):
        build(Config(path=str(tmp_path / "log.db"), key=Secret("nonsense")), name="log", clock=DrivenClock(NOW))


def test_everything_it_offers_is_there() -> None:
    assert [name for name in sqlite.__all__ if not hasattr(sqlite, name)] == []
