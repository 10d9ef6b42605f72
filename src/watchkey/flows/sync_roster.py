"""Read a source, grade what it says, guard against shrinking, and swap the roster at once or not at all.

Planned handoffs need none of this: they are in the roster that was read with a look-ahead, and happen by time. A read
brings the unplanned changes. A webhook is a hint that causes a read, and nothing else. What the log cannot record does
not stop a roster from being taken over, since a newer roster may be the one that takes access away.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, ParamSpec, Protocol, TypeVar

from watchkey.model.audit import AuditEvent, Noted, RosterHeld, RosterSwapped
from watchkey.model.errors import PortError, Refused, Unavailable
from watchkey.model.ids import CallerId, SourceName
from watchkey.model.oncall import Roster
from watchkey.ports import AuditLog, Clock, HeldRoster, RosterStore, Source
from watchkey.rules.confirmation import Confirmation, apply_confirmations, lapsed, take_back
from watchkey.rules.provenance import Sightings, grade_by_sight
from watchkey.rules.roster import GuardLimits, Hold, RosterChange, RosterIndex, diff, index_roster, shrink_guard

log = logging.getLogger("watchkey.sync_roster")

_P = ParamSpec("_P")
_T = TypeVar("_T")

HINT_GAP: Final = 1.0
"""Seconds between two reads that hints may cause; more hints in between cause one."""

LARGE: Final = 2_000
"""From so many shifts on, indexing and comparing rosters is done beside the event loop: decisions must not wait."""

BACKOFF_FIRST: Final = 2.0
BACKOFF_MAX: Final = 60.0
"""Seconds to the next try after a failure: doubled each time, never more than this, never less than the source asks."""


class RosterMemory(Protocol):
    """What is kept over a restart: the last roster taken over, and when each shift was first seen."""

    async def keep(self, held: HeldRoster, sightings: Sightings, *, age: timedelta = timedelta(0)) -> None:
        """Keep both; `age` is that of the last complete read. `Unavailable` when they cannot be kept."""
        ...


class Words(Protocol):
    """What people have vouched for."""

    def standing(self, source: SourceName, /) -> Sequence[Confirmation]:
        """The words that count."""
        ...

    def taken_back(self, source: SourceName, /) -> Sequence[Confirmation]:
        """The words that counted once, whose time is not over and that do not count any more."""
        ...

    async def lapse(self, gone: Sequence[Confirmation], /) -> None:
        """Their shifts are not what they were: they never count again. Raises nothing."""
        ...


class NoWords:
    """Where nobody vouches for anything."""

    def standing(self, source: SourceName, /) -> Sequence[Confirmation]:
        """None."""
        del source
        return ()

    def taken_back(self, source: SourceName, /) -> Sequence[Confirmation]:
        """None."""
        del source
        return ()

    async def lapse(self, gone: Sequence[Confirmation], /) -> None:
        """Nothing ever does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """A complete read was taken over."""

    held: HeldRoster
    change: RosterChange


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSynced:
    """The roster stays as it was; `retry_after` in seconds, when the source asked for a pause."""

    why: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A complete read that the guard holds back, and that an operator may let in."""

    digest: str
    """By which it is let in."""
    taken_at: datetime
    why: str
    change: RosterChange
    """What it would change, from the roster that decisions use now."""
    before: RosterIndex
    after: RosterIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A complete read, and what it takes to swap it in."""

    base: RosterIndex
    """As it was read and graded, without anybody's word."""
    sightings: Sightings
    read_at: float


@dataclass(slots=True)
class _Progress:
    """What one source's loop carries from read to read."""

    source: Source
    wake: asyncio.Event
    sightings: Sightings | None
    pending: RosterIndex | None = None
    waiting: _Read | None = None
    base: RosterIndex | None = None
    """The present roster without anybody's word; None: nothing has been read since the start."""
    swapping: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a roster is made from the one before, so that none is made from one that is replaced meanwhile."""
    last_error: str | None = None
    failures: int = 0
    notes: frozenset[str] = frozenset()
    """What the last complete read could not learn; each is told once as long as it stands."""


class SyncRoster:
    """The use case for all configured sources."""

    def __init__(  # noqa: PLR0913 -- a use case's collaborators, each given once
        self,
        *,
        clock: Clock,
        sources: Iterable[Source],
        rosters: RosterStore,
        audit: AuditLog,
        memory: RosterMemory,
        sightings: Mapping[SourceName, Sightings],
        limits: GuardLimits,
        window: timedelta,
        poll_every: timedelta,
        words: Words | None = None,
    ) -> None:
        self._clock = clock
        self._rosters = rosters
        self._audit = audit
        self._memory = memory
        self._limits = limits
        self._window = window
        self._poll_every = poll_every.total_seconds()
        self._words = NoWords() if words is None else words
        self._progress = {
            source.name: _Progress(source=source, wake=asyncio.Event(), sightings=sightings.get(source.name))
            for source in sources
        }
        self.listeners: list[Callable[[SourceName, RosterChange], None]] = []
        """Told after each swap that changed something; whoever guards sessions looks again."""

    def last_error(self, name: SourceName) -> str | None:
        """Why the last read of this source was not taken over; None when it was."""
        return self._progress[name].last_error

    def hint(self, name: SourceName) -> bool:
        """Something may have changed: read soon. False when there is no such source."""
        progress = self._progress.get(name)
        if progress is not None:
            progress.wake.set()
        return progress is not None

    async def sync(self, name: SourceName) -> Synced | NotSynced:
        """One read of one source, taken over whole or not at all."""
        progress = self._progress[name]
        try:
            roster = await progress.source.fetch(now=self._clock.now(), window=self._window)
            _tell_notes(progress)
            outcome = await self._take_over(progress, roster)
        except PortError as error:
            retry_after = error.retry_after if isinstance(error, Unavailable) else None
            outcome = NotSynced(why=str(error), retry_after=retry_after)
        except Exception:
            # A source that breaks its promise about errors must not end the loop: its roster grows stale, which closes.
            log.exception("source.broke", extra={"source": name})
            outcome = NotSynced(why=f"{name}: reading failed inside Watchkey; the log has the cause")
        if isinstance(outcome, NotSynced):
            await self._note_failure(progress, outcome.why)
        else:
            progress.last_error, progress.failures = None, 0
        return outcome

    def as_read(self, name: SourceName) -> RosterIndex | None:
        """The present roster without anybody's word; before the first read of this run, as it was kept."""
        progress, held = self._progress.get(name), self._rosters.held().get(name)
        if progress is None or held is None:
            return None
        return progress.base or held.index

    async def regrade(self, name: SourceName) -> bool:
        """Grade the present roster anew, by the words that count now; whether that changed it. Reads nothing."""
        progress = self._progress[name]
        async with progress.swapping:
            before = self._rosters.held().get(name)
            if before is None:
                return False
            if progress.base is not None:
                index = await self._with_words(progress.base)
            else:  # as an earlier run left it, with the words that counted then
                kept = before.index
                roster = take_back(kept.roster, self._words.taken_back(name), self._words.standing(name))
                index = await self._with_words(kept if roster is kept.roster else index_roster(roster))
            if index.digest == before.index.digest:
                return False
            change = await _beside(index.roster, diff, before.index, index, self._clock.now())
            await self._take(progress, index, before.read_at, progress.sightings or Sightings(), change)
            return True

    async def waiting(self, name: SourceName) -> Waiting | None:
        """A read that the guard holds back; None when none is."""
        progress, held = self._progress.get(name), self._rosters.held().get(name)
        if progress is None or progress.waiting is None or held is None:
            return None
        read = progress.waiting.base
        change = await _beside(held.index.roster, diff, held.index, read, self._clock.now())
        return Waiting(
            digest=read.digest,
            taken_at=read.roster.taken_at,
            why=progress.last_error or "",
            change=change,
            before=held.index,
            after=read,
        )

    async def accept(self, name: SourceName, *, caller: CallerId, digest: str) -> Synced:
        """Let in the read that the guard holds back: an operator says that so many really are gone.

        `digest` is that of the read the operator has seen. Recorded before it counts. Raises `Refused` when there is
        nothing to accept, or when it is another read by now; `Unavailable` when the word cannot be recorded.
        """
        progress = self._progress.get(name)
        if progress is None:
            raise Refused(f"there is no source {name}; there is {', '.join(self._progress) or 'none'}")
        async with progress.swapping:
            waiting, before = progress.waiting, self._rosters.held().get(name)
            if waiting is None or before is None:
                raise Refused(f"no read of {name} is held back")
            if digest != waiting.base.digest:
                raise Refused(f"the read of {name} that is held back is another one by now: {waiting.base.digest}")
            now = self._clock.now()
            index = await self._with_words(waiting.base)
            change = await _beside(before.index.roster, diff, before.index, index, now)
            fields = {"source": name, "digest": digest, "vanished": len(change.vanished)}
            await self._audit.append(Noted(at=now, what="roster.accepted", caller=caller, fields=fields))
            held = await self._swap(progress, waiting, index, change)
        progress.last_error, progress.failures = None, 0
        return Synced(held=held, change=change)

    async def run(self) -> None:
        """Keep every source read until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._progress:
                group.create_task(self._keep_reading(name), name=f"sync {name}")

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _take_over(self, progress: _Progress, roster: Roster) -> Synced | NotSynced:
        name, read_at = progress.source.name, self._clock.monotonic()
        async with progress.swapping:
            before = self._rosters.held().get(name)
            now = self._clock.now()
            graded, sightings = await _beside(roster, grade_by_sight, roster, progress.sightings, now)
            base = await _beside(roster, index_roster, graded)
            index = await self._with_words(base)
            previous = None if before is None else before.index
            verdict = await _beside(roster, shrink_guard, previous, index, progress.pending, now, self._limits)
            read = _Read(base=base, sightings=sightings, read_at=read_at)
            if isinstance(verdict, Hold):
                progress.pending = verdict.pending
                # A clock that is wrong is for the clock's keeper to set right, and no operator's word helps.
                is_believable = abs(roster.clock_skew) <= self._limits.skew_max
                progress.waiting = read if is_believable else None
                return NotSynced(why=verdict.why)
            return Synced(held=await self._swap(progress, read, index, verdict.change), change=verdict.change)

    async def _with_words(self, read: RosterIndex) -> RosterIndex:
        """The roster with the words that count now."""
        words = self._words.standing(read.source)
        if not words:
            return read
        roster = await _beside(read.roster, apply_confirmations, read.roster, words)
        return read if roster is read.roster else await _beside(roster, index_roster, roster)

    async def _swap(self, progress: _Progress, new: _Read, index: RosterIndex, change: RosterChange) -> HeldRoster:
        name = progress.source.name
        progress.pending, progress.waiting, progress.sightings, progress.base = None, None, new.sightings, new.base
        held = await self._take(progress, index, new.read_at, new.sightings, change)
        gone = lapsed(new.base.roster.shifts, self._words.standing(name))
        if gone:
            await self._words.lapse(gone)
        return held

    async def _take(
        self, progress: _Progress, index: RosterIndex, read_at: float, sightings: Sightings, change: RosterChange
    ) -> HeldRoster:
        """Make this the roster of its source: told, recorded, kept."""
        name = progress.source.name
        before = self._rosters.held().get(name)
        held = self._rosters.swap(index, read_at=read_at)
        if before is None or before.revision != held.revision:
            self._tell(name, change)
            await self._record(_swapped(held, change, self._clock))
        age = timedelta(seconds=max(0.0, self._clock.monotonic() - read_at))
        await self._keep(held, sightings, age)
        return held

    def _tell(self, name: SourceName, change: RosterChange) -> None:
        for listener in self.listeners:
            listener(name, change)

    async def _record(self, event: AuditEvent) -> None:
        try:
            await self._audit.append(event)
        except PortError as error:
            log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  # the text says it all

    async def _keep(self, held: HeldRoster, sightings: Sightings, age: timedelta) -> None:
        try:
            await self._memory.keep(held, sightings, age=age)
        except PortError as error:
            log.warning("roster.not_kept", extra={"source": held.index.source, "error": str(error)})

    async def _note_failure(self, progress: _Progress, why: str) -> None:
        """Record a failure once, not on each retry of the same."""
        progress.failures += 1
        if progress.last_error == why:
            return
        progress.last_error = why
        log.warning("roster.held", extra={"source": progress.source.name, "why": why})
        await self._record(RosterHeld(at=self._clock.now(), source=progress.source.name, why=why))

    async def _keep_reading(self, name: SourceName) -> None:
        progress = self._progress[name]
        await self.regrade(name)  # what an earlier run left may have been confirmed since it was kept
        while True:
            progress.wake.clear()
            outcome = await self.sync(name)
            await self._clock.sleep(HINT_GAP)
            await self._wait(progress, self._pause(progress, outcome) - HINT_GAP)

    def _pause(self, progress: _Progress, outcome: Synced | NotSynced) -> float:
        if isinstance(outcome, Synced):
            return self._poll_every
        backoff = min(BACKOFF_MAX, self._poll_every, BACKOFF_FIRST * 2.0 ** min(progress.failures - 1, 10))
        return max(backoff, outcome.retry_after or 0.0)

    async def _wait(self, progress: _Progress, seconds: float) -> None:
        """Until the time is over or a hint arrives, whichever comes first."""
        if seconds <= 0:
            return
        waiting = [
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(progress.wake.wait()),
        ]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def _tell_notes(progress: _Progress) -> None:
    """Put into the log what a complete read could not learn, where the source keeps such notes."""
    notes = frozenset[str](getattr(progress.source, "notes", ()))
    for note in sorted(notes - progress.notes):
        log.warning("source.note", extra={"source": progress.source.name, "why": note})
    progress.notes = notes


async def _beside(roster: Roster, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Do the work in a thread when the roster is large: on a hundred thousand people it takes seconds."""
    if len(roster.shifts) < LARGE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _swapped(held: HeldRoster, change: RosterChange, clock: Clock) -> RosterSwapped:
    roster = held.index.roster
    return RosterSwapped(
        at=clock.now(),
        source=roster.source,
        revision=held.revision,
        digest=held.index.digest,
        people=len(roster.people),
        shifts=len(roster.shifts),
        incidents=len(roster.incidents),
        appeared=len(change.appeared),
        vanished=len(change.vanished),
    )
