"""Rootly's webhooks cause a read and nothing else, when they are signed, about now, and new."""

import hashlib
import hmac
from datetime import timedelta

import pytest

from tests.entrypoints.http.house import House
from tests.entrypoints.http.test_svix_webhooks import SOURCE, Desk, send
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.metrics import Metrics
from watchkey.entrypoints.http.rootly_webhooks import ROOTLY, routes
from watchkey.model.ids import SourceName
from watchkey.model.secret import Secret

BODY = b'{"event": {"type": "incident.created"}}'


def desk() -> Desk:
    return Desk(webhook_keys={SOURCE: (Secret("key"),)})


def signed(at: Desk, body: bytes = BODY, age: timedelta = timedelta(0)) -> dict[bytes, bytes]:
    time = str(int((at.clock.now() - age).timestamp())).encode()
    mark = hmac.new(b"key", time + body, hashlib.sha256).hexdigest().encode()
    return {b"x-rootly-signature": b"t=" + time + b",v1=" + mark}


def test_a_signed_one_is_a_hint_and_the_same_once_more_is_none(house: House) -> None:
    at = desk()
    one = (SOURCE, BODY, signed(at))
    assert send(house, at, one, one, form=ROOTLY) == [202, 202]
    assert at.hints == [SOURCE]


@pytest.mark.parametrize("what", ["unsigned", "body", "old", "unknown source"])
def test_any_other_is_refused_and_hints_at_nothing(house: House, what: str) -> None:
    at = desk()
    name, body, headers = SOURCE, BODY, signed(at)
    if what == "unsigned":
        headers = {}
    elif what == "body":
        body += b" "
    elif what == "old":
        headers = signed(at, age=timedelta(minutes=6))
    else:
        name = SourceName("other")
    assert send(house, at, (name, body, headers), form=ROOTLY) == [401]
    assert at.hints == []


def test_the_route_is_open_and_its_body_bounded(house: House) -> None:
    [route] = routes(desk(), Limits(), Metrics(house))
    assert (route.method, route.path) == ("POST", "/v1/webhooks/rootly/")
    assert route.body_bytes == Limits().webhook_body_bytes
