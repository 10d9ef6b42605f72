"""incident.io's webhooks, signed in the Svix form: proof of the sender and the time, then *read that source soon*.

What the body says is never believed. Unlike PagerDuty's, the time is signed, so an old message is refused.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from watchkey.entrypoints.http.exchange import Request, Route
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.webhooks import Form, Hooked, route, text_of
from watchkey.model.secret import Secret
from watchkey.rules.svix import Headers, verify


def _is_from_incident_io(request: Request, keys: Sequence[Secret], now: datetime) -> bool:
    headers = Headers(
        message_id=text_of(request, b"webhook-id"),
        timestamp=text_of(request, b"webhook-timestamp"),
        signature=text_of(request, b"webhook-signature"),
    )
    return verify(request.body, headers, keys, now)


INCIDENT_IO: Final = Form(
    path="/v1/webhooks/incident_io/",
    id_header=b"webhook-id",
    nobody=(Secret("whsec_bm8gc291cmNlIGhhcyB0aGlzIGtleQ=="),),
    is_genuine=_is_from_incident_io,
)


def routes(service: Hooked, limits: Limits, metrics: Metrics) -> tuple[Route, ...]:
    """The routes of this dialect."""
    return (route(INCIDENT_IO, service, limits, metrics),)
