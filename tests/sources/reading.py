"""Reading a source over HTTP once, from answers that a test makes up."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tests.contracts.source_case import NOW, WINDOW
from tests.fakes.hasty_clock import HastyClock
from tests.fakes.scripted_http import Scripted, replying
from watchkey.http_client import HttpSource
from watchkey.model.ids import SourceName
from watchkey.model.oncall import Roster, Shift
from watchkey.ports import Clock

NAME = SourceName("under-test")
HOUR = timedelta(hours=1)

Facts = set[tuple[str, str | None, int | None, str | None, datetime | None, datetime | None]]


def read(
    build: Callable[..., Any], reply: Callable[[str], bytes], window: timedelta = WINDOW, **config: Any
) -> tuple[Roster, HttpSource, Scripted]:
    """The roster, the source that read it, and what the vendor was asked. Raises what `fetch` raises."""

    async def go() -> tuple[Roster, HttpSource, Scripted]:
        clock: Clock = HastyClock(NOW)
        async with replying(reply) as server:
            source = build(server.url, clock, NAME, **config)
            try:
                return await source.fetch(now=NOW, window=window), source, server
            finally:
                await source.close()

    return asyncio.run(go())


def facts(shifts: tuple[Shift, ...]) -> Facts:
    """Who, policy, level, schedule, from, until."""
    return {(s.person, s.policy, s.level, s.schedule, s.starts_at, s.ends_at) for s in shifts}
