"""incident.io's webhooks cause a read and nothing else, when they are signed, about now, and new."""

import asyncio
import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from tests.entrypoints.http.house import House
from tests.fakes.clock import DrivenClock
from watchkey.entrypoints.http.exchange import Fault, Request
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.svix_webhooks import INCIDENT_IO, routes
from watchkey.entrypoints.http.webhooks import Form, Webhooks
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret

SOURCE = SourceName("main")
RAW = b"the key of this source"
BODY = b'{"event_type": "schedule.shift_change_v1"}'


@dataclass
class Desk:
    """What the handler needs of the service."""

    clock: DrivenClock = field(default_factory=DrivenClock)
    hints: list[SourceName] = field(default_factory=list)
    webhook_keys: Mapping[SourceName, tuple[Secret, ...]] = field(
        default_factory=lambda: {SOURCE: (Secret("whsec_" + b64encode(RAW).decode()),)}
    )

    @property
    def sync(self) -> "Desk":
        return self

    def hint(self, name: SourceName, /) -> bool:
        self.hints.append(name)
        return True


def signed(desk: Desk, body: bytes = BODY, message: str = "msg_1", age: timedelta = timedelta(0)) -> dict[bytes, bytes]:
    at = str(int((desk.clock.now() - age).timestamp())).encode()
    text = message.encode() + b"." + at + b"." + body
    mark = b64encode(hmac.new(RAW, text, hashlib.sha256).digest())
    return {b"webhook-id": message.encode(), b"webhook-timestamp": at, b"webhook-signature": b"v1," + mark}


def send(
    house: House, desk: Desk, *messages: tuple[str, bytes, Mapping[bytes, bytes]], form: Form = INCIDENT_IO
) -> list[int]:
    """The status of each, sent one after the other to one handler."""
    handler = Webhooks(form, desk, Limits(), Metrics(house))

    async def go() -> list[int]:
        statuses = []
        for name, body, headers in messages:
            path = f"{form.path}{name}"
            request = Request(
                method="POST", path=path, query="", headers=headers, body=body, peer="p", id="r", arrived_at=0.0
            )
            try:
                statuses.append((await handler.receive(request, None)).status)
            except Fault as fault:
                statuses.append(fault.status)
        return statuses

    return asyncio.run(go())


def test_a_signed_one_is_a_hint_and_the_same_once_more_is_none(house: House) -> None:
    desk = Desk()
    one = (SOURCE, BODY, signed(desk))
    assert send(house, desk, one, one) == [202, 202]
    assert desk.hints == [SOURCE]


@pytest.mark.parametrize("what", ["unsigned", "body", "id", "old", "unknown source"])
def test_any_other_is_refused_and_hints_at_nothing(house: House, what: str) -> None:
    desk = Desk()
    name, body, headers = SOURCE, BODY, signed(desk)
    if what == "unsigned":
        headers = {}
    elif what == "body":
        body += b" "
    elif what == "id":
        headers[b"webhook-id"] = b"msg_2"
    elif what == "old":
        headers = signed(desk, age=timedelta(minutes=6))
    else:
        name = SourceName("other")
    assert send(house, desk, (name, body, headers)) == [401]
    assert desk.hints == []


def test_the_route_is_open_and_its_body_bounded(house: House) -> None:
    [route] = routes(Desk(), Limits(), Metrics(house))
    assert (route.method, route.path) == ("POST", "/v1/webhooks/incident_io/")
    assert route.body_bytes == Limits().webhook_body_bytes
