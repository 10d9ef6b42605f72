"""Fixtures for the SQLite store: a fresh folder, a clock that stands still, a store on it."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import pytest

from tests.audit_cases import KEY
from tests.fakes.clock import DrivenClock
from watchkey.model.secret import Secret
from watchkey.stores.sqlite import Config, SqliteStore, build

P = ParamSpec("P")
MakeStore = Callable[[], SqliteStore]


def on_a_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test on an event loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "watchkey.db"


@pytest.fixture
def clock() -> DrivenClock:
    return DrivenClock()


@pytest.fixture
def make_store(database: Path, clock: DrivenClock) -> Iterator[MakeStore]:
    """Makes stores on the same database, and closes all that the test left open."""
    made: list[SqliteStore] = []

    def make() -> SqliteStore:
        config = Config(path=str(database), key=Secret(KEY.reveal()), reserve_mib=1)
        made.append(build(config, name="sqlite", clock=clock))
        return made[-1]

    yield make
    for each in made:
        each.close()
