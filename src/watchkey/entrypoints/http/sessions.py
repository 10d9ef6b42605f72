"""The gateway's desk over HTTP, for trusted callers: who is in, ending a session."""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, decoded, native_fault, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Word
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.access import Caller


class Desk(Protocol):
    """What the gateways offer."""

    def sessions(self) -> list[dict[str, Any]]:
        """Who is in."""
        ...

    def endings(self) -> list[dict[str, Any]]:
        """Leases that are being taken back."""
        ...

    def end(self, session: str, *, by: str, why: str) -> bool:
        """End one session; whether there was one."""
        ...


class EndBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which session, and why; the reason is told to the person."""

    session: Word
    reason: Word


class Sessions:
    """The handlers."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk = desk
        self._end: StrictDecoder[EndBody] = StrictDecoder(EndBody, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode

    async def sessions(self, request: Request, caller: Caller | None) -> Response:
        """Who is in, and what is being taken back."""
        del request
        seen = required(caller).resources
        return Response(
            status=200,
            body=self._encode(
                {
                    "sessions": [one for one in self._desk.sessions() if seen is None or one["resource"] in seen],
                    "endings": [one for one in self._desk.endings() if seen is None or one["resource"] in seen],
                }
            ),
        )

    async def end(self, request: Request, caller: Caller | None) -> Response:
        """End a session."""
        body, caller = decoded(self._end, request), required(caller)
        seen = caller.resources
        known = {one["id"] for one in self._desk.sessions() if seen is None or one["resource"] in seen}
        if body.session not in known or not self._desk.end(body.session, by=caller.id, why=body.reason):
            raise Fault(404, "unknown_session", "there is no such session")
        return Response(status=200, body=b"{}")


def routes(desk: Desk, limits: Limits) -> Sequence[Route]:
    """The routes of this desk."""
    sessions = Sessions(desk, limits)
    table = (
        ("sessions", "GET", "/v1/sessions", sessions.sessions),
        ("sessions-end", "POST", "/v1/sessions/end", sessions.end),
    )
    return [
        Route(
            name=name, method=method, path=path, door=Door.TRUSTED, handler=handler, write_fault=native_fault,
            body_bytes=limits.body_bytes,
        )
        for name, method, path, handler in table
    ]  # fmt: skip
