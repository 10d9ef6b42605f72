"""A clock that the test drives: wall and monotonic time move together unless the test says otherwise."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

START = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


class DrivenClock:
    """Time stands still until `advance`; sleepers wake in order."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._ticks = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._ticks

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._ticks + seconds, self._count, future))
        await future

    def set_wall(self, now: datetime) -> None:
        """Step the wall clock alone, as NTP or a person might."""
        self._now = now

    def advance(self, span: timedelta) -> None:
        """Let time pass without waking anybody; for code that does not sleep."""
        self._now += span
        self._ticks += span.total_seconds()

    async def run(self, span: timedelta) -> None:
        """Let time pass and wake each sleeper at its instant."""
        end = self._ticks + span.total_seconds()
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, future = heapq.heappop(self._sleepers)
            self.advance(timedelta(seconds=max(0.0, at - self._ticks)))
            if not future.done():
                future.set_result(None)
            await _settle()
        self.advance(timedelta(seconds=end - self._ticks))
        await _settle()


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
