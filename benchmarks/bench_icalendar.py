"""icalendar: reading a feed of 200 MB: how long it takes, and that memory stays under a bound.

The feed is made while it is read, in the same process, so its making is part of the time and of the memory. The exit
code is 1 when memory grew by more than the bound.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.sources import icalendar
from watchkey.wiring import SystemClock

BOUND_MIB: Final = 64
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
EVENT = (
    b"BEGIN:VEVENT\r\nUID:%d\r\nSUMMARY:One\r\nDTSTART:20200101T070000Z\r\nDTEND:20200101T160000Z\r\n"
    b"DESCRIPTION:" + b"x" * 120 + b"\r\nEND:VEVENT\r\n"
)


async def serve(size: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with a calendar of that many megabytes, one turn in 10,000 of them a series."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nBEGIN:VCALENDAR\r\n")
    series = EVENT.replace(b"DESCRIPTION", b"RRULE:FREQ=WEEKLY\r\nDESCRIPTION")
    for number in range(size * 1024 * 1024 // len(EVENT)):
        writer.write((series if number % 10_000 == 0 else EVENT) % number)
        if number % 1_000 == 0:
            await writer.drain()
    writer.write(b"END:VCALENDAR\r\n")
    await writer.drain()
    writer.close()


async def read(size: int) -> dict[str, float]:
    """Read a feed of that many megabytes once."""
    server = await asyncio.start_server(partial(serve, size), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/feed.ics"
    config = icalendar.Config(url=Secret(url), people={"One": "one"}, deadline=timedelta(minutes=10))
    source = icalendar.build(config, name=SourceName("feed"), clock=SystemClock())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    roster = await source.fetch(now=NOW, window=timedelta(hours=72))
    took = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    await source.close()
    server.close()
    return {"megabytes": size, "seconds": took, "grown_mib": grown / 1024, "shifts": len(roster.shifts)}


def main() -> int:
    """Read it, say what it took, and hold it against the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--size", type=int, default=200, help="of the feed, in megabytes")
    arguments = parser.parse_args()
    found = asyncio.run(read(arguments.size))
    print(
        f"{found['megabytes']} MB: {found['seconds']:.1f} s, memory grew by {found['grown_mib']:.1f} MiB"
        f" (bound: {BOUND_MIB}); {found['shifts']} shift(s) found"
    )
    if arguments.json:
        print(json.dumps(found))
    return int(found["grown_mib"] > BOUND_MIB)


if __name__ == "__main__":
    sys.exit(main())
