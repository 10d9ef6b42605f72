"""The clocks: the real one, one that is moved by hand, and one that stands."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic


class SystemClock:
    """The real time: the one clock that everything else is handed."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)  # noqa: TID251 -- this is that clock

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        """Come back later."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """A clock that stands until it is moved; both times go together, so that ages are exact."""

    def __init__(self, at: datetime) -> None:
        self._began_at = self._at = at

    def now(self) -> datetime:
        """The virtual instant."""
        return self._at

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return (self._at - self._began_at).total_seconds()

    def move_to(self, instant: datetime) -> None:
        """Let time pass until then; it never goes back."""
        self._at = max(self._at, instant)

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        self.move_to(self._at + timedelta(seconds=seconds))


@dataclass(frozen=True, kw_only=True)
class StoppedClock:
    """A clock that stands at one instant, so that ages are exact where the past is asked about."""

    at: datetime

    def now(self) -> datetime:
        """That instant."""
        return self.at

    def monotonic(self) -> float:
        """No time passes."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Do not wait: nothing would come."""
