"""Delivers the simulator's events to whoever subscribed: signed, in order, and given up as the real ones are."""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec

from watchkey.http_client import HttpClient, Limits
from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.ports import Clock
from watchkey.simulator.views import Views
from watchkey.simulator.world import Event, Subscription, World

_TRIES: Final = 3
_DROPS_UNTIL_DISABLED: Final = 3
_DISABLED: Final = timedelta(hours=24)
_log = logging.getLogger(__name__)


def sign(secret: str, body: bytes) -> str:
    """The value of `X-PagerDuty-Signature` for one secret."""
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class Sender:
    """Sends events in the background. Tries follow each other at once: hours of waiting are not simulated."""

    def __init__(self, world: World, views: Callable[[], Views], clock: Clock) -> None:
        self._world = world
        self._views = views
        self._clock = clock
        self._queue: asyncio.Queue[tuple[Subscription, Event, bytes]] = asyncio.Queue()
        self.lost = 0
        """Events that nobody got."""

    def tell(self, event: Event) -> None:
        """Queue an event for every subscription that is not disabled."""
        body = msgspec.json.encode(self._views().event(event))
        for subscription in self._world.subscriptions.values():
            until = subscription.disabled_until
            if until is not None and self._world.now() < until:
                self.lost += 1
            else:
                self._queue.put_nowait((subscription, event, body))

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            subscription, event, body = await self._queue.get()
            try:
                await self._deliver(subscription, event, body)
            finally:
                self._queue.task_done()

    async def idle(self) -> None:
        """Wait until everything queued is delivered or given up."""
        await self._queue.join()

    async def _deliver(self, subscription: Subscription, event: Event, body: bytes) -> None:
        for _ in range(_TRIES):
            try:
                await self._post(subscription, event, body)
            except Unavailable as error:
                _log.debug("webhook %s is tried again: %s", event.id, error)
                continue
            except PortError as error:
                _log.debug("webhook %s is dropped: %s", event.id, error)
                break
            subscription.dropped_in_a_row = 0
            return
        self.lost += 1
        subscription.dropped_in_a_row += 1
        if subscription.dropped_in_a_row >= _DROPS_UNTIL_DISABLED:
            subscription.disabled_until = self._world.now() + _DISABLED

    async def _post(self, subscription: Subscription, event: Event, body: bytes) -> None:
        origin, path = _split(subscription.url)
        client = HttpClient(origin, clock=self._clock, limits=Limits(request_seconds=5.0, operation_seconds=5.0))
        try:
            await client.operation().send(
                "POST",
                path,
                body=body,
                headers={
                    "Content-Type": "application/json",
                    "X-Webhook-Id": event.id,
                    "X-Webhook-Subscription": subscription.id,
                    "X-PagerDuty-Signature": sign(subscription.secret, body),
                },
            )
        finally:
            await client.close()


def _split(url: str) -> tuple[str, str]:
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not separator or not slash:
        raise Refused(f"{url} has no path")
    return f"{scheme}://{host}", f"/{path}"
