"""A request as it arrived whole, and the answer to it: what every dialect reads and returns."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.access import Caller
from watchkey.model.errors import Malformed

_T = TypeVar("_T")

JSON_TYPE: Final = b"application/json"


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP request with its whole body. Header names are in lower case; repeated ones are joined by `, `."""

    method: str
    path: str
    """As sent, still percent-encoded, without the query."""
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes
    id: str
    """Ours, or the caller's `X-Request-Id` when it is harmless; stands in the answer and in the log."""
    peer: str
    arrived_at: float
    """Seconds of the monotonic clock when the request was complete."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON_TYPE
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Fault(Exception):
    """A request that gets an error instead of an answer; `code` is stable, the message is for people."""

    def __init__(self, status: int, code: str, message: str, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


class Door(StrEnum):
    """Who may walk through a route."""

    OPEN = "open"
    """Anybody, without a caller's token: it tells nothing about people or resources, or proves them in another way."""
    CALLER = "caller"
    """Callers with a token."""
    TRUSTED = "trusted"
    """Callers with a token that are marked as trusted."""
    ADMIN = "admin"
    """Callers with a token that may change what the service believes."""


Handler = Callable[[Request, Caller | None], Awaitable[Response]]
FaultWriter = Callable[[Fault], Response]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One path of one dialect. A path that ends in `/` stands for everything below it."""

    name: str
    """For the metrics: few and fixed."""
    method: str
    path: str
    door: Door
    handler: Handler
    write_fault: FaultWriter
    body_bytes: int


def native_fault(fault: Fault) -> Response:
    """Write an error as `{"error": {"code", "message"}}`, with `"allow": false` beside it for a careless reader."""
    document: dict[str, Any] = {"allow": False, "error": {"code": fault.code, "message": fault.message}}
    return Response(status=fault.status, body=msgspec.json.encode(document) + b"\n", headers=fault.headers)


def required(caller: Caller | None) -> Caller:
    """The caller that a route behind a door always has. Raises `Fault` rather than going on without one."""
    if caller is None:
        raise Fault(401, "unauthorized", "a token of a known caller is needed")
    return caller


def decoded(decoder: StrictDecoder[_T], request: Request) -> _T:
    """The body of a request. Raises `Fault` for one that is not what the decoder takes."""
    try:
        return decoder.decode(request.body)
    except Malformed as error:
        raise Fault(400, "malformed", str(error)) from None
