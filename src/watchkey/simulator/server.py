"""The simulator on real sockets: in the loop of whoever uses it, or in a thread of its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

import uvicorn
from starlette.applications import Starlette

from watchkey.simulator.api import Api
from watchkey.simulator.clock import SimulatorClock
from watchkey.simulator.control import Control
from watchkey.simulator.faults import Faults
from watchkey.simulator.views import Views
from watchkey.simulator.webhooks import Sender
from watchkey.simulator.world import World

READ_TOKEN = "sim-read-only"  # noqa: S105 - the simulator's own key, worth nothing elsewhere
WRITE_TOKEN = "sim-writable"  # noqa: S105 - same


class _MachineTime:
    """The clock of the webhook sender's time-outs: it waits on real sockets, whatever the simulated time is."""

    def __init__(self, clock: SimulatorClock) -> None:
        self.now: Callable[[], datetime] = clock.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Server(uvicorn.Server):
    """A server that leaves the signals to its host, and stops when it is told rather than at the next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopped = asyncio.Event()

    async def main_loop(self) -> None:
        """Serve until `stopped`."""
        await self.stopped.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Simulator:
    """A PagerDuty account on a loopback port. Change `world`, `clock` and `faults` at any time, from the same loop.

    `async with Simulator() as sim:` listens at `sim.base_url` until the block ends. Keys: READ_TOKEN, WRITE_TOKEN.
    """

    def __init__(self, *, start: datetime | None = None, port: int = 0, control: bool = False) -> None:
        """Make an empty account.

        Args:
            start: where the clock stands still; None lets it follow the machine's.
            port: 0 takes any free one.
            control: whether `/_control` answers. It knows no tokens, so that only a demo or a test should have it.
        """
        self.clock = SimulatorClock(start)
        self.world = World(now=self.clock.now)
        self.faults = Faults()
        self.tokens = {READ_TOKEN: False, WRITE_TOKEN: True}
        """API keys, and whether they may write."""
        self.api = Api(self.world, self.faults, self.tokens, lambda: self.base_url)
        self.sender = Sender(self.world, lambda: Views(self.world, self.base_url), _MachineTime(self.clock))
        self.world.tell = self.sender.tell
        self.control = Control(self.world, self.clock, self.faults)
        self._has_control = control
        self._port = port
        self._running = contextlib.AsyncExitStack()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    async def delivered(self) -> None:
        """Wait until every webhook is delivered or given up."""
        await self.sender.idle()

    async def __aenter__(self) -> Self:
        await self._running.enter_async_context(self._serving())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        # With its protocol spelt out: asyncio sends small pieces at once only on sockets that say that they are TCP.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self._port))
        except OSError:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        routes = [*self.api.routes(), *(self.control.routes() if self._has_control else ())]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            date_header=False,  # the date is the simulated one
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        sending = asyncio.create_task(self.sender.run())
        try:
            while not server.started:
                if serving.done():
                    await serving
                await asyncio.sleep(0.001)
            yield
        finally:
            self.faults.released.set()
            server.stopped.set()
            await serving
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            listener.close()


@contextmanager
def in_thread(simulator: Simulator) -> Iterator[Callable[[Callable[[], object]], object]]:
    """Serve in a thread of its own, for hosts without a loop; yields a function that runs a verb in that thread."""
    ready: threading.Event = threading.Event()
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop
    failure: list[BaseException] = []

    async def serve() -> None:
        nonlocal stop, loop
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with simulator:
            ready.set()
            await stop.wait()

    def target() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that waits
            failure.append(error)
            ready.set()

    thread = threading.Thread(target=target, name="simulator", daemon=True)
    thread.start()
    ready.wait()
    if failure:
        raise failure[0]

    def do(verb: Callable[[], object]) -> object:
        async def once() -> object:
            return verb()

        return asyncio.run_coroutine_threadsafe(once(), loop).result()

    try:
        yield do
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
