"""Short-lived tokens that prove a person, over HTTP: for a trusted caller that has proven who the person is."""

from datetime import datetime, timedelta
from typing import Annotated, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, decoded, native_fault, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Word
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.model.access import Caller, Subject
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import SubjectId
from watchkey.model.secret import Secret


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
        """Until when it proves them."""
        ...


class Issues(Protocol):
    """Who makes tokens."""

    async def issue(self, subject: Subject, *, caller: Caller, ttl: timedelta) -> Issued:
        """Make a token. Raises Refused or Unavailable."""
        ...


class TokenBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom, and for how long. `groups` are what the identity provider says."""

    subject: Word
    groups: Annotated[tuple[Word, ...], msgspec.Meta(max_length=1000)] = ()
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=43200)] = 600


class TokenAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The token: the password of a connection through the gateway, and a person's proof where one vouches."""

    token: str
    subject: str
    expires_at: datetime


def routes(tokens: Issues, limits: Limits) -> tuple[Route, ...]:
    """The one route."""
    decoder: StrictDecoder[TokenBody] = StrictDecoder(TokenBody, depth_max=limits.depth_max)
    encode = msgspec.json.Encoder().encode

    async def issue(request: Request, caller: Caller | None) -> Response:
        """Make a token for a person, whom the caller has proven to be that person."""
        body = decoded(decoder, request)
        subject = Subject(id=SubjectId(body.subject), groups=frozenset(body.groups))
        try:
            issued = await tokens.issue(subject, caller=required(caller), ttl=timedelta(seconds=body.ttl_s))
        except Refused as error:
            raise Fault(403, "forbidden", str(error)) from None
        except Unavailable:
            raise Fault(503, "unavailable", "the token cannot be recorded now, so there is none") from None
        answer = TokenAnswer(token=issued.token.reveal(), subject=issued.subject.id, expires_at=issued.expires_at)
        return Response(status=200, body=encode(answer), headers=((b"cache-control", b"no-store"),))

    return (
        Route(
            name="tokens",
            method="POST",
            path="/v1/tokens",
            door=Door.TRUSTED,
            handler=issue,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        ),
    )
