"""incident.io's webhooks, signed in the Svix form: proof of the sender and the time, then *read that source soon*.

What the body says is never believed. Unlike PagerDuty's, the time is signed, so an old message is refused.
"""

import logging
from typing import Final

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.webhooks import Hooked, Rationed, Seen
from watchkey.model.access import Caller
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret
from watchkey.rules.svix import Headers, verify

log = logging.getLogger("watchkey.http")

_PATH: Final = "/v1/webhooks/incident_io/"
_NOBODY: Final = (Secret("whsec_bm8gc291cmNlIGhhcyB0aGlzIGtleQ=="),)
"""An unknown source is checked against it, so that it takes as long as a known one."""


class SvixWebhooks:
    """The handler."""

    def __init__(self, service: Hooked, limits: Limits, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._rations = {name: Rationed(name, service, limits) for name in service.webhook_keys}
        self._seen = {name: Seen() for name in service.webhook_keys}

    async def receive(self, request: Request, caller: Caller | None) -> Response:
        """Take one webhook: 202 for a good one, new or not; 401 for any other, also where there is no such source."""
        del caller
        name = SourceName(request.path[len(_PATH) :])
        keys = self._service.webhook_keys.get(name)
        headers = Headers(
            message_id=_text(request, b"webhook-id"),
            timestamp=_text(request, b"webhook-timestamp"),
            signature=_text(request, b"webhook-signature"),
        )
        is_genuine = verify(request.body, headers, keys or _NOBODY, self._service.clock.now())
        if keys is None or not is_genuine:
            if keys is not None:
                self._metrics.count_webhook(name, "bad_signature")
                log.warning("webhook.refused", extra={"source": name, "peer": request.peer, "request_id": request.id})
            raise Fault(401, "unauthorized", "the signature does not match the body")
        if not self._seen[name].is_new(headers.message_id.encode(), request.body):
            self._metrics.count_webhook(name, "duplicate")
            return Response(status=202, body=b"{}")
        self._metrics.count_webhook(name, "accepted")
        self._rations[name].hint()
        return Response(status=202, body=b"{}")


def _text(request: Request, name: bytes) -> str:
    return request.headers.get(name, b"").decode("latin-1")


def routes(service: Hooked, limits: Limits, metrics: Metrics) -> tuple[Route, ...]:
    """The routes of this dialect."""
    return (
        Route(
            name="webhooks",
            method="POST",
            path=_PATH,
            door=Door.OPEN,
            handler=SvixWebhooks(service, limits, metrics).receive,
            write_fault=native_fault,
            body_bytes=limits.webhook_body_bytes,
        ),
    )
