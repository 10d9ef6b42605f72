"""PagerDuty's v3 webhooks: proof of the sender, then *read that source soon*. What the body says is never believed.

Nothing signed says when a webhook was sent, so an old one can be sent again, by anybody who saw it. That costs a read
and changes nothing else, and reads are rationed.
"""

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault
from watchkey.entrypoints.http.limits import Limits, TokenBucket
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.model.access import Caller
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.ports import Clock
from watchkey.rules.webhook import verify

log = logging.getLogger("watchkey.http")

_SEEN_MAX: Final = 4096


class Reads(Protocol):
    """Who reads the sources."""

    def hint(self, name: SourceName, /) -> bool:
        """Something may have changed there: read it soon."""
        ...


class Hooked(Protocol):
    """What webhooks need of the service."""

    @property
    def sync(self) -> Reads:
        """Who reads the sources."""
        ...

    @property
    def webhook_keys(self) -> Mapping[SourceName, Sequence[Secret]]:
        """The secrets that sign the webhooks of a source; two while one is being replaced."""
        ...

    @property
    def clock(self) -> Clock:
        """Time."""
        ...


class Rationed:
    """Hints to one source, at no more than a rate. One that comes too soon is not lost: it is given later, once."""

    def __init__(self, name: SourceName, service: Hooked, limits: Limits) -> None:
        self._name = name
        self._service = service
        self._bucket = TokenBucket(
            rate=limits.webhook_reads_per_s, burst=limits.webhook_burst, now=service.clock.monotonic()
        )
        self._later: asyncio.Task[None] | None = None

    def hint(self) -> None:
        """Have the source read, now or when its ration allows."""
        if self._later is not None:
            return
        if self._bucket.take(self._service.clock.monotonic()):
            self._service.sync.hint(self._name)
        else:
            self._later = asyncio.get_running_loop().create_task(self._hint_later(self._bucket.wait_for()))

    async def _hint_later(self, seconds: float) -> None:
        try:
            await self._service.clock.sleep(seconds)
            self._bucket.take(self._service.clock.monotonic())
            self._service.sync.hint(self._name)
        finally:
            self._later = None


class Seen:
    """Which webhooks came already, by id and body: the id alone is not signed, and must not hide another's message."""

    def __init__(self, capacity: int = _SEEN_MAX) -> None:
        self._capacity = capacity
        self._marks: OrderedDict[bytes, None] = OrderedDict()

    def is_new(self, webhook_id: bytes, body: bytes) -> bool:
        """Whether this one comes for the first time, as far as is remembered."""
        mark = hashlib.sha256(len(webhook_id).to_bytes(8, "big") + webhook_id + body).digest()
        if mark in self._marks:
            return False
        self._marks[mark] = None
        if len(self._marks) > self._capacity:
            self._marks.popitem(last=False)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one vendor signs its webhooks; everything else about them is the same."""

    path: str
    """The route; the source's name stands behind it."""
    id_header: bytes
    nobody: Sequence[Secret]
    """An unknown source is checked against these keys, so that it takes as long as a known one."""
    is_genuine: Callable[[Request, Sequence[Secret], datetime], bool]
    """Whether the request is signed with one of the keys, at this instant."""


class Webhooks:
    """The handler of one form."""

    def __init__(self, form: Form, service: Hooked, limits: Limits, metrics: Metrics) -> None:
        self._form = form
        self._service = service
        self._metrics = metrics
        self._rations = {name: Rationed(name, service, limits) for name in service.webhook_keys}
        self._seen = {name: Seen() for name in service.webhook_keys}

    async def receive(self, request: Request, caller: Caller | None) -> Response:
        """Take one webhook: 202 for a good one, new or not; 401 for any other, also where there is no such source."""
        del caller
        name = SourceName(request.path[len(self._form.path) :])
        keys = self._service.webhook_keys.get(name)
        is_genuine = self._form.is_genuine(request, keys or self._form.nobody, self._service.clock.now())
        if keys is None or not is_genuine:
            if keys is not None:
                self._metrics.count_webhook(name, "bad_signature")
                log.warning("webhook.refused", extra={"source": name, "peer": request.peer, "request_id": request.id})
            raise Fault(401, "unauthorized", "the signature does not match the body")
        if not self._seen[name].is_new(request.headers.get(self._form.id_header, b""), request.body):
            self._metrics.count_webhook(name, "duplicate")
            return Response(status=202, body=b"{}")
        self._metrics.count_webhook(name, "accepted")
        self._rations[name].hint()
        return Response(status=202, body=b"{}")


def route(form: Form, service: Hooked, limits: Limits, metrics: Metrics) -> Route:
    """The route of one form."""
    return Route(
        name="webhooks",
        method="POST",
        path=form.path,
        door=Door.OPEN,
        handler=Webhooks(form, service, limits, metrics).receive,
        write_fault=native_fault,
        body_bytes=limits.webhook_body_bytes,
    )


def text_of(request: Request, name: bytes) -> str:
    """A header as text; empty when it is missing."""
    return request.headers.get(name, b"").decode("latin-1")


def _is_from_pagerduty(request: Request, keys: Sequence[Secret], now: datetime) -> bool:
    del now  # nothing signed says when it was sent
    return verify(request.body, text_of(request, b"x-pagerduty-signature"), keys)


PAGERDUTY: Final = Form(
    path="/v1/webhooks/pagerduty/",
    id_header=b"x-webhook-id",
    nobody=(Secret("no source has this key"),),
    is_genuine=_is_from_pagerduty,
)


def routes(service: Hooked, limits: Limits, metrics: Metrics) -> tuple[Route, ...]:
    """The routes of this dialect."""
    return (route(PAGERDUTY, service, limits, metrics),)
