"""`python -m watchkey.simulator`: a sample PagerDuty account on a loopback port, driven under `/_control`."""

import argparse
import asyncio
import json
import signal
import sys
from datetime import datetime, timedelta

from watchkey.simulator.sample import fill
from watchkey.simulator.server import READ_TOKEN, WRITE_TOKEN, Simulator


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM. The first line printed is JSON with the address and the keys."""
    parser = argparse.ArgumentParser(prog="python -m watchkey.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8099, help="0 takes any free port (default: 8099)")
    parser.add_argument(
        "--start", type=datetime.fromisoformat, help="where the clock stands, with its offset; default: real time"
    )
    parser.add_argument("--turn", type=float, default=7 * 24.0, help="length of a turn in hours (default: a week)")
    parser.add_argument("--empty", action="store_true", help="begin without the sample people and rotas")
    options = parser.parse_args(arguments)
    simulator = Simulator(start=options.start, port=options.port, control=True)
    if not options.empty:
        fill(simulator.world, timedelta(hours=options.turn))
    asyncio.run(_serve(simulator))
    return 0


async def _serve(simulator: Simulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with simulator:
        hello = {"base_url": simulator.base_url, "read_token": READ_TOKEN, "writable_token": WRITE_TOKEN}
        sys.stdout.write(json.dumps(hello) + "\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
