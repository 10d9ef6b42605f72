"""A second person vouches for a shift that its holder may have given to himself, or that came at short notice.

Nobody vouches for himself. Who vouches has proven to be a person, is linked to an active person of the same source, and
may use every resource that the shift opens, as far as groups are reviewed. The word is in the audit log, and on disk,
before it counts; it is for the shift as it stands, and ends by itself.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from watchkey.model.access import Caller, Resource, Subject
from watchkey.model.audit import Noted
from watchkey.model.errors import PortError, Refused
from watchkey.model.ids import PersonId, ResourceId, SourceName, SubjectId
from watchkey.model.oncall import ScopeKind, Shift
from watchkey.ports import AuditLog, Clock
from watchkey.rules.confirmation import LASTS_MAX, Confirmation, confirmation_of, is_doubtful, shift_id
from watchkey.rules.directory import Directory
from watchkey.rules.identity import Ambiguous
from watchkey.rules.roster import RosterIndex

log = logging.getLogger("watchkey.confirm_shift")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voucher:
    """A person, as a token of their own has proven."""

    subject: Subject
    issuer: Caller
    """The caller in whose name that token was issued: it answers for who the person is, on its resources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationRules:
    """What the configuration says about vouching."""

    groups: frozenset[str] = frozenset()
    """When not empty, who vouches must be in one of them."""
    lasts_max: timedelta = LASTS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class DoubtfulShift:
    """A shift that opens less than its holder may need, until somebody vouches for it."""

    id: str
    source: SourceName
    shift: Shift
    name: str
    """Its holder's, as the source has it."""
    subject: SubjectId | None
    resources: tuple[ResourceId, ...]
    """Whose pager it is."""
    confirmed: Confirmation | None
    why_not: str = ""
    """Why the person who asks cannot vouch for it; empty when he can."""


class Reads(Protocol):
    """Who holds the rosters."""

    def as_read(self, name: SourceName, /) -> RosterIndex | None:
        """The present roster, without anybody's word."""
        ...

    async def regrade(self, name: SourceName, /) -> bool:
        """Grade it anew, by the words that count now."""
        ...


class Words(Protocol):
    """The words that count."""

    def standing(self, source: SourceName, /) -> Sequence[Confirmation]:
        """Those of one source."""
        ...

    async def add(self, new: Confirmation, /) -> None:
        """One more; `Unavailable` when it cannot be kept."""
        ...

    async def remove(self, gone: Sequence[Confirmation], /) -> None:
        """Fewer, from now on; `Unavailable` when a restart would bring them back."""
        ...


class ConfirmShift:
    """The use case for all sources."""

    def __init__(
        self,
        *,
        clock: Clock,
        reads: Reads,
        known: Callable[[], Directory],
        audit: AuditLog,
        words: Words,
        sources: Sequence[SourceName],
        rules: ConfirmationRules,
    ) -> None:
        self._clock = clock
        self._reads = reads
        self._known = known
        self._audit = audit
        self._words = words
        self._sources = sources
        self._rules = rules
        self._one_at_a_time = asyncio.Lock()

    def doubtful(self, voucher: Voucher) -> tuple[DoubtfulShift, ...]:
        """The shifts that need somebody's word, by start; of the sources in which the person is somebody."""
        found = [
            one
            for source in self._sources
            if not isinstance(index := self._house_of(voucher.subject.id, source), str)
            for one in self._in(source, index, voucher)
        ]
        return tuple(sorted(found, key=lambda one: (one.shift.starts_at is not None, str(one.shift.starts_at))))

    async def confirm(self, shift: str, voucher: Voucher) -> Confirmation:
        """Vouch for the shift of that id, as it stands.

        A word that would end no later than the one that stands is that one. Raises `Refused` with the reason,
        `Unavailable` when the word cannot be recorded or kept; then it does not count.
        """
        async with self._one_at_a_time:
            found = self._find(shift, voucher)
            if found.why_not:
                raise Refused(found.why_not)
            now = self._clock.now()
            word = confirmation_of(found.shift, found.source, voucher.subject.id, now, self._rules.lasts_max)
            if found.confirmed is not None and word.until <= found.confirmed.until:
                return found.confirmed
            fields = {**_about(found), "until": word.until.isoformat()}
            await self._audit.append(self._noted("shift.confirmed", voucher, fields))
            await self._words.add(word)
            await self._reads.regrade(found.source)
            return word

    async def withdraw(self, shift: str, voucher: Voucher) -> None:
        """Take back the word for a shift, one's own or another's: whoever is somebody in the source may doubt.

        It counts no more from now on. Raises `Refused` when there is no such word, `Unavailable` when a restart would
        bring it back.
        """
        async with self._one_at_a_time:
            found = self._find(shift, voucher)
            if found.confirmed is None:
                raise Refused(f"nobody has vouched for the shift {shift}")
            try:
                await self._audit.append(self._noted("shift.confirmation_withdrawn", voucher, _about(found)))
            except PortError as error:  # what takes access away does not wait for the log
                log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  # the text says it all
            gone = [word for word in self._words.standing(found.source) if word.is_about(found.shift)]
            try:
                await self._words.remove(gone)
            finally:
                await self._reads.regrade(found.source)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _find(self, shift: str, voucher: Voucher) -> DoubtfulShift:
        found = [one for one in self.doubtful(voucher) if one.id == shift]
        if len(found) == 1:
            return found[0]
        houses = [self._house_of(voucher.subject.id, source) for source in self._sources]
        nowhere = [why for why in houses if isinstance(why, str)]
        if nowhere and len(nowhere) == len(houses):
            raise Refused(nowhere[0])
        raise Refused(f"there is no shift {shift} that needs a word; if it changed, it has another id now")

    def _house_of(self, subject: SubjectId, source: SourceName) -> RosterIndex | str:
        """The roster of a source in which the person is somebody, or why there is none."""
        index = self._reads.as_read(source)
        if index is None:
            return f"no roster of {source} has been read yet"
        linked = self._known().links.person_of(subject, source)
        if linked is None:
            return f"{subject} is not linked to anybody in {source}"
        if isinstance(linked, Ambiguous):
            return linked.why
        person = index.person(linked)
        if person is None or person.active is not True:
            return f"{subject} is not known to be active in {source}"
        return index

    def _in(self, source: SourceName, index: RosterIndex, voucher: Voucher) -> Iterator[DoubtfulShift]:
        known, now = self._known(), self._clock.now()
        words = self._words.standing(source)
        for shift in index.roster.shifts:
            if not is_doubtful(shift) or (shift.ends_at is not None and shift.ends_at <= now):
                continue
            opened = tuple(one for one in known.resources.values() if _concerns(one, index, shift))
            if not opened:
                continue
            person, linked = index.person(shift.person), known.links.linked_to(shift.person, source)
            yield DoubtfulShift(
                id=shift_id(source, shift),
                source=source,
                shift=shift,
                name=str(shift.person) if person is None else person.name,
                subject=None if isinstance(linked, Ambiguous) else linked,
                resources=tuple(one.id for one in opened),
                confirmed=max(
                    (word for word in words if word.is_about(shift)), key=lambda word: word.until, default=None
                ),
                why_not=self._why_not(voucher, source, shift.person, opened),
            )

    def _why_not(self, voucher: Voucher, source: SourceName, holder: PersonId, opened: Sequence[Resource]) -> str:
        """Why somebody who is linked and active cannot vouch for that holder's shift; empty when he can."""
        known, who = self._known(), voucher.subject
        if known.links.person_of(who.id, source) == holder:
            return f"{who.id} has this shift: it takes a second person to vouch for it"
        groups = who.groups | known.groups.get(who.id, frozenset())
        if self._rules.groups and self._rules.groups.isdisjoint(groups):
            return f"{who.id} is in none of the groups that may vouch: {', '.join(sorted(self._rules.groups))}"
        for resource in opened:
            if not voucher.issuer.may_ask_about(resource.id):
                return f"the shift opens {resource.id}, for which {voucher.issuer.id} may not say who somebody is"
            if resource.eligible_groups and resource.eligible_groups.isdisjoint(groups):
                return f"the shift opens {resource.id}, for which {who.id} is not eligible"
        return ""

    def _noted(self, what: str, voucher: Voucher, fields: Mapping[str, Any]) -> Noted:
        return Noted(
            at=self._clock.now(), what=what, caller=voucher.issuer.id, fields={"by": voucher.subject.id, **fields}
        )


def _concerns(resource: Resource, index: RosterIndex, shift: Shift) -> bool:
    """Whether the shift is one of those that the resource's ceiling lets count."""
    return any(
        scope.source == index.source
        and index.is_in(shift, scope)
        and (scope.kind is ScopeKind.SCHEDULE or (shift.level is not None and shift.level <= resource.max_level))
        for scope in resource.scopes
    )


def _about(one: DoubtfulShift) -> Mapping[str, Any]:
    shift = one.shift
    return {
        "source": one.source,
        "shift": one.id,
        "person": shift.person,
        "subject": one.subject,
        "schedule": shift.schedule,
        "policy": shift.policy,
        "level": shift.level,
        "starts_at": None if shift.starts_at is None else shift.starts_at.isoformat(),
        "ends_at": None if shift.ends_at is None else shift.ends_at.isoformat(),
        "grade": shift.provenance.value,
        "resources": list(one.resources),
    }
