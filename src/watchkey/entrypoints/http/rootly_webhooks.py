"""Rootly's webhooks: proof of the sender and the time, then *read that source soon*; the body is never believed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from watchkey.entrypoints.http.exchange import Request, Route
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.webhooks import Form, Hooked, route, text_of
from watchkey.model.secret import Secret
from watchkey.rules.rootly_webhook import verify

_SIGNATURE: Final = b"x-rootly-signature"


def _is_from_rootly(request: Request, keys: Sequence[Secret], now: datetime) -> bool:
    return verify(request.body, text_of(request, _SIGNATURE), keys, now)


ROOTLY: Final = Form(
    path="/v1/webhooks/rootly/",
    id_header=_SIGNATURE,  # there is no other: the signature covers the time and the body
    nobody=(Secret("no source has this key"),),
    is_genuine=_is_from_rootly,
)


def routes(service: Hooked, limits: Limits, metrics: Metrics) -> tuple[Route, ...]:
    """The routes of this dialect."""
    return (route(ROOTLY, service, limits, metrics),)
