"""Keep what people have vouched for over a restart, and let go of what does not count any more.

A word counts once it is on disk. A word that is taken back stops to count at once, whatever the disk says; it is kept
for its time as taken back, because the roster of an earlier run may still show it.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self

import msgspec

from watchkey.model.audit import Noted
from watchkey.model.errors import Malformed, PortError
from watchkey.model.ids import SourceName
from watchkey.ports import AuditLog, Clock, Memory
from watchkey.rules.confirmation import Confirmation, still_needed

log = logging.getLogger("watchkey.confirmations")

NAME: Final = "confirmations"


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered."""

    standing: tuple[Confirmation, ...] = ()
    taken_back: tuple[Confirmation, ...] = ()


class KeepConfirmations:
    """The words of all sources."""

    def __init__(self, *, memory: Memory, audit: AuditLog, clock: Clock) -> None:
        self._memory = memory
        self._audit = audit
        self._clock = clock
        self._standing: tuple[Confirmation, ...] = ()
        self._taken_back: tuple[Confirmation, ...] = ()
        self._writing = asyncio.Lock()

    def recall(self) -> Self:
        """Bring back what was kept. Raises `Malformed` for what this program never keeps, and port errors."""
        found = self._memory.recall(NAME)
        try:
            kept = _Kept() if found is None else msgspec.convert(found, _Kept)
        except msgspec.ValidationError as error:
            raise Malformed(f"what was kept of confirmations cannot be read: {error}") from error
        self._standing, self._taken_back = kept.standing, kept.taken_back
        return self

    def standing(self, source: SourceName) -> Sequence[Confirmation]:
        """The words that count, of one source."""
        return self._of(self._standing, source)

    def taken_back(self, source: SourceName) -> Sequence[Confirmation]:
        """The words that counted once, whose time is not over and that do not count any more."""
        return self._of(self._taken_back, source)

    def _of(self, words: Iterable[Confirmation], source: SourceName) -> Sequence[Confirmation]:
        return [one for one in still_needed(words, self._clock.now()) if one.source == source]

    async def add(self, new: Confirmation) -> None:
        """Let a word count, once it is on disk. Raises `Unavailable` when it cannot be kept; then it does not count."""
        async with self._writing:
            await self._memory.remember(NAME, self._kept(new))
            self._standing = (*self._standing, new)

    async def remove(self, gone: Sequence[Confirmation]) -> None:
        """Let words count no more, from now on. Raises `Unavailable` when a restart would bring them back."""
        self._standing = tuple(one for one in self._standing if one not in gone)
        self._taken_back = tuple(dict.fromkeys([*self._taken_back, *gone]))
        async with self._writing:
            await self._memory.remember(NAME, self._kept())

    async def lapse(self, gone: Sequence[Confirmation]) -> None:
        """Let words go whose shift is not what it was; recorded where it can be. Raises nothing."""
        try:
            await self.remove(gone)
        except PortError as error:
            log.warning("confirmation.not_kept", extra={"error": str(error)})
        for one in gone:
            event = Noted(at=self._clock.now(), what="shift.confirmation_lapsed", fields=told(one))
            try:
                await self._audit.append(event)
            except PortError as error:
                log.error("audit.unavailable", extra={"error": str(error)})  # noqa: TRY400  # the text says it all

    def _kept(self, *new: Confirmation) -> Any:
        now = self._clock.now()
        self._standing = still_needed(self._standing, now)
        self._taken_back = still_needed(self._taken_back, now)
        return msgspec.to_builtins(_Kept(standing=(*self._standing, *new), taken_back=self._taken_back))


def told(word: Confirmation) -> Mapping[str, Any]:
    """A word as the audit log has it."""
    return {name: value for name, value in msgspec.to_builtins(word).items() if name != "at"}
