"""A gateway in a process of its own, for what must not share ours: kill -9 and the benchmarks."""

import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from tests.live.house import ALICE, LiveHouse
from watchkey.entrypoints.pg_gateway.gateway import Trace
from watchkey.flows.guard_session import GuardRules
from watchkey.simulator.postgres_server import PostgresServer

MANY = GuardRules(sessions_per_person_max=3000, sessions_max=3000, reserve=0, linger=timedelta(seconds=60))


class GatewayProcess:
    """A running gateway that lets alice in. It ends when its standard input does."""

    def __init__(
        self, server: PostgresServer, trace: str = "statements", *, ttl: float = 3600, host: str = "127.0.0.1",
        inside: Sequence[str] = (), workers: int = 0,
    ) -> None:  # fmt: skip
        """`host` is where it finds the server; `inside` starts it somewhere else, such as a network namespace."""
        place = [str(server.folder), str(server.port), host]
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-m", "tests.live.gateway_process", *place, trace, str(ttl), str(workers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        port, self.token = self._line().split()
        self.port = int(port)

    def ask(self, line: str) -> str:
        """Send a command, `end SECONDS`, `rss` or `workers`, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._line()

    def kill(self) -> None:
        """As the kernel's out-of-memory killer would."""
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """In order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(60)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None and not stream.closed:
                stream.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def main(arguments: Sequence[str]) -> None:
    folder, port, host, trace, ttl, workers = arguments
    gc.set_threshold(20_000, 50, 100)  # as the service does
    server = PostgresServer.at(Path(folder), int(port))
    server.host = host
    with tempfile.TemporaryDirectory() as scratch:
        house = LiveHouse(
            server, Path(scratch), trace=Trace(trace), rules=MANY, sessions_per_lease_max=3000, workers=int(workers)
        )
        with house:
            house.watch.ttl = timedelta(seconds=float(ttl))
            house.watch.allow(ALICE, "read", "write")
            print(house.port, house.token(ALICE), flush=True)
            for line in sys.stdin:
                print(_obey(house, line.split()), flush=True)


def _obey(house: LiveHouse, words: Sequence[str]) -> float | int | str:
    match words:
        case ["end", seconds]:
            at = house.clock.now() + timedelta(seconds=float(seconds))
            house.watch.allow(ALICE, "read", "write", until=at)
            house.sync_guard()
            return at.timestamp()
        case ["rss"]:
            return sum(map(resident, [os.getpid(), *workers_of(house)]))
        case ["workers"]:
            return " ".join(map(str, workers_of(house)))
        case _:
            raise ValueError(words)


def workers_of(house: LiveHouse) -> list[int]:
    """Their process ids, none where the gateway has no workers."""
    return [hand.process.pid for hand in getattr(house.gateway, "_hands", {}).values()]


def resident(pid: int) -> int:
    """Resident memory in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    main(sys.argv[1:])
