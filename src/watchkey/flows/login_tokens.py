"""Short-lived tokens that stand for a person where a protocol has room for a password only.

They live in the memory of one process, by their hash: a restart forgets them all, and whoever reads the memory of the
store, a backup or a log finds nothing that can be used.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from watchkey.model.access import Caller, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import Refused
from watchkey.model.secret import Secret
from watchkey.ports import AuditLog, Clock

PREFIX: Final = "wkt_"
"""So that a scanner for leaked secrets can find one."""
TTL_DEFAULT: Final = timedelta(minutes=10)
TTL_MAX: Final = timedelta(hours=12)
TOKENS_PER_SUBJECT_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A fresh token; this is the only time that its text is seen."""

    token: Secret
    subject: Subject
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a token proves: who somebody is, by the word of the caller in whose name it was issued."""

    subject: Subject
    issuer: Caller


@dataclass(frozen=True, slots=True)
class _Known:
    proof: Proof
    expires_at: datetime
    expires_tick: float


class LoginTokens:
    """Issue and recognise. `new_secret` gives at least 32 random bytes as URL-safe text."""

    def __init__(self, *, audit: AuditLog, clock: Clock, new_secret: Callable[[], str]) -> None:
        self._audit = audit
        self._clock = clock
        self._new_secret = new_secret
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def issue(self, subject: Subject, *, caller: Caller, ttl: timedelta = TTL_DEFAULT) -> IssuedToken:
        """Make a token for a subject, in the name of a trusted caller; it is in the audit log before anybody has it.

        Raises Refused for a caller that is not trusted to say who somebody is.
        """
        if not caller.is_trusted:
            raise Refused(f"{caller.id} is not trusted to issue tokens in a person's name")
        if not subject.id or not timedelta(0) < ttl <= TTL_MAX:
            raise Refused(f"a token needs a subject, and a life of at most {TTL_MAX}")
        now = self._clock.now()
        issued = IssuedToken(token=Secret(PREFIX + self._new_secret()), subject=subject, expires_at=now + ttl)
        await self._audit.append(
            Noted(
                at=now,
                what="token.issued",
                caller=caller.id,
                fields={"subject": subject.id, "expires_at": issued.expires_at.isoformat()},
            )
        )
        self._forget(now)
        mine = [key for key, known in self._known.items() if known.proof.subject.id == subject.id]
        for key in mine[: max(0, len(mine) - TOKENS_PER_SUBJECT_MAX + 1)]:
            del self._known[key]
        self._known[_hash(issued.token)] = _Known(
            Proof(subject=subject, issuer=caller), issued.expires_at, self._clock.monotonic() + ttl.total_seconds()
        )
        return issued

    def recognise(self, token: Secret) -> Proof:
        """Return whose token this is, and who answers for it. Raises Refused, with one text for every cause."""
        known = self._known.get(_hash(token))
        if known is None or self._is_over(known, self._clock.now()):
            raise Refused("this token proves nobody")
        return known.proof

    def _is_over(self, known: _Known, now: datetime) -> bool:
        return now >= known.expires_at or self._clock.monotonic() >= known.expires_tick

    def _forget(self, now: datetime) -> None:
        for key in [key for key, known in self._known.items() if self._is_over(known, now)]:
            del self._known[key]


def _hash(token: Secret) -> bytes:
    return sha256(token.reveal().encode("utf-8", "surrogatepass")).digest()
