"""The process that is killed: appends to a log from many tasks, and prints each number only after it is durable."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from tests.audit_cases import KEY, allow
from watchkey.model.secret import Secret
from watchkey.stores.sqlite import Config, SqliteStore, build


class RealClock:
    """The clock of this process."""

    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 - a real process has a real clock

    def monotonic(self) -> float:
        return monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def append_for_ever(store: SqliteStore, task: int) -> None:
    number = 0
    while True:
        seq = await store.append(allow(task * 1_000_000 + number))
        sys.stdout.write(f"{seq} allow {task * 1_000_000 + number}\n")
        sys.stdout.flush()
        number += 1


async def main(database: str) -> None:
    config = Config(path=database, key=Secret(KEY.reveal()), reserve_mib=1)
    async with build(config, name="sqlite", clock=RealClock()) as store:
        await asyncio.gather(*(append_for_ever(store, task) for task in range(16)))


if __name__ == "__main__":
    asyncio.run(main(str(Path(sys.argv[1]))))
