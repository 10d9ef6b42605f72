"""The simulator's clock: real, or set and advanced by whoever drives it."""

import time
from datetime import UTC, datetime, timedelta


class SimulatorClock:
    """Wall time of the simulated provider. Starts real; `set` and `advance` move it, `freeze` stops it.

    It has nothing to do with the time-outs of the service under test, which are the service's own.
    """

    def __init__(self, start: datetime | None = None) -> None:
        """Begin at `start` and stand still there, or, without one, follow the machine's clock."""
        self._runs = start is None
        self._base = start.astimezone(UTC) if start else _machine_time()
        self._since = time.monotonic()

    def now(self) -> datetime:
        """The provider's time, aware, UTC."""
        if not self._runs:
            return self._base
        return self._base + timedelta(seconds=time.monotonic() - self._since)

    def set(self, instant: datetime) -> None:
        """Jump to an instant; whether the clock runs does not change."""
        if instant.tzinfo is None:
            raise ValueError(f"{instant.isoformat()} has no time zone")
        self._base = instant.astimezone(UTC)
        self._since = time.monotonic()

    def advance(self, span: timedelta) -> None:
        """Jump by a span, which may be negative."""
        self.set(self.now() + span)

    def freeze(self) -> None:
        """Stand still from now on."""
        self.set(self.now())
        self._runs = False

    def run(self) -> None:
        """Run at the speed of real time, from where it stands."""
        self.set(self.now())
        self._runs = True

    def real(self) -> None:
        """Follow the machine's clock."""
        self.set(_machine_time())
        self._runs = True


def _machine_time() -> datetime:
    return datetime.fromtimestamp(time.time(), tz=UTC)  # noqa: TID251 - an edge: the simulator stands for another machine
