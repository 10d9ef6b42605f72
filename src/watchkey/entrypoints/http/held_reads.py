"""Reads that the shrink guard holds back, for callers that may administer: look at one, and let in what was seen."""

from datetime import datetime
from typing import Any, Protocol

import msgspec

from watchkey.entrypoints.http.exchange import Door, Fault, Request, Response, Route, decoded, native_fault, required
from watchkey.entrypoints.http.limits import Limits
from watchkey.entrypoints.http.native import Word
from watchkey.entrypoints.http.strict_json import StrictDecoder
from watchkey.flows.sync_roster import Synced, Waiting
from watchkey.model.access import Caller
from watchkey.model.errors import Refused, Unavailable
from watchkey.model.ids import CallerId, SourceName


class Lets(Protocol):
    """Who reads the sources."""

    async def waiting(self, name: SourceName, /) -> Waiting | None:
        """The read that is held back."""
        ...

    async def accept(self, name: SourceName, /, *, caller: CallerId, digest: str) -> Synced:
        """Let it in. Raises Refused or Unavailable."""
        ...


class LossAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who would no longer have a duty."""

    person: str
    name: str
    policy: str | None
    level: int | None
    schedule: str | None
    now: bool
    """Whether they have it at this moment; else it is one of the time ahead."""


class HeldAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete read that was not taken over, and what it would take away. `digest` is what lets it in."""

    source: str
    digest: str
    taken_at: datetime
    why: str
    people: int
    shifts: int
    losses: tuple[LossAnswer, ...]
    services: tuple[str, ...]
    """Services that would page nobody, or others."""


class HeldBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which source's."""

    source: Word


class AcceptBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which read of which source: the digest is that of the read whose losses were looked at."""

    source: Word
    digest: Word


class AcceptedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The roster that decisions use from now on."""

    source: str
    revision: int
    digest: str


class HeldReads:
    """The handlers."""

    def __init__(self, lets: Lets, limits: Limits) -> None:
        self._lets = lets
        self._held: StrictDecoder[HeldBody] = StrictDecoder(HeldBody, depth_max=limits.depth_max)
        self._accept: StrictDecoder[AcceptBody] = StrictDecoder(AcceptBody, depth_max=limits.depth_max)
        self._encode = msgspec.json.Encoder().encode

    async def look(self, request: Request, caller: Caller | None) -> Response:
        """What is held back of a source, and who would lose what."""
        required(caller)
        source = SourceName(decoded(self._held, request).source)
        waiting = await self._lets.waiting(source)
        if waiting is None:
            raise Fault(404, "nothing_held", "no read of that source is held back")
        return Response(status=200, body=self._encode(_answer(source, waiting)))

    async def accept(self, request: Request, caller: Caller | None) -> Response:
        """Let in exactly the read that was looked at."""
        by, body = required(caller), decoded(self._accept, request)
        try:
            done = await self._lets.accept(SourceName(body.source), caller=by.id, digest=body.digest)
        except Refused as error:
            raise Fault(409, "not_that_read", str(error)) from None
        except Unavailable:
            raise Fault(503, "unavailable", "the word cannot be recorded now, so it does not count") from None
        answer = AcceptedAnswer(source=body.source, revision=done.held.revision, digest=done.held.index.digest)
        return Response(status=200, body=self._encode(answer))


def _answer(source: SourceName, waiting: Waiting) -> HeldAnswer:
    change, before = waiting.change, waiting.before
    losses: list[LossAnswer] = []
    for duty in sorted(change.lost_now | change.lost_ahead, key=lambda one: (one not in change.lost_now, str(one))):
        person, policy, level, schedule = duty
        known = before.person(person)
        losses.append(
            LossAnswer(
                person=person,
                name=str(person) if known is None else known.name,
                policy=policy,
                level=level,
                schedule=schedule,
                now=duty in change.lost_now,
            )
        )
    return HeldAnswer(
        source=source,
        digest=waiting.digest,
        taken_at=waiting.taken_at,
        why=waiting.why,
        people=len(waiting.after.roster.people),
        shifts=len(waiting.after.roster.shifts),
        losses=tuple(losses),
        services=tuple(sorted(change.lost_services)),
    )


def routes(lets: Lets, limits: Limits) -> tuple[Route, ...]:
    """The routes."""
    here = HeldReads(lets, limits)
    table: tuple[tuple[str, str, Any], ...] = (
        ("held-read", "/v1/sources/held", here.look),
        ("held-read-accept", "/v1/sources/accept", here.accept),
    )
    return tuple(
        Route(
            name=name,
            method="POST",
            path=path,
            door=Door.ADMIN,
            handler=handler,
            write_fault=native_fault,
            body_bytes=limits.body_bytes,
        )
        for name, path, handler in table
    )
