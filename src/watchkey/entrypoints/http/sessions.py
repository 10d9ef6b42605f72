"""The gateway's desk over HTTP, for trusted callers: tokens for people, who is in, ending a session."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, native_fault
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.access import Caller, Subject
from watchkey.model.errors import Malformed, Refused, Unavailable
from watchkey.model.ids import SubjectId
from watchkey.model.secret import Secret

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Issued(Protocol):
    """A fresh token."""

    @property
    def token(self) -> Secret:
        """Its text, once."""
        ...

    @property
    def subject(self) -> Subject:
        """Whose it is."""
        ...

    @property
    def expires_at(self) -> datetime:
        """Until when it opens a connection."""
        ...


class Desk(Protocol):
    """What the gateways offer."""

    async def issue(self, subject: SubjectId, groups: frozenset[str], *, caller: Caller, ttl: timedelta) -> Issued:
        """Make a token. Raises Refused or Unavailable."""
        ...

    def sessions(self) -> list[dict[str, Any]]:
        """Who is in."""
        ...

    def endings(self) -> list[dict[str, Any]]:
        """Leases that are being taken back."""
        ...

    def end(self, session: str, *, by: str, why: str) -> bool:
        """End one session; whether there was one."""
        ...


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom, and for how long."""

    subject: Word
    groups: Annotated[tuple[Word, ...], msgspec.Meta(max_length=1000)] = ()
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=43200)] = 600


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The token: the password of a connection through the gateway."""

    token: str
    subject: str
    expires_at: datetime


class EndBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which session, and why; the reason is told to the person."""

    session: Word
    reason: Word


class Sessions:
    """The handlers."""

    def __init__(self, desk: Desk, limits: Limits) -> None:
        self._desk = desk
        self._token: StrictDecoder[TokenBody] = StrictDecoder(TokenBody, depth_max=limits.depth_max)
        self._end: StrictDecoder[EndBody] = StrictDecoder(EndBody, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode

    async def issue(self, request: Request, caller: Caller | None) -> Response:
        """Make a token for a person, whom the caller has proven to be that person."""
        body, caller = self._read(self._token, request), _required(caller)
        ttl = timedelta(seconds=body.ttl_s)
        try:
            issued = await self._desk.issue(SubjectId(body.subject), frozenset(body.groups), caller=caller, ttl=ttl)
        except Refused as error:
            raise Fault(403, "forbidden", str(error)) from None
        except Unavailable:
            raise Fault(503, "unavailable", "the token cannot be recorded now, so there is none") from None
        answer = TokenAnswer(token=issued.token.reveal(), subject=issued.subject.id, expires_at=issued.expires_at)
        return Response(status=200, body=self._encode(answer), headers=((b"cache-control", b"no-store"),))

    async def sessions(self, request: Request, caller: Caller | None) -> Response:
        """Who is in, and what is being taken back."""
        del request
        seen = _required(caller).resources
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
        body, caller = self._read(self._end, request), _required(caller)
        seen = caller.resources
        known = {one["id"] for one in self._desk.sessions() if seen is None or one["resource"] in seen}
        if body.session not in known or not self._desk.end(body.session, by=caller.id, why=body.reason):
            raise Fault(404, "unknown_session", "there is no such session")
        return Response(status=200, body=b"{}")

    def _read(self, decoder: StrictDecoder[Any], request: Request) -> Any:
        try:
            return decoder.decode(request.body)
        except Malformed as error:
            raise Fault(400, "malformed", str(error)) from None


def _required(caller: Caller | None) -> Caller:
    if caller is None:
        raise Fault(401, "unauthorized", "a token of a known caller is needed")
    return caller


def routes(desk: Desk, limits: Limits) -> Sequence[Route]:
    """The routes of this desk."""
    sessions = Sessions(desk, limits)
    table = (
        ("tokens", "POST", "/v1/tokens", sessions.issue),
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
