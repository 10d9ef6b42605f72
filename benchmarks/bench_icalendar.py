"""How long reading a calendar of 200 MB takes, and how much memory it needs: `python benchmarks/bench_icalendar.py`."""

import asyncio
import resource
import sys
import time
from datetime import UTC, datetime, timedelta

from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.sources import icalendar
from watchkey.wiring import SystemClock

SIZE = int(sys.argv[1]) if len(sys.argv) > 1 else 200
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
EVENT = (
    b"BEGIN:VEVENT\r\nUID:%d\r\nSUMMARY:One\r\nDTSTART:20200101T070000Z\r\nDTEND:20200101T160000Z\r\n"
    b"DESCRIPTION:" + b"x" * 120 + b"\r\nEND:VEVENT\r\n"
)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request with a calendar of that many megabytes, one turn in 10,000 of them a series."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nBEGIN:VCALENDAR\r\n")
    series = EVENT.replace(b"DESCRIPTION", b"RRULE:FREQ=WEEKLY\r\nDESCRIPTION")
    for number in range(SIZE * 1024 * 1024 // len(EVENT)):
        writer.write((series if number % 10_000 == 0 else EVENT) % number)
        if number % 1_000 == 0:
            await writer.drain()
    writer.write(b"END:VCALENDAR\r\n")
    await writer.drain()
    writer.close()


async def main() -> None:
    """Read it once."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
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
    print(f"{SIZE} MB: {took:.1f} s, memory grew by {grown / 1024:.1f} MiB; {len(roster.shifts)} shift(s) found")


asyncio.run(main())
