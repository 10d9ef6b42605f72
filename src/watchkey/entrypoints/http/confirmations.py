"""Vouching for a shift over HTTP. It takes a person's own token (`wkt_…`): a program's proves no second person."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, decoded, native_fault
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Word
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.flows.confirm_shift import DoubtfulShift, Voucher
from watchkey.flows.login_tokens import PREFIX, Proof
from watchkey.model.access import Caller
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.secret import Secret
from watchkey.rules.confirmation import Confirmation

log = logging.getLogger("watchkey.http")

_SCHEME: Final = "bearer "
_NO_PERSON: Final = Fault(
    401,
    "not_a_person",
    f"a person's own token is needed: Authorization: Bearer {PREFIX}…, as `watchkey login` gives it",
    headers=((b"www-authenticate", b'Bearer realm="watchkey"'),),
)


class Recognises(Protocol):
    """Who knows the tokens of people."""

    def recognise(self, token: Secret) -> Proof:
        """Whose it is, and who answers for that. Raises Refused."""
        ...


class Confirms(Protocol):
    """The use case."""

    def doubtful(self, voucher: Voucher) -> Sequence[DoubtfulShift]:
        """The shifts that need a word."""
        ...

    async def confirm(self, shift: str, voucher: Voucher) -> Confirmation:
        """Vouch for one. Raises Refused or Unavailable."""
        ...

    async def withdraw(self, shift: str, voucher: Voucher) -> None:
        """Take a word back. Raises Refused or Unavailable."""
        ...


class ShiftBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which shift: its id in the list, which changes with the shift."""

    shift: Word


class DoubtfulAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A shift that opens less than its holder may need, until somebody vouches for it."""

    id: str
    source: str
    person: str
    name: str
    subject: str | None
    schedule: str | None
    policy: str | None
    level: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    end_kind: str
    grade: str
    resources: tuple[str, ...]
    confirmed_by: str | None
    """Who has vouched for it, as it stands; null: nobody has."""
    confirmed_until: datetime | None
    why_not: str
    """Why you cannot vouch for it; empty when you can."""


class DoubtfulAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by start, of the sources in which you are somebody."""

    shifts: tuple[DoubtfulAnswer, ...]


class ConfirmedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Who has vouched for which shift, until when it counts."""

    shift: str
    by: str
    until: datetime


class Confirmations:
    """The handlers. Each finds out for itself who the person is."""

    def __init__(self, tokens: Recognises, confirms: Confirms, limits: Limits) -> None:
        self._tokens = tokens
        self._confirms = confirms
        self._shift: StrictDecoder[ShiftBody] = StrictDecoder(ShiftBody, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode

    async def listed(self, request: Request, caller: Caller | None) -> Response:
        """The shifts that need a word, and what the person may do about each."""
        del caller
        voucher = self._voucher(request)
        answer = DoubtfulAnswers(shifts=tuple(_answer(one) for one in self._confirms.doubtful(voucher)))
        return Response(status=200, body=self._encode(answer))

    async def confirm(self, request: Request, caller: Caller | None) -> Response:
        """Vouch for one shift."""
        del caller
        voucher, shift = self._voucher(request), decoded(self._shift, request).shift
        try:
            word = await self._confirms.confirm(shift, voucher)
        except Refused as error:
            raise Fault(403, "forbidden", str(error)) from None
        except Unavailable:
            raise Fault(503, "unavailable", "the word cannot be recorded and kept now, so it does not count") from None
        return Response(status=200, body=self._encode(ConfirmedAnswer(shift=word.shift, by=word.by, until=word.until)))

    async def withdraw(self, request: Request, caller: Caller | None) -> Response:
        """Take a word back."""
        del caller
        voucher, shift = self._voucher(request), decoded(self._shift, request).shift
        try:
            await self._confirms.withdraw(shift, voucher)
        except Refused as error:
            raise Fault(403, "forbidden", str(error)) from None
        except Unavailable:
            why = "the word counts no more, but that cannot be kept now: a restart would bring it back"
            raise Fault(503, "unavailable", why) from None
        return Response(status=200, body=b"{}")

    def _voucher(self, request: Request) -> Voucher:
        given = request.headers.get(b"authorization", b"").decode("latin-1")
        token = Secret(given[len(_SCHEME) :])
        if given[: len(_SCHEME)].lower() != _SCHEME:
            raise _NO_PERSON
        try:
            proof = self._tokens.recognise(token)
        except Refused:
            log.warning("http.person_refused", extra={"request_id": request.id, "peer": request.peer})
            raise _NO_PERSON from None
        return Voucher(subject=proof.subject, issuer=proof.issuer)


def _answer(one: DoubtfulShift) -> DoubtfulAnswer:
    shift, word = one.shift, one.confirmed
    return DoubtfulAnswer(
        id=one.id,
        source=one.source,
        person=shift.person,
        name=one.name,
        subject=one.subject,
        schedule=shift.schedule,
        policy=shift.policy,
        level=shift.level,
        starts_at=shift.starts_at,
        ends_at=shift.ends_at,
        end_kind=shift.end_kind.value,
        grade=shift.provenance.value,
        resources=one.resources,
        confirmed_by=None if word is None else word.by,
        confirmed_until=None if word is None else word.until,
        why_not=one.why_not,
    )


def routes(tokens: Recognises, confirms: Confirms, limits: Limits) -> tuple[Route, ...]:
    """The routes. Their door is open because no caller stands behind it: the person's token is looked at inside."""
    here = Confirmations(tokens, confirms, limits)
    table: tuple[tuple[str, str, str, Any], ...] = (
        ("confirmations", "GET", "/v1/confirmations", here.listed),
        ("confirm", "POST", "/v1/confirmations", here.confirm),
        ("confirm-withdraw", "POST", "/v1/confirmations/withdraw", here.withdraw),
    )
    return tuple(
        Route(
            name=name,
            method=method,
            path=path,
            door=Door.OPEN,
            handler=handler,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        )
        for name, method, path, handler in table
    )
