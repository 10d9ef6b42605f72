"""One running service for a module's tests that change nothing about it."""

from collections.abc import Iterator

import pytest

from tests.entrypoints.http.house import House


@pytest.fixture
def house() -> Iterator[House]:
    with House().open() as opened:
        yield opened
