"""A clock whose sleepers do not wait: time jumps to when they wanted to wake, and every jump is remembered."""

from datetime import datetime, timedelta

from tests.fakes.clock import START, DrivenClock


class HastyClock(DrivenClock):
    """For code that pauses between tries: the pauses take virtual time only."""

    def __init__(self, now: datetime = START) -> None:
        super().__init__(now)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(timedelta(seconds=seconds))
