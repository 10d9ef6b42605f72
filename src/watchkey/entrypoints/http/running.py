"""The service from its first listener to its orderly end: what it says meanwhile, and which signals end it."""

import asyncio
import contextlib
import gc
import logging
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from watchkey.entrypoints.http.app import App, Service
from watchkey.entrypoints.http.exchange import Route
from watchkey.entrypoints.http.fleets import Fleets
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.server import HttpServer, Listener

log = logging.getLogger("watchkey.http")

_LOOK_EVERY: Final = 0.1
"""Seconds between two looks at whether the first reads are done."""
_SPARE_FILES: Final = 256
"""Open files besides connections: the audit log, connections to sources."""
_COLLECT_EVERY: Final = 25_000
"""New objects between two passes of the garbage collector; Python's 700 cost a tenth of a decision."""

Say = Callable[[str], None]
_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=_fastest_loop()) as runner:
        return runner.run(main)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What runs in the same process and is told of signals: the gateways, and the fleets whose clients wait."""

    routes: Sequence[Route] = ()
    drain: Callable[[], Awaitable[None]] | None = None
    fleets: Fleets | None = None


NOTHING_BESIDE: Final = Beside()


async def serve(
    service: Service,
    around: AbstractAsyncContextManager[object],
    listener: Listener,
    limits: Limits,
    say: Say,
    beside: Beside = NOTHING_BESIDE,
) -> None:
    """Serve until SIGTERM or SIGINT, then let the requests under way end. A second signal ends it at once.

    With `beside.drain` the first signal starts it, decisions go on meanwhile, and its end or a second signal stops the
    service in order; then a third ends it at once.
    `around` is entered before the first request and left after the last: it starts and stops the reading of sources.
    Raises `Refused` for a listener that is unsafe or cannot be had.
    """
    listener.refuse_unsafe()
    _allow_files(limits.connections_max + _SPARE_FILES)
    async with around, _stopping_on_signals(1 if beside.drain is None else 2) as signals:
        app = App(service, limits, beside.routes)
        server = HttpServer(app, service.clock)
        app.metrics.connections = server.connections
        app.metrics.fleets = beside.fleets
        async with server.serving([listener]):
            for url in server.urls:
                log.info("http.listening", extra={"address": url})
                say(f"listening on {url}")
            progress = asyncio.get_running_loop().create_task(_begin(service, say))
            await signals[0].wait()
            if beside.drain is not None:
                app.is_draining = True
                say("draining: no new sessions, the present ones may end; a second signal ends them now")
                await _until_drained(beside.drain, signals[1])
            progress.cancel()
            if beside.fleets is not None:
                beside.fleets.release()
            log.info("http.stopping", extra={"count": len(server.connections.open)})
            say("stopping: the requests under way are answered")
    log.info("http.stopped")


async def _begin(service: Service, say: Say) -> None:
    await tell_first_reads(service, say)
    # Rosters have no cycles and live long: without this, full passes over them stop all answers for up to a second.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_EVERY, *gc.get_threshold()[1:])


async def tell_first_reads(service: Service, say: Say) -> None:
    """Say for each source when its first complete roster is there, and why not yet."""
    waiting = dict.fromkeys(service.source_names, "")
    if not waiting:
        say("no source is configured: only what needs no fact can be allowed")
    for name in waiting:
        say(f"source {name}: reading")
    while waiting:
        held = service.rosters.held()
        for name, told in list(waiting.items()):
            if name in held:
                del waiting[name]
                roster = held[name].index.roster
                age = max(0.0, service.clock.monotonic() - held[name].read_at)
                log.info("source.ready", extra={"source": name, "revision": held[name].revision, "seconds": age})
                say(
                    f"source {name}: complete, {len(roster.people)} people, {len(roster.shifts)} shifts, "
                    f"{len(roster.incidents)} incidents, revision {held[name].revision}, read {age:.0f} s ago"
                )
            elif (why := service.sync.last_error(name)) and why != told:
                waiting[name] = why
                say(f"source {name}: not yet, {why}")
        if waiting:
            await service.clock.sleep(_LOOK_EVERY)
    log.info("http.ready")
    say("ready")


async def _until_drained(drain: Callable[[], Awaitable[None]], hurry: asyncio.Event) -> None:
    draining, hurrying = asyncio.ensure_future(drain()), asyncio.ensure_future(hurry.wait())
    await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurrying):
        task.cancel()
    (failure, _) = await asyncio.gather(draining, hurrying, return_exceptions=True)
    if isinstance(failure, Exception):
        log.error("drain.failed", extra={"error": repr(failure)})


@contextlib.asynccontextmanager
async def _stopping_on_signals(count: int) -> AsyncIterator[Sequence[asyncio.Event]]:
    """Events for so many signals, in their order; the next one finds the system's own handling."""
    loop = asyncio.get_running_loop()
    events = tuple(asyncio.Event() for _ in range(count))
    signals = (signal.SIGTERM, signal.SIGINT)

    def end() -> None:
        next(event for event in events if not event.is_set()).set()
        if events[-1].is_set():
            for each in signals:
                loop.remove_signal_handler(each)

    for each in signals:
        loop.add_signal_handler(each, end)
    try:
        yield events
    finally:
        for each in signals:
            loop.remove_signal_handler(each)


def _allow_files(wanted: int) -> None:
    """Raise the soft limit of open files as far as is needed and permitted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    aim = wanted if hard == unlimited else min(wanted, hard)
    if soft != unlimited and soft < aim:
        resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
    if aim < wanted:
        log.warning("http.few_files", extra={"count": aim})


def _fastest_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 -- not there on every platform
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
