"""A second person vouches for a shift that its beneficiary may have given to himself, or that came at short notice.

The word is in the audit log before it counts, and is kept over a restart. Nobody vouches for himself: the confirmer is
another linked and active person of the same source. Whoever asks must be trusted to know who the confirmer is.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from watchkey.model.access import Caller, Resource
from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, Refused
from watchkey.model.ids import PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import Scope, Shift
from watchkey.ports import AuditLog, Clock, Memory, RosterStore
from watchkey.rules.confirmation import Confirmation, confirmation_of, is_doubtful, still_needed
from watchkey.rules.identity import Ambiguous, Links, canonical_name
from watchkey.rules.roster import RosterIndex

REMEMBERED: Final = "confirmations"

Confirmed = MutableMapping[SourceName, tuple[Confirmation, ...]]
"""What has been vouched for, by source; whoever reads the sources looks it up here."""


class Known(Protocol):
    """What the configuration says of resources and people."""

    @property
    def resources(self) -> Mapping[ResourceId, Resource]:
        """What is protected."""
        ...

    @property
    def links(self) -> Links:
        """Who is who."""
        ...


class Regrades(Protocol):
    """Who holds the rosters."""

    async def regrade(self, name: SourceName, /) -> bool:
        """Grade the present roster anew; whether that changed it."""
        ...


def recall_confirmations(memory: Memory, now: datetime) -> dict[SourceName, tuple[Confirmation, ...]]:
    """What was vouched for before the restart. Raises `Malformed`, and port errors of the memory."""
    found = memory.recall(REMEMBERED)
    try:
        kept = msgspec.convert(found or [], tuple[Confirmation, ...])
    except msgspec.ValidationError as error:
        raise Malformed(f"what was kept of confirmations cannot be read: {error}") from error
    confirmed: dict[SourceName, tuple[Confirmation, ...]] = {}
    for one in still_needed(kept, now):
        confirmed[one.source] = (*confirmed.get(one.source, ()), one)
    return confirmed


class ConfirmShift:
    """The use case. `confirmed` is shared with whoever grades the rosters."""

    def __init__(
        self,
        *,
        clock: Clock,
        rosters: RosterStore,
        known: Callable[[], Known],
        audit: AuditLog,
        memory: Memory,
        confirmed: Confirmed,
        regrades: Regrades,
    ) -> None:
        self._clock = clock
        self._rosters = rosters
        self._known = known
        self._audit = audit
        self._memory = memory
        self._confirmed = confirmed
        self._regrades = regrades
        self._one_at_a_time = asyncio.Lock()

    async def confirm(
        self, subject: SubjectId, resource: ResourceId, *, by: SubjectId, caller: Caller, at: datetime | None = None
    ) -> tuple[Confirmation, ...]:
        """Vouch for the shifts through which `subject` holds the pager of the resource at that instant (None: now).

        Without a shift at that instant, for the next one. Raises `Refused` with the reason, `Unavailable` when the
        word cannot be recorded; then it does not count.
        """
        async with self._one_at_a_time:
            now = self._clock.now()
            scopes = self._scopes(resource, caller)
            if canonical_name(subject) == canonical_name(by):
                raise Refused(f"{by} cannot vouch for a shift of {subject}: that takes a second person")
            found = dict.fromkeys(
                confirmation_of(shift, scope.source, by, now)
                for scope, index in scopes
                for shift in self._shifts(subject, by, scope, index, at or now)
            )
            if not found:
                raise Refused(f"{subject} has no shift for {resource} then, or none in the time that was read")
            new = tuple(found)
            await self._audit.append(_noted(new, subject, resource, caller, now))
            await self._take(new, now)
            return new

    def _scopes(self, name: ResourceId, caller: Caller) -> list[tuple[Scope, RosterIndex]]:
        resource = self._known().resources.get(name)
        if resource is None or not caller.may_ask_about(name):
            raise Refused(f"there is no resource {name} for this caller")
        if not caller.is_trusted:
            raise Refused("only a trusted caller may say who vouches")
        held = self._rosters.held()
        scopes = [(scope, held[scope.source].index) for scope in resource.scopes if scope.source in held]
        if not scopes:
            raise Refused(f"no roster of {name} has been read yet")
        return scopes

    def _shifts(
        self, subject: SubjectId, by: SubjectId, scope: Scope, index: RosterIndex, at: datetime
    ) -> Iterator[Shift]:
        """The doubtful shifts of the subject in one scope. Raises `Refused` when there are only others."""
        person = self._person(subject, scope.source, index)
        shifts = index.on_call_of(person, scope, at)
        if not shifts:
            later = index.next_shift_of(person, scope, at)
            shifts = () if later is None else (later,)
        if not shifts:
            return
        if self._person(by, scope.source, index) == person:
            raise Refused(f"{by} and {subject} are the same person in {scope.source}")
        doubtful = [shift for shift in shifts if is_doubtful(shift)]
        if not doubtful:
            raise Refused(f"the shift of {subject} is of grade {shifts[0].provenance} and needs nobody's word")
        yield from doubtful

    def _person(self, subject: SubjectId, source: SourceName, index: RosterIndex) -> PersonId:
        linked = self._known().links.person_of(subject, source)
        if linked is None:
            raise Refused(f"{subject} is not linked to anybody in {source}")
        if isinstance(linked, Ambiguous):
            raise Refused(linked.why)
        person = index.person(linked)
        if person is None or person.active is not True:
            raise Refused(f"{subject} is not known to be active in {source}")
        return person.id

    async def _take(self, new: tuple[Confirmation, ...], now: datetime) -> None:
        """Keep the word, then let it count."""
        everything = still_needed([one for kept in self._confirmed.values() for one in kept], now)
        merged = tuple(dict.fromkeys([*everything, *new]))
        await self._memory.remember(REMEMBERED, merged)
        for source in {one.source for one in merged} | set(self._confirmed):
            self._confirmed[source] = tuple(one for one in merged if one.source == source)
        for source in dict.fromkeys(one.source for one in new):
            await self._regrades.regrade(source)


def _noted(
    new: tuple[Confirmation, ...], subject: SubjectId, resource: ResourceId, caller: Caller, now: datetime
) -> Noted:
    fields: dict[str, Any] = {
        "subject": subject,
        "resource": resource,
        "by": new[0].by,
        "shifts": [
            {name: value for name, value in msgspec.to_builtins(one).items() if name not in {"by", "at"}} for one in new
        ],
    }
    return Noted(at=now, what="shift.confirmed", caller=caller.id, fields=fields)
